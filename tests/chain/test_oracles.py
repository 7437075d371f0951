"""Oracles through their bindings: rounds found and proved, last resorts, a primary's price."""

from __future__ import annotations

import random
from bisect import bisect_right
from typing import Any

import attrs
import pytest
from eth_abi.abi import encode

from channels.chain.abi import encode_words, selector
from channels.chain.artifacts import load_artifact
from channels.chain.attestations import OracleDomain, SettlementPrice, submission
from channels.chain.chainlink_rounds import find_rounds
from channels.chain.contracts import OracleReader, PriceStatus, last_resort
from channels.chain.deploy import send_now
from channels.chain.jobs import Intent
from channels.chain.oracle_events import (
    LastResortRecorded,
    OracleEvent,
    RoundVerified,
    SettlementRecorded,
    SettlementSubmitted,
    decode_oracle_event,
)
from channels.chain.oracles import (
    AttestedOracleReader,
    ChainlinkOracleReader,
    FallbackOracleReader,
    FeedSource,
    LastResort,
    SettlementRounds,
    record_known_price,
    record_settlement,
    verify_round,
)
from channels.chain.rpc import BlockId, CallFailedError, Rpc
from channels.errors import ContractRevertedError, InvalidValueError
from channels.protocol.eip712 import Address, checksum
from tests.chain.world import DAY, FEED, HOUR, WAD, World, create
from tools import build_artifacts

HEARTBEAT = HOUR
WINDOW = 1_800
LATENESS = 300
CENT = 10**6
"""A cent in answers of eight decimals."""


# ---- finding rounds, against a list of all of them


@attrs.frozen
class Written:
    """Rounds of one phase by number: when started, when updated."""

    rounds: dict[int, tuple[int, int]]

    def live(self, time: int) -> tuple[int, int] | None:
        """Number and time of the last round updated at or before ``time``."""
        early = [(each, at) for each, (_, at) in self.rounds.items() if at <= time]
        return max(early, default=None)


ORACLE, PROXY, UPTIME = (Address(bytes([each]) * 20) for each in (1, 2, 3))


class FakeFeed(Rpc):
    """A ChainlinkOracle, its proxy and an uptime feed, as far as they are read."""

    def __init__(self, phases: list[Written], uptime: list[Written], *, reverts: bool) -> None:
        self.feeds = {PROXY: phases, UPTIME: uptime}
        self.reverts = reverts
        self.reads = 0

    async def call(
        self,
        to: Address,
        data: bytes,
        *,
        sender: Address | None = None,
        block: BlockId = "latest",
        gas: int | None = None,
    ) -> bytes:
        assert (sender, block, gas) == (None, "latest", None)
        self.reads += 1
        kind, argument = data[:4], data[4:]
        if to == ORACLE and kind == selector("source(bytes32)"):
            return encode_words(*((PROXY, HEARTBEAT) if argument == FEED else (0, 0)))
        if to == ORACLE:
            assert kind == selector("sequencerFeed()")
            return encode_words(UPTIME if self.feeds[UPTIME] else 0)
        phases = self.feeds[to]
        if kind == selector("phaseId()"):
            return encode_words(len(phases))
        assert kind == selector("getRoundData(uint80)")
        phase, number = divmod(int.from_bytes(argument, "big"), 2**64)
        started, updated = phases[phase - 1].rounds.get(number, (0, 0))
        if not updated and self.reverts:
            raise CallFailedError("eth_call", {"code": 3, "message": "execution reverted"})
        return encode_words(0, 7, started, updated, 0)


def written(rng: random.Random, begin: int, end: int) -> Written:
    """Rounds from ``begin`` to ``end``, some missing, some at one time."""
    rounds, number, time = {}, 1 + rng.choice((0, 0, 1, 3)), begin
    while time < end:
        rounds[number] = (time - rng.choice((0, 0, 12)), time)
        number += rng.choice((1, 1, 1, 2, 4))
        time += rng.choice((0, 12, 300, 1_200, HEARTBEAT, 2 * HEARTBEAT))
    return Written(rounds)


