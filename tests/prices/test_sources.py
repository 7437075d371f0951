"""Sources against real contracts: what they offer is what the oracle then says."""

from __future__ import annotations

import statistics

import httpx
import pytest
import trio
import trio.testing

from channels.chain import OracleDomain
from channels.chain.attestations import Attestation, Attester, SettlementPrice, SpotPrice
from channels.chain.contracts import OracleReader, PriceStatus
from channels.chain.deploy import send_now
from channels.chain.deployments import DeployedContract, Deployment
from channels.chain.plan import Argument, PlannedContract, public_oracle_contract
from channels.errors import EndpointError, InvalidValueError
from channels.prices import (
    PriceSettings,
    TestSource,
    open_sources,
)
from channels.prices.offers import median
from channels.prices.serving import attester_app
from channels.prices.wire import attestations_json, read_attestations
from channels.protocol.eip712 import Address, checksum
from tests.chain.world import create
from tests.prices.stage import HOUR, Stage, settle_hour
from tests.prices.world import FEED, KEYS, WAD


async def test_an_offered_spot_is_what_the_oracle_then_says(stage: Stage) -> None:
    at = await stage.grid()
    stage.attesters.say(3_000, 2_900, 3_500)
    await stage.attesters.tick(at)
    async with stage.source() as source:
        offer = await source.spot(stage.oracle, FEED, at + 5)
    assert offer is not None
    assert (offer.price, offer.observed_at) == (3_000 * WAD, at)
    await send_now(stage.world.rpc, stage.world.a, offer.intent)
    told = await OracleReader(stage.world.rpc, stage.oracle).spot(FEED)
    assert told is not None
    assert (told.price, told.observed_at) == (offer.price, offer.observed_at)


async def test_with_an_even_number_it_is_the_mean_of_the_middle_two(stage: Stage) -> None:
    at = await stage.grid()
    stage.attesters.say(3_000, 2_901, 1)
    await stage.attesters.tick(at)
    del stage.attesters.hosts.hosts["attester2"]
    async with stage.source() as source:
        offer = await source.spot(stage.oracle, FEED, at)
    assert offer is not None
    await send_now(stage.world.rpc, stage.world.a, offer.intent)
    told = await OracleReader(stage.world.rpc, stage.oracle).spot(FEED)
    assert told is not None
    assert told.price == offer.price == 2_950_500_000_000_000_000_000


@pytest.mark.parametrize("prices", [[5], [1, 2], [9, 1, 5], [4, 4, 1, 8], [7, 3]])
def test_the_median_is_the_usual_one(prices: list[int]) -> None:
    assert median(prices) == int(statistics.median(prices))


async def test_the_newest_time_that_enough_signed_is_taken(stage: Stage) -> None:
    at = await stage.grid()
    await stage.attesters.tick(at - 60)
    stage.attesters.say(2_000)
    await stage.attesters.services[0].tick(at)
    async with stage.source(reuse=0) as source:
        offer = await source.spot(stage.oracle, FEED, at + 1)
        assert offer is not None
        assert (offer.price, offer.observed_at) == (3_000 * WAD, at - 60)
        await stage.attesters.services[1].tick(at)
        offer = await source.spot(stage.oracle, FEED, at + 1)
        assert offer is not None
        assert (offer.price, offer.observed_at) == (2_000 * WAD, at)
        before = await source.spot(stage.oracle, FEED, at - 1)
        assert before is not None
        assert before.observed_at == at - 60


async def test_a_spot_is_asked_for_once_in_a_while(stage: Stage) -> None:
    at = await stage.grid()
    await stage.attesters.tick(at)
    async with stage.source(reuse=12) as source:
        for later in (0, 5, 11):
            await source.spot(stage.oracle, FEED, at + later)
        assert len(stage.attesters.hosts.asked) == 3
        await source.spot(stage.oracle, FEED, at + 12)
        assert len(stage.attesters.hosts.asked) == 6


async def test_one_short_of_the_threshold_is_nothing(stage: Stage) -> None:
    at = await stage.grid()
    await stage.attesters.services[0].tick(at)
    async with stage.source() as source:
        assert await source.spot(stage.oracle, FEED, at) is None
        assert await source.settlement(stage.oracle, FEED, at - at % HOUR) is None


def serving(attestations: list[Attestation]) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(200, json=attestations_json(attestations)))


async def test_what_the_oracle_would_refuse_is_left_out(stage: Stage) -> None:
    """A liar, a stranger, another domain, another kind: none spoils what two honest ones say."""
    at = await stage.grid()
    await stage.attesters.tick(at)
    (honest,) = stage.attesters.services[2].journal.spots(FEED, before=at, most=1)
    domain = OracleDomain(chain_id=1337, oracle=stage.oracle)
    elsewhere = OracleDomain(chain_id=1, oracle=stage.oracle)
    price = SpotPrice(feed=FEED, time=at, price=1)
    mean = stage.world.attesters[2]
    rubbish = [
        Attester(KEYS[0], domain).attest(price),
        Attestation(price=price, signature=honest.signature),
        mean.attest(price),
        mean.attest(SettlementPrice(feed=FEED, time=at, price=1)),
        mean.attest(SpotPrice(feed=b"B" * 32, time=at, price=1)),
        Attester(mean._signer._key.secret, elsewhere).attest(price),
        honest,
    ]
    stage.attesters.hosts.hosts["attester2"] = serving(rubbish)
    async with stage.source() as source:
        offer = await source.spot(stage.oracle, FEED, at)
    assert offer is not None
    assert offer.price == 3_000 * WAD
    receipt = await send_now(stage.world.rpc, stage.world.a, offer.intent)
    assert receipt.success
    assert len(receipt.logs) == 1, "nobody was dropped"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"attestations": [{"price": 1}]}),
        httpx.Response(200, json=[]),
        httpx.Response(200, content=b" " * 100_000),
    ],
)
async def test_an_endpoint_that_talks_rubbish_is_passed_over(
    stage: Stage, answer: httpx.Response
) -> None:
    at = await stage.grid()
    await stage.attesters.tick(at)
    stage.attesters.hosts.hosts["attester0"] = httpx.MockTransport(lambda _: answer)
    async with stage.source() as source:
        offer = await source.spot(stage.oracle, FEED, at)
    assert offer is not None
    stage.attesters.hosts.hosts = {"attester0": stage.attesters.hosts.hosts["attester0"]}
    async with stage.source() as source:
        with pytest.raises(EndpointError, match="no attester answers"):
            await source.spot(stage.oracle, FEED, at)


