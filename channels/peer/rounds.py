"""Rounds: every channel is looked at when its chain or its marks have news, and every so often.

One look a channel at a time, each in a task of its own: a market source that hangs holds up one
channel and no other.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import trio

from channels.errors import ChannelsError
from channels.peer.breaker import Breaker
from channels.peer.credit import Credit
from channels.peer.drop_copy import Pulse
from channels.peer.runner import Runner
from channels.peer.settling import Settling
from channels.peer.tasks import Tasks
from channels.protocol.changes import Marks, Remark, Settlement
from channels.protocol.channel import OPEN_PHASES, Channel, Phase
from channels.protocol.effects import ChangeConfirmed, Notice

__all__ = ["Rounds"]

LOOK_GAP: Final = 0.25
"""Seconds between the looks at a channel that is re-marked without end."""

_LOOKED_AT: Final = OPEN_PHASES | {Phase.DISPUTED}


class Rounds:
    """Shows breaker and credit what our market says of each channel.

    ``own_marks`` asks the market for what is open; None where nothing is, or there is no market.
    """

    hears: Final = (ChangeConfirmed,)

    def __init__(
        self,
        *,
        runners: Mapping[bytes, Runner],
        own_marks: Callable[[Channel], Awaitable[Marks | None]],
        credit: Credit | None,
        breaker: Breaker | None,
        tasks: Tasks,
        interval: float,
        settling: Settling | None = None,
    ) -> None:
        self._runners = runners
        self._own_marks = own_marks
        self._credit = credit
        self._breaker = breaker
        self._settling = settling
        self._tasks = tasks
        self._interval = interval
        self._looking: set[bytes] = set()
        self._again: set[bytes] = set()
        self._due: set[bytes] = set()
        self._looked_at: dict[bytes, float] = {}
        self._done = Pulse()

    def on_notice(self, runner: Runner, notice: Notice) -> None:
        """Look soon where new marks stand or positions are settled: more may be due.

        At once, unless the last look was less than `LOOK_GAP` ago. A trade can wait for the next
        head: it met margin.
        """
        if not isinstance(notice, ChangeConfirmed):
            return
        settled = self._settling is not None and isinstance(notice.change, Settlement)
        if settled or isinstance(notice.change, Remark):
            self._look_soon(runner.channel_id)

    def _look_soon(self, identity: bytes) -> None:
        if identity in self._due:
            return
        wait = self._looked_at.get(identity, -math.inf) + LOOK_GAP - trio.current_time()
        if wait <= 0:
            self.look(identity)
        else:
            self._due.add(identity)
            self._tasks.start(identity, partial(self._look_after, wait, identity))

    async def _look_after(self, wait: float, identity: bytes) -> None:
        await trio.sleep(wait)
        self._due.discard(identity)
        self.look(identity)

    def look(self, identity: bytes) -> None:
        """Look at one channel now, or again as soon as the look under way is done."""
        if self._credit is None and self._breaker is None and self._settling is None:
            return
        if identity in self._looking:
            self._again.add(identity)
        else:
            self._looking.add(identity)
            self._looked_at[identity] = trio.current_time()
            self._tasks.start(identity, partial(self._look, identity))

    def look_at_all(self) -> None:
        """Look at every channel now."""
        for identity in list(self._runners):
            self.look(identity)

    @property
    def looking(self) -> bool:
        """Whether a look is under way."""
        return bool(self._looking)

    async def looked(self) -> None:
        """Wait until no look is under way; one that is not due yet is not waited for."""
        while self._looking:
            await self._done.wait()

    async def run(self) -> None:
        """Look at every channel, again and again, until cancelled."""
        while True:
            self.look_at_all()
            await trio.sleep(self._interval)

    async def _look(self, identity: bytes) -> None:
        runner = self._runners[identity]
        try:
            if runner.channel.phase in _LOOKED_AT and runner.channel.head is not None:
                marks, no_price = await self._market(runner.channel)
                if self._breaker is not None:
                    await self._breaker.look(runner, marks, no_price)
                if self._settling is not None:
                    await self._settling.look(runner)
                if self._credit is not None:
                    await self._credit.look(runner, marks)
        finally:
            self._looking.discard(identity)
            if identity in self._again:
                self._again.discard(identity)
                self.look(identity)
            self._done.beat()

    async def _market(self, channel: Channel) -> tuple[Marks | None, str]:
        """Our own marks of what is open, or why there are none."""
        try:
            return await self._own_marks(channel), ""
        except ChannelsError as error:
            return None, str(error.args[0])
