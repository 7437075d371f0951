"""What an oracle says at one head, and what a source outside the chain has for it.

Each price is asked for once a head, whoever needs it.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, TypeVar

import attrs
import trio

from channels.chain.jobs import Intent
from channels.chain.records import Stage
from channels.dispute.actions import SubmitPrice, SubmitSpot
from channels.dispute.ports import ChainPort, JobsPort, PriceSource
from channels.dispute.runoff import Bucket, PriceFact, PriceStatus
from channels.dispute.shortfall import SpotFact
from channels.errors import ContractRevertedError, EndpointError
from channels.protocol.eip712 import Address
from channels.protocol.facts import Head
from channels.protocol.terms import Terms

__all__ = ["PriceBook"]

T = TypeVar("T")

_SOURCE_PATIENCE: Final = 5.0
"""Seconds for which a source may keep the look at a channel waiting."""


@attrs.frozen(kw_only=True)
class _Offer:
    """A spot that could be brought to the oracle, and how."""

    fact: SpotFact
    intent: Intent


class PriceBook:
    """Prices as of one head.

    Args:
        chain: whose oracles are asked.
        source: has signed prices that an oracle was not given yet; None: nobody does.
    """

    def __init__(self, chain: ChainPort, source: PriceSource | None = None) -> None:
        self._chain = chain
        self._source = source
        self._head = b""
        self._known: dict[tuple[Address, Bucket], PriceFact] = {}
        self._spots: dict[tuple[Address, bytes], SpotFact | None] = {}
        self._offers: dict[tuple[Address, bytes], _Offer | None] = {}

    def _turn_to(self, head: Head) -> None:
        if head.hash != self._head:
            self._head = head.hash
            self._known, self._spots, self._offers = {}, {}, {}

    async def settlement(self, oracle: Address, bucket: Bucket, head: Head) -> PriceFact:
        """What ``oracle`` says at ``head``. One that fails counts as not knowing, as on chain.

        Raises:
            ChainError: the endpoint does not answer.
        """
        self._turn_to(head)
        known = self._known.get((oracle, bucket))
        if known is not None:
            return known
        try:
            answer = await self._chain.oracle(oracle).settlement_price(*bucket, head.hash)
            status, price = PriceStatus(answer.status), answer.price
        except ContractRevertedError:
            status, price = PriceStatus.UNSET, 0
        needs_price = status in (PriceStatus.KNOWN, PriceStatus.LAST_RESORT)
        if needs_price and not 0 < price < 1 << 128:
            status, price = PriceStatus.UNSET, 0
        fact = PriceFact(status=status, price=price if needs_price else 0)
        if head.hash == self._head:
            self._known[oracle, bucket] = fact
        return fact

    async def spot(self, terms: Terms, feed: bytes, head: Head) -> SpotFact | None:
        """The oracle's spot at ``head`` if a margin call would take it, else the one offered.

        None: there is none of either. An oracle that fails has none.

        Raises:
            ChainError: the endpoint or the source does not answer.
        """
        self._turn_to(head)
        oracle, age = terms.oracle, terms.max_price_age
        if (oracle, feed) in self._spots:
            fact = self._spots[oracle, feed]
        else:
            fact = await self._read_spot(oracle, feed, head)
            if head.hash == self._head:
                self._spots[oracle, feed] = fact
        if fact is not None and fact.usable(head.timestamp, age):
            return fact
        offer = await self._offered(oracle, feed, head)
        if offer is not None and offer.fact.usable(head.timestamp, age):
            return offer.fact
        return fact

    async def _read_spot(self, oracle: Address, feed: bytes, head: Head) -> SpotFact | None:
        try:
            answer = await self._chain.oracle(oracle).spot(feed, head.hash)
        except ContractRevertedError:
            return None
        if answer is None:
            return None
        return SpotFact(price=answer.price, observed_at=answer.observed_at)

    async def _offered(self, oracle: Address, feed: bytes, head: Head) -> _Offer | None:
        if (oracle, feed) in self._offers:
            return self._offers[oracle, feed]
        offer = None
        if self._source is not None:
            found = await _asked(self._source.spot(oracle, feed, head.timestamp))
            if found is not None:
                fact = SpotFact(price=found.price, observed_at=found.observed_at, on_chain=False)
                offer = _Offer(fact=fact, intent=found.intent)
        if head.hash == self._head:
            self._offers[oracle, feed] = offer
        return offer

    async def delivery(
        self, oracle: Address, wanted: SubmitPrice | SubmitSpot, head: Head, jobs: JobsPort
    ) -> tuple[bytes, Intent] | None:
        """Key and contents of the job that brings the oracle what is wanted.

        None: nobody offers it, or it is on its way. A price has one key, whoever wants it.

        Raises:
            ChainError: the source does not answer.
        """
        if isinstance(wanted, SubmitSpot):
            offer = await self._offered(oracle, wanted.feed, head)
            if offer is None:
                return None
            key = b"spot" + oracle + wanted.feed + offer.fact.observed_at.to_bytes(8, "big")
            return None if _is_under_way(key, jobs) else (key, offer.intent)
        if self._source is None:
            return None
        feed, time = wanted.bucket
        intent = await _asked(self._source.settlement(oracle, feed, time))
        if intent is None:
            return None
        # By whom it is told: a price may take two steps, as behind a FallbackOracle.
        key = b"price" + (intent.to or oracle) + feed + time.to_bytes(8, "big")
        return None if _is_under_way(key, jobs) else (key, intent)


def _is_under_way(key: bytes, jobs: JobsPort) -> bool:
    job = jobs.job(key)
    return job is not None and job.stage != Stage.FAILED


async def _asked(answer: Awaitable[T]) -> T:
    """What a source says; whatever goes wrong there is an endpoint's trouble."""
    try:
        with trio.fail_after(_SOURCE_PATIENCE):
            return await answer
    except Exception as error:  # somebody else's code: it must not pass for a bug of ours
        raise EndpointError(f"the source of prices does not answer: {error!r}") from error
