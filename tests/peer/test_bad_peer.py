"""A hostile client on Bob's socket: whatever it sends, Alice's channel stays as it was, and trades.

The client has no library on its side but for TLS and the proof: raw bytes and frames. Where it
poses as Alice it even has her key.
"""

from __future__ import annotations

import os
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from channels.errors import (
    BadNonceError,
    BadProposalError,
    BadSignatureError,
    BugError,
    ChannelsError,
    FloodError,
    FrameError,
    FrameTooLargeError,
    FrameTruncatedError,
    LinkClosedError,
    MalformedMessageError,
    NonCanonicalError,
    PeerError,
    PeerTimeoutError,
    RejectedError,
    UnexpectedMessageError,
    UnknownMessageError,
    UnprovedPeerError,
    UnsupportedVersionError,
)
from channels.peer import connections as connections_module
from channels.peer import greeting
from channels.peer import session as session_module
from channels.peer.session import Session
from channels.protocol import codec
from channels.protocol import messages as m
from channels.protocol.changes import Marks, Remark, SeriesMark, Trade, TradeLeg, apply
from channels.protocol.proofs import Role, SessionProof
from channels.protocol.signing import LocalSigner, Signature
from channels.protocol.types import Closing, Party, State
from channels.transport import Link, LinkLimits, RateLimit, Secured, dial_tls
from channels.transport.memory import memory_links
from channels.transport.streams import TlsStream
from tests.chain.world import World
from tests.peer.world import (
    FEED,
    PATIENCE,
    UNIT,
    WAD,
    Desk,
    Pair,
    expiry_of,
    open_channel,
    put,
    trade,
    trading,
)

STRANGER = LocalSigner(b"\x66" * 32)
NOTHING = bytes(32)
QUICK = LinkLimits(idle=0.3, send=0.3)


def frame(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


class Raw:
    """A socket and no manners."""

    def __init__(self, secured: Secured) -> None:
        self.stream = secured.stream
        self.binding = secured.binding
        self._buffer = b""

    def read_little(self) -> None:
        """Have the kernel take next to nothing for us."""
        assert isinstance(self.stream, TlsStream)
        self.stream.transport_stream.setsockopt(
            trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4_096
        )

    async def send(self, *messages: m.Message) -> None:
        await self.stream.send_all(b"".join(frame(codec.encode(each)) for each in messages))

    async def receive(self) -> m.Message:
        """The next message.

        Raises:
            trio.EndOfChannel: the connection was closed.
        """
        header = await self._exactly(4)
        return codec.decode(await self._exactly(int.from_bytes(header, "big")))

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                received = await self.stream.receive_some()
            except trio.BrokenResourceError:
                received = b""
            if not received:
                raise trio.EndOfChannel
            self._buffer += received
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    async def error(self) -> m.Error:
        """The next Error, whatever else comes before it."""
        with trio.fail_after(PATIENCE):
            while True:
                message = await self.receive()
                if isinstance(message, m.Error):
                    return message

    async def dropped(self) -> None:
        """Wait until the other side hangs up."""
        with trio.fail_after(PATIENCE), suppress(trio.EndOfChannel):
            while True:
                await self.receive()


@asynccontextmanager
async def hostile(pair: Pair, key: LocalSigner | None = STRANGER) -> AsyncIterator[Raw]:
    """Connect to Bob, and say Hello unless told not to."""
    host, port = str(pair.b.listen).rsplit(":", 1)
    secured = await dial_tls(await trio.open_tcp_stream(host, int(port)))
    async with secured.stream:
        raw = Raw(secured)
        challenge = await raw.receive()
        assert isinstance(challenge, m.Challenge)
        if key is not None:
            await raw.send(hello_of(pair.world, key, raw.binding, challenge))
            assert isinstance(await raw.receive(), m.Hello)
        yield raw


def hello_of(
    world: World, key: LocalSigner, certificate: bytes, challenge: m.Challenge, **changes: Any
) -> m.Hello:
    proof = SessionProof(
        role=Role.CLIENT,
        certificate=certificate,
        client_challenge=NOTHING,
        server_challenge=challenge.challenge,
        client=key.address,
    )
    hello = m.Hello(
        signer=key.address,
        chain_id=world.domain.chain_id,
        adjudicator=world.domain.adjudicator,
        software="rubbish/1.0",
        challenge=NOTHING,
        proof=key.sign_digest(world.domain.digest(proof)),
    )
    return attrs.evolve(hello, **changes)


async def unharmed(pair: Pair) -> None:
    """The honest channel trades, through the connection it always had."""
    before = pair.channel.state.ledger.nonce
    await trade(pair.alice)
    await trade(pair.bob)
    ours, _ = await pair.settled()
    assert ours.state.ledger.nonce > before


async def told(desk: Desk, kind: type[ChannelsError]) -> ChannelsError:
    """The next error event, which is of this kind; lost connections aside."""
    with trio.fail_after(PATIENCE):
        while True:
            notice = (await desk.events.receive()).notice
            if isinstance(notice, kind):
                return notice
            assert not isinstance(notice, ChannelsError) or isinstance(notice, LinkClosedError), (
                notice
            )


# -- what is no message


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"GET / HTTP/1.1\r\nHost: bob\r\n\r\n", FrameTooLargeError),
        (struct.pack(">I", 65_537), FrameTooLargeError),
        (struct.pack(">I", 0xFFFFFFFF), FrameTooLargeError),
        (struct.pack(">I", 0), FrameError),
    ],
    ids=["http", "a byte too long", "as long as can be", "empty"],
)
@pytest.mark.parametrize("greeted", [False, True])
async def test_bytes_that_are_no_frame(
    sent: bytes, error: type[FrameError], greeted: bool, world: World, tmp_path: Path
) -> None:
    async with trading(world, tmp_path) as pair:
        async with hostile(pair, STRANGER if greeted else None) as raw:
            await raw.stream.send_all(sent)
            assert type(await told(pair.bob, error)) is error
            await raw.dropped()
        await unharmed(pair)


