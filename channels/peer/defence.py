"""Handing the monitor what each channel would defend itself with, newest first and once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

import trio

from channels.dispute import Monitor, evidence_of
from channels.peer.runner import Runner
from channels.peer.tasks import Tasks
from channels.protocol.channel import Phase

__all__ = ["Defence"]

NOT_ON_CHAIN: Final = frozenset({Phase.ASKED, Phase.GRANTED, Phase.SUBMITTED, Phase.ABANDONED})


class Defence:
    """The channels whose evidence the monitor does not have yet; with no monitor, none."""

    def __init__(
        self, *, monitor: Monitor | None, runners: Mapping[bytes, Runner], tasks: Tasks
    ) -> None:
        self._monitor = monitor
        self._runners = runners
        self._tasks = tasks
        self._waiting: dict[bytes, None] = {}
        self._wanted = trio.Event()

    def stored(self, runner: Runner) -> None:
        """The channel changed, durably."""
        if self._monitor is not None and runner.channel.phase not in NOT_ON_CHAIN:
            self._waiting[runner.channel_id] = None
            self._wanted.set()

    async def run(self) -> None:
        """Hand the monitor what each change brought: the newest of every channel, once.

        What it misses when this process dies is in our store, and handed over at the next start.
        """
        monitor = self._monitor
        while monitor is not None:
            await self._wanted.wait()
            self._wanted = trio.Event()
            waiting, self._waiting = list(self._waiting), {}
            for identity in waiting:
                evidence = evidence_of(self._runners[identity].channel)
                await self._tasks.guarded(identity, partial(monitor.watch, evidence))
