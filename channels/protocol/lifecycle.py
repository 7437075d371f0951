"""Handlers of decisions, disputes, the circuit breaker, reconnects and restarts."""

from __future__ import annotations

import attrs

from channels.errors import (
    BadNonceError,
    BadProposalError,
    BadSignatureError,
    IllegalCommandError,
)
from channels.protocol import messages as m
from channels.protocol import recovery
from channels.protocol.answers import (
    accept_change,
    on_confirm,
    reject,
    take_accept,
)
from channels.protocol.channel import OPEN_PHASES, Channel, Phase
from channels.protocol.closing import accept_closing, submit_payout, take_payout
from channels.protocol.codec import MAX_TEXT
from channels.protocol.effects import (
    Deed,
    Effect,
    ModeChanged,
    Notify,
    Persist,
    Send,
    Step,
    done,
)
from channels.protocol.eip712 import digest
from channels.protocol.events import (
    Answer,
    Connected,
    RestoredFromBackup,
    Resume,
    SetMode,
    StartDispute,
)
from channels.protocol.filing import may_file, submit_checkpoint, submit_dispute
from channels.protocol.halts import Cause, Halt, Mode
from channels.protocol.opening import submit_open
from channels.protocol.signing import recover
from channels.protocol.types import Closing, State, Withdrawal, hash_state
from channels.protocol.withdrawing import accept_withdrawal

__all__ = [
    "answer",
    "connected",
    "on_accept",
    "on_accept_in_dispute",
    "on_confirm_in_dispute",
    "on_reestablish",
    "on_restored",
    "resume",
    "set_mode",
    "start_dispute",
    "submit_checkpoint",
    "submit_dispute",
]


def answer(channel: Channel, command: Answer) -> Step:
    """Accept or reject what waits for our decision."""
    entry = channel.ledger.entry(command.nonce)
    if entry is None or entry.theirs is None or entry.mine is not None or entry.declined:
        raise IllegalCommandError(f"nothing waits for a decision at nonce {command.nonce}")
    if not command.accept:
        return reject(channel, command.nonce, command.reason, command.text)
    if isinstance(entry.value, Closing):
        return accept_closing(channel, entry, entry.value)
    if isinstance(entry.value, Withdrawal):
        return accept_withdrawal(channel, entry, entry.value)
    return accept_change(channel, command, entry)


def on_accept(channel: Channel, message: m.Accept) -> Step:
    """The peer accepts our proposal, our Closing or our Withdrawal."""
    entry = channel.ledger.entry(message.nonce)
    if entry is None and message.nonce <= channel.ledger.nonce:
        return done(channel)
    if entry is None or entry.mine is None or not channel.side.leads(message.nonce):
        raise BadNonceError(f"nothing of ours to accept at nonce {message.nonce}")
    if entry.theirs == message.signature:
        return done(channel)
    if isinstance(entry.value, State):
        return take_accept(channel, message, entry)
    return take_payout(channel, message, entry)


def on_accept_in_dispute(channel: Channel, message: m.Accept) -> Step:
    """Take an Accept that came too late to trade on as what it still is: evidence."""
    return _as_evidence(channel, on_accept(channel, message))


def on_confirm_in_dispute(channel: Channel, message: m.Confirm) -> Step:
    """Take a Confirm that came too late to trade on as what it still is: evidence."""
    return _as_evidence(channel, on_confirm(channel, message))


def _as_evidence(channel: Channel, taken: Step) -> Step:
    """Keep what a message brought, stay in dispute, and record the newest state on chain.

    Rule 7 has kept every signature out of ``taken``.
    """
    outcome = taken.finish(())
    after = attrs.evolve(outcome.channel, phase=channel.phase)
    newest = after.newest_evidence()
    effects = list(outcome.effects)
    if newest is not None and newest.state.nonce > channel.clock.recorded:
        effects.append(submit_checkpoint(after, newest))
    return done(after, *effects)


