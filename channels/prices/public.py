"""Prices for an oracle whose attesters' keys everybody knows: for development chains only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from channels.chain.attestations import (
    Attestation,
    Attester,
    OracleDomain,
    SettlementPrice,
    SpotPrice,
    submission,
)
from channels.chain.jobs import Intent
from channels.chain.oracles import AttestedOracleReader
from channels.chain.plan import TEST_ATTESTERS
from channels.chain.rpc import Rpc
from channels.errors import InvalidValueError
from channels.prices.offers import Offer, offer_of
from channels.protocol.eip712 import Address, checksum
from channels.protocol.signing import LocalSigner

__all__ = ["Market", "TestSource"]

Market = Callable[[bytes], Awaitable[int | None]]
"""The price of a feed now, WAD; None if there is none."""


class TestSource:
    """Signs whatever a market says, in the name of the attesters of a TestOracle.

    Where two traders do so for one oracle and their markets differ, the oracle drops the attesters
    of that time. The price of an hour is the first that this source was asked for.

    Args:
        rpc: tells whether the oracle's attesters are the ones that everybody knows.
        market: has the prices.
    """

    __test__ = False  # its name begins like that of a test

    def __init__(self, rpc: Rpc, market: Market) -> None:
        self._rpc = rpc
        self._market = market
        self._attesters: dict[Address, tuple[Attester, ...]] = {}
        self._settlements: dict[tuple[Address, bytes, int], Intent] = {}

    async def spot(self, oracle: Address, feed: bytes, time: int) -> Offer | None:
        """The market's price now, as of ``time``.

        Raises:
            InvalidValueError: the oracle is no TestOracle.
            EndpointError: no answer.
        """
        price = await self._market(feed)
        if price is None:
            return None
        return offer_of(
            oracle, await self._attest(oracle, SpotPrice(feed=feed, time=time, price=price))
        )

    async def settlement(self, oracle: Address, feed: bytes, time: int) -> Intent | None:
        """The market's price now, as of ``time``. Raises as `spot`."""
        key = (oracle, feed, time)
        if key not in self._settlements:
            price = await self._market(feed)
            if price is None:
                return None
            told = SettlementPrice(feed=feed, time=time, price=price)
            self._settlements[key] = submission(oracle, await self._attest(oracle, told))
        return self._settlements[key]

    async def _attest(
        self, oracle: Address, price: SpotPrice | SettlementPrice
    ) -> list[Attestation]:
        if oracle not in self._attesters:
            reader = AttestedOracleReader(self._rpc, oracle)
            if set(await reader.attesters()) != {
                LocalSigner(each).address for each in TEST_ATTESTERS
            }:
                raise InvalidValueError(
                    f"{checksum(oracle)} is no test oracle: its attesters have keys of their own",
                    next_step="take test out of [prices], and name attesters there",
                )
            domain = OracleDomain(chain_id=await self._rpc.chain_id(), oracle=oracle)
            self._attesters[oracle] = tuple(Attester(each, domain) for each in TEST_ATTESTERS)
        return [each.attest(price) for each in self._attesters[oracle]]