async def test_frame_cut_short(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        async with hostile(pair) as raw:
            await raw.stream.send_all(struct.pack(">I", 100) + b"half")
        await told(pair.bob, FrameTruncatedError)
        await unharmed(pair)


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b"\xc1", MalformedMessageError),
        (b"\x93\x03\x01", MalformedMessageError),
        (codec.pack([3, 1]), MalformedMessageError),
        (codec.pack([3, 1, -1]), MalformedMessageError),
        (codec.pack([3, 1, 0, 0]), MalformedMessageError),
        (codec.pack({}), MalformedMessageError),
        (codec.pack([99, 1]), UnknownMessageError),
        (codec.pack([3, 2, 0]), UnsupportedVersionError),
        (b"\x93\x03\x01\xcd\x00\x00", NonCanonicalError),
        (b"\x91" * 60_000 + b"\x00", MalformedMessageError),
        (b"\xdd\xff\xff\xff\xff", MalformedMessageError),
    ],
)
async def test_frames_that_are_no_message(
    payload: bytes, error: type[PeerError], world: World, tmp_path: Path
) -> None:
    async with trading(world, tmp_path) as pair, hostile(pair) as raw:
        await raw.stream.send_all(frame(payload))
        answer = await raw.error()
        assert (answer.reason, answer.text.split(":")[0]) == (m.Reason.PROTOCOL, error.__name__)
        await raw.send(m.Ping(token=7))
        assert await raw.receive() == m.Pong(token=7)
        await unharmed(pair)


async def test_rubbish_of_every_length(world: World, tmp_path: Path) -> None:
    """Each connection ends after its seventeenth strike, and so it takes many."""
    async with trading(world, tmp_path) as pair:
        for length in range(1, 400, 16):
            async with hostile(pair) as raw:
                rubbish = [frame(os.urandom(length + more)) for more in range(17)]
                await raw.stream.send_all(b"".join(rubbish))
                await raw.dropped()
            await told(pair.bob, PeerError)
        await unharmed(pair)


