"""A FallbackOracle is told through the oracles behind it, and then by itself."""

from __future__ import annotations

import httpx
import pytest

from channels.chain import OracleDomain
from channels.chain.contracts import OracleReader, PriceStatus
from channels.chain.deploy import send_now
from channels.chain.plan import PlannedContract
from channels.errors import EndpointError
from channels.prices import AttestationSource, FallbackSource, SourceByOracle
from channels.protocol.eip712 import Address, checksum
from tests.chain.world import create
from tests.prices.stage import HOUR, Stage, settle_hour
from tests.prices.world import FEED, WAD, Attesters


async def two_oracles(stage: Stage) -> tuple[Address, Address]:
    """A secondary by the first attester alone, and the FallbackOracle over both."""
    world = stage.world
    other = PlannedContract(
        name="other",
        contract="AttestedOracle",
        arguments={
            "attesters": [checksum(world.attesters[0].address)],
            "threshold": 1,
            "challengeDelay": 0,
            "grace": 3 * 86_400,
        },
    )
    secondary = await create(world, other.init_code)
    both = PlannedContract(
        name="both",
        contract="FallbackOracle",
        arguments={
            "primary": checksum(stage.oracle),
            "secondary": checksum(secondary),
            "delay": 600,
            "spotDelay": 600,
            "grace": 5 * 86_400,
        },
    )
    return secondary, await create(world, both.init_code)


async def test_a_fallback_is_told_in_two_steps(stage: Stage) -> None:
    world = stage.world
    _, oracle = await two_oracles(stage)
    reader = OracleReader(world.rpc, oracle)
    hour = await settle_hour(stage)
    async with stage.source() as primary:
        source = FallbackSource(world.rpc, SourceByOracle({stage.oracle: primary}))
        offer = await source.spot(oracle, FEED, hour)
        assert offer is not None
        await send_now(world.rpc, world.a, offer.intent)
        told = await reader.spot(FEED)
        assert told is not None
        assert (told.price, told.observed_at) == (offer.price, offer.observed_at)

        intent = await source.settlement(oracle, FEED, hour)
        assert intent is not None
        assert intent.to == stage.oracle
        await send_now(world.rpc, world.a, intent)
        await world.control.advance_time(by=61)
        assert (await reader.settlement_price(FEED, hour)).status is PriceStatus.UNSET
        intent = await source.settlement(oracle, FEED, hour)
        assert intent is not None
        assert intent.to == oracle
        await send_now(world.rpc, world.a, intent)
    known = await reader.settlement_price(FEED, hour)
    assert (known.status, known.price) == (PriceStatus.KNOWN, 3_000 * WAD)


async def test_a_fallback_takes_the_secondary_s_only_after_the_delay(stage: Stage) -> None:
    world = stage.world
    secondary, oracle = await two_oracles(stage)
    seconds = await Attesters.of(
        (world.attesters[0]._signer._key.secret,), OracleDomain(chain_id=1337, oracle=secondary)
    )
    hour = (await world.control.time() // HOUR + 1) * HOUR
    seconds.say(2_000)
    for minute in range(31):
        await seconds.tick(hour - 1_800 + 60 * minute)
    await world.control.advance_time(to=hour)
    stage.attesters.hosts.hosts.clear()
    async with (
        stage.source() as primary,
        httpx.AsyncClient(transport=seconds.hosts) as client,
    ):
        behind = {
            stage.oracle: primary,
            secondary: AttestationSource(client, seconds.urls, world.rpc),
        }
        source = FallbackSource(world.rpc, SourceByOracle(behind))
        with pytest.raises(EndpointError):
            await source.settlement(oracle, FEED, hour)
        await world.control.advance_time(to=hour + 600)
        for step in (secondary, oracle):
            intent = await source.settlement(oracle, FEED, hour)
            assert intent is not None
            assert intent.to == step
            await send_now(world.rpc, world.a, intent)
    known = await OracleReader(world.rpc, oracle).settlement_price(FEED, hour)
    assert (known.status, known.price) == (PriceStatus.KNOWN, 2_000 * WAD)
