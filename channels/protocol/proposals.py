"""Handlers of a proposal: sign a change first and offer it, or check what the peer offers.

Quotes are proposals that answer a request; the sides of one quote are alternatives.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from channels.errors import (
    BadNonceError,
    BadProposalError,
    BugError,
    IllegalCommandError,
)
from channels.protocol import messages as m
from channels.protocol import rules
from channels.protocol.answers import reject
from channels.protocol.changes import Remark, apply
from channels.protocol.channel import Channel, Phase
from channels.protocol.checks import check_content, eases_risk, objection_to
from channels.protocol.effects import (
    Deed,
    Notify,
    Outcome,
    PeerComplained,
    Persist,
    ProposalCancelled,
    ProposalReceived,
    QuoteDeclined,
    QuoteRequested,
    Send,
    Step,
    done,
)
from channels.protocol.events import (
    CancelProposals,
    Draft,
    ProposeChange,
    RefuseQuote,
    RequestQuote,
    SendQuote,
)
from channels.protocol.evolving import evolve
from channels.protocol.halts import Mode
from channels.protocol.ledger import Entry, Ledger
from channels.protocol.rules import Candidate
from channels.protocol.signing import Signature, check_signature
from channels.protocol.types import State
from channels.units import WAD

__all__ = [
    "cancel_proposals",
    "on_cancel",
    "on_crossing_proposal",
    "on_crossing_quote",
    "on_error",
    "on_proposal",
    "on_quote",
    "on_quote_reject",
    "on_quote_request",
    "propose",
    "refuse_quote",
    "request_quote",
    "send_quote",
]


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
            least=command.least,
        )

    return _offer(channel, sides, message)


def _draft_sides(
    channel: Channel, drafts: tuple[Draft, ...], quote: bytes | None
) -> tuple[Entry, ...]:
    """Work out and check every side that is to be signed first."""
    around = channel.circumstances
    head_time = around.clock.head_time
    nonce = channel.ledger.highest_seen
    sides: list[Entry] = []
    for draft in drafts:
        portfolio = apply(
            *(draft.change, channel.portfolio, draft.marks),
            *(channel.terms.unit, channel.margin_model),
        )
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
        signed = tuple(
            evolve(side, mine=signature) for side, signature in zip(sides, signatures, strict=True)
        )
        ledger = channel.ledger.with_entry(*signed)
        sent = message(tuple(_half_signed(each) for each in signed))
        after = evolve(channel, phase=Phase.PROPOSED, ledger=ledger, outbox=(*channel.outbox, sent))
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


def on_proposal(channel: Channel, message: m.Propose) -> Step:
    """Check a proposal; hand it to its decider, or reject it at once."""
    return _receive(channel, (message.proposal,), None)


def on_quote(channel: Channel, message: m.Quote) -> Step:
    """Check a quote we asked for; every side of it must stand."""
    return _receive(channel, message.sides, message)


def on_crossing_proposal(channel: Channel, message: m.Propose) -> Step:
    """A proposal that crossed an Accept or a Closing of ours: not now."""
    return _turn_away(channel, (message.proposal,), None)


def on_crossing_quote(channel: Channel, message: m.Quote) -> Step:
    """A quote that crossed an Accept or a Closing of ours: not now."""
    return _turn_away(channel, message.sides, message.request_id)


def _turn_away(channel: Channel, proposals: tuple[m.HalfSigned, ...], quote: bytes | None) -> Step:
    """Nobody's fault: after a reconnect it may even be one that we have answered."""
    if _is_replay(channel, proposals):
        return done(channel)
    seen = evolve(channel, ledger=_with_admitted(channel, proposals, quote))
    return reject(seen, proposals[0].nonce, m.Reason.BUSY, f"{channel.phase.name} for now")


def _with_admitted(
    channel: Channel, proposals: tuple[m.HalfSigned, ...], quote: bytes | None
) -> Ledger:
    """The ledger with these proposals seen; one after the other, so their nonces differ too."""
    ledger = channel.ledger
    for proposal in proposals:
        ledger = ledger.with_entry(_admit(channel, ledger, proposal, quote))
    return ledger


