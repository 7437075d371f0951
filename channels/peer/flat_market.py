"""A market of set prices and a maker that quotes around it: to begin with, and to test with.

A desk that trades for money brings a `channels.peer.policy.MarkSource` of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from channels.errors import InvalidValueError
from channels.peer.makers import MakerQuote, QuoteRequest, price_of_one, reversed_legs
from channels.peer.policy import MarkSource
from channels.protocol.changes import Marks, SeriesMark
from channels.protocol.messages import Leg
from channels.protocol.types import Series, feed_id, feed_name
from channels.units import to_wad

__all__ = ["FlatMarket", "SpreadMaker"]

_DEFAULT_VOL: Final = "0.60"


class FlatMarket:
    """Spots that move when they are told to, and one vol and one carry for every series.

    Make ``spots`` and ``vol`` what you like at any time; the next marks are by them.
    """

    def __init__(
        self,
        spots: Mapping[str, str | int],
        *,
        vol: str = _DEFAULT_VOL,
        carry: str = "0",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin with these prices: by feed name, in the feed's currency; vol and carry annual.

        Raises:
            InvalidValueError: a figure that is no decimal number, or a feed name that is none.
        """
        self.spots: dict[bytes, int] = {}
        for name, spot in spots.items():
            self.set_spot(name, spot)
        self.vol = int(to_wad(vol))
        self.carry = int(to_wad(carry))
        self.clock = clock

    def set_spot(self, feed: str, spot: str | int) -> None:
        """Move a feed's spot.

        Raises:
            InvalidValueError: not a positive decimal number.
        """
        price = int(to_wad(spot))
        if price <= 0:
            raise InvalidValueError(f"a spot of {spot} for {feed}")
        self.spots[feed_id(feed)] = price

    def spot(self, feed: str) -> int:
        """Return a feed's spot, WAD.

        Raises:
            InvalidValueError: it has none.
        """
        price = self.spots.get(feed_id(feed))
        if price is None:
            raise InvalidValueError(f"no price for {feed}")
        return price

    def marks(self, series: Iterable[Series]) -> Marks:
        """Marks of now for each of these series.

        Raises:
            InvalidValueError: a series of a feed without a spot.
        """
        wanted = list(series)
        for feed in {each[0] for each in wanted}:
            if feed not in self.spots:
                raise InvalidValueError(f"no price for {feed_name(feed)}")
        return Marks(
            marked_at=int(self.clock()),
            spots=dict(self.spots),
            series=dict.fromkeys(wanted, SeriesMark(vol=self.vol, carry=self.carry)),
        )

    async def settlement_price(self, feed: bytes, expiry: int) -> int | None:
        """The price to settle at: the spot, once ``expiry`` has come. For tests only."""
        return self.spots.get(feed) if expiry <= self.clock() else None


class SpreadMaker:
    """Prices every leg by Black-76 at the market's marks, ``edge`` of vol to its own side."""

    def __init__(self, market: MarkSource, *, edge: str = "0.02", good_for: int = 10) -> None:
        """Quote around ``market``; ``edge`` is annual vol, ``good_for`` seconds."""
        self._market = market
        self._edge = int(to_wad(edge))
        self._good_for = good_for

    async def __call__(self, request: QuoteRequest) -> MakerQuote | None:
        """Name a price for each leg, or one for each way; + quantity: the other buys from us."""
        held = {position.series for position in request.portfolio.positions}
        try:
            marks = self._market.marks({*held, *(leg.series for leg in request.legs)})
        except InvalidValueError:
            return None
        prices = self._prices(request.legs, marks)
        if any(each < 0 for each in prices):
            return None
        reverse = self._prices(reversed_legs(request.legs), marks)
        both = request.both_sides and all(each >= 0 for each in reverse)
        return MakerQuote(
            prices=prices,
            reverse=reverse if both else None,
            marks=marks,
            good_for=self._good_for,
        )

    def _prices(self, legs: tuple[Leg, ...], marks: Marks) -> tuple[int, ...]:
        prices = []
        for leg in legs:
            mark = marks.series[leg.series]
            edge = self._edge if leg.quantity > 0 else -min(self._edge, mark.vol)
            spot, at = marks.spots[leg.feed], marks.marked_at
            one = price_of_one(leg, vol=mark.vol + edge, carry=mark.carry, spot=spot, at=at)
            prices.append(one)
        return tuple(prices)
