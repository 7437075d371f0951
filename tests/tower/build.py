"""Builders of what a customer hands over: appointments with real signatures."""

from __future__ import annotations

from typing import Any

from channels.protocol.calls import CoSigned
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChannelView, OnChainPhase
from channels.protocol.signing import LocalSigner
from channels.protocol.types import Party
from channels.protocol.watching import Appointment
from channels.tower.content import Content
from channels.tower.intake import Account, IntakePolicy, check_offer, signer_of
from channels.tower.kept import Holding, Kept
from tests.dispute.build import (
    DOMAIN,
    ID,
    SIGNERS,
    T0,
    TERMS,
    co_signed,
    make_head,
    make_view,
    place,
)

ALICE = SIGNERS[Party.A]
BUDGET = 10**16
POLICY = IntakePolicy()
DELEGATE = place("gas account")


def offer(
    newest: CoSigned,
    *,
    sequence: int = 1,
    duties: int = 0,
    budget: int = BUDGET,
    signer: LocalSigner = ALICE,
    channel: bytes = ID,
    terms: Any = TERMS,
    **content: Any,
) -> Holding:
    """An appointment for this state; the portfolio stays at home unless ``content`` says else."""
    packed = Content(
        terms=terms, signature_a=newest.signature_a, signature_b=newest.signature_b, **content
    )
    appointment = Appointment(
        channel_id=channel,
        nonce=newest.state.nonce,
        valid_until=newest.state.valid_until,
        portfolio_hash=newest.state.portfolio_hash,
        duties=int(duties),
        gas_budget=budget,
        sequence=sequence,
        content_hash=packed.hash,
    )
    signature = signer.sign_digest(DOMAIN.digest(appointment))
    return Holding(appointment=appointment, signature=signature, content=packed.packed)


def check(
    holding: Holding,
    *,
    kept: Kept | None = None,
    account: Account | None = None,
    policy: IntakePolicy = POLICY,
    time: int = T0,
) -> Address:
    """Whose the appointment is, if it is taken."""
    customer = signer_of(holding.appointment, holding.signature, DOMAIN)
    check_offer(
        holding,
        customer,
        domain=DOMAIN,
        kept=kept,
        account=account or Account(),
        head=make_head(time),
        policy=policy,
        delegate=DELEGATE,
    )
    return customer


def kept_of(*holdings: Holding, pot: int = 20_000 * 10**6) -> Kept:
    """What a tower keeps after these appointments."""
    kept = Kept(customer=ALICE.address, pot=pot)
    for each in holdings:
        kept = kept.with_holding(each)
    return kept


def open_view(**changes: Any) -> ChannelView:
    """Storage of a channel that is open, and on which nothing is recorded."""
    return make_view(OnChainPhase.OPEN, **changes)


__all__ = [
    "ALICE",
    "BUDGET",
    "DELEGATE",
    "POLICY",
    "check",
    "co_signed",
    "kept_of",
    "offer",
    "open_view",
]
