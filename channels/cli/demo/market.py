"""The demo's market: a spot and a vol surface at any time, built in or from recorded quotes.

Integers throughout: what comes out is signed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import attrs

from channels.errors import InvalidValueError
from channels.pricing.marketdata import MarketSnapshot, read_snapshots
from channels.protocol.changes import Marks, SeriesMark
from channels.protocol.types import Series, feed_id
from channels.units import DAY, HOUR, WAD, to_wad

__all__ = [
    "BuiltInMarket",
    "Market",
    "MarketView",
    "RecordedMarket",
    "first_expiry",
    "settlement_average",
]

EIGHT_OCLOCK: Final = 8 * HOUR
AVERAGE_SPAN: Final = 30 * 60


class Market(Protocol):
    """A market that can be asked about any time. ``start`` is where the demo begins."""

    feed: str
    start: int

    def spot(self, at: int) -> int:
        """Spot at a time, WAD."""

    def mark(self, series: Series, at: int) -> SeriesMark:
        """Vol and carry of a series at a time."""

    def expiries(self, after: int) -> Sequence[int]:
        """Listed expiries after a time, nearest first."""

    def strikes(self, expiry: int, at: int) -> Sequence[int]:
        """Listed strikes of an expiry, ascending, WAD."""


def first_expiry(market: Market, now: int) -> int:
    """The nearest expiry that leaves eighteen hours to trade in."""
    return next(expiry for expiry in market.expiries(now) if expiry >= now + 18 * HOUR)


def settlement_average(market: Market, expiry: int) -> int:
    """The 30-minute time-weighted average into ``expiry``, by the minute, rounded down."""
    minutes = range(expiry - AVERAGE_SPAN + 60, expiry + 1, 60)
    return sum(market.spot(at) for at in minutes) // len(minutes)


def _interpolate(left: tuple[int, int], right: tuple[int, int], at: int) -> int:
    (x0, y0), (x1, y1) = left, right
    if at <= x0 or x1 == x0:
        return y0
    if at >= x1:
        return y1
    return y0 + (y1 - y0) * (at - x0) // (x1 - x0)


def _on_path(path: Sequence[tuple[int, int]], at: int) -> int:
    index = bisect_right(path, (at, 1 << 200))
    return _interpolate(path[max(index - 1, 0)], path[min(index, len(path) - 1)], at)


class BuiltInMarket:
    """A short, deterministic story: ETH falls through the put spread, then recovers."""

    feed = "ETH-USD"

    # Hours from the first expiry of the story, and the spot in dollars.
    _STORY: Final = (
        (-42, "3160"),
        (-32, "3120"),
        (-24, "3095"),
        (-16, "3010"),
        (-8, "2925"),
        (0, "2870"),
        (6, "2905"),
        (12, "2990"),
        (24, "3080"),
        (36, "3190"),
        (48, "3240"),
        (72, "3260"),
    )

    def __init__(self, start: int) -> None:
        self.start = start
        origin = first_expiry(self, start)
        self._path = [(origin + hours * HOUR, int(to_wad(price))) for hours, price in self._STORY]

    def spot(self, at: int) -> int:
        """Spot at a time, WAD."""
        return _on_path(self._path, at)

    def mark(self, series: Series, at: int) -> SeriesMark:
        """A skew that steepens below the spot: 58 % at the money, 4 points more per 10 % below."""
        spot = self.spot(at)
        below = (spot - series[3]) * WAD // spot
        return SeriesMark(vol=max(to_wad("0.58") + below * 4 // 10, to_wad("0.30")))

    def expiries(self, after: int) -> Sequence[int]:
        """Eight o'clock UTC, every day."""
        first = (after - EIGHT_OCLOCK) // DAY * DAY + EIGHT_OCLOCK + DAY
        return [first + days * DAY for days in range(8)]

    def strikes(self, expiry: int, at: int) -> Sequence[int]:
        """Every fifty dollars within a fifth of the spot."""
        del expiry
        step = int(to_wad(50))
        spot = self.spot(at)
        return range(spot * 4 // 5 // step * step, spot * 6 // 5, step)


@attrs.frozen
class _Smile:
    """Vols of one expiry in one snapshot, by strike, and its carry."""

    vols: tuple[tuple[int, int], ...]
    carry: int


class RecordedMarket:
    """Deribit's own snapshots, moved by whole days to begin no earlier than ``not_before``."""

    def __init__(self, path: Path, not_before: int | None = None, *, days: int = 5) -> None:
        """Read the first ``days`` of the file.

        Raises:
            InvalidValueError: the file holds no snapshots, or fewer than two.
        """
        snapshots: list[MarketSnapshot] = []
        for snapshot in read_snapshots(path):
            snapshots.append(snapshot)
            if snapshot.at > snapshots[0].at + days * DAY:
                break
        if len(snapshots) < 2:
            raise InvalidValueError(f"{path.name} holds fewer than two snapshots")
        first = snapshots[0].at
        late = 0 if not_before is None else max(0, not_before - first)
        self._shift = -(-late // DAY) * DAY
        self.feed = f"{snapshots[0].quotes[0].instrument.base}-USD"
        self.start = first + self._shift
        self._times = [each.at + self._shift for each in snapshots]
        self._spots = [(each.at + self._shift, each.spot) for each in snapshots]
        self._smiles = [self._read_smiles(each) for each in snapshots]

    def _read_smiles(self, snapshot: MarketSnapshot) -> Mapping[int, _Smile]:
        vols: dict[int, dict[int, int]] = {}
        for quote in snapshot.quotes:
            if quote.vol > 0:
                vols.setdefault(quote.instrument.expiry, {})[quote.instrument.strike] = quote.vol
        marks = snapshot.expiries
        return {
            expiry + self._shift: _Smile(
                vols=tuple(sorted(by_strike.items())),
                carry=marks[expiry].carry if expiry > snapshot.at else 0,
            )
            for expiry, by_strike in vols.items()
        }

    def _snapshot(self, at: int) -> Mapping[int, _Smile]:
        return self._smiles[max(bisect_right(self._times, at) - 1, 0)]

    def spot(self, at: int) -> int:
        """Spot at a time, WAD; straight between snapshots."""
        return _on_path(self._spots, at)

    def mark(self, series: Series, at: int) -> SeriesMark:
        """The newest snapshot's vol at this strike, and its expiry's carry."""
        _, expiry, _, strike = series
        for smiles in (self._snapshot(at), *reversed(self._smiles)):
            if expiry in smiles:
                smile = smiles[expiry]
                return SeriesMark(vol=_on_path(smile.vols, strike), carry=smile.carry)
        raise InvalidValueError(f"no quote for the expiry {expiry}")

    def expiries(self, after: int) -> Sequence[int]:
        """Expiries listed in the snapshot of that time that the record reaches."""
        return sorted(
            expiry for expiry in self._snapshot(after) if after < expiry <= self._times[-1]
        )

    def strikes(self, expiry: int, at: int) -> Sequence[int]:
        """Strikes with a vol in the snapshot of that time."""
        return [strike for strike, _ in self._snapshot(at)[expiry].vols]


class MarketView:
    """One side's view of the market: its marks at its clock's time."""

    def __init__(self, market: Market, clock: Callable[[], float]) -> None:
        self._market = market
        self._clock = clock
        self._feed = feed_id(market.feed)

    def marks(self, series: Iterable[Series]) -> Marks:
        """Marks of now."""
        now = int(self._clock())
        return Marks(
            marked_at=now,
            spots={self._feed: self._market.spot(now)},
            series={each: self._market.mark(each, now) for each in series},
        )
