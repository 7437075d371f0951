"""The calls that put our newest evidence on chain, and when a dispute would be a stale filing."""

from __future__ import annotations

from channels.protocol.calls import Checkpoint, CoSigned, Dispute
from channels.protocol.channel import Channel
from channels.protocol.effects import Submit

__all__ = ["may_file", "submit_checkpoint", "submit_dispute"]


def submit_checkpoint(channel: Channel, newest: CoSigned) -> Submit:
    """The call that records a state on chain."""
    key = b"checkpoint" + channel.channel_id + newest.state.nonce.to_bytes(8, "big")
    return Submit(Checkpoint(terms=channel.terms, newest=newest), key)


def submit_dispute(channel: Channel) -> Submit:
    """The call that starts the window; with newer evidence a second one acts as a checkpoint."""
    newest = channel.newest_evidence()
    nonce = 0 if newest is None else newest.state.nonce
    call = Dispute(terms=channel.terms, newest=newest)
    return Submit(call, b"dispute" + channel.channel_id + nonce.to_bytes(8, "big"))


def may_file(channel: Channel) -> bool:
    """Whether a dispute now files nothing older than a recovery state the chain could still take.

    A recovery state lies so far above all else that whoever files below it, and sees it recorded
    afterwards, **owes the stale penalty**.
    """
    ledger = channel.ledger
    if channel.head is None:
        return not ledger.recovery_states()
    newest = channel.newest_evidence()
    filed = max(channel.clock.recorded, 0 if newest is None else newest.state.nonce)
    return not any(
        ledger.recovers(each) and each.nonce > filed for each in ledger.alive(channel.clock)
    )
