"""Prices for oracles that are given them only when somebody needs them.

A monitor takes any of these sources as ``prices``: `AttestationSource` asks attesters' endpoints,
`ChainlinkSource` finds the rounds that prove a price, `FallbackSource` serves an oracle behind
which two others stand, and `TestSource` signs for a development chain. `open_sources` has the one
that fits for every oracle of a deployment.

The other end is `AttesterService`: it samples a price feed, signs spots and settlement prices, and
never two of one time.
"""

from __future__ import annotations

from channels.prices.attested import AttestationSource
from channels.prices.attester import AttesterService
from channels.prices.choosing import PriceSettings, open_sources, source_for
from channels.prices.fallback import FallbackSource
from channels.prices.feeds import FixedFeed, HttpFeed, LinesFeed, PriceFeed
from channels.prices.journal import PriceJournal
from channels.prices.offers import Offer, Source, SourceByOracle
from channels.prices.public import TestSource
from channels.prices.rounds import ChainlinkSource

__all__ = [
    "AttestationSource",
    "AttesterService",
    "ChainlinkSource",
    "FallbackSource",
    "FixedFeed",
    "HttpFeed",
    "LinesFeed",
    "Offer",
    "PriceFeed",
    "PriceJournal",
    "PriceSettings",
    "Source",
    "SourceByOracle",
    "TestSource",
    "open_sources",
    "source_for",
]
