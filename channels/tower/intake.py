"""Whether a tower takes an appointment: pure checks, cheap ones before signatures.

What is accepted here is what the contract will accept later, no more: a state that it would refuse
would keep a good, lower one from being sent, and that **may lose funds**.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from fractions import Fraction
from typing import Final

import attrs

from channels.errors import AppointmentRefusedError, BadSignatureError, InvalidValueError
from channels.protocol.eip712 import Address, keccak
from channels.protocol.facts import ChannelView, Head, OnChainPhase
from channels.protocol.signing import Signature, check_digest, recover
from channels.protocol.terms import Domain, channel_id, hash_risk_params
from channels.protocol.watching import Appointment, Duties
from channels.tower.content import Content
from channels.tower.kept import Holding, Kept

__all__ = [
    "Account",
    "IntakePolicy",
    "Refusal",
    "check_offer",
    "check_standing",
    "signer_of",
]

_DONE: Final = Duties.CHECKPOINT_BOXED | Duties.SETTLE | Duties.MARGIN | Duties.DISPUTE
"""What a receipt may promise."""
_IN_CLEAR: Final = Duties.SETTLE | Duties.MARGIN


class Refusal(StrEnum):
    """Why an appointment was refused; its value is what the customer is told."""

    MALFORMED = "malformed"
    CONTENT_HASH = "content_hash"
    WRONG_CHANNEL = "wrong_channel"
    NOT_A_SIGNER = "not_a_signer"
    STATE_SIGNATURE = "state_signature"
    DUTIES_UNKNOWN = "duties_unknown"
    PORTFOLIO_MISSING = "portfolio_missing"
    PORTFOLIO_WRONG = "portfolio_wrong"
    RISK_WRONG = "risk_wrong"
    AUTHORISATION = "authorisation"
    NOT_NEWER = "not_newer"
    BOX_CLOSES = "box_closes"
    WINDOW_SHORT = "window_short"
    NOT_OPEN = "not_open"
    TOO_LATE = "too_late"
    BEHIND_CHAIN = "behind_chain"
    COLLATERAL = "collateral"
    QUOTA = "quota"
    PREPAID = "prepaid"
    BUDGET_SHARE = "budget_share"
    WOULD_FAIL = "would_fail"
    NOT_READY = "not_ready"


@attrs.frozen(kw_only=True)
class IntakePolicy:
    """What a tower takes on. Times in seconds, amounts in wei.

    ``least_window``: of the dispute window. ``slot``: of the chain; a box must stay open for two.
    ``quota``: channels a customer, ``prepaid``: the sum of its budgets, unless ``prepaid_by`` says
    otherwise. ``share``: part of the pot that a budget may come to, where ``value`` says what wei
    one base unit of a collateral is worth; with any value given, other collaterals are refused.
    ``receipt_term``: how long a receipt is good for. ``longest_authorisation``: how long one to
    file disputes may be good for.
    """

    least_window: int = 3_600
    slot: int = 12
    quota: int = 1_000
    prepaid: int = 10**18
    prepaid_by: Mapping[Address, int] = attrs.field(factory=dict)
    share: Fraction = Fraction(1, 10)
    value: Mapping[Address, Fraction] = attrs.field(factory=dict)
    receipt_term: int = 90 * 86_400
    longest_response: int = 60
    longest_authorisation: int = 30 * 86_400

    def prepaid_of(self, customer: Address) -> int:
        """The most that the budgets of a customer may come to, wei."""
        return self.prepaid_by.get(customer, self.prepaid)


@attrs.frozen(kw_only=True)
class Account:
    """What a customer has with the tower: channels watched, and the sum of their budgets, wei."""

    channels: int = 0
    committed: int = 0


def check_offer(
    holding: Holding,
    customer: Address,
    *,
    domain: Domain,
    kept: Kept | None,
    account: Account,
    head: Head,
    policy: IntakePolicy,
    delegate: Address,
) -> Holding:
    """Check an appointment by itself and against what is kept; return it.

    Args:
        holding: all that was handed over.
        customer: who signed it (`signer_of`).
        domain: of the Adjudicator.
        kept: what the tower has of this customer's side of the channel.
        account: what the customer has with the tower; this channel not counted.
        head: the newest block; its time counts.
        policy: what is taken on.
        delegate: the account that files disputes here.

    Raises:
        AppointmentRefusedError: it is not taken.
    """
    appointment = holding.appointment
    if keccak(holding.content) != appointment.content_hash:
        raise AppointmentRefusedError(Refusal.CONTENT_HASH, "the content is not what was signed")
    try:
        parts = holding.parts
        state_digest = domain.digest(holding.state.state)
    except InvalidValueError as error:
        raise AppointmentRefusedError(Refusal.MALFORMED, str(error)) from error
    if channel_id(domain, parts.terms) != appointment.channel_id or not appointment.nonce:
        raise AppointmentRefusedError(
            Refusal.WRONG_CHANNEL, "a state of another channel than the terms', or at nonce 0"
        )
    if customer not in (parts.terms.signer_a, parts.terms.signer_b):
        raise AppointmentRefusedError(
            Refusal.NOT_A_SIGNER, "signed by neither of the channel's two signers"
        )
    _check_duties(appointment, parts)
    _check_newer(holding, kept, head, policy)
    if parts.terms.dispute_window < policy.least_window:
        raise AppointmentRefusedError(
            Refusal.WINDOW_SHORT, f"the dispute window is shorter than {policy.least_window} s"
        )
    _check_funds(appointment, parts, customer, account, kept, policy)
    try:
        check_digest(parts.signature_a, state_digest, parts.terms.signer_a)
        check_digest(parts.signature_b, state_digest, parts.terms.signer_b)
    except BadSignatureError as error:
        raise AppointmentRefusedError(Refusal.STATE_SIGNATURE, str(error)) from error
    if Duties.DISPUTE in Duties(appointment.duties):
        why = _authorisation_fault(holding, customer, domain, head, policy, delegate)
        if why is not None:
            raise AppointmentRefusedError(Refusal.AUTHORISATION, why)
    return holding


def _authorisation_fault(
    holding: Holding,
    customer: Address,
    domain: Domain,
    head: Head,
    policy: IntakePolicy,
    delegate: Address,
) -> str | None:
    """Why a dispute could not be filed under what was handed over, or should not be."""
    appointment, parts = holding.appointment, holding.parts
    if parts.authorisation is None:
        return "to file a dispute takes an authorisation"
    value = parts.authorisation.value
    try:
        check_digest(parts.authorisation.signature, domain.digest(value), customer)
    except BadSignatureError:
        return "the authorisation is not signed by the customer"
    if value.channel_id != appointment.channel_id or value.delegate != delegate:
        return "the authorisation is for another channel, or for another account than files here"
    behind = appointment.nonce - value.min_nonce
    if behind < 0:
        return "the authorisation wants a newer state than this one"
    if behind > parts.terms.max_in_flight:
        return "the authorisation allows a state so old that a penalty would be due"
    left = value.valid_until - head.timestamp
    if left <= parts.authorisation.silence + 2 * policy.slot:
        return "the authorisation ends before the silence does, or within two slots"
    if left > policy.longest_authorisation:
        return f"the authorisation is good for more than {policy.longest_authorisation} s"
    return None


def signer_of(appointment: Appointment, signature: Signature, domain: Domain) -> Address:
    """Who signed an appointment.

    Raises:
        AppointmentRefusedError: nobody can have signed it.
    """
    try:
        return recover(signature, domain.digest(appointment))
    except BadSignatureError as error:
        raise AppointmentRefusedError(Refusal.NOT_A_SIGNER, str(error)) from error


def _check_duties(appointment: Appointment, parts: Content) -> None:
    duties = Duties(appointment.duties)
    if appointment.duties & ~int(_DONE):
        raise AppointmentRefusedError(Refusal.DUTIES_UNKNOWN, f"duties {duties:#x}")
    shown = parts.shown_portfolio
    if shown is not None and shown.struct_hash != appointment.portfolio_hash:
        raise AppointmentRefusedError(
            Refusal.PORTFOLIO_WRONG, "the portfolio in clear is not the one that was signed"
        )
    if duties & _IN_CLEAR and shown is None:
        raise AppointmentRefusedError(
            Refusal.PORTFOLIO_MISSING, "to settle or to call margin takes the portfolio in clear"
        )
    if Duties.MARGIN in duties or parts.risk:
        try:
            agreed = hash_risk_params(parts.risk) == parts.terms.risk_hash
        except InvalidValueError:
            agreed = False
        if not agreed:
            raise AppointmentRefusedError(
                Refusal.RISK_WRONG, "the margin parameters are not those of the terms"
            )


def _check_newer(holding: Holding, kept: Kept | None, head: Head, policy: IntakePolicy) -> None:
    appointment = holding.appointment
    if not holding.permanent and appointment.valid_until <= head.timestamp + 2 * policy.slot:
        raise AppointmentRefusedError(
            Refusal.BOX_CLOSES, "the box has passed, or closes within two slots"
        )
    if kept is None:
        return
    if appointment.sequence <= kept.latest.appointment.sequence:
        raise AppointmentRefusedError(
            Refusal.NOT_NEWER,
            f"appointment {kept.latest.appointment.sequence} of this channel was accepted before",
        )
    held = kept.boxed
    in_box = held is not None and head.timestamp < held.appointment.valid_until
    floors = [each.appointment.nonce for each in (kept.permanent,) if each is not None]
    if held is not None and in_box and not holding.permanent:
        floors.append(held.appointment.nonce)
    if appointment.nonce < max(floors, default=0):
        raise AppointmentRefusedError(
            Refusal.NOT_NEWER, f"nonce {appointment.nonce} where {max(floors)} is held"
        )


def _check_funds(
    appointment: Appointment,
    parts: Content,
    customer: Address,
    account: Account,
    kept: Kept | None,
    policy: IntakePolicy,
) -> None:
    if kept is None and account.channels >= policy.quota:
        raise AppointmentRefusedError(Refusal.QUOTA, f"{policy.quota} channels are watched")
    prepaid = policy.prepaid_of(customer)
    if account.committed + appointment.gas_budget > prepaid:
        raise AppointmentRefusedError(
            Refusal.PREPAID,
            f"budgets of {account.committed + appointment.gas_budget} wei, prepaid {prepaid}",
        )
    if policy.value and parts.terms.collateral not in policy.value:
        raise AppointmentRefusedError(
            Refusal.COLLATERAL, f"collateral 0x{parts.terms.collateral.hex()} is not served"
        )
    if kept is not None:
        _check_share(budget=appointment.gas_budget, pot=kept.pot, parts=parts, policy=policy)


def _check_share(*, budget: int, pot: int, parts: Content, policy: IntakePolicy) -> None:
    worth = policy.value.get(parts.terms.collateral)
    if worth is not None and budget > pot * worth * policy.share:
        raise AppointmentRefusedError(
            Refusal.BUDGET_SHARE, f"the budget is more than {policy.share} of the pot's worth"
        )


def check_standing(holding: Holding, view: ChannelView, head: Head, policy: IntakePolicy) -> None:
    """Check an appointment against the channel's storage: needed once, when it is new here.

    Raises:
        AppointmentRefusedError: it is not taken.
    """
    parts, appointment = holding.parts, holding.appointment
    if view.phase not in (OnChainPhase.OPEN, OnChainPhase.DISPUTED):
        raise AppointmentRefusedError(
            Refusal.NOT_OPEN, f"on chain the channel is {view.phase.name}, not open"
        )
    if view.phase is OnChainPhase.DISPUTED and view.deadline <= head.timestamp + 2 * policy.slot:
        raise AppointmentRefusedError(Refusal.TOO_LATE, "the window closes within two slots")
    same = appointment.nonce == view.nonce and appointment.portfolio_hash == view.portfolio_hash
    if appointment.nonce <= view.nonce and not same:
        raise AppointmentRefusedError(
            Refusal.BEHIND_CHAIN, f"the chain records nonce {view.nonce} already"
        )
    _check_share(budget=appointment.gas_budget, pot=view.pot, parts=parts, policy=policy)
