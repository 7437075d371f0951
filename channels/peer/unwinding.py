"""Which legs take positions off: all of them, or those whose payoffs cancel within a channel."""

from __future__ import annotations

from collections.abc import Iterable

from channels.errors import InvalidValueError
from channels.pricing import Kind
from channels.protocol.changes import MAX_LEGS
from channels.protocol.messages import Leg
from channels.protocol.types import Party, Portfolio, Position, Series

__all__ = ["compression_legs", "in_trades", "unwind_legs"]


def unwind_legs(
    portfolio: Portfolio, side: Party, now: int, series: Iterable[Series] | None = None
) -> list[Leg]:
    """The legs, seen from ``side``, that close these series; None: all that has not expired.

    Raises:
        InvalidValueError: a series that is not open, or has expired: it is settled, not traded.
    """
    live = {each.series: each for each in portfolio.positions if each.expiry > now}
    wanted = list(live) if series is None else list(series)
    for each in wanted:
        if each not in live:
            raise InvalidValueError(f"no live position of strike {each[3]}, expiry {each[1]}")
    return [_leg(live[each], -side.sign * live[each].quantity) for each in wanted]


def compression_legs(portfolio: Portfolio, side: Party, now: int) -> list[Leg]:
    """The legs that turn calls against puts of one strike and expiry into forwards.

    Positions of one series net by themselves. What is left to compress within a channel is put-call
    parity: long a call and short a put of one strike pay S - K, whatever S is, which is a forward
    struck at K. The legs pay nothing together at any price, so that they trade at a premium of 0.
    """
    live = {each.series: each for each in portfolio.positions if each.expiry > now}
    legs = []
    for (feed, expiry, kind, strike), call in live.items():
        put = live.get((feed, expiry, int(Kind.PUT), strike))
        if kind != Kind.CALL or put is None or (call.quantity > 0) == (put.quantity > 0):
            continue
        least = min(abs(call.quantity), abs(put.quantity))
        forward = side.sign * (least if call.quantity > 0 else -least)
        legs.append(_leg(call, -forward))
        legs.append(_leg(put, forward))
        legs.append(
            Leg(feed=feed, kind=Kind.FORWARD, expiry=expiry, strike=strike, quantity=forward)
        )
    return legs


def in_trades(legs: list[Leg], *, at_once: int = MAX_LEGS) -> list[list[Leg]]:
    """The legs in as few trades as hold them, ``at_once`` or fewer a trade."""
    return [legs[start : start + at_once] for start in range(0, len(legs), at_once)]


def _leg(position: Position, quantity: int) -> Leg:
    return Leg(
        feed=position.feed,
        kind=Kind(position.kind),
        expiry=position.expiry,
        strike=position.strike,
        quantity=quantity,
    )
