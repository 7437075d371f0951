"""Attack: too much of everything: for a channel's record, for a session, for the server.

Nothing here is timed: sessions run over memory streams, on a clock that jumps.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
import trio.testing

from channels.errors import (
    FloodError,
    MalformedMessageError,
    PeerError,
    PeerTimeoutError,
)
from channels.peer import session as sessions
from channels.peer.connections import MAX_SESSIONS, MAX_STRANGERS, Connections
from channels.peer.session import LIMITS, STRANGER_RATE, STRANGER_SHARE, Session
from channels.protocol import codec
from channels.protocol import messages as m
from channels.protocol.channel import Phase
from channels.protocol.eip712 import Address
from channels.protocol.records import decode_channel, encode_channel
from channels.protocol.types import Closing, Party, State
from channels.transport import Link, LinkLimits
from channels.transport.memory import memory_links
from tests.protocol.build import ID, TIMING, make_leg, make_trade
from tests.protocol.world import World, half_signed, opened, signed

A, B = Party.A, Party.B


def _close_request(world: World, nonce: int) -> m.CloseRequest:
    closing = Closing(channel_id=ID, nonce=nonce, valid_until=world.chain.time + 60, net_to_b=7)
    return m.CloseRequest(channel_id=ID, closing=closing, signature=signed(A, closing))


def test_three_hundred_closings() -> None:
    """Each wrong, each at a nonce of its own: the record stays readable, the channel usable."""
    world = opened()
    for number in range(300):
        with suppress(PeerError):
            world.bob.handle(_close_request(world, 2 * number + 1))
    record = encode_channel(world.bob.channel)
    assert decode_channel(record).ledger == world.bob.channel.ledger
    assert len(world.bob.channel.ledger.entries) <= world.bob.channel.terms.max_in_flight


def test_a_closing_at_the_highest_nonce_takes_no_nonce_from_us() -> None:
    """Its answer is our Reject or its own fault, never our InvalidValueError or a spent budget."""
    world = opened()
    before = world.bob.channel
    with suppress(PeerError):
        world.bob.handle(_close_request(world, 2**64 - 1))
    assert world.bob.channel.ledger.full == before.ledger.full
    world.mine(60, blocks=8)
    assert world.propose(B) <= 2 + 14


def test_every_nonce_of_the_flight() -> None:
    world = opened()
    for nonce in range(1, 15, 2):
        world.bob.handle(
            m.Propose(
                channel_id=ID,
                proposal=half_signed(world, A, make_trade(make_leg(price=nonce)), nonce=nonce),
            )
        )
    assert world.bob.phase is Phase.RECEIVED
    assert encode_channel(decode_channel(encode_channel(world.bob.channel))) == encode_channel(
        world.bob.channel
    )
    world.mine(TIMING.box, blocks=6)
    world.deliver_all()
    assert world.phases[B] is Phase.IDLE, "all their boxes passed"


def test_an_affirmation_far_ahead_takes_no_nonce_from_us() -> None:
    """B accepts with an affirmation at 2**64 - 2: A keeps the evidence and can still void."""
    world = opened()
    nonce = world.propose(A)
    entry = world.alice.channel.ledger.entry(nonce)
    assert entry is not None
    assert isinstance(entry.value, State)
    far = State(channel_id=ID, nonce=2**64 - 2, portfolio=entry.value.portfolio)
    accept = m.Accept(
        channel_id=ID,
        nonce=nonce,
        signature=signed(B, entry.value),
        affirmation_nonce=far.nonce,
        affirmation=signed(B, far),
    )
    with suppress(PeerError):
        world.alice.handle(accept)
    world.disconnect()
    world.mine(60, blocks=8, censor=True)
    assert world.alice.phase in (Phase.IDLE, Phase.VOIDING)
    assert world.alice.channel.head == world.chain.seen().head, "blind: it refused the head"
    assert max(each.value.nonce for each in world.alice.emitted) <= 16


# -- too much for a session

MALLORY = Address(b"\x66" * 20)
Handler = Callable[[Session, m.Message], Awaitable[None]]


def attacked(*, stranger: bool, limits: LinkLimits = LIMITS) -> tuple[Session, Link]:
    """A session with an attacker, who has the other end of the link."""
    ours, theirs = memory_links(limits=limits)
    return Session(ours, MALLORY, "", stranger=stranger), theirs


async def answer(session: Session, message: m.Message) -> None:
    assert isinstance(message, m.Ping)
    session.post_message(m.Pong(token=message.token))


async def ending_of(session: Session, handle: Handler = answer) -> PeerError:
    with pytest.raises(PeerError) as caught:
        await session.run(handle)
    return caught.value


PINGS = [codec.encode(m.Ping(token=number)) for number in range(1_000)]


async def test_a_stranger_is_heard_at_its_rate_and_then_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What it pushes beyond is not read; it gets a second's worth at once and 30 s of patience."""
    session, mallory = attacked(stranger=True)
    heard = 0

    async def count(_: Session, __: m.Message) -> None:
        nonlocal heard
        heard += 1

    for _ in range(20):
        await mallory.send(PINGS)
    assert isinstance(await ending_of(session, count), FloodError)
    patience = LIMITS.rate.patience if LIMITS.rate is not None else 0
    assert trio.current_time() == pytest.approx(patience, abs=1)
    assert heard == pytest.approx(STRANGER_RATE.frames * (1 + patience), rel=0.05)


