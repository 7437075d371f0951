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

    ``changes`` has `SCENARIOS` entries; ``carry_change`` is that of a rise of the carry (item 5).
    Beyond expiry the forward is the spot and the price its payoff there; ``tau`` is 0 then.
    """

    kind: int
    strike: int
    tau: int
    forward: int
    value: int
    changes: tuple[int, ...]
    carry_change: int
    outlives: bool
    """Whether it is still there when ``look_ahead`` has gone by."""

    log: int
    s_up: int
    s_down: int
    _node_changes: dict[Node, tuple[int, ...]] = attrs.field(factory=dict)

    @classmethod
    def of(
        cls, position: PositionLike, spot: int, at: int, risk: RiskParamsLike, moves: PriceMoves
    ) -> SeriesRisk:
        """Compute the array of a position's series at this spot and time.

        Raises:
            PricingDomainError: an input out of the pricing domain, or moved out of it.
        """
        kind, strike, vol = position.kind, position.strike, position.vol
        tau = max(position.expiry - at, 0)
        forward = forward_price(spot, position.carry, tau)
        value = price(kind, forward, strike, vol, tau)
        log = log_ratio(forward, strike)
        root = sqrt_years(tau)  # < 2**99
        later = sqrt_years(max(tau - risk.look_ahead, 0))
        s = vol * root // WAD  # product < 2**166; s < 2**106
        s_up = vol_up(vol, risk.vol_up, tau) * root // WAD
        s_down = vol_down(vol, risk.vol_down, tau) * later // WAD

        changes: list[int] = []
        for number, (factor, shift) in enumerate(zip(moves.factors, moves.logs, strict=True)):
            moved = moved_forward(forward, factor, WAD)
            if number < _MOVES:
                changes.append(scenario_price(kind, moved, strike, log + shift, s_up) - value)
                changes.append(scenario_price(kind, moved, strike, log + shift, s_down) - value)
            else:
                changes.append(scenario_price(kind, moved, strike, log + shift, s) - value)
        carry_change = 0
        if tau > 0:
            rise = WAD + risk.carry_base + risk.carry_slope * tau // YEAR  # < 2**64
            moved = moved_forward(forward, rise, WAD)
            shifted = log + log_ratio(rise, WAD)
            carry_change = scenario_price(kind, moved, strike, shifted, s) - value
        return cls(
            kind=kind,
            strike=strike,
            tau=tau,
            forward=forward,
            value=value,
            changes=tuple(changes),
            carry_change=carry_change,
            outlives=tau > risk.look_ahead,
            log=log,
            s_up=s_up,
            s_down=s_down,
        )

    def node_changes(self, node: Node) -> tuple[int, ...]:
        """Return the value's change in each scenario of ``node``.

        Raises:
            PricingDomainError: the node moves the forward out of the domain.
        """
        changes = self._node_changes.get(node)
        if changes is None:
            changes = self._node_changes[node] = tuple(
                self._moved_to(target, node.forward, rises) for target, rises in node.scenarios
            )
        return changes

    def _moved_to(self, target: int, origin: int, rises: bool) -> int:
        moved = moved_forward(self.forward, target, origin)
        log = self.log + log_ratio(target, origin)
        s = self.s_up if rises else self.s_down
        return scenario_price(self.kind, moved, self.strike, log, s) - self.value
