"""A recovery at each new head: what is final, what is overdue, and when to give up."""

from __future__ import annotations

import attrs

from channels.protocol import messages as m
from channels.protocol.channel import Channel, Phase
from channels.protocol.effects import (
    Deed,
    Notify,
    Persist,
    RecordedOnChain,
    Recovered,
    RecoveryFailed,
    Send,
    Step,
    done,
)
from channels.protocol.filing import may_file, submit_checkpoint, submit_dispute
from channels.protocol.ledger import Entry, Full
from channels.protocol.permanent import resting_phase
from channels.protocol.recovery import begin, request
from channels.protocol.recovery_state import attempt
from channels.protocol.types import State

__all__ = ["on_head"]


def on_head(channel: Channel) -> Step:
    """Take in a head of a chain that shows the channel open, while one of us recovers."""
    clock, recovery = channel.clock, channel.recovery
    if clock.final_recorded > channel.ledger.nonce:
        return _on_final(channel)
    if recovery.leads and recovery.since == 0:
        begun = attrs.evolve(recovery, since=clock.head_time)
        timed = attrs.evolve(channel, recovery=begun)
        return done(timed, Persist(Deed.RECOVERING), request(timed))
    pending = [each for each in channel.ledger.alive(clock) if channel.ledger.recovers(each)]
    if pending:
        return _pending(channel, pending[-1])
    if not recovery.leads:
        return _lead(channel) if _is_bound(channel) else _left(channel)
    if clock.final_time > recovery.since + channel.timing.recovery_time:
        return _give_up(channel)
    signing = attempt(channel)
    if signing is not None:
        return signing
    return done(channel) if recovery.heard_peer else done(channel, request(channel))


def _pending(channel: Channel, entry: Entry) -> Step:
    """Our newest recovery state may still be recorded: see to it, or wait for its second half."""
    clock = channel.clock
    if entry.expired(clock.head_time) or clock.recorded >= entry.nonce:
        return done(channel)
    if not entry.co_signed:
        return done(channel, *(Send(each) for each in channel.outbox))
    evidence = channel.newest_evidence()
    patient = channel.side.other.leads(entry.nonce) and (
        clock.head_time < entry.signed_at + channel.timing.confirm_within
    )
    if patient or evidence is None or evidence.state.nonce != entry.nonce:
        return done(channel)
    return done(channel, submit_checkpoint(channel, evidence))


def _is_bound(channel: Channel) -> bool:
    """Whether a recovery state of ours that lapsed leaves us no nonce to trade with."""
    return channel.ledger.highest_mine > channel.ledger.nonce + channel.terms.max_in_flight


def _lead(channel: Channel) -> Step:
    """The peer's recovery state lapsed with our signature: from now on we ask for another too."""
    recovery = attrs.evolve(channel.recovery, leads=True, heard_peer=False, heard_sources=True)
    leading = attrs.evolve(channel, recovery=recovery, outbox=())
    return done(leading, Persist(Deed.RECOVERING), request(leading))


def _left(channel: Channel) -> Step:
    """The peer that asked has not come back, and nothing of ours binds us: go on as before."""
    if channel.clock.final_time <= channel.recovery.until:
        return done(channel)
    kept = tuple(
        each for each in channel.outbox if not isinstance(each, m.Recover | m.RecoverAccept)
    )
    rested = attrs.evolve(channel, outbox=kept)
    return done(attrs.evolve(rested, phase=resting_phase(rested)), Persist(Deed.RECOVERING))


def _give_up(channel: Channel) -> Step:
    """Dispute on the best known state: nothing of ours that lies above it can be recorded."""
    if not may_file(channel):
        return done(channel)
    disputing = attrs.evolve(channel, phase=Phase.DISPUTED, dispute_sent=True)
    notice = Notify(RecoveryFailed(nonce=max(channel.ledger.nonce, channel.clock.recorded)))
    return done(disputing, Persist(Deed.DISPUTE), submit_dispute(disputing), notice)


def _on_final(channel: Channel) -> Step:
    """What the chain has recorded as final is F; if it is the recovery state, we have recovered."""
    final, before = channel.final_view, channel.ledger
    entry = before.entry(channel.clock.final_recorded)
    if (
        final is None
        or entry is None
        or not isinstance(entry.value, State)
        or entry.value.portfolio_hash != final.portfolio_hash
    ):
        return _unknown_record(channel)
    full = Full(state=entry.value, mine=entry.mine, theirs=entry.theirs)
    raised = attrs.evolve(channel, ledger=before.with_full(full))
    recorded = Notify(RecordedOnChain(nonce=entry.nonce, change=entry.change))
    if not before.recovers(entry):
        return done(raised, Persist(Deed.FULL, (entry,)), recorded)
    voided = tuple(
        each.nonce
        for each in before.entries
        if each.nonce < entry.nonce
        and each.mine is not None
        and isinstance(each.value, State)
        and each.portfolio != entry.portfolio
    )
    told = Notify(Recovered(nonce=entry.nonce, portfolio=raised.portfolio, voided=voided))
    recovery = attrs.evolve(
        channel.recovery, leads=False, since=0, heard_peer=False, heard_sources=False, until=0
    )
    over = attrs.evolve(raised, recovery=recovery, outbox=(), peer_ready=True)
    rested = attrs.evolve(over, phase=resting_phase(over))
    return done(rested, Persist(Deed.FULL, (entry,)), recorded, told)


def _unknown_record(channel: Channel) -> Step:
    """The chain has recorded what we do not know: whoever does is asked for it."""
    recovery = channel.recovery
    if not recovery.leads:
        return begin(channel, channel.clock.final_recorded)
    timeout = recovery.since + channel.timing.recovery_time
    if recovery.since and channel.clock.final_time > timeout:
        return _give_up(channel)
    if recovery.since:
        return done(channel, request(channel))
    begun = attrs.evolve(recovery, since=channel.clock.head_time)
    timed = attrs.evolve(channel, recovery=begun)
    return done(timed, Persist(Deed.RECOVERING), request(timed))
