"""Settlement prices of a ChainlinkOracle: the rounds that prove one, and the call that records it.

There is no spot to bring: a ChainlinkOracle reads the feed itself.
"""

from __future__ import annotations

from channels.chain.chainlink_rounds import find_rounds
from channels.chain.jobs import Intent
from channels.chain.oracles import record_settlement
from channels.chain.rpc import Rpc
from channels.errors import InvalidValueError
from channels.prices.offers import Offer
from channels.protocol.eip712 import Address

__all__ = ["ChainlinkSource"]


class ChainlinkSource:
    """Prices for ChainlinkOracles of one chain, found by reading their feeds over ``rpc``."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
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
            try:
                rounds = await find_rounds(self._rpc, oracle, feed, time)
            except InvalidValueError:
                return None
            self._settlements[key] = record_settlement(oracle, feed, time, rounds)
        return self._settlements[key]
