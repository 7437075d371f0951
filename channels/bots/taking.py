"""Asking several makers at once, and taking the best; taking positions back where they stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import attrs
import trio

from channels.errors import ChannelsError, OurError, PeerTimeoutError, RejectedError
from channels.peer import PeerChannel, Quote
from channels.pricing import Kind
from channels.protocol.changes import MAX_LEGS
from channels.protocol.messages import Leg, Side
from channels.protocol.types import Position

__all__ = ["Offer", "best_quote", "unwind_legs"]

NO_QUOTE: Final = (RejectedError, PeerTimeoutError, OurError)


@attrs.frozen(kw_only=True)
class Offer:
    """The best answer: from which channel, and what every maker that answered would have us pay.

    ``premiums`` are in the order of the channels asked; None: no price, or not in time.
    """

    channel: PeerChannel
    quote: Quote
    premiums: tuple[int | None, ...]


async def best_quote(
    channels: Sequence[PeerChannel], legs: Sequence[Leg], *, ttl: int = 10
) -> Offer | None:
    """Ask the makers of all these channels at once; keep the best quote, and decline the rest.

    None if nobody names a price. Of equal ones the first asked wins.
    """
    found: list[Quote | None] = [None] * len(channels)

    async def ask(place: int) -> None:
        try:
            quotes = await channels[place].request_quote(legs, Side.BUY, ttl=ttl)
            found[place] = quotes.best(Side.BUY)
        except NO_QUOTE:
            found[place] = None

    async with trio.open_nursery() as nursery:
        for place in range(len(channels)):
            nursery.start_soon(ask, place)
    named = [(place, quote) for place, quote in enumerate(found) if quote is not None]
    if not named:
        return None
    place, best = min(named, key=lambda each: each[1].premium)
    for _, quote in named:
        if quote is not best:
            with suppress(ChannelsError):  # lapsed, or its channel ended: nobody is bound by it
                await quote.decline()
    premiums = tuple(None if quote is None else quote.premium for quote in found)
    return Offer(channel=channels[place], quote=best, premiums=premiums)


def unwind_legs(
    channel: PeerChannel, *, only: Callable[[Position], bool] | None = None
) -> tuple[Leg, ...]:
    """Return the legs that take our positions in a channel back, as many as one request holds."""
    return tuple(
        Leg(
            feed=each.feed,
            kind=Kind(each.kind),
            expiry=each.expiry,
            strike=each.strike,
            quantity=-channel.side.sign * each.quantity,
        )
        for each in channel.portfolio.positions
        if only is None or only(each)
    )[:MAX_LEGS]
