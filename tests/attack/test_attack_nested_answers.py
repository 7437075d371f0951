"""Attack: brackets without end, in place of an answer.

A parser that follows them overflows the stack, and the process that defends us would be gone.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from web3.types import RPCEndpoint

from channels.chain.provider import TrioHTTPProvider
from channels.cli.tower.looking import ask_tower
from channels.errors import EndpointError, OurError, SignerError, TowerFaultError
from channels.foreign_json import parse_json
from channels.prices import HttpFeed, LinesFeed
from channels.protocol.eip712 import Address
from channels.protocol.terms import Domain
from channels.protocol.types import feed_id
from channels.signers import open_remote_signer
from channels.tower.client import TowerClient

FEED = feed_id("ETH-USD")
SOMEBODY = Address(b"\x01" * 20)
NESTED = (b"[" * 60_000, b'{"a":' * 12_000, b"[" * 30_000 + b"]" * 30_000)
UTF_16 = "[[".encode("utf-16") * 999

bombs = pytest.mark.parametrize("bomb", [*NESTED, UTF_16], ids=["[", "{", "[]", "UTF-16"])


def answering(content: bytes) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(200, content=content))


@bombs
async def test_of_an_endpoint(bomb: bytes) -> None:
    async with httpx.AsyncClient(transport=answering(bomb)) as client:
        provider = TrioHTTPProvider("http://node.example", client)
        with pytest.raises(EndpointError, match="no JSON"):
            await provider.make_request(RPCEndpoint("eth_chainId"), [])


@bombs
async def test_of_a_tower(bomb: bytes) -> None:
    domain = Domain(chain_id=1, adjudicator=SOMEBODY)
    async with httpx.AsyncClient(transport=answering(bomb)) as client:
        with pytest.raises(TowerFaultError, match="no JSON"):
            await TowerClient(client, "http://tower.example", SOMEBODY, domain).heartbeat()


@bombs
async def test_of_a_remote_signer(bomb: bytes) -> None:
    with pytest.raises(SignerError, match="no JSON-RPC"):
        async with open_remote_signer("http://signer.example", transport=answering(bomb)):
            pass


@bombs
async def test_of_a_price_feed(bomb: bytes) -> None:
    async with httpx.AsyncClient(transport=answering(bomb)) as client:
        with pytest.raises(EndpointError, match="without data"):
            await HttpFeed(client, "http://prices.example", "data")(FEED)


async def test_of_a_program_that_writes_prices(tmp_path: Path) -> None:
    path, good = tmp_path / "prices", {"feed": "ETH-USD", "time": 1_000, "price": 0.1}
    path.write_bytes(json.dumps(good).encode() + b"\n" + NESTED[2])
    assert await LinesFeed(path, clock=lambda: 1_000)(FEED) == 10**17


async def test_of_a_tower_that_is_looked_at() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(NESTED[0]) + NESTED[0]

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        serving = partial(trio.serve_tcp, serve, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serving)
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        with pytest.raises(OurError, match="no tower answers"):
            await trio.to_thread.run_sync(ask_tower, url, "/v1/tower")
        nursery.cancel_scope.cancel()


def test_brackets_in_strings_nest_nothing() -> None:
    value = {"a": ["]]][[[" * 99, '{\\"{' * 99, {"b": [[], {}, "\\"]}], "[": 1.5, "ü": None}
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value
    assert parse_json(b"[" * 64 + b"]" * 64) is not None
    with pytest.raises(ValueError, match="nested"):
        parse_json(b"[" * 65 + b"]" * 65)
