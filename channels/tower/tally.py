"""What a tower counts of its own work; `channels.tower.metrics` tells Prometheus of it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Final

import attrs

__all__ = ["Answer", "Durations", "Tally"]

_BOUNDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    60.0,
)


@attrs.define
class Durations:
    """A histogram of seconds."""

    bounds: tuple[float, ...] = _BOUNDS
    total: float = 0.0
    count: int = 0
    below: list[int] = attrs.field(factory=lambda: [0] * (len(_BOUNDS) + 1))

    def add(self, seconds: float) -> None:
        """Note one."""
        self.total += seconds
        self.count += 1
        self.below[bisect_left(self.bounds, seconds)] += 1

    @property
    def cumulative(self) -> list[tuple[str, int]]:
        """How many took at most so long, as Prometheus wants them."""
        found, so_far = [], 0
        for bound, number in zip((*map(str, self.bounds), "+Inf"), self.below, strict=True):
            so_far += number
            found.append((bound, so_far))
        return found


@attrs.frozen(kw_only=True)
class Answer:
    """A stale dispute that was answered: the block that showed it, and its chain time.

    ``seconds`` from asking for the answer to seeing it, by our clock.
    """

    channel_id: bytes
    block: int
    time: int
    seconds: float


@attrs.define
class Tally:
    """Counters since the start. ``appointments`` by result, ``alerts`` by code and level.

    ``last_answer`` is the newest that was given, ``last_drill`` the newest to a drill.
    """

    appointments: Counter[str] = attrs.field(factory=Counter)
    alerts: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    duties: Counter[str] = attrs.field(factory=Counter)
    requests: Counter[str] = attrs.field(factory=Counter)
    disputes_seen: int = 0
    replacements: int = 0
    deepest_reorg: int = 0
    last_answer: Answer | None = None
    last_drill: Answer | None = None
    responses: Durations = attrs.field(factory=Durations)
    receipts: Durations = attrs.field(factory=Durations)
    commits: Durations = attrs.field(factory=Durations)
