"""How much a portfolio moves with its market, seen from one side, feed by feed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import fsum
from types import MappingProxyType

import attrs

from channels.errors import InvalidValueError
from channels.pricing import scalar
from channels.pricing.greeks import Greeks
from channels.protocol.types import Party, Portfolio, Position, feed_name
from channels.units import WAD, YEAR

__all__ = ["Exposure", "Holding", "exposures", "position_greeks", "total"]


@attrs.frozen(kw_only=True)
class Exposure:
    """Sensitivities of one feed's positions, signed: + = we gain when it rises.

    ``delta`` in units of the underlying, ``gamma`` per 1.00 of its price, ``vega`` per 1.00 of vol,
    ``theta`` per year (`channels.pricing.greeks`). ``notional`` is the spot times the sum of all
    quantities without their signs.
    """

    delta: float = 0.0
    gamma: float = 0.0
    vega: float = 0.0
    theta: float = 0.0
    notional: float = 0.0


@attrs.frozen(kw_only=True)
class Holding:
    """One channel of the desk: our side of it, whose credit it uses, and what could come to stand.

    ``group`` names counterparties that count as one. ``portfolios`` is the one that stands, and all
    that is in flight: the desk takes the worst of them.
    """

    channel_id: bytes
    group: str
    side: Party
    portfolios: tuple[Portfolio, ...]


def position_greeks(position: Position, spot: int, at: int) -> Greeks[float]:
    """Price and Greeks of one unit of ``position`` at its own marks; ``spot`` in WAD."""
    return scalar.greeks(
        position.kind,
        spot / WAD,
        position.strike / WAD,
        position.vol / WAD,
        max(position.expiry - at, 0) / YEAR,
        position.carry / WAD,
    )


@lru_cache(maxsize=4_096)
def exposures(portfolio: Portfolio, side: Party) -> Mapping[bytes, Exposure]:
    """Work out the exposure of ``side`` to every feed of ``portfolio``, at the marks it carries.

    Raises:
        InvalidValueError: a position without a marked spot.
    """
    found: dict[bytes, list[Exposure]] = {}
    for each in portfolio.positions:
        spot = portfolio.spot(each.feed)
        if spot is None:
            raise InvalidValueError(f"no marked spot for {feed_name(each.feed)}")
        greeks = position_greeks(each, spot, portfolio.marked_at)
        quantity = side.sign * each.quantity / WAD
        found.setdefault(each.feed, []).append(
            Exposure(
                delta=quantity * greeks.delta,
                gamma=quantity * greeks.gamma,
                vega=quantity * greeks.vega,
                theta=quantity * greeks.theta,
                notional=abs(quantity) * spot / WAD,
            )
        )
    return MappingProxyType({feed: _sum(parts) for feed, parts in found.items()})


def total(parts: Iterable[Mapping[bytes, Exposure]]) -> dict[bytes, Exposure]:
    """Add up the exposures of several channels, feed by feed."""
    by_feed: dict[bytes, list[Exposure]] = {}
    for part in parts:
        for feed, exposure in part.items():
            by_feed.setdefault(feed, []).append(exposure)
    return {feed: _sum(each) for feed, each in by_feed.items()}


def _sum(parts: list[Exposure]) -> Exposure:
    names = [field.name for field in attrs.fields(Exposure)]
    return Exposure(**{name: fsum(getattr(part, name) for part in parts) for name in names})
