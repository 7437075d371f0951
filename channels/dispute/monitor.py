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

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

import attrs
import trio

from channels.chain.tasks import open_tasks
from channels.dispute.actions import Alert
from channels.dispute.agenda import Reason
from channels.dispute.archive import Archive
from channels.dispute.case import Policy
from channels.dispute.engine import Engine, Pace
from channels.dispute.evidence import Evidence, Watched, check_evidence, start_watching
from channels.dispute.guard import Guard, Station, Voice
from channels.dispute.ports import ChainPort, PriceSource, RecordsPort
from channels.dispute.price_book import PriceBook
from channels.dispute.reports import Report, Stream
from channels.protocol.facts import ChannelView, OnChainPhase
from channels.protocol.terms import channel_id

__all__ = ["Monitor", "open_monitor", "watch_channels"]

T = TypeVar("T")


class Monitor:
    """Watches channels. Make one with `open_monitor`.

    ``alerts`` and ``reports`` are async iterators, one reader each; what nobody reads gives way,
    the oldest first, and never holds up a defence.
    """

    def __init__(self, engine: Engine, archive: Archive, station: Station) -> None:
        self._engine = engine
        self._archive = archive
        self._chain = station.chain
        self._voice = station.voice

    @property
    def voice(self) -> Voice:
        """Where alerts come from: whoever runs the monitor may add its own."""
        return self._voice

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
        return tuple(self._engine.guards)

    @property
    def degraded(self) -> bool:
        """Whether a dispute may have been missed: not all that is watched has been read since."""
        return self._engine.degraded

    def watched(self, channel: bytes) -> Watched | None:
        """What is known of a channel; None if it is not watched."""
        guard = self._engine.guards.get(channel)
        return None if guard is None else guard.watched

    def reading(self, channel: bytes) -> tuple[ChannelView, int] | None:
        """A channel's storage when it was last read, and the number of that block."""
        guard = self._engine.guards.get(channel)
        if guard is None or guard.view is None:
            return None
        return guard.view, guard.read_number

    async def ready(self) -> None:
        """Wait until every channel watched at the start has been read from the contract."""
        await self._engine.ready.wait()

    async def watch(self, evidence: Evidence) -> bytes:
        """Take in evidence, older or newer, and return the channel's id once it is durable.

        Until this has returned the channel **may lose funds** in a crash. If it raises
        `StorageError` the channel is defended with the evidence all the same, while this process
        lives.

        Raises:
            BadSignatureError: a signature the contract would refuse.
            InvalidValueError: a state of another channel, or margin parameters that are not those
                of the terms.
            StorageError: not stored.
        """
        domain = self._chain.domain
        channel = channel_id(domain, evidence.terms)
        guard = self._engine.guards.get(channel)
        held = guard.watched.evidence if guard is not None else ()
        fresh = tuple(each for each in evidence.states if each not in held)
        check_evidence(attrs.evolve(evidence, states=fresh), domain)
        if guard is None:
            guard = self._engine.guards[channel] = Guard(start_watching(evidence, domain))
        guard.watched = guard.watched.with_evidence(
            evidence, time=self._chain.head.timestamp, recorded=guard.recorded_hashes
        )
        guard.known_nonce = max(guard.known_nonce, evidence.known)
        if guard.view is None:
            self._engine.look_soon(channel, Reason.READ)
        elif (
            guard.view.phase is not OnChainPhase.OPEN
            or guard.watched.affirm_by
            or guard.watched.filings
            or guard.watched.rival is not None
        ):
            self._engine.look_soon(channel, Reason.DECIDE)
        await self._archive.save(guard.watched)
        return channel

    async def forget(self, channel: bytes) -> None:
        """Stop watching and delete the evidence: **may lose funds** unless it is paid out.

        Raises:
            StorageError: not deleted; it would be watched again after a restart.
        """
        self._engine.drop(channel)
        await self._archive.delete(channel)


@asynccontextmanager
async def open_monitor(
    chain: ChainPort,
    *,
    records: RecordsPort,
    policy: Policy | None = None,
    pace: Pace | None = None,
    prices: PriceSource | None = None,
) -> AsyncIterator[Monitor]:
    """Defend channels for the time of an ``async with``.

    Args:
        chain: an `EthereumChain`, or what does the same.
        records: a namespace of a store that this monitor has to itself, such as
            ``store.records("monitor")``. A monitor on the records of an earlier one knows all it
            knew.
        policy: thresholds of the decisions.
        pace: how hard to work.
        prices: where signed prices come from that an oracle is not given until somebody needs
            them; without it a margin call waits until somebody else brings the oracle a price.

    Raises:
        SchemaVersionError: the records are of another version.
        StorageError: the records cannot be read.
    """
    archive = Archive(records)
    station = Station(
        chain=chain, policy=policy or Policy(), voice=Voice(), prices=PriceBook(chain, prices)
    )
    engine = Engine(station, archive, pace or Pace())
    await engine.load()
    monitor = Monitor(engine, archive, station)
    try:
        async with open_tasks() as nursery:
            nursery.start_soon(engine.follow)
            nursery.start_soon(engine.heed_jobs)
            nursery.start_soon(engine.act)
            yield monitor
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
    prices: PriceSource | None = None,
    task_status: trio.TaskStatus[Monitor] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Defend all channels in ``records``, and those of ``evidence``, until cancelled.

    What a command line runs. Raises as `open_monitor` and `Monitor.watch`; an exception of a
    callback ends the monitor, so let it handle its own.
    """
    async with (
        open_monitor(chain, records=records, policy=policy, pace=pace, prices=prices) as monitor,
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
