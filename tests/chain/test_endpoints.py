"""Several endpoints as one: outages, lag, forks and lies of one that the others make good."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import attrs
import pytest
import trio
from web3.types import RPCEndpoint, RPCResponse

from channels.chain import Finality
from channels.chain.client import EthereumChain
from channels.chain.endpoints import EndpointPool, Standing, open_endpoints
from channels.chain.rpc import Provider
from channels.errors import EndpointError, EndpointsDisagreeError, InvalidValueError
from channels.protocol.calls import Deposit, Dispute
from channels.protocol.eip712 import keccak
from channels.protocol.facts import ChannelOpened, DisputeStarted, OnChainPhase
from channels.protocol.terms import Terms, channel_id
from channels.protocol.types import Party
from tests.chain.world import PATIENCE, World

NO_BLOCK = {"error": {"code": -32000, "message": "header not found"}}


@attrs.define
class Faulty:
    """An endpoint of the test's chain that fails as it is told."""

    name: str
    inner: Provider
    down: bool = False
    hangs: bool = False
    refuses_sends: bool = False
    omits_logs: bool = False
    hides_disputes: bool = False
    behind: int = 0
    forked_at: int | None = None
    forged: dict[str, str] = attrs.Factory(dict)
    asked: int = 0
    sent: int = 0

    def __repr__(self) -> str:
        return self.name

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        self.asked += 1
        if self.down:
            raise EndpointError(f"{self.name} is down")
        if self.hangs:
            await trio.sleep_forever()
        if method == "eth_sendRawTransaction":
            if self.refuses_sends:
                return cast(RPCResponse, {"error": {"code": -32000, "message": "not today"}})
            self.sent += 1
        if self.behind and method.startswith("eth_getBlockBy"):
            return await self._block_behind(method, params)
        if self.omits_logs and method == "eth_getLogs":
            return cast(RPCResponse, {"result": []})
        if self.forked_at is not None and method == "eth_getBlockByHash":
            params = [self.forged.get(params[0], params[0]), *params[1:]]
        answer = await self.inner.make_request(method, params)
        if self.hides_disputes and method == "eth_call":
            return self._without_dispute(answer)
        if self.forked_at is not None and method.startswith("eth_getBlockBy"):
            return self._forked(answer)
        return answer

    async def _limit(self) -> int:
        latest = await self.inner.make_request(
            RPCEndpoint("eth_getBlockByNumber"), ["latest", False]
        )
        return int(cast(Any, latest["result"])["number"], 16) - self.behind

    async def _block_behind(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        limit = await self._limit()
        asked = hex(limit) if params[0] == "latest" else params[0]
        answer = await self.inner.make_request(method, [asked, *params[1:]])
        block = cast(Any, answer.get("result"))
        if block is not None and int(block["number"], 16) > limit:
            return cast(RPCResponse, {"result": None})
        return answer

    def _forked(self, answer: RPCResponse) -> RPCResponse:
        block = dict(cast(Any, answer["result"]))
        number = int(block["number"], 16)
        for field, height in (("hash", number), ("parentHash", number - 1)):
            if self.forked_at is not None and height >= self.forked_at:
                digits = bytes.fromhex(block[field][2:])
                real, block[field] = block[field], "0x" + keccak(digits + self.name.encode()).hex()
                self.forged[block[field]] = real
        return cast(RPCResponse, {"result": block})

    @staticmethod
    def _without_dispute(answer: RPCResponse) -> RPCResponse:
        """The first word of a channel's storage is its phase: 2 is Disputed, 1 Open."""
        raw = answer.get("result")
        if isinstance(raw, str) and raw.startswith("0x" + "0" * 63 + "2"):
            return cast(RPCResponse, {"result": "0x" + "0" * 63 + "1" + raw[66:]})
        return answer


def three(world: World) -> tuple[Faulty, Faulty, Faulty]:
    inner = world.provider
    return Faulty("one", inner), Faulty("two", inner), Faulty("three", inner)


@asynccontextmanager
async def pooled(*endpoints: Faulty, **options: Any) -> AsyncIterator[EndpointPool]:
    settings: dict[str, Any] = {
        "finality": Finality.depth(2),
        "interval": 3_600.0,
        "patience": PATIENCE,
    }
    async with open_endpoints(endpoints, **(settings | options)) as pool:
        yield pool


async def surveyed(pool: EndpointPool, condition: Callable[[], bool]) -> None:
    """Survey until it is so."""
    with trio.fail_after(PATIENCE):
        await pool.survey()
        while not condition():
            await pool.survey()


def standings(pool: EndpointPool) -> list[str]:
    return [each.standing.value for each in pool.statuses]


async def opened(world: World, chain: EthereumChain, terms: Terms) -> bytes:
    call = await world.opening(terms)
    await chain.submit(call, key=b"open")
    with trio.fail_after(PATIENCE):
        await chain.wait(b"open")
    return channel_id(world.domain, terms)


async def test_one_that_is_down_is_passed_over_and_comes_back(world: World) -> None:
    one, two, three_ = three(world)
    async with pooled(one, two, three_) as pool:
        assert pool.leader == "one"
        one.down = True
        answer = await pool.make_request(RPCEndpoint("eth_chainId"), [])
        assert int(cast(Any, answer["result"]), 16) == world.domain.chain_id
        await surveyed(pool, lambda: standings(pool) == ["silent", "good", "good"])
        assert pool.leader == "two"
        assert pool.statuses[0].trouble == "one is down"
        one.down = False
        await surveyed(pool, lambda: standings(pool) == ["good"] * 3)
        assert pool.leader == "two"  # no change but for better


async def test_one_that_hangs_costs_its_patience_once(world: World) -> None:
    one, two, _ = three(world)
    async with pooled(one, two, patience=1.0) as pool:
        one.hangs = True
        for _ in range(5):
            await pool.make_request(RPCEndpoint("eth_chainId"), [])
        asked = one.asked
        await pool.make_request(RPCEndpoint("eth_chainId"), [])
        assert one.asked == asked


async def test_all_down_is_an_error_and_not_a_hang(world: World) -> None:
    one, two, _ = three(world)
    async with pooled(one, two) as pool:
        one.down = two.down = True
        with pytest.raises(EndpointError, match="is down"):
            await pool.make_request(RPCEndpoint("eth_chainId"), [])
    one.down = two.down = True
    with pytest.raises(EndpointError, match="no endpoint answers: one is down; two is down"):
        async with pooled(one, two):
            pass


async def test_no_endpoint_at_all_is_our_mistake() -> None:
    with pytest.raises(InvalidValueError, match="no endpoint"):
        async with open_endpoints([]):
            pass


async def test_one_that_lags_does_not_lead(world: World) -> None:
    one, two, _ = three(world)
    await world.control.mine(10)
    one.behind = 8
    async with pooled(one, two) as pool:
        await surveyed(pool, lambda: pool.leader == "two")
        assert standings(pool) == ["lagging", "good"]
        latest = await world.rpc.block()
        assert latest is not None
        # Asked first or not, a block that it does not have yet comes from the other.
        asked = ["0x" + latest.hash.hex(), False]
        answer = await pool.make_request(RPCEndpoint("eth_getBlockByHash"), asked)
        assert int(cast(Any, answer["result"])["number"], 16) == latest.number


async def test_one_on_another_fork_is_outvoted_and_taken_back(world: World) -> None:
    one, two, three_ = three(world)
    await world.control.mine(10)
    one.forked_at = 5
    async with pooled(one, two, three_) as pool:
        await surveyed(pool, lambda: standings(pool) == ["forked", "good", "good"])
        assert pool.leader == "two"
        assert isinstance(pool.trouble, EndpointsDisagreeError)
        one.forked_at = None
        await surveyed(pool, lambda: standings(pool) == ["good"] * 3)
        await surveyed(pool, lambda: pool.trouble is None)


async def test_two_that_disagree_are_both_kept_and_it_is_told(world: World) -> None:
    one, two, _ = three(world)
    await world.control.mine(10)
    two.forked_at = 5
    async with pooled(one, two) as pool:
        await surveyed(pool, lambda: pool.trouble is not None)
        assert "which should be final" in str(pool.trouble)
        assert pool.leader == "one"
        assert standings(pool) == ["good", "good"]


async def test_a_transaction_goes_to_all_and_one_that_takes_it_is_enough(world: World) -> None:
    one, two, three_ = three(world)
    one.refuses_sends = two.refuses_sends = True
    async with (
        pooled(one, two, three_) as pool,
        world.open(world.a, provider=pool) as chain,
    ):
        terms = world.terms()
        opened_id = await opened(world, chain, terms)
        assert three_.sent >= 1
        assert (await chain.view(opened_id)).phase is OnChainPhase.OPEN


async def test_a_leader_that_omits_events_hides_nothing(world: World) -> None:
    one, two, _ = three(world)
    one.omits_logs = True
    terms = world.terms()
    async with (
        pooled(one, two) as pool,
        world.open(world.a, provider=pool) as chain,
        chain.updates() as updates,
    ):
        assert pool.leader == "one"
        await opened(world, chain, terms)
        with trio.fail_after(PATIENCE):
            async for update in updates:
                if any(isinstance(each, ChannelOpened) for each in update.events):
                    break


async def test_a_leader_that_denies_a_dispute_is_not_believed(world: World) -> None:
    one, two, _ = three(world)
    terms = world.terms()
    async with (
        pooled(one, two) as pool,
        world.open(world.a, provider=pool) as chain,
        chain.updates() as updates,
    ):
        opened_id = await opened(world, chain, terms)
        one.hides_disputes = True
        await chain.submit(Dispute(terms=terms, newest=None), key=b"dispute")
        with trio.fail_after(PATIENCE):
            async for update in updates:
                if any(isinstance(each, DisputeStarted) for each in update.events):
                    break
            await chain.wait_mined(b"dispute")
        assert (await chain.view(opened_id)).phase is OnChainPhase.DISPUTED
        assert isinstance(chain.trouble, EndpointsDisagreeError)
        assert await chain.dispute_count() == 1


async def test_the_chain_goes_on_while_endpoints_take_turns_to_fail(world: World) -> None:
    endpoints = three(world)
    terms = world.terms()
    async with (
        pooled(*endpoints) as pool,
        world.open(world.a, provider=pool) as chain,
    ):
        opened_id = await opened(world, chain, terms)
        for round_, failing in enumerate(endpoints):
            failing.down = True
            key = b"deposit" + bytes([round_])
            await chain.submit(Deposit(terms=terms, party=Party.A, amount=10), key=key)
            with trio.fail_after(PATIENCE):
                await chain.wait(key)
            failing.down = False
        assert (await chain.view(opened_id)).contribution_a == 100 * 10**6 + 30
        assert [each.name for each in chain.endpoints] == ["one", "two", "three"]
        assert {each.standing for each in chain.endpoints} <= {Standing.GOOD, Standing.SILENT}
