"""The examination: what there is to look at is gathered, then every check looks at it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import trio

from channels.chain.deployments import Deployment, load_deployment
from channels.chain.heads import Finality
from channels.chain.provider import open_provider
from channels.chain.readers import AdjudicatorReader
from channels.chain.rpc import Rpc
from channels.cli.desk.home import Home, read_home
from channels.cli.doctor.findings import Finding, of_error, ok
from channels.cli.doctor.ground import (
    Connect,
    Endpoint,
    Ground,
    OnChain,
    TowerSeen,
    open_channels,
)
from channels.cli.doctor.local import check_installation, check_keys, check_store
from channels.cli.doctor.network import (
    check_clock,
    check_contracts,
    check_endpoints,
    check_wallet,
)
from channels.cli.doctor.risk import check_channels, check_disputes, check_prices
from channels.cli.doctor.towers import check_towers, see_tower
from channels.errors import ChannelsError, EndpointError, InvalidValueError
from channels.protocol.channel import Channel
from channels.protocol.terms import Domain

__all__ = ["CHECKS", "examine"]

CHECKS: Final[tuple[Callable[[Ground], Awaitable[list[Finding]]], ...]] = (
    check_installation,
    check_keys,
    check_store,
    check_endpoints,
    check_clock,
    check_contracts,
    check_wallet,
    check_disputes,
    check_channels,
    check_prices,
    check_towers,
)
"""Every check, in the order of the report. One that fails for want of an answer tells of that."""

_PATIENCE: Final = 8.0


async def examine(
    folder: Path,
    *,
    connect: Connect = open_provider,
    clock: Callable[[], float] = time.time,
    transport: httpx.AsyncBaseTransport | None = None,
) -> list[Finding]:
    """Look at a trader's folder and at all it rests on.

    Args:
        folder: of the trader.
        connect: opens the endpoint of a URL.
        clock: Unix time.
        transport: carries requests to towers, instead of the network.
    """
    try:
        home = read_home(folder)
        deployment = load_deployment(home.deployment)
    except InvalidValueError as raised:
        return [of_error("configuration", raised, "correct config.toml")]
    found = [ok("configuration", f"{folder} can be read")]
    async with AsyncExitStack() as stack:
        endpoints = tuple(
            [await _endpoint(stack, each, home.finality, connect) for each in home.rpc]
        )
        channels = open_channels(home.store)
        ground = Ground(
            home=home,
            deployment=deployment,
            now=clock(),
            endpoints=endpoints,
            channels=channels,
            chain=await _chain(endpoints, deployment.chain_id, channels),
            towers=await _towers(home, deployment, transport),
        )
        for check in CHECKS:
            try:
                found += await check(ground)
            except ChannelsError as raised:
                name = check.__name__.removeprefix("check_")
                found.append(of_error(name, raised, "see to the endpoints, then look again"))
    return found


async def _towers(
    home: Home, deployment: Deployment, transport: httpx.AsyncBaseTransport | None
) -> tuple[TowerSeen, ...]:
    domain = Domain(chain_id=deployment.chain_id, adjudicator=deployment.adjudicator)
    async with httpx.AsyncClient(timeout=_PATIENCE, transport=transport) as http:
        return tuple(
            [
                await see_tower(http, url, tower, domain, _PATIENCE)
                for url, tower in home.towers.at.items()
            ]
        )


async def _endpoint(
    stack: AsyncExitStack, url: str, finality: Finality, connect: Connect
) -> Endpoint:
    name = urlsplit(url).netloc.rpartition("@")[2]
    try:
        with trio.fail_after(_PATIENCE):
            rpc = Rpc(await stack.enter_async_context(connect(url)))
            chain_id, head = await rpc.chain_id(), await rpc.block("latest")
            final = None
            if head is not None:
                try:
                    final = await rpc.block(finality.block(head.number))
                except EndpointError:
                    final = None
    except trio.TooSlowError:
        return Endpoint(name=name, trouble=f"no answer within {_PATIENCE:g} s")
    except ChannelsError as raised:
        return Endpoint(name=name, trouble=str(raised.args[0]))
    return Endpoint(name=name, rpc=rpc, chain_id=chain_id, head=head, final=final)


async def _chain(
    endpoints: tuple[Endpoint, ...], chain_id: int, channels: tuple[Channel, ...]
) -> OnChain | None:
    """The chain by the endpoint that is furthest ahead of those on the right one."""
    usable = [
        (each.head, each.rpc)
        for each in endpoints
        if each.rpc is not None and each.head is not None and each.chain_id == chain_id
    ]
    if not usable:
        return None
    head, rpc = max(usable, key=lambda each: each[0].number)
    try:
        views = {
            each.channel_id: await AdjudicatorReader(rpc, each.domain.adjudicator).view_at(
                each.channel_id, head.hash, head.timestamp
            )
            for each in channels
        }
    except ChannelsError:
        return OnChain(rpc=rpc, head=head, views={})
    return OnChain(rpc=rpc, head=head, views=views)
