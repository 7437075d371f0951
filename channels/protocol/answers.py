"""Handlers of an answer: Accept and Confirm, Reject and Void, on both sides.

Each works everything out first and signs last: what it returns changes nothing until its signatures
are made. Nothing is signed that `channels.protocol.rules` has not passed.
"""

from __future__ import annotations

from channels.errors import (
    BadNonceError,
    BadSignatureError,
    IllegalCommandError,
    SigningRefusedError,
    UnexpectedMessageError,
)
from channels.protocol import messages as m
from channels.protocol import rules
from channels.protocol.changes import Remark
from channels.protocol.channel import Channel, Phase
from channels.protocol.checks import check_mode, eases_risk
from channels.protocol.effects import (
    ChangeConfirmed,
    ChangeRejected,
    Deed,
    Notify,
    Outcome,
    PeerComplained,
    Persist,
    Send,
    Step,
    done,
)
from channels.protocol.events import (
    Answer,
)
from channels.protocol.evolving import evolve
from channels.protocol.ledger import Entry
from channels.protocol.permanent import (
    advance,
    affirmed_by,
    countersign,
    lapsed,
    may_sign,
    resting_phase,
    waits_for_head,
)
from channels.protocol.rules import Candidate
from channels.protocol.signing import Signature, check_signature
from channels.protocol.types import State

__all__ = [
    "accept_change",
    "on_confirm",
    "on_reject",
    "on_void",
    "reject",
    "take_accept",
    "void",
]


def accept_change(channel: Channel, command: Answer, entry: Entry) -> Step:
    """Countersign a proposal and sign its affirmation first, together or not at all."""
    state = entry.value
    if not isinstance(state, State) or entry.change is None:
        raise IllegalCommandError(f"nothing to accept at nonce {command.nonce}")
    around = channel.circumstances
    _check_timeliness(channel, state, around.clock.head_time, command.now)
    eased = eases_risk(channel, entry.change, state.portfolio, channel.side)
    # The mode may have changed while the proposal waited for this decision.
    check_mode(channel, entry.change, eased=eased)
    rules.check(
        Candidate(
            value=state,
            quote=entry.quote,
            remark=isinstance(entry.change, Remark),
            reduces_risk=eased,
        ),
        around,
    )
    affirmation = State(
        channel_id=channel.channel_id,
        nonce=channel.side.next_nonce(channel.ledger.highest_seen),
        portfolio=state.portfolio,
    )
    signed_ledger = evolve(channel.ledger, highest_mine=state.nonce)
    rules.check(
        Candidate(value=affirmation, affirms=state.portfolio),
        evolve(around, ledger=signed_ledger),
    )

    def finish(signatures: tuple[Signature, ...]) -> Outcome:
        head_time = around.clock.head_time
        boxed = evolve(entry, mine=signatures[0], signed_at=head_time)
        permanent = Entry(
            value=affirmation, mine=signatures[1], change=entry.change, signed_at=head_time
        )
        accept = m.Accept(
            channel_id=channel.channel_id,
            nonce=state.nonce,
            signature=signatures[0],
            affirmation_nonce=affirmation.nonce,
            affirmation=signatures[1],
        )
        after = evolve(
            channel,
            phase=Phase.ACCEPTED,
            ledger=channel.ledger.with_entry(boxed, permanent),
            outbox=(*channel.outbox, accept),
        )
        return Outcome(after, (Persist(Deed.ACCEPTED, (boxed, permanent)), Send(accept)))

    return Step((channel.signable(state), channel.signable(affirmation)), finish)


def _check_timeliness(channel: Channel, state: State, head_time: int, now: int) -> None:
    timing = channel.timing
    if now - head_time > timing.oldest_head:
        raise SigningRefusedError(
            f"our newest head is {now - head_time} s old", next_step="check the endpoint"
        )
    if state.valid_until > head_time + timing.box + 2 * timing.slot:
        raise SigningRefusedError(
            f"a box until {state.valid_until} is longer than ours at head {head_time}",
            next_step="check that both are on one chain, with one box",
        )
    if state.valid_until - head_time < timing.least_to_accept:
        raise SigningRefusedError(
            f"only {state.valid_until - head_time} s of the box are left",
            next_step="ask for a new proposal",
        )


