"""One connection to one counterparty: who it is, what it may say, and frames in both directions.

Before both have proved themselves nothing of any channel is said or heard. One task reads; what
comes in one burst for different channels is answered at once, so that they share a commit. What the
peer gets wrong is answered with an Error that names it, and costs it a strike; too many end the
connection. Nothing it sends changes a channel unless the channel's own machine takes it.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

import attrs
import trio

from channels.errors import (
    BadSignatureError,
    BugError,
    ChannelsError,
    LinkClosedError,
    OurError,
    PeerError,
    PeerTimeoutError,
    SignerError,
    StorageError,
    UnexpectedMessageError,
    UnprovedPeerError,
)
from channels.peer.tasks import NO_CHANNEL
from channels.protocol import codec
from channels.protocol import messages as m
from channels.protocol.eip712 import Address
from channels.protocol.proofs import Role, SessionProof
from channels.protocol.signing import Signable, Signer, check_signature
from channels.protocol.terms import Domain
from channels.transport.limits import LinkLimits, RateLimit
from channels.transport.link import Link

__all__ = ["LIMITS", "SOFTWARE", "Line", "Session", "greet"]

SOFTWARE: Final = "option-channels/0.1"
MAX_STRIKES: Final = 16
MAX_QUEUED: Final = 4_096
"""Frames queued for a peer that does not read; beyond, the connection is given up."""
MAX_QUEUED_BYTES: Final = 8 << 20
HELLO_TIMEOUT: Final = 30.0
"""Seconds for a Challenge or a Hello to come; the other side's key may be slow."""
SIGNER_TIMEOUT: Final = 20.0
"""Seconds that our key may take to prove us."""
GOODBYE_TIMEOUT: Final = 5.0
LIMITS: Final = LinkLimits(idle=60.0, rate=RateLimit(frames=10_000.0, burst=0.5))
"""A connection on which no whole frame comes for a minute is dead: we ping three times as often."""
STRANGER_RATE: Final = RateLimit(frames=200.0, bytes=1e6)
"""Of one who shares no channel with us: enough to open one."""
STRANGER_SHARE: Final = 32
"""One part in so many of the queue is what such a one may leave unread."""
PINGS_IN_IDLE: Final = 3
MOST_AT_ONCE: Final = 16
"""Frames of one burst whose messages are answered at once, those of each channel in order. More
would save little of a commit, and leave the other side idle meanwhile."""
_UNYIELDING: Final = 8
"""Messages of one channel that are answered without letting other tasks run."""
TOGETHER: Final = 0.0002
"""Seconds within which frames are posted that leave together, in one send for all."""

_M = TypeVar("_M", m.Challenge, m.Hello)


async def greet(link: Link, *, role: Role, signer: Signer, domain: Domain) -> Address:
    """Prove who we are and have the other side prove it; its signer.

    The server challenges, the client says Hello with its proof, and only then does the server say
    who it is. Each proof covers both challenges and the certificate of this very connection: on one
    without TLS it still proves the key, and no more.

    Args:
        link: fresh; nothing else may use it yet.
        role: `Role.CLIENT` for the side that connected.
        signer: ours.
        domain: of the contract that both must mean.

    Raises:
        UnprovedPeerError: its proof is not by the key it names, or not of this connection.
        PeerError: no Hello in time, or one of another chain or contract.
        SignerError: our key did not prove us in time.
    """
    try:
        prove = _answer if role is Role.CLIENT else _demand
        return await prove(link, signer, domain)
    except LinkClosedError:
        raise
    except (PeerError, SignerError) as error:
        with trio.move_on_after(GOODBYE_TIMEOUT), suppress(PeerError):
            await link.send([codec.encode(_error(bytes(32), error))])
        raise


async def _answer(link: Link, signer: Signer, domain: Domain) -> Address:
    """The client's part."""
    theirs = (await _hear(link, m.Challenge)).challenge
    proof = SessionProof(
        role=Role.CLIENT,
        certificate=link.binding,
        client_challenge=secrets.token_bytes(32),
        server_challenge=theirs,
        client=signer.address,
    )
    await _say_hello(link, signer, domain, proof)
    hello = await _hear(link, m.Hello)
    return _proved(hello, domain, attrs.evolve(proof, role=Role.SERVER))


async def _demand(link: Link, signer: Signer, domain: Domain) -> Address:
    """The server's part."""
    mine = secrets.token_bytes(32)
    await link.send([codec.encode(m.Challenge(challenge=mine))])
    hello = await _hear(link, m.Hello)
    proof = SessionProof(
        role=Role.CLIENT,
        certificate=link.binding,
        client_challenge=hello.challenge,
        server_challenge=mine,
        client=hello.signer,
    )
    client = _proved(hello, domain, proof)
    await _say_hello(link, signer, domain, attrs.evolve(proof, role=Role.SERVER))
    return client


