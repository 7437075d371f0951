"""Which channels to look at, at which head: a million idle ones cost nothing.

Plain bookkeeping without I/O, so that its promises can be tested alone:

- `Agenda`: a channel is due when something touched it, when its timer ran out, or at every head
  while something about it is unfinished;
- `DisputeCounter`: the contract numbers all disputes ever filed. Whoever has seen every number up
  to the present one has missed none.

Source: design, watchtower.md "Engine".
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from enum import IntEnum

__all__ = ["Agenda", "DisputeCounter", "Reason"]


class Reason(IntEnum):
    """How much of a channel must be looked at; the greater includes the lesser."""

    DECIDE = 0
    """Its storage is as it was read; decide again."""
    READ = 1
    """Read its storage first."""


class Agenda:
    """What is due, by channel id."""

    def __init__(self) -> None:
        self._due: dict[bytes, Reason] = {}
        self._each_head: dict[bytes, Reason] = {}
        self._timers: dict[bytes, int] = {}
        self._queue: list[tuple[int, bytes]] = []

    def add(self, channel_id: bytes, reason: Reason) -> None:
        """Look at it next time."""
        self._due[channel_id] = max(reason, self._due.get(channel_id, reason))

    def add_all(self, channel_ids: Iterable[bytes]) -> None:
        """Read all of these next time."""
        for each in channel_ids:
            self.add(each, Reason.READ)

    def at_each_head(self, channel_id: bytes, reason: Reason | None) -> None:
        """Look at it at every head from now on; None: no longer."""
        if reason is None:
            self._each_head.pop(channel_id, None)
        else:
            self._each_head[channel_id] = reason

    def set_timer(self, channel_id: bytes, time: int | None) -> None:
        """Read it at the first head of this chain time or later, in place of any earlier timer."""
        if time is None:
            self._timers.pop(channel_id, None)
        elif self._timers.get(channel_id) != time:
            self._timers[channel_id] = time
            heapq.heappush(self._queue, (time, channel_id))

    def remove(self, channel_id: bytes) -> None:
        """Forget it."""
        self._due.pop(channel_id, None)
        self._each_head.pop(channel_id, None)
        self._timers.pop(channel_id, None)

    def take(self, time: int, *, new_head: bool) -> dict[bytes, Reason]:
        """All that is due at a head of this time; it is due no longer, but for what stays."""
        while self._queue and self._queue[0][0] <= time:
            set_for, channel_id = heapq.heappop(self._queue)
            if self._timers.get(channel_id) == set_for:
                del self._timers[channel_id]
                self.add(channel_id, Reason.READ)
        due, self._due = self._due, {}
        if new_head:
            for channel_id, reason in self._each_head.items():
                due[channel_id] = max(reason, due.get(channel_id, reason))
        return due


class DisputeCounter:
    """How many disputes were seen, against how many there are.

    ``missed`` says that there may be some we do not know of: until everything watched has been read
    again, a dispute may go unanswered and **may lose funds**. ``gap`` says that this is because the
    numbers do not add up: somebody withheld an event.
    """

    def __init__(self) -> None:
        self.missed = True
        self.gap = False
        self._seen: list[tuple[int, int]] = []

    @property
    def seen(self) -> int | None:
        """The highest number seen, with all below it; None before the first reading."""
        return self._seen[-1][1] if self._seen else None

    def reconciled(self, block_number: int, count: int) -> None:
        """Everything watched was read at a block at which there were ``count``."""
        self._seen = [(block_number, count)]
        self.missed = self.gap = False

    def saw(self, block_number: int, count: int) -> None:
        """An event carried this number."""
        seen = self.seen
        if seen is None or count <= seen:
            return
        if count != seen + 1:
            self.missed = self.gap = True
        self._seen.append((block_number, count))

    def compare(self, count: int) -> None:
        """The contract counts so many, after all events up to the same block."""
        if count != self.seen:
            self.missed = self.gap = True

    def rewind(self, block_number: int) -> None:
        """Blocks above this one are gone, and what was seen in them."""
        while self._seen and self._seen[-1][0] > block_number:
            self._seen.pop()
        if not self._seen:
            self.missed = True

    def trim(self, final_number: int) -> None:
        """No rewind goes below this block: what was seen before it needs no history."""
        while len(self._seen) > 1 and self._seen[1][0] <= final_number:
            del self._seen[0]
