"""One greeted connection to one counterparty: what it may say, and frames in both directions.

One task reads; what
comes in one burst for different channels is answered at once, so that they share a commit. What the
peer gets wrong is answered with an Error that names it, and costs it a strike; too many end the
connection. Nothing it sends changes a channel unless the channel's own machine takes it.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import attrs
import trio

from channels.errors import (
    BugError,
    ChannelsError,
    LinkClosedError,
    OurError,
    PeerError,
    PeerTimeoutError,
    SignerError,
    StorageError,
)
from channels.peer.tasks import NO_CHANNEL
from channels.protocol import codec
from channels.protocol import messages as m
from channels.protocol.eip712 import Address
from channels.transport.limits import LinkLimits, RateLimit
from channels.transport.link import Link

__all__ = ["LIMITS", "Line", "Session", "error_message"]

MAX_STRIKES: Final = 16
MAX_QUEUED: Final = 4_096
"""Frames queued for a peer that does not read; beyond, the connection is given up."""
MAX_QUEUED_BYTES: Final = 8 << 20
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
"""Seconds within which two posts leave at once; the frames of more leave in one send for all."""


class Session:
    """A greeted connection. ``post`` sends or queues frames and never blocks.

    Attributes:
        crowded: messages of several channels are being answered: their commits are better shared.
    """

    def __init__(self, link: Link, signer: Address, address: str, *, stranger: bool) -> None:
        self.signer = signer
        self.address = address
        self.since = trio.current_time()
        self.stranger = stranger
        self.crowded = False
        self._link = link
        self._queued: list[bytes] = []
        self._queued_bytes = 0
        self._posted_at = deque((-math.inf, -math.inf), maxlen=2)
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
        """Send frames at once if nothing is queued and few left a moment ago; else queue them.

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
        now, before = time.perf_counter(), self._posted_at[0]
        self._posted_at.append(now)
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
                for task in (self._write, self._watch_end, self._link.watch, self._ping):
                    nursery.start_soon(task)
                # A task too: each wake-up passes through all that awaits the reader.
                nursery.start_soon(self._read, handle)
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
            await trio.sleep(self._link.limits.idle / PINGS_IN_IDLE)
            self.post_message(m.Ping(token=0))

    async def _read(self, handle: Callable[[Session, m.Message], Awaitable[None]]) -> None:
        while True:
            lanes: dict[bytes, list[m.Message]] = {}
            for frame in await self._link.receive_burst(MOST_AT_ONCE):
                message = self._decoded(frame)
                if message is not None:
                    lanes.setdefault(getattr(message, "channel_id", NO_CHANNEL), []).append(message)
            general = lanes.pop(NO_CHANNEL, None)
            self.crowded = len(lanes) > 1
            if self.crowded:
                async with trio.open_nursery() as nursery:
                    for channel_id, messages in lanes.items():
                        nursery.start_soon(self._answer, handle, channel_id, messages)
            elif lanes:
                await self._answer(handle, *lanes.popitem())
            # Last: who has its Ping answered may take what it said before as taken in.
            if general is not None:
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
        self.post_message(error_message(channel_id, error))


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


def error_message(channel_id: bytes, error: ChannelsError) -> m.Error:
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
