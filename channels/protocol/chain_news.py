"""Handlers of what the chain shows: phases first, then what is final, then what is overdue."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from channels.errors import SigningRefusedError
from channels.protocol import messages as m
from channels.protocol import recovery, recovery_watch
from channels.protocol.answers import void
from channels.protocol.channel import OPEN_PHASES, Channel, Contributed, Phase
from channels.protocol.closing import submit_payout, without_closings
from channels.protocol.effects import (
    ChannelEnded,
    Deed,
    DisputeSeen,
    MarginCallSeen,
    ModeChanged,
    Notify,
    OpeningEnded,
    OpeningSucceeded,
    Outcome,
    Persist,
    ProposalLapsed,
    RecordedOnChain,
    ReleaseSeen,
    Send,
    Step,
    WithdrawalPaid,
    done,
)
from channels.protocol.events import (
    ChainSeen,
    StartDispute,
)
from channels.protocol.facts import ChannelView, OnChainPhase
from channels.protocol.filing import may_file, submit_checkpoint, submit_dispute
from channels.protocol.halts import Cause, Halt, Mode
from channels.protocol.ledger import Entry
from channels.protocol.lifecycle import start_dispute
from channels.protocol.permanent import (
    advance,
    affirmed_by,
    countersign,
    may_sign,
    resting_phase,
)
from channels.protocol.signing import Signature
from channels.protocol.types import Party, State, Withdrawal

__all__ = ["on_chain"]


def on_chain(channel: Channel, event: ChainSeen) -> Step:
    """Take in a new head: phase first, then what is final, then what is overdue."""
    seen = attrs.evolve(channel, head=event.head, view=event.view, final_view=event.final_view)
    match event.view.phase:
        case OnChainPhase.NONE:
            return _not_on_chain(seen)
        case OnChainPhase.OPEN:
            return _on_chain_open(seen)
        case OnChainPhase.DISPUTED:
            return _on_chain_ended(seen, Phase.DISPUTED, channel.view)
        case OnChainPhase.RUN_OFF:
            return _on_chain_ended(seen, Phase.RUN_OFF, channel.view)
        case OnChainPhase.CLOSED:
            return _on_chain_ended(seen, Phase.CLOSED, channel.view)


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
        if channel.recovery.leads:
            return recovery.begin(channel, channel.ledger.nonce)
        said = m.Opened(channel_id=channel.channel_id)
        opened = attrs.evolve(
            channel, phase=Phase.IDLE, outbox=(said,), contributed=_contributed(final)
        )
        return done(opened, Persist(Deed.OPENING), Send(said), Notify(OpeningSucceeded()))
    if channel.phase in (Phase.DISPUTED, Phase.RUN_OFF, Phase.CLOSED):
        return _reorganised_back(channel)
    if channel.phase is Phase.RECOVERING:
        return recovery_watch.on_head(channel)
    if channel.phase not in OPEN_PHASES:
        return done(channel)
    step = _final_record(channel)
    return step if step is not None else _with_deposits(_overdue(channel), final)


def _reorganised_back(channel: Channel) -> Step:
    """A dispute vanished: sign again only when that is final, and none of ours can be mined.

    One of ours that is not there yet, or no more, is asked for again: a crash may have lost it.
    """
    head = channel.head
    if channel.dispute_sent:
        return done(channel, submit_dispute(channel)) if may_file(channel) else done(channel)
    if head is None or head.final_number < channel.disputed_at:
        return done(channel)
    if channel.recovery.leads or channel.ledger.recovery_states():
        return done(attrs.evolve(channel, phase=Phase.RECOVERING), Persist(Deed.CHAIN))
    return done(attrs.evolve(channel, phase=resting_phase(channel)), Persist(Deed.CHAIN))


def _on_chain_ended(channel: Channel, phase: Phase, before: ChannelView | None) -> Step:
    head, view = channel.head, channel.view
    if head is None or view is None:
        return done(channel)
    ended = attrs.evolve(channel, phase=phase, disputed_at=head.number)
    news = tuple(_margin_news(before, view))
    if channel.phase is phase:
        return done(ended, Persist(Deed.CHAIN), *news) if news else done(ended)
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
    return done(ended, Persist(Deed.CHAIN), notice, *news)


def _margin_news(before: ChannelView | None, now: ChannelView) -> Iterator[Notify]:
    """Margin calls and releases that the storage shows and did not show before.

    Of what else such calls do nothing is left to tell: a close-out shows as the channel's end, a
    withdrawal as a newer nonce.
    """
    for party in Party:
        cure_end, released = now.cure_end(party), now.released(party)
        if cure_end and (before is None or before.cure_end(party) != cure_end):
            yield Notify(MarginCallSeen(party=party, cure_end=cure_end))
        if released and (before is None or not before.released(party)):
            yield Notify(ReleaseSeen(party=party))


def _final_record(channel: Channel) -> Step | None:
    """What the chain has recorded as final is F, boxed or not."""
    recorded = channel.clock.final_recorded
    if recorded <= channel.ledger.nonce:
        return None
    entry = channel.ledger.entry(recorded)
    if entry is not None and isinstance(entry.value, Withdrawal):
        return _withdrawn(channel, entry.value)
    if entry is None or not isinstance(entry.value, State):
        return recovery.begin(channel, recorded)
    return done(
        advance(channel, entry),
        Persist(Deed.FULL, (entry,)),
        Notify(RecordedOnChain(nonce=recorded, change=entry.change)),
    )


def _contributed(view: ChannelView) -> Contributed:
    return Contributed(a=view.contribution_a, b=view.contribution_b)


def _with_deposits(step: Step, final: ChannelView) -> Step:
    """Put into the journal, beside what else a head brings, the top-ups that are final with it.

    Not if that has an entry of its own: the next head does. So nobody can keep us busy with it.
    """

    def finish(signatures: tuple[Signature, ...]) -> Outcome:
        outcome = step.finish(signatures)
        before, now = outcome.channel.contributed, _contributed(final)
        if now == before or any(isinstance(each, Persist) for each in outcome.effects):
            return outcome
        after = attrs.evolve(outcome.channel, contributed=now)
        if before is None:  # stored by an earlier version: nobody knows what is news
            return Outcome(after, outcome.effects)
        paid_in = Contributed(a=max(now.a - before.a, 0), b=max(now.b - before.b, 0))
        return Outcome(after, (Persist(Deed.DEPOSITED, paid_in=paid_in), *outcome.effects))

    return Step(step.sign, finish)


def _withdrawn(channel: Channel, withdrawal: Withdrawal) -> Step:
    """A withdrawal is final: its state is F, which no signature but the withdrawal's own proves."""
    entry = Entry(value=withdrawal.state)
    before = channel.contributed
    if before is not None:
        left = Contributed(a=before.a - withdrawal.amount_a, b=before.b - withdrawal.amount_b)
        channel = attrs.evolve(channel, contributed=left)
    after = advance(channel, entry, *without_closings(channel.outbox))
    notice = Notify(WithdrawalPaid(withdrawal=withdrawal))
    recorded = Notify(RecordedOnChain(nonce=withdrawal.nonce))
    return done(after, Persist(Deed.FULL, (entry,)), recorded, notice)


