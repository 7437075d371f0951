"""The dispute monitor: a task that follows the chain and defends every channel it watches.

::

    async with open_monitor(chain, records=store.records("monitor")) as monitor:
        await monitor.watch(evidence_of(channel))

It acts at the first head that shows a need, at zero confirmations: a checkpoint is safe to repeat.
What it decides on is the contract's storage; events only say where to look. At its start, after a
reorganisation it cannot place, and whenever the contract counts a dispute that no event told of,
every watched channel is read again. An error drops nothing: it leaves the channel due at the next
head. The transaction manager of the chain sees what was submitted through to finality.

Source: design, watchtower.md "Engine".
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

import attrs
import trio

from channels.chain.jobs import JobFailed, JobStalled
from channels.dispute.agenda import Agenda, DisputeCounter, Reason
from channels.dispute.archive import Archive
from channels.dispute.decision import Alert, AlertCode, Level, Policy
from channels.dispute.evidence import Evidence, Watched, check_evidence, start_watching
from channels.dispute.guard import Guard, PriceBook, Station, Voice
from channels.dispute.ports import ChainPort, RecordsPort, UpdateLike
from channels.dispute.reports import ChannelFinished, Report, Stream
from channels.errors import ChainError, OurError, StorageError
from channels.protocol.facts import (
    DisputeStarted,
    Head,
    OnChainPhase,
    PayoutDeferred,
    PositionsSettled,
)
from channels.protocol.types import channel_id

__all__ = ["Monitor", "Pace", "open_monitor", "watch_channels"]

T = TypeVar("T")


class Monitor:
    """Watches channels. Make one with `open_monitor`.

    ``alerts`` and ``reports`` are async iterators, one reader each; what nobody reads gives way,
    the oldest first, and never holds up a defence.
    """

    def __init__(
        self, chain: ChainPort, *, records: RecordsPort, policy: Policy, pace: Pace
    ) -> None:
        self._chain = chain
        self._archive = Archive(records)
        self._pace = pace
        self._voice = Voice()
        self._station = Station(
            chain=chain, policy=policy, voice=self._voice, prices=PriceBook(chain)
        )
        self._guards: dict[bytes, Guard] = {}
        self._agenda = Agenda()
        self._counter = DisputeCounter()
        self._unread: set[bytes] = set()
        self._unsaved: set[bytes] = set()
        self._failing: dict[bytes, str] = {}
        self._closed: set[bytes] = set()
        self._told: set[tuple[AlertCode, Level]] = set()
        self._taken: Head | None = None
        self._seen_head = b""
        self._followed = self._provisional = False
        self._head_since = self._round_since = 0.0
        self._wake = trio.Event()
        self._ready = trio.Event()

    # ---- what a bot uses

    @property
    def alerts(self) -> Stream[Alert]:
        """What somebody should know."""
        return self._voice.alerts

    @property
    def reports(self) -> Stream[Report]:
        """What was done."""
        return self._voice.reports

    @property
    def channels(self) -> tuple[bytes, ...]:
        """Ids of the channels watched."""
        return tuple(self._guards)

    @property
    def degraded(self) -> bool:
        """Whether a dispute may have been missed: not all that is watched has been read since."""
        return self._counter.missed or bool(self._unread)

    def watched(self, channel: bytes) -> Watched | None:
        """What is known of a channel; None if it is not watched."""
        guard = self._guards.get(channel)
        return None if guard is None else guard.watched

    async def ready(self) -> None:
        """Wait until every channel watched at the start has been read from the contract."""
        await self._ready.wait()

    async def watch(self, evidence: Evidence) -> bytes:
        """Take in evidence, older or newer, and return the channel's id once it is durable.

        Until this has returned the channel **may lose funds** in a crash. If it raises
        `StorageError` the channel is defended with the evidence all the same, while this process
        lives.

        Raises:
            BadSignatureError: a signature the contract would refuse.
            InvalidValueError: a state of another channel.
            StorageError: not stored.
        """
        check_evidence(evidence, self._chain.domain)
        channel = channel_id(self._chain.domain, evidence.terms)
        guard = self._guards.get(channel)
        if guard is None:
            guard = self._guards[channel] = Guard(start_watching(evidence, self._chain.domain))
        guard.watched = guard.watched.with_evidence(
            evidence, time=self._chain.head.timestamp, recorded=guard.recorded_hashes
        )
        if guard.view is None:
            self._look_soon(channel, Reason.READ)
        elif (
            guard.view.phase is not OnChainPhase.OPEN
            or guard.watched.affirm_by
            or guard.watched.rival is not None
        ):
            self._look_soon(channel, Reason.DECIDE)
        await self._archive.save(guard.watched)
        return channel

    async def forget(self, channel: bytes) -> None:
        """Stop watching and delete the evidence: **may lose funds** unless it is paid out.

        Raises:
            StorageError: not deleted; it would be watched again after a restart.
        """
        guard = self._guards.pop(channel, None)
        self._agenda.remove(channel)
        for held in (self._unread, self._unsaved, self._closed):
            held.discard(channel)
        self._failing.pop(channel, None)
        for key in [key for key, whose in self._station.jobs.items() if whose is guard]:
            del self._station.jobs[key]
        await self._archive.delete(channel)

    def _look_soon(self, channel: bytes, reason: Reason) -> None:
        self._agenda.add(channel, reason)
        self._wake.set()


@asynccontextmanager
async def open_monitor(
    chain: ChainPort,
    *,
    records: RecordsPort,
    policy: Policy | None = None,
    pace: Pace | None = None,
) -> AsyncIterator[Monitor]:
    """Defend channels for the time of an ``async with``.

    Args:
        chain: an `EthereumChain`, or what does the same.
        records: a namespace of a store that this monitor has to itself, such as
            ``store.records("monitor")``. A monitor on the records of an earlier one knows all it
            knew.
        policy: thresholds of the decisions.
        pace: how hard to work.

    Raises:
        SchemaVersionError: the records are of another version.
        StorageError: the records cannot be read.
    """
    monitor = Monitor(chain, records=records, policy=policy or Policy(), pace=pace or Pace())
    await monitor.load()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(monitor.follow)
            nursery.start_soon(monitor.heed_jobs)
            nursery.start_soon(monitor.act)
            yield monitor
            nursery.cancel_scope.cancel()
    finally:
        monitor.alerts.close()
        monitor.reports.close()


async def watch_channels(
    chain: ChainPort,
    *,
    records: RecordsPort,
    evidence: Iterable[Evidence] = (),
    on_alert: Callable[[Alert], Awaitable[None]] | None = None,
    on_report: Callable[[Report], Awaitable[None]] | None = None,
    policy: Policy | None = None,
    pace: Pace | None = None,
    task_status: trio.TaskStatus[Monitor] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Defend all channels in ``records``, and those of ``evidence``, until cancelled.

    What a command line runs. Raises as `open_monitor` and `Monitor.watch`; an exception of a
    callback ends the monitor, so let it handle its own.
    """
    async with (
        open_monitor(chain, records=records, policy=policy, pace=pace) as monitor,
        trio.open_nursery() as nursery,
    ):
        for each in evidence:
            await monitor.watch(each)
        nursery.start_soon(_pass_on, monitor.alerts, on_alert)
        nursery.start_soon(_pass_on, monitor.reports, on_report)
        task_status.started(monitor)
        await trio.sleep_forever()


async def _pass_on(stream: Stream[T], callback: Callable[[T], Awaitable[None]] | None) -> None:
    async for each in stream:
        if callback is not None:
            await callback(each)
