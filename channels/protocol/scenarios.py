"""Scenarios of the margin scan as the contract names them, and those that show a shortfall best.

A margin call may name one scenario for each feed with open positions, in their order: what these
show of the margin is a lower bound of it, for a fraction of the gas that the whole costs.

Source: design, risk.md "Margin"; `contracts/src/risk/RiskTypes.sol`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from channels.pricing import ScanMargin, shifted_positions
from channels.pricing.feed_margin import MAX_NODES, FeedRisk
from channels.pricing.risk_array import SCENARIOS
from channels.protocol.bounds import require
from channels.protocol.terms import RiskParams
from channels.protocol.types import Party, Portfolio, Spot

__all__ = ["ScenarioIndex", "worst_scenarios"]

_NODE_SCENARIOS: Final = 3


@attrs.frozen(kw_only=True)
class ScenarioIndex:
    """A scenario of one feed by its numbers: ``node`` 0 is the grid, n the feed's n-th node.

    On the grid ``number`` is 0 to 17 in SPAN's order; at a node 0 is vol up, 1 vol down, 2 (for
    digitals) vol down just below the strike. With ``outliving`` only the positions that outlive the
    look-ahead count.
    """

    node: int = 0
    number: int
    outliving: bool = False

    def __attrs_post_init__(self) -> None:
        require(0 <= self.node <= MAX_NODES, f"a node is 0 to {MAX_NODES}", self.node)
        count = _NODE_SCENARIOS if self.node else SCENARIOS
        require(0 <= self.number < count, f"a scenario is one of {count}", self.number)


def worst_scenarios(
    portfolio: Portfolio,
    spots: Sequence[Spot],
    risk: Sequence[RiskParams],
    *,
    at: int,
    party: Party,
) -> tuple[ScenarioIndex, ...]:
    """The scenario of each feed that costs ``party`` most, as a margin call at time ``at`` decides.

    Of the positions open then, vols shifted in the party's favour by the age of the marks. They
    show the scan and the short minimum, not the other charges: where these matter, give none.

    Raises:
        InvalidValueError: a feed without spot or without parameters, or with two of either.
        PricingDomainError: an input out of the pricing domain, or moved out of it.
    """
    shifted = shifted_positions(
        portfolio.positions,
        spots,
        {each.feed: each for each in risk},
        marked_at=portfolio.marked_at,
        at=at,
        favoured=party.sign,
    )
    books = ScanMargin(risk).books(shifted, spots, at)
    return tuple(
        _worst(FeedRisk(book.held, book.spot, book.risk), party) for book in books.values()
    )


def _worst(feed: FeedRisk, party: Party) -> ScenarioIndex:
    worst = feed.margin(party.sign).worst
    if worst is None:
        return ScenarioIndex(number=0)  # none costs anything: any shows as much
    node = 0 if worst.node is None else 1 + feed.nodes.index(worst.node)
    return ScenarioIndex(number=worst.number, node=node, outliving=worst.outliving)
