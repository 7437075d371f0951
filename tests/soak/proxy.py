"""A JSON-RPC endpoint that fails as it is told, in front of a node that does not."""

from __future__ import annotations

import json
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from enum import Enum
from random import Random
from typing import Any, Final

import attrs
import h11
import httpx
import trio

__all__ = ["Ask", "Fault", "FaultProxy", "Lie", "as_of", "open_proxy"]

Ask = Callable[[Any], Awaitable[Any]]
"""Has the node answer a request."""
Lie = Callable[[Any, Ask], Awaitable[Any]]
"""Answers a request, with the node's help or without."""

_AT_ONCE: Final = 65_536
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 s: closing sends RST."""
_JSON: Final = {"Content-Type": "application/json"}
_HTTP: Final = {200: b"OK", 429: b"Too Many Requests"}


class Fault(Enum):
    """What becomes of a request."""

    PASS = "pass"
    DROP = "drop"
    """The connection closes; the node never hears of it."""
    DELAY = "delay"
    """The answer comes late."""
    TOO_MANY = "429"
    """Refused with status 429."""
    RESET = "reset"
    """The node does it; the connection is reset in the midst of the answer."""
    LOST = "lost"
    """The node does it; no answer ever comes."""
    STALE = "stale"
    """The node stays at a block of the past: everything later does not exist for it."""
    LIE = "lie"
    """Answered by a `Lie`."""


class _HungUpError(Exception):
    """This connection gets no answer any more."""


@attrs.define
class FaultProxy:
    """One endpoint: ``share`` of its requests meet ``fault``, chosen by ``rng``.

    With ``methods``, of requests for these alone.
    """

    node: httpx.AsyncClient
    rng: Random
    delay: float = 0.5
    fault: Fault = Fault.PASS
    share: float = 1.0
    methods: frozenset[str] = frozenset()
    lie: Lie | None = None
    port: int = 0
    met: Counter[Fault] = attrs.Factory(Counter)
    _newest: int | None = None
    _over: trio.Event = attrs.Factory(trio.Event)
    _held: trio.Event | None = None
    _under_way: int = 0
    _answered: trio.Event = attrs.Factory(trio.Event)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def begin(
        self,
        fault: Fault,
        *,
        share: float = 1.0,
        behind: int = 0,
        methods: Collection[str] = (),
        lie: Lie | None = None,
    ) -> None:
        """Fail like this from now on; ``behind``: how many blocks a stale one has fallen back."""
        self.end()
        if fault is Fault.STALE:
            self._newest = max(0, await self._height() - behind)
        self.fault, self.share, self._over = fault, share, trio.Event()
        self.methods, self.lie = frozenset(methods), lie

    def end(self) -> None:
        """Fail no more. Whoever still waits for a lost answer is hung up on."""
        self.fault, self._newest, self.methods, self.lie = Fault.PASS, None, frozenset(), None
        self._over.set()

    def turn_to(self, url: str) -> None:
        """Stand in front of another node from now on."""
        self.node.base_url = httpx.URL(url)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold every request back while the block lasts: what it does to the node is one step.

        It begins when the node has answered whatever it was asked before.
        """
        self._held = released = trio.Event()
        try:
            while self._under_way:
                await self._answered.wait()
            yield
        finally:
            self._held = None
            released.set()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one connection until either side closes it."""
        connection = h11.Connection(h11.SERVER)
        async with stream:
            try:
                while (body := await _request(connection, stream)) is not None:
                    await self._answer(connection, stream, body)
                    connection.start_next_cycle()
            except (_HungUpError, h11.ProtocolError, trio.BrokenResourceError, httpx.HTTPError):
                return

    async def _answer(
        self, connection: h11.Connection, stream: trio.SocketStream, body: bytes
    ) -> None:
        if self._held is not None:
            await self._held.wait()
        struck = not self.methods or json.loads(body)["method"] in self.methods
        fault = self.fault if struck and self.rng.random() < self.share else Fault.PASS
        over, newest, lie = self._over, self._newest, self.lie
        self.met[fault] += 1
        if fault is Fault.DROP:
            raise _HungUpError
        if fault is Fault.TOO_MANY:
            await stream.send_all(_response(connection, b"slow down", 429))
            return
        self._under_way += 1
        try:
            if fault is Fault.STALE and newest is not None:
                newest = min(newest, await self._height())
                answer = json.dumps(await as_of(newest, json.loads(body), self._call)).encode()
            elif fault is Fault.LIE and lie is not None:
                answer = json.dumps(await lie(json.loads(body), self._call)).encode()
            else:
                answer = await self._ask(body)
        finally:
            self._under_way -= 1
            self._answered.set()
            self._answered = trio.Event()
        if fault is Fault.LOST:
            await over.wait()
            raise _HungUpError
        if fault is Fault.DELAY:
            await trio.sleep(self.delay)
        whole = _response(connection, answer)
        if fault is Fault.RESET:
            await stream.send_all(whole[: len(whole) - len(answer) // 2])
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            raise _HungUpError
        await stream.send_all(whole)

    async def _ask(self, body: bytes) -> bytes:
        return (await self.node.post("", content=body)).content

    async def _call(self, request: Any) -> Any:
        return json.loads(await self._ask(json.dumps(request).encode()))

    async def _height(self) -> int:
        request = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}
        return int((await self._call(request))["result"], 16)


async def as_of(newest: int, request: Any, ask: Ask) -> Any:
    """The answer of a node whose newest block is this one."""
    if isinstance(request, list):
        return [await as_of(newest, each, ask) for each in request]
    if request["method"] == "eth_blockNumber":
        return {"jsonrpc": "2.0", "id": request["id"], "result": hex(newest)}
    moving = ("latest", "pending")
    params = [hex(newest) if each in moving else each for each in request["params"]]
    answer = await ask({**request, "params": params})
    if "result" in answer:
        answer["result"] = _without_later(answer["result"], newest)
    return answer


def _without_later(result: Any, newest: int) -> Any:
    """A result as a node knows it whose newest block is this one."""
    if isinstance(result, list):
        return [each for each in result if _without_later(each, newest) is not None]
    if isinstance(result, dict):
        number = result.get("blockNumber", result.get("number"))
        if isinstance(number, str) and int(number, 16) > newest:
            return None
    return result


async def _request(connection: h11.Connection, stream: trio.SocketStream) -> bytes | None:
    """The body of the next request; None once the other side has closed."""
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(_AT_ONCE))
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return body
        elif isinstance(event, h11.ConnectionClosed):
            return None


def _response(connection: h11.Connection, body: bytes, status: int = 200) -> bytes:
    headers = [*_JSON.items(), ("Content-Length", str(len(body)))]
    events = (
        h11.Response(status_code=status, headers=headers, reason=_HTTP[status]),
        h11.Data(data=body),
        h11.EndOfMessage(),
    )
    return b"".join(connection.send(each) or b"" for each in events)


@asynccontextmanager
async def open_proxy(node_url: str, rng: Random) -> AsyncIterator[FaultProxy]:
    """An endpoint on a free port, for the time of the block."""
    async with (
        httpx.AsyncClient(base_url=node_url, headers=_JSON, timeout=30) as node,
        trio.open_nursery() as tasks,
    ):
        proxy = FaultProxy(node, rng)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy.port = listener.socket.getsockname()[1]
        tasks.start_soon(trio.serve_listeners, proxy.serve, [listener])
        yield proxy
        tasks.cancel_scope.cancel()