def _overdue(channel: Channel) -> Step:
    clock = channel.clock
    pruned = attrs.evolve(channel, ledger=channel.ledger.without_dead_closings(clock))
    confirmed = _held_back(pruned)
    if confirmed is not None:
        return confirmed
    match channel.phase:
        case Phase.PROPOSED:
            return _unanswered(pruned)
        case Phase.RECEIVED:
            return _undecided(pruned)
        case Phase.ACCEPTED:
            return _unconfirmed(pruned)
        case Phase.VOIDING:
            rested = attrs.evolve(pruned, phase=resting_phase(pruned))
            again = pruned.outbox[-1:] if rested.phase is Phase.VOIDING else ()
            return done(rested, *(Send(each) for each in again))
        case Phase.CLOSING:
            return _unclosed(pruned)
        case _:
            return _spent(pruned)


def _held_back(channel: Channel) -> Step | None:
    """Countersign the newest permanent state of the peer's that the rules let pass only now.

    It came while our newest head was too old to tell what governs, or before the chain had recorded
    what it affirms.
    """
    ledger = channel.ledger
    for half in reversed(ledger.entries):
        if not half.permanent or half.mine is not None or not may_sign(channel, half.value):
            continue
        own = half.change is not None
        return countersign(channel, half, ours=own, proposal=affirmed_by(ledger, half))
    return None


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
        return _void_if_allowed(channel)
    for each in own:
        ledger = ledger.with_entry(attrs.evolve(each, declined=True))
    rested = attrs.evolve(channel, phase=Phase.IDLE, ledger=ledger)
    nonces = tuple(each.nonce for each in own)
    return done(rested, Notify(ProposalLapsed(nonces=nonces, overtaken=False)))


def _spent(channel: Channel) -> Step:
    """Nothing is in flight; where unanswered proposals have used up the nonces, void them.

    Two boxes after the last one lapsed: a peer that comes back may answer first.
    """
    ledger = channel.ledger
    next_nonce = channel.side.next_nonce(ledger.highest_seen)
    newest = max((each.value.valid_until for each in ledger.entries), default=0)
    spent = next_nonce > ledger.nonce + channel.terms.max_in_flight - 2
    if not spent or channel.clock.final_time <= newest + 2 * channel.timing.box:
        return done(channel)
    return _void_if_allowed(channel)


def _void_if_allowed(channel: Channel) -> Step:
    """A head is taken in whatever the rules say to our void: a peer must not make us blind."""
    try:
        return void(channel)
    except SigningRefusedError:
        return done(channel)


def _undecided(channel: Channel) -> Step:
    clock = channel.clock
    waiting = [
        each
        for each in channel.ledger.entries
        if each.mine is None
        and not (each.permanent or each.declined or each.expired(clock.head_time))
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
        submit = submit_checkpoint(channel, evidence)
        if channel.halt(Cause.NO_CONFIRM) is not None:
            return done(channel, submit)
        halt = Halt(
            cause=Cause.NO_CONFIRM,
            mode=Mode.REDUCE_ONLY,
            reason=f"no Confirm of nonce {boxed.nonce}",
        )
        reduced = channel.with_halt(halt)
        notice = ModeChanged(
            mode=halt.mode, reason=halt.reason, cause=halt.cause, stands=reduced.mode
        )
        return done(reduced, Persist(Deed.MODE), submit, Notify(notice))
    grace_over = boxed.value.valid_until + channel.timing.void_grace
    if clock.final_time > grace_over and clock.recorded < boxed.nonce:
        return start_dispute(channel, StartDispute())
    return done(channel)


def _unclosed(channel: Channel) -> Step:
    """A co-signed payout not yet mined is sent by either; one that lapsed frees the channel."""
    clock = channel.clock
    alive = channel.ledger.alive(clock)
    payouts = [each for each in alive if not isinstance(each.value, State)]
    if not payouts:
        freed = attrs.evolve(channel, phase=Phase.IDLE, outbox=without_closings(channel.outbox))
        return done(freed, Persist(Deed.CLOSING))
    overdue = [
        each
        for each in payouts
        if each.co_signed and clock.head_time >= each.signed_at + channel.timing.confirm_within
    ]
    return done(channel, *(submit_payout(channel, each) for each in overdue))
