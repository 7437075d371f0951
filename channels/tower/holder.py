"""The defence by the process that may act: disputed channels are the monitor's.

The monitor of `channels.dispute` does the defending, for those channels alone that have something
to defend: nothing is in memory of the others.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Set
from typing import Final

import attrs

from channels.dispute import Alert, AlertCode, Level, Monitor
from channels.errors import StorageError
from channels.protocol.facts import ChannelView, Head, OnChainPhase
from channels.tower.book import Book
from channels.tower.kept import Kept
from channels.tower.lookout import Concern
from channels.tower.policy import TowerPolicy
from channels.tower.ports import TowerChain
from channels.tower.writes import Progress, Release

__all__ = ["Holder"]

_LOG: Final = logging.getLogger("channels.tower")


class Holder:
    """Hands channels to a monitor when they need it, and takes them back when they do not."""

    role: Final = "holder"

    def __init__(
        self,
        chain: TowerChain,
        book: Book,
        monitor: Monitor,
        *,
        policy: TowerPolicy,
        alert: Callable[[Alert], None],
    ) -> None:
        self.monitor = monitor
        self._chain = chain
        self._book = book
        self._policy = policy
        self._alert = alert
        self._undefended: dict[bytes, Concern] = {}
        self._staggered: list[tuple[int, bytes]] = []
        self._change = book.change
        self._handed: dict[bytes, int] = {}

    @property
    def degraded(self) -> bool:
        """Whether not all that is watched has been read since something was missed."""
        return self.monitor.degraded

    @property
    def sure(self) -> bool:
        """Whether the monitor has every disputed channel."""
        return not self._undefended

    @property
    def undefended(self) -> int:
        """Disputed channels that the monitor does not have: not yet its turn, or in trouble."""
        return len(self._undefended)

    @property
    def disputes(self) -> dict[bytes, ChannelView]:
        """Watched channels that are in their window, as last read."""
        found = {}
        for channel_id in self.monitor.channels:
            reading = self.monitor.reading(channel_id)
            if reading is not None and reading[0].phase is OnChainPhase.DISPUTED:
                found[channel_id] = reading[0]
        return found

    async def start(self) -> None:
        """Hand the monitor what an earlier run, or another process, knew to be disputed.

        Raises:
            StorageError: the book cannot be read.
        """
        for channel_id, _ in await self._book.ask(lambda book: book.disputes()):
            await self._defend(Concern(channel_id=channel_id))

    async def ready(self) -> None:
        """Wait until the monitor has read every channel that it had at the start."""
        await self.monitor.ready()

    async def take(self, kept: Kept, *, urgent: bool) -> None:
        """The monitor has it before its receipt, if it needs it now."""
        channel_id = kept.channel_id
        if urgent or self.monitor.watched(channel_id) is not None:
            block = self._chain.head.number
            await self._book.write(Progress(concerned=(channel_id,), block=block))
            await self._defend(Concern(channel_id=channel_id))

    async def forget(self, channel_id: bytes) -> None:
        """Stop defending a channel."""
        await self._release(channel_id)
        self._undefended.pop(channel_id, None)

    async def _release(self, channel_id: bytes) -> None:
        await self.monitor.forget(channel_id)
        await self._book.write(Release(channel_id))

    async def see_to(self, concern: Concern) -> None:
        """Hand a channel to the monitor, at once or when this tower's turn comes."""
        channel_id = concern.channel_id
        wait = self._policy.rank * self._policy.stagger
        if wait and concern.deadline and self.monitor.watched(channel_id) is None:
            try:
                window = (await self._kept(channel_id))[0].terms.dispute_window
            except (StorageError, IndexError):
                window = 0
            turn = concern.deadline - window + min(wait, window // 4)
            self._undefended[channel_id] = concern
            heapq.heappush(self._staggered, (turn, channel_id))
            return
        await self._defend(concern)

    async def _defend(self, concern: Concern) -> None:
        """Hand a channel to the monitor. What fails is tried again at the next head."""
        channel_id = concern.channel_id
        self._undefended[channel_id] = concern
        if self._book.database.shared:
            self._handed[channel_id] = self._book.change
        try:
            held = await self._kept(channel_id)
            self._chain.set_budget(channel_id, sum(each.budget for each in held))
            filings = tuple(each.filing for each in held if each.filing is not None)
            for each in held:
                evidence = attrs.evolve(each.evidence, filings=filings)
                shown = (*evidence.portfolios, *concern.portfolios)
                side = each.side if len(held) == 1 else None
                await self.monitor.watch(attrs.evolve(evidence, portfolios=shown, side=side))
        except Exception as error:  # one channel's fault must not leave the others undefended
            guarded = self.monitor.watched(channel_id) is not None
            self._alert(
                Alert(
                    level=Level.WARNING if guarded else Level.CRITICAL,
                    code=AlertCode.STORE_TROUBLE,
                    text=f"a disputed channel is handed over again at the next head: {error!r}",
                    channel_id=channel_id,
                )
            )
            return
        self._undefended.pop(channel_id, None)

    async def _kept(self, channel_id: bytes) -> list[Kept]:
        """What is kept of a channel, for either side."""
        return await self._book.ask(lambda book: book.of_channel(channel_id))

    # ---- at every head

    async def at_head(self, head: Head, lately: Set[bytes]) -> None:
        """What is due now: turns, boxes, what failed before, and what other processes took."""
        waiting = {channel_id for _, channel_id in self._staggered}
        while self._staggered and self._staggered[0][0] <= head.timestamp:
            waiting.discard(heapq.heappop(self._staggered)[1])
        for channel_id in [each for each in self._undefended if each not in waiting]:
            await self._defend(self._undefended[channel_id])
        for channel_id in await self._book.ask(lambda book: book.due(head.timestamp)):
            if self.monitor.watched(channel_id) is None:
                await self._defend(Concern(channel_id=channel_id))
        await self._take_over(lately)
        try:
            await self._let_go(head, lately)
        except StorageError as error:  # they stay in memory; what is defended stays so
            _LOG.warning("channels with nothing left to do are not let go: %s", error)

    async def _take_over(self, lately: Set[bytes]) -> None:
        """Defend what other processes have taken appointments of since this was last called.

        A dispute may have been taken in here before the appointment was in the book: so what was
        disputed lately is looked up again.
        """
        now, before = self._book.change, self._change
        if not self._book.database.shared or now == before:
            return
        unknown = lately - set(self.monitor.channels) - self._undefended.keys()
        changed, found = await self._book.ask(
            lambda book: (
                book.disputes_since(before),
                tuple(each for each in unknown if book.keys(each)),
            )
        )
        if found:
            block = self._chain.head.number
            await self._book.write(Progress(concerned=found, block=block))
        newer = [each for each, change in changed if self._handed.get(each, -1) < change]
        for channel_id in dict.fromkeys((*newer, *found)):
            if channel_id not in self._undefended:
                await self._defend(Concern(channel_id=channel_id))
        self._change = now
        watched = set(self.monitor.channels)
        self._handed = {each: change for each, change in self._handed.items() if each in watched}

    async def _let_go(self, head: Head, lately: Set[bytes]) -> None:
        """Forget, in memory, channels with nothing left to do: the book keeps them."""
        for channel_id in self.monitor.channels:
            found = self.monitor.reading(channel_id)
            if found is None or found[1] > head.final_number:
                continue
            view = found[0]
            if view.phase is not OnChainPhase.OPEN or channel_id in lately:
                continue
            if not any(
                (each.affirm_by and each.newest.appointment.nonce > view.nonce)
                or (each.filing is not None and each.filing.at <= head.timestamp)
                for each in await self._kept(channel_id)
            ):
                await self._release(channel_id)