def by_hand(phases: list[Written], start: int) -> tuple[int, tuple[int, ...]] | None:
    """First round and older ones by looking at every round there is."""
    older: list[int] = []
    for phase, each in enumerate(phases, 1):
        live = each.live(start)
        if live is not None and live[1] + HEARTBEAT + LATENESS >= start:
            return phase << 64 | live[0], tuple(older)
        older.append(phase << 64 | (0 if live is None else live[0]))
    return None


@pytest.mark.parametrize("seed", range(60))
async def test_rounds_are_those_that_were_live(seed: int) -> None:
    rng = random.Random(seed)
    phases, begin = [], 10**9
    for _ in range(rng.randint(1, 4)):
        end = begin + rng.choice((0, 3 * HOUR, 10 * DAY))
        phases.append(written(rng, begin, end))
        begin = end + rng.choice((-HOUR, 0, HOUR))
    uptime = [written(rng, 10**9 - DAY, begin + DAY)] if rng.random() < 0.5 else []
    feed = FakeFeed(phases, uptime, reverts=rng.random() < 0.5)
    span = (begin - 10**9) // HOUR + 4
    for _ in range(10):
        time = (10**9 // HOUR + rng.randrange(span)) * HOUR
        expected = by_hand(phases, time - WINDOW)
        if expected is None:
            with pytest.raises(InvalidValueError, match="was live"):
                await find_rounds(feed, ORACLE, FEED, time)
            continue
        found = await find_rounds(feed, ORACLE, FEED, time)
        assert (found.first, found.older) == expected
        if uptime:
            starts = {n: started for n, (started, _) in uptime[0].rounds.items()}
            ups = [n for n, started in starts.items() if started <= time - WINDOW]
            assert found.sequencer_round == 1 << 64 | max(ups, default=0)
        else:
            assert found.sequencer_round == 0


async def test_a_long_feed_is_searched_not_read() -> None:
    times = range(10**9, 10**9 + 200_000 * 60, 60)
    rounds = {number: (time, time) for number, time in enumerate(times, 1)}
    feed = FakeFeed([Written(rounds)], [], reverts=True)
    time = (10**9 // HOUR + 3_000) * HOUR
    found = await find_rounds(feed, ORACLE, FEED, time)
    assert found.first == 1 << 64 | bisect_right(times, time - WINDOW)
    assert feed.reads < 100


async def test_a_feed_that_is_not_served() -> None:
    feed = FakeFeed([Written({})], [], reverts=False)
    with pytest.raises(InvalidValueError, match="does not serve"):
        await find_rounds(feed, ORACLE, bytes(32), HOUR)


# ---- on chain


@pytest.fixture(scope="session")
def proxy_code() -> bytes:
    if not build_artifacts.FORGE.exists() or not build_artifacts.NODE_MODULES.exists():
        pytest.skip("no node_modules: `npm ci` brings it")
    source = {"FakeProxy": "contracts/test/utils/FakeProxy.sol"}
    built = build_artifacts.compile_contracts(source)["FakeProxy"]
    return bytes.fromhex(built["creation"].removeprefix("0x"))


async def send(world: World, intent: Intent) -> list[OracleEvent]:
    receipt = await send_now(world.rpc, world.a, intent)
    events = map(decode_oracle_event, receipt.logs)
    return [each for each in events if each is not None]


async def tell(world: World, proxy: Address, function: str, *numbers: int) -> None:
    data = selector(function) + encode_words(*numbers)
    await send_now(world.rpc, world.a, Intent(name="tell", to=proxy, data=data))


async def refusal(world: World, intent: Intent) -> ContractRevertedError:
    with pytest.raises(ContractRevertedError) as caught:
        await send(world, intent)
    return caught.value


@attrs.frozen(kw_only=True)
class Feeds:
    world: World
    proxy: Address
    chainlink: Address

    @classmethod
    async def build(cls, world: World, code: bytes) -> Feeds:
        proxy = await create(world, code, encode_words(8))
        arguments: list[Any] = [[(FEED, checksum(proxy), HEARTBEAT)], "0x" + "00" * 20, 3 * DAY]
        chainlink = await create(
            world,
            load_artifact("ChainlinkOracle").creation,
            encode(["(bytes32,address,uint32)[]", "address", "uint32"], arguments),
        )
        return cls(world=world, proxy=proxy, chainlink=chainlink)

    async def round(self, phase: int, number: int, answer: int, time: int) -> None:
        identity = phase << 64 | number
        await tell(self.world, self.proxy, "set(uint80,int256,uint256)", identity, answer, time)


async def full_hour(world: World) -> int:
    """The full hour after the next, so that all of its window is still to come."""
    return (await world.control.time() // HOUR + 2) * HOUR


async def test_a_settlement_price_is_proved_by_rounds(embedded: World, proxy_code: bytes) -> None:
    world = embedded
    feeds = await Feeds.build(world, proxy_code)
    reader = ChainlinkOracleReader(world.rpc, feeds.chainlink)
    assert await reader.source(FEED) == FeedSource(proxy=feeds.proxy, heartbeat=HEARTBEAT)
    assert await reader.source(bytes(32)) is None
    assert await reader.sequencer_feed() is None
    time = await full_hour(world)
    start = time - WINDOW

    await feeds.round(1, 3, 2_000 * 100 * CENT, start - 2 * HEARTBEAT)
    await tell(world, feeds.proxy, "setPhase(uint16)", 2)
    quotes = [(4, 3_000, -600), (5, 3_010, 0), (7, 3_040, 450), (8, 2_990, 1_500), (9, 1, 1_801)]
    for number, price, offset in quotes:
        await feeds.round(2, number, price * 100 * CENT, start + offset)

    rounds = await find_rounds(world.rpc, feeds.chainlink, FEED, time)
    assert rounds == SettlementRounds(first=2 << 64 | 5, older=(1 << 64 | 3,))
    proof = record_settlement(feeds.chainlink, FEED, time, rounds)
    early = await refusal(world, proof)
    assert (early.reason, early.arguments) == ("WindowNotOver", {"time": time})
    await world.control.advance_time(to=time + 2)
    wrong = record_settlement(feeds.chainlink, FEED, time, attrs.evolve(rounds, first=2 << 64 | 4))
    error = await refusal(world, wrong)
    assert (error.reason, error.arguments) == ("NotLive", {"round": 2 << 64 | 4, "time": start})

    average = (3_010 * 450 + 3_040 * 1_050 + 2_990 * 300) * WAD // WINDOW
    assert await send(world, proof) == [
        SettlementRecorded(feed=FEED, time=time, price=average, by_primary=None)
    ]
    known = await reader.settlement_price(FEED, time)
    assert (known.status, known.price) == (PriceStatus.KNOWN, average)
    assert (await refusal(world, proof)).reason == "AlreadyFinal"


async def test_a_last_resort_is_verified_recorded_and_final(
    embedded: World, proxy_code: bytes
) -> None:
    world = embedded
    feeds = await Feeds.build(world, proxy_code)
    reader = ChainlinkOracleReader(world.rpc, feeds.chainlink)
    time = await full_hour(world)
    await feeds.round(1, 2, 3_000 * 100 * CENT, time - 5 * HOUR)
    await world.control.advance_time(to=time + 1)
    nothing = LastResort(observed_at=0, price=0, final_at=0)
    assert await reader.last_resort(FEED, time) == nothing
    [verified] = await send(world, verify_round(feeds.chainlink, FEED, time, 1 << 64 | 2))
    assert verified == RoundVerified(
        feed=FEED, time=time, round=1 << 64 | 2, observed_at=time - 5 * HOUR, price=3_000 * WAD
    )
    record = last_resort(feeds.chainlink, FEED, time)
    error = await refusal(world, record)
    assert (error.reason, error.arguments) == ("GraceNotOver", {"until": time + 3 * DAY})
    await world.control.advance_time(to=time + 3 * DAY)
    [recorded] = await send(world, record)
    assert isinstance(recorded, LastResortRecorded)
    assert (recorded.observed_at, recorded.price) == (time - 5 * HOUR, 3_000 * WAD)
    assert await reader.last_resort(FEED, time) == LastResort(
        observed_at=time - 5 * HOUR, price=3_000 * WAD, final_at=recorded.final_at
    )
    assert (await reader.settlement_price(FEED, time)).status is PriceStatus.UNSET
    await world.control.advance_time(to=recorded.final_at)
    final = await reader.settlement_price(FEED, time)
    assert (final.status, final.price) == (PriceStatus.LAST_RESORT, 3_000 * WAD)


async def test_a_fallback_takes_the_primarys_price_and_then_the_secondarys(
    embedded: World, proxy_code: bytes
) -> None:
    world = embedded
    feeds = await Feeds.build(world, proxy_code)
    attested = world.deployment.oracle
    fallback = await create(
        world,
        load_artifact("FallbackOracle").creation,
        encode_words(feeds.chainlink, attested, 2 * HOUR, HOUR, 5 * DAY),
    )
    reader = FallbackOracleReader(world.rpc, fallback)
    assert (await reader.primary(), await reader.secondary()) == (feeds.chainlink, attested)
    assert (await reader.delay(), await reader.spot_delay()) == (2 * HOUR, HOUR)
    assert await reader.grace() == 5 * DAY

    time = await full_hour(world)
    for number, offset in ((1, -WINDOW - 60), (2, 60)):
        await feeds.round(1, number, 3_100 * 100 * CENT, time + offset)
    await world.control.advance_time(to=time + 61)
    assert (await refusal(world, record_known_price(fallback, FEED, time))).reason == "NoPriceYet"
    rounds = await find_rounds(world.rpc, feeds.chainlink, FEED, time)
    await send(world, record_settlement(feeds.chainlink, FEED, time, rounds))
    assert await send(world, record_known_price(fallback, FEED, time)) == [
        SettlementRecorded(feed=FEED, time=time, price=3_100 * WAD, by_primary=True)
    ]

    later = time + HOUR
    await world.control.advance_time(to=later)
    told = SettlementPrice(feed=FEED, time=later, price=3_200 * WAD)
    signed = [each.attest(told) for each in world.attesters]
    [submitted] = await send(world, submission(attested, signed))
    assert isinstance(submitted, SettlementSubmitted)
    assert (submitted.time, submitted.count, submitted.price) == (later, 3, 3_200 * WAD)
    await world.control.advance_time(to=later + 2 * HOUR)
    [recorded] = await send(world, record_known_price(fallback, FEED, later))
    assert recorded == SettlementRecorded(
        feed=FEED, time=later, price=3_200 * WAD, by_primary=False
    )
    assert (await OracleReader(world.rpc, fallback).settlement_price(FEED, later)).price == (
        3_200 * WAD
    )

    silent = later + HOUR
    await world.control.advance_time(to=silent + 5 * DAY)
    await send(world, last_resort(feeds.chainlink, FEED, silent))
    [resort] = await send(world, last_resort(fallback, FEED, silent))
    assert isinstance(resort, LastResortRecorded)
    assert (resort.observed_at, resort.price) == (None, 0)


async def test_an_attested_oracle_tells_who_attests(embedded: World) -> None:
    oracle = embedded.deployment.oracle
    reader = AttestedOracleReader(embedded.rpc, oracle)
    assert await reader.attesters() == tuple(each.address for each in embedded.attesters)
    assert (await reader.threshold(), await reader.challenge_delay()) == (2, 60)
    domain = OracleDomain(chain_id=embedded.deployment.chain_id, oracle=oracle)
    assert await reader.domain_separator() == domain.separator
    time = await embedded.control.time() // HOUR * HOUR
    none = LastResort(observed_at=0, price=0, final_at=0)
    assert await reader.last_resort(FEED, time) == none
