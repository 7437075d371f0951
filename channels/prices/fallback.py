"""Prices for a FallbackOracle: brought to one of its two oracles, then recorded from there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import attrs

from channels.chain.contracts import OracleReader, PriceStatus
from channels.chain.jobs import Intent
from channels.chain.oracles import FallbackOracleReader, record_known_price
from channels.chain.rpc import Rpc
from channels.errors import ChannelsError
from channels.prices.offers import Offer, Source
from channels.protocol.eip712 import Address

__all__ = ["FallbackSource"]

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class _Sides:
    primary: Address
    secondary: Address
    delay: int


class FallbackSource:
    """Prices for FallbackOracles of one chain.

    Args:
        rpc: tells which oracles stand behind, and what they know.
        sources: has the prices of those.
    """

    def __init__(self, rpc: Rpc, sources: Source) -> None:
        self._rpc = rpc
        self._sources = sources
        self._sides: dict[Address, _Sides] = {}

    async def spot(self, oracle: Address, feed: bytes, time: int) -> Offer | None:
        """The primary's spot, else the secondary's.

        Raises:
            ChannelsError: neither source answers.
        """
        sides = await self._behind(oracle)
        return await _first(
            partial(self._sources.spot, sides.primary, feed, time),
            partial(self._sources.spot, sides.secondary, feed, time),
        )

    async def settlement(self, oracle: Address, feed: bytes, time: int) -> Intent | None:
        """The recording, if either oracle knows the price that counts; else what tells one of them.

        Until its delay is over the secondary's price does not count, and is not asked for. From
        then on it is brought first: whoever waited that long had nothing from the primary.

        Raises:
            ChannelsError: the chain does not answer, or neither source does.
        """
        sides = await self._behind(oracle)
        if await self._knows(sides.primary, feed, time):
            return record_known_price(oracle, feed, time)
        head = await self._rpc.block("latest")
        if head is None or head.timestamp < time + sides.delay:
            return await self._sources.settlement(sides.primary, feed, time)
        if await self._knows(sides.secondary, feed, time):
            return record_known_price(oracle, feed, time)
        return await _first(
            partial(self._sources.settlement, sides.secondary, feed, time),
            partial(self._sources.settlement, sides.primary, feed, time),
        )

    async def _behind(self, oracle: Address) -> _Sides:
        if oracle not in self._sides:
            reader = FallbackOracleReader(self._rpc, oracle)
            self._sides[oracle] = _Sides(
                primary=await reader.primary(),
                secondary=await reader.secondary(),
                delay=await reader.delay(),
            )
        return self._sides[oracle]

    async def _knows(self, oracle: Address, feed: bytes, time: int) -> bool:
        found = await OracleReader(self._rpc, oracle).settlement_price(feed, time)
        return found.status is PriceStatus.KNOWN


async def _first(*asking: Callable[[], Awaitable[T | None]]) -> T | None:
    """What the first of several has, else the next; an error counts only if all of them fail."""
    troubles: list[ChannelsError] = []
    for ask in asking:
        try:
            found = await ask()
        except ChannelsError as error:
            troubles.append(error)
        else:
            if found is not None:
                return found
    if len(troubles) == len(asking):
        raise troubles[-1]
    return None
