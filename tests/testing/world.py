"""What surrounds the calls of a random game: the clock, the oracle, the tokens, the channels.

Time jumps mostly to the edges of things, prices arrive, late or never, a token turns a payee away.
"""

from __future__ import annotations

import random
from typing import Final

from channels.protocol.facts import OnChainPhase
from channels.protocol.types import (
    EMPTY_PORTFOLIO,
    Party,
    Portfolio,
)
from channels.testing import UNLIMITED, Status
from channels.testing.disputes import ABANDONED_AFTER
from channels.testing.oracle import DEAD_AFTER
from channels.units import DAY, HOUR, WAD

from .table import PEOPLE, WALLETS, Table
from .twin import Twin
from .values import (
    DOLLAR,
    FEEDS,
    RISK,
    UINT128,
    drift,
    random_terms,
)

Phase = OnChainPhase
_START: Final = 1_772_000_000
_END_OF_TIME: Final = 2**32


class World:
    """Channels, prices and a clock that a random game is played with."""

    def __init__(self, twin: Twin, rng: random.Random) -> None:
        self.twin, self.rng = twin, rng
        late = rng.random() < 0.04
        twin.set_time(_END_OF_TIME - rng.randint(1, 4) * DAY if late else _START)
        for token in (twin.plain, twin.picky):
            for each in PEOPLE:
                allowance = 5_000 * DOLLAR if rng.random() < 0.1 else UNLIMITED
                twin.fund(token, each, 10**6 * DOLLAR, allowance)
        self.spots = {feed: price * WAD for feed, price in FEEDS.items()}
        self.post_spots()
        self.tables = [self.new_table() for _ in range(rng.choice((1, 2, 3)))]

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def new_table(self) -> Table:
        token = self.rng.choice((self.twin.plain, self.twin.picky))
        terms = random_terms(self.rng, token.address, self.twin.oracle.address)
        table = Table(self.twin.model.domain, terms, RISK, self.rng)
        if self.chance(0.85):
            self.top_up_allowances(table)
        self.twin.know(terms)
        return table

    def top_up_allowances(self, table: Table) -> None:
        tokens = {each.address: each for each in (self.twin.plain, self.twin.picky)}
        for party in Party:
            self.twin.approve(tokens[table.terms.collateral], table.terms.party(party))

    # ---- what happens around the calls

    def surroundings(self) -> None:
        if self.chance(0.35):
            self.pass_time()
        if self.chance(0.45):
            self.post_spots()
        if self.chance(0.8):
            self.post_prices()
        if self.chance(0.02):
            self.twin.set_dead(not self.twin.oracle.fails)
        elif self.twin.oracle.fails and self.chance(0.2):
            self.twin.set_dead(False)
        if self.chance(0.06):
            self.twin.refuse_payments(self.rng.choice((None, *(w.address for w in WALLETS))))

    def pass_time(self) -> None:
        """Let time pass, mostly to the edge of something."""
        now = self.twin.now
        edges = sorted(edge for edge in self.edges() if now < edge < now + 800 * DAY)
        later = now + self.rng.choice((1, 12, 600, HOUR))
        if edges and self.chance(0.85):
            within = 3 if self.chance(0.85) else len(edges)
            later = self.rng.choice(edges[:within]) + self.rng.choice((-1, 0, 0, 0, 1))
        self.twin.set_time(max(now, later))

    def edges(self) -> set[int]:
        """Times at which something changes."""
        found = set()
        for table in self.tables:
            terms, record = table.terms, self.twin.model.channel(table.terms)
            found |= {limit + more for limit in table.limits if limit for more in (0, 1)}
            if not record.deadline:
                continue
            found.add(record.deadline)
            for party in Party:
                if record.cure_ends[party]:
                    start, grace = record.decided_from(party), terms.settlement_grace
                    found |= {record.cure_ends[party], start, start + grace // 2, start + grace}
            for expiry in self.expiries(table):
                after = expiry + terms.settlement_grace
                found |= {expiry, after, after + DEAD_AFTER}
            if not record.settled and self.chance(0.2):
                last = record.deadline + terms.max_tenor + terms.settlement_grace
                found.add(last + ABANDONED_AFTER)
        return found

    def expiries(self, table: Table) -> set[int]:
        return {each.expiry for each in self.recorded(table).positions}

    def post_spots(self) -> None:
        """Bring new spots to the oracle; once in a while old ones, or none."""
        size = 0.3 if self.chance(0.15) else 0.03
        for feed, price in self.spots.items():
            moved = int(price * drift(self.rng, size))
            usual = FEEDS[feed] * WAD
            self.spots[feed] = min(max(moved, usual // 8), usual * 8)
            shown = self.rng.choice((0, UINT128 + 1, 1)) if self.chance(0.01) else self.spots[feed]
            age = self.rng.choice((60, 61, 3_900, 3_901, DAY, -1)) if self.chance(0.15) else 0
            self.twin.set_spot(feed, shown, self.twin.now - age)

    def post_prices(self) -> None:
        """Bring settlement prices to the oracle, of some of the times that are due."""
        due: set[tuple[bytes, int]] = set()
        for table in self.tables:
            record = self.twin.model.channel(table.terms)
            for each in self.recorded(table).positions:
                times = {each.expiry, *record.cure_ends}
                due |= {(each.feed, time) for time in times if 0 < time <= self.twin.now}
        for feed, time in sorted(due):
            known = self.twin.oracle.answer(feed, time).status is not Status.UNSET
            if known or self.chance(0.3):
                continue
            statuses = (Status.KNOWN,) * 12 + (Status.LAST_RESORT, Status.LAST_RESORT, Status.NEVER)
            status = self.rng.choice(statuses)
            price = int(self.spots[feed] * drift(self.rng, 0.1))
            if self.chance(0.03):
                price = self.rng.choice((0, 1, UINT128, UINT128 + 1))
            self.twin.set_price(feed, time, status, 0 if status is Status.NEVER else price)

    def recorded(self, table: Table) -> Portfolio:
        """The portfolio recorded, as the parties know it."""
        expected = self.twin.model.channel(table.terms).expected_hash
        known = self.twin.model.recorded_portfolio(table.terms)
        return known or table.portfolios.get(expected, EMPTY_PORTFOLIO)
