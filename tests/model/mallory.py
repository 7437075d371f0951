"""What a hostile peer may say: anything its own key can sign, over the game's small alphabet.

It knows all that the other ever signed, is never bound by what it said, and may say it again.
"""

from __future__ import annotations

from collections.abc import Iterator

from channels.errors import InvalidValueError, MarginError
from channels.protocol import messages as m
from channels.protocol.changes import apply
from channels.protocol.channel import Channel
from channels.protocol.signing import Signature
from channels.protocol.types import Closing, Party, Portfolio, State
from tests.model.alphabet import TIMES, draft
from tests.model.machines import Machines
from tests.model.machines import Signature as Signed
from tests.model.stand_ins import signed_by

__all__ = ["described", "words"]


def words(
    machines: Machines,
    heard_by: Channel,
    signed: frozenset[Signed],
    changes: tuple[str, ...],
    quote: tuple[str, ...],
) -> Iterator[m.Message]:
    """Every message worth trying on the machine ``heard_by``, which ``signed`` all this."""
    if heard_by.head is None:
        return
    me = heard_by.side.other
    values = [machines.values[number] for number in sorted({each.value for each in signed})]
    low = me.next_nonce(heard_by.ledger.nonce)
    next_free = me.next_nonce(heard_by.ledger.highest_seen)
    nonces = sorted({low, next_free, next_free + 2})
    yield from _proposals(machines, heard_by, me, nonces, changes, quote)
    for value in values:
        yield from _answers(heard_by, me, value, nonces)
    for value in values:
        proof = signed_by(me.other, value)
        for nonce in sorted({value.nonce, next_free}):
            yield m.Reestablish(
                channel_id=heard_by.channel_id,
                nonce=nonce,
                valid_until=0,
                portfolio_hash=heard_by.portfolio.struct_hash,
                proof=proof,
            )
    for nonce in nonces:
        for portfolio in dict.fromkeys([heard_by.portfolio, *_portfolios(values)]):
            yield m.Void(
                channel_id=heard_by.channel_id,
                nonce=nonce,
                signature=_permanent(heard_by, me, nonce, portfolio),
            )
        closing = Closing(
            channel_id=heard_by.channel_id,
            nonce=nonce,
            valid_until=heard_by.head.timestamp + 3_600,
            net_to_b=heard_by.portfolio.net_to_b,
        )
        yield m.CloseRequest(
            channel_id=heard_by.channel_id, closing=closing, signature=signed_by(me, closing)
        )


def described(message: m.Message) -> str:
    """A message in a trace: its kind and its nonces."""
    kind = type(message).__name__
    match message:
        case m.Propose():
            return f"{kind} {message.proposal.nonce}"
        case m.Quote():
            return f"{kind} {', '.join(str(side.nonce) for side in message.sides)}"
        case m.Accept():
            return f"{kind} {message.nonce}, affirmed at {message.affirmation_nonce}"
        case m.Reject():
            return f"{kind} {message.nonce}, voided at {message.void_nonce}"
        case m.CloseRequest():
            return f"{kind} {message.closing.nonce}"
        case m.Confirm() | m.Void() | m.Reestablish():
            return f"{kind} {message.nonce}"
        case _:
            return kind


def _portfolios(values: list[State | Closing]) -> list[Portfolio]:
    return [value.portfolio for value in values if isinstance(value, State)]


def _permanent(heard_by: Channel, me: Party, nonce: int, portfolio: Portfolio) -> Signature:
    state = State(channel_id=heard_by.channel_id, nonce=nonce, portfolio=portfolio)
    return signed_by(me, state)


def _proposals(
    machines: Machines,
    heard_by: Channel,
    me: Party,
    nonces: list[int],
    changes: tuple[str, ...],
    quote: tuple[str, ...],
) -> Iterator[m.Message]:
    for nonce in nonces:
        for name in changes:
            half = _half_signed(machines, heard_by, me, nonce, name)
            if half is not None:
                yield m.Propose(channel_id=heard_by.channel_id, proposal=half)
        sides = [
            _half_signed(machines, heard_by, me, nonce + 2 * number, name)
            for number, name in enumerate(quote)
        ]
        yield m.Quote(
            channel_id=heard_by.channel_id,
            request_id=bytes([me]) * 16,
            expires_at=0,
            sides=tuple(side for side in sides if side is not None),
        )


def _half_signed(
    machines: Machines, heard_by: Channel, me: Party, nonce: int, name: str
) -> m.HalfSigned | None:
    assert heard_by.head is not None
    base, terms = heard_by.portfolio, heard_by.terms
    made = draft(base, name)
    try:
        portfolio = apply(made.change, base, made.marks, terms.unit, heard_by.margin_model)
    except (InvalidValueError, MarginError):
        return None
    state = State(
        channel_id=heard_by.channel_id,
        nonce=nonce,
        valid_until=heard_by.head.timestamp + TIMES.box,
        portfolio=portfolio,
    )
    return m.HalfSigned(
        nonce=nonce,
        valid_until=state.valid_until,
        change=made.change,
        portfolio=portfolio,
        signature=signed_by(me, state),
    )


def _answers(
    heard_by: Channel, me: Party, value: State | Closing, nonces: list[int]
) -> Iterator[m.Message]:
    """To one thing the other signed: Accept, Confirm, and Reject with and without a void."""
    identity, nonce = heard_by.channel_id, value.nonce
    if isinstance(value, State) and value.permanent:
        yield m.Confirm(channel_id=identity, nonce=nonce, signature=signed_by(me, value))
        return
    if me.leads(nonce):
        return
    if isinstance(value, Closing):
        yield m.Accept(
            channel_id=identity,
            nonce=nonce,
            signature=signed_by(me, value),
            affirmation_nonce=0,
            affirmation=None,
        )
        return
    yield m.Reject(
        channel_id=identity,
        nonce=nonce,
        reason=m.Reason.PRICE,
        text="",
        void_nonce=0,
        void=None,
    )
    for later in nonces:
        yield m.Accept(
            channel_id=identity,
            nonce=nonce,
            signature=signed_by(me, value),
            affirmation_nonce=later,
            affirmation=_permanent(heard_by, me, later, value.portfolio),
        )
        yield m.Reject(
            channel_id=identity,
            nonce=nonce,
            reason=m.Reason.PRICE,
            text="",
            void_nonce=later,
            void=_permanent(heard_by, me, later, heard_by.portfolio),
        )
