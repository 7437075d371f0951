"""A tower's figures for Prometheus, taken when they are asked for.

Names and meaning stand in `docs/how-to/run-a-tower.md`; the alert rules of
`channels/tower/ops/alerts.yml` rest on them.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from channels.tower.service import Tower
from channels.tower.tally import Durations

__all__ = ["TowerCollector", "exposition"]

_PREFIX = "option_channels_tower_"


class TowerCollector(Collector):
    """Reads a tower. ``clock`` is Unix time, for what is measured against the chain's."""

    def __init__(self, tower: Tower, clock: float) -> None:
        self._tower = tower
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Every figure."""
        yield from self._gauges()
        yield from self._counters()
        tally = self._tower.tally
        yield _histogram("response_seconds", "From seeing a dispute to asking", tally.responses)
        yield _histogram("receipt_seconds", "From an appointment to its receipt", tally.receipts)
        yield _histogram("commit_seconds", "One transaction of the book", tally.commits)

    def _gauges(self) -> Iterator[Metric]:
        tower, head = self._tower, self._tower.head
        lookout = tower.lookout
        taken = lookout.taken
        beat = None if tower.beat is None else tower.beat.heartbeat
        least = tower.policy.least_reserve
        deadlines = tower.deadlines
        for name, text, value in (
            ("head_number", "Newest block", head.number),
            ("head_lag_seconds", "Age of the newest block", self._clock - head.timestamp),
            (
                "finality_lag_blocks",
                "Blocks that are not final",
                head.number - head.final_number,
            ),
            (
                "taken_lag_blocks",
                "Blocks not taken in yet",
                head.number - (taken.number if taken is not None else 0),
            ),
            ("degraded", "1 while a dispute may have been missed", float(tower.degraded)),
            ("rpc_trouble", "1 while endpoints fail or disagree", float(tower.trouble is not None)),
            ("disputes_counted", "Disputes ever filed, as counted here", lookout.disputes),
            ("dispute_gap", "1 while the dispute counter does not add up", float(lookout.degraded)),
            ("entries", "Channels watched, once for each customer", tower.book.entries),
            ("open_disputes", "Watched channels in their window", len(deadlines)),
            (
                "nearest_deadline_seconds",
                "Chain time left in the nearest window; +Inf without any",
                min(deadlines, default=float("inf")) - head.timestamp,
            ),
            ("gas_reserve_ratio", "Gas account over what it should have", tower.reserve / least),
            (
                "drill_timestamp_seconds",
                "Chain time of the last drill that was answered; 0 without any since the start",
                0 if tower.tally.last_drill is None else tower.tally.last_drill.time,
            ),
            ("holder", "1 while this process may act", float(tower.defence.role == "holder")),
            ("undefended", "Disputed channels the monitor does not have", tower.undefended),
            ("deepest_reorg", "Deepest reorganisation so far", tower.tally.deepest_reorg),
            ("block_seconds", "Work on the newest block", lookout.block_seconds),
            (
                "canary_age_seconds",
                "Chain time since the last heartbeat; +Inf without any",
                float("inf") if beat is None else head.timestamp - beat.head_time,
            ),
        ):
            yield GaugeMetricFamily(_PREFIX + name, text, value=value)

    def _counters(self) -> Iterator[Metric]:
        tally = self._tower.tally
        for name, text, counts in (
            ("appointments", "Appointments by result", tally.appointments),
            ("duties", "Duties by name", tally.duties),
            ("requests", "HTTP requests by status", tally.requests),
        ):
            family = CounterMetricFamily(_PREFIX + name, text, labels=["result"])
            for result, count in sorted(counts.items()):
                family.add_metric([result], count)
            yield family
        alerts = CounterMetricFamily(_PREFIX + "alerts", "Alerts", labels=["code", "level"])
        for (code, level), count in sorted(tally.alerts.items()):
            alerts.add_metric([code, level], count)
        yield alerts
        for name, text, count in (
            ("disputes_seen", "Disputes seen on chain", tally.disputes_seen),
            ("replacements", "Transactions sent again at higher fees", tally.replacements),
        ):
            yield CounterMetricFamily(_PREFIX + name, text, value=count)


def _histogram(name: str, text: str, durations: Durations) -> Metric:
    return HistogramMetricFamily(
        _PREFIX + name, text, buckets=durations.cumulative, sum_value=durations.total
    )


def exposition(tower: Tower, clock: float) -> bytes:
    """All figures in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(TowerCollector(tower, clock))
    return generate_latest(registry)
