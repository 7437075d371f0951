"""Every unit accounted for, from the trades alone: nothing here asks the contract or the peers.

Premiums, payoffs and the penalty are worked out again with exact fractions, from what was agreed
and what the market did, and held against what the chain paid.
"""

from __future__ import annotations

from fractions import Fraction

import attrs

from channels.pricing import Kind
from channels.protocol.changes import Trade, TradeLeg
from channels.units import WAD

__all__ = ["Check", "Reconciliation", "payoff_to_a", "reconcile"]


@attrs.frozen(kw_only=True)
class Check:
    """One figure, worked out here, beside what the system says."""

    what: str
    expected: int
    found: int

    @property
    def holds(self) -> bool:
        """Whether the two are the same integer."""
        return self.expected == self.found


@attrs.frozen(kw_only=True)
class Reconciliation:
    """All checks of a run."""

    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether every one does."""
        return all(check.holds for check in self.checks)


def _payoff_of_one(leg: TradeLeg, settled_at: int) -> Fraction:
    price, strike = Fraction(settled_at, WAD), Fraction(leg.strike, WAD)
    match leg.kind:
        case Kind.CALL:
            return max(price - strike, Fraction(0))
        case Kind.PUT:
            return max(strike - price, Fraction(0))
        case Kind.DIGITAL_CALL:
            return Fraction(1 if price >= strike else 0)
        case Kind.DIGITAL_PUT:
            return Fraction(1 if price < strike else 0)
        case Kind.FORWARD:
            return price - strike


def payoff_to_a(trade: Trade, settled_at: int, unit: int) -> int:
    """What A receives of B when every leg settles at ``settled_at``, base units.

    Each leg's magnitude is truncated to base units, then signed.
    """
    total = 0
    for leg in trade.legs:
        exact = Fraction(leg.quantity, WAD) * _payoff_of_one(leg, settled_at) * unit
        magnitude = abs(exact).numerator // abs(exact).denominator
        total += magnitude if exact >= 0 else -magnitude
    return total


def reconcile(
    *,
    deposit: int,
    first: tuple[Trade, int],
    second: tuple[Trade, int],
    unit: int,
    penalty_on_b: int,
    last_net_to_b: int,
    paid: tuple[int, int],
    balances: tuple[int, int],
    left_in_contract: int,
    claimable: tuple[int, int],
) -> Reconciliation:
    """Work out who should hold what, and compare.

    Trades come with the price they settled at: the first off chain, the second in run-off.
    ``last_net_to_b`` is what the last co-signed state says A has paid B, with the second still
    open; ``balances`` both parties' tokens at the end, who began with just their deposits.
    """
    agreed = first[0].premium - payoff_to_a(*first, unit) + second[0].premium
    net = agreed - payoff_to_a(*second, unit)
    cash_a = min(max(deposit - net, 0), 2 * deposit)
    cash_b = 2 * deposit - cash_a
    penalty = min(penalty_on_b, cash_b)
    final_a, final_b = cash_a + penalty, cash_b - penalty
    return Reconciliation(
        checks=(
            Check(what="Alice to Bob, last co-signed state", expected=agreed, found=last_net_to_b),
            Check(what="paid to Alice by the contract", expected=final_a, found=paid[0]),
            Check(what="paid to Bob by the contract", expected=final_b, found=paid[1]),
            Check(what="Alice's tokens", expected=final_a, found=balances[0]),
            Check(what="Bob's tokens", expected=final_b, found=balances[1]),
            Check(what="left in the contract", expected=0, found=left_in_contract),
            Check(what="unclaimed", expected=0, found=sum(claimable)),
            Check(what="both together", expected=2 * deposit, found=sum(balances)),
        )
    )
