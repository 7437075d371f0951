"""What a monitor tells of its work, as values; and the bounded stream that carries it.

Source: design, watchtower.md "Engine".
"""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

import attrs
import trio

from channels.dispute.actions import Duty
from channels.protocol.types import Party

__all__ = [
    "ChannelFinished",
    "DisputeFound",
    "DutyDone",
    "DutySubmitted",
    "Report",
    "Stream",
]

T = TypeVar("T")

STREAM_LENGTH: Final = 1_024


@attrs.frozen(kw_only=True)
class DisputeFound:
    """A watched channel is in its window. ``newest`` is the highest nonce we can still record."""

    channel_id: bytes
    filer: Party | None
    recorded: int
    newest: int
    deadline: int
    head_time: int


@attrs.frozen(kw_only=True)
class DutySubmitted:
    """The chain was first asked for this; ``seconds`` after the duty was first seen."""

    channel_id: bytes
    duty: Duty
    key: bytes
    head_number: int
    head_time: int
    seconds: float


@attrs.frozen(kw_only=True)
class DutyDone:
    """The chain shows the effect, ours or another's doing; a reorganisation may still undo it.

    ``seconds`` since it was first asked for, by our clock; ``chain_seconds`` between the heads.
    """

    channel_id: bytes
    duty: Duty
    key: bytes
    head_number: int
    head_time: int
    seconds: float
    chain_seconds: int


@attrs.frozen(kw_only=True)
class ChannelFinished:
    """Paid out, and final: the channel is watched no more."""

    channel_id: bytes
    final_number: int


Report = DisputeFound | DutySubmitted | DutyDone | ChannelFinished


class Stream(Generic[T]):
    """An async iterator with a bound: its writer never waits, and the oldest gives way.

    One reader. ``lost`` counts what gave way unread.
    """

    def __init__(self, length: int = STREAM_LENGTH) -> None:
        self.lost = 0
        self._items: deque[T] = deque(maxlen=length)
        self._arrived = trio.Event()
        self._closed = False

    def __aiter__(self) -> Stream[T]:
        return self

    async def __anext__(self) -> T:
        """The next item; waits for it. Ends when the monitor does."""
        await trio.lowlevel.checkpoint()
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            await self._arrived.wait()
        return self._items.popleft()

    def put(self, item: T) -> None:
        """Add an item, at the oldest one's cost if the stream is full."""
        if len(self._items) == self._items.maxlen:
            self.lost += 1
        self._items.append(item)
        self._ring()

    def close(self) -> None:
        """End the iteration once everything is read."""
        self._closed = True
        self._ring()

    def _ring(self) -> None:
        self._arrived.set()
        self._arrived = trio.Event()
