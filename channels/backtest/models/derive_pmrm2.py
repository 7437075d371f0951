"""Derive's portfolio margin, PMRM2, written from its public description and contract.

Sources: Derive documentation, "PM2" and "Portfolio Manager [New]" (scenarios and tail scenarios for
ETH and BTC, formula of the margin); the contract ``PMRMLib_2_1`` of the repository
derivexyz/v2-core at 2e9b75c6 (order of the steps, skew shocks, contingencies, discounts), with the
parameters its contracts on Derive Chain had between 8 January and 24 May 2026, according to a
public record of their events. The dampening of the tails is the documentation's.

The interest rate is 0, as everywhere in the back-test: marks are undiscounted. Left out, because
nothing here calls for them: perpetuals, collateral other than cash, and the contingencies for a
feed of low confidence or a stablecoin off its peg.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from channels.backtest.market import Snapshot
from channels.backtest.models.model import Contract, Requirement, Sides, contract_of, vol_shock
from channels.backtest.portfolios import Leg
from channels.units import WAD

__all__ = ["DEFAULT_TAILS", "DeriveParameters", "DerivePortfolioMargin"]

DEFAULT_TAILS: Final[tuple[tuple[float, float], ...]] = (
    (0.34, 0.21),
    (0.67, 0.42),
    (1.5, 0.27),
    (2.0, 0.13),
    (3.0, 0.069),
    (4.0, 0.046),
    (5.0, 0.034),
    (6.0, 0.027),
)
"""Tail scenarios: factor of the spot, and how much of the loss counts. The vol is shocked up."""


@attrs.frozen(kw_only=True)
class DeriveParameters:
    """Parameters of ``PMRMLib_2_1``, under its names."""

    spot_range: float = 0.18
    """Grid from -range to +range in eight steps."""
    tails: tuple[tuple[float, float], ...] = DEFAULT_TAILS
    vol_range_up: float = 0.5
    vol_range_down: float = 0.3
    min_vol_up_shock: float = 0.4
    short_term_power: float = 0.3
    long_term_power: float = 0.13
    loss_factor: float = 1.0
    """``imFactor``."""
    long_static_discount: float = 0.98
    long_rate_mult: float = 0.0
    long_rate_add: float = 0.1
    short_static_discount: float = 1.02
    short_rate_mult: float = 0.0
    short_rate_add: float = 0.1
    basis_spot_up: float = 1.045
    basis_spot_down: float = 0.955
    basis_add_factor: float = 0.5
    basis_mult_factor: float = 2.0
    option_percent: float = 0.005
    """Of the spot for each naked short: ``MMOptionPercent`` plus ``IMOptionPercent``."""
    skew_cap: float = 0.25
    """``linearBaseCap`` and ``absBaseCap``, which are equal."""
    skew_c_base: float = -0.1
    min_k_star: float = 0.01
    width_scale: float = 4.0
    vol_param_static: float = 0.6
    vol_param_scale: float = 0.0
    rate: float = 0.0


@attrs.frozen
class _Row:
    """One series: its price now and in the scenarios, in the order of `_scenarios`.

    ``skewed`` is that of the linear and of the absolute skew shock, ``basis`` of spot up and down.
    """

    now: float
    prices: tuple[float, ...]
    skewed: tuple[float, float]
    basis: tuple[float, float]


@attrs.frozen
class _Expiry:
    """What is held of an expiry, quantity and row, and the factors of its sums."""

    rows: list[tuple[float, _Row]]
    long_discount: float
    short_discount: float
    basis_factor: float

    def discounted(self, value: float) -> float:
        """Return what a value in a scenario counts: gains less, debts more."""
        return value * (self.long_discount if value >= 0 else self.short_discount)


def _scenarios(parameters: DeriveParameters) -> tuple[tuple[float, int, float], ...]:
    """(Factor of the spot, direction of the vol, dampening) of the grid and the tails."""
    step = parameters.spot_range / 4
    grid = [
        (1.0 + step * place, direction, 1.0)
        for place in range(4, -5, -1)
        for direction in ((1,) if abs(place) == 4 else (1, 0, -1))
    ]
    return (*grid, *((factor, 1, dampening) for factor, dampening in parameters.tails))


@attrs.frozen(kw_only=True)
class DerivePortfolioMargin:
    """Worst of 23 scenarios, the tails, two skew shocks and the basis; plus naked shorts."""

    name: str = "Derive PMRM2"
    parameters: DeriveParameters = DeriveParameters()

    def at(self, underlying: str, snapshot: Snapshot) -> Requirement:
        """Return the requirement at a snapshot; the rows of its series are computed once."""
        del underlying  # BTC and ETH had the same parameters
        spot = snapshot.spot / WAD
        rows: dict[tuple[int, int, int], _Row] = {}
        factors: dict[int, tuple[float, float, float]] = {}

        def requirement(legs: Sequence[Leg]) -> Sides:
            expiries: dict[int, _Expiry] = {}
            for leg in legs:
                key = (leg.kind, leg.expiry, leg.strike)
                if key not in rows:
                    contract = contract_of(leg, snapshot)
                    rows[key] = _row(contract, self.parameters)
                    factors[leg.expiry] = _factors(contract, self.parameters)
                expiry = expiries.setdefault(leg.expiry, _Expiry([], *factors[leg.expiry]))
                expiry.rows.append((leg.quantity / WAD, rows[key]))
            return Sides(
                *(
                    self.parameters.loss_factor * self._worst(expiries, side)
                    + self.parameters.option_percent * spot * _naked_shorts(legs, side)
                    for side in (1.0, -1.0)
                )
            )

        return requirement

    def _worst(self, expiries: Mapping[int, _Expiry], side: float) -> float:
        """Return the greatest loss of one side over all scenarios, at least 0."""
        scenarios = _scenarios(self.parameters)
        changes = [0.0] * len(scenarios)
        skews, basis = [0.0, 0.0], 0.0
        for expiry in expiries.values():
            held = [(side * quantity, row) for quantity, row in expiry.rows]
            now = sum(quantity * row.now for quantity, row in held)

            for number in range(len(scenarios)):
                value = sum(q * row.prices[number] for q, row in held)
                changes[number] += expiry.discounted(value) - now
            for number in range(2):
                value = sum(q * row.skewed[number] for q, row in held)
                # whichever way the skew moves, it moves against each expiry
                skews[number] -= abs(expiry.discounted(value) - now)
            moved = min(sum(q * row.basis[number] for q, row in held) - now for number in range(2))
            basis += min(moved, 0.0) * expiry.basis_factor
        dampened = [
            change * dampening for change, (_, _, dampening) in zip(changes, scenarios, strict=True)
        ]
        return max(0.0, -min(*dampened, *skews, basis))


def _row(contract: Contract, parameters: DeriveParameters) -> _Row:
    scale = vol_shock(contract.seconds, parameters.short_term_power, parameters.long_term_power)
    up = contract.vol * (1.0 + parameters.vol_range_up * scale)
    vols = {
        1: max(up, parameters.min_vol_up_shock),
        0: contract.vol,
        -1: contract.vol * max(1.0 - parameters.vol_range_down * scale, 0.0),
    }
    discount = math.exp(-parameters.rate * contract.years)

    def price(factor: float, vol: float) -> float:
        return contract.price(factor, vol) * discount

    cap, k_star = _skew(contract.years, parameters)
    k = math.log(contract.strike / contract.forward)
    skewed = [1.0 + max(-cap, min(cap, distance * cap / k_star)) for distance in (k, abs(k))]
    return _Row(
        now=price(1.0, contract.vol),
        prices=tuple(price(factor, vols[way]) for factor, way, _ in _scenarios(parameters)),
        skewed=(price(1.0, contract.vol * skewed[0]), price(1.0, contract.vol * skewed[1])),
        basis=(
            price(parameters.basis_spot_up, contract.vol),
            price(parameters.basis_spot_down, contract.vol),
        ),
    )


def _skew(years: float, parameters: DeriveParameters) -> tuple[float, float]:
    """Return the greatest change of a vol in the skew shocks, and the log-strike it is reached."""
    root = math.sqrt(years)
    cap = parameters.skew_cap + parameters.skew_c_base * root
    vol = parameters.vol_param_static + root * parameters.vol_param_scale
    return cap, max(parameters.min_k_star, root * parameters.width_scale * vol)


def _factors(contract: Contract, parameters: DeriveParameters) -> tuple[float, float, float]:
    """Return the static discounts of an expiry's gains and debts, and its basis factor."""
    years, rate = contract.years, parameters.rate
    long_rate = rate * parameters.long_rate_mult + parameters.long_rate_add
    short_rate = rate * parameters.short_rate_mult + parameters.short_rate_add
    return (
        parameters.long_static_discount * math.exp(-long_rate * years),
        min(
            math.exp(rate * years), parameters.short_static_discount * math.exp(short_rate * years)
        ),
        parameters.basis_add_factor + parameters.basis_mult_factor * years,
    )


def _naked_shorts(legs: Sequence[Leg], side: float) -> float:
    """Return how many options are sold beyond what is bought at the same strike and expiry."""
    net: dict[tuple[int, int], int] = {}
    for leg in legs:
        key = (leg.expiry, leg.strike)
        net[key] = net.get(key, 0) + leg.quantity
    return sum(max(0.0, -side * quantity / WAD) for quantity in net.values())
