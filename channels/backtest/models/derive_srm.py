"""Derive's standard margin (standard manager, SRM), written from its public description.

Sources: Derive documentation, "Standard Margin" and "Standard Margin Parameters" (BTC and ETH); the
contract ``StandardManager`` of the repository derivexyz/v2-core at 0131e42b. Margin is taken expiry
by expiry: the better of the sum of the shorts' isolated margins, longs counting nothing, and the
largest loss at expiry with a charge for calls sold net.

Left out, because nothing here calls for them: perpetuals, collateral other than cash, and the
contingencies for a feed of low confidence or a stablecoin off its peg.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from channels.backtest.market import Snapshot
from channels.backtest.models.model import Contract, Requirement, Sides, contract_of
from channels.backtest.portfolios import Leg
from channels.pricing.kinds import Kind
from channels.units import WAD

__all__ = ["DeriveStandardMargin"]


@attrs.frozen(kw_only=True)
class DeriveStandardMargin:
    """Isolated margin or largest loss, expiry by expiry. Fields: ``OptionMarginParams``."""

    name: str = "Derive SRM"
    max_spot_requirement: float = 0.15
    min_spot_requirement: float = 0.13
    maintenance_put_spot: float = 0.09
    maintenance_put_mark: float = 0.09
    maintenance_scale: float = 1.05
    """``mmOffsetScale``: initial over maintenance margin of a put, at least."""
    unpaired_scale: float = 1.2
    """``unpairedIMScale``: charge on calls sold net, times the forward."""

    def at(self, underlying: str, snapshot: Snapshot) -> Requirement:
        """Return the requirement at a snapshot; its series are priced once."""
        del underlying  # BTC and ETH have the same parameters
        spot = snapshot.spot / WAD
        contracts: dict[tuple[int, int, int], tuple[Contract, float]] = {}

        def requirement(legs: Sequence[Leg]) -> Sides:
            expiries: dict[int, list[tuple[float, Contract, float]]] = {}
            for leg in legs:
                key = (leg.kind, leg.expiry, leg.strike)
                if key not in contracts:
                    contract = contract_of(leg, snapshot)
                    contracts[key] = (contract, contract.mark)
                expiries.setdefault(leg.expiry, []).append((leg.quantity / WAD, *contracts[key]))
            return Sides(
                *(
                    sum(self._expiry(held, spot, side) for held in expiries.values())
                    for side in (1.0, -1.0)
                )
            )

        return requirement

    def _expiry(
        self, held: Sequence[tuple[float, Contract, float]], spot: float, side: float
    ) -> float:
        """Return the equity one side needs for one expiry: cash asked for, plus the value."""
        positions = [(side * quantity, contract, mark) for quantity, contract, mark in held]
        value = sum(quantity * mark for quantity, _, mark in positions)
        isolated = sum(
            -quantity * self.isolated(contract, mark, spot)
            for quantity, contract, mark in positions
            if quantity < 0
        )
        prices = {0.0, *(contract.strike for _, contract, _ in positions)}
        largest = max(
            max(0.0, -sum(quantity * _payoff(each, price) for quantity, each, _ in positions))
            for price in prices
        )
        calls = sum(quantity for quantity, each, _ in positions if each.kind == Kind.CALL)
        if calls < 0:
            largest += self.unpaired_scale * positions[0][1].forward * -calls
        return min(isolated, largest) + value

    def isolated(self, contract: Contract, mark: float, spot: float) -> float:
        """Return the cash that one option sold by itself needs, its own value included."""
        above = contract.strike - spot
        out_of_the_money = max(above if contract.kind == Kind.CALL else -above, 0.0)
        share = self.max_spot_requirement - out_of_the_money / spot
        initial = max(share, self.min_spot_requirement) * spot + mark
        if contract.kind == Kind.CALL:
            return initial
        maintenance = max(self.maintenance_put_spot * spot, self.maintenance_put_mark * mark) + mark
        return max(initial, maintenance * self.maintenance_scale)


def _payoff(contract: Contract, price: float) -> float:
    gain = price - contract.strike
    return max(gain if contract.kind == Kind.CALL else -gain, 0.0)
