"""The model by itself: worked examples, figures by hand."""

from __future__ import annotations

import attrs
import pytest

import channels.testing
from channels.pricing import Kind
from channels.protocol.calls import (
    Abandon,
    Checkpoint,
    Claim,
    Close,
    CoSigned,
    Deposit,
    Dispute,
    Open,
    OpenWithPermit,
    Permit,
    Settle,
)
from channels.protocol.eip712 import Address
from channels.protocol.facts import OnChainPhase
from channels.protocol.signing import LocalSigner
from channels.protocol.terms import (
    Domain,
    Opening,
    Terms,
    channel_id,
    hash_risk_params,
)
from channels.protocol.types import Closing, Party, Portfolio, Position, Spot, State
from channels.testing import (
    UNLIMITED,
    ModelAdjudicator,
    ModelOracle,
    ModelToken,
    RefusedError,
    Status,
)
from channels.units import DAY, HOUR, WAD

from .table import SESSIONS, STRANGER, WALLETS
from .values import DOLLAR, FEEDS, RISK

NOW = 1_772_000_000
EXPIRY = 1_772_092_800
ETH = list(FEEDS)[1]
ALICE, BOB = (each.address for each in WALLETS)
DOMAIN = Domain(chain_id=1, adjudicator=Address(b"\xad" * 20))


class Setup:
    """Alice and Bob with 1,000 dollars each, and a channel of theirs."""

    def __init__(self) -> None:
        self.token = ModelToken(Address(b"\x0d" * 20))
        self.oracle = ModelOracle(Address(b"\x0c" * 20))
        self.adjudicator = ModelAdjudicator(DOMAIN, tokens=[self.token], oracles=[self.oracle])
        for each in (ALICE, BOB):
            self.token.mint(each, 1_000 * DOLLAR)
            self.token.approve(DOMAIN.adjudicator, UNLIMITED, sender=each)
        self.terms = Terms(
            party_a=ALICE,
            party_b=BOB,
            signer_a=SESSIONS[0].address,
            signer_b=SESSIONS[1].address,
            collateral=self.token.address,
            unit=DOLLAR,
            oracle=self.oracle.address,
            dispute_window=DAY,
            cure_window=DAY,
            settlement_grace=5 * DAY,
            max_price_age=3_900,
            max_mark_age=2 * DAY,
            max_tenor=400 * DAY,
            max_in_flight=16,
            stale_penalty=50 * DOLLAR,
            default_penalty_bps=500,
            risk_hash=hash_risk_params(RISK),
            salt=bytes(32),
        )

    def opening(self) -> Open:
        opening = Opening(
            terms=self.terms,
            deposit_a=600 * DOLLAR,
            deposit_b=400 * DOLLAR,
            valid_until=NOW + HOUR,
        )
        a, b = (each.sign_digest(DOMAIN.digest(opening)).expanded() for each in WALLETS)
        return Open(opening=opening, signature_a=a, signature_b=b)

    def open(self) -> None:
        self.adjudicator.open(self.opening(), now=NOW)

    def signed(self, nonce: int, portfolio: Portfolio) -> CoSigned:
        state = State(channel_id=channel_id(DOMAIN, self.terms), nonce=nonce, portfolio=portfolio)
        a, b = (each.sign_digest(DOMAIN.digest(state)) for each in SESSIONS)
        return CoSigned(state=state, signature_a=a, signature_b=b)

    def dispute(self, newest: CoSigned | None = None, now: int = NOW) -> None:
        call = Dispute(terms=self.terms, newest=newest)
        self.adjudicator.dispute(call, sender=ALICE, now=now)

    def balances(self) -> tuple[int, int, int]:
        owners = (ALICE, BOB, DOMAIN.adjudicator)
        a, b, held = (self.token.balance(each) // DOLLAR for each in owners)
        return a, b, held


@pytest.fixture
def setup() -> Setup:
    setup = Setup()
    setup.open()
    return setup


def two_puts() -> Portfolio:
    """Alice is long two puts at 3,000 and has paid 40 for them."""
    put = Position(
        feed=ETH,
        kind=int(Kind.PUT),
        expiry=EXPIRY,
        strike=3_000 * WAD,
        quantity=2 * WAD,
        vol=WAD,
        carry=0,
    )
    return Portfolio(
        net_to_b=40 * DOLLAR,
        margin_b=200 * DOLLAR,
        marked_at=NOW,
        spots=(Spot(feed=ETH, price=2_990 * WAD),),
        positions=(put,),
    )


def test_all_names_are_exported_in_order() -> None:
    names = channels.testing.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(channels.testing, name) for name in names)


def test_closing_pays_cash(setup: Setup) -> None:
    assert setup.balances() == (400, 600, 1_000)
    closing = Closing(
        channel_id=channel_id(DOMAIN, setup.terms),
        nonce=7,
        valid_until=NOW + HOUR,
        net_to_b=-25 * DOLLAR,
    )
    a, b = (each.sign_digest(DOMAIN.digest(closing)) for each in SESSIONS)
    call = Close(terms=setup.terms, closing=closing, signature_a=a, signature_b=b)
    setup.adjudicator.close(call, now=NOW)
    assert setup.balances() == (1_025, 975, 0)
    assert setup.adjudicator.channel(setup.terms).phase is OnChainPhase.CLOSED


def test_run_off_at_the_settlement_price(setup: Setup) -> None:
    setup.dispute(setup.signed(3, two_puts()))
    settle = Settle(terms=setup.terms, portfolio=two_puts())
    with pytest.raises(RefusedError, match="WrongPhase"):
        setup.adjudicator.settle(settle, now=NOW + DAY - 1)
    assert setup.adjudicator.settle(settle, now=EXPIRY) == 0
    setup.oracle.set_price(ETH, EXPIRY, 2_900 * WAD)
    assert setup.adjudicator.settle(settle, now=EXPIRY) == 1
    # A has 600 - 40 + 2 x 100 of the pot of 1,000.
    assert setup.balances() == (400 + 760, 600 + 240, 0)


