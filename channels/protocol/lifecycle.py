"""Handlers of everything around the changes: closing, disputes, heads, reconnects, restarts."""

from __future__ import annotations

from typing import Final

import attrs

from channels.errors import (
    BadNonceError,
    BadProposalError,
    BadSignatureError,
    IllegalCommandError,
    InvalidValueError,
    UnexpectedMessageError,
)
from channels.protocol import messages as m
from channels.protocol import rules
from channels.protocol.calls import Checkpoint, Close, Dispute
from channels.protocol.channel import OPEN_PHASES, Channel, Mode, Phase
from channels.protocol.effects import (
    ChannelEnded,
    CloseRequested,
    Deed,
    DisputeSeen,
    Effect,
    ModeChanged,
    Notify,
    OpeningEnded,
    OpeningSucceeded,
    Outcome,
    Persist,
    ProposalLapsed,
    RecordedOnChain,
    RecoveryNeeded,
    Send,
    Step,
    Submit,
    done,
)
from channels.protocol.events import (
    Answer,
    ChainSeen,
    Connected,
    RequestClose,
    Resume,
    SetMode,
    StartDispute,
)
from channels.protocol.exchange import (
    accept_change,
    advance,
    reject,
    resting_phase,
    take_accept,
    void,
)
from channels.protocol.facts import OnChainPhase
from channels.protocol.ledger import Entry
from channels.protocol.opening import submit_open
from channels.protocol.rules import Candidate
from channels.protocol.signing import Signature, check_signature, recover
from channels.protocol.types import Closing, Party, State

__all__ = [
    "answer",
    "connected",
    "on_accept",
    "on_chain",
    "on_close_request",
    "on_reestablish",
    "request_close",
    "resume",
    "set_mode",
    "start_dispute",
]

CLOSING_BOX: Final = 3_600
"""The contract accepts a Closing at most an hour ahead."""


# ---------------------------------------------------------------- closing


def request_close(channel: Channel, command: RequestClose) -> Step:
    """Sign a Closing first, under the cash that stands."""
    del command
    if channel.portfolio.positions:
        raise IllegalCommandError(
            "positions are open", next_step="unwind them, or let them settle, then close"
        )
    closing = Closing(
        channel_id=channel.channel_id,
        nonce=channel.side.next_nonce(channel.ledger.highest_seen),
        valid_until=channel.clock.head_time + CLOSING_BOX,
        net_to_b=channel.portfolio.net_to_b,
    )
    _check_closing_pays(channel, closing)
    rules.check(Candidate(value=closing), channel.circumstances)

    def finish(signatures: tuple[Signature, ...]) -> Outcome:
        entry = Entry(value=closing, mine=signatures[0], signed_at=channel.clock.head_time)
        request = m.CloseRequest(
            channel_id=channel.channel_id, closing=closing, signature=signatures[0]
        )
        after = attrs.evolve(
            channel,
            phase=Phase.CLOSING,
            ledger=channel.ledger.with_entry(entry),
            outbox=(*channel.outbox, request),
        )
        return Outcome(after, (Persist(Deed.CLOSING, (entry,)), Send(request)))

    return Step((channel.signable(closing),), finish)


def _check_closing_pays(channel: Channel, closing: Closing) -> None:
    """The contract refuses a Closing that would need the clamp."""
    a = channel.contribution(Party.A) - closing.net_to_b
    b = channel.contribution(Party.B) + closing.net_to_b
    if a < 0 or b < 0:
        raise InvalidValueError(f"the Closing would pay A {a} and B {b}")


