"""What a source of prices gives: the value every source makes, and the port all of them are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs

from channels.chain.attestations import Attestation, SpotPrice, submission
from channels.chain.jobs import Intent
from channels.errors import InvalidValueError
from channels.protocol.eip712 import Address

__all__ = ["Offer", "Source", "SourceByOracle", "median", "offer_of"]


@attrs.frozen(kw_only=True)
class Offer:
    """A signed spot, WAD, as the oracle will tell it, and the transaction that brings it there."""

    price: int
    observed_at: int
    intent: Intent


class Source(Protocol):
    """A source of prices that an oracle is given only when somebody needs them.

    What a monitor takes as ``prices``. Methods raise `channels.errors.ChannelsError` alone.
    """

    async def spot(self, oracle: Address, feed: bytes, time: int) -> Offer | None:
        """The newest spot of ``feed`` observed at ``time`` or before; None if there is none."""

    async def settlement(self, oracle: Address, feed: bytes, time: int) -> Intent | None:
        """The next transaction towards the settlement price of ``feed`` at ``time``, if any."""


def median(prices: Sequence[int]) -> int:
    """The median as an AttestedOracle computes it: of an even number the middle two's mean, down.

    Raises:
        InvalidValueError: there is no price.

    >>> median([3, 1, 4, 8])
    3
    """
    if not prices:
        raise InvalidValueError("no price has no median")
    ordered, middle = sorted(prices), len(prices) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) // 2


def offer_of(oracle: Address, attestations: Sequence[Attestation]) -> Offer:
    """The offer that attested spots of one feed and time make.

    Raises:
        InvalidValueError: none, not spots, or of different feeds or times.
    """
    intent = submission(oracle, attestations)
    first = attestations[0].price
    if not isinstance(first, SpotPrice):
        raise InvalidValueError("a settlement price is no spot")
    return Offer(
        price=median([each.price.price for each in attestations]),
        observed_at=first.time,
        intent=intent,
    )


@attrs.frozen
class SourceByOracle:
    """Several sources as one, each for its oracle; of any other oracle there is no price."""

    sources: Mapping[Address, Source]

    async def spot(self, oracle: Address, feed: bytes, time: int) -> Offer | None:
        """As the oracle's own source."""
        source = self.sources.get(oracle)
        return None if source is None else await source.spot(oracle, feed, time)

    async def settlement(self, oracle: Address, feed: bytes, time: int) -> Intent | None:
        """As the oracle's own source."""
        source = self.sources.get(oracle)
        return None if source is None else await source.settlement(oracle, feed, time)
