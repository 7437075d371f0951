"""web3 under Trio: pinned here, because web3 promises it nowhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import httpx
import pytest
import trio
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from web3 import AsyncWeb3
from web3.types import RPCEndpoint

from channels.chain import EmbeddedChain, TrioHTTPProvider, open_provider
from channels.chain.artifacts import load_artifact
from channels.chain.rpc import CallFailedError, Rpc, RpcRefusedError
from channels.errors import EndpointError
from tests.chain.world import PATIENCE, World

URL = "https://user:hunter2@node.example/v3/secret-key"
Handler = Callable[[httpx.Request], httpx.Response]


def provider(handler: Handler) -> TrioHTTPProvider:
    return TrioHTTPProvider(URL, httpx.AsyncClient(transport=httpx.MockTransport(handler)))


def result(value: object) -> Handler:
    def handle(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        return httpx.Response(200, json={"jsonrpc": "2.0", "id": asked["id"], "result": value})

    return handle


def test_web3_is_of_the_version_this_was_tried_with() -> None:
    assert version("web3").split(".")[0] == "8"


@pytest.mark.anvil
async def test_web3_runs_under_trio_on_anvil(anvil: World, anvil_url: str) -> None:
    async with open_provider(anvil_url) as http:
        web3 = AsyncWeb3(http)
        assert await web3.is_connected()
        assert await web3.eth.chain_id == 31337
        block = await web3.eth.get_block("latest")
        ours = await Rpc(http).block("latest")
        assert ours is not None
        assert (ours.number, ours.hash) == (block["number"], block["hash"])
        await _transfer(web3, anvil)


async def test_web3_runs_under_trio_on_the_embedded_chain(embedded: World) -> None:
    assert isinstance(embedded.provider, EmbeddedChain)
    await _transfer(AsyncWeb3(embedded.provider), embedded)


async def _transfer(web3: AsyncWeb3[Any], world: World) -> None:
    """A contract object of web3's: call, transaction, receipt, logs."""
    token = web3.eth.contract(
        address=to_checksum_address(world.deployment.token),
        abi=list(load_artifact("TestToken").abi),
    )
    recipient = to_checksum_address(world.b.address)
    before = await token.functions.balanceOf(recipient).call()
    transaction = await token.functions.transfer(recipient, 5).build_transaction(
        {
            "from": to_checksum_address(world.a.address),
            "nonce": await web3.eth.get_transaction_count(to_checksum_address(world.a.address)),
        }
    )
    signed = world.a._account.sign_transaction(transaction)
    transaction_hash = await web3.eth.send_raw_transaction(signed.raw_transaction)
    with trio.fail_after(PATIENCE):  # Anvil answers before it has mined
        while await world.rpc.receipt(bytes(transaction_hash)) is None:
            await world.rpc.wait_for_block(b"", 0.01)
    receipt = await web3.eth.get_transaction_receipt(transaction_hash)
    assert receipt["status"] == 1
    [event] = token.events.Transfer().process_receipt(receipt)
    assert event["args"]["amount"] == 5
    assert await token.functions.balanceOf(recipient).call() == before + 5


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (lambda _: httpx.Response(503, text="busy"), "status 503"),
        (lambda _: httpx.Response(429), "status 429"),
        (lambda _: httpx.Response(200, text="<html>"), "no JSON"),
        (lambda _: httpx.Response(200, json=[]), "something else"),
        (lambda _: httpx.Response(200, json={"id": -1, "result": "0x1"}), "something else"),
    ],
)
async def test_what_is_no_answer_is_an_endpoint_error(handler: Handler, says: str) -> None:
    with pytest.raises(EndpointError, match=says) as caught:
        await Rpc(provider(handler)).chain_id()
    assert "secret-key" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_transport_failures_are_endpoint_errors() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused by https://node.example/v3/secret-key")

    def hang(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow")

    with pytest.raises(EndpointError, match="ConnectError") as caught:
        await Rpc(provider(refuse)).chain_id()
    assert "secret-key" not in str(caught.value)
    with pytest.raises(EndpointError, match="in time"):
        await Rpc(provider(hang)).chain_id()


async def test_silent_endpoint_times_out() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    try:
        with trio.fail_after(PATIENCE):
            async with open_provider(f"http://127.0.0.1:{port}", request_timeout=0.1) as http:
                with pytest.raises(EndpointError, match="in time"):
                    await Rpc(http).chain_id()
    finally:
        for listener in listeners:
            await listener.aclose()


@pytest.mark.parametrize(
    "value",
    [None, 5, "5", "0xzz", {}, "0x"],
)
async def test_malformed_results_are_endpoint_errors(value: object) -> None:
    with pytest.raises(EndpointError):
        await Rpc(provider(result(value))).chain_id()


async def test_errors_carry_code_and_output() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        error = {"code": 3, "message": "execution reverted", "data": "0x01020304"}
        if asked["method"] != "eth_call":
            error = {"code": -32000, "message": "nonce too low"}
        return httpx.Response(200, json={"jsonrpc": "2.0", "id": asked["id"], "error": error})

    rpc = Rpc(provider(handle))
    with pytest.raises(CallFailedError) as reverted:
        await rpc.call(bytes(20), b"")  # type: ignore[arg-type]
    assert reverted.value.output == b"\x01\x02\x03\x04"
    with pytest.raises(RpcRefusedError) as refused:
        await rpc.send(b"\x02")
    assert (refused.value.code, refused.value.reply) == (-32000, "nonce too low")


async def test_block_that_was_not_asked_for_is_refused() -> None:
    block = {
        "number": "0x5",
        "hash": "0x" + "11" * 32,
        "parentHash": "0x" + "22" * 32,
        "timestamp": "0x1",
    }
    rpc = Rpc(provider(result(block)))
    assert (await rpc.block(5)) is not None
    with pytest.raises(EndpointError, match="asked for block 6"):
        await rpc.block(6)
    with pytest.raises(EndpointError, match="asked for block 0x33"):
        await rpc.block(b"\x33" * 32)
    log = {
        "address": "0x" + "44" * 20,
        "topics": [],
        "data": "0x",
        "blockNumber": "0x5",
        "blockHash": "0x" + "55" * 32,
        "transactionHash": "0x" + "66" * 32,
        "logIndex": "0x0",
    }
    with pytest.raises(EndpointError, match="not asked for"):
        await Rpc(provider(result([log]))).logs(b"\x11" * 32, b"\x44" * 20)  # type: ignore[arg-type]


async def test_batch_answers_come_in_order() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        return httpx.Response(
            200, json=[{"id": each["id"], "result": each["params"][0]} for each in reversed(asked)]
        )

    requests = [(RPCEndpoint("echo"), [HexBytes(bytes([number]))]) for number in range(5)]
    responses = await provider(handle).make_batch_request(requests)
    assert [each["result"] for each in responses] == [f"0x0{number}" for number in range(5)]
    assert await provider(handle).make_batch_request([]) == []

    def short(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=json.loads(request.content)[:-1])

    with pytest.raises(EndpointError, match="something else"):
        await provider(short).make_batch_request(requests)
