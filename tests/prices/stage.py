"""A chain with an oracle, and the attesters that it listens to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx

from channels.chain import OracleDomain
from channels.prices import AttestationSource
from channels.protocol.eip712 import Address
from tests.chain.world import World, embedded_world
from tests.prices.world import Attesters

HOUR = 3_600


@attrs.frozen
class Stage:
    """A chain, its oracle, and the attesters that the oracle listens to."""

    world: World
    attesters: Attesters

    @property
    def oracle(self) -> Address:
        return self.world.deployment.oracle

    async def grid(self) -> int:
        """A time of the grid that is not in the chain's future."""
        now = await self.world.control.time()
        return now - now % 60

    @asynccontextmanager
    async def source(self, **options: Any) -> AsyncIterator[AttestationSource]:
        async with httpx.AsyncClient(transport=self.attesters.hosts) as client:
            yield AttestationSource(client, self.attesters.urls, self.world.rpc, **options)


async def open_stage() -> Stage:
    world = await embedded_world()
    keys = tuple(each._signer._key.secret for each in world.attesters)
    domain = OracleDomain(chain_id=1337, oracle=world.deployment.oracle)
    return Stage(world, await Attesters.of(keys, domain))


async def settle_hour(stage: Stage) -> int:
    """Have all attesters sign an hour, and the chain be past it."""
    hour = (await stage.world.control.time() // HOUR + 1) * HOUR
    for minute in range(31):
        await stage.attesters.tick(hour - 1_800 + 60 * minute)
    await stage.world.control.advance_time(to=hour)
    return hour
