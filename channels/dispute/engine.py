"""The monitor's tasks: follow the chain, keep the agenda, look at what is due.

Source: design, watchtower.md "Engine".
"""

from __future__ import annotations

from collections import deque

import attrs
import trio

from channels.chain.jobs import JobFailed, JobStalled
from channels.dispute.actions import Alert, AlertCode, Level
from channels.dispute.agenda import Agenda, DisputeCounter, Reason
from channels.dispute.archive import Archive
from channels.dispute.guard import Guard, Station
from channels.dispute.ports import UpdateLike
from channels.dispute.reports import ChannelFinished
from channels.errors import ChainError, OurError, StorageError
from channels.protocol.facts import (
    Checkpointed,
    DisputeStarted,
    Head,
    PayoutClaimed,
    PayoutDeferred,
    PositionsSettled,
)

__all__ = ["Engine", "Pace"]

_SHOWING = Checkpointed | DisputeStarted | PositionsSettled
"""Events that may show a recorded portfolio, which whoever is to settle needs."""


@attrs.frozen(kw_only=True)
class Pace:
    """How hard to work, in seconds of our own clock.

    ``workers`` look at as many channels at once; ``look_timeout`` bounds the work on one channel at
    one head. ``retry_after`` is the longest pause between two rounds. After ``stale_after`` without
    a new head somebody is told.
    """

    workers: int = 16
    look_timeout: float = 30.0
    retry_after: float = 10.0
    stale_after: float = 120.0


@attrs.frozen(kw_only=True)
class _Failure:
    """Why a channel could not be looked at; ``since`` by our clock, ``ours``: not the chain's."""

    why: str
    since: float
    ours: bool


