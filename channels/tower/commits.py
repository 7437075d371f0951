"""Group commit: while one transaction runs in a thread, what comes waits, and is the next one.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import attrs
import trio

from channels.errors import OurError, StorageError

__all__ = ["Asked", "Commits"]

W = TypeVar("W")

_LEAST_AT_ONCE: Final = 16
"""Writes in one transaction, if so many wait: fewer would pay for one more wait for the disk."""

_MOST_AT_ONCE: Final = 256
"""Writes in one transaction: more would make those that come wait for too long."""


@attrs.define(eq=False)
class Asked(Generic[W]):
    """One write that was asked for; ``answer`` or ``error`` is what came of it."""

    write: W
    done: trio.Event = attrs.field(factory=trio.Event)
    answer: int = 0
    error: OurError | None = None


class Commits(Generic[W]):
    """Writes of many tasks, as few transactions. ``seconds`` is what the newest one took.

    ``transact`` runs in a thread: it carries out a group, and fills in every answer or error.
    ``committed`` runs in the event loop after it, before those who wait are woken.
    """

    def __init__(
        self,
        transact: Callable[[Sequence[Asked[W]]], None],
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        self.seconds = 0.0
        self._transact = transact
        self._committed = committed
        self._waiting: list[Asked[W]] = []
        self._arrived = trio.Event()
        self._limiter = trio.CapacityLimiter(1)

    async def write(self, write: W) -> int:
        """Write; durable on return. Raises what ``transact`` filled in."""
        asked = Asked(write)
        self._waiting.append(asked)
        self._arrived.set()
        await asked.done.wait()
        if asked.error is not None:
            raise asked.error
        return asked.answer

    async def run(self) -> None:
        """Write what is asked for, for ever."""
        while True:
            await self._arrived.wait()
            self._arrived = trio.Event()
            while self._waiting:
                # While one half is on its way to the disk, the other half's answers are worked on.
                size = min(max(_LEAST_AT_ONCE, len(self._waiting) // 2), _MOST_AT_ONCE)
                group, self._waiting = self._waiting[:size], self._waiting[size:]
                with trio.CancelScope(shield=True):
                    started = trio.current_time()
                    await trio.to_thread.run_sync(self._transact, group, limiter=self._limiter)
                    self.seconds = trio.current_time() - started
                self._committed()
                for each in group:
                    each.done.set()

    def close(self, why: str) -> None:
        """Nothing will be written any more: tell those who wait."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.error = StorageError(why, next_step="open it again")
            each.done.set()
