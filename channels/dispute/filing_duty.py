"""Filing a dispute in a signer's name: at its word, or after a silence whose length it named.

What is filed is the newest state held, so that the signer owes no stale penalty for it. Where only
the hash of its portfolio is known it is recorded first, and the dispute filed on what is recorded.

Source: design, watchtower.md "Engine" (duty DISPUTE); adjudication.md `disputeFor`.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from channels.chain.fees import Urgency
from channels.dispute.actions import Action, AlertCode, Duty, Level, Submit, WakeAt
from channels.dispute.case import Case
from channels.dispute.evidence import Filing, Held
from channels.protocol.calls import CoSigned, DisputeFor
from channels.protocol.types import State

__all__ = ["file_dispute"]


def file_dispute(case: Case) -> Iterator[Action]:
    """File, once it is time and as long as the authorisation is good."""
    for filing in case.watched.filings:
        if case.time < filing.at:
            yield WakeAt(time=filing.at)
            continue
        why = _hindrance(case, filing)
        if why is not None:
            yield case.alert(
                Level.CRITICAL,
                AlertCode.DISPUTE_NOT_FILED,
                f"a dispute that its signer wants cannot be filed: {why}",
                ("min_nonce", filing.authorisation.min_nonce),
                ("valid_until", filing.authorisation.valid_until),
            )
            continue
        yield from _file(case, filing)
        return


def _hindrance(case: Case, filing: Filing) -> str | None:
    authorisation = filing.authorisation
    if case.account is not None and authorisation.delegate != case.account:
        return "the authorisation is for another account than sends from here"
    if case.time >= authorisation.valid_until:
        return "the authorisation has lapsed; ask for another"
    newest = max((each.state.nonce for each in case.acceptable), default=case.view.nonce)
    if newest < authorisation.min_nonce:
        return "no state is held that is as new as the authorisation wants"
    if case.watched.newest_nonce - newest > case.watched.terms.max_in_flight:
        return "the newest state that can be recorded is so old that a penalty would be due"
    return None


def _file(case: Case, filing: Filing) -> Iterator[Action]:
    authorisation = filing.authorisation
    urgency = Urgency(opened=filing.at, deadline=authorisation.valid_until, stake=case.view.pot)
    newest: CoSigned | None = None
    if case.acceptable:
        newest = _whole(case, case.acceptable[0])
        if newest is None:
            recording = case.checkpoint(Duty.DISPUTE, case.acceptable[0])
            yield attrs.evolve(recording, urgency=urgency)
            return
    nonce = case.view.nonce if newest is None else newest.state.nonce
    yield Submit(
        duty=Duty.DISPUTE,
        call=DisputeFor(
            terms=case.watched.terms,
            newest=newest,
            authorisation=authorisation,
            signature=filing.signature,
        ),
        key=b"dispute" + authorisation.struct_hash + nonce.to_bytes(8, "big"),
        urgency=urgency,
    )


def _whole(case: Case, held: Held) -> CoSigned | None:
    """A state held with its portfolio, if that is known."""
    if isinstance(held, CoSigned):
        return held
    portfolio = case.watched.portfolio_of(held)
    if portfolio is None:
        return None
    return CoSigned(
        state=State(
            channel_id=held.state.channel_id,
            nonce=held.state.nonce,
            valid_until=held.state.valid_until,
            portfolio=portfolio,
        ),
        signature_a=held.signature_a,
        signature_b=held.signature_b,
    )
