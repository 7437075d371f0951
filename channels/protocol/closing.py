"""Handlers of a cooperative end: a Closing that both sign, and either may send to the chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from channels.errors import (
    BadNonceError,
    BadProposalError,
    IllegalCommandError,
    InvalidValueError,
    SigningRefusedError,
    UnexpectedMessageError,
)
from channels.protocol import messages as m
from channels.protocol import rules
from channels.protocol.answers import reject
from channels.protocol.calls import Close, Withdraw
from channels.protocol.channel import Channel, Phase
from channels.protocol.effects import (
    CloseRequested,
    Deed,
    Notify,
    Outcome,
    Persist,
    Send,
    Step,
    Submit,
    done,
)
from channels.protocol.events import RequestClose
from channels.protocol.ledger import Entry
from channels.protocol.rules import Candidate
from channels.protocol.signing import Signature, check_signature
from channels.protocol.types import Closing, Party, State, Withdrawal

__all__ = [
    "Objection",
    "accept_closing",
    "bind_payout",
    "hear_payout",
    "on_close_request",
    "request_close",
    "submit_payout",
    "take_payout",
    "without_closings",
]

CLOSING_BOX: Final = 3_600
"""The contract accepts a Closing at most an hour ahead."""

Objection = tuple[m.Reason, str]
"""Why the peer's Closing or Withdrawal is rejected, for its Reject."""


def request_close(channel: Channel, command: RequestClose) -> Step:
    """Sign a Closing first, under the cash that stands."""
    del command
    if channel.portfolio.positions:
        raise IllegalCommandError(
            "positions are open", next_step="unwind them, or let them settle, then close"
        )
    closing = Closing(
        channel_id=channel.channel_id,
        nonce=channel.side.next_nonce(channel.ledger.highest_seen),
        valid_until=channel.clock.head_time + CLOSING_BOX,
        net_to_b=channel.portfolio.net_to_b,
    )
    _check_closing_pays(channel, closing)
    rules.check(Candidate(value=closing), channel.circumstances)

    entry = Entry(value=closing, signed_at=channel.clock.head_time)
    return bind_payout(
        channel,
        entry,
        lambda signature: m.CloseRequest(
            channel_id=channel.channel_id, closing=closing, signature=signature
        ),
    )


def bind_payout(channel: Channel, entry: Entry, message: Callable[[Signature], m.Message]) -> Step:
    """Sign a Closing or a Withdrawal, first or second, and send ``message`` of the signature."""

    def finish(signatures: tuple[Signature, ...]) -> Outcome:
        signed = attrs.evolve(entry, mine=signatures[0])
        sent = message(signatures[0])
        after = attrs.evolve(
            channel,
            phase=Phase.CLOSING,
            ledger=channel.ledger.with_entry(signed),
            outbox=(*channel.outbox, sent),
        )
        return Outcome(after, (Persist(Deed.CLOSING, (signed,)), Send(sent)))

    return Step((channel.signable(entry.value),), finish)


def _check_closing_pays(channel: Channel, closing: Closing) -> None:
    """The contract refuses a Closing that would need the clamp."""
    a = channel.contribution(Party.A) - closing.net_to_b
    b = channel.contribution(Party.B) + closing.net_to_b
    if a < 0 or b < 0:
        raise InvalidValueError(f"the Closing would pay A {a} and B {b}")


def on_close_request(channel: Channel, message: m.CloseRequest) -> Step:
    """Check a Closing and hand it to its decider."""
    closing = message.closing

    def objection() -> Objection | None:
        if closing.net_to_b == channel.portfolio.net_to_b and not channel.portfolio.positions:
            return None
        return m.Reason.INVALID, "a Closing pays the cash that stands, with no position open"

    asked = Notify(CloseRequested(closing=closing))
    return hear_payout(channel, closing, message.signature, objection, asked)