async def _hear(link: Link, kind: type[_M]) -> _M:
    with trio.move_on_after(HELLO_TIMEOUT):
        heard = codec.decode(await link.receive())
        if isinstance(heard, kind):
            return heard
        if isinstance(heard, m.Error):
            raise PeerError(f"the peer complains: {heard.reason.name} {heard.text}")
        raise UnexpectedMessageError(f"{type(heard).__name__} before {kind.__name__}")
    raise PeerTimeoutError(f"no {kind.__name__} within {HELLO_TIMEOUT:g} s")


async def _say_hello(link: Link, signer: Signer, domain: Domain, proof: SessionProof) -> None:
    signature = None
    try:
        with trio.move_on_after(SIGNER_TIMEOUT):
            signature = await signer.sign(Signable(domain, proof))
    except ChannelsError:
        raise
    except Exception as error:
        raise SignerError(f"our key did not prove us: {error!r}") from error
    if signature is None:
        raise SignerError(f"our key did not prove us within {SIGNER_TIMEOUT:g} s")
    client = proof.role is Role.CLIENT
    hello = m.Hello(
        signer=signer.address,
        chain_id=domain.chain_id,
        adjudicator=domain.adjudicator,
        software=SOFTWARE,
        challenge=proof.client_challenge if client else proof.server_challenge,
        proof=signature,
    )
    await link.send([codec.encode(hello)])


def _proved(hello: m.Hello, domain: Domain, proof: SessionProof) -> Address:
    """Check a Hello; its signer."""
    if (hello.chain_id, hello.adjudicator) != (domain.chain_id, domain.adjudicator):
        raise UnexpectedMessageError(
            f"the peer is on chain {hello.chain_id}, contract 0x{hello.adjudicator.hex()}",
            next_step="agree on one Adjudicator",
        )
    server = proof.role is Role.SERVER
    if hello.challenge != (proof.server_challenge if server else proof.client_challenge):
        raise UnprovedPeerError("its Hello has another challenge than it made")
    try:
        check_signature(hello.proof, Signable(domain, proof), hello.signer)
    except BadSignatureError as error:
        raise UnprovedPeerError(
            f"not proved to be 0x{hello.signer.hex()}: another key, or another connection"
        ) from error
    return hello.signer


