"""The portfolios of a snapshot: the same shapes every time, placed by tenor and moneyness.

A strike is chosen by how many standard deviations it is from the forward, ln(K/F) / (vol sqrt T)
with the vol at the money, and is then the nearest one listed; so a shape means the same a day from
expiry and half a year from it. Forwards are synthetic, long call and short put, so that every model
sees nothing but options.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Final

import attrs

from channels.backtest.market import ListedExpiry, Snapshot
from channels.pricing.kinds import Kind
from channels.units import DAY, HOUR, WAD

__all__ = ["TENORS", "Leg", "Portfolio", "portfolios_of"]

TENORS: Final[Mapping[str, int]] = {
    "eve": 0,
    "week": 7 * DAY,
    "month": 30 * DAY,
    "quarter": 90 * DAY,
    "half": 200 * DAY,
}
"""Tenors by name, in seconds: each is the listed expiry nearest to it. ``eve`` is the next one."""

_SOONEST: Final = 3 * HOUR
"""What expires sooner is not opened any more."""

_RANDOM_SIZES: Final = (4, 4, 8, 8, 16, 16)


@attrs.frozen
class Leg:
    """A quantity of one series: WAD, + for long."""

    kind: Kind
    expiry: int
    strike: int
    quantity: int


@attrs.frozen(kw_only=True)
class Portfolio:
    """Named positions; ``family`` is the shape's, ``name`` says where it was placed."""

    name: str
    family: str
    legs: tuple[Leg, ...]


@attrs.frozen
class _Spot:
    """Where a leg stands: which of the shape's expiries, deviations off it, strikes further up."""

    place: int
    kinds: str
    deviations: float
    quantity: int
    steps: int = 0


@attrs.frozen
class _Shape:
    family: str
    name: str
    spots: tuple[_Spot, ...]


def _single(kind: str, deviations: float) -> _Shape:
    side = "call" if kind == "C" else "put"
    where = f"{deviations:+g}" if deviations else "0"
    return _Shape("single", f"{side} {where}", (_Spot(0, kind, deviations, 1),))


_SINGLES: Final = tuple(
    _single(*each) for each in (("P", -2), ("P", -1), ("P", 0), ("C", 0), ("C", 1), ("C", 2))
)
_DEEP: Final = (_single("P", -4), _single("C", 4))

# A kind "F" is a synthetic forward: long the call, short the put.
_EVERYWHERE: Final = (
    *_SINGLES,
    _Shape("straddle", "straddle", (_Spot(0, "C", 0, 1), _Spot(0, "P", 0, 1))),
    _Shape("strangle", "strangle 1", (_Spot(0, "C", 1, 1), _Spot(0, "P", -1, 1))),
    _Shape("strangle", "strangle 2", (_Spot(0, "C", 2, 1), _Spot(0, "P", -2, 1))),
    _Shape("vertical", "call spread", (_Spot(0, "C", 0, 1), _Spot(0, "C", 1, -1))),
    _Shape("vertical", "put spread", (_Spot(0, "P", 0, 1), _Spot(0, "P", -1, -1))),
    _Shape("risk reversal", "risk reversal", (_Spot(0, "C", 1, 1), _Spot(0, "P", -1, -1))),
    _Shape("forward", "forward", (_Spot(0, "F", 0, 1),)),
    _Shape("covered call", "covered call", (_Spot(0, "F", 0, 1), _Spot(0, "C", 1, -1))),
)
_NEAR: Final = (
    _Shape(
        "butterfly",
        "butterfly",
        (_Spot(0, "C", -1, 1), _Spot(0, "C", 0, -2), _Spot(0, "C", 1, 1)),
    ),
    _Shape(
        "butterfly",
        "tight butterfly",
        (_Spot(0, "C", 0, 1, -1), _Spot(0, "C", 0, -2), _Spot(0, "C", 0, 1, 1)),
    ),
    _Shape(
        "condor",
        "iron condor",
        (
            *(_Spot(0, "P", -2, 1), _Spot(0, "P", -1, -1)),
            *(_Spot(0, "C", 1, -1), _Spot(0, "C", 2, 1)),
        ),
    ),
    _Shape("ratio", "call ratio 1:2", (_Spot(0, "C", 0, 1), _Spot(0, "C", 1, -2))),
    _Shape("ratio", "put ratio 1:2", (_Spot(0, "P", 0, 1), _Spot(0, "P", -1, -2))),
    *_DEEP,
)
_TWO_EXPIRIES: Final = (
    _Shape("calendar", "call calendar", (_Spot(0, "C", 0, -1), _Spot(1, "C", 0, 1))),
    _Shape("calendar", "put calendar -1", (_Spot(0, "P", -1, -1), _Spot(1, "P", -1, 1))),
    _Shape("calendar", "diagonal", (_Spot(0, "C", 1, -1), _Spot(1, "C", 0, 1))),
    _Shape(
        "calendar",
        "straddle calendar",
        (
            *(_Spot(0, "C", 0, -1), _Spot(0, "P", 0, -1)),
            *(_Spot(1, "C", 0, 1), _Spot(1, "P", 0, 1)),
        ),
    ),
    _Shape("forward spread", "forward spread", (_Spot(0, "F", 0, -1), _Spot(1, "F", 0, 1))),
)

