"""Whether a party is short of margin, to the digit as the contract decides it.

Source: design, adjudication.md rule 6 and "Margin call in full"; risk.md "Margin" and "Close-out
shift"; `contracts/src/libraries/RiskEngineCalls.sol`.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from channels.errors import PricingDomainError
from channels.pricing import ScanMargin, Scenario, largest_losses, shifted_positions
from channels.protocol.facts import ChannelView
from channels.protocol.scenarios import ScenarioIndex, worst_scenarios
from channels.protocol.terms import RiskParams, Terms
from channels.protocol.types import Party, Portfolio, Spot

__all__ = ["Account", "Shortfall", "SpotFact", "Spots", "feeds_of"]


@attrs.frozen(kw_only=True)
class SpotFact:
    """The newest price of a feed, WAD, and when it was observed.

    ``on_chain`` False: signed, but the oracle has not been given it yet.
    """

    price: int
    observed_at: int
    on_chain: bool = True

    def usable(self, time: int, max_age: int) -> bool:
        """Whether a margin call in a block of this time would take it."""
        fresh = time - max_age <= self.observed_at <= time
        return fresh and 0 < self.price < 1 << 128


Spots = Mapping[bytes, SpotFact | None]
"""What is known of each feed's spot; None: neither the oracle nor anybody else has one."""


@attrs.frozen(kw_only=True)
class Shortfall:
    """Equity, unclamped, against the maintenance margin, base units.

    ``scenarios`` show a shortfall for the least gas; none: it takes the whole margin to show it.
    """

    equity: int
    maintenance: int
    scenarios: tuple[ScenarioIndex, ...] = ()

    @property
    def short(self) -> bool:
        """Whether the contract would take a call."""
        return self.equity < self.maintenance

    @property
    def top_up(self) -> int:
        """The deposit that ends the shortfall; 0 if there is none."""
        return max(0, self.maintenance - self.equity)


@attrs.frozen(kw_only=True)
class Account:
    """One party at one time: its cash, and what is open then.

    ``portfolio`` is the recorded one with all that has expired by ``at`` settled.
    """

    terms: Terms
    view: ChannelView
    risk: tuple[RiskParams, ...]
    portfolio: Portfolio
    party: Party
    at: int

    @property
    def cash(self) -> int:
        """Cash before any clamp, which is what counts in a margin decision; may be negative."""
        net_to_b = self.portfolio.net_to_b
        return self.view.contribution(self.party) - self.party.sign * net_to_b

    @property
    def covered(self) -> bool:
        """Whether its cash covers the most that the open positions can cost it (rule 6).

        Where that has no bound, or cannot be told, it does not.
        """
        try:
            buckets = largest_losses(self.portfolio.positions, self.terms.unit)
        except PricingDomainError:
            return False
        losses = [each.loss_a if self.party is Party.A else each.loss_b for each in buckets]
        bounded = [each for each in losses if each is not None]
        return len(bounded) == len(losses) and self.cash >= sum(bounded)

    def assess(self, prices: Mapping[bytes, int]) -> Shortfall:
        """Weigh equity against maintenance margin, vols shifted in the party's favour.

        Args:
            prices: WAD, of every feed with open positions.

        Raises:
            InvalidValueError: a feed without parameters.
            PricingDomainError: figures that the contract would refuse too.
        """
        unit, side = self.terms.unit, self.party.sign
        spots = tuple(Spot(feed=feed, price=price) for feed, price in prices.items())
        shifted = shifted_positions(
            self.portfolio.positions,
            spots,
            {each.feed: each for each in self.risk},
            marked_at=self.portfolio.marked_at,
            at=self.at,
            favoured=side,
        )
        model = ScanMargin(self.risk)
        whole = model.explain_party(shifted, spots, self.at, unit, side=side)
        found = Shortfall(equity=self.cash + whole.value, maintenance=whole.maintenance)
        if not found.short:
            return found
        worst = {feed: each.worst or Scenario(number=0) for feed, each in whole.feeds.items()}
        _, shown = model.shown(shifted, spots, self.at, unit, side=side, scenarios=worst)
        if found.equity >= shown:
            return found
        named = worst_scenarios(self.portfolio, spots, self.risk, at=self.at, party=self.party)
        return attrs.evolve(found, scenarios=named)


def feeds_of(portfolio: Portfolio) -> tuple[bytes, ...]:
    """Feeds of the positions, in their order, each once."""
    return tuple({each.feed: None for each in portfolio.positions})
