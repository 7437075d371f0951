"""An attester at work: it samples a feed, signs spots on a common grid, and averages into the hour.

Attesters do not talk to one another. They sign for the same times, multiples of ``every``, so that
their signatures come together; where they see different prices the oracle takes the median.

A settlement price is the time-weighted average of the spots signed in the half hour before, the one
that stood at its beginning included, each until the next. An attester that has a gap of over five
minutes there does not sign.

Source: design, adjudication.md "Oracles".
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

import trio

from channels.chain.attestations import Attestation, SettlementPrice, SpotPrice
from channels.errors import ChannelsError
from channels.prices.feeds import PriceFeed
from channels.prices.journal import PriceJournal
from channels.protocol.types import feed_name
from channels.units import HOUR

__all__ = ["AttesterService", "average_price"]

_LOG: Final = logging.getLogger("channels.prices")
_WINDOW: Final = 1_800
"""Seconds that are averaged."""
_MOST_GAP: Final = 300
"""Seconds for which one spot may stand."""
_LATENESS: Final = 10
"""Seconds after a time on the grid in which its price may still be taken."""


def average_price(spots: Iterable[Attestation], end: int) -> int | None:
    """Time-weighted average of spots over the half hour into ``end``, WAD, rounded down.

    None if at some moment of it no spot of the last five minutes stood.
    """
    start = end - _WINDOW
    known = sorted((each.price.time, each.price.price) for each in spots if each.price.time <= end)
    standing = [each for each in known if each[0] <= start][-1:]
    steps = standing + [each for each in known if each[0] > start]
    if not standing:
        return None
    total = 0
    for (since, price), (until, _) in zip(steps, [*steps[1:], (end, 0)], strict=True):
        if until - since > _MOST_GAP:
            return None
        total += price * (until - max(since, start))
    return total // _WINDOW


class AttesterService:
    """Signs the prices of some feeds as their times come.

    Args:
        journal: what is signed goes there.
        prices: has the price of a feed now.
        feeds: ids of the feeds to sign.
        every: seconds between spots; a divisor of 3,600, the same for all attesters of an oracle.
        clock: Unix time.
    """

    def __init__(
        self,
        journal: PriceJournal,
        prices: PriceFeed,
        feeds: Iterable[bytes],
        *,
        every: int = 60,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.journal = journal
        self.feeds = tuple(feeds)
        self._prices = prices
        self._every = every
        self._clock = clock

    async def run(self) -> None:
        """Sign for ever. What fails is logged, and tried again at the next time."""
        while True:
            now = self._clock()
            await trio.sleep(self._every - now % self._every)
            await self.tick(int(self._clock()))

    async def tick(self, now: int) -> None:
        """Sign what is due at ``now``: a spot of every feed, and the last hour's averages."""
        for feed in self.feeds:
            try:
                await self._tick(feed, now)
            except ChannelsError as error:
                _LOG.warning("%s is not signed at %d: %s", feed_name(feed), now, error)
        await self.journal.prune(now)

    async def _tick(self, feed: bytes, now: int) -> None:
        at = now - now % self._every
        if now - at <= _LATENESS and self.journal.newest_spot(feed) < at:
            price = await self._prices(feed)
            await self.journal.attest(SpotPrice(feed=feed, time=at, price=price))
        hour = now - now % HOUR
        if self.journal.settlement(feed, hour) is None:
            spots = self.journal.spots(feed, before=hour, most=2 * _WINDOW)
            average = average_price(spots, hour)
            if average is not None:
                await self.journal.attest(SettlementPrice(feed=feed, time=hour, price=average))