def reject(channel: Channel, nonce: int, reason: m.Reason, text: str) -> Step:
    """Decline a proposal and, where rule 3 allows, kill it with a void.

    No void answers a Closing or Withdrawal: rule 6 keeps its signer from countersigning one, and
    the chain would not care (docs/decisions/0003-closings-outlive-voids.md).
    """
    ledger = channel.ledger
    for each in ledger.entries:
        if each.nonce == nonce or (
            each.quote is not None and each.quote == _quote_at(channel, nonce)
        ):
            ledger = ledger.with_entry(evolve(each, declined=True))
    declined = evolve(channel, ledger=ledger)
    killer = _void_state(declined)
    if _pays_out(declined, nonce) or not may_sign(declined, killer):
        plain = m.Reject(
            channel_id=channel.channel_id,
            nonce=nonce,
            reason=reason,
            text=text,
            void_nonce=0,
            void=None,
        )
        after = evolve(declined, phase=resting_phase(declined))
        return done(after, Persist(Deed.REJECTED), Send(plain))

    def finish(signatures: tuple[Signature, ...]) -> Outcome:
        entry = Entry(value=killer, mine=signatures[0], signed_at=declined.clock.head_time)
        message = m.Reject(
            channel_id=channel.channel_id,
            nonce=nonce,
            reason=reason,
            text=text,
            void_nonce=killer.nonce,
            void=signatures[0],
        )
        after = evolve(
            declined,
            phase=Phase.VOIDING,
            ledger=declined.ledger.with_entry(entry),
            outbox=(*channel.outbox, message),
        )
        return Outcome(after, (Persist(Deed.REJECTED, (entry,)), Send(message)))

    return Step((channel.signable(killer),), finish)


def _pays_out(channel: Channel, nonce: int) -> bool:
    entry = channel.ledger.entry(nonce)
    return entry is not None and not isinstance(entry.value, State)


def _quote_at(channel: Channel, nonce: int) -> bytes | None:
    entry = channel.ledger.entry(nonce)
    return None if entry is None else entry.quote


def _void_state(channel: Channel) -> State:
    return State(
        channel_id=channel.channel_id,
        nonce=channel.side.next_nonce(channel.ledger.highest_seen),
        portfolio=channel.portfolio,
    )


def void(channel: Channel) -> Step:
    """Sign F's portfolio again, first, at a higher nonce.

    Raises:
        SigningRefusedError: something alive carries another portfolio.
    """
    state = _void_state(channel)
    rules.check(Candidate(value=state), channel.circumstances)

    def finish(signatures: tuple[Signature, ...]) -> Outcome:
        entry = Entry(value=state, mine=signatures[0], signed_at=channel.clock.head_time)
        message = m.Void(channel_id=channel.channel_id, nonce=state.nonce, signature=signatures[0])
        after = evolve(
            channel,
            phase=Phase.VOIDING,
            ledger=channel.ledger.with_entry(entry),
            outbox=(*channel.outbox, message),
        )
        return Outcome(after, (Persist(Deed.VOIDED, (entry,)), Send(message)))

    return Step((channel.signable(state),), finish)


def take_accept(channel: Channel, message: m.Accept, entry: Entry) -> Step:
    """Take the second signature on our proposal, and confirm its affirmation.

    Where the rules forbid the Confirm (the box has passed, a dispute is on chain, our head is old),
    the co-signed boxed state is kept all the same: it is evidence.
    """
    state = entry.value
    if not isinstance(state, State) or message.affirmation is None:
        raise UnexpectedMessageError(f"an Accept of nonce {message.nonce} without affirmation")
    other = channel.side.other
    theirs = channel.terms.signer(other)
    # Rule 2 lets us sign one more: the void that we owe if this Accept comes too late.
    limit = channel.ledger.nonce + channel.terms.max_in_flight - 1
    if (
        not other.leads(message.affirmation_nonce)
        or not state.nonce < message.affirmation_nonce <= limit
    ):
        raise BadNonceError(
            f"no affirmation of {state.nonce} at {message.affirmation_nonce}; allowed up to {limit}"
        )
    affirmation = State(
        channel_id=channel.channel_id,
        nonce=message.affirmation_nonce,
        portfolio=state.portfolio,
    )
    check_signature(message.signature, channel.signable(state), theirs)
    check_signature(message.affirmation, channel.signable(affirmation), theirs)
    boxed = evolve(entry, theirs=message.signature, declined=False)
    half = Entry(value=affirmation, theirs=message.affirmation, change=entry.change)
    accepted = evolve(channel, ledger=channel.ledger.with_entry(boxed, half))
    try:
        rules.check(Candidate(value=affirmation), accepted.circumstances)
    except SigningRefusedError as refusal:
        owing = evolve(accepted, phase=Phase.PROPOSED)
        kept = Persist(Deed.ACCEPTED, (boxed, half))
        if waits_for_head(accepted, affirmation):
            return done(owing, kept)
        notice = Notify(PeerComplained(reason=m.Reason.LATE, text=f"late Accept: {refusal}"))
        return done(owing, kept, notice)
    return countersign(accepted, half, ours=True, proposal=state.nonce)


