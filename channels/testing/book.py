"""Open positions at one time, and what they come to in a margin call, a close-out and a release.

Source: design, adjudication.md rule 6; risk.md "Margin", "Close-out shift" and "Run-off lock".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from channels.errors import InvalidValueError, PricingDomainError
from channels.pricing import (
    RISK_BOUNDS,
    ScanMargin,
    Scenario,
    ShiftedPosition,
    close_out_value,
    portfolio_value,
    run_off_lock,
    shifted_positions,
)
from channels.pricing.feed_margin import nodes_of
from channels.protocol.eip712 import keccak
from channels.protocol.scenarios import ScenarioIndex
from channels.protocol.terms import RiskParams, Terms
from channels.protocol.types import Party, Position, Spot
from channels.testing.refusals import Refusal, Refusals, RefusedError

__all__ = ["Book", "check_risk"]

_OUT_OF_DOMAIN: Final = "PricingDomainError"


def check_risk(refusals: Refusals, risk: Sequence[RiskParams], terms: Terms) -> None:
    """Note what speaks against these margin parameters: they must be those of the terms."""
    feeds = [each.feed for each in risk]
    refusals.when(feeds != sorted(set(feeds)), "FeedsOutOfOrder")
    for each in risk:
        for name, (least, most) in RISK_BOUNDS.items():
            inside = least <= getattr(each, name) <= most
            refusals.when(not inside, "RiskParamOutOfBounds", feed=each.feed)
    given = keccak(b"".join(each.struct_hash for each in risk))
    refusals.when(given != terms.risk_hash, "RiskMismatch", expected=terms.risk_hash, given=given)


@attrs.frozen(kw_only=True)
class Book:
    """Open positions at a time, and all that decides what they are worth to whom.

    ``prices`` are the oracle's at that time, WAD, one a feed.

    Every method raises `RefusedError` for figures out of the pricing domain.
    """

    positions: tuple[Position, ...]
    prices: Mapping[bytes, int]
    risk: tuple[RiskParams, ...]
    unit: int
    marked_at: int
    at: int

    @property
    def _spots(self) -> list[Spot]:
        return [Spot(feed=feed, price=price) for feed, price in self.prices.items()]

    def shortfall(
        self, refusals: Refusals, cash: int, party: Party, scenarios: Sequence[ScenarioIndex]
    ) -> tuple[int, int]:
        """Refuse unless ``party`` with this cash, unclamped, is short of maintenance margin.

        Returns its equity and that margin. Vols are shifted in its favour by the age of the marks.
        """
        value, maintenance = self._assess(party, scenarios)
        covered = cash + value >= maintenance
        refusals.when(covered, "NotShort", equity=cash + value, maintenance=maintenance)
        refusals.stop()
        return cash + value, maintenance

    def value_to_a(self, called: Party | None) -> int:
        """What A receives (+) or pays (-) for all positions.

        At vols shifted against the called party; at those signed if it is None: both were called.
        """
        try:
            if called is None:
                value = portfolio_value(self.positions, self._spots, self.at, self.unit)
                if value.exact >= 0:
                    return value.value_rounded_down_a
                return -value.value_rounded_down_b
            return close_out_value(
                self.positions,
                self._spots,
                {each.feed: each for each in self.risk},
                self.unit,
                marked_at=self.marked_at,
                at=self.at,
                called=called.sign,
            )
        except PricingDomainError as error:
            raise RefusedError([Refusal(_OUT_OF_DOMAIN, {})]) from error

    def lock(self, party: Party) -> int:
        """Cash that ``party`` must leave in while the positions run off."""
        model, side = ScanMargin(self.risk), party.sign
        try:
            return run_off_lock(
                self.positions, self._spots, model, self.unit, at=self.at, side=side
            )
        except PricingDomainError as error:
            raise RefusedError([Refusal(_OUT_OF_DOMAIN, {})]) from error

    def _assess(self, party: Party, scenarios: Sequence[ScenarioIndex]) -> tuple[int, int]:
        """Value and maintenance margin, the latter as far as ``scenarios`` show it."""
        missing = len(scenarios) not in (0, len(self.prices))
        wrong = Refusals()
        wrong.when(missing, "NoSuchScenario")
        try:
            figures = self._figures(party, () if missing else scenarios)
        except PricingDomainError:
            wrong.when(True, _OUT_OF_DOMAIN)
        except InvalidValueError:
            wrong.when(True, "NoSuchScenario")
        wrong.stop()
        return figures

    def _figures(self, party: Party, scenarios: Sequence[ScenarioIndex]) -> tuple[int, int]:
        shifted = shifted_positions(
            self.positions,
            self._spots,
            {each.feed: each for each in self.risk},
            marked_at=self.marked_at,
            at=self.at,
            favoured=party.sign,
        )
        model, spots, side = ScanMargin(self.risk), self._spots, party.sign
        if not scenarios:
            whole = model.explain_party(shifted, spots, self.at, self.unit, side=side)
            return whole.value, whole.maintenance
        named = self._named(model, shifted, scenarios)
        return model.shown(shifted, spots, self.at, self.unit, side=side, scenarios=named)

    def _named(
        self,
        model: ScanMargin,
        shifted: Sequence[ShiftedPosition],
        scenarios: Sequence[ScenarioIndex],
    ) -> dict[bytes, Scenario]:
        """The scenarios by feed, each with its node."""
        books = model.books(shifted, self._spots, self.at)
        named = {}
        for (feed, book), each in zip(books.items(), scenarios, strict=True):
            node = None
            if each.node:
                nodes = nodes_of(book.held, book.risk.price_range)
                if each.node > len(nodes):
                    raise InvalidValueError(f"the feed has no node {each.node}")
                node = nodes[each.node - 1]
            named[feed] = Scenario(number=each.number, node=node, outliving=each.outliving)
        return named
