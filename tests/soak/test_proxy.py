"""The fault proxy does what each fault says, to a client that the package uses itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from web3.types import RPCEndpoint

from channels.chain import open_provider
from channels.chain.control import AnvilControl
from channels.chain.provider import TrioHTTPProvider
from channels.chain.rpc import Rpc
from channels.errors import EndpointError
from tests.soak.proxy import Fault, FaultProxy, open_proxy

pytestmark = pytest.mark.anvil

PATIENCE = 60.0


@pytest.fixture
async def proxy(anvil_url: str) -> AsyncIterator[FaultProxy]:
    async with open_proxy(anvil_url, Random(1)) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: FaultProxy) -> AsyncIterator[TrioHTTPProvider]:
    async with open_provider(proxy.url, request_timeout=PATIENCE) as client:
        yield client


async def ask(client: TrioHTTPProvider, method: str, *params: Any) -> Any:
    return (await client.make_request(RPCEndpoint(method), list(params)))["result"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault.DROP, "RemoteProtocolError"),
        (Fault.TOO_MANY, "status 429"),
        (Fault.RESET, "ReadError"),
    ],
)
async def test_a_failure_is_told_and_ends(
    fault: Fault, told: str, proxy: FaultProxy, client: TrioHTTPProvider
) -> None:
    await proxy.begin(fault)
    with pytest.raises(EndpointError, match=told):
        await ask(client, "eth_chainId")
    proxy.end()
    assert int(await ask(client, "eth_chainId"), 16) == 31337
    assert proxy.met == {fault: 1, Fault.PASS: 1}


async def test_a_late_answer_is_the_answer(proxy: FaultProxy, client: TrioHTTPProvider) -> None:
    proxy.delay = 0.01
    await proxy.begin(Fault.DELAY)
    assert int(await ask(client, "eth_chainId"), 16) == 31337


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.RESET])
async def test_the_node_did_what_was_not_answered(
    fault: Fault, proxy: FaultProxy, client: TrioHTTPProvider, anvil_url: str
) -> None:
    async with open_provider(anvil_url) as direct:
        before = await Rpc(direct).block()
        assert before is not None
        await proxy.begin(fault)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(_mine, client)
            with trio.fail_after(PATIENCE):
                while (after := await Rpc(direct).block()) is not None:
                    if after.number == before.number + 1:
                        break
            proxy.end()


async def _mine(client: TrioHTTPProvider) -> None:
    with pytest.raises(EndpointError):
        await AnvilControl(client).mine()


async def test_a_stale_one_knows_nothing_later(
    proxy: FaultProxy, client: TrioHTTPProvider, anvil_url: str
) -> None:
    async with open_provider(anvil_url) as direct:
        control = AnvilControl(direct)
        await control.mine(5)
        height = int(await ask(client, "eth_blockNumber"), 16)
        await proxy.begin(Fault.STALE, behind=3)
        await control.mine(2)
        assert int(await ask(client, "eth_blockNumber"), 16) == height - 3
        latest = await Rpc(client).block()
        assert latest is not None
        assert latest.number == height - 3
        newest = await Rpc(direct).block()
        assert newest is not None
        assert newest.number == height + 2
        assert await Rpc(client).block(newest.hash) is None
        assert await Rpc(client).block(newest.number) is None


async def test_a_held_request_sees_the_end_of_what_it_waited_for(
    proxy: FaultProxy, client: TrioHTTPProvider, anvil_url: str
) -> None:
    async with httpx.AsyncClient() as node, trio.open_nursery() as tasks:
        heights: list[int] = []

        async def look() -> None:
            heights.append(int(await ask(client, "eth_blockNumber"), 16))

        before = int(await ask(client, "eth_blockNumber"), 16)
        async with proxy.held():
            tasks.start_soon(look)
            await trio.testing.wait_all_tasks_blocked(0.01)
            request = {"jsonrpc": "2.0", "id": 1, "method": "hardhat_mine", "params": ["0x3"]}
            await node.post(anvil_url, json=request)
        with trio.fail_after(PATIENCE):
            while not heights:
                await trio.lowlevel.checkpoint()
        assert heights == [before + 3]