def on_close_request(channel: Channel, message: m.CloseRequest) -> Step:
    """Check a Closing and hand it to its decider."""
    closing, other = message.closing, channel.side.other
    known = channel.ledger.entry(closing.nonce)
    if closing.nonce <= channel.ledger.nonce or (
        known is not None and known.theirs == message.signature
    ):
        return done(channel)
    if known is not None or not other.leads(closing.nonce):
        raise BadNonceError(f"no Closing of party {other.name} at nonce {closing.nonce}")
    latest = channel.clock.head_time + CLOSING_BOX + 2 * channel.timing.slot
    if not 0 < closing.valid_until <= latest:
        raise BadProposalError(f"a Closing until {closing.valid_until}; allowed up to {latest}")
    if closing.channel_id != channel.channel_id:
        raise BadProposalError("a Closing of another channel")
    check_signature(message.signature, channel.signable(closing), channel.terms.signer(other))
    seen = attrs.evolve(
        channel,
        ledger=channel.ledger.with_entry(Entry(value=closing, theirs=message.signature)),
    )
    if closing.net_to_b != channel.portfolio.net_to_b or channel.portfolio.positions:
        text = "a Closing pays the cash that stands, with no position open"
        return reject(seen, closing.nonce, m.Reason.INVALID, text)
    notice = Notify(CloseRequested(closing=closing))
    return done(attrs.evolve(seen, phase=Phase.RECEIVED), notice)


def _accept_closing(channel: Channel, entry: Entry, closing: Closing) -> Step:
    _check_closing_pays(channel, closing)
    rules.check(Candidate(value=closing), channel.circumstances)

    def finish(signatures: tuple[Signature, ...]) -> Outcome:
        full = attrs.evolve(entry, mine=signatures[0], signed_at=channel.clock.head_time)
        accept = m.Accept(
            channel_id=channel.channel_id,
            nonce=closing.nonce,
            signature=signatures[0],
            affirmation_nonce=0,
            affirmation=None,
        )
        after = attrs.evolve(
            channel,
            phase=Phase.CLOSING,
            ledger=channel.ledger.with_entry(full),
            outbox=(*channel.outbox, accept),
        )
        return Outcome(after, (Persist(Deed.CLOSING, (full,)), Send(accept)))

    return Step((channel.signable(closing),), finish)


def _submit_close(channel: Channel, entry: Entry) -> Submit:
    closing, mine, theirs = entry.value, entry.mine, entry.theirs
    if not isinstance(closing, Closing) or mine is None or theirs is None:
        raise UnexpectedMessageError("the Closing is not signed by both")
    a, b = (mine, theirs) if channel.side is Party.A else (theirs, mine)
    call = Close(terms=channel.terms, closing=closing, signature_a=a, signature_b=b)
    return Submit(call, b"close" + channel.channel_id + closing.nonce.to_bytes(8, "big"))


# ---------------------------------------------------------------- answers


def answer(channel: Channel, command: Answer) -> Step:
    """Accept or reject what waits for our decision."""
    entry = channel.ledger.entry(command.nonce)
    if entry is None or entry.theirs is None or entry.mine is not None or entry.declined:
        raise IllegalCommandError(f"nothing waits for a decision at nonce {command.nonce}")
    if not command.accept:
        return reject(channel, command.nonce, command.reason, command.text)
    if isinstance(entry.value, Closing):
        return _accept_closing(channel, entry, entry.value)
    return accept_change(channel, command, entry)


def on_accept(channel: Channel, message: m.Accept) -> Step:
    """The peer accepts our proposal or our Closing."""
    entry = channel.ledger.entry(message.nonce)
    if entry is None and message.nonce <= channel.ledger.nonce:
        return done(channel)
    if entry is None or entry.mine is None or not channel.side.leads(message.nonce):
        raise BadNonceError(f"nothing of ours to accept at nonce {message.nonce}")
    if entry.theirs == message.signature:
        return done(channel)
    if not isinstance(entry.value, Closing):
        return take_accept(channel, message, entry)
    other = channel.side.other
    check_signature(message.signature, channel.signable(entry.value), channel.terms.signer(other))
    full = attrs.evolve(entry, theirs=message.signature)
    after = attrs.evolve(channel, ledger=channel.ledger.with_entry(full), outbox=())
    return done(after, Persist(Deed.CLOSING, (full,)), _submit_close(after, full))


