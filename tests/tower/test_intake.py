"""What a tower takes, and what it refuses: every refusal by its own name."""

from __future__ import annotations

from fractions import Fraction

import attrs
import pytest
from eth_utils.crypto import keccak

from channels.errors import AppointmentRefusedError
from channels.protocol.codec import pack, unpack
from channels.protocol.facts import OnChainPhase
from channels.protocol.signing import LocalSigner, Signature
from channels.protocol.terms import DisputeAuthorisation, channel_id
from channels.protocol.types import Party
from channels.protocol.watching import Duties
from channels.tower.content import Authorised, Content, pack_portfolio
from channels.tower.intake import Account, Refusal, check_standing
from channels.tower.kept import Holding, Kept
from tests.dispute.build import (
    DOMAIN,
    HOUR,
    RISK,
    SIGNERS,
    T0,
    TERMS,
    WINDOW,
    co_signed,
    make_head,
    make_portfolio,
    make_terms,
    make_view,
    place,
    put,
)
from tests.tower.build import ALICE, BUDGET, DELEGATE, POLICY, check, kept_of, offer, open_view

STATE = co_signed(9)
TERMS_ID = channel_id(DOMAIN, TERMS)
BOXED = co_signed(12, valid_until=T0 + HOUR)


def refused(holding: Holding, **known: object) -> str:
    with pytest.raises(AppointmentRefusedError) as caught:
        check(holding, **known)  # type: ignore[arg-type]
    return caught.value.refusal


def test_either_signer_may_hand_over_and_nothing_but_the_hash_is_needed() -> None:
    for signer in SIGNERS.values():
        holding = offer(STATE, signer=signer)
        assert check(holding) == signer.address
        assert holding.parts.shown_portfolio is None
        assert holding.state.state.struct_hash == STATE.state.struct_hash


def test_a_stranger_may_not() -> None:
    assert refused(offer(STATE, signer=LocalSigner.generate())) == Refusal.NOT_A_SIGNER


def test_a_signature_with_its_recovery_bit_flipped_is_refused() -> None:
    """It would verify against a known key, and be refused by the contract."""
    flipped = bytearray(STATE.signature_b.compact)
    flipped[32] ^= 0x80
    bad = attrs.evolve(STATE, signature_b=Signature(bytes(flipped)))
    assert refused(offer(bad)) == Refusal.STATE_SIGNATURE


def test_content_that_was_not_signed_is_refused() -> None:
    holding = offer(STATE)
    other = attrs.evolve(holding.parts, affirm_by=1).packed
    assert refused(attrs.evolve(holding, content=other)) == Refusal.CONTENT_HASH


def test_bytes_that_are_no_content_are_refused() -> None:
    appointment = offer(STATE).appointment
    for junk in (b"", b"\xc0", b"\x92\x01\xc0", b"\xff" * 99):
        changed = attrs.evolve(appointment, content_hash=bytes(keccak(junk)))
        signature = ALICE.sign_digest(DOMAIN.digest(changed))
        holding = Holding(appointment=changed, signature=signature, content=junk)
        assert refused(holding) == Refusal.MALFORMED


def test_terms_of_another_channel_are_refused() -> None:
    assert refused(offer(STATE, terms=make_terms(1))) == Refusal.WRONG_CHANNEL


def test_a_short_window_is_refused() -> None:
    policy = attrs.evolve(POLICY, least_window=WINDOW + 1)
    assert refused(offer(STATE), policy=policy) == Refusal.WINDOW_SHORT


@pytest.mark.parametrize(("left", "taken"), [(24, False), (25, True), (-5, False)])
def test_a_box_must_stay_open_for_two_slots(left: int, taken: bool) -> None:
    holding = offer(co_signed(9, valid_until=T0 + left))
    if taken:
        assert check(holding) == ALICE.address
    else:
        assert refused(holding) == Refusal.BOX_CLOSES


def test_quota_and_prepaid_bound_a_customer() -> None:
    full = Account(channels=POLICY.quota, committed=0)
    assert refused(offer(STATE), account=full) == Refusal.QUOTA
    assert check(offer(STATE, sequence=2), kept=kept_of(offer(STATE)), account=full)
    spent = Account(channels=1, committed=POLICY.prepaid - BUDGET + 1)
    assert refused(offer(STATE), account=spent) == Refusal.PREPAID
    assert check(offer(STATE), account=attrs.evolve(spent, committed=POLICY.prepaid - BUDGET))


def test_a_budget_is_a_share_of_the_pot() -> None:
    # The pot of 20,000 dollars at 4e8 wei a base unit is worth 8 ether; a tenth of it 0.8.
    policy = attrs.evolve(
        POLICY, value={TERMS.collateral: Fraction(4 * 10**8)}, share=Fraction(1, 10)
    )
    most = 8 * 10**17
    view = open_view()
    check_standing(offer(STATE, budget=most), view, make_head(), policy)
    with pytest.raises(AppointmentRefusedError, match="pot"):
        check_standing(offer(STATE, budget=most + 1), view, make_head(), policy)
    held = kept_of(offer(STATE))
    assert check(offer(STATE, sequence=2, budget=most), kept=held, policy=policy)
    richer = offer(STATE, sequence=2, budget=most + 1)
    assert refused(richer, kept=held, policy=policy) == Refusal.BUDGET_SHARE
    other = attrs.evolve(policy, value={place("another token"): Fraction(1)})
    assert refused(offer(STATE), policy=other) == Refusal.COLLATERAL


