"""A recorded market as a back-test needs it: forwards and vols, snapshot by snapshot."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import attrs

from channels.errors import InvalidValueError
from channels.pricing.kinds import Kind
from channels.pricing.marketdata import MarketSnapshot, read_snapshots
from channels.pricing.payoff import intrinsic
from channels.pricing.scalar import price
from channels.units import HOUR, WAD, YEAR

__all__ = ["ListedExpiry", "Market", "Snapshot", "read_market"]

_TOLERANCE: Final = 3 * HOUR // 2
"""How far from the horizon asked for a snapshot may be."""


@attrs.frozen(kw_only=True)
class ListedExpiry:
    """One expiry in one snapshot: its forward, and the vols of what is listed, by strike. WAD."""

    expiry: int
    forward: int
    calls: Mapping[int, int]
    puts: Mapping[int, int]

    @cached_property
    def strikes(self) -> tuple[int, ...]:
        """Strikes at which both a call and a put have a mark, ascending."""
        return tuple(sorted(self.calls.keys() & self.puts.keys()))


@attrs.frozen(kw_only=True)
class Snapshot:
    """A market at one time, Unix seconds. ``spot`` in WAD; the earliest expiry first."""

    at: int
    spot: int
    expiries: Mapping[int, ListedExpiry]

    def years(self, expiry: int) -> float:
        """Time to ``expiry`` in years of 365 days, at least 0."""
        return max(expiry - self.at, 0) / YEAR

    def mark(self, kind: int, expiry: int, strike: int) -> tuple[int, int] | None:
        """Return forward and vol of a call or put, in WAD; None where there is no mark."""
        listed = self.expiries.get(expiry)
        if listed is None:
            return None
        vol = (listed.calls if kind == Kind.CALL else listed.puts).get(strike)
        return None if vol is None else (listed.forward, vol)


@attrs.frozen(kw_only=True)
class Market:
    """All snapshots of one underlying, the earliest first."""

    name: str
    snapshots: Sequence[Snapshot]

    @cached_property
    def _times(self) -> list[int]:
        return [snapshot.at for snapshot in self.snapshots]

    def later(self, index: int, horizon: int) -> int | None:
        """Return the index of the snapshot nearest to ``horizon`` seconds after that of ``index``.

        None if there is none within an hour and a half of it.
        """
        target = self._times[index] + horizon
        place = bisect_left(self._times, target)
        near = [each for each in (place - 1, place) if index < each < len(self._times)]
        if not near:
            return None
        best = min(near, key=lambda each: abs(self._times[each] - target))
        return best if abs(self._times[best] - target) <= _TOLERANCE else None

    def settlement(self, expiry: int) -> int:
        """Return the estimated settlement price of an expiry between two snapshots, in WAD.

        The spots of the snapshots around it, interpolated in time: the exchange's own average is
        not in the data.

        Raises:
            InvalidValueError: the data does not reach around that expiry.
        """
        place = bisect_left(self._times, expiry)
        if not 0 < place < len(self._times):
            raise InvalidValueError(f"no snapshots around expiry {expiry}")
        before, after = self.snapshots[place - 1], self.snapshots[place]
        gone, span = expiry - before.at, after.at - before.at
        return before.spot + (after.spot - before.spot) * gone // span

    def worth(self, index: int, kind: int, expiry: int, strike: int) -> float | None:
        """Return what one unit is worth at snapshot ``index``: its mark, or what it has paid.

        None where the snapshot has no mark of it.
        """
        snapshot = self.snapshots[index]
        if expiry <= snapshot.at:
            return intrinsic(kind, strike, self.settlement(expiry)) / WAD
        mark = snapshot.mark(kind, expiry, strike)
        if mark is None:
            return None
        forward, vol = mark
        return price(kind, forward / WAD, strike / WAD, vol / WAD, snapshot.years(expiry))


def read_market(path: str | Path) -> Market:
    """Read a file of Deribit option summaries, CSV or CSV.gz.

    Raises:
        InvalidValueError: a malformed file, several underlyings in it, snapshots out of order, or
            fewer than two of them.
    """
    name = Path(path).name
    snapshots: list[Snapshot] = []
    underlyings: set[str] = set()
    for each in read_snapshots(path):
        underlyings |= {quote.instrument.base for quote in each.quotes}
        if snapshots and each.at <= snapshots[-1].at:
            raise InvalidValueError(
                f"{name}: the snapshot of {each.at} comes after that of {snapshots[-1].at}",
                next_step="sort the rows by timestamp",
            )
        snapshots.append(_snapshot(each))
    if len(underlyings) > 1:
        raise InvalidValueError(
            f"{name}: several underlyings: {', '.join(sorted(underlyings))}",
            next_step="give one file for each, with one --market for each",
        )
    if len(snapshots) < 2:
        raise InvalidValueError(
            f"{name}: {len(snapshots)} snapshots",
            next_step="a back-test compares a snapshot with a later one: give two at least",
        )
    return Market(name=underlyings.pop(), snapshots=snapshots)


def _snapshot(read: MarketSnapshot) -> Snapshot:
    vols: dict[int, tuple[dict[int, int], dict[int, int]]] = {}
    for quote in read.quotes:
        listed = quote.instrument
        if quote.vol > 0 and listed.expiry > read.at:
            calls, puts = vols.setdefault(listed.expiry, ({}, {}))
            (calls if listed.kind is Kind.CALL else puts)[listed.strike] = quote.vol
    return Snapshot(
        at=read.at,
        spot=read.spot,
        expiries={
            expiry: ListedExpiry(
                expiry=expiry,
                forward=read.expiries[expiry].forward,
                calls=vols[expiry][0],
                puts=vols[expiry][1],
            )
            for expiry in sorted(vols)
        },
    )
