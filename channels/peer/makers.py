"""Making prices: from a request to a firm quote, or a refusal.

A maker is an async callable. It is shown what the peer wants and answers with a price a leg; the
premium, the new state and its margins follow from those, rounded in the maker's favour.
"""

from __future__ import annotations

from typing import Final, Protocol

import attrs

from channels.errors import InvalidValueError
from channels.pricing import position_price
from channels.protocol.changes import Marks, Trade, TradeLeg
from channels.protocol.events import Draft
from channels.protocol.messages import Leg
from channels.protocol.types import Party, Portfolio, Position
from channels.units import WAD

__all__ = ["Maker", "MakerQuote", "QuoteRequest", "price_of_one", "reversed_legs", "trade_draft"]

MAX_PRICE: Final = (1 << 128) - 1


@attrs.frozen(kw_only=True)
class QuoteRequest:
    """What the peer asks a price for.

    ``legs`` carry the requester's sign (+ = it buys from us). ``both_sides``: it would as well deal
    them the other way round, and does not say which it means. ``portfolio`` is what is open now,
    seen from A; ``side`` is ours.
    """

    channel_id: bytes
    legs: tuple[Leg, ...]
    time_to_live: int
    side: Party
    portfolio: Portfolio
    both_sides: bool = False


@attrs.frozen(kw_only=True)
class MakerQuote:
    """A firm price: WAD a unit for each leg, in the request's order, good for ``good_for`` seconds.

    ``prices`` are for the legs as the request has them, ``reverse`` for dealing them the other way
    round, where both sides were asked; None: one side only. ``marks`` prices every series that
    would be open after the trade. ``least`` is the smallest part we deal in at these prices, WAD:
    whoever asked may take any part from there up. WAD: all or none. A part is not signed yet: we
    are bound to it by our word, until the quote expires or is cancelled.

    Raises:
        InvalidValueError: no time to take it in, or no such part.
    """

    prices: tuple[int, ...]
    marks: Marks
    good_for: int = 10
    reverse: tuple[int, ...] | None = None
    least: int = WAD

    def __attrs_post_init__(self) -> None:
        if self.good_for <= 0:
            raise InvalidValueError(f"a quote good for {self.good_for} s")
        if not 0 < self.least <= WAD:
            raise InvalidValueError(f"a least part of {self.least}; it is above 0, up to {WAD}")


class Maker(Protocol):
    """Names prices."""

    async def __call__(self, request: QuoteRequest) -> MakerQuote | None:
        """A quote, or None for no price."""


def price_of_one(leg: Leg, *, vol: int, carry: int, spot: int, at: int) -> int:
    """Price of one unit of what a leg names, at this vol, carry and spot; all WAD."""
    position = Position(
        feed=leg.feed,
        kind=int(leg.kind),
        expiry=leg.expiry,
        strike=leg.strike,
        quantity=WAD,
        vol=vol,
        carry=carry,
    )
    return position_price(position, spot, at)


def reversed_legs(legs: tuple[Leg, ...]) -> tuple[Leg, ...]:
    """The same legs, dealt the other way round."""
    return tuple(attrs.evolve(leg, quantity=-leg.quantity) for leg in legs)


def trade_draft(
    *,
    trade_id: bytes,
    legs: tuple[Leg, ...],
    prices: tuple[int, ...],
    requester: Party,
    marks: Marks,
    unit: int,
) -> Draft:
    """The trade these prices make, its premium rounded in favour of the side that quotes.

    Raises:
        InvalidValueError: not one price a leg, or one that no trade can hold.
    """
    if len(prices) != len(legs):
        raise InvalidValueError(f"{len(prices)} prices for {len(legs)} legs")
    for price in prices:
        _check_price(price)
    trade_legs = tuple(
        TradeLeg(
            feed=leg.feed,
            kind=leg.kind,
            expiry=leg.expiry,
            strike=leg.strike,
            quantity=requester.sign * leg.quantity,
            price=price,
        )
        for leg, price in zip(legs, prices, strict=True)
    )
    exact = sum(leg.quantity * leg.price for leg in trade_legs) * unit
    scale = WAD * WAD
    quoter_is_b = requester is Party.A
    premium = -(-exact // scale) if quoter_is_b else exact // scale
    return Draft(change=Trade(trade_id=trade_id, premium=premium, legs=trade_legs), marks=marks)


def _check_price(price: object) -> None:
    if not isinstance(price, int) or not 0 <= price <= MAX_PRICE:
        raise InvalidValueError(f"no price: {price}")