class Silent(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.sleep_forever()
        raise AssertionError(request)


async def test_one_that_does_not_answer_costs_its_patience_alone(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    at = await stage.grid()
    await stage.attesters.tick(at)
    stage.attesters.hosts.hosts["attester0"] = Silent()
    began = trio.current_time()
    async with stage.source(patience=5.0) as source:
        assert await source.spot(stage.oracle, FEED, at) is not None
    assert trio.current_time() - began == 5.0


async def test_a_settlement_price_is_brought_and_known_after_the_challenge(stage: Stage) -> None:
    hour = await settle_hour(stage)
    async with stage.source() as source:
        intent = await source.settlement(stage.oracle, FEED, hour)
        assert intent is not None
        stage.attesters.hosts.hosts.clear()
        assert await source.settlement(stage.oracle, FEED, hour) == intent
    await send_now(stage.world.rpc, stage.world.a, intent)
    await stage.world.control.advance_time(by=61)
    told = await OracleReader(stage.world.rpc, stage.oracle).settlement_price(FEED, hour)
    assert (told.status, told.price) == (PriceStatus.KNOWN, 3_000 * WAD)


async def test_a_test_oracle_is_told_the_market(stage: Stage) -> None:
    world = stage.world
    planned = public_oracle_contract()
    oracle = await create(world, planned.init_code)

    async def market(feed: bytes) -> int | None:
        return 1_234 * WAD if feed == FEED else None

    source = TestSource(world.rpc, market)
    now = await world.control.time()
    offer = await source.spot(oracle, FEED, now)
    assert offer is not None
    await send_now(world.rpc, world.a, offer.intent)
    told = await OracleReader(world.rpc, oracle).spot(FEED)
    assert told is not None
    assert (told.price, told.observed_at) == (1_234 * WAD, now)
    hour = now - now % HOUR
    intent = await source.settlement(oracle, FEED, hour)
    assert intent is not None
    await send_now(world.rpc, world.a, intent)
    await world.control.advance_time(by=61)
    settled = await OracleReader(world.rpc, oracle).settlement_price(FEED, hour)
    assert (settled.status, settled.price) == (PriceStatus.KNOWN, 1_234 * WAD)
    assert await source.spot(oracle, b"B" * 32, now) is None
    with pytest.raises(InvalidValueError, match="no test oracle"):
        await source.spot(stage.oracle, FEED, now)


async def test_each_oracle_of_a_deployment_gets_its_source(stage: Stage) -> None:
    arguments: dict[str, dict[str, Argument]] = {
        "AttestedOracle": {
            "attesters": [checksum(stage.oracle)],
            "threshold": 1,
            "challengeDelay": 0,
            "grace": 259_200,
        },
        "ChainlinkOracle": {
            "feeds": [],
            "sequencerFeed": checksum(Address(bytes(20))),
            "grace": 259_200,
        },
        "FallbackOracle": {
            "primary": checksum(stage.oracle),
            "secondary": checksum(stage.world.deployment.token),
            "delay": 0,
            "spotDelay": 0,
            "grace": 345_600,
        },
    }
    entries = tuple(
        DeployedContract.of(PlannedContract(name=name, contract=name, arguments=each))
        for name, each in arguments.items()
    )
    deployment = Deployment(chain_id=1337, contracts=entries)
    for settings, kinds in (
        (PriceSettings(), {"ChainlinkSource", "FallbackSource"}),
        (
            PriceSettings(attesters=("http://attester0",)),
            {"AttestationSource", "ChainlinkSource", "FallbackSource"},
        ),
    ):
        async with open_sources(stage.world.rpc, deployment, settings) as sources:
            assert {type(each).__name__ for each in sources.sources.values()} == kinds
            nobody = Address(b"\x01" * 20)
            assert await sources.spot(nobody, FEED, 0) is None
            assert await sources.settlement(nobody, FEED, 0) is None


async def test_what_an_endpoint_answers_reads_back(stage: Stage) -> None:
    at = await stage.grid()
    await stage.attesters.tick(at)
    journal = stage.attesters.services[0].journal
    transport = httpx.ASGITransport(app=attester_app(journal, clock=lambda: at))
    async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
        for name in ("ETH-USD", "0x" + FEED.hex()):
            answer = await client.get(f"/v1/spot/{name}")
            assert read_attestations(answer.json()) == journal.spots(FEED, before=at, most=1)
        for wrong in ("/v1/spot/ETH-USD?before=soon", f"/v1/spot/{'x' * 33}"):
            assert (await client.get(wrong)).status_code == 400
        too_late = await client.get(f"/v1/settlement/ETH-USD/{1 << 70}")
        assert too_late.status_code == 400
        assert (await client.get("/v1/settlement/ETH-USD/3600")).json() == {"attestations": []}