def on_confirm(channel: Channel, message: m.Confirm) -> Step:
    """Take the second signature on our affirmation or void: it becomes F."""
    if message.nonce <= channel.ledger.nonce:
        return done(channel)
    entry = channel.ledger.entry(message.nonce)
    if entry is None or entry.mine is None or not entry.permanent:
        raise BadNonceError(f"no affirmation or void of ours at nonce {message.nonce}")
    other = channel.side.other
    check_signature(message.signature, channel.signable(entry.value), channel.terms.signer(other))
    full = evolve(entry, theirs=message.signature)
    after = advance(channel, full)
    notice = ChangeConfirmed(
        nonce=full.nonce,
        proposal=affirmed_by(channel.ledger, full),
        change=full.change,
        ours=False,
        portfolio=after.portfolio,
    )
    return done(after, Persist(Deed.CONFIRMED, (full,)), Notify(notice), *lapsed(channel, after))


def on_void(channel: Channel, message: m.Void) -> Step:
    """Countersign the peer's void of what was half signed."""
    if message.nonce <= channel.ledger.nonce:
        return done(channel)
    half = _void_entry(channel, message.nonce, message.signature)
    if waits_for_head(channel, half.value):
        return done(evolve(channel, ledger=channel.ledger.with_entry(half)))
    rules.check(Candidate(value=half.value), channel.circumstances)
    return countersign(channel, half, ours=False)


def on_reject(channel: Channel, message: m.Reject) -> Step:
    """The peer declines our proposal; countersign its void where it sent one."""
    if message.nonce <= channel.ledger.nonce:
        return done(channel)
    entry = channel.ledger.entry(message.nonce)
    if entry is None or entry.mine is None or entry.permanent:
        raise BadNonceError(f"no proposal of ours at nonce {message.nonce}")
    if entry.theirs is not None:
        raise UnexpectedMessageError(f"a Reject of nonce {message.nonce} after its Accept")
    notice = Notify(ChangeRejected(nonce=message.nonce, reason=message.reason, text=message.text))
    if message.void is not None:
        half = _void_entry(channel, message.void_nonce, message.void)
        if may_sign(channel, half.value):
            return countersign(channel, half, ours=True, notice=notice)
        if waits_for_head(channel, half.value):
            channel = evolve(channel, ledger=channel.ledger.with_entry(half))
    if entry.declined:
        return done(channel)
    marked = channel.ledger.with_entry(evolve(entry, declined=True))
    return done(evolve(channel, ledger=marked), Persist(Deed.REJECTED), notice)


def _void_entry(channel: Channel, nonce: int, signature: Signature) -> Entry:
    other = channel.side.other
    if not other.leads(nonce) or nonce <= channel.ledger.nonce:
        raise BadNonceError(f"no void of party {other.name} at nonce {nonce}")
    governing = channel.ledger.governing(channel.clock)
    # Where F's differs, the rules refuse it for now; it is still no forgery.
    for portfolio in dict.fromkeys((governing, channel.portfolio)):
        state = State(channel_id=channel.channel_id, nonce=nonce, portfolio=portfolio)
        try:
            check_signature(signature, channel.signable(state), channel.terms.signer(other))
        except BadSignatureError:
            continue
        return Entry(value=state, theirs=signature)
    raise BadSignatureError(f"the void at nonce {nonce} carries no portfolio that could stand")
