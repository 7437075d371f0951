"""Deribit's portfolio margin, written from its public description.

Sources: Deribit support, "Portfolio Margin" (segregated portfolio margin: a matrix of nine prices
by three vols, an extended table, delta shock and roll shock); the parameters are those that
``private/pme/simulate`` answers: for ETH an answer of 15 February 2026 that a user published, for
BTC the example in Deribit's API documentation (version 2.1.1), with those of the currency ``usd``.

Options are taken as linear, like the exchange's USDC options. Left out, because they depend on the
size of the account: the dampener of the extended table (it takes 25,000 USD and more off its
losses, so this is stricter than the exchange for small accounts) and the delta shock (it is 0 below
20,000,000 USD of delta); and the margin of open orders.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from channels.backtest.market import Snapshot
from channels.backtest.models.model import Contract, Requirement, Sides, contract_of, vol_shock
from channels.backtest.portfolios import Leg
from channels.pricing.kinds import Kind
from channels.pricing.mills import normal
from channels.units import WAD

__all__ = ["DERIBIT_PARAMETERS", "DeribitParameters", "DeribitPortfolioMargin"]

_BUCKETS: Final = 4
_EXTENDED: Final = (-0.66, -0.33, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)


@attrs.frozen(kw_only=True)
class DeribitParameters:
    """``model_params`` of ``private/pme/simulate``, those of a currency pair and of its quote."""

    price_range: float
    volatility_range_up: float
    volatility_range_down: float
    min_volatility_for_shock_up: float = 0.5
    short_term_vega_power: float = 0.3
    long_term_vega_power: float = 0.13
    extended_table_factor: float = 1.0
    annualised_move_risk: float = 0.1
    min_annualised_move: float = 0.01


DERIBIT_PARAMETERS: Final[Mapping[str, DeribitParameters]] = {
    "BTC": DeribitParameters(price_range=0.16, volatility_range_up=0.5, volatility_range_down=0.25),
    "ETH": DeribitParameters(price_range=0.18, volatility_range_up=0.4, volatility_range_down=0.25),
}
"""By underlying; anything else is margined like ETH."""


@attrs.frozen(kw_only=True)
class DeribitPortfolioMargin:
    """Worst cell of the matrix and of the extended table, plus the roll shock."""

    name: str = "Deribit PM"
    parameters: Mapping[str, DeribitParameters] = DERIBIT_PARAMETERS

    def at(self, underlying: str, snapshot: Snapshot) -> Requirement:
        """Return the requirement at a snapshot; the rows of its series are computed once."""
        parameters = self.parameters.get(underlying, self.parameters["ETH"])
        spot = snapshot.spot / WAD
        rows: dict[tuple[int, int, int], tuple[tuple[float, ...], float, float]] = {}

        def row(leg: Leg) -> tuple[tuple[float, ...], float, float]:
            key = (leg.kind, leg.expiry, leg.strike)
            if key not in rows:
                contract = contract_of(leg, snapshot)
                rows[key] = (
                    simulated(contract, parameters),
                    _delta(contract),
                    max(
                        parameters.annualised_move_risk * contract.years,
                        parameters.min_annualised_move,
                    ),
                )
            return rows[key]

        def requirement(legs: Sequence[Leg]) -> Sides:
            changes = [0.0] * (3 * (2 * _BUCKETS + 1) + len(_EXTENDED))
            rolls: dict[int, float] = {}
            for leg in legs:
                quantity = leg.quantity / WAD
                cells, delta, move = row(leg)
                changes = [
                    sum_ + quantity * cell for sum_, cell in zip(changes, cells, strict=True)
                ]
                rolls[leg.expiry] = rolls.get(leg.expiry, 0.0) + quantity * delta * move
            roll_shock = spot * sum(map(abs, rolls.values()))
            return Sides(max(0.0, -min(changes)) + roll_shock, max(0.0, max(changes)) + roll_shock)

        return requirement


def simulated(contract: Contract, parameters: DeribitParameters) -> tuple[float, ...]:
    """Return the change of one unit's value in each cell: the matrix, then the extended table."""
    scale = vol_shock(
        contract.seconds, parameters.short_term_vega_power, parameters.long_term_vega_power
    )
    up = max(
        contract.vol * (1.0 + parameters.volatility_range_up * scale),
        parameters.min_volatility_for_shock_up,
    )
    down = max(contract.vol * (1.0 - parameters.volatility_range_down * scale), 0.0)
    now, reach = contract.mark, parameters.price_range
    matrix = [
        contract.price(1.0 + reach * bucket / _BUCKETS, vol) - now
        for bucket in range(-_BUCKETS, _BUCKETS + 1)
        for vol in (up, contract.vol, down)
    ]
    extended = [
        (contract.price(1.0 + move, up) - now)
        * parameters.extended_table_factor
        * min(reach / abs(move), 1.0)
        for move in _EXTENDED
    ]
    return (*matrix, *extended)


def _delta(contract: Contract) -> float:
    deviation = contract.vol * math.sqrt(contract.years)
    d1 = math.log(contract.forward / contract.strike) / deviation + deviation / 2
    return normal(d1) if contract.kind == Kind.CALL else -normal(-d1)
