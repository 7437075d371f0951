"""Marks from a fitted surface, and marks dated by a trader's own clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import attrs

from channels.errors import InvalidValueError
from channels.peer.policy import MarkSource
from channels.pricing.surface import Surface
from channels.protocol.changes import Marks, SeriesMark
from channels.protocol.types import Series, feed_id, feed_name
from channels.units import WAD, to_wad

__all__ = ["SurfaceMarket", "TimedMarket"]

_LEAST_VOL: Final = WAD // 100
_DIGITS: Final = 6
"""Decimals of a vol or carry read from a surface: finer than any fit, the same for all readers."""


class SurfaceMarket:
    """Spot, vols and carries of one feed as ``surface`` has them; put another one in its place.

    What is signed are the integers that come out, so two sides that fit the same quotes mark alike.
    """

    def __init__(self, feed: str, surface: Surface) -> None:
        self.feed = feed
        self.surface = surface

    def marks(self, series: Iterable[Series]) -> Marks:
        """Marks of each of these series, as of the surface's own time.

        Raises:
            InvalidValueError: a series of another feed.
        """
        ours = feed_id(self.feed)
        found = {}
        for each in series:
            feed, expiry, _, strike = each
            if feed != ours:
                raise InvalidValueError(f"no surface for {feed_name(feed)}")
            vol = to_wad(round(self.surface.volatility(strike / WAD, expiry), _DIGITS))
            carry = to_wad(round(self.surface.carry.carry(expiry), _DIGITS))
            found[each] = SeriesMark(vol=max(int(vol), _LEAST_VOL), carry=int(carry))
        spot = int(to_wad(round(self.surface.spot, _DIGITS)))
        return Marks(marked_at=self.surface.at, spots={ours: spot}, series=found)


@attrs.frozen
class TimedMarket:
    """The marks of another source, dated by this clock: for a market that stands between moves."""

    source: MarkSource
    clock: Callable[[], float]

    def marks(self, series: Iterable[Series]) -> Marks:
        """Marks of now for each of these series.

        Raises:
            InvalidValueError: the source has no price for one of them.
        """
        return attrs.evolve(self.source.marks(series), marked_at=int(self.clock()))