def _receive(channel: Channel, proposals: tuple[m.HalfSigned, ...], quote: m.Quote | None) -> Step:
    if _is_replay(channel, proposals):
        return done(channel)
    ledger = channel.ledger
    alive = ledger.alive(channel.clock)
    outstanding = max([each.nonce for each in alive if channel.side.leads(each.nonce)], default=0)
    request_id = None if quote is None else quote.request_id
    admitted = _with_admitted(channel, proposals, request_id)
    if proposals[0].nonce < outstanding:
        # Both proposed at once: ours is the higher nonce and goes first.
        return done(evolve(channel, ledger=admitted))
    for proposal in proposals:
        objection = objection_to(channel, proposal)
        if objection is not None:
            seen = evolve(channel, ledger=admitted)
            return reject(seen, proposals[0].nonce, *objection)
    notices = tuple(
        Notify(
            ProposalReceived(
                nonce=proposal.nonce,
                change=proposal.change,
                portfolio=proposal.portfolio,
                request_id=request_id,
                expires_at=0 if quote is None else quote.expires_at,
                least=WAD if quote is None else quote.least,
            )
        )
        for proposal in proposals
    )
    return done(evolve(channel, ledger=admitted, phase=Phase.RECEIVED), *notices)


def _is_replay(channel: Channel, proposals: tuple[m.HalfSigned, ...]) -> bool:
    """Whether a reconnect brought again what was dealt with already."""
    for proposal in proposals:
        if proposal.nonce <= channel.ledger.nonce:
            continue
        entry = channel.ledger.entry(proposal.nonce)
        if entry is None or entry.theirs != proposal.signature:
            return False
    return True


def _admit(channel: Channel, ledger: Ledger, proposal: m.HalfSigned, quote: bytes | None) -> Entry:
    """Nonce, box and signature of a proposal: what only a faulty peer gets wrong.

    Raises:
        BadNonceError: not the peer's turn, used, or beyond what may be in flight.
        BadProposalError: not boxed.
        BadSignatureError: not the peer's.
    """
    other = channel.side.other
    if not other.leads(proposal.nonce):
        raise BadNonceError(f"party {other.name} does not sign first at nonce {proposal.nonce}")
    if ledger.entry(proposal.nonce) is not None:
        raise BadNonceError(f"two different states at nonce {proposal.nonce}")
    limit = ledger.nonce + channel.terms.max_in_flight - 2
    if not ledger.nonce < proposal.nonce <= limit:
        raise BadNonceError(f"nonce {proposal.nonce}; allowed are {ledger.nonce + 1} to {limit}")
    if proposal.valid_until == 0:
        raise BadProposalError("a box until 0: a permanent state is no proposal")
    state = State(
        channel_id=channel.channel_id,
        nonce=proposal.nonce,
        valid_until=proposal.valid_until,
        portfolio=proposal.portfolio,
    )
    check_signature(proposal.signature, channel.signable(state), channel.terms.signer(other))
    return Entry(value=state, theirs=proposal.signature, change=proposal.change, quote=quote)


def cancel_proposals(channel: Channel, command: CancelProposals) -> Step:
    """Ask the peer to turn down what waits for its answer; one request serves a quote's sides.

    Raises:
        IllegalCommandError: what is named does not wait for an answer.
    """
    waiting = [
        each
        for each in channel.ledger.entries
        if channel.side.leads(each.nonce)
        and isinstance(each.value, State)
        and each.theirs is None
        and not (each.permanent or each.declined or each.expired(channel.clock.head_time))
    ]
    if command.nonce is not None:
        named = next((each for each in waiting if each.nonce == command.nonce), None)
        if named is None:
            raise IllegalCommandError(f"nothing of ours waits for an answer at {command.nonce}")
        waiting = [named]
    first = {each.quote or each.nonce: each.nonce for each in reversed(waiting)}
    return done(
        channel,
        *(
            Send(m.Cancel(channel_id=channel.channel_id, nonce=nonce))
            for nonce in sorted(first.values())
        ),
    )


def on_cancel(channel: Channel, message: m.Cancel) -> Step:
    """The peer would not make its proposal now: turn it down, if it still waits for us."""
    entry = channel.ledger.entry(message.nonce)
    if (
        channel.phase is not Phase.RECEIVED
        or entry is None
        or channel.side.leads(message.nonce)
        or not isinstance(entry.value, State)
        or entry.mine is not None
        or entry.declined
    ):
        return done(channel)
    rejected = reject(channel, message.nonce, m.Reason.DECLINED, "cancelled, as you asked")

    def finish(signatures: tuple[Signature, ...]) -> Outcome:
        outcome = rejected.finish(signatures)
        notice = Notify(ProposalCancelled(nonce=message.nonce))
        return attrs.evolve(outcome, effects=(*outcome.effects, notice))

    return Step(rejected.sign, finish)


def request_quote(channel: Channel, command: RequestQuote) -> Step:
    """Ask for a price."""
    if channel.mode is Mode.HALTED:
        raise IllegalCommandError(f"halted: {channel.mode_reason}")
    request = m.RequestForQuote(
        channel_id=channel.channel_id,
        request_id=command.request_id,
        legs=command.legs,
        time_to_live=command.time_to_live,
        side=command.side,
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
