"""Our model in the back-test: the integer engine itself, as the contract computes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from channels.backtest.market import Snapshot
from channels.backtest.models.model import Requirement, Sides, mark_of
from channels.backtest.portfolios import Leg
from channels.pricing.black76 import implied_carry
from channels.pricing.scan_margin import ScanMargin
from channels.protocol.terms import RiskParams
from channels.protocol.types import feed_id
from channels.units import DAY, WAD

__all__ = ["ScanModel"]

_UNIT: Final = 10**6


@attrs.frozen(kw_only=True)
class _Held:
    """A leg with its marks, as `ScanMargin` takes it."""

    feed: bytes
    kind: int
    expiry: int
    strike: int
    quantity: int
    vol: int
    carry: int


@attrs.frozen(kw_only=True)
class _Price:
    feed: bytes
    price: int


@attrs.frozen(kw_only=True)
class ScanModel:
    """`channels.pricing.ScanMargin` with the default parameters but for those named here."""

    name: str
    price_range: int = 20 * WAD // 100
    look_ahead: int = 2 * DAY

    def at(self, underlying: str, snapshot: Snapshot) -> Requirement:
        """Return the requirement at a snapshot; arrays of its series are computed once."""
        feed = feed_id(f"{underlying}-USD")
        model = ScanMargin(
            [RiskParams(feed=feed, price_range=self.price_range, look_ahead=self.look_ahead)]
        )
        spots = [_Price(feed=feed, price=snapshot.spot)]
        carries: dict[int, int] = {}

        def held(leg: Leg) -> _Held:
            forward, vol = mark_of(leg, snapshot)
            if leg.expiry not in carries:
                tau = leg.expiry - snapshot.at
                carries[leg.expiry] = implied_carry(snapshot.spot, forward, tau)
            return _Held(
                feed=feed,
                kind=leg.kind,
                expiry=leg.expiry,
                strike=leg.strike,
                quantity=leg.quantity,
                vol=vol,
                carry=carries[leg.expiry],
            )

        def requirement(legs: Sequence[Leg]) -> Sides:
            margins = model.requirements([*map(held, legs)], spots, snapshot.at, _UNIT)
            return Sides(margins.initial_a / _UNIT, margins.initial_b / _UNIT)

        return requirement
