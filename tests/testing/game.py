"""Random games: honest and hostile parties and strangers call the Adjudicator as they please.

The choices look at the model, so that most calls are such as make sense; the rest are wrong
somewhere, in one way or several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import attrs

from channels.errors import InvalidValueError
from channels.protocol.calls import (
    Abandon,
    Call,
    CallMargin,
    CheckpointMany,
    Claim,
    CloseOut,
    Deposit,
    Dispute,
    Open,
    OpenWithPermit,
    Permit,
    Release,
    Settle,
)
from channels.protocol.eip712 import Address
from channels.protocol.facts import OnChainPhase
from channels.protocol.scenarios import ScenarioIndex, worst_scenarios
from channels.protocol.terms import DisputeAuthorisation, Opening, RiskParams
from channels.protocol.types import (
    Closing,
    Party,
    Spot,
    State,
)
from channels.testing import UNLIMITED
from channels.testing.disputes import ABANDONED_AFTER
from channels.testing.record import MAX_POT
from channels.units import DAY, HOUR, WAD

from .choices import Choices
from .table import DELEGATE, PEOPLE, STRANGER, Table
from .values import (
    DOLLAR,
    RISK,
    UINT128,
    broken_terms,
    random_scenarios,
)

Phase = OnChainPhase
Sent = tuple[Call, Address]
Decision = TypeVar("Decision", CallMargin | CloseOut, Release)

_WEIGHTS: Final[dict[Phase, dict[str, int]]] = {
    Phase.NONE: {"open": 60, "open_with_permit": 45},
    Phase.OPEN: {
        "checkpoint": 15, "checkpoint_many": 6, "withdraw": 14, "deposit": 8, "dispute": 15,
        "dispute_for": 12, "close": 6,
    },
    Phase.DISPUTED: {
        "checkpoint": 12, "checkpoint_many": 6, "dispute": 4, "dispute_for": 4, "deposit": 6,
        "call_margin": 40, "close": 3,
    },
    Phase.RUN_OFF: {
        "settle": 18, "call_margin": 15, "release": 20, "deposit": 8, "close": 6, "abandon": 10,
    },
    Phase.CLOSED: {},
}  # fmt: skip
"""How often each call is made in a phase that has a use for it; the others are made too."""


_ALL: Final = (
    *("open", "open_with_permit", "deposit", "checkpoint", "checkpoint_many", "withdraw", "close"),
    *("dispute", "dispute_for", "settle", "abandon", "claim"),
    *("call_margin", "close_out", "release"),
)


class Game(Choices):
    """One game of random calls."""

    def play(self, calls: int) -> None:
        """Make so many calls."""
        for _ in range(calls):
            self.surroundings()
            place = self.rng.randrange(len(self.tables))
            table = self.tables[place]
            phase = self.twin.model.phase(table.terms, now=self.twin.now)
            if phase is Phase.CLOSED and self.rng.random() < 0.7:
                table = self.tables[place] = self.new_table()
                phase = Phase.NONE
            kind = self.kind(table, phase)
            move: Callable[[Table], Sent] = getattr(self, kind)
            call, sender = move(table)
            self.twin.send(call, sender=sender)

    def kind(self, table: Table, phase: Phase) -> str:
        """What to call: what makes sense in this phase, and what is to be claimed or decided."""
        weights = dict.fromkeys(_ALL, 1) | _WEIGHTS[phase]
        if self.owed():
            weights["claim"] = 40
        if phase is Phase.RUN_OFF and self.called(table):
            weights["close_out"] = 80
        if len(self.called(table)) == 1:
            weights["call_margin"] = 60
        if not self.callable(table):
            weights["call_margin"] = 1
        return self.rng.choices(list(weights), list(weights.values()))[0]

    # ---- opening and funding

    def opening(self, table: Table) -> Opening:
        used = self.twin.model.channel(table.terms).phase is not Phase.NONE
        if used and table.opening is not None:
            return table.opening.opening
        deposits = [self.rng.choice((0, 1, 2_000, 10_000, 10_000, 10_000)) * DOLLAR for _ in Party]
        if self.chance(0.02):
            deposits[0] = self.rng.choice((MAX_POT, MAX_POT + 1, UINT128))
        now = self.twin.now
        return Opening(
            terms=broken_terms(self.rng, table.terms) if self.chance(0.12) else table.terms,
            deposit_a=deposits[0],
            deposit_b=deposits[1],
            valid_until=self.rng.choice((0, now - 1)) if self.chance(0.05) else now + HOUR,
        )

    def open(self, table: Table) -> Sent:
        if self.chance(0.3):
            self.top_up_allowances(table)
        call = table.open(self.opening(table), forged=table.forger(0.08))
        if call.opening.terms == table.terms:
            table.opening = call
        return call, self.sender(table)

    def open_with_permit(self, table: Table) -> Sent:
        opened, sender = self.open(table)
        assert isinstance(opened, Open)
        permits = [self.permit(table, party, opened.opening) for party in Party]
        if self.twin.plain.address == table.terms.collateral and self.chance(0.5):
            for party, permit in zip(Party, permits, strict=True):
                if permit is not None:
                    self.twin.approve(self.twin.plain, table.wallet(party).address, 0)
        return OpenWithPermit(
            opening=opened.opening,
            signature_a=opened.signature_a,
            signature_b=opened.signature_b,
            permit_a=permits[0],
            permit_b=permits[1],
        ), sender

    def permit(self, table: Table, party: Party, opening: Opening) -> Permit | None:
        """A permit of the plain token, the only one that has them; sometimes a bad one."""
        token, holder = self.twin.plain, table.wallet(party)
        if table.terms.collateral != token.address or self.chance(0.2):
            return None
        value = (opening.deposit_a, opening.deposit_b)[party]
        if self.chance(0.7):
            value = UNLIMITED
        deadline = self.twin.now + self.rng.choice((0, 60, HOUR, -1))
        message = token.permit_digest(
            holder.address, self.twin.model.domain.adjudicator, value=value, deadline=deadline
        )
        signer = STRANGER if self.chance(0.1) else holder
        return Permit(value=value, deadline=deadline, signature=signer.sign_digest(message))

    def deposit(self, table: Table) -> Sent:
        amount = self.rng.choice((1, 50 * DOLLAR, 2_000 * DOLLAR, 9_000 * DOLLAR))
        if self.chance(0.06):
            amount = self.rng.choice((0, 10**7 * DOLLAR, MAX_POT + 1, UINT128))
        party = self.rng.choice(list(Party))
        record = self.twin.model.channel(table.terms)
        if record.is_undecided(party, table.terms, self.twin.now) and self.chance(0.5):
            party = party.other
        sender = self.rng.choice((STRANGER.address, table.terms.party(party)))
        return Deposit(terms=table.terms, party=party, amount=amount), sender

    # ---- what both signed

    def checkpoint(self, table: Table) -> Sent:
        return table.checkpoint(self.newest(table)), self.sender(table)

    def checkpoint_many(self, table: Table) -> Sent:
        tables = [table, *self.tables] if self.chance(0.3) else [table]
        checkpoints = tuple(each.checkpoint(self.newest(each)) for each in tables for _ in range(2))
        return CheckpointMany(checkpoints=checkpoints), self.sender(table)

    def withdraw(self, table: Table) -> Sent:
        portfolio = self.new_portfolio(table)
        record = self.twin.model.channel(table.terms)
        most = record.cash(portfolio.net_to_b)
        amounts = [self.rng.choice((0, 1, each // 3, each // 3, each)) for each in most]
        if self.chance(0.08):
            amounts[self.rng.randrange(2)] += self.rng.choice((1, DOLLAR, 2**126))
        state = State(
            channel_id=bytes(32) if self.chance(0.03) else table.channel_id,
            nonce=self.nonce(table),
            valid_until=self.hour(),
            portfolio=portfolio,
        )
        paid = min(amounts[0], UINT128), min(amounts[1], UINT128)
        return table.withdraw(state, paid, forged=table.forger(0.06)), self.sender(table)

    def close(self, table: Table) -> Sent:
        record = self.twin.model.channel(table.terms)
        of_a, of_b = record.contributions
        edge = self.rng.choice((of_a, -of_b, of_a + 1, -of_b - 1, 2**127 - 1, -(2**127)))
        net = edge if self.chance(0.3) else self.rng.randint(min(-of_b, of_a), max(-of_b, of_a))
        closing = Closing(
            channel_id=bytes(32) if self.chance(0.04) else table.channel_id,
            nonce=self.nonce(table),
            valid_until=self.hour(),
            net_to_b=net,
        )
        return table.close(closing, forged=table.forger(0.08)), self.sender(table)

    # ---- disputes

    def dispute(self, table: Table) -> Sent:
        newest = None if self.chance(0.2) else self.newest(table)
        return Dispute(terms=table.terms, newest=newest), self.sender(table)

    def dispute_for(self, table: Table) -> Sent:
        newest = None if self.chance(0.2) else self.newest(table)
        record = self.twin.model.channel(table.terms)
        now = self.twin.now
        authorisation = DisputeAuthorisation(
            channel_id=bytes(32) if self.chance(0.03) else table.channel_id,
            delegate=DELEGATE.address,
            min_nonce=self.rng.choice((0, 0, record.nonce, record.nonce, self.nonce(table))),
            valid_until=self.rng.choice((now, now + DAY, now + DAY, 2**64 - 1))
            if self.chance(0.95)
            else self.rng.choice((0, now - 1)),
        )
        call = table.dispute_for(newest, authorisation, forged=self.chance(0.06))
        return call, self.sender(table) if self.chance(0.06) else DELEGATE.address

    # ---- run-off

    def settle(self, table: Table) -> Sent:
        call = Settle(terms=table.terms, portfolio=self.some_portfolio(table))
        return call, self.sender(table)

    def call_margin(self, table: Table) -> Sent:
        if self.chance(0.6):
            self.post_spots()
        return self.decision(CallMargin, table, self.poorer(table))

    def close_out(self, table: Table) -> Sent:
        record, called = self.twin.model.channel(table.terms), self.called(table)
        party = self.rng.choice(called or list(Party))
        if called and self.chance(0.8):
            due = min(record.decided_from(each) for each in called)
            self.twin.set_time(max(self.twin.now, due))
            self.post_prices()
            self.post_prices()
        return self.decision(CloseOut, table, party)

    def decision(self, kind: type[CallMargin | CloseOut], table: Table, party: Party) -> Sent:
        call = kind(
            terms=table.terms,
            risk=table.risk,
            portfolio=self.some_portfolio(table),
            party=party,
            scenarios=self.scenarios(kind, table, party),
        )
        return self.with_risk(call), self.sender(table)

    def scenarios(
        self, call: type[CallMargin | CloseOut], table: Table, party: Party
    ) -> tuple[ScenarioIndex, ...]:
        """None, the worst, or any.

        None where the whole margin is out of the pricing domain: the contract looks at the named
        scenarios alone, Python at all of them.
        """
        at = self.twin.now
        if call is CloseOut:
            at = self.twin.model.channel(table.terms).cure_ends[party]
        portfolio, oracle = self.recorded(table), self.twin.oracle
        feeds = {each.feed: None for each in portfolio.positions if each.expiry > at}
        prices = {
            feed: oracle.known_price(feed, at)
            if call is CloseOut
            else oracle.spot(feed, max_age=table.terms.max_price_age, now=at)
            for feed in feeds
        }
        spots = [Spot(feed=feed, price=price or 1) for feed, price in prices.items()]
        try:
            worst = worst_scenarios(portfolio, spots, RISK, at=at, party=party)
        except InvalidValueError:
            return ()
        if self.chance(0.5):
            return ()
        return random_scenarios(self.rng, len(feeds)) if self.chance(0.3) else worst

    def with_risk(self, call: Decision) -> Decision:
        """The call, once in a while with parameters that the terms do not commit to."""
        if not self.chance(0.04):
            return call
        wrong: tuple[tuple[RiskParams, ...], ...] = (
            (),
            RISK[:1],
            RISK[::-1],
            RISK[:1] * 2,
            (RISK[0], attrs.evolve(RISK[1], calendar=0)),
            (RISK[0], attrs.evolve(RISK[1], price_range=WAD)),
        )
        # The call's own type refuses them: what is tested is that the contract does too.
        object.__setattr__(call, "risk", self.rng.choice(wrong))
        return call

    def release(self, table: Table) -> Sent:
        """A release, or what has to come first: the prices and the settlement of what expired."""
        expired = [e for e in self.recorded(table).positions if e.expiry <= self.twin.now]
        if expired and self.chance(0.9):
            self.post_prices()
            return self.settle(table)
        if self.chance(0.6):
            self.post_spots()
        call = Release(terms=table.terms, risk=table.risk, portfolio=self.some_portfolio(table))
        party = self.rng.choice(list(Party))
        sender = self.sender(table) if self.chance(0.1) else table.terms.party(party)
        return self.with_risk(call), sender

    def abandon(self, table: Table) -> Sent:
        record = self.twin.model.channel(table.terms)
        if record.deadline and not record.settled and self.chance(0.35):
            last = record.deadline + table.terms.max_tenor + table.terms.settlement_grace
            start = last + ABANDONED_AFTER + self.rng.choice((-1, 0, 0, 1))
            self.twin.set_time(max(self.twin.now, start))
        return Abandon(terms=table.terms), self.sender(table)

    def claim(self, table: Table) -> Sent:
        nothing = (table.terms.collateral, self.sender(table))
        token, sender = self.rng.choice(self.owed() or [nothing])
        to = Address(bytes(20)) if self.chance(0.05) else self.rng.choice((sender, sender, *PEOPLE))
        return Claim(token=token, recipient=to), sender
