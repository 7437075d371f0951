"""What a peer says before it knows how the channel stands, or after: in good faith, and no fault.

It saw no dispute yet when it said it, or does not know that one of the two is recovering. Nothing
of it is signed or remembered: it is as good as lost on its way. Where an answer spares the peer a
wait, it gets one.
"""

from __future__ import annotations

from channels.protocol import messages as m
from channels.protocol.channel import Channel, Phase
from channels.protocol.effects import Send, Step, done

__all__ = ["not_now"]


def not_now(channel: Channel, message: m.Message) -> Step:
    """Turn down what is proposed or asked, without a void; say nothing to anything else."""
    reason, text = m.Reason.NOT_OPEN, f"the channel is {channel.phase.name}"
    if channel.phase is Phase.RECOVERING:
        reason, text = m.Reason.BUSY, "recovering"
    match message:
        case m.RequestForQuote():
            no_price = m.QuoteReject(
                channel_id=channel.channel_id,
                request_id=message.request_id,
                reason=reason,
                text=text,
            )
            return done(channel, Send(no_price))
        case m.Propose():
            nonce = message.proposal.nonce
        case m.Quote():
            nonce = message.sides[0].nonce
        case m.CloseRequest():
            nonce = message.closing.nonce
        case m.WithdrawRequest():
            nonce = message.withdrawal.nonce
        case _:
            return done(channel)
    entry = channel.ledger.entry(nonce)
    if nonce <= channel.ledger.nonce or (entry is not None and entry.mine is not None):
        return done(channel)  # said again after a reconnect: we have answered it
    refusal = m.Reject(
        channel_id=channel.channel_id,
        nonce=nonce,
        reason=reason,
        text=text,
        void_nonce=0,
        void=None,
    )
    return done(channel, Send(refusal))