_PLACED: Final[Sequence[tuple[Sequence[_Shape], Sequence[tuple[str, ...]]]]] = (
    (_EVERYWHERE, [(tenor,) for tenor in TENORS]),
    (_NEAR, [("eve",), ("week",), ("month",)]),
    (
        _TWO_EXPIRIES,
        [("eve", "week"), ("week", "month"), ("month", "quarter"), ("quarter", "half")],
    ),
)


def portfolios_of(snapshot: Snapshot, *, seed: str) -> list[Portfolio]:
    """Return the portfolios of a snapshot, in an order that is always the same.

    Shapes whose strikes or expiries coincide where so little is listed are left out. The random
    books follow from ``seed`` and the snapshot's time alone.
    """
    tenors = _tenors(snapshot)
    found = []
    for shapes, places in _PLACED:
        for names in places:
            listed = [tenors[name] for name in names if name in tenors]
            if len(listed) < len(names) or len({each.expiry for each in listed}) < len(names):
                continue
            for shape in shapes:
                legs = [leg for spot in shape.spots for leg in _legs(spot, listed, snapshot)]
                if len(merged := merge_legs(legs)) == len(legs):
                    found.append(
                        Portfolio(
                            name=f"{shape.name}, {' to '.join(names)}",
                            family=shape.family,
                            legs=merged,
                        )
                    )
    found.extend(_random_books(snapshot, seed))
    return found


def merge_legs(legs: Iterable[Leg]) -> tuple[Leg, ...]:
    """Return one leg a series, without those that cancel out."""
    total: dict[tuple[Kind, int, int], int] = {}
    for leg in legs:
        series = (leg.kind, leg.expiry, leg.strike)
        total[series] = total.get(series, 0) + leg.quantity
    return tuple(Leg(*series, quantity) for series, quantity in total.items() if quantity)


def _tenors(snapshot: Snapshot) -> dict[str, ListedExpiry]:
    open_ones = [
        each
        for each in snapshot.expiries.values()
        if each.expiry - snapshot.at >= _SOONEST and len(each.strikes) >= 3
    ]
    if not open_ones:
        return {}
    return {
        name: min(open_ones, key=lambda each: abs(each.expiry - snapshot.at - tenor))
        for name, tenor in TENORS.items()
    }


def _legs(spot: _Spot, listed: Sequence[ListedExpiry], snapshot: Snapshot) -> Iterator[Leg]:
    expiry = listed[spot.place]
    strike = _strike(expiry, snapshot.years(expiry.expiry), spot.deviations, spot.steps)
    if spot.kinds in ("C", "F"):
        yield Leg(Kind.CALL, expiry.expiry, strike, spot.quantity * WAD)
    if spot.kinds == "P":
        yield Leg(Kind.PUT, expiry.expiry, strike, spot.quantity * WAD)
    if spot.kinds == "F":
        yield Leg(Kind.PUT, expiry.expiry, strike, -spot.quantity * WAD)


def _strike(listed: ListedExpiry, years: float, deviations: float, steps: int) -> int:
    strikes = listed.strikes
    middle = min(range(len(strikes)), key=lambda i: abs(strikes[i] - listed.forward))
    place = middle
    if deviations:
        width = listed.calls[strikes[middle]] / WAD * math.sqrt(years)
        target = listed.forward * math.exp(deviations * width)
        place = min(range(len(strikes)), key=lambda i: abs(strikes[i] - target))
    return strikes[max(0, min(place + steps, len(strikes) - 1))]


def _random_books(snapshot: Snapshot, seed: str) -> Iterator[Portfolio]:
    open_ones = [
        each
        for each in snapshot.expiries.values()
        if each.expiry - snapshot.at >= _SOONEST and each.strikes
    ]
    for number, size in enumerate(_RANDOM_SIZES if open_ones else ()):
        chance = Random(f"{seed}/{snapshot.at}/{number}")
        legs = []
        for _ in range(size):
            listed = chance.choice(open_ones)
            deviations = chance.gauss(0.0, 1.2)
            strike = _strike(listed, snapshot.years(listed.expiry), deviations, 0)
            kind = chance.choice((Kind.CALL, Kind.PUT))
            # about one unit long and one short, whatever the number of legs
            quantity = chance.choice((-2, -1, 1, 2)) * WAD // size
            legs.append(Leg(kind, listed.expiry, strike, quantity))
        if book := merge_legs(legs):
            yield Portfolio(name=f"random {size}, {number}", family="random", legs=book)
