"""One request to many makers: the best net price wins, and the others are let go at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import attrs
import trio

from channels.errors import ChannelsError, InvalidValueError, OurError, PeerError, RejectedError
from channels.peer.handle import PeerChannel
from channels.peer.quotes import Quote
from channels.protocol.messages import Leg, Side

__all__ = ["BestPrice", "best_price"]


@attrs.frozen(kw_only=True)
class BestPrice:
    """The best quote, to be taken before it expires, its channel, and what everybody answered.

    ``answers`` are by channel id, in the order asked: the premium we would pay, base units, or why
    there was none in time.
    """

    channel: PeerChannel
    quote: Quote
    answers: Mapping[bytes, int | ChannelsError | None]


async def best_price(
    channels: Sequence[PeerChannel],
    legs: Sequence[Leg],
    side: Side = Side.BUY,
    *,
    ttl: int = 10,
    patience: float | None = None,
    tell_side: bool = False,
) -> BestPrice:
    """Ask all these channels at once, keep the best quote and decline the rest.

    Of equal prices the channel named first wins. A quote that comes too late is declined when it
    comes.

    Args:
        channels: of whichever counterparties; one collateral, so that premiums compare.
        legs: at most 20; + = we buy.
        side: whether we would buy the legs as they stand, or sell them.
        ttl: seconds the quotes should stand.
        patience: seconds to wait for quotes, from now; half of ``ttl`` unless given, which leaves
            the other half to take the best one.
        tell_side: ask for this side only; else makers do not learn which one we mean.

    Raises:
        InvalidValueError: no channel, or channels of several collaterals.
        RejectedError: nobody named a price in time; its ``__cause__`` is a group of the answers.
    """
    if len({each.terms.collateral for each in channels}) != 1:
        raise InvalidValueError("ask channels of one collateral, and at least one of them")
    wait = ttl / 2 if patience is None else patience
    answers: dict[bytes, int | ChannelsError | None] = dict.fromkeys(
        each.channel_id for each in channels
    )
    named: list[tuple[PeerChannel, Quote]] = []
    unusable: list[Quote] = []

    async def ask(channel: PeerChannel) -> None:
        try:
            quotes = await channel.request_quote(legs, side if tell_side else None, ttl=ttl)
        except (PeerError, OurError) as error:
            answers[channel.channel_id] = error
            return
        try:
            quote = quotes.best(side)
        except RejectedError as error:
            answers[channel.channel_id] = error
            unusable.extend(quotes.all[:1])
            return
        answers[channel.channel_id] = quote.premium
        named.append((channel, quote))

    with trio.move_on_after(wait):
        async with trio.open_nursery() as nursery:
            for each in channels:
                nursery.start_soon(ask, each)
    order = {each.channel_id: place for place, each in enumerate(channels)}
    ranked = sorted(named, key=lambda each: (each[1].premium, order[each[0].channel_id]))
    async with trio.open_nursery() as nursery:
        for loser in [*unusable, *(quote for _, quote in ranked[1:])]:
            nursery.start_soon(_let_go, loser)
    if not ranked:
        errors = [each for each in answers.values() if isinstance(each, ChannelsError)]
        cause = ExceptionGroup("what was answered", errors) if errors else None
        raise RejectedError(
            f"none of {len(channels)} named a price within {wait:g} s",
            next_step="ask for a longer time, or for less",
        ) from cause
    channel, quote = ranked[0]
    return BestPrice(channel=channel, quote=quote, answers=answers)


async def _let_go(quote: Quote) -> None:
    with suppress(ChannelsError):  # lapsed, or its channel ended: nobody is bound by it
        await quote.decline()