def test_duties_that_need_the_portfolio_need_it_in_clear() -> None:
    portfolio = make_portfolio(5, put())
    state = co_signed(9, portfolio)
    packed = pack_portfolio(portfolio)
    settle, margin = Duties.SETTLE, Duties.MARGIN
    assert refused(offer(state, duties=settle)) == Refusal.PORTFOLIO_MISSING
    assert refused(offer(state, duties=settle, portfolio=packed)) == Refusal.PORTFOLIO_MISSING
    assert check(offer(state, duties=settle, portfolio=packed, clear=True))
    assert refused(offer(STATE, portfolio=packed, clear=True)) == Refusal.PORTFOLIO_WRONG
    without = offer(state, duties=margin, portfolio=packed, clear=True)
    assert refused(without) == Refusal.RISK_WRONG
    wrong = offer(state, duties=margin, portfolio=packed, clear=True, risk=RISK[:1])
    assert refused(wrong) == Refusal.RISK_WRONG
    assert check(offer(state, duties=margin, portfolio=packed, clear=True, risk=RISK))
    assert refused(offer(state, duties=16)) == Refusal.DUTIES_UNKNOWN


def authorised(*, signer: LocalSigner = ALICE, silence: int = 0, **changes: object) -> Authorised:
    value = DisputeAuthorisation(
        channel_id=TERMS_ID, delegate=DELEGATE, min_nonce=9, valid_until=T0 + HOUR
    )
    value = attrs.evolve(value, **changes)  # type: ignore[arg-type]
    return Authorised(
        value=value, signature=signer.sign_digest(DOMAIN.digest(value)), silence=silence
    )


def test_a_dispute_is_filed_under_a_good_authorisation_alone() -> None:
    def offered(authorisation: Authorised | None, nonce: int = 9) -> Holding:
        return offer(co_signed(nonce), duties=Duties.DISPUTE, authorisation=authorisation)

    assert check(offered(authorised()))
    assert check(offered(authorised(silence=HOUR - 60)))
    # At most so far behind the newest state as costs nothing.
    assert check(offered(authorised(), nonce=9 + TERMS.max_in_flight))
    wrong = [
        offered(None),
        offered(authorised(), nonce=10 + TERMS.max_in_flight),
        offered(authorised(min_nonce=10)),
        offered(authorised(signer=SIGNERS[Party.B])),
        offered(authorised(delegate=place("somebody else"))),
        offered(authorised(channel_id=bytes(32))),
        offered(authorised(valid_until=T0)),
        offered(authorised(valid_until=T0 + POLICY.longest_authorisation + 1)),
        offered(authorised(silence=HOUR)),
    ]
    assert {refused(each) for each in wrong} == {Refusal.AUTHORISATION}


def test_a_silence_begins_anew_with_every_appointment() -> None:
    first = offer(STATE, duties=Duties.DISPUTE, authorisation=authorised(silence=600))
    second = offer(STATE, sequence=2, duties=Duties.DISPUTE, authorisation=authorised(silence=60))
    kept = Kept(customer=ALICE.address, pot=1).with_holding(first, heard=T0)
    assert kept.filing is not None
    assert (kept.filing.at, kept.due) == (T0 + 600, T0 + 600)
    called = attrs.evolve(kept, called=T0 + 5)
    assert called.due == T0 + 5
    assert Kept.read(called.record) == called
    again = called.with_holding(second, heard=T0 + 100)
    assert (again.due, again.called) == (T0 + 160, 0)
    silent = offer(STATE, duties=Duties.DISPUTE, authorisation=authorised())
    assert Kept(customer=ALICE.address, pot=1).with_holding(silent, heard=T0).filing is None
    unwanted = offer(STATE, authorisation=authorised(silence=600))
    assert Kept(customer=ALICE.address, pot=1).with_holding(unwanted, heard=T0).due == 0


def test_contents_and_records_of_the_version_before_disputes_still_load() -> None:
    holding = offer(STATE, duties=Duties.DISPUTE, authorisation=authorised())
    version, fields = unpack(holding.content)
    before = pack([version - 1, [*fields[:-1], fields[-1][:-1]]])
    assert Content.read(before) == holding.parts
    assert Content.read(pack([version - 1, [*fields[:-1], None]])).authorisation is None
    kept = kept_of(holding)
    version, *stored = unpack(kept.record)
    assert Kept.read(pack([version - 1, *stored[:-2]])) == kept


