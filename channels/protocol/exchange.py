"""Handlers of a change: Propose or Quote, Accept, Confirm; Reject and Void.

Each works everything out first and signs last: what it returns changes nothing until its signatures
are made. Nothing is signed that `channels.protocol.rules` has not passed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from channels.errors import (
    BadNonceError,
    BadProposalError,
    BadSignatureError,
    BugError,
    IllegalCommandError,
    SigningRefusedError,
    UnexpectedMessageError,
)
from channels.protocol import messages as m
from channels.protocol import rules
from channels.protocol.changes import Remark, apply
from channels.protocol.channel import Channel, Mode, Phase
from channels.protocol.checks import check_content, eases_risk, objection_to
from channels.protocol.effects import (
    ChangeConfirmed,
    ChangeRejected,
    Deed,
    Notify,
    Outcome,
    PeerComplained,
    Persist,
    ProposalLapsed,
    ProposalReceived,
    QuoteDeclined,
    QuoteRequested,
    Send,
    Step,
    done,
)
from channels.protocol.events import (
    Answer,
    Draft,
    ProposeChange,
    RefuseQuote,
    RequestQuote,
    SendQuote,
)
from channels.protocol.ledger import Entry, Full
from channels.protocol.rules import Candidate
from channels.protocol.signing import Signature, check_signature
from channels.protocol.types import State

__all__ = [
    "accept_change",
    "advance",
    "on_confirm",
    "on_error",
    "on_proposal",
    "on_quote",
    "on_quote_reject",
    "on_quote_request",
    "on_reject",
    "on_void",
    "propose",
    "refuse_quote",
    "reject",
    "request_quote",
    "resting_phase",
    "send_quote",
    "take_accept",
    "void",
]

FRESH_SLOTS: Final = 3
"""A head older than this many slots is no ground to accept on."""


# ---------------------------------------------------------------- first signature


def propose(channel: Channel, command: ProposeChange) -> Step:
    """Sign a change first and offer it."""
    sides = _draft_sides(channel, (command.draft,), None)

    def message(proposals: tuple[m.HalfSigned, ...]) -> m.Message:
        return m.Propose(channel_id=channel.channel_id, proposal=proposals[0])

    return _offer(channel, sides, message)


def send_quote(channel: Channel, command: SendQuote) -> Step:
    """Answer a request with one half-signed state a side; the sides are alternatives."""
    if not 1 <= len(command.sides) <= 2:
        raise IllegalCommandError(f"a quote has one or two sides, not {len(command.sides)}")
    sides = _draft_sides(channel, command.sides, command.request_id)

    def message(proposals: tuple[m.HalfSigned, ...]) -> m.Message:
        return m.Quote(
            channel_id=channel.channel_id,
            request_id=command.request_id,
            expires_at=command.expires_at,
            sides=proposals,
        )

    return _offer(channel, sides, message)


def _draft_sides(
    channel: Channel, drafts: tuple[Draft, ...], quote: bytes | None
) -> tuple[Entry, ...]:
    """Work out and check every side that is to be signed first."""
    head_time = channel.clock.head_time
    around = channel.circumstances
    nonce = channel.ledger.highest_seen
    sides: list[Entry] = []
    for draft in drafts:
        portfolio = apply(draft.change, channel.portfolio, draft.marks, channel.terms.unit)
        check_content(channel, draft.change, portfolio)
        nonce = channel.side.next_nonce(nonce)
        state = State(
            channel_id=channel.channel_id,
            nonce=nonce,
            valid_until=head_time + channel.timing.box,
            portfolio=portfolio,
        )
        rules.check(
            Candidate(
                value=state,
                quote=quote,
                remark=isinstance(draft.change, Remark),
                reduces_risk=eases_risk(channel, draft.change, portfolio, channel.side),
            ),
            around,
        )
        sides.append(Entry(value=state, change=draft.change, quote=quote, signed_at=head_time))
    return tuple(sides)


def _offer(
    channel: Channel,
    sides: tuple[Entry, ...],
    message: Callable[[tuple[m.HalfSigned, ...]], m.Message],
) -> Step:
    def finish(signatures: tuple[Signature, ...]) -> Outcome:
        ledger = channel.ledger
        signed = tuple(
            attrs.evolve(side, mine=signature)
            for side, signature in zip(sides, signatures, strict=True)
        )
        for entry in signed:
            ledger = ledger.with_entry(entry)
        sent = message(tuple(_half_signed(each) for each in signed))
        after = attrs.evolve(
            channel, phase=Phase.PROPOSED, ledger=ledger, outbox=(*channel.outbox, sent)
        )
        return Outcome(after, (Persist(Deed.PROPOSED, signed), Send(sent)))

    return Step(tuple(channel.signable(side.value) for side in sides), finish)


def _half_signed(entry: Entry) -> m.HalfSigned:
    state = entry.value
    if not isinstance(state, State) or entry.change is None or entry.mine is None:
        raise BugError("only a boxed state that we signed is offered")
    return m.HalfSigned(
        nonce=state.nonce,
        valid_until=state.valid_until,
        change=entry.change,
        portfolio=state.portfolio,
        signature=entry.mine,
    )


# ---------------------------------------------------------------- a proposal arrives


def on_proposal(channel: Channel, message: m.Propose) -> Step:
    """Check a proposal; hand it to its decider, or reject it at once."""
    return _receive(channel, (message.proposal,), None, 0)


def on_quote(channel: Channel, message: m.Quote) -> Step:
    """Check a quote we asked for; every side of it must stand."""
    return _receive(channel, message.sides, message.request_id, message.expires_at)


def _receive(
    channel: Channel, proposals: tuple[m.HalfSigned, ...], quote: bytes | None, expires_at: int
) -> Step:
    if _is_replay(channel, proposals):
        return done(channel)
    ledger = channel.ledger
    outstanding = max(
        (each.nonce for each in ledger.alive(channel.clock) if channel.side.leads(each.nonce)),
        default=0,
    )
    for proposal in proposals:
        ledger = ledger.with_entry(_admit(channel, proposal, quote))
    seen = attrs.evolve(channel, ledger=ledger)
    if proposals[0].nonce < outstanding:
        # Both proposed at once: ours is the higher nonce and goes first.
        return done(seen)
    for proposal in proposals:
        objection = objection_to(channel, proposal)
        if objection is not None:
            return reject(seen, proposals[0].nonce, *objection)
    notices = tuple(
        Notify(
            ProposalReceived(
                nonce=proposal.nonce,
                change=proposal.change,
                portfolio=proposal.portfolio,
                request_id=quote,
                expires_at=expires_at,
            )
        )
        for proposal in proposals
    )
    return done(attrs.evolve(seen, phase=Phase.RECEIVED), *notices)


def _is_replay(channel: Channel, proposals: tuple[m.HalfSigned, ...]) -> bool:
    """Whether a reconnect brought again what was dealt with already."""
    for proposal in proposals:
        if proposal.nonce <= channel.ledger.nonce:
            continue
        entry = channel.ledger.entry(proposal.nonce)
        if entry is None or entry.theirs != proposal.signature:
            return False
    return True


def _admit(channel: Channel, proposal: m.HalfSigned, quote: bytes | None) -> Entry:
    """Nonce, box and signature of a proposal: what only a faulty peer gets wrong.

    Raises:
        BadNonceError: not the peer's turn, used, or beyond what may be in flight.
        BadProposalError: not boxed, or boxed beyond what we accept.
        BadSignatureError: not the peer's.
    """
    ledger, timing = channel.ledger, channel.timing
    other = channel.side.other
    if not other.leads(proposal.nonce):
        raise BadNonceError(f"party {other.name} does not sign first at nonce {proposal.nonce}")
    if ledger.entry(proposal.nonce) is not None:
        raise BadNonceError(f"two different states at nonce {proposal.nonce}")
    limit = ledger.nonce + channel.terms.max_in_flight - 2
    if not ledger.nonce < proposal.nonce <= limit:
        raise BadNonceError(f"nonce {proposal.nonce}; allowed are {ledger.nonce + 1} to {limit}")
    latest = channel.clock.head_time + timing.box + 2 * timing.slot
    if not 0 < proposal.valid_until <= latest:
        raise BadProposalError(f"a box until {proposal.valid_until}; allowed is up to {latest}")
    state = State(
        channel_id=channel.channel_id,
        nonce=proposal.nonce,
        valid_until=proposal.valid_until,
        portfolio=proposal.portfolio,
    )
    check_signature(proposal.signature, channel.signable(state), channel.terms.signer(other))
    return Entry(value=state, theirs=proposal.signature, change=proposal.change, quote=quote)


# ---------------------------------------------------------------- our answer


def accept_change(channel: Channel, command: Answer, entry: Entry) -> Step:
    """Countersign a proposal and sign its affirmation first, together or not at all."""
    state = entry.value
    if not isinstance(state, State) or entry.change is None:
        raise IllegalCommandError(f"nothing to accept at nonce {command.nonce}")
    _check_timeliness(channel, state, command.now)
    around = channel.circumstances
    rules.check(
        Candidate(
            value=state,
            quote=entry.quote,
            remark=isinstance(entry.change, Remark),
            reduces_risk=eases_risk(channel, entry.change, state.portfolio, channel.side),
        ),
        around,
    )
    affirmation = State(
        channel_id=channel.channel_id,
        nonce=channel.side.next_nonce(channel.ledger.highest_seen),
        portfolio=state.portfolio,
    )
    signed_ledger = attrs.evolve(channel.ledger, highest_mine=state.nonce)
    rules.check(
        Candidate(value=affirmation, affirms=state.portfolio),
        attrs.evolve(around, ledger=signed_ledger),
    )

    def finish(signatures: tuple[Signature, ...]) -> Outcome:
        head_time = channel.clock.head_time
        boxed = attrs.evolve(entry, mine=signatures[0], signed_at=head_time)
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
        after = attrs.evolve(
            channel,
            phase=Phase.ACCEPTED,
            ledger=channel.ledger.with_entry(boxed).with_entry(permanent),
            outbox=(*channel.outbox, accept),
        )
        return Outcome(after, (Persist(Deed.ACCEPTED, (boxed, permanent)), Send(accept)))

    return Step((channel.signable(state), channel.signable(affirmation)), finish)


def _check_timeliness(channel: Channel, state: State, now: int) -> None:
    timing, head_time = channel.timing, channel.clock.head_time
    if now - head_time > FRESH_SLOTS * timing.slot:
        raise SigningRefusedError(
            f"our newest head is {now - head_time} s old", next_step="check the endpoint"
        )
    if state.valid_until - head_time < timing.least_to_accept:
        raise SigningRefusedError(
            f"only {state.valid_until - head_time} s of the box are left",
            next_step="ask for a new proposal",
        )


def reject(channel: Channel, nonce: int, reason: m.Reason, text: str) -> Step:
    """Decline a proposal and, where rule 3 allows, kill it with a void."""
    ledger = channel.ledger
    for each in ledger.entries:
        if each.nonce == nonce or (
            each.quote is not None and each.quote == _quote_at(channel, nonce)
        ):
            ledger = ledger.with_entry(attrs.evolve(each, declined=True))
    declined = attrs.evolve(channel, ledger=ledger)
    killer = _void_state(declined)
    try:
        rules.check(Candidate(value=killer), declined.circumstances)
    except SigningRefusedError:
        plain = m.Reject(
            channel_id=channel.channel_id,
            nonce=nonce,
            reason=reason,
            text=text,
            void_nonce=0,
            void=None,
        )
        after = attrs.evolve(declined, phase=resting_phase(declined))
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
        after = attrs.evolve(
            declined,
            phase=Phase.VOIDING,
            ledger=declined.ledger.with_entry(entry),
            outbox=(*channel.outbox, message),
        )
        return Outcome(after, (Persist(Deed.REJECTED, (entry,)), Send(message)))

    return Step((channel.signable(killer),), finish)


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
        after = attrs.evolve(
            channel,
            phase=Phase.VOIDING,
            ledger=channel.ledger.with_entry(entry),
            outbox=(*channel.outbox, message),
        )
        return Outcome(after, (Persist(Deed.VOIDED, (entry,)), Send(message)))

    return Step((channel.signable(state),), finish)


# ---------------------------------------------------------------- the peer's answer


def take_accept(channel: Channel, message: m.Accept, entry: Entry) -> Step:
    """Take the second signature on our proposal, and confirm its affirmation.

    Where the rules forbid the Confirm (the box has passed, a dispute is on chain), the co-signed
    boxed state is kept all the same: it is evidence.
    """
    state = entry.value
    if not isinstance(state, State) or message.affirmation is None:
        raise UnexpectedMessageError(f"an Accept of nonce {message.nonce} without affirmation")
    other = channel.side.other
    theirs = channel.terms.signer(other)
    if not other.leads(message.affirmation_nonce) or message.affirmation_nonce <= state.nonce:
        raise BadNonceError(f"no affirmation of {state.nonce} at {message.affirmation_nonce}")
    affirmation = State(
        channel_id=channel.channel_id,
        nonce=message.affirmation_nonce,
        portfolio=state.portfolio,
    )
    check_signature(message.signature, channel.signable(state), theirs)
    check_signature(message.affirmation, channel.signable(affirmation), theirs)
    boxed = attrs.evolve(entry, theirs=message.signature)
    half = Entry(value=affirmation, theirs=message.affirmation, change=entry.change)
    accepted = attrs.evolve(channel, ledger=channel.ledger.with_entry(boxed).with_entry(half))
    try:
        rules.check(Candidate(value=affirmation), accepted.circumstances)
    except SigningRefusedError as refusal:
        notice = Notify(PeerComplained(reason=m.Reason.LATE, text=f"late Accept: {refusal}"))
        return done(accepted, Persist(Deed.ACCEPTED, (boxed, half)), notice)
    return _countersign(accepted, half, ours=True)


def _countersign(
    channel: Channel, half: Entry, *, ours: bool, notice: Notify | None = None
) -> Step:
    """Countersign a permanent state the rules have passed: it becomes F."""
    state = half.value
    if not isinstance(state, State):
        raise UnexpectedMessageError("a Closing needs no Confirm")

    def finish(signatures: tuple[Signature, ...]) -> Outcome:
        confirm = m.Confirm(
            channel_id=channel.channel_id, nonce=state.nonce, signature=signatures[0]
        )
        entry = attrs.evolve(half, mine=signatures[0])
        after = advance(channel, entry, confirm)
        told = notice or Notify(
            ChangeConfirmed(
                nonce=state.nonce, change=half.change, ours=ours, portfolio=state.portfolio
            )
        )
        lapsed = _lapsed(channel, after)
        return Outcome(after, (Persist(Deed.FULL, (entry,)), Send(confirm), told, *lapsed))

    return Step((channel.signable(state),), finish)


def advance(channel: Channel, entry: Entry, *sent: m.Message) -> Channel:
    """F becomes ``entry``; what it passes is dead, and so are the messages about it."""
    state = entry.value
    if not isinstance(state, State):
        raise UnexpectedMessageError("a Closing is never F")
    ledger = channel.ledger.with_full(Full(state=state, mine=entry.mine, theirs=entry.theirs))
    raised = attrs.evolve(channel, ledger=ledger, outbox=sent)
    return attrs.evolve(raised, phase=resting_phase(raised))


def _lapsed(before: Channel, after: Channel) -> tuple[Notify, ...]:
    """Our unanswered proposals that another change has overtaken."""
    nonces = tuple(
        each.nonce
        for each in before.ledger.entries
        if each.change is not None
        and each.mine is not None
        and each.theirs is None
        and not each.permanent
        and each.nonce <= after.ledger.nonce
        and before.side.leads(each.nonce)
    )
    return (Notify(ProposalLapsed(nonces=nonces, overtaken=True)),) if nonces else ()


def resting_phase(channel: Channel) -> Phase:
    """IDLE, or PROPOSED while a first signature of ours still waits for its answer."""
    waiting = any(
        channel.side.leads(each.nonce) and not each.permanent and isinstance(each.value, State)
        for each in channel.ledger.alive(channel.clock)
    )
    return Phase.PROPOSED if waiting else Phase.IDLE


def on_confirm(channel: Channel, message: m.Confirm) -> Step:
    """Take the second signature on our affirmation or void: it becomes F."""
    if message.nonce <= channel.ledger.nonce:
        return done(channel)
    entry = channel.ledger.entry(message.nonce)
    if entry is None or entry.mine is None or not entry.permanent:
        raise BadNonceError(f"no affirmation or void of ours at nonce {message.nonce}")
    other = channel.side.other
    check_signature(message.signature, channel.signable(entry.value), channel.terms.signer(other))
    full = attrs.evolve(entry, theirs=message.signature)
    after = advance(channel, full)
    notice = ChangeConfirmed(
        nonce=full.nonce, change=full.change, ours=False, portfolio=after.portfolio
    )
    return done(after, Persist(Deed.CONFIRMED, (full,)), Notify(notice), *_lapsed(channel, after))


def on_void(channel: Channel, message: m.Void) -> Step:
    """Countersign the peer's void of what was half signed."""
    if message.nonce <= channel.ledger.nonce:
        return done(channel)
    half = _void_entry(channel, message.nonce, message.signature)
    rules.check(Candidate(value=half.value), channel.circumstances)
    return _countersign(channel, half, ours=False)


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
    if message.void is None:
        if entry.declined:
            return done(channel)
        marked = channel.ledger.with_entry(attrs.evolve(entry, declined=True))
        return done(attrs.evolve(channel, ledger=marked), Persist(Deed.REJECTED), notice)
    half = _void_entry(channel, message.void_nonce, message.void)
    rules.check(Candidate(value=half.value), channel.circumstances)
    return _countersign(channel, half, ours=True, notice=notice)


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


