"""Evidence only gets newer, and survives."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.dispute.evidence import (
    MAX_PORTFOLIOS,
    Evidence,
    Watched,
    check_evidence,
    decode_watched,
    encode_watched,
    evidence_of,
    start_watching,
)
from channels.errors import (
    BadSignatureError,
    InvalidValueError,
    SchemaVersionError,
    StorageError,
)
from channels.protocol.calls import CoSigned, CoSignedHash
from channels.protocol.channel import Phase, Timing, new_channel
from channels.protocol.codec import pack, unpack
from channels.protocol.facts import OnChainPhase
from channels.protocol.ledger import Entry, Full
from channels.protocol.signing import Signature
from channels.protocol.terms import Opening
from channels.protocol.types import Party
from tests.dispute.build import (
    DOMAIN,
    RISK,
    T0,
    TERMS,
    co_signed,
    evidence,
    make_portfolio,
    make_terms,
    make_view,
    put,
)

FRESH = start_watching(evidence(), DOMAIN)


def nonces(watched: Watched) -> tuple[int | None, int | None]:
    return (
        None if watched.permanent is None else watched.permanent.state.nonce,
        None if watched.boxed is None else watched.boxed.state.nonce,
    )


def boxed(nonce: int, until: int = T0 + 120) -> CoSigned:
    return co_signed(nonce, valid_until=until)


def test_a_boxed_state_stands_above_the_permanent_one_and_never_in_its_place() -> None:
    watched = FRESH.with_evidence(evidence(co_signed(5)))
    watched = watched.with_evidence(evidence(boxed(8)))
    assert nonces(watched) == (5, 8)
    assert nonces(watched.with_evidence(evidence(boxed(10)))) == (5, 10)
    assert nonces(watched.with_evidence(evidence(co_signed(7)))) == (7, 8)
    assert nonces(watched.with_evidence(evidence(co_signed(9)))) == (9, None)
    assert nonces(watched.with_evidence(evidence(boxed(4)))) == (5, 8)


def test_a_box_that_has_passed_does_not_replace_one_that_has_not() -> None:
    watched = FRESH.with_evidence(evidence(boxed(8, T0 + 120)))
    assert nonces(watched.with_evidence(evidence(boxed(10, T0 + 30)), time=T0 + 60)) == (None, 8)
    assert nonces(watched.with_evidence(evidence(boxed(10, T0 + 30)), time=T0)) == (None, 10)
    assert nonces(watched.with_evidence(evidence(boxed(10, T0 + 30)), time=T0 + 200)) == (None, 10)


STATES = st.lists(
    st.tuples(st.integers(1, 20), st.booleans()).map(
        lambda each: boxed(each[0] * 2) if each[1] else co_signed(each[0] * 2 + 1)
    ),
    max_size=8,
)


@given(STATES, st.randoms(use_true_random=False))
def test_order_and_grouping_do_not_matter(states: list[CoSigned], chance: Random) -> None:
    at_once = FRESH.with_evidence(evidence(*states), recorded=())
    one_by_one = FRESH
    permanent = [each.state.nonce for each in states if each.state.permanent]
    shuffled = list(states)
    chance.shuffle(shuffled)
    for each in shuffled:
        before = one_by_one
        one_by_one = one_by_one.with_evidence(evidence(each), recorded=())
        assert one_by_one.newest_nonce >= before.newest_nonce
        assert one_by_one.permanent_nonce >= before.permanent_nonce
    assert nonces(one_by_one) == nonces(at_once)
    assert one_by_one.permanent_nonce == max(permanent, default=0)
    above = [
        each.state.nonce
        for each in states
        if not each.state.permanent and each.state.nonce > max(permanent, default=0)
    ]
    assert nonces(at_once)[1] == max(above, default=None)


@given(STATES)
def test_survives_its_record(states: list[CoSigned]) -> None:
    watched = FRESH.with_evidence(evidence(*states, side=Party.B, affirm_by=T0))
    assert decode_watched(encode_watched(watched)) == watched


def test_nothing_new_is_the_same_value() -> None:
    watched = FRESH.with_evidence(evidence(co_signed(5), side=Party.A), recorded=())
    assert watched.with_evidence(evidence(co_signed(5), side=Party.A), recorded=()) is watched


def test_of_two_states_at_one_nonce_both_are_kept() -> None:
    one, other = co_signed(7), co_signed(7, make_portfolio(1_000))
    watched = FRESH.with_evidence(evidence(one)).with_evidence(evidence(other))
    assert (watched.permanent, watched.rival) == (one, other)
    both = {one.state.portfolio, other.state.portfolio}
    assert both <= set(watched.known_portfolios())


def test_the_recorded_portfolio_is_kept_when_its_state_is_replaced() -> None:
    recorded = co_signed(5, make_portfolio(0, put()))
    view = make_view(OnChainPhase.DISPUTED, recorded)
    watched = FRESH.with_evidence(evidence(recorded))
    kept = watched.with_evidence(evidence(co_signed(9)), recorded=(view.portfolio_hash,))
    assert kept.recorded_portfolio(view) == recorded.state.portfolio
    assert kept.portfolios == (recorded.state.portfolio,)
    dropped = watched.with_evidence(evidence(co_signed(9)), recorded=())
    assert (dropped.recorded_portfolio(view), dropped.portfolios) == (None, ())


def test_learnt_portfolios_are_bounded_and_the_oldest_goes() -> None:
    watched = FRESH
    for net in range(40):
        watched = watched.with_portfolios(make_portfolio(net))
    assert len(watched.portfolios) == MAX_PORTFOLIOS
    assert make_portfolio(39) in watched.portfolios
    assert make_portfolio(23) not in watched.portfolios


BAD_SIGNATURES: dict[str, Callable[[Signature], Signature]] = {
    "v flipped": lambda each: Signature(
        each.compact[:32] + bytes([each.compact[32] ^ 0x80]) + each.compact[33:]
    ),
    "the other signer's": lambda _: co_signed(5).signature_b,
    "of another state": lambda _: co_signed(6).signature_a,
    "zero": lambda _: Signature(bytes(64)),
}


@pytest.mark.parametrize("name", sorted(BAD_SIGNATURES))
def test_a_signature_the_contract_would_refuse_is_no_evidence(name: str) -> None:
    good = co_signed(5)
    bad = attrs.evolve(good, signature_a=BAD_SIGNATURES[name](good.signature_a))
    with pytest.raises(BadSignatureError):
        check_evidence(evidence(bad), DOMAIN)
    check_evidence(evidence(good), DOMAIN)


def test_a_state_of_another_channel_is_no_evidence() -> None:
    other = make_terms(1)
    with pytest.raises(InvalidValueError, match="channel"):
        check_evidence(evidence(co_signed(5, terms=other)), DOMAIN)
    with pytest.raises(InvalidValueError, match="nonce 0"):
        check_evidence(evidence(co_signed(0)), DOMAIN)


def test_damaged_and_foreign_records_have_names() -> None:
    record = encode_watched(FRESH)
    with pytest.raises(StorageError):
        decode_watched(record[:-1])
    with pytest.raises(StorageError):
        decode_watched(b"")
    with pytest.raises(StorageError):
        decode_watched(pack([1, 2, 3]))
    later = unpack(record)
    later[0] = 5
    with pytest.raises(SchemaVersionError):
        decode_watched(pack(later))


def test_margin_parameters_are_kept_if_they_are_the_agreed_ones() -> None:
    offered = evidence(co_signed(5), risk=RISK[::-1])
    check_evidence(offered, DOMAIN)
    watched = FRESH.with_evidence(offered)
    assert (FRESH.risk, watched.risk) == ((), RISK)
    assert decode_watched(encode_watched(watched)) == watched
    assert watched.with_evidence(evidence(co_signed(7), risk=())).risk == RISK
    other = (RISK[0], attrs.evolve(RISK[1], im_factor=10**18))
    with pytest.raises(InvalidValueError, match="margin parameters"):
        check_evidence(evidence(co_signed(5), risk=other), DOMAIN)


@pytest.mark.parametrize("side", list(Party))
def test_a_peers_channel_hands_over_all_it_holds(side: Party) -> None:
    full, entry, half = co_signed(4), boxed(7), boxed(9)

    def mine(each: CoSigned) -> Signature:
        return each.signature_a if side is Party.A else each.signature_b

    def theirs(each: CoSigned) -> Signature:
        return each.signature_b if side is Party.A else each.signature_a

    opening = Opening(terms=TERMS, deposit_a=1, deposit_b=1, valid_until=T0)
    channel = new_channel(
        domain=DOMAIN,
        side=side,
        opening=opening,
        risk=RISK,
        timing=Timing(),
        phase=Phase.IDLE,
    )
    assert evidence_of(channel) == Evidence(terms=TERMS, side=side, risk=RISK)
    ledger = channel.ledger.with_full(Full(state=full.state, mine=mine(full), theirs=theirs(full)))
    ledger = ledger.with_entry(Entry(value=entry.state, mine=mine(entry), theirs=theirs(entry)))
    ledger = ledger.with_entry(Entry(value=half.state, mine=mine(half)))
    handed = evidence_of(attrs.evolve(channel, ledger=ledger))
    assert handed.states == (full, entry)
    assert half.state.portfolio in handed.portfolios
    check_evidence(handed, DOMAIN)


def sealed(state: CoSigned) -> CoSignedHash:
    """What a tower has of a state whose portfolio it was not shown."""
    return CoSignedHash(
        state=state.state.sealed, signature_a=state.signature_a, signature_b=state.signature_b
    )


def test_a_state_known_by_its_hash_alone_takes_its_place_among_the_others() -> None:
    shown, newer = co_signed(5), sealed(co_signed(9))
    check_evidence(evidence(shown, newer), DOMAIN)
    watched = start_watching(evidence(), DOMAIN).with_evidence(evidence(shown, newer))
    assert watched.permanent == newer
    assert watched.acceptable(8, T0) == (newer,)
    assert watched.portfolio_of(newer) is None
    assert decode_watched(encode_watched(watched)) == watched
    # The whole state has the same hash: no rival, and its portfolio is learnt.
    taught = watched.with_evidence(evidence(co_signed(9)))
    assert taught.rival is None
    assert taught.portfolio_of(newer) == co_signed(9).state.portfolio


def test_a_hash_with_a_signature_of_something_else_is_refused() -> None:
    wrong = attrs.evolve(sealed(co_signed(9)), signature_a=co_signed(5).signature_a)
    with pytest.raises(BadSignatureError):
        check_evidence(evidence(wrong), DOMAIN)


def test_records_of_earlier_versions_still_load() -> None:
    watched = FRESH.with_evidence(
        evidence(co_signed(5), co_signed(8, valid_until=T0 + 60), side=Party.A, risk=()), time=T0
    )
    version, fields = unpack(encode_watched(watched))
    assert (version, fields[-1]) == (4, [])
    # Version 3 had no disputes to file, version 2 no states known by their hash alone, version 1 no
    # margin parameters either.
    fields = fields[:-1]
    assert decode_watched(pack([3, fields])) == watched
    second = [
        *fields[:3],
        *(None if each is None else each[1:] for each in fields[3:6]),
        *fields[6:],
    ]
    assert decode_watched(pack([2, second])) == watched
    assert decode_watched(pack([1, second[:-1]])) == watched
    with pytest.raises(StorageError):
        decode_watched(pack([1, second]))
