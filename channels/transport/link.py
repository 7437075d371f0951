"""A link: frames both ways over one Trio stream, with one reader and one writer at a time.

There are no background tasks. The task that receives is the reader; nothing is read that nobody
asks for, so the kernel's buffers are the inbound bound and TCP does the throttling. The first task
to send is the writer; those that come while it writes queue, and one of them sends for all.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NoReturn

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task

from channels.errors import FloodError, FrameError, LinkClosedError, PeerTimeoutError
from channels.transport.framing import FrameDecoder, encode_frames
from channels.transport.limits import LinkLimits, RateLimit, Throttle
from channels.transport.streams import EagerStream

__all__ = ["NO_BINDING", "Link"]

NO_BINDING: Final = bytes(32)

_UNYIELDING: Final = 8
"""Buffered frames that may be received without letting other tasks run."""

_LONGEST_BURST: Final = 1 << 18
"""Bytes of queued frames that one writer sends for all; ``send`` in the limits is per burst."""

_STREAM_ERRORS: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class _Burst:
    """Frames waiting for the writer, and the task that waits with them."""

    __slots__ = ("data", "error", "leads", "taken", "task")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.task: Task | None = None
        self.error: LinkClosedError | None = None
        self.taken = False
        self.leads = False


class Link:
    """Frames over a stream. Any number of tasks may send, one at a time may receive.

    A link dies at the first error and says why ever after; a dead link never comes back. An ``async
    with`` closes it.

    Args:
        stream: owned by the link from now on. This is where TLS goes: any ``trio.abc.Stream``.
        limits: of time and rate.
        remote: the other side's address, for people.
        binding: what only the two true ends of the stream have in common; see `Secured`.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        limits: LinkLimits | None = None,
        remote: str = "",
        binding: bytes = NO_BINDING,
    ) -> None:
        self.limits = limits if limits is not None else LinkLimits()
        self.remote = remote
        self.binding = binding
        self._stream = stream
        self._eager = stream if isinstance(stream, EagerStream) else None
        self._death: Exception | None = None
        self._decoder = FrameDecoder()
        self._inbox: deque[bytes] = deque()
        self._receiving = False
        self._waiting_since = math.inf
        self._unyielded = 0
        self._throttle: Throttle | None = None
        self._not_before = 0.0
        self.set_rate(self.limits.rate)
        self._writing: trio.CancelScope | None = None
        self._queue: deque[_Burst] = deque()

    def set_rate(self, rate: RateLimit | None) -> None:
        """Take frames at another rate from now on; None for any."""
        self._throttle = Throttle(rate, now=trio.current_time()) if rate is not None else None

    @property
    def death(self) -> Exception | None:
        """Why the link can no longer be used; None while it can."""
        return self._death

    async def __aenter__(self) -> Link:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # Sending

    async def send(self, frames: Sequence[bytes]) -> None:
        """Send a burst of frames, in order and unmixed with others'; return when the kernel has it.

        If this is cancelled, either the link lives and nothing was sent, or the burst was under
        way, perhaps in part, and the link is dead. A return says nothing about what the peer got.

        Raises:
            InvalidValueError: a frame is empty or too long; nothing was sent.
            PeerTimeoutError: the peer does not read, and the link is dead.
            LinkClosedError: the link is dead.
        """
        burst = _Burst(encode_frames(frames))
        self._check_alive()
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._writing is not None:
            self._queue.append(burst)
            await self._wait(burst)
            if burst.error is not None:
                raise burst.error
            if burst.leads:
                await self._write([burst, *await self._follow(burst)])
        elif burst.data or self.unsent:
            await self._write([burst])
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def send_now(self, frames: Sequence[bytes]) -> bool:
        """Send a burst without waiting; False, with nothing sent, where only `send` can.

        The kernel may take a part only: where `unsent` then says so, a `send`, be it of nothing,
        has to see to the rest.

        Raises:
            InvalidValueError: as for `send`.
            LinkClosedError: the link is dead.
        """
        if self._death is not None:
            raise self._closed_error()
        stream = self._eager
        if stream is None or self._writing is not None or stream.backlog:
            return False
        try:
            stream.push(encode_frames(frames))
        except _STREAM_ERRORS as broken:
            self._die(_ended(broken))
            stream.close()
            raise self._closed_error() from broken
        return True

    @property
    def unsent(self) -> bool:
        """Whether something waits for the kernel that no `send` waits with."""
        return self._eager is not None and self._eager.backlog > 0

    async def _wait(self, burst: _Burst) -> None:
        def abort(_: RaiseCancelT) -> Abort:
            burst.task = None
            if not burst.taken:
                self._queue.remove(burst)
            elif self._writing is not None:
                self._die(_cancelled())
                self._writing.cancel()
            return Abort.SUCCEEDED

        burst.task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    async def _follow(self, burst: _Burst) -> list[_Burst]:
        """Take the writer's place, and with it the bursts that queue behind ``burst``."""
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            self._writing = None
            self._wake([])
            raise
        taken: list[_Burst] = []
        size = len(burst.data)
        while self._queue and size + len(self._queue[0].data) <= _LONGEST_BURST:
            burst = self._queue.popleft()
            burst.taken = True
            size += len(burst.data)
            taken.append(burst)
        return taken

    async def _write(self, bursts: list[_Burst]) -> None:
        """Send the bursts; wake the tasks behind all but the first, which is the caller's own."""
        error: Exception | None = None
        data = bursts[0].data if len(bursts) == 1 else b"".join(burst.data for burst in bursts)
        scope = trio.CancelScope(deadline=trio.current_time() + self.limits.send)
        self._writing = scope
        try:
            with scope:
                await self._stream.send_all(data)
            if scope.cancelled_caught and self._death is None:
                error = PeerTimeoutError(
                    f"{self.remote or 'the peer'} has not read for {self.limits.send:g} s"
                )
                self._die(error)
        except _STREAM_ERRORS as broken:
            self._die(_ended(broken))
        except BaseException:
            self._die(_cancelled())
            raise
        finally:
            self._writing = None
            self._wake(bursts[1:])
            if self._death is not None:
                await trio.aclose_forcefully(self._stream)
        if error is not None:
            raise error
        self._check_alive()

    def _wake(self, sent: list[_Burst]) -> None:
        for burst in sent:
            if burst.task is not None:
                burst.error = self._closed_error() if self._death is not None else None
                trio.lowlevel.reschedule(burst.task)
        if self._queue:  # empty if the link is dead
            following = self._queue.popleft()
            following.leads = following.taken = True
            self._writing = trio.CancelScope()  # holds the place until it runs
            assert following.task is not None  # noqa: S101
            trio.lowlevel.reschedule(following.task)

    # Receiving

    async def receive(self) -> bytes:
        """Receive the next frame; `receive_burst` of one."""
        return (await self.receive_burst(1))[0]

    async def receive_burst(self, most: int) -> list[bytes]:
        """Receive the next frame, and those that came with it. Cancelling this loses nothing.

        A checkpoint whenever it has to read, and at least once in 8 frames or after a burst.

        Args:
            most: frames, 1 or more.

        Raises:
            FrameTooLargeError, FrameTruncatedError, FrameError: the stream is no stream of frames;
                frames before that have been given. The link is dead.
            FloodError: above the rate limit for too long; the link is dead.
            LinkClosedError: the peer closed the stream between two frames, or the link is dead.
            trio.BusyResourceError: another task is receiving.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this link")
        self._receiving = True
        try:
            if self._not_before > 0:
                await trio.sleep_until(self._not_before)
            if not self._inbox:
                await self._fill()
            else:
                self._check_alive()
                self._unyielded += 1
                if self._unyielded >= _UNYIELDING:
                    self._unyielded = 0
                    await trio.lowlevel.checkpoint()
            return self._taken(most)
        except (FrameError, FloodError) as error:
            await self._kill(error)
            raise
        finally:
            self._receiving = False

    def _taken(self, most: int) -> list[bytes]:
        """The next frames, paid for; no more once the peer is above its rate."""
        burst: list[bytes] = []
        now, self._not_before = trio.current_time(), 0.0
        while self._inbox and most and not self._not_before:
            frame = self._inbox.popleft()
            burst.append(frame)
            most -= 1
            if self._throttle is not None:
                wait = self._throttle.spend(len(frame), now=now)
                if wait > 0:
                    self._not_before = now + wait
        if len(burst) > 1:
            self._unyielded = _UNYIELDING
        return burst

    async def _fill(self) -> None:
        """Read until there is a frame."""
        self._check_alive()
        self._unyielded = 0
        if self._decoder.broken is not None:
            raise self._decoder.broken
        self._waiting_since = trio.current_time()
        try:
            while not self._inbox:
                data = await self._stream.receive_some()
                if not data:
                    self._decoder.finish()
                    await self._kill(LinkClosedError("the peer closed the connection"))
                    raise self._closed_error()
                self._inbox.extend(self._decoder.feed(data))
        except _STREAM_ERRORS as broken:
            await self._kill(_ended(broken))
            raise self._closed_error() from broken
        finally:
            self._waiting_since = math.inf

    async def watch(self) -> NoReturn:
        """End the link once a receive has waited ``limits.idle`` seconds for a whole frame.

        Run it beside the task that receives, whose receive then fails as on any dead link: one
        timer for the life of a link costs nothing, and one for each receive more than the receive.

        Raises:
            PeerTimeoutError: the peer fell silent, and the link is dead.
        """
        late = False
        while True:
            now = trio.current_time()
            due = min(self._waiting_since, now) + self.limits.idle
            if late and due <= now:
                break
            late = due <= now  # once more: where we stood still, what came has not been read yet
            await trio.sleep_until(due)
        error = PeerTimeoutError(
            f"no whole frame from {self.remote or 'the peer'} in {self.limits.idle:g} s"
        )
        await self._kill(error)
        raise error

    # Dying

    async def aclose(self) -> None:
        """Close the link. Sends under way fail, frames not yet received are dropped.

        What ``send`` has returned for is in the kernel's hands and still goes out, if the peer
        reads it. Calling this again does nothing.
        """
        if self._death is not None:
            await trio.lowlevel.checkpoint()
            return
        self._die(LinkClosedError("we closed the connection", fault="ours"))
        with trio.move_on_after(self.limits.close):
            try:
                await self._stream.aclose()
            except _STREAM_ERRORS:
                return

    async def _kill(self, error: Exception) -> None:
        self._die(error)
        await trio.aclose_forcefully(self._stream)

    def _die(self, error: Exception) -> None:
        """Die of ``error``, unless dead; tell those who queue. The caller closes the stream."""
        if self._death is not None:
            return
        self._death = error
        while self._queue:
            burst = self._queue.popleft()
            burst.taken = True
            burst.error = self._closed_error()
            if burst.task is not None:
                trio.lowlevel.reschedule(burst.task)

    def _check_alive(self) -> None:
        if self._death is not None:
            raise self._closed_error()

    def _closed_error(self) -> LinkClosedError:
        death = self._death
        error = LinkClosedError(
            death.args[0] if death is not None else "the link is closed",
            fault=getattr(death, "fault", LinkClosedError.fault),
        )
        error.__cause__ = death
        return error


def _cancelled() -> LinkClosedError:
    return LinkClosedError("a send was cancelled midway", fault="ours")


def _ended(cause: Exception) -> LinkClosedError:
    error = LinkClosedError(f"the connection broke: {cause}")
    error.__cause__ = cause
    return error