# ---------------------------------------------------------------- asking for prices


def request_quote(channel: Channel, command: RequestQuote) -> Step:
    """Ask for a price."""
    if channel.mode is Mode.HALTED:
        raise IllegalCommandError(f"halted: {channel.mode_reason}")
    request = m.RequestForQuote(
        channel_id=channel.channel_id,
        request_id=command.request_id,
        legs=command.legs,
        time_to_live=command.time_to_live,
    )
    return done(channel, Send(request))


def refuse_quote(channel: Channel, command: RefuseQuote) -> Step:
    """Name no price."""
    answer = m.QuoteReject(
        channel_id=channel.channel_id,
        request_id=command.request_id,
        reason=command.reason,
        text=command.text,
    )
    return done(channel, Send(answer))


def on_quote_request(channel: Channel, message: m.RequestForQuote) -> Step:
    """The peer asks for a price."""
    return done(channel, Notify(QuoteRequested(request=message)))


def on_quote_reject(channel: Channel, message: m.QuoteReject) -> Step:
    """The peer names no price."""
    return done(channel, Notify(QuoteDeclined(answer=message)))


def on_error(channel: Channel, message: m.Error) -> Step:
    """The peer could not use what we sent."""
    return done(channel, Notify(PeerComplained(reason=message.reason, text=message.text)))
