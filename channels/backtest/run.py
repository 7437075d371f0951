"""The back-test itself: every portfolio of every snapshot, its margins, and what it lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs

from channels.backtest.market import Market
from channels.backtest.models import Model
from channels.backtest.portfolios import Portfolio, portfolios_of
from channels.units import HOUR, WAD

__all__ = ["HORIZONS", "Observation", "run_backtest"]

HORIZONS: Final = (6, 12, 24, 48)
"""Hours between a portfolio's margin and the marks it must survive."""


@attrs.frozen(kw_only=True)
class Observation:
    """One side of one portfolio at one snapshot, in the currency of the strikes.

    ``side`` is "long" for the legs as they stand, "short" for the counterparty. ``margins`` are in
    the order of the models; ``losses`` in that of the horizons, None where there is no later
    snapshot or it lacks a mark.
    """

    market: str
    at: int
    portfolio: str
    family: str
    side: str
    spot: float
    value: float
    margins: tuple[float, ...]
    losses: tuple[float | None, ...]


def run_backtest(
    markets: Sequence[Market],
    models: Sequence[Model],
    *,
    horizons: Sequence[int] = HORIZONS,
    seed: str = "1",
    every: int = 1,
    tell: Callable[[], None] = lambda: None,
) -> Iterator[Observation]:
    """Yield the observations, market by market, snapshot by snapshot.

    ``horizons`` are hours; ``every`` takes each n-th snapshot only, as a start; ``tell`` is called
    when one is done. A snapshot without a later one for any horizon gives nothing.
    """
    for market in markets:
        for index in range(0, len(market.snapshots), every):
            yield from _observed(market, index, models, horizons, f"{seed}/{market.name}")
            tell()


def _observed(
    market: Market, index: int, models: Sequence[Model], horizons: Sequence[int], seed: str
) -> Iterator[Observation]:
    later = [market.later(index, hours * HOUR) for hours in horizons]
    if all(each is None for each in later):
        return
    snapshot = market.snapshots[index]
    requirements = [model.at(market.name, snapshot) for model in models]
    for portfolio in portfolios_of(snapshot, seed=seed):
        now = _worth(market, index, portfolio)
        if now is None:
            continue
        losses = [
            None
            if each is None or (then := _worth(market, each, portfolio)) is None
            else now - then
            for each in later
        ]
        sides = [requirement(portfolio.legs) for requirement in requirements]
        for side, sign, margins in (
            ("long", 1.0, tuple(each.holder for each in sides)),
            ("short", -1.0, tuple(each.counterparty for each in sides)),
        ):
            yield Observation(
                market=market.name,
                at=snapshot.at,
                portfolio=portfolio.name,
                family=portfolio.family,
                side=side,
                spot=snapshot.spot / WAD,
                value=sign * now,
                margins=margins,
                losses=tuple(None if loss is None else sign * loss for loss in losses),
            )


def _worth(market: Market, index: int, portfolio: Portfolio) -> float | None:
    """Return what the legs as they stand are worth, None if one of them has no mark."""
    total = 0.0
    for leg in portfolio.legs:
        each = market.worth(index, leg.kind, leg.expiry, leg.strike)
        if each is None:
            return None
        total += leg.quantity / WAD * each
    return total