class Session:
    """A greeted connection. ``post`` sends or queues frames and never blocks."""

    def __init__(self, link: Link, signer: Address, address: str, *, stranger: bool) -> None:
        self.signer = signer
        self.address = address
        self.since = trio.current_time()
        self.stranger = stranger
        self._link = link
        self._queued: list[bytes] = []
        self._queued_bytes = 0
        self._posted_at = -math.inf
        self._wake = trio.Event()
        self._ended = trio.Event()
        self._end_error: PeerError | None = None
        self._strikes = 0
        if stranger:
            link.set_rate(_slower(link.limits.rate))

    def trust(self) -> None:
        """Let it say as much as its counterparty needs: it shares a channel with us now."""
        self.stranger = False
        self._link.set_rate(self._link.limits.rate)

    def end(self, error: PeerError) -> None:
        """End the connection; what is queued does not leave any more."""
        if self._end_error is None:
            self._end_error = error
            self._queued.clear()
            self._ended.set()

    def post(self, frames: list[bytes]) -> None:
        """Send frames at once if nothing is queued and none left a moment ago; else queue them.

        A peer that leaves too many unread loses them and the connection; what matters of them is
        sent again after the next.
        """
        if self._end_error is not None or self._sends_now(frames):
            return
        self._queued.extend(frames)
        self._queued_bytes += sum(map(len, frames))
        share = STRANGER_SHARE if self.stranger else 1
        most = MAX_QUEUED // share
        if len(self._queued) > most or self._queued_bytes > MAX_QUEUED_BYTES // share:
            self.end(PeerTimeoutError(f"the peer left more than {most} frames unread"))
        self._wake.set()

    def _sends_now(self, frames: list[bytes]) -> bool:
        """Whether these frames need not be queued."""
        now, before = trio.current_time(), self._posted_at
        self._posted_at = now
        if self._queued or now - before < TOGETHER:
            return False
        try:
            sent = self._link.send_now(frames)
        except LinkClosedError as error:
            self.end(error)
            return True
        if self._link.unsent:
            self._wake.set()
        return sent

    def post_message(self, message: m.Message) -> None:
        """Queue one message."""
        self.post([codec.encode(message)])

    async def run(self, handle: Callable[[Session, m.Message], Awaitable[None]]) -> None:
        """Read and write until the connection ends.

        Raises:
            PeerError: the peer left, broke the framing, flooded, did not read or fell silent.
            StorageError, SignerError: our database or our key failed. What was not answered for
                that the peer sends again after it has reconnected.
            BugError: a message was handled in a way nobody foresaw.
        """
        try:
            async with trio.open_nursery() as nursery:
                for task in (self._write, self._watch_end, self._ping):
                    nursery.start_soon(task)
                try:
                    await self._read(handle)
                finally:
                    nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            known, unknown = group.split(ChannelsError)
            if known is None or unknown is not None:
                raise
            error, death = _first(known), self._link.death
            # That a link is closed is all that its other user is told of the reason.
            if isinstance(error, LinkClosedError) and isinstance(death, ChannelsError):
                error = death
            raise error from group

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            frames, self._queued, self._queued_bytes = self._queued, [], 0
            if frames or self._link.unsent:
                await self._link.send(frames)

    async def _watch_end(self) -> None:
        await self._ended.wait()
        if self._end_error is not None:
            raise self._end_error

    async def _ping(self) -> None:
        """Have something come, and tell the peer that we are there."""
        while True:
            await trio.sleep(self._link.idle_timeout / PINGS_IN_IDLE)
            self.post_message(m.Ping(token=0))

    async def _read(self, handle: Callable[[Session, m.Message], Awaitable[None]]) -> None:
        while True:
            lanes: dict[bytes, list[m.Message]] = {}
            for frame in await self._link.receive_burst(MOST_AT_ONCE):
                message = self._decoded(frame)
                if message is not None:
                    lanes.setdefault(getattr(message, "channel_id", NO_CHANNEL), []).append(message)
            general = lanes.pop(NO_CHANNEL, [])
            if len(lanes) == 1:
                await self._answer(handle, *lanes.popitem())
            elif lanes:
                async with trio.open_nursery() as nursery:
                    for channel_id, messages in lanes.items():
                        nursery.start_soon(self._answer, handle, channel_id, messages)
            # Last: who has its Ping answered may take what it said before as taken in.
            await self._answer(handle, NO_CHANNEL, general)

    def _decoded(self, frame: bytes) -> m.Message | None:
        """The message in a frame; None, with a complaint, if there is none."""
        try:
            return codec.decode(frame)
        except PeerError as error:
            self._complain(NO_CHANNEL, error)
        except Exception as error:
            raise BugError(f"a frame was read with {error!r}") from error
        return None

    async def _answer(
        self,
        handle: Callable[[Session, m.Message], Awaitable[None]],
        channel_id: bytes,
        messages: list[m.Message],
    ) -> None:
        """Have the messages of one channel handled, in order."""
        for number, message in enumerate(messages, 1):
            try:
                await handle(self, message)
            except (StorageError, SignerError, BugError):
                raise
            except (PeerError, OurError) as error:
                self._complain(channel_id, error)
            except Exception as error:
                raise BugError(f"a message was answered by {error!r}") from error
            if number % _UNYIELDING == 0:
                await trio.lowlevel.checkpoint()

    def _complain(self, channel_id: bytes, error: ChannelsError) -> None:
        """Name what was wrong; a fault of the peer's costs it a strike."""
        if not isinstance(error, OurError):
            self._strikes += 1
            if self._strikes > MAX_STRIKES:
                raise error
        self.post_message(_error(channel_id, error))


class Line:
    """All connections to one counterparty, of which the one that works is not known.

    A connection that hangs, or one whose Hello lied, takes nothing away from the others.
    """

    def __init__(self, sessions: Mapping[Address, list[Session]], signer: Address) -> None:
        self._sessions = sessions
        self._signer = signer

    def post(self, frames: list[bytes]) -> None:
        """Queue frames on each; what the peer gets twice it takes once."""
        for session in self._sessions.get(self._signer, ()):
            session.post(frames)


def _slower(rate: RateLimit | None) -> RateLimit:
    if rate is None:
        return STRANGER_RATE
    return attrs.evolve(
        rate,
        frames=min(rate.frames, STRANGER_RATE.frames),
        bytes=min(rate.bytes, STRANGER_RATE.bytes),
    )


def _error(channel_id: bytes, error: ChannelsError) -> m.Error:
    """What the peer is told: its own fault by name, of ours nothing but that there is one."""
    if isinstance(error, OurError):
        return m.Error(channel_id=channel_id, reason=m.Reason.BUSY, text="we cannot answer for now")
    text = f"{type(error).__name__}: {error.args[0]}"
    return m.Error(channel_id=channel_id, reason=m.Reason.PROTOCOL, text=text)


def _first(group: BaseExceptionGroup[ChannelsError]) -> ChannelsError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, ChannelsError):
        raise TypeError("a group of our errors holds one of ours")
    return error
