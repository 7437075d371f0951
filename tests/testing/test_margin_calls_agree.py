"""Margin calls that cross: what random games seldom meet, on the contract and on the model."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from channels.pricing import Kind
from channels.protocol.calls import (
    CallMargin,
    CloseOut,
    Deposit,
    Dispute,
    Release,
    Settle,
)
from channels.protocol.eip712 import Address
from channels.protocol.terms import Opening
from channels.protocol.types import Party, Portfolio, Position, Spot
from channels.testing import UNLIMITED, Status
from channels.units import DAY, HOUR, WAD

from .table import PEOPLE, STRANGER, Table
from .twin import Outcome, Twin
from .values import DOLLAR, FEEDS, RISK, random_terms

NOW = 1_772_002_800
EARLY, LATE = NOW + 24 * HOUR, NOW + 44 * HOUR
"""When a cure ends that is called for at once, or 20 hours later."""

PUT_EXPIRY, DEADLINE, GRACE = NOW + 30 * HOUR, NOW + 2 * DAY, 6 * DAY
ETH = list(FEEDS)[1]
A, B = Party.A, Party.B


class Crossing:
    """A channel in dispute whose forward is so large that both parties are short of margin."""

    def __init__(self, fakes: Mapping[str, Mapping[str, Any]]) -> None:
        self.twin = Twin(fakes, PEOPLE)
        self.at(NOW)
        token = self.twin.plain
        terms = attrs.evolve(
            random_terms(random.Random(1), token.address, self.twin.oracle.address),
            unit=DOLLAR,
            dispute_window=2 * DAY,
            cure_window=DAY,
            settlement_grace=6 * DAY,
            max_price_age=DAY,
            max_mark_age=2 * DAY,
            default_penalty_bps=500,
            stale_penalty=0,
        )
        self.table = Table(self.twin.model.domain, terms, RISK, random.Random(1))
        self.twin.know(terms)
        for party in Party:
            self.twin.fund(token, terms.party(party), 50_000 * DOLLAR, UNLIMITED)
        self.twin.fund(token, STRANGER.address, 50_000 * DOLLAR, UNLIMITED)
        opening = Opening(
            terms=terms,
            deposit_a=10_000 * DOLLAR,
            deposit_b=10_000 * DOLLAR,
            valid_until=NOW + HOUR,
        )
        self.send(self.table.open(opening, forged=None))
        self.portfolio = Portfolio(
            margin_a=8_000 * DOLLAR,
            margin_b=8_000 * DOLLAR,
            marked_at=NOW,
            spots=(Spot(feed=ETH, price=3_000 * WAD),),
            positions=(
                _position(Kind.PUT, PUT_EXPIRY, 3_000, 1),
                _position(Kind.FORWARD, NOW + 30 * DAY, 3_000, 40),
            ),
        )
        newest = self.table.cosign(2, 0, self.portfolio)
        self.send(Dispute(terms=terms, newest=newest), terms.party_a)

    def send(self, call: Any, sender: Address = STRANGER.address) -> Outcome:
        return self.twin.send(call, sender=sender)

    def at(self, time: int, spot: int = 3_000) -> None:
        self.twin.set_time(time)
        self.twin.set_spot(ETH, spot * WAD, time)

    def price(self, time: int, price: int = 3_000) -> None:
        self.twin.set_price(ETH, time, Status.KNOWN, price * WAD)

    def call(self, party: Party) -> int:
        called = self.send(
            CallMargin(terms=self.table.terms, risk=RISK, portfolio=self.portfolio, party=party)
        )
        assert called.answer is not None, called
        return called.answer

    def close_out(self, party: Party) -> Outcome:
        return self.send(
            CloseOut(terms=self.table.terms, risk=RISK, portfolio=self.portfolio, party=party)
        )


def _position(kind: Kind, expiry: int, strike: int, quantity: int) -> Position:
    return Position(
        feed=ETH,
        kind=int(kind),
        expiry=expiry,
        strike=strike * WAD,
        quantity=quantity * WAD,
        vol=WAD // 2,
        carry=0,
    )


@pytest.fixture
def crossing(fakes: Mapping[str, Mapping[str, Any]]) -> Crossing:
    return Crossing(fakes)


def reason(outcome: Outcome) -> str:
    assert outcome.refusals
    return outcome.refusals[0].reason


def paid(crossing: Crossing) -> tuple[int, int]:
    """What A and B have beyond the 40,000 they kept."""
    terms, token = crossing.table.terms, crossing.twin.plain
    a, b = (token.balance(terms.party(party)) - 40_000 * DOLLAR for party in Party)
    return a, b


def test_called_both_with_different_ends_the_later_waits(crossing: Crossing) -> None:
    assert crossing.call(B) == EARLY
    crossing.at(NOW + 20 * HOUR)
    assert crossing.call(A) == LATE
    crossing.at(DEADLINE)
    crossing.price(PUT_EXPIRY, 2_900)
    crossing.price(LATE, 3_100)
    assert reason(crossing.close_out(A)) == "TooEarlyToCloseOut"
    crossing.at(DEADLINE + GRACE // 2 - 1)
    assert reason(crossing.close_out(A)) == "TooEarlyToCloseOut"
    crossing.at(DEADLINE + GRACE // 2)
    assert crossing.close_out(A).accepted
    # One put pays 100, forty forwards 100 each; no vol is shifted and no penalty due.
    assert paid(crossing) == (14_100 * DOLLAR, 5_900 * DOLLAR)


def test_called_both_the_earlier_is_decided_first(crossing: Crossing) -> None:
    crossing.call(B)
    crossing.at(NOW + 20 * HOUR)
    crossing.call(A)
    crossing.at(DEADLINE)
    crossing.price(EARLY, 2_950)
    assert crossing.close_out(B).accepted
    a, b = paid(crossing)
    assert a + b == 20_000 * DOLLAR
    # The forwards cost A 2,000; the put, not expired then, is worth more than the 50 it is in.
    assert 8_050 * DOLLAR < a < 8_100 * DOLLAR


@pytest.mark.parametrize("party", list(Party))
def test_called_both_with_equal_ends_either_is_decided(crossing: Crossing, party: Party) -> None:
    assert crossing.call(A) == crossing.call(B) == EARLY
    crossing.at(DEADLINE)
    crossing.price(EARLY, 3_000)
    assert crossing.close_out(party).accepted
    # A put at the money with six hours to go: 0.4 x 3,000 x 0.5 x root of 6 h in years.
    assert paid(crossing)[0] == pytest.approx(10_015.66 * DOLLAR, abs=0.02 * DOLLAR)


def test_called_alone_the_penalty_is_due(crossing: Crossing) -> None:
    crossing.call(B)
    crossing.at(DEADLINE)
    crossing.price(EARLY, 3_000)
    assert crossing.close_out(B).accepted
    # The penalty is 5 % of 8,000; the put's vol, shifted by 13.2 % x root 120, is capped at 90 %.
    assert paid(crossing)[0] == pytest.approx((10_400 + 15.66 * 1.9) * DOLLAR, abs=0.05 * DOLLAR)


def test_attack_expired_after_the_cure_waits_for_the_decision(crossing: Crossing) -> None:
    crossing.call(B)
    crossing.at(DEADLINE)
    crossing.price(PUT_EXPIRY, 1_000)
    terms = crossing.table.terms
    settle = Settle(terms=terms, portfolio=crossing.portfolio)
    assert crossing.send(settle).answer == 0
    release = Release(terms=terms, risk=RISK, portfolio=crossing.portfolio)
    assert reason(crossing.send(release, terms.party_a)) == "NotSettled"
    assert reason(crossing.send(release, terms.party_b)) == "CallUndecided"
    crossing.at(DEADLINE + GRACE - 1)
    assert crossing.send(settle).answer == 0
    crossing.at(DEADLINE + GRACE)
    assert reason(crossing.close_out(B)) == "NoCall"
    assert crossing.send(settle).answer == 1


def test_called_while_something_waits_for_the_other_decision(crossing: Crossing) -> None:
    crossing.call(B)
    crossing.at(DEADLINE)
    crossing.price(PUT_EXPIRY, 2_900)
    assert crossing.call(A) == DEADLINE + DAY


def test_attack_top_up_after_the_cure(crossing: Crossing) -> None:
    crossing.call(B)
    terms = crossing.table.terms
    to_b = Deposit(terms=terms, party=B, amount=DOLLAR)
    crossing.at(EARLY - 1)
    assert crossing.send(to_b).accepted
    crossing.at(EARLY)
    assert reason(crossing.send(to_b)) == "CureEnded"
    assert crossing.send(attrs.evolve(to_b, party=A)).accepted
    crossing.at(DEADLINE + GRACE - 1)
    assert reason(crossing.send(to_b)) == "CureEnded"
    crossing.at(DEADLINE + GRACE)
    assert crossing.send(to_b).accepted


def test_a_top_up_in_time_cures(crossing: Crossing) -> None:
    crossing.call(B)
    terms = crossing.table.terms
    crossing.send(Deposit(terms=terms, party=B, amount=30_000 * DOLLAR))
    crossing.at(DEADLINE)
    crossing.price(EARLY)
    assert reason(crossing.close_out(B)) == "NotShort"


def test_no_last_resort_for_the_end_of_a_cure(crossing: Crossing) -> None:
    crossing.call(B)
    crossing.at(DEADLINE + GRACE - 1)
    crossing.twin.set_price(ETH, EARLY, Status.LAST_RESORT, 3_000 * WAD)
    assert reason(crossing.close_out(B)) == "PriceUnknown"


def test_one_call_at_a_time_and_a_new_one_when_it_has_lapsed(crossing: Crossing) -> None:
    crossing.call(B)
    again = CallMargin(terms=crossing.table.terms, risk=RISK, portfolio=crossing.portfolio, party=B)
    crossing.price(PUT_EXPIRY)
    crossing.at(DEADLINE + GRACE - 1)
    assert reason(crossing.send(again)) == "CallUndecided"
    crossing.at(DEADLINE + GRACE)
    assert crossing.send(again).answer == DEADLINE + GRACE + DAY