async def test_a_counterparty_is_heard_faster(autojump_clock: trio.testing.MockClock) -> None:
    """`trust` lifts the stranger's rate: a thousand frames take no time at all."""
    session, mallory = attacked(stranger=True)
    session.trust()
    heard = trio.Event()

    async def last(_: Session, message: m.Message) -> None:
        if message == m.Ping(token=999):
            heard.set()

    await mallory.send(PINGS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run, last)
        await heard.wait()
        assert trio.current_time() == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("stranger", [True, False])
async def test_answers_that_nobody_reads_are_bounded(
    stranger: bool, autojump_clock: trio.testing.MockClock
) -> None:
    session, _ = attacked(stranger=stranger)
    most = sessions.MAX_QUEUED // (STRANGER_SHARE if stranger else 1)
    for number in range(most):
        session.post_message(m.Pong(token=number))
    assert len(session._queued) == most
    session.post_message(m.Pong(token=most))
    assert session._queued == []
    session.post([bytes(65_536)] * 1_000)
    assert session._queued == [], "an ended session takes nothing more"
    assert isinstance(await ending_of(session), PeerTimeoutError)


@pytest.mark.parametrize("stranger", [True, False])
async def test_bytes_that_nobody_reads_are_bounded(
    stranger: bool, autojump_clock: trio.testing.MockClock
) -> None:
    session, _ = attacked(stranger=stranger)
    most = sessions.MAX_QUEUED_BYTES // (STRANGER_SHARE if stranger else 1)
    session.post([bytes(65_536)] * (most // 65_536))
    assert len(session._queued) == most // 65_536
    session.post([b"x"])
    assert session._queued == []
    assert isinstance(await ending_of(session), PeerTimeoutError)


async def test_the_longest_frames_of_rubbish_cost_a_strike_each(
    autojump_clock: trio.testing.MockClock,
) -> None:
    session, mallory = attacked(stranger=True)
    await mallory.send([b"\xc1" + os.urandom(65_535) for _ in range(sessions.MAX_STRIKES + 1)])
    assert isinstance(await ending_of(session), MalformedMessageError)
    answers = []
    with trio.move_on_after(1):
        while True:
            answers.append(codec.decode(await mallory.receive()))
    assert len(answers) <= sessions.MAX_STRIKES
    assert {type(each) for each in answers} <= {m.Error}


async def test_half_a_frame_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """Nor is one that trickles in a byte at a time."""
    session, mallory = attacked(stranger=True)

    async def trickle() -> None:
        with suppress(trio.BrokenResourceError):
            for byte in b"\x00\x01\x00\x00" + bytes(1_000):
                await mallory._stream.send_all(bytes([byte]))
                await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trickle)
        assert isinstance(await ending_of(session), PeerTimeoutError)
        assert trio.current_time() == LIMITS.idle
        nursery.cancel_scope.cancel()


# -- too many sessions


def table_of_connections(nursery: trio.Nursery) -> Connections:
    async def ignore(*_: object) -> None: ...

    return Connections(
        nursery=nursery,
        setup=None,  # type: ignore[arg-type]  # nothing is dialled
        runners={},
        on_message=ignore,
        tell=lambda *_: None,
    )


def session_of(number: int, *, stranger: bool) -> Session:
    ours, _ = memory_links()
    return Session(ours, Address(number.to_bytes(20, "big")), "", stranger=stranger)


@pytest.mark.parametrize(
    ("alike", "most"), [(True, MAX_SESSIONS), (False, MAX_STRANGERS)], ids=["one key", "many keys"]
)
async def test_of_too_many_strangers_the_oldest_goes(
    alike: bool, most: int, autojump_clock: trio.testing.MockClock
) -> None:
    """And no counterparty ever goes for a stranger."""
    async with trio.open_nursery() as nursery:
        connections = table_of_connections(nursery)
        counterparty = session_of(0, stranger=False)
        connections._admit(counterparty)
        strangers = []
        for number in range(1, most + 4):
            await trio.sleep(1)
            strangers.append(session_of(1 if alike else number, stranger=True))
            connections._admit(strangers[-1])
            if len(strangers) > most:
                gone = strangers[len(strangers) - most - 1]
                assert isinstance(await ending_of(gone), FloodError)
                connections._sessions[gone.signer].remove(gone)
        assert [each._end_error for each in (counterparty, *strangers[-most:])] == [None] * (
            most + 1
        )
