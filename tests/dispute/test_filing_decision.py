"""When a dispute is filed in a signer's name, on what, and what keeps it from being filed."""

from __future__ import annotations

import attrs
import pytest

from channels.dispute import Action, Alert, AlertCode, Duty, Filing, Submit, WakeAt, decide
from channels.dispute.evidence import (
    Watched,
    decode_watched,
    encode_watched,
    start_watching,
)
from channels.protocol.calls import Checkpoint, CoSigned, CoSignedHash, DisputeFor
from channels.protocol.facts import OnChainPhase
from channels.protocol.terms import DisputeAuthorisation
from channels.protocol.types import Party, SealedState
from tests.dispute.build import (
    DOMAIN,
    HOUR,
    ID,
    SIGNERS,
    T0,
    TERMS,
    co_signed,
    evidence,
    make_head,
    make_view,
    place,
)

ACCOUNT = place("monitor")
AT = T0 + 100
ENDS = T0 + HOUR
OPEN = make_view(OnChainPhase.OPEN)


def filing(*, min_nonce: int = 5, **changes: object) -> Filing:
    value = DisputeAuthorisation(
        channel_id=ID, delegate=ACCOUNT, min_nonce=min_nonce, valid_until=ENDS
    )
    value = attrs.evolve(value, **changes)  # type: ignore[arg-type]
    signature = SIGNERS[Party.A].sign_digest(DOMAIN.digest(value))
    return Filing(authorisation=value, signature=signature, at=AT)


def sealed(held: CoSigned) -> CoSignedHash:
    state = held.state
    return CoSignedHash(
        state=SealedState(
            channel_id=state.channel_id,
            nonce=state.nonce,
            valid_until=state.valid_until,
            portfolio_hash=state.portfolio_hash,
        ),
        signature_a=held.signature_a,
        signature_b=held.signature_b,
    )


def watching(*held: CoSigned | CoSignedHash, of: Filing | None = None) -> Watched:
    given = evidence(*held, filings=(of or filing(),))
    return start_watching(given, DOMAIN).with_evidence(given, time=T0)


def decided(
    watched: Watched, *, time: int = AT, recorded: int = 0, phase: OnChainPhase = OnChainPhase.OPEN
) -> tuple[Action, ...]:
    view = make_view(phase, co_signed(recorded) if recorded else None)
    return decide(watched, view, make_head(time), account=ACCOUNT)


def submits(actions: tuple[Action, ...]) -> list[Submit]:
    return [each for each in actions if isinstance(each, Submit)]


def told(actions: tuple[Action, ...]) -> list[Alert]:
    return [
        each
        for each in actions
        if isinstance(each, Alert) and each.code is AlertCode.DISPUTE_NOT_FILED
    ]


def test_nothing_is_filed_before_its_time() -> None:
    actions = decided(watching(co_signed(7)), time=AT - 1)
    assert submits(actions) == []
    assert WakeAt(time=AT) in actions


def test_the_newest_state_is_filed_with_its_portfolio() -> None:
    (found,) = submits(decided(watching(co_signed(7))))
    assert found.duty is Duty.DISPUTE
    assert isinstance(found.call, DisputeFor)
    assert found.call.newest == co_signed(7)
    assert found.call.authorisation == filing().authorisation
    assert found.urgency is not None
    assert (found.urgency.opened, found.urgency.deadline) == (AT, ENDS)


def test_what_is_known_by_its_hash_alone_is_recorded_first_and_then_filed_on() -> None:
    watched = watching(sealed(co_signed(7)))
    (first,) = submits(decided(watched))
    assert isinstance(first.call, Checkpoint)
    assert (first.duty, first.call.newest.state.nonce) == (Duty.DISPUTE, 7)
    (then,) = submits(decided(watched, recorded=7))
    assert isinstance(then.call, DisputeFor)
    assert then.call.newest is None


def test_a_portfolio_that_was_handed_over_in_clear_makes_the_state_whole() -> None:
    watched = watching(sealed(co_signed(7))).with_portfolios(co_signed(7).state.portfolio)
    (found,) = submits(decided(watched))
    assert isinstance(found.call, DisputeFor)
    assert found.call.newest == co_signed(7)


def test_once_a_dispute_stands_nothing_is_filed() -> None:
    actions = decided(watching(co_signed(7)), recorded=7, phase=OnChainPhase.DISPUTED)
    assert [each for each in submits(actions) if each.duty is Duty.DISPUTE] == []


@pytest.mark.parametrize(
    ("of", "time"),
    [
        (filing(delegate=place("somebody else")), AT),
        (filing(), ENDS),
        (filing(min_nonce=8), AT),
    ],
    ids=["another delegate", "lapsed", "no state so new"],
)
def test_what_cannot_be_filed_is_told_of(of: Filing, time: int) -> None:
    actions = decided(watching(co_signed(7), of=of), time=time)
    assert submits(actions) == []
    assert len(told(actions)) == 1


def test_nothing_is_filed_that_would_cost_a_penalty() -> None:
    """The newest state's box has passed, and the one below it is too old."""
    old, boxed = co_signed(7), co_signed(8 + TERMS.max_in_flight, valid_until=AT)
    actions = decided(watching(old, boxed))
    assert submits(actions) == []
    assert len(told(actions)) == 1
    near = co_signed(7 + TERMS.max_in_flight, valid_until=AT)
    (found,) = submits(decided(watching(old, near)))
    assert isinstance(found.call, DisputeFor)
    assert found.call.newest == old


def test_a_filing_survives_its_record_and_is_taken_back_by_evidence_without() -> None:
    watched = watching(co_signed(7))
    assert decode_watched(encode_watched(watched)) == watched
    assert watched.with_evidence(evidence(co_signed(8))).filings == (filing(),)
    assert watched.with_evidence(evidence(co_signed(8), filings=())).filings == ()
