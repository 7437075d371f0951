"""What the calls of a random game are made of: mostly what makes sense, else what an edge is near.

Source of what makes sense is the model: what it records, who is called, what is owed.
"""

from __future__ import annotations

from contextlib import suppress

from channels.errors import InvalidValueError
from channels.pricing import portfolio_value
from channels.protocol.calls import (
    CoSigned,
)
from channels.protocol.eip712 import Address
from channels.protocol.types import (
    EMPTY_PORTFOLIO,
    Party,
    Portfolio,
    Spot,
)
from channels.units import HOUR

from .table import PEOPLE, STRANGER, Table
from .values import (
    DOLLAR,
    random_portfolio,
)
from .world import World


class Choices(World):
    """Random parts of calls."""

    # ---- what there is

    def callable(self, table: Table) -> bool:
        """Whether there is something to call for margin, at marks that are fresh enough."""
        portfolio, terms = self.recorded(table), table.terms
        oldest = self.twin.model.channel(terms).deadline - terms.dispute_window - terms.max_mark_age
        return bool(portfolio.positions) and portfolio.marked_at >= oldest

    def called(self, table: Table) -> list[Party]:
        """Parties whose margin call is undecided."""
        record = self.twin.model.channel(table.terms)
        return [each for each in Party if record.is_undecided(each, table.terms, self.twin.now)]

    def owed(self) -> list[tuple[Address, Address]]:
        """Tokens and payees with something to claim."""
        claimable, token = self.twin.model.claimable, self.twin.picky.address
        return [(token, payee) for payee in PEOPLE if claimable(token, payee)]

    def poorer(self, table: Table) -> Party:
        """The party with less equity at the oracle's spots, seldom the other one."""
        portfolio, record = self.recorded(table), self.twin.model.channel(table.terms)
        known = [each for each in portfolio.positions if each.kind in range(5)]
        spots = [Spot(feed=feed, price=price) for feed, price in self.spots.items()]
        worth = 0
        with suppress(InvalidValueError):
            value = portfolio_value(known, spots, self.twin.now, table.terms.unit)
            worth = value.value_rounded_down_a
        equities = [record.equity(each, portfolio.net_to_b) + each.sign * worth for each in Party]
        party = min(Party, key=lambda each: equities[each])
        if party in self.called(table):
            return party.other if self.chance(0.8) else party
        return party.other if self.chance(0.1) else party

    # ---- what is signed

    def some_portfolio(self, table: Table) -> Portfolio:
        """The one recorded, seldom another."""
        if self.chance(0.05):
            return self.rng.choice((EMPTY_PORTFOLIO, *table.portfolios.values()))
        return self.recorded(table)

    def box(self) -> int:
        """A state's time limit: mostly none or a little ahead, else at an edge."""
        now = self.twin.now
        return self.rng.choice((0, 0, 0, 0, now + 120, now + 120, now, now - 1, now + HOUR))

    def hour(self) -> int:
        """A time limit of at most an hour ahead, seldom another."""
        now = self.twin.now
        if self.chance(0.12):
            return self.rng.choice((0, now - 1, now + HOUR + 1, 2**64 - 1))
        return now + self.rng.choice((0, 60, HOUR))

    def nonce(self, table: Table) -> int:
        """A nonce to sign at: mostly newer than what is recorded, once in a while by far."""
        recorded = self.twin.model.channel(table.terms).nonce
        steps = (1, 1, 1, 2, 3, 9, 17, 0, -1)
        nonce = recorded + self.rng.choice(steps)
        return min(max(0, 2**64 - 1 if self.chance(0.004) else nonce), 2**64 - 1)

    def new_portfolio(self, table: Table) -> Portfolio:
        pot = self.twin.model.channel(table.terms).pot or 10_000 * DOLLAR
        return random_portfolio(self.rng, self.twin.now, pot, self.spots)

    def newest(self, table: Table) -> CoSigned:
        """A signed state: mostly a new one, else any from before."""
        if table.states and self.chance(0.3):
            return self.rng.choice(table.states[-6:])
        return table.cosign(
            self.nonce(table),
            self.box(),
            self.new_portfolio(table),
            forged=table.forger(0.08),
            elsewhere=self.chance(0.03),
        )

    def sender(self, table: Table) -> Address:
        return STRANGER.address if self.chance(0.1) else table.member()
