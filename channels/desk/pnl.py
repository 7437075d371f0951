"""Profit and loss between two co-signed states, explained by what caused it.

The total is exact, in base units: cash moved plus the change of the positions' value in the
integer engine. The parts are a second-order expansion at the first state's marks, in floats,
rounded to base units; what they leave over is the residual, so the parts always add up to the
total.

Convention: spot effects first (delta, gamma), then vol (vega), then time (theta), then carry (rho).
A trade's part is what its positions are worth at the second state's marks, less its premium; a
settlement's is the payoff less the last value.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import fsum

import attrs

from channels.desk.exposure import position_greeks
from channels.pricing import portfolio_value
from channels.protocol.types import Party, Portfolio, Position, Spot
from channels.units import WAD, YEAR

__all__ = ["Explained", "explain", "explain_all"]


@attrs.frozen(kw_only=True)
class Explained:
    """Parts of a profit (+) or loss (-), base units, whose sum is `total`.

    ``trades``: positions opened, closed or settled, at the new marks, with their cash.
    """

    delta: int = 0
    gamma: int = 0
    vega: int = 0
    theta: int = 0
    carry: int = 0
    trades: int = 0
    residual: int = 0

    @property
    def total(self) -> int:
        """All of it: the change of equity that no deposit or payment explains."""
        return sum(attrs.astuple(self))

    def __add__(self, other: Explained) -> Explained:
        parts = zip(attrs.astuple(self), attrs.astuple(other), strict=True)
        names = [field.name for field in attrs.fields(Explained)]
        return Explained(**{name: sum(pair) for name, pair in zip(names, parts, strict=True)})


def explain(before: Portfolio, after: Portfolio, *, side: Party, unit: int) -> Explained:
    """Explain the profit of ``side`` from one state's portfolio to the next.

    Positions that are open in both are explained by their marks; the change of quantities is a
    trade, at the marks of ``after``. A position that is not in ``after`` has no marks there: it
    leaves at its last value, and what it pays differently is in ``trades``.

    Raises:
        PricingDomainError: marks that the pricing engine refuses.
    """
    new_marks = {each.series: each for each in after.positions}
    kept = [each for each in before.positions if each.series in new_marks]
    aged = [attrs.evolve(new_marks[each.series], quantity=each.quantity) for each in kept]
    was = _value(before.positions, before.spots, before.marked_at, unit)
    gone = was - _value(kept, before.spots, before.marked_at, unit)
    held = _value(aged, after.spots, after.marked_at, unit) - (was - gone)
    now = _value(after.positions, after.spots, after.marked_at, unit)
    total = -(after.net_to_b - before.net_to_b) + now - was
    trades = total - held
    parts = _expand(kept, aged, before, after, unit)
    residual = held - sum(parts.values())
    sign = side.sign
    return Explained(
        **{name: sign * part for name, part in parts.items()},
        trades=sign * trades,
        residual=sign * residual,
    )


def explain_all(portfolios: Iterable[Portfolio], *, side: Party, unit: int) -> Explained:
    """Explain the profit over a sequence of states, oldest first; nothing for fewer than two."""
    steps = (explain(*pair, side=side, unit=unit) for pair in pairwise(portfolios))
    return sum(steps, start=Explained())


def _value(positions: Iterable[Position], spots: Iterable[Spot], at: int, unit: int) -> int:
    """Value from A's side, base units, rounded to the nearest so that it has no side."""
    exact = portfolio_value(tuple(positions), tuple(spots), at, unit).exact * unit
    return (2 * exact + WAD * WAD) // (2 * WAD * WAD)


def _expand(
    kept: list[Position], aged: list[Position], before: Portfolio, after: Portfolio, unit: int
) -> dict[str, int]:
    terms: dict[str, list[float]] = {
        name: [] for name in ("delta", "gamma", "vega", "theta", "carry")
    }
    years = (after.marked_at - before.marked_at) / YEAR
    for old, new in zip(kept, aged, strict=True):
        first, second = before.spot(old.feed), after.spot(old.feed)
        if first is None or second is None:
            continue
        greeks = position_greeks(old, first, before.marked_at)
        amount, move = old.quantity / WAD * unit, (second - first) / WAD
        terms["delta"].append(amount * greeks.delta * move)
        terms["gamma"].append(amount * greeks.gamma * move * move / 2)
        terms["vega"].append(amount * greeks.vega * (new.vol - old.vol) / WAD)
        terms["theta"].append(amount * greeks.theta * years)
        terms["carry"].append(amount * greeks.rho * (new.carry - old.carry) / WAD)
    return {name: round(fsum(parts)) for name, parts in terms.items()}