class Engine:
    """All watched channels and the three tasks that see to them; `Monitor` is its face."""

    def __init__(self, station: Station, archive: Archive, pace: Pace) -> None:
        self.guards: dict[bytes, Guard] = {}
        self.ready = trio.Event()
        self._chain = station.chain
        self._station = station
        self._archive = archive
        self._pace = pace
        self._agenda = Agenda()
        self._counter = DisputeCounter()
        self._unread: set[bytes] = set()
        self._unsaved: set[bytes] = set()
        self._failing: dict[bytes, _Failure] = {}
        self._closed: set[bytes] = set()
        self._told: set[tuple[AlertCode, Level]] = set()
        self._taken: Head | None = None
        self._seen_head = b""
        self._followed = self._provisional = False
        self._head_since = self._round_since = 0.0
        self._wake = trio.Event()

    @property
    def degraded(self) -> bool:
        """Whether a dispute may have been missed: not all that is watched has been read since."""
        return self._counter.missed or bool(self._unread)

    def look_soon(self, channel: bytes, reason: Reason) -> None:
        """Look at a channel without waiting for the next head."""
        self._agenda.add(channel, reason)
        self._wake.set()

    def drop(self, channel: bytes) -> None:
        """Let go of a channel."""
        guard = self.guards.pop(channel, None)
        self._agenda.remove(channel)
        for held in (self._unread, self._unsaved, self._closed):
            held.discard(channel)
        self._failing.pop(channel, None)
        jobs = self._station.jobs
        for key in [key for key, whose in jobs.items() if whose is guard]:
            del jobs[key]

    # ---- following the chain

    async def load(self) -> None:
        """Read what an earlier run stored. Raises as `Archive.load`."""
        loaded = await self._archive.load()
        for key, error in loaded.damaged:
            self._alert(AlertCode.STORE_TROUBLE, str(error), level=Level.CRITICAL, channel=key)
        for watched in loaded.watched:
            self.guards[watched.channel_id] = Guard(watched, restored=True)
        self._unread = set(self.guards)
        self._agenda.add_all(self.guards)

    async def follow(self) -> None:
        """Take in every block, for ever. If that fails, begin again and read everything again."""
        while True:
            cursor = self._archive.cursor
            try:
                async for update in self._chain.updates(None if cursor is None else cursor + 1):
                    self._take_in(update)
            except Exception as error:  # whatever it is, nobody else follows the chain for us
                text = f"the chain can be followed no further; everything is read again: {error!r}"
                self._alert(AlertCode.CHAIN_TROUBLE, text, level=Level.CRITICAL)
            self._counter.missed, self._taken = True, None
            self._wake.set()
            await trio.sleep(self._pace.retry_after)

    def _take_in(self, update: UpdateLike) -> None:
        if update.rewound_to is not None:
            ancestor = update.rewound_to
            self._counter.rewind(ancestor)
            self._agenda.add_all(
                channel for channel, each in self.guards.items() if each.read_number > ancestor
            )
        for event in update.events:
            if isinstance(event, PayoutDeferred | PayoutClaimed):
                continue
            if isinstance(event, DisputeStarted):
                self._counter.saw(event.block_number, event.count)
            guard = self.guards.get(event.channel_id)
            if guard is None:
                continue
            self._agenda.add(event.channel_id, Reason.READ)
            if isinstance(event, _SHOWING) and event.portfolio is not None:
                guard.watched = guard.watched.with_portfolios(event.portfolio)
                self._unsaved.add(event.channel_id)
        self._counter.trim(update.head.final_number)
        self._taken = update.head
        self._wake.set()

    async def heed_jobs(self) -> None:
        """Learn which of our transactions the chain does not take."""
        with self._chain.job_updates() as updates:
            async for update in updates:
                guard = self._station.jobs.get(update.key)
                if guard is not None and isinstance(update, JobStalled):
                    guard.job_refused(update.key, update.reason, exhausted=update.exhausted)
                elif guard is not None and isinstance(update, JobFailed):
                    guard.job_refused(update.key, str(update.error))

    # ---- acting

    async def act(self) -> None:
        """Look at what is due, once for every head, for ever."""
        with trio.move_on_after(self._pace.retry_after):
            await self._wake.wait()  # the first block: from it on, the reader tells of rewinds
        self._head_since = trio.current_time()
        while True:
            self._wake = trio.Event()
            try:
                await self._step()
            except Exception as error:  # a round that fails must not be the last one
                text = f"a bug in option-channels, the round is tried again: {error!r}"
                self._alert_once(AlertCode.BUG, text, level=Level.CRITICAL)
                await trio.sleep(self._pace.retry_after)
            with trio.move_on_after(self._pace.retry_after):
                await self._wake.wait()

    async def _step(self) -> None:
        head, now = self._chain.head, trio.current_time()
        # Read ahead of what was taken in, a block may vanish untold: then read again at each head.
        followed = self._taken is not None and self._taken.hash == head.hash
        new_head = head.hash != self._seen_head
        news = new_head or followed is not self._followed
        self._seen_head, self._followed = head.hash, followed
        self._feel_pulse(new_head, now)
        if news or self._counter.missed:
            await self._check_disputes(head, followed)
        if new_round := new_head or now - self._round_since >= self._pace.retry_after:
            self._round_since = now
        await self._look_at_all(
            self._agenda.take(head.timestamp, new_head=new_round), head, followed
        )
        await self._save()
        if followed:
            await self._finish(head)
        if not self.degraded:
            self.ready.set()

    async def _check_disputes(self, head: Head, followed: bool) -> None:
        """Compare the contract's count of disputes with ours; a gap means to read everything."""
        try:
            with trio.fail_after(self._pace.look_timeout):
                count = await self._chain.dispute_count(head.hash)
        except (ChainError, trio.TooSlowError) as error:
            self._alert_once(AlertCode.CHAIN_TROUBLE, f"the disputes cannot be counted: {error!r}")
            if self._counter.missed:
                self._agenda.add_all(self.guards)
            return
        self._told.discard((AlertCode.CHAIN_TROUBLE, Level.WARNING))
        if followed and not self._counter.missed and not self._provisional:
            self._counter.compare(count)
        if not self._counter.missed and not (followed and self._provisional):
            return
        if self._counter.gap:
            self._alert(
                AlertCode.DISPUTES_MISSED,
                f"the contract counts {count} disputes, its events told of {self._counter.seen}: "
                "every channel is read again; distrust this endpoint",
            )
        self._unread = set(self.guards)
        self._agenda.add_all(self.guards)
        self._counter.reconciled(head.number, count)
        self._provisional = not followed

    async def _look_at_all(self, due: dict[bytes, Reason], head: Head, followed: bool) -> None:
        """Look at many channels at once, the most urgent first."""
        queue = deque(sorted(due, key=self._urgency))

        async def work() -> None:
            while queue:
                channel = queue.popleft()
                await self._look(channel, due[channel], head, followed)

        async with trio.open_nursery() as nursery:
            for _ in range(min(self._pace.workers, len(queue))):
                nursery.start_soon(work)
        self._tell_failures()

    def _urgency(self, channel: bytes) -> int:
        guard = self.guards.get(channel)
        if guard is None or guard.view is None:
            return 0
        return guard.view.deadline if guard.disputed else 1 << 64

    async def _look(self, channel: bytes, reason: Reason, head: Head, followed: bool) -> None:
        guard = self.guards.get(channel)
        if guard is None:
            return
        try:
            with trio.fail_after(self._pace.look_timeout):
                outlook = await guard.look(head, reason, self._station)
        except (ChainError, OurError, trio.TooSlowError) as error:
            ours = isinstance(error, OurError)
            self._keep_due(channel, f"{type(error).__name__}: {error}", ours=ours)
        except Exception as error:
            # One channel's fault, ours even, must not leave the others undefended.
            text = f"a bug in option-channels, tried again at every head: {error!r}"
            if channel not in self._failing:
                self._alert(AlertCode.BUG, text, level=Level.CRITICAL, channel=channel)
            self._keep_due(channel, text, ours=True)
        else:
            if channel not in self.guards:
                return
            self._failing.pop(channel, None)
            self._unread.discard(channel)
            each_head = outlook.each_head if followed else Reason.READ
            self._agenda.at_each_head(channel, each_head)
            self._agenda.set_timer(channel, outlook.timer)
            (self._closed.add if guard.closed else self._closed.discard)(channel)

    def _keep_due(self, channel: bytes, why: str, *, ours: bool) -> None:
        before = self._failing.get(channel)
        since = trio.current_time() if before is None else before.since
        self._failing[channel] = _Failure(why=why, since=since, ours=ours)
        self._agenda.at_each_head(channel, Reason.READ)

    async def _save(self) -> None:
        """Store what events taught, then how far they were read. Failing must not disarm us."""
        try:
            for channel in tuple(self._unsaved):
                guard = self.guards.get(channel)
                if guard is not None:
                    await self._archive.save(guard.watched)
                self._unsaved.discard(channel)
            taken = self._taken
            if taken is not None:
                await self._archive.save_cursor(min(taken.number, taken.final_number))
        except StorageError as error:
            self._alert_once(AlertCode.STORE_TROUBLE, f"what was learnt is not stored: {error}")
        else:
            self._told.discard((AlertCode.STORE_TROUBLE, Level.WARNING))

    async def _finish(self, head: Head) -> None:
        """Let go of channels whose end is final."""
        for channel in tuple(self._closed):
            if self.guards[channel].read_number > head.final_number:
                continue
            try:
                self.drop(channel)
                await self._archive.delete(channel)
            except StorageError:
                continue  # nothing is left to defend; the record goes at a later start
            finished = ChannelFinished(channel_id=channel, final_number=head.final_number)
            self._station.voice.report(finished)

    # ---- telling

    def _feel_pulse(self, new_head: bool, now: float) -> None:
        if new_head:
            self._head_since = now
            self._told.discard((AlertCode.HEAD_STALE, Level.CRITICAL))
        elif now - self._head_since >= self._pace.stale_after:
            trouble = self._chain.trouble
            text = f"no new block for {now - self._head_since:.0f} seconds: {trouble or 'no error'}"
            self._alert_once(AlertCode.HEAD_STALE, text, level=Level.CRITICAL)

    def _tell_failures(self) -> None:
        levels = (Level.WARNING, Level.CRITICAL)
        if not self._failing:
            self._told.difference_update((AlertCode.DUTY_DELAYED, each) for each in levels)
            return
        channel, failure = next(iter(self._failing.items()))
        urgent = any(self._presses(each, failed) for each, failed in self._failing.items())
        self._alert_once(
            AlertCode.DUTY_DELAYED,
            f"{len(self._failing)} channels could not be looked at, tried again at the next head; "
            f"0x{channel.hex()}: {failure.why}",
            level=levels[urgent],
        )

    def _presses(self, channel: bytes, failure: _Failure) -> bool:
        """Whether a dispute goes unwatched, and for more than a block that was reorganised away."""
        guard = self.guards.get(channel)
        if guard is None or not guard.disputed:
            return False
        lasts = trio.current_time() - failure.since >= self._pace.stale_after
        near = guard.in_last_part(self._chain.head.timestamp, self._station.policy)
        return failure.ours or lasts or near

    def _alert(
        self,
        code: AlertCode,
        text: str,
        *,
        level: Level = Level.WARNING,
        channel: bytes | None = None,
    ) -> None:
        self._station.voice.alert(Alert(level=level, code=code, text=text, channel_id=channel))

    def _alert_once(self, code: AlertCode, text: str, *, level: Level = Level.WARNING) -> None:
        if (code, level) not in self._told:
            self._told.add((code, level))
            self._alert(code, text, level=level)
