"""One connection to one counterparty: who it is, what it may say, and frames in both directions.

One task reads, one writes. What the peer gets wrong is answered with an Error that names it, and
costs it a strike; too many end the connection. Nothing it sends changes a channel unless the
channel's own machine takes it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

import trio

from channels.errors import (
    BugError,
    ChannelsError,
    FrameError,
    LinkClosedError,
    OurError,
    PeerError,
    PeerTimeoutError,
    SignerError,
    StorageError,
    UnexpectedMessageError,
)
from channels.protocol import codec
from channels.protocol import messages as m
from channels.protocol.eip712 import Address
from channels.protocol.terms import Domain
from channels.transport.limits import LinkLimits, RateLimit
from channels.transport.link import Link

__all__ = ["LIMITS", "SOFTWARE", "Line", "Session", "greet"]

SOFTWARE: Final = "option-channels/0.1"
MAX_STRIKES: Final = 16
MAX_QUEUED: Final = 4_096
"""Frames queued for a peer that does not read; beyond, the connection is given up."""
MAX_QUEUED_BYTES: Final = 8 << 20
HELLO_TIMEOUT: Final = 10.0
LIMITS: Final = LinkLimits(idle=60.0, rate=RateLimit(frames=50_000.0))
"""A connection on which no whole frame comes for a minute is dead: we ping three times as often."""
PINGS_IN_IDLE: Final = 3


async def greet(link: Link, *, signer: Address, domain: Domain) -> Address:
    """Say hello and hear it; the counterparty's signer.

    **Nothing proves that signer yet**: until TLS does, a connection is believed no more than what
    is signed on it.

    Raises:
        PeerError: no hello in time, or one of another chain or contract.
    """
    try:
        return await _greet(link, signer, domain)
    except LinkClosedError:
        raise
    except PeerError as error:
        with trio.move_on_after(HELLO_TIMEOUT), suppress(PeerError):
            await link.send([codec.encode(_error(bytes(32), error))])
        raise


async def _greet(link: Link, signer: Address, domain: Domain) -> Address:
    hello = m.Hello(
        signer=signer,
        chain_id=domain.chain_id,
        adjudicator=domain.adjudicator,
        software=SOFTWARE,
    )
    await link.send([codec.encode(hello)])
    with trio.move_on_after(HELLO_TIMEOUT):
        heard = codec.decode(await link.receive())
        if not isinstance(heard, m.Hello):
            raise UnexpectedMessageError(f"{type(heard).__name__} before Hello")
        if (heard.chain_id, heard.adjudicator) != (domain.chain_id, domain.adjudicator):
            raise UnexpectedMessageError(
                f"the peer is on chain {heard.chain_id}, contract 0x{heard.adjudicator.hex()}",
                next_step="agree on one Adjudicator",
            )
        return heard.signer
    raise PeerTimeoutError(f"no Hello within {HELLO_TIMEOUT:g} s")


class Session:
    """A greeted connection. ``post`` queues frames and never blocks."""

    def __init__(self, link: Link, signer: Address, address: str) -> None:
        self.signer = signer
        self.address = address
        self._link = link
        self._queued: list[bytes] = []
        self._queued_bytes = 0
        self._wake = trio.Event()
        self._overflow = trio.Event()
        self._strikes = 0

    def post(self, frames: list[bytes]) -> None:
        """Queue frames behind what is queued.

        A peer that leaves too many unread loses them and the connection; what matters of them is
        sent again after the next.
        """
        if self._overflow.is_set():
            return
        self._queued.extend(frames)
        self._queued_bytes += sum(map(len, frames))
        if len(self._queued) > MAX_QUEUED or self._queued_bytes > MAX_QUEUED_BYTES:
            self._queued.clear()
            self._overflow.set()
        self._wake.set()

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
                for task in (self._write, self._watch_overflow, self._ping):
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
            if frames:
                await self._link.send(frames)

    async def _watch_overflow(self) -> None:
        await self._overflow.wait()
        raise PeerTimeoutError(f"the peer left more than {MAX_QUEUED} frames unread")

    async def _ping(self) -> None:
        """Have something come, and tell the peer that we are there."""
        while True:
            await trio.sleep(self._link.idle_timeout / PINGS_IN_IDLE)
            self.post_message(m.Ping(token=0))

    async def _read(self, handle: Callable[[Session, m.Message], Awaitable[None]]) -> None:
        while True:
            frame = await self._link.receive()
            channel_id = bytes(32)
            try:
                message = codec.decode(frame)
                channel_id = getattr(message, "channel_id", channel_id)
                await handle(self, message)
            except (FrameError, StorageError, SignerError, BugError):
                raise
            except (PeerError, OurError) as error:
                self._complain(channel_id, error)
            except Exception as error:
                raise BugError(f"a message was answered by {error!r}") from error

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


def _error(channel_id: bytes, error: ChannelsError) -> m.Error:
    reason = m.Reason.BUSY if isinstance(error, OurError) else m.Reason.PROTOCOL
    text = f"{type(error).__name__}: {error.args[0]}"
    return m.Error(channel_id=channel_id, reason=reason, text=text)


def _first(group: BaseExceptionGroup[ChannelsError]) -> ChannelsError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, ChannelsError):
        raise TypeError("a group of our errors holds one of ours")
    return error
