"""Handlers of the recovery state: F's portfolio signed again, boxed and far above all else.

Source: design, protocol.md "Durability" 4; the clauses of `channels.protocol.rules` on it.
"""

from __future__ import annotations

import attrs

from channels.errors import BadNonceError, SigningRefusedError
from channels.protocol import messages as m
from channels.protocol import rules
from channels.protocol.channel import Channel, Phase
from channels.protocol.effects import Deed, Outcome, Persist, Send, Step, done
from channels.protocol.filing import submit_checkpoint
from channels.protocol.ledger import LEAP, Entry
from channels.protocol.recovery import entered, standing
from channels.protocol.rules import Candidate
from channels.protocol.signing import Signature, check_signature
from channels.protocol.types import State

__all__ = ["attempt", "on_recover", "on_recover_accept"]


def attempt(channel: Channel) -> Step | None:
    """Sign the recovery state first; None as long as that is not due, or the rules forbid it.

    Not before what we may have signed before the loss, and forgotten, has died with its box. Its
    nonce grows with the chain's time: one of before another loss, which only the peer remembers and
    may not tell, was lower.
    """
    recovery, clock, timing = channel.recovery, channel.clock, channel.timing
    heard = recovery.leads and recovery.heard_peer and recovery.heard_sources
    if not heard or not channel.risk:
        return None
    if clock.final_time <= recovery.since + timing.box + 2 * timing.slot:
        return None
    ledger = channel.ledger
    seen = max(ledger.highest_seen, recovery.seen)
    above = max(seen, ledger.nonce + LEAP + clock.head_time)
    state = State(
        channel_id=channel.channel_id,
        nonce=channel.side.next_nonce(above),
        valid_until=clock.head_time + timing.box,
        portfolio=channel.portfolio,
    )
    if clock.recorded > ledger.nonce or not _may_sign(channel, state):
        return None

    def finish(signatures: tuple[Signature, ...]) -> Outcome:
        entry = Entry(value=state, mine=signatures[0], signed_at=clock.head_time)
        message = _announced(channel, entry, signatures[0])
        after = attrs.evolve(
            channel,
            ledger=ledger.with_entry(entry),
            # What we hear next answers this state; before another one the peer is asked again.
            recovery=attrs.evolve(recovery, heard_peer=False),
            outbox=(message,),
        )
        return Outcome(after, (Persist(Deed.RECOVERING, (entry,)), Send(message)))

    return Step((channel.signable(state),), finish)


def _announced(channel: Channel, entry: Entry, signature: Signature) -> m.Recover:
    return m.Recover(
        channel_id=channel.channel_id,
        nonce=entry.nonce,
        valid_until=entry.value.valid_until,
        portfolio_hash=channel.portfolio.struct_hash,
        signature=signature,
    )


def _may_sign(channel: Channel, state: State) -> bool:
    try:
        rules.check(Candidate(value=state, recovers=True), channel.circumstances)
    except SigningRefusedError:
        return False
    return True


def on_recover(channel: Channel, message: m.Recover) -> Step:
    """Countersign the peer's recovery state, if it is our own F again and nothing else can pass.

    What we cannot sign now gets no answer: its box passes, and the peer asks again.
    """
    ledger, other = channel.ledger, channel.side.other
    known = ledger.entry(message.nonce)
    if message.nonce <= ledger.nonce:
        return done(channel)
    if known is not None and ledger.recovers(known) and known.mine is not None:
        return done(channel, _accepted(channel, known.nonce, known.mine))
    if not other.leads(message.nonce):
        raise BadNonceError(f"party {other.name} does not sign first at nonce {message.nonce}")
    if message.portfolio_hash != channel.portfolio.struct_hash:
        return done(channel, standing(channel))
    state = State(
        channel_id=channel.channel_id,
        nonce=message.nonce,
        valid_until=message.valid_until,
        portfolio=channel.portfolio,
    )
    check_signature(message.signature, channel.signable(state), channel.terms.signer(other))
    staying = channel if channel.phase is Phase.RECOVERING else entered(channel)
    if staying is None or not _in_time(channel, state) or not _may_sign(staying, state):
        return done(channel)
    if not _knows_its_newest(staying):
        return done(channel)

    def finish(signatures: tuple[Signature, ...]) -> Outcome:
        entry = Entry(
            value=state,
            mine=signatures[0],
            theirs=message.signature,
            signed_at=channel.clock.head_time,
        )
        answer = _accepted(channel, state.nonce, signatures[0])
        after = attrs.evolve(
            staying,
            ledger=staying.ledger.with_entry(entry),
            outbox=(*staying.outbox, answer.message),
        )
        return Outcome(after, (Persist(Deed.RECOVERING, (entry,)), answer))

    return Step((channel.signable(state),), finish)


def _knows_its_newest(channel: Channel) -> bool:
    """Whether we have heard everybody since our data was in doubt; true if it is not."""
    recovery = channel.recovery
    signed = any(each.signed_at >= recovery.since for each in channel.ledger.recovery_states())
    return not recovery.leads or (recovery.heard_sources and (recovery.heard_peer or signed))


def _accepted(channel: Channel, nonce: int, signature: Signature) -> Send:
    answer = m.RecoverAccept(channel_id=channel.channel_id, nonce=nonce, signature=signature)
    return Send(answer)


def _in_time(channel: Channel, state: State) -> bool:
    """Whether enough of the box is left, and not more than a box."""
    timing, head_time = channel.timing, channel.clock.head_time
    left = state.valid_until - head_time
    return timing.least_to_accept <= left <= timing.box + 2 * timing.slot


def on_recover_accept(channel: Channel, message: m.RecoverAccept) -> Step:
    """Take the second signature on our recovery state, and put it on chain in its box."""
    entry = channel.ledger.entry(message.nonce)
    if (
        entry is None
        or not channel.ledger.recovers(entry)
        or entry.mine is None
        or entry.theirs is not None
    ):
        return done(channel)  # known, passed, or forgotten with our data
    other = channel.side.other
    check_signature(message.signature, channel.signable(entry.value), channel.terms.signer(other))
    full = attrs.evolve(entry, theirs=message.signature)
    after = attrs.evolve(channel, ledger=channel.ledger.with_entry(full), outbox=())
    evidence = after.newest_evidence()
    submit = []
    if evidence is not None and evidence.state.nonce == full.nonce:
        submit.append(submit_checkpoint(after, evidence))
    return done(after, Persist(Deed.RECOVERING, (full,)), *submit)