def test_an_oracle_that_never_had_a_price(setup: Setup) -> None:
    setup.dispute(setup.signed(3, two_puts()))
    settle = Settle(terms=setup.terms, portfolio=two_puts())
    setup.oracle.set_price(ETH, EXPIRY, 0, Status.NEVER)
    after = EXPIRY + setup.terms.settlement_grace
    assert setup.adjudicator.settle(settle, now=after - 1) == 0
    assert setup.adjudicator.settle(settle, now=after) == 1
    # The signed spot of 2,990: 600 - 40 + 2 x 10.
    assert setup.balances() == (400 + 580, 600 + 420, 0)


def test_a_stale_filing_costs(setup: Setup) -> None:
    setup.dispute()
    newest = Checkpoint(terms=setup.terms, newest=setup.signed(17, Portfolio()))
    assert setup.adjudicator.checkpoint(newest, now=NOW + 1)
    assert not setup.adjudicator.checkpoint(newest, now=NOW + 1)
    settle = Settle(terms=setup.terms, portfolio=Portfolio())
    setup.adjudicator.settle(settle, now=NOW + DAY)
    assert setup.balances() == (400 + 550, 600 + 450, 0)


def test_a_filing_as_far_behind_as_terms_allow_costs_nothing(setup: Setup) -> None:
    setup.dispute(setup.signed(1, Portfolio()))
    newest = Checkpoint(terms=setup.terms, newest=setup.signed(17, Portfolio()))
    setup.adjudicator.checkpoint(newest, now=NOW + 1)
    settle = Settle(terms=setup.terms, portfolio=Portfolio())
    setup.adjudicator.settle(settle, now=NOW + DAY)
    assert setup.balances() == (1_000, 1_000, 0)


def test_what_cannot_be_pushed_is_claimed(setup: Setup) -> None:
    setup.token.refuse_payments(BOB)
    setup.dispute()
    settle = Settle(terms=setup.terms, portfolio=Portfolio())
    setup.adjudicator.settle(settle, now=NOW + DAY)
    assert setup.balances() == (1_000, 600, 400)
    token = setup.token.address
    assert setup.adjudicator.claimable(token, BOB) == 400 * DOLLAR
    elsewhere = Claim(token=token, recipient=STRANGER.address)
    assert setup.adjudicator.claim(elsewhere, sender=BOB) == 400 * DOLLAR
    assert setup.token.balance(STRANGER.address) == 400 * DOLLAR
    with pytest.raises(RefusedError, match="NothingToClaim"):
        setup.adjudicator.claim(elsewhere, sender=BOB)


def test_a_portfolio_nobody_shows(setup: Setup) -> None:
    setup.dispute()
    hidden = Checkpoint(terms=setup.terms, newest=setup.signed(9, two_puts()))
    setup.adjudicator.checkpoint(hidden, now=NOW)
    assert setup.adjudicator.recorded_portfolio(setup.terms) is None
    start = NOW + DAY + (400 + 5 + 180) * DAY
    with pytest.raises(RefusedError) as caught:
        setup.adjudicator.abandon(Abandon(terms=setup.terms), now=start - 1)
    assert (caught.value.reason, caught.value.arguments) == ("TooEarlyToAbandon", {"from": start})
    setup.adjudicator.abandon(Abandon(terms=setup.terms), now=start)
    assert setup.balances() == (1_000, 1_000, 0)


def test_a_refusal_names_all_that_applies_and_changes_nothing(setup: Setup) -> None:
    before = setup.adjudicator.channel(setup.terms), setup.balances()
    call = Deposit(terms=attrs.evolve(setup.terms, salt=b"\x01" * 32), party=Party.A, amount=0)
    with pytest.raises(RefusedError) as caught:
        setup.adjudicator.send(call, sender=ALICE, now=NOW)
    assert [each.reason for each in caught.value.refusals] == ["WrongPhase", "ZeroAmount"]
    assert (setup.adjudicator.channel(setup.terms), setup.balances()) == before


def test_an_opening_that_cannot_be_funded_takes_nothing() -> None:
    setup = Setup()
    setup.token.approve(DOMAIN.adjudicator, 400 * DOLLAR - 1, sender=BOB)
    with pytest.raises(RefusedError, match="TransferFailed"):
        setup.open()
    assert setup.balances() == (1_000, 1_000, 0)


def test_a_permit_stands_for_an_approval() -> None:
    setup = Setup()
    setup.token.approve(DOMAIN.adjudicator, 0, sender=ALICE)
    opened = setup.opening()

    def call(signer: LocalSigner) -> OpenWithPermit:
        value, deadline = 600 * DOLLAR, NOW
        message = setup.token.permit_digest(
            ALICE, DOMAIN.adjudicator, value=value, deadline=deadline
        )
        return OpenWithPermit(
            opening=opened.opening,
            signature_a=opened.signature_a,
            signature_b=opened.signature_b,
            permit_a=Permit(value=value, deadline=deadline, signature=signer.sign_digest(message)),
        )

    with pytest.raises(RefusedError, match="TransferFailed"):
        setup.adjudicator.open_with_permit(call(STRANGER), now=NOW)
    setup.adjudicator.open_with_permit(call(WALLETS[0]), now=NOW)
    assert setup.balances() == (400, 600, 1_000)
    assert setup.token.allowance(ALICE, DOMAIN.adjudicator) == 0
