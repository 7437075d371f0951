"""Settlement prices of a ChainlinkOracle: the rounds that prove one, and the call that records it.

There is no spot to bring: a ChainlinkOracle reads the feed itself.
"""

from __future__ import annotations

from typing import Final

from channels.chain.abi import selector
from channels.chain.chainlink_rounds import find_rounds
from channels.chain.jobs import Intent
from channels.chain.oracles import record_settlement
from channels.chain.rpc import BlockId, Rpc
from channels.errors import InvalidValueError
from channels.prices.offers import Offer
from channels.protocol.eip712 import Address

__all__ = ["ChainlinkSource"]

_WINDOW: Final = 1_800
"""Seconds that are averaged. What was live at their beginning is older than any reorganisation."""

_ROUND: Final = selector("getRoundData(uint80)")
_UPDATED_AT: Final = slice(96, 128)

Known = dict[tuple[Address, bytes], bytes]
"""Answers by contract and calldata."""


class ChainlinkSource:
    """Prices for ChainlinkOracles of one chain, found by reading their feeds over ``rpc``.

    A search takes a few dozen reads, one after the other. One that is cut short for want of time
    leaves what it has read, so that the next goes further.
    """

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._rounds: Known = {}
        self._settlements: dict[tuple[Address, bytes, int], Intent] = {}

    async def spot(self, oracle: Address, feed: bytes, time: int) -> Offer | None:  # noqa: ARG002
        """None, always."""
        return None

    async def settlement(self, oracle: Address, feed: bytes, time: int) -> Intent | None:
        """The call that records the price; None if no rounds prove one.

        Raises:
            EndpointError: no answer.
        """
        key = (oracle, feed, time)
        if key not in self._settlements:
            reads = _Remembering(self._rpc, self._rounds, before=time - _WINDOW)
            try:
                rounds = await find_rounds(reads, oracle, feed, time)
            except InvalidValueError:
                return None
            self._settlements[key] = record_settlement(oracle, feed, time, rounds)
            self._rounds.clear()
        return self._settlements[key]


class _Remembering(Rpc):
    """Reads a round once, if it was updated at ``before`` or earlier: no other may still change."""

    def __init__(self, rpc: Rpc, known: Known, *, before: int) -> None:
        super().__init__(rpc.provider)
        self._rpc = rpc
        self._known = known
        self._before = before

    async def call(
        self,
        to: Address,
        data: bytes,
        *,
        sender: Address | None = None,
        block: BlockId = "latest",
        gas: int | None = None,
    ) -> bytes:
        """As `Rpc.call`."""
        if (to, data) in self._known:
            return self._known[to, data]
        found = await self._rpc.call(to, data, sender=sender, block=block, gas=gas)
        if data[:4] == _ROUND and 0 < int.from_bytes(found[_UPDATED_AT], "big") <= self._before:
            self._known[to, data] = found
        return found