# ---------------------------------------------------------------- disputes and the circuit breaker


def start_dispute(channel: Channel, command: StartDispute) -> Step:
    """Sign nothing any more, and start the window with the newest state we hold."""
    del command
    disputing = attrs.evolve(channel, phase=Phase.DISPUTED, dispute_sent=True)
    return done(disputing, Persist(Deed.DISPUTE), _submit_dispute(disputing))


def _submit_dispute(channel: Channel) -> Submit:
    call = Dispute(terms=channel.terms, newest=channel.newest_evidence())
    return Submit(call, b"dispute" + channel.channel_id)


def set_mode(channel: Channel, command: SetMode) -> Step:
    """Let the circuit breaker, or its operator, decide what may be traded."""
    if (command.mode, command.reason) == (channel.mode, channel.mode_reason):
        return done(channel)
    changed = attrs.evolve(channel, mode=command.mode, mode_reason=command.reason)
    notice = Notify(ModeChanged(mode=command.mode, reason=command.reason))
    return done(changed, Persist(Deed.MODE), notice)


# ---------------------------------------------------------------- reconnect and restart


def connected(channel: Channel, command: Connected) -> Step:
    """Tell the peer where we stand."""
    del command
    full = channel.ledger.full
    digest = channel.domain.digest(full.state) if full.state.nonce else bytes(32)
    return done(
        channel,
        Send(
            m.Reestablish(
                channel_id=channel.channel_id,
                full_nonce=full.state.nonce,
                full_digest=digest,
                proof=full.theirs,
            )
        ),
    )


def on_reestablish(channel: Channel, message: m.Reestablish) -> Step:
    """Compare where both stand, and send again what may have been lost."""
    ours, shown = channel.ledger.full.state, message.full_nonce
    if shown == ours.nonce and shown and message.full_digest != channel.domain.digest(ours):
        raise BadProposalError(f"another state at the permanent nonce {shown}")
    if shown > channel.ledger.highest_seen:
        return _recover(channel, message)
    outbox = tuple(each for each in channel.outbox if _concerns(each) > shown)
    return done(attrs.evolve(channel, outbox=outbox), *(Send(each) for each in outbox))


def _recover(channel: Channel, message: m.Reestablish) -> Step:
    """The peer claims a newer permanent state than any we know: it must show our signature."""
    own = channel.terms.signer(channel.side)
    if message.proof is None or not _signed_digest(message.proof, message.full_digest, own):
        raise BadSignatureError(f"a permanent nonce {message.full_nonce} that we never signed")
    lost = attrs.evolve(channel, phase=Phase.RECOVERING)
    notice = RecoveryNeeded(newest_known=channel.ledger.nonce, shown=message.full_nonce)
    return done(lost, Persist(Deed.RECOVERING), Notify(notice))


def _signed_digest(signature: Signature, digest: bytes, signer: bytes) -> bool:
    try:
        return recover(signature, digest) == signer
    except BadSignatureError:
        return False


def _concerns(message: m.Message) -> int:
    """The nonce up to which the peer must be for ``message`` to be of no more use to it."""
    match message:
        case m.Propose():
            return message.proposal.nonce
        case m.Quote():
            return message.sides[-1].nonce
        case m.Accept():
            return max(message.nonce, message.affirmation_nonce)
        case m.Confirm() | m.Void():
            return message.nonce
        case m.Reject():
            return max(message.nonce, message.void_nonce)
        case m.CloseRequest():
            return message.closing.nonce
        case _:
            return 1


def resume(channel: Channel, command: Resume) -> Step:
    """Ask again for what a crash may have left undone; the keys make asking twice harmless."""
    del command
    effects: list[Effect] = []
    if channel.phase is Phase.SUBMITTED:
        effects.append(submit_open(channel))
    for each in channel.ledger.entries:
        if isinstance(each.value, Closing) and each.co_signed:
            effects.append(_submit_close(channel, each))
    return done(channel, *effects)