def hear_payout(
    channel: Channel,
    payout: Closing | Withdrawal,
    signature: Signature,
    objection: Callable[[], Objection | None],
    asked: Notify,
) -> Step:
    """Check the peer's Closing or Withdrawal: hand it to its decider, or reject it.

    ``objection`` is asked once the signature is the peer's.

    Raises:
        BadNonceError: the nonce is taken, not the peer's, or too far ahead.
        BadProposalError: unboxed, or of another channel.
        BadSignatureError: not the peer's signature.
    """
    name, nonce, other = type(payout).__name__, payout.nonce, channel.side.other
    known = channel.ledger.entry(nonce)
    if nonce <= channel.ledger.nonce or (known is not None and known.theirs == signature):
        return done(channel)
    limit = channel.ledger.nonce + channel.terms.max_in_flight - 2
    if known is not None or not other.leads(nonce) or nonce > limit:
        raise BadNonceError(
            f"no {name} of party {other.name} at nonce {nonce}; allowed is up to {limit}"
        )
    if payout.valid_until == 0:
        raise BadProposalError(f"a {name} until 0: it must be boxed")
    if payout.channel_id != channel.channel_id:
        raise BadProposalError(f"a {name} of another channel")
    check_signature(signature, channel.signable(payout), channel.terms.signer(other))
    seen = attrs.evolve(
        channel, ledger=channel.ledger.with_entry(Entry(value=payout, theirs=signature))
    )
    if channel.phase is Phase.ACCEPTED:
        # Nobody's fault: its proposal lapsed before it heard our Accept.
        return reject(seen, nonce, m.Reason.BUSY, "our Accept waits for its Confirm")
    found = objection()
    if found is not None:
        return reject(seen, nonce, *found)
    return done(attrs.evolve(seen, phase=Phase.RECEIVED), asked)


def accept_closing(channel: Channel, entry: Entry, closing: Closing) -> Step:
    """Countersign the peer's Closing: from here on nothing else is signed until it lapses."""
    _check_closing_pays(channel, closing)
    latest = channel.clock.head_time + CLOSING_BOX + 2 * channel.timing.slot
    if closing.valid_until > latest:
        raise SigningRefusedError(f"a Closing until {closing.valid_until}; allowed up to {latest}")
    rules.check(Candidate(value=closing), channel.circumstances)

    return bind_payout(
        channel,
        attrs.evolve(entry, signed_at=channel.clock.head_time),
        lambda signature: m.Accept(
            channel_id=channel.channel_id,
            nonce=closing.nonce,
            signature=signature,
            affirmation_nonce=0,
            affirmation=None,
        ),
    )


def without_closings(outbox: tuple[m.Message, ...]) -> tuple[m.Message, ...]:
    """What is still to be sent again once a payout is settled: a Confirm before it may be lost."""

    def ends(message: m.Message) -> bool:
        if isinstance(message, m.Accept):
            return message.affirmation is None
        return isinstance(message, m.CloseRequest | m.WithdrawRequest)

    return tuple(each for each in outbox if not ends(each))


def submit_payout(channel: Channel, entry: Entry) -> Submit:
    """The call that pays out under a co-signed Closing or Withdrawal."""
    value, mine, theirs = entry.value, entry.mine, entry.theirs
    if isinstance(value, State) or mine is None or theirs is None:
        raise UnexpectedMessageError("what is to pay out is not signed by both")
    a, b = (mine, theirs) if channel.side is Party.A else (theirs, mine)
    nonce = value.nonce.to_bytes(8, "big")
    if isinstance(value, Closing):
        close = Close(terms=channel.terms, closing=value, signature_a=a, signature_b=b)
        return Submit(close, b"close" + channel.channel_id + nonce)
    withdraw = Withdraw(terms=channel.terms, withdrawal=value, signature_a=a, signature_b=b)
    return Submit(withdraw, b"withdraw" + channel.channel_id + nonce)


def take_payout(channel: Channel, message: m.Accept, entry: Entry) -> Step:
    """Take the second signature on our Closing or Withdrawal, and send it to the chain."""
    other = channel.side.other
    check_signature(message.signature, channel.signable(entry.value), channel.terms.signer(other))
    full = attrs.evolve(entry, theirs=message.signature)
    after = attrs.evolve(
        channel,
        ledger=channel.ledger.with_entry(full),
        outbox=without_closings(channel.outbox),
    )
    return done(after, Persist(Deed.CLOSING, (full,)), submit_payout(after, full))
