"""What of a portfolio settles at a time, at which prices, and what remains of it.

Source: design, adjudication.md `settle`, "Money", rules 7 and 8.
"""

from __future__ import annotations

from typing import Final

import attrs

from channels.pricing import settlement_payoff
from channels.protocol.terms import Terms
from channels.protocol.types import Portfolio, Position
from channels.testing.oracle import ModelOracle

__all__ = ["Settlement", "settle_expired"]

_INT128: Final = (-(2**127), 2**127 - 1)


@attrs.frozen
class Settlement:
    """What remains of a portfolio, with ``net_to_b`` moved, and how many positions are settled."""

    remaining: Portfolio
    settled: int

    def expired(self, at: int) -> tuple[Position, ...]:
        """Positions that remain though they have expired at ``at``."""
        return tuple(each for each in self.remaining.positions if each.expiry <= at)

    def open(self, at: int) -> tuple[Position, ...]:
        """Positions that have not expired at ``at``."""
        return tuple(each for each in self.remaining.positions if each.expiry > at)


def settle_expired(
    portfolio: Portfolio, terms: Terms, oracle: ModelOracle, *, until: int, now: int
) -> Settlement:
    """Settle what expires at ``until`` or before and has a price at ``now``.

    ``net_to_b`` saturates at 128 bits. A position pays 0 that is of no kind known, or that needs
    the signed spot where there is none.
    """
    net, kept = portfolio.net_to_b, []
    for each in portfolio.positions:
        price = None
        if each.expiry <= until:
            grace = terms.settlement_grace
            price = oracle.settlement_price(each.feed, each.expiry, grace=grace, now=now)
        if price is None:
            kept.append(each)
            continue
        net = _saturated(net - _payment(each, price or portfolio.spot(each.feed), terms.unit))
    remaining = attrs.evolve(portfolio, net_to_b=net, positions=tuple(kept))
    return Settlement(remaining, len(portfolio.positions) - len(kept))


def _payment(position: Position, price: int | None, unit: int) -> int:
    """What A receives (+) or pays (-)."""
    if not price:
        return 0
    return settlement_payoff(position.kind, position.strike, position.quantity, price, unit)


def _saturated(net_to_b: int) -> int:
    least, most = _INT128
    return max(least, min(net_to_b, most))
