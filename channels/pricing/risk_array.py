"""Risk array of a series: how the value of one unit changes in each scenario of its feed.

An array depends on the series and its marks alone, not on what else is held: it is computed once,
and a portfolio's changes are the sums of quantity times array.

Scenarios in SPAN's order: the price moves by 0, +1/3, -1/3, +2/3, -2/3, +1, -1 price ranges, each
with vol up (even numbers) and then with vol down and ``look_ahead`` gone by (odd numbers); then the
extremes, vol and time unchanged: +3 and -3 ranges, +100 %, -66 %.

Source: design, risk.md "Margin", items 1, 2 and 5; SPAN: CME, "Standard Portfolio Analysis of
Risk" (2010).
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

import attrs

from channels.pricing.black76 import forward_price, price
from channels.pricing.fixed import sqrt_years
from channels.pricing.portfolio import PositionLike
from channels.pricing.risk_params import RiskParamsLike
from channels.pricing.scenario_price import (
    log_ratio,
    moved_forward,
    scenario_price,
    vol_down,
    vol_up,
)
from channels.units import WAD, YEAR

__all__ = ["EXTREMES", "LOSS_DIVISORS", "SCENARIOS", "Node", "PriceMoves", "SeriesRisk"]

_MOVES: Final = 7
EXTREMES: Final = 4
SCENARIOS: Final = 2 * _MOVES + EXTREMES

LOSS_DIVISORS: Final = (*(1,) * 2 * _MOVES, 3, 3, 6, 4)
"""The loss of a scenario counts divided by this, rounded up."""

_CRASH: Final = WAD * 34 // 100


@attrs.frozen
class PriceMoves:
    """The factors by which a feed's scenarios multiply forwards, WAD, and their logarithms, Q96."""

    factors: tuple[int, ...]
    logs: tuple[int, ...]

    @classmethod
    def of(cls, price_range: int) -> PriceMoves:
        """The moves of a feed, in the order of the scenarios."""
        third, two_thirds = price_range // 3, 2 * price_range // 3
        moves = (
            *(0, third, -third, two_thirds, -two_thirds, price_range, -price_range),
            *(3 * price_range, -3 * price_range),
        )
        factors = (*(WAD + move for move in moves), 2 * WAD, _CRASH)
        return cls(factors, tuple(log_ratio(factor, WAD) for factor in factors))


@attrs.frozen
class Node:
    """A strike near expiry, as a move of its feed: from ``forward``, its own, to ``strike``.

    The price may well stop there, and a book of such options is at its worst just there. A digital
    flips at its strike, so with ``digital`` the last price below is a scenario of its own.
    """

    strike: int
    forward: int
    digital: bool

    @property
    def scenarios(self) -> tuple[tuple[int, bool], ...]:
        """(Price the node's forward moves to, whether vol rises) of each scenario.

        Below the strike vol only falls: with vol up, one step of the price changes nothing.
        """
        at = (self.strike, True), (self.strike, False)
        return (*at, (self.strike - 1, False)) if self.digital and self.strike > 1 else at


@attrs.frozen(eq=False)
class SeriesRisk:
    """One series at its marks: value of one unit, and its changes by scenario, WAD.

    Beyond expiry the forward is the spot and the price its payoff there; ``tau`` is 0 then. The
    whole array is computed when it is first asked for: who looks at one scenario pays for one.
    """

    kind: int
    strike: int
    tau: int
    forward: int
    value: int
    outlives: bool
    """Whether it is still there when ``look_ahead`` has gone by."""

    log: int
    s: int
    s_up: int
    s_down: int
    _carry_rise: int
    _moves: PriceMoves
    _node_changes: dict[Node, tuple[int, ...]] = attrs.field(factory=dict)

    @classmethod
    def of(
        cls, position: PositionLike, spot: int, at: int, risk: RiskParamsLike, moves: PriceMoves
    ) -> SeriesRisk:
        """Value a position's series at this spot and time.

        Raises:
            PricingDomainError: an input out of the pricing domain.
        """
        kind, strike, vol = position.kind, position.strike, position.vol
        tau = max(position.expiry - at, 0)
        forward = forward_price(spot, position.carry, tau)
        value = price(kind, forward, strike, vol, tau)
        root = sqrt_years(tau)  # < 2**99
        later = sqrt_years(max(tau - risk.look_ahead, 0))
        return cls(
            kind=kind,
            strike=strike,
            tau=tau,
            forward=forward,
            value=value,
            outlives=tau > risk.look_ahead,
            log=log_ratio(forward, strike),
            s=vol * root // WAD,  # product < 2**166; s < 2**106
            s_up=vol_up(vol, risk.vol_up, tau) * root // WAD,
            s_down=vol_down(vol, risk.vol_down, tau) * later // WAD,
            carry_rise=WAD + risk.carry_base + risk.carry_slope * tau // YEAR,  # < 2**64
            moves=moves,
        )

    @cached_property
    def changes(self) -> tuple[int, ...]:
        """The value's change in each of the `SCENARIOS` of the grid.

        Raises:
            PricingDomainError: a scenario moves the forward out of the domain.
        """
        return tuple(map(self.change, range(SCENARIOS)))

    def change(self, number: int) -> int:
        """Return the value's change in one scenario of the grid, 0 to `SCENARIOS` - 1.

        Raises:
            PricingDomainError: it moves the forward out of the domain.
        """
        if number < 2 * _MOVES:
            place, s = number // 2, self.s_down if number % 2 else self.s_up
        else:
            place, s = number - _MOVES, self.s
        moved = moved_forward(self.forward, self._moves.factors[place], WAD)
        log = self.log + self._moves.logs[place]
        return scenario_price(self.kind, moved, self.strike, log, s) - self.value

    @cached_property
    def carry_change(self) -> int:
        """The value's change with a rise of the carry (item 5); 0 beyond expiry.

        Raises:
            PricingDomainError: the rise moves the forward out of the domain.
        """
        if self.tau == 0:
            return 0
        moved = moved_forward(self.forward, self._carry_rise, WAD)
        log = self.log + log_ratio(self._carry_rise, WAD)
        return scenario_price(self.kind, moved, self.strike, log, self.s) - self.value

    def node_changes(self, node: Node) -> tuple[int, ...]:
        """Return the value's change in each scenario of ``node``.

        Raises:
            PricingDomainError: the node moves the forward out of the domain.
        """
        changes = self._node_changes.get(node)
        if changes is None:
            changes = self._node_changes[node] = tuple(
                self.node_change(node, number) for number in range(len(node.scenarios))
            )
        return changes

    def node_change(self, node: Node, number: int) -> int:
        """Return the value's change in one scenario of ``node``, by its number there.

        Raises:
            PricingDomainError: the node moves the forward out of the domain.
        """
        target, rises = node.scenarios[number]
        moved = moved_forward(self.forward, target, node.forward)
        log = self.log + log_ratio(target, node.forward)
        s = self.s_up if rises else self.s_down
        return scenario_price(self.kind, moved, self.strike, log, s) - self.value