# ---------------------------------------------------------------- the chain


def on_chain(channel: Channel, event: ChainSeen) -> Step:
    """Take in a new head: phase first, then what is final, then what is overdue."""
    seen = attrs.evolve(channel, head=event.head, view=event.view, final_view=event.final_view)
    match event.view.phase:
        case OnChainPhase.NONE:
            return _not_on_chain(seen)
        case OnChainPhase.OPEN:
            return _on_chain_open(seen)
        case OnChainPhase.DISPUTED:
            return _on_chain_ended(seen, Phase.DISPUTED)
        case OnChainPhase.RUN_OFF:
            return _on_chain_ended(seen, Phase.RUN_OFF)
        case OnChainPhase.CLOSED:
            return _on_chain_ended(seen, Phase.CLOSED)


def _not_on_chain(channel: Channel) -> Step:
    opening = channel.track.opening
    lapsed = channel.head is not None and channel.head.final_timestamp > opening.valid_until
    if channel.phase not in (Phase.ASKED, Phase.GRANTED, Phase.SUBMITTED) or not lapsed:
        return done(channel)
    ended = attrs.evolve(channel, phase=Phase.ABANDONED, outbox=())
    notice = OpeningEnded(reason=m.Reason.LATE, text="the opening was not mined in its time")
    return done(ended, Persist(Deed.OPENING), Notify(notice))


def _on_chain_open(channel: Channel) -> Step:
    final = channel.final_view
    if final is None or final.phase is not OnChainPhase.OPEN:
        return done(channel)
    if channel.phase in (Phase.ASKED, Phase.GRANTED, Phase.SUBMITTED):
        opened = attrs.evolve(channel, phase=Phase.IDLE, outbox=())
        return done(opened, Persist(Deed.OPENING), Notify(OpeningSucceeded()))
    if channel.phase in (Phase.DISPUTED, Phase.RUN_OFF, Phase.CLOSED):
        return _reorganised_back(channel)
    if channel.phase not in OPEN_PHASES:
        return done(channel)
    step = _final_record(channel)
    return step if step is not None else _overdue(channel)


def _reorganised_back(channel: Channel) -> Step:
    """A dispute vanished: sign again only when that is final, and none of ours can be mined."""
    head = channel.head
    if head is None or head.final_number < channel.disputed_at or channel.dispute_sent:
        return done(channel)
    return done(attrs.evolve(channel, phase=Phase.IDLE), Persist(Deed.CHAIN))


def _on_chain_ended(channel: Channel, phase: Phase) -> Step:
    head, view = channel.head, channel.view
    if head is None or view is None:
        return done(channel)
    ended = attrs.evolve(channel, phase=phase, disputed_at=head.number)
    if channel.phase is phase:
        return done(ended)
    if phase is Phase.DISPUTED:
        newest = ended.newest_evidence()
        notice = Notify(
            DisputeSeen(
                recorded=view.nonce,
                deadline=view.deadline,
                stale=newest is not None and newest.state.nonce > view.nonce,
            )
        )
    else:
        notice = Notify(ChannelEnded(phase=view.phase))
    return done(ended, Persist(Deed.CHAIN), notice)


def _final_record(channel: Channel) -> Step | None:
    """What the chain has recorded as final is F, boxed or not."""
    recorded = channel.clock.final_recorded
    if recorded <= channel.ledger.nonce:
        return None
    entry = channel.ledger.entry(recorded)
    if entry is None or not isinstance(entry.value, State):
        lost = attrs.evolve(channel, phase=Phase.RECOVERING)
        notice = RecoveryNeeded(newest_known=channel.ledger.nonce, shown=recorded)
        return done(lost, Persist(Deed.RECOVERING), Notify(notice))
    return done(
        advance(channel, entry),
        Persist(Deed.FULL, (entry,)),
        Notify(RecordedOnChain(nonce=recorded)),
    )


