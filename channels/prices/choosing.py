"""Which source serves which oracle of a deployment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import httpx

from channels.chain.deployments import Deployment
from channels.chain.rpc import Rpc
from channels.prices.attested import AttestationSource
from channels.prices.fallback import FallbackSource
from channels.prices.offers import Source, SourceByOracle
from channels.prices.public import Market, TestSource
from channels.prices.rounds import ChainlinkSource
from channels.protocol.eip712 import Address

__all__ = ["PriceSettings", "open_sources", "source_for"]


@attrs.frozen(kw_only=True)
class PriceSettings:
    """Where attested prices come from: attesters' base URLs, or our own market on a test chain."""

    attesters: tuple[str, ...] = ()
    test: bool = False


def source_for(
    contract: str,
    settings: PriceSettings,
    *,
    rpc: Rpc,
    client: httpx.AsyncClient,
    behind: Source,
    market: Market | None = None,
) -> Source | None:
    """The source for oracles of one kind; None if the settings have none.

    Args:
        contract: ``AttestedOracle``, ``ChainlinkOracle`` or ``FallbackOracle``.
        settings: where attested prices come from.
        rpc: the chain.
        client: asks the attesters.
        behind: has the prices of the two oracles behind a FallbackOracle.
        market: what a test oracle is told.
    """
    if contract == "ChainlinkOracle":
        return ChainlinkSource(rpc)
    if contract == "FallbackOracle":
        return FallbackSource(rpc, behind)
    if contract == "AttestedOracle" and settings.attesters:
        return AttestationSource(client, settings.attesters, rpc)
    if contract == "AttestedOracle" and settings.test and market is not None:
        return TestSource(rpc, market)
    return None


@asynccontextmanager
async def open_sources(
    rpc: Rpc,
    deployment: Deployment,
    settings: PriceSettings,
    *,
    market: Market | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[SourceByOracle]:
    """Prices for all oracles of a deployment that the settings have a source for.

    Args:
        rpc: the chain.
        deployment: whose oracles.
        settings: where attested prices come from.
        market: what a test oracle is told.
        transport: carries requests to attesters instead of the network.
    """
    async with httpx.AsyncClient(
        timeout=None,  # noqa: S113  (the source has a deadline around every answer)
        transport=transport,
    ) as client:
        sources: dict[Address, Source] = {}
        together = SourceByOracle(sources)
        for each in deployment.contracts:
            source = source_for(
                each.contract, settings, rpc=rpc, client=client, behind=together, market=market
            )
            if source is not None:
                sources[each.address] = source
        yield together
