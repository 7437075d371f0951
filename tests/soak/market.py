"""The soak's market: the fall of February 2026 as Deribit recorded it, or the demo's own story."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import attrs

from channels.chain import Attester, SettlementPrice, SpotPrice
from channels.chain.attestations import submission
from channels.chain.jobs import Intent
from channels.cli.demo.market import BuiltInMarket, Market, RecordedMarket, settlement_average
from channels.protocol.eip712 import Address
from tests.conftest import ROOT

__all__ = ["DATA", "AttestedPrices", "excerpt", "open_market"]

DATA: Final = ROOT.parent / "shared" / "data" / "deribit" / "eth_options_20260115_20260215.csv.gz"
"""Not part of the project: see its README."""


def excerpt(source: Path, target: Path, first: int, last: int) -> None:
    """Copy the rows of these chain times, both included, uncompressed."""
    bounds = [
        datetime.fromtimestamp(each, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for each in (first, last)
    ]
    with gzip.open(source, "rt") as lines, target.open("w") as kept:
        kept.write(next(lines))
        kept.writelines(line for line in lines if bounds[0] <= line.split(",", 1)[0] <= bounds[1])


def open_market(path: str | None, start: int) -> Market:
    """The excerpt at ``path``, or the story built in, from ``start`` on."""
    return BuiltInMarket(start) if path is None else RecordedMarket(Path(path), days=30)


@attrs.frozen(kw_only=True)
class Offer:
    """An attested spot and its way to the oracle."""

    price: int
    observed_at: int
    intent: Intent


@attrs.frozen
class AttestedPrices:
    """The attesters' endpoint: they sign what the market says, for whoever asks."""

    market: Market
    attesters: Sequence[Attester]

    async def spot(self, oracle: Address, feed: bytes, time: int) -> Offer:
        """The spot of ``time``."""
        told = SpotPrice(feed=feed, time=time, price=self.market.spot(time))
        signed = [each.attest(told) for each in self.attesters]
        return Offer(price=told.price, observed_at=time, intent=submission(oracle, signed))

    async def settlement(self, oracle: Address, feed: bytes, time: int) -> Intent:
        """The average into ``time``, which has come."""
        told = SettlementPrice(feed=feed, time=time, price=settlement_average(self.market, time))
        return submission(oracle, [each.attest(told) for each in self.attesters])