def _overdue(channel: Channel) -> Step:
    clock = channel.clock
    pruned = attrs.evolve(channel, ledger=channel.ledger.without_dead_closings(clock))
    match channel.phase:
        case Phase.PROPOSED:
            return _unanswered(pruned)
        case Phase.RECEIVED:
            return _undecided(pruned)
        case Phase.ACCEPTED:
            return _unconfirmed(pruned)
        case Phase.VOIDING:
            return done(pruned, *(Send(each) for each in pruned.outbox[-1:]))
        case Phase.CLOSING:
            return _unclosed(pruned)
        case _:
            return done(pruned)


def _unanswered(channel: Channel) -> Step:
    """Our proposals lapse when their box has passed in a final block.

    One that was accepted too late is owed a void: the acceptor's affirmation of it is permanent.
    """
    clock, ledger = channel.clock, channel.ledger
    own = [
        each
        for each in ledger.entries
        if channel.side.leads(each.nonce)
        and not each.permanent
        and each.mine is not None
        and not (each.declined and each.expired(clock.final_time))
    ]
    if any(not each.expired(clock.final_time) for each in own):
        return done(channel)
    if any(each.theirs is not None for each in own):
        return void(channel)
    for each in own:
        ledger = ledger.with_entry(attrs.evolve(each, declined=True))
    rested = attrs.evolve(channel, phase=Phase.IDLE, ledger=ledger)
    nonces = tuple(each.nonce for each in own)
    return done(rested, Notify(ProposalLapsed(nonces=nonces, overtaken=False)))


def _undecided(channel: Channel) -> Step:
    clock = channel.clock
    waiting = [
        each
        for each in channel.ledger.entries
        if each.mine is None and not each.declined and not each.expired(clock.head_time)
    ]
    return done(channel if waiting else attrs.evolve(channel, phase=resting_phase(channel)))


def _unconfirmed(channel: Channel) -> Step:
    """No Confirm yet.

    Put the boxed state on chain while its box lasts; after that wait for the void, then dispute.
    """
    clock = channel.clock
    boxed = next(
        (each for each in channel.ledger.entries if each.co_signed and not each.permanent), None
    )
    if boxed is None:
        return done(channel)
    if clock.head_time < boxed.signed_at + channel.timing.confirm_within:
        return done(channel)
    if not boxed.expired(clock.head_time):
        if clock.recorded >= boxed.nonce:
            return done(channel)
        evidence = channel.newest_evidence()
        if evidence is None or evidence.state.nonce != boxed.nonce:
            return done(channel)
        reason = f"no Confirm of nonce {boxed.nonce}"
        reduced = attrs.evolve(
            channel, mode=max(channel.mode, Mode.REDUCE_ONLY), mode_reason=reason
        )
        key = b"checkpoint" + channel.channel_id + boxed.nonce.to_bytes(8, "big")
        submit = Submit(Checkpoint(terms=channel.terms, newest=evidence), key)
        if channel.mode is not Mode.NORMAL:
            return done(reduced, submit)
        notice = Notify(ModeChanged(mode=reduced.mode, reason=reason))
        return done(reduced, Persist(Deed.MODE), submit, notice)
    grace_over = boxed.value.valid_until + channel.timing.void_grace
    if clock.final_time > grace_over and clock.recorded < boxed.nonce:
        return start_dispute(channel, StartDispute())
    return done(channel)


def _unclosed(channel: Channel) -> Step:
    """A co-signed Closing not yet mined is sent by either; one that lapsed frees the channel."""
    clock = channel.clock
    closings = [each for each in channel.ledger.alive(clock) if isinstance(each.value, Closing)]
    if not closings:
        return done(attrs.evolve(channel, phase=Phase.IDLE, outbox=()), Persist(Deed.CLOSING))
    overdue = [
        each
        for each in closings
        if each.co_signed and clock.head_time >= each.signed_at + channel.timing.confirm_within
    ]
    return done(channel, *(_submit_close(channel, each) for each in overdue))