def start_dispute(channel: Channel, command: StartDispute) -> Step:
    """Sign nothing any more, and start the window with the newest state we hold.

    Raises:
        IllegalCommandError: a recovery state of ours, which we cannot file, could still be recorded
            above what we can: **we would owe the stale penalty**.
    """
    del command
    if not may_file(channel):
        raise IllegalCommandError(
            "a recovery state of ours could still be recorded above what we would file",
            next_step="wait until its box has passed in a final block",
        )
    disputing = attrs.evolve(channel, phase=Phase.DISPUTED, dispute_sent=True)
    return done(disputing, Persist(Deed.DISPUTE), submit_dispute(disputing))


def on_restored(channel: Channel, command: RestoredFromBackup) -> Step:
    """Sign nothing until it is known what was signed since the copy was made.

    A channel that was not open in the copy, or no more, recovers once the chain shows it open.
    """
    del command
    if channel.phase in OPEN_PHASES or channel.phase is Phase.RECOVERING:
        return recovery.begin(channel, channel.ledger.nonce)
    return done(recovery.in_doubt(channel), Persist(Deed.RECOVERING))


def set_mode(channel: Channel, command: SetMode) -> Step:
    """Let the circuit breaker, or its operator, decide what may be traded.

    The operator's NORMAL lifts every cause but the kill switch; what still holds comes back when
    the breaker looks again.
    """
    halt = Halt(cause=command.cause, mode=command.mode, reason=command.reason[:MAX_TEXT])
    changed = channel.with_halt(halt)
    if halt.cause is Cause.OPERATOR and halt.mode is Mode.NORMAL:
        changed = attrs.evolve(
            changed, halts=tuple(each for each in channel.halts if each.cause is Cause.KILL_SWITCH)
        )
    if changed.halts == channel.halts:
        return done(channel)
    notice = ModeChanged(mode=halt.mode, reason=halt.reason, cause=halt.cause, stands=changed.mode)
    return done(changed, Persist(Deed.MODE), Notify(notice))


def connected(channel: Channel, command: Connected) -> Step:
    """Tell the peer where we stand."""
    del command
    return done(channel, recovery.standing(channel))


def on_reestablish(channel: Channel, message: m.Reestablish) -> Step:
    """Compare where both stand, and send again what may have been lost."""
    ours, shown = channel.ledger.full.state, message.nonce
    if shown == ours.nonce and message.portfolio_hash != ours.portfolio.struct_hash:
        raise BadProposalError(f"another portfolio at the permanent nonce {shown}")
    if channel.recovery.leads:
        return done(channel)  # whatever it proves, we are asking already
    if shown > channel.ledger.highest_mine and shown > ours.nonce:
        return _recover(channel, message)
    if channel.phase is Phase.RECOVERING:
        return done(channel)  # all that may be lost was sent again when we connected
    outbox = tuple(each for each in channel.outbox if _concerns(each) > shown)
    again = outbox if channel.call_made is None else (*outbox, channel.call_made)
    return done(attrs.evolve(channel, outbox=outbox), *(Send(each) for each in again))


def _recover(channel: Channel, message: m.Reestablish) -> Step:
    """The peer claims a newer permanent state than any we signed: it must show our signature."""
    own = channel.terms.signer(channel.side)
    struct_hash = hash_state(
        message.channel_id, message.nonce, message.valid_until, message.portfolio_hash
    )
    shown = digest(channel.domain.separator, struct_hash)
    permanent = message.valid_until == 0 and message.proof is not None
    if not permanent or message.proof is None or recover(message.proof, shown) != own:
        raise BadSignatureError(f"a permanent nonce {message.nonce} that we never signed")
    return recovery.begin(channel, message.nonce)


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
        case m.WithdrawRequest():
            return message.withdrawal.nonce
        case _:
            return 1


def resume(channel: Channel, command: Resume) -> Step:
    """Ask again for what a crash may have left undone; the keys make asking twice harmless."""
    del command
    effects: list[Effect] = []
    if channel.phase is Phase.SUBMITTED:
        effects.append(submit_open(channel))
    for each in channel.ledger.entries:
        if not isinstance(each.value, State) and each.co_signed:
            effects.append(submit_payout(channel, each))
    return done(channel, *effects)