def test_newer_means_a_higher_sequence_and_no_lower_nonce() -> None:
    held = kept_of(offer(STATE, sequence=5))
    assert refused(offer(co_signed(10), sequence=5), kept=held) == Refusal.NOT_NEWER
    assert refused(offer(co_signed(8), sequence=6), kept=held) == Refusal.NOT_NEWER
    assert check(offer(co_signed(10), sequence=6), kept=held)
    # The same state again, with another budget.
    assert check(offer(STATE, sequence=6, budget=1), kept=held)


def test_a_boxed_state_never_takes_the_place_of_the_permanent_one_below_it() -> None:
    kept = kept_of(offer(STATE, sequence=1), offer(BOXED, sequence=2))
    assert [each.appointment.nonce for each in kept.holdings] == [12, 9]
    newer = co_signed(14, valid_until=T0 + 2 * HOUR)
    kept = kept.with_holding(offer(newer, sequence=3))
    assert [each.appointment.nonce for each in kept.holdings] == [14, 9]
    # A permanent state between them is taken, and leaves the boxed one; one above ends it.
    check(offer(co_signed(11), sequence=4), kept=kept)
    kept = kept.with_holding(offer(co_signed(11), sequence=4))
    assert [each.appointment.nonce for each in kept.holdings] == [14, 11]
    kept = kept.with_holding(offer(co_signed(15), sequence=5))
    assert [each.appointment.nonce for each in kept.holdings] == [15]


def test_once_a_box_has_passed_a_lower_boxed_state_may_come() -> None:
    kept = kept_of(offer(STATE, sequence=1), offer(BOXED, sequence=2))
    lower = offer(co_signed(10, valid_until=T0 + 3 * HOUR), sequence=3)
    assert refused(lower, kept=kept) == Refusal.NOT_NEWER
    assert check(lower, kept=kept, time=T0 + HOUR)


def test_of_two_states_at_one_nonce_both_are_kept() -> None:
    rival = co_signed(9, make_portfolio(700))
    kept = kept_of(offer(STATE, sequence=1), offer(rival, sequence=2))
    assert kept.permanent is not None
    assert kept.permanent.state_hash == STATE.state.struct_hash
    assert kept.rival is not None
    assert kept.rival.state_hash == rival.state.struct_hash
    assert len(kept.evidence.states) == 2


def test_what_is_kept_does_not_grow() -> None:
    kept = kept_of(offer(co_signed(1)))
    sizes = set()
    for sequence in range(2, 60):
        box = 0 if sequence % 2 else T0 + HOUR
        kept = kept.with_holding(
            offer(co_signed(100 + sequence, valid_until=box), sequence=sequence)
        )
        sizes.add(len(kept.holdings))
    assert sizes <= {1, 2}


def test_the_record_is_read_back() -> None:
    authorisation = Authorised(
        value=DisputeAuthorisation(
            channel_id=channel_id(DOMAIN, TERMS),
            delegate=place("tower"),
            min_nonce=3,
            valid_until=T0 + HOUR,
        ),
        signature=STATE.signature_a,
    )
    kept = kept_of(
        offer(STATE, sequence=1, authorisation=authorisation, risk=RISK),
        offer(BOXED, sequence=2, portfolio=b"sealed", affirm_by=T0 + 60, duties=1),
    )
    again = Kept.read(kept.record)
    assert again == kept
    assert again.affirm_by == T0 + 60
    assert again.newest.parts == Content.read(kept.newest.content)
    assert again.permanent is not None
    assert again.permanent.parts.authorisation == authorisation


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (make_view(OnChainPhase.NONE), Refusal.NOT_OPEN),
        (make_view(OnChainPhase.RUN_OFF), Refusal.NOT_OPEN),
        (make_view(OnChainPhase.CLOSED), Refusal.NOT_OPEN),
        (make_view(OnChainPhase.DISPUTED, deadline=T0 + 24), Refusal.TOO_LATE),
        (make_view(OnChainPhase.OPEN, co_signed(10)), Refusal.BEHIND_CHAIN),
        (make_view(OnChainPhase.OPEN, co_signed(9, make_portfolio(1))), Refusal.BEHIND_CHAIN),
    ],
)
def test_the_chain_decides_what_is_worth_keeping(view: object, expected: Refusal) -> None:
    with pytest.raises(AppointmentRefusedError) as caught:
        check_standing(offer(STATE), view, make_head(), POLICY)  # type: ignore[arg-type]
    assert caught.value.refusal == expected


def test_what_is_recorded_already_and_a_running_dispute_are_taken() -> None:
    check_standing(offer(STATE), make_view(OnChainPhase.OPEN, STATE), make_head(), POLICY)
    disputed = make_view(OnChainPhase.DISPUTED, deadline=T0 + 25)
    check_standing(offer(STATE), disputed, make_head(), POLICY)


def test_the_customers_side_is_its_signers() -> None:
    kept = attrs.evolve(kept_of(offer(STATE)), customer=SIGNERS[Party.B].address)
    assert kept.side is Party.B
