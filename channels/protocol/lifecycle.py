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
from channels.protocol.answers import (
    accept_change,
    reject,
    take_accept,
)
from channels.protocol.calls import Dispute
from channels.protocol.channel import Channel, Phase
from channels.protocol.closing import accept_closing, submit_close, take_closing
from channels.protocol.effects import (
    Deed,
    Effect,
    ModeChanged,
    Notify,
    Persist,
    RecoveryNeeded,
    Send,
    Step,
    Submit,
    done,
)
from channels.protocol.events import (
    Answer,
    Connected,
    Resume,
    SetMode,
    StartDispute,
)
from channels.protocol.opening import submit_open
from channels.protocol.signing import Signature, recover
from channels.protocol.types import Closing, State

__all__ = [
    "answer",
    "connected",
    "on_accept",
    "on_reestablish",
    "resume",
    "set_mode",
    "start_dispute",
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
    if isinstance(entry.value, State):
        return take_accept(channel, message, entry)
    return take_closing(channel, message, entry)


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
            effects.append(submit_close(channel, each))
    return done(channel, *effects)