async def test_valid_messages_with_one_byte_changed(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        whole = codec.encode(half_signed_trade(pair, STRANGER))
        for at in range(0, len(whole), 7):
            async with hostile(pair, world.signer_a) as raw:
                broken = bytearray(whole)
                broken[at] ^= 0x55
                await raw.stream.send_all(frame(bytes(broken)))
                await raw.error()
        await unharmed(pair)


# -- before and about Hello


async def test_message_before_hello(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        async with hostile(pair, None) as raw:
            await raw.send(m.Ping(token=1))
            answer = await raw.error()
            assert "Ping before Hello" in answer.text
            await raw.dropped()
        await told(pair.bob, UnexpectedMessageError)
        await unharmed(pair)


@pytest.mark.parametrize(
    "changes", [{"chain_id": 1}, {"adjudicator": STRANGER.address}], ids=["chain", "contract"]
)
async def test_hello_of_another_world(
    changes: dict[str, Any], world: World, tmp_path: Path
) -> None:
    async with trading(world, tmp_path) as pair:
        async with hostile(pair, None) as raw:
            challenge = m.Challenge(challenge=NOTHING)
            await raw.send(hello_of(world, world.signer_a, raw.binding, challenge, **changes))
            assert "the peer is on chain" in (await raw.error()).text
            await raw.dropped()
        await told(pair.bob, UnexpectedMessageError)
        await unharmed(pair)


async def test_silence_before_hello(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(world, tmp_path) as pair:
        monkeypatch.setattr(greeting, "HELLO_TIMEOUT", 0.1)
        async with hostile(pair, None) as raw:
            assert "no Hello within" in (await raw.error()).text
            await raw.dropped()
        await told(pair.bob, PeerTimeoutError)
        await unharmed(pair)


async def test_second_hello_changes_nothing(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair, hostile(pair) as raw:
        challenge = m.Challenge(challenge=NOTHING)
        await raw.send(hello_of(world, world.signer_a, raw.binding, challenge))
        await raw.send(m.Confirm(channel_id=pair.channel.channel_id, nonce=1, signature=JUNK))
        assert "another counterparty" in (await raw.error()).text
        await unharmed(pair)


async def test_a_false_hello_mutes_nobody(world: World, tmp_path: Path) -> None:
    """It names Alice and signs with another key: it is told so, and hears nothing else."""
    async with trading(world, tmp_path) as pair:
        for _ in range(8):
            async with hostile(pair, None) as raw:
                lie = hello_of(world, STRANGER, raw.binding, m.Challenge(challenge=NOTHING))
                await raw.send(attrs.evolve(lie, signer=world.signer_a.address))
                assert (await raw.error()).text.startswith("UnprovedPeerError")
                with pytest.raises(trio.EndOfChannel):
                    await raw.receive()
            await told(pair.bob, UnprovedPeerError)
        await unharmed(pair)


async def test_two_doubles_with_the_key_mute_nobody(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        async with hostile(pair, world.signer_a), hostile(pair, world.signer_a):
            await unharmed(pair)
        await unharmed(pair)


async def test_of_too_many_connections_of_one_signer_the_oldest_goes(
    world: World, tmp_path: Path
) -> None:
    async with trading(world, tmp_path) as pair, AsyncExitStack() as stack:
        first = await stack.enter_async_context(hostile(pair))
        others = [
            await stack.enter_async_context(hostile(pair))
            for _ in range(connections_module.MAX_SESSIONS)
        ]
        await first.dropped()
        for each in others:
            await each.send(m.Ping(token=1))
            assert await each.receive() == m.Pong(token=1)
        await unharmed(pair)


# -- about channels

JUNK = Signature(b"\x11" * 64)


def reestablish(identity: bytes, nonce: int, proof: Signature | None = None) -> m.Reestablish:
    return m.Reestablish(
        channel_id=identity, nonce=nonce, valid_until=0, portfolio_hash=NOTHING, proof=proof
    )


def trade_of(pair: Pair, price: int = 100) -> Trade:
    leg = put(pair.alice)
    return Trade(
        trade_id=os.urandom(32),
        premium=price * UNIT,
        legs=(
            TradeLeg(
                feed=FEED,
                kind=leg.kind,
                expiry=leg.expiry,
                strike=leg.strike,
                quantity=leg.quantity,
                price=price * WAD,
            ),
        ),
    )


def half_signed_trade(pair: Pair, signer: LocalSigner, **changes: Any) -> m.Propose:
    """A trade as Alice would propose it, but for ``changes`` of its state."""
    channel, change = pair.channel.state, trade_of(pair)
    marks = Marks(
        marked_at=pair.alice.chain.head.timestamp,
        spots={FEED: 3_000 * WAD},
        series={leg.series: SeriesMark(vol=WAD * 6 // 10) for leg in change.legs},
    )
    state = State(
        channel_id=channel.channel_id,
        nonce=Party.A.next_nonce(channel.ledger.highest_seen),
        valid_until=pair.alice.chain.head.timestamp + 120,
        portfolio=apply(change, channel.portfolio, marks, UNIT, channel.margin_model),
    )
    state = attrs.evolve(state, **changes)
    return m.Propose(
        channel_id=channel.channel_id,
        proposal=m.HalfSigned(
            nonce=state.nonce,
            valid_until=state.valid_until,
            change=change,
            portfolio=state.portfolio,
            signature=signer.sign_digest(pair.world.domain.digest(state)),
        ),
    )


async def test_messages_for_other_peoples_channel(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair, hostile(pair) as raw:
        identity = pair.channel.channel_id
        for message in (
            half_signed_trade(pair, STRANGER),
            m.Confirm(channel_id=identity, nonce=1, signature=JUNK),
            m.Void(channel_id=identity, nonce=1, signature=JUNK),
            m.OpenReject(channel_id=identity, reason=m.Reason.DECLINED, text=""),
            reestablish(identity, 9),
            m.RequestForQuote(
                channel_id=identity, request_id=bytes(16), legs=(put(pair.alice),), time_to_live=9
            ),
        ):
            await raw.send(message)
            assert "another counterparty" in (await raw.error()).text
        await raw.send(m.Confirm(channel_id=NOTHING, nonce=1, signature=JUNK))
        assert "UnexpectedMessageError: no channel" in (await raw.error()).text
        await unharmed(pair)


async def test_unknown_channels_at_reconnect_are_no_fault(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair, hostile(pair) as raw:
        for number in range(50):
            identity = number.to_bytes(32, "big")
            await raw.send(reestablish(identity, 0))
            answer = await raw.error()
            assert (answer.channel_id, answer.reason) == (identity, m.Reason.NOT_OPEN)
        await unharmed(pair)


@pytest.mark.parametrize(
    ("signer", "changes", "error"),
    [
        (STRANGER, {}, BadSignatureError),
        (None, {"nonce": 2}, BadNonceError),
        (None, {"nonce": 1 << 63}, BadNonceError),
        (None, {"nonce": 101}, BadNonceError),
        (None, {"valid_until": 0}, BadProposalError),
        (None, {"channel_id": NOTHING}, BadSignatureError),
    ],
    ids=[
        "another key",
        "our nonce",
        "a huge nonce",
        "a nonce too far",
        "no box",
        "another channel's state",
    ],
)
async def test_bad_proposals_are_named(
    signer: LocalSigner | None,
    changes: dict[str, Any],
    error: type[PeerError],
    world: World,
    tmp_path: Path,
) -> None:
    async with trading(world, tmp_path) as pair:
        before = pair.bob.channel.state.ledger
        message = half_signed_trade(pair, signer or world.signer_a, **changes)
        async with hostile(pair, world.signer_a) as raw:
            await raw.send(message)
            answer = await raw.error()
            assert answer.text.startswith(error.__name__)
            assert answer.channel_id == pair.channel.channel_id
            assert pair.bob.channel.state.ledger == before
        await unharmed(pair)


async def test_signature_with_a_flipped_bit(world: World, tmp_path: Path) -> None:
    """High s and a wrong recovery bit: a check against the known key alone would let both pass."""
    async with trading(world, tmp_path) as pair:
        message = half_signed_trade(pair, world.signer_a)
        good = message.proposal.signature.compact
        flipped = good[:32] + bytes([good[32] ^ 0x80]) + good[33:]
        async with hostile(pair, world.signer_a) as raw:
            bad = attrs.evolve(message.proposal, signature=Signature(flipped))
            await raw.send(attrs.evolve(message, proposal=bad))
            assert (await raw.error()).text.startswith("BadSignatureError")
        await unharmed(pair)


@pytest.mark.parametrize(
    "build",
    [
        lambda c: m.Accept(
            channel_id=c, nonce=1, signature=JUNK, affirmation_nonce=2, affirmation=JUNK
        ),
        lambda c: m.Accept(
            channel_id=c, nonce=2, signature=JUNK, affirmation_nonce=0, affirmation=None
        ),
        lambda c: m.Confirm(channel_id=c, nonce=3, signature=JUNK),
        lambda c: m.Void(channel_id=c, nonce=1, signature=JUNK),
        lambda c: m.Void(channel_id=c, nonce=(1 << 64) - 1, signature=JUNK),
        lambda c: m.Reject(
            channel_id=c, nonce=2, reason=m.Reason.PRICE, text="", void_nonce=3, void=JUNK
        ),
        lambda c: m.OpenAccept(channel_id=c, signature=b""),
        lambda c: m.OpenReject(channel_id=c, reason=m.Reason.PRICE, text=""),
        lambda c: m.Opened(channel_id=c),
        lambda c: m.Quote(
            channel_id=c,
            request_id=bytes(16),
            expires_at=0,
            sides=(
                m.HalfSigned(
                    nonce=1,
                    valid_until=1,
                    change=Remark(),
                    portfolio=State(channel_id=c, nonce=0).portfolio,
                    signature=JUNK,
                ),
            ),
        ),
        lambda c: m.QuoteReject(
            channel_id=c, request_id=bytes(16), reason=m.Reason.PRICE, text="x"
        ),
        lambda c: m.CloseRequest(
            channel_id=c,
            closing=Closing(channel_id=c, nonce=1, valid_until=1, net_to_b=0),
            signature=JUNK,
        ),
        lambda c: m.CloseRequest(
            channel_id=c,
            closing=Closing(channel_id=NOTHING, nonce=1, valid_until=2**63, net_to_b=-5),
            signature=JUNK,
        ),
        lambda c: reestablish(c, 2**63, JUNK),
        lambda c: reestablish(c, 2**63),
        lambda c: m.Error(channel_id=c, reason=m.Reason.PRICE, text="no"),
        lambda c: m.Error(channel_id=NOTHING, reason=m.Reason.PRICE, text="no"),
    ],
    ids=lambda build: type(build(bytes(32))).__name__,
)
async def test_anything_out_of_order_changes_nothing(
    build: Any, world: World, tmp_path: Path
) -> None:
    async with trading(world, tmp_path) as pair:
        before = attrs.evolve(pair.bob.channel.state, head=None)
        async with hostile(pair, world.signer_a) as raw:
            await raw.send(build(pair.channel.channel_id), m.Ping(token=1))
            with trio.fail_after(PATIENCE):
                while await raw.receive() != m.Pong(token=1):
                    pass
        assert attrs.evolve(pair.bob.channel.state, head=None) == before
        await unharmed(pair)


# -- too much, too many, too slow


async def test_a_thousand_connections(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair, AsyncExitStack() as stack:
        host, port = str(pair.b.listen).rsplit(":", 1)
        for _ in range(1_000):
            await stack.enter_async_context(await trio.open_tcp_stream(host, int(port)))
        await unharmed(pair)
        assert sum(map(len, pair.bob.peer._connections._sessions.values())) == 1


async def test_flood_is_throttled_and_dropped(world: World, tmp_path: Path) -> None:
    slow = LinkLimits(rate=RateLimit(frames=50, patience=0.2))
    async with trading(world, tmp_path, bob={"limits": slow}) as pair:
        async with hostile(pair) as raw:

            async def flood() -> None:
                with suppress(trio.BrokenResourceError):
                    while True:
                        await raw.stream.send_all(frame(codec.encode(m.Pong(token=1))) * 100)

            with trio.fail_after(PATIENCE):
                await flood()
        await told(pair.bob, FloodError)
        await unharmed(pair)


async def test_flood_of_requests_keeps_few_makers(world: World, tmp_path: Path) -> None:
    """Requests that a slow maker leaves waiting are refused beyond a few, not queued."""
    waiting = 0
    most = 0

    async def slow(request: object) -> None:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        try:
            await trio.sleep_forever()
        finally:
            waiting -= 1

    async with trading(world, tmp_path, bob={"maker": slow}) as pair:
        async with hostile(pair, world.signer_a) as raw:
            requests = [
                m.RequestForQuote(
                    channel_id=pair.channel.channel_id,
                    request_id=number.to_bytes(16, "big"),
                    legs=(put(pair.alice),),
                    time_to_live=2**32 - 1,
                )
                for number in range(500)
            ]
            await raw.send(*requests)
            refused = 0
            with trio.fail_after(PATIENCE):
                while refused < 480:
                    refused += isinstance(await raw.receive(), m.QuoteReject)
        assert most <= 16
        await pair.channel.propose_trade([put(pair.alice)], [100 * WAD])
        await pair.settled()


async def test_stall_in_the_middle_of_a_frame(world: World, tmp_path: Path) -> None:
    # So long that no busy machine keeps Alice silent for it.
    short = {"limits": LinkLimits(idle=3.0)}
    async with trading(world, tmp_path, bob=short, alice=short) as pair:
        async with hostile(pair) as raw:
            await raw.stream.send_all(struct.pack(">I", 100) + b"half")
            await raw.dropped()
        await told(pair.bob, PeerTimeoutError)
        await unharmed(pair)


async def test_silent_but_honest_connection_is_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Pings keep a connection alive on which nothing is traded; one without them ends."""

    async def ignore(_: Session, message: m.Message) -> None:
        assert isinstance(message, m.Ping)

    def session(link: Link) -> Session:
        return Session(link, STRANGER.address, "", stranger=False)

    async with trio.open_nursery() as nursery:
        for end in memory_links(limits=QUICK):
            nursery.start_soon(session(end).run, ignore)
        ours, _silent = memory_links(limits=QUICK)
        with pytest.raises(PeerTimeoutError):
            await session(ours).run(ignore)
        assert trio.current_time() == QUICK.idle
        await trio.sleep(1_000 * QUICK.idle)
        nursery.cancel_scope.cancel()


async def test_never_reading(world: World, tmp_path: Path) -> None:
    """It asks for answers and takes none: what waits for it is bounded, and then it is dropped."""
    async with trading(world, tmp_path) as pair:
        async with hostile(pair, world.signer_a) as raw:
            raw.read_little()
            session = pair.bob.peer._connections._sessions[world.signer_a.address][-1]
            most = 0
            with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
                while True:
                    await raw.stream.send_all(frame(b"\xc1") * 10 + PINGS)
                    most = max(most, len(session._queued))
            assert most <= session_module.MAX_QUEUED
        await unharmed(pair)


PINGS = frame(codec.encode(m.Ping(token=2**63))) * 1_000


async def test_never_reading_and_never_asking(world: World, tmp_path: Path) -> None:
    """As Alice's double it is sent all she is sent, reads none of it, and holds up nothing."""
    async with trading(world, tmp_path) as pair, hostile(pair, world.signer_a) as raw:
        raw.read_little()
        for _ in range(20):
            await trade(pair.alice)
            await trade(pair.alice, -1)
        await pair.settled()


async def test_strikes_end_the_connection(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        async with hostile(pair) as raw:
            for _ in range(session_module.MAX_STRIKES + 1):
                await raw.stream.send_all(frame(b"\xc1"))
            await raw.dropped()
        await told(pair.bob, MalformedMessageError)
        await unharmed(pair)


async def test_a_bug_in_a_handler_ends_one_connection(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(world, tmp_path) as pair:

        def broken(*_: object) -> None:
            raise ZeroDivisionError("as if")

        monkeypatch.setattr(pair.bob.peer._openings, "on_request", broken)
        async with hostile(pair) as raw:
            await raw.send(opening_of(pair))
            await raw.dropped()
        assert "ZeroDivisionError" in str(await told(pair.bob, BugError))
        await unharmed(pair)


# -- openings


def opening_of(pair: Pair, **changes: Any) -> m.OpenRequest:
    channel = pair.channel.state
    terms = attrs.evolve(
        channel.terms,
        signer_a=STRANGER.address,
        party_a=STRANGER.address,
        salt=os.urandom(32),
    )
    opening = attrs.evolve(
        channel.track.opening,
        terms=attrs.evolve(terms, **changes),
        valid_until=pair.alice.chain.head.timestamp + 60,
    )
    return m.OpenRequest(requester=Party.A, opening=opening, risk=channel.risk)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda request: attrs.evolve(request, requester=Party.B),
        lambda request: attrs.evolve(
            request, opening=attrs.evolve(request.opening, valid_until=2**63)
        ),
        lambda request: attrs.evolve(
            request,
            opening=attrs.evolve(
                request.opening, terms=attrs.evolve(request.opening.terms, dispute_window=0)
            ),
        ),
        lambda request: attrs.evolve(
            request,
            opening=attrs.evolve(
                request.opening, terms=attrs.evolve(request.opening.terms, party_b=bytes(20))
            ),
        ),
        lambda request: attrs.evolve(request, risk=(attrs.evolve(request.risk[0], price_range=0),)),
        lambda request: attrs.evolve(request, risk=request.risk * 2),
    ],
    ids=["both sides ours", "for ever", "no window", "not our wallet", "no margin", "other risk"],
)
async def test_openings_that_cannot_be_are_refused(
    spoil: Any, world: World, tmp_path: Path
) -> None:
    async with trading(world, tmp_path) as pair, hostile(pair) as raw:
        await raw.send(spoil(opening_of(pair)))
        with trio.fail_after(PATIENCE):
            answer = await raw.receive()
        assert isinstance(answer, m.OpenReject)
        assert answer.reason is m.Reason.INVALID
        assert len(pair.bob.peer.channels) == 1
        await unharmed(pair)


async def test_somebody_elses_opening(world: World, tmp_path: Path) -> None:
    """Alice's own request, said again by a stranger: it learns nothing and opens nothing."""
    async with trading(world, tmp_path) as pair, hostile(pair) as raw:
        channel = pair.channel.state
        await raw.send(
            m.OpenRequest(requester=Party.A, opening=channel.track.opening, risk=channel.risk)
        )
        assert "another counterparty" in (await raw.error()).text
        second = await open_channel(pair.alice, pair.b)
        assert second.equity > 0


async def test_undecided_openings_are_few(world: World, tmp_path: Path) -> None:
    async def never(request: object) -> bool:
        await trio.sleep_forever()
        raise AssertionError

    async with trading(world, tmp_path) as pair:
        setup = pair.bob.peer._openings._setup
        pair.bob.peer._openings._setup = attrs.evolve(setup, accept_opening=never)
        async with hostile(pair) as raw:
            await raw.send(*(opening_of(pair) for _ in range(40)))
            refused: set[bytes] = set()
            with trio.fail_after(PATIENCE):
                while len(refused) < 24:
                    answer = await raw.receive()
                    if isinstance(answer, m.OpenReject):
                        assert answer.reason is m.Reason.BUSY
                        refused.add(answer.channel_id)
        await unharmed(pair)


async def test_who_asks_for_one_opening_too_many_is_told_at_once(
    world: World, tmp_path: Path
) -> None:
    async def never(request: object) -> bool:
        await trio.sleep_forever()
        raise AssertionError

    async with (
        trading(world, tmp_path, bob={"accept_opening": never}, opened=False) as pair,
        trio.open_nursery() as nursery,
    ):
        refused = trio.Event()

        async def ask() -> None:
            with pytest.raises(RejectedError, match="too many openings"):
                await open_channel(pair.alice, pair.b)
            refused.set()
            nursery.cancel_scope.cancel()

        for _ in range(17):
            nursery.start_soon(ask)
        with trio.fail_after(PATIENCE):
            await refused.wait()


async def test_expiry_is_listed(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        assert put(pair.alice).expiry == expiry_of(pair.alice)
