"""Making a state permanent: the countersignature that does it, and where a channel stands then.

Shared by all that may raise F: the answers of the peer, what the chain has recorded, a recovery.
"""

from __future__ import annotations

import attrs

from channels.errors import SigningRefusedError, UnexpectedMessageError
from channels.protocol import messages as m
from channels.protocol import rules
from channels.protocol.channel import Channel, Phase
from channels.protocol.effects import (
    ChangeConfirmed,
    Deed,
    Notify,
    Outcome,
    Persist,
    ProposalLapsed,
    Send,
    Step,
)
from channels.protocol.evolving import evolve
from channels.protocol.ledger import Entry, Full, Ledger
from channels.protocol.rules import Candidate, Circumstances
from channels.protocol.signing import Signature
from channels.protocol.types import Closing, State, Withdrawal

__all__ = [
    "advance",
    "affirmed_by",
    "countersign",
    "lapsed",
    "may_sign",
    "resting_phase",
    "waits_for_head",
]


def may_sign(channel: Channel, value: State | Closing | Withdrawal) -> bool:
    """Whether the rules let us sign ``value`` now, as it is."""
    return _passes(value, channel.circumstances)


def _passes(value: State | Closing | Withdrawal, around: Circumstances) -> bool:
    try:
        rules.check(Candidate(value=value), around)
    except SigningRefusedError:
        return False
    return True


def waits_for_head(channel: Channel, value: State | Closing | Withdrawal) -> bool:
    """Whether nothing but the age of our newest head keeps us from countersigning ``value``.

    It is kept, and countersigned once a fresh head shows that the chain has nothing against it. A
    box that has passed by our own clock will have passed at that head too.
    """
    around, now = channel.circumstances, channel.now
    if around.head_is_fresh or now is None:
        return False
    fresh = evolve(around, head_is_fresh=True)
    ours = attrs.evolve(around.clock, head_time=now)
    return any(_passes(value, evolve(fresh, clock=each)) for each in (around.clock, ours))


def countersign(
    channel: Channel, half: Entry, *, ours: bool, proposal: int = 0, notice: Notify | None = None
) -> Step:
    """Countersign a permanent state the rules have passed: it becomes F."""
    state = half.value
    if not isinstance(state, State):
        raise UnexpectedMessageError("a Closing needs no Confirm")

    def finish(signatures: tuple[Signature, ...]) -> Outcome:
        confirm = m.Confirm(
            channel_id=channel.channel_id, nonce=state.nonce, signature=signatures[0]
        )
        entry = evolve(half, mine=signatures[0])
        after = advance(channel, entry, confirm)
        told = notice or Notify(
            ChangeConfirmed(
                nonce=state.nonce,
                proposal=proposal,
                change=half.change,
                ours=ours,
                portfolio=state.portfolio,
            )
        )
        overtaken = lapsed(channel, after)
        affirmed = channel.ledger.entry(proposal)
        signed = (entry,) if affirmed is None else (affirmed, entry)
        return Outcome(after, (Persist(Deed.FULL, signed), Send(confirm), told, *overtaken))

    return Step((channel.signable(state),), finish)


def advance(channel: Channel, entry: Entry, *sent: m.Message) -> Channel:
    """F becomes ``entry``; what it passes is dead, and so are the messages about it."""
    state = entry.value
    if not isinstance(state, State):
        raise UnexpectedMessageError("a Closing is never F")
    ledger = channel.ledger.with_full(Full(state=state, mine=entry.mine, theirs=entry.theirs))
    phase = resting_phase(channel, ledger)
    return evolve(channel, phase=phase, ledger=ledger, outbox=sent)


def lapsed(before: Channel, after: Channel) -> tuple[Notify, ...]:
    """Our unanswered proposals that another change has overtaken."""
    nonces = [
        each.nonce
        for each in before.ledger.entries
        if each.change is not None
        and each.mine is not None
        and each.theirs is None
        and not each.permanent
        and each.nonce <= after.ledger.nonce
        and before.side.leads(each.nonce)
    ]
    return (Notify(ProposalLapsed(nonces=tuple(nonces), overtaken=True)),) if nonces else ()


def affirmed_by(ledger: Ledger, permanent: Entry) -> int:
    """Nonce of the boxed state that a permanent one affirms; 0 for a void."""
    if permanent.change is None:
        return 0
    alike = [
        each.nonce
        for each in ledger.entries
        if each.co_signed and each.portfolio == permanent.portfolio
    ]
    return max(alike, default=0)


def resting_phase(channel: Channel, raised: Ledger | None = None) -> Phase:
    """The open phase that our own signatures still alive put the channel in, its ledger ``raised``.

    A permanent state of ours that carries F's portfolio harms nobody. Its Confirm is waited for
    during one box and no longer: the peer may have signed above it, and then never can confirm it.
    """
    clock, ledger = channel.clock, channel.ledger if raised is None else raised
    alive = ledger.alive(clock)
    if not alive:
        return Phase.IDLE
    ours = [each for each in alive if channel.side.leads(each.nonce) and each.theirs is None]
    if any(not isinstance(each.value, State) for each in alive):
        return Phase.CLOSING
    if any(each.permanent and each.portfolio != ledger.portfolio for each in ours):
        return Phase.ACCEPTED
    if any(not each.permanent for each in ours):
        return Phase.PROPOSED
    recent = clock.head_time - channel.timing.box
    waiting = any(each.change is None and each.signed_at >= recent for each in ours)
    return Phase.VOIDING if waiting else Phase.IDLE
