"""What the tests of the signers share: structs to sign, and a remote signer that is not ours.

The remote signer reads typed data and signs it with eth-account, whose encoder shares nothing with
the one under test. It answers through a real socket or through httpx's mock transport alike.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, get_args

import attrs
import httpx
import trio
from eth_account import Account

from channels.protocol.signing import Signable
from channels.protocol.terms import Domain, Signed
from channels.signers.typed_data import FIELDS
from tests.protocol.build import place
from tests.protocol.test_eip712 import CLASSES, random_value

SECRET = bytes(range(1, 33))
OTHER_SECRET = bytes(range(2, 34))
NAMES = sorted(each.__name__ for each in get_args(Signed))
"""Every struct that a key of a channel may sign."""

Answer = dict[str, Any]


def signable(name: str, seed: object = 0) -> Signable:
    """A random struct of a type, in a random domain."""
    rng = random.Random(f"{name} {seed}")
    domain = Domain(chain_id=rng.getrandbits(256), adjudicator=place(str(rng.random())))
    return Signable(domain, _value(rng, name))


def _value(rng: random.Random, name: str) -> Any:
    if name in CLASSES:
        return random_value(rng, name)
    (cls,) = [each for each in get_args(Signed) if each.__name__ == name]
    drawn = [_field(rng, field["type"]) for field in FIELDS[name]]
    return cls(**dict(zip([each.name for each in attrs.fields(cls)], drawn, strict=True)))


def _field(rng: random.Random, kind: str) -> Any:
    if kind == "bytes32":
        return rng.randbytes(32)
    if kind == "address":
        return place(str(rng.random()))
    bits = int(kind.removeprefix("uint"))
    return rng.choice([0, 1] if bits == 8 else [0, 2**bits - 1, rng.getrandbits(bits)])


def error(code: int, message: str) -> Answer:
    return {"error": {"code": code, "message": message}}


@attrs.define
class RemoteKeys:
    """A remote signer: keys, the methods it knows, and what it does when it is asked to sign."""

    secrets: list[bytes] = attrs.Factory(lambda: [SECRET])
    sign_method: str = "eth_signTypedData_v4"
    list_method: str = "eth_accounts"
    on_sign: Callable[[Any], Awaitable[Answer]] | None = None
    bodies: list[bytes] = attrs.Factory(list)

    @property
    def addresses(self) -> list[str]:
        return [Account.from_key(each).address for each in self.secrets]

    def asked(self, method: str) -> list[bytes]:
        """Requests of one method, as they came."""
        return [each for each in self.bodies if json.loads(each)["method"] == method]

    async def answer(self, body: bytes) -> bytes:
        self.bodies.append(body)
        request = json.loads(body)
        made = await self._made(request["method"], request["params"])
        return json.dumps({"jsonrpc": "2.0", "id": request["id"], **made}).encode()

    async def _made(self, method: str, params: list[Any]) -> Answer:
        if method == self.list_method:
            return {"result": self.addresses}
        if method != self.sign_method:
            return error(-32601, f"the method {method} does not exist/is not available")
        if self.on_sign is not None:
            return await self.on_sign(params)
        return self.signed(params)

    def signed(self, params: list[Any]) -> Answer:
        holder, document = params
        secret = self.secrets[self.addresses.index(holder)]
        made = Account.sign_typed_data(secret, full_message=document)
        return {"result": "0x" + bytes(made.signature).hex()}

    def transport(self) -> httpx.MockTransport:
        async def handle(request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=await self.answer(request.content))

        return httpx.MockTransport(handle)


async def _serve(keys: RemoteKeys, stream: trio.SocketStream) -> None:
    held = b""
    while True:
        while b"\r\n\r\n" not in held:
            received = await stream.receive_some()
            if not received:
                return
            held += received
        head, _, held = held.partition(b"\r\n\r\n")
        lines = dict(each.lower().split(b": ", 1) for each in head.split(b"\r\n")[1:])
        length = int(lines[b"content-length"])
        while len(held) < length:
            held += await stream.receive_some()
        body, held = held[:length], held[length:]
        answer = await keys.answer(bytes(body))
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(answer))
        await stream.send_all(answer)


@asynccontextmanager
async def serving(keys: RemoteKeys) -> AsyncIterator[str]:
    """Answer on a socket of this machine; its URL."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, partial(_serve, keys), 0, host="127.0.0.1")
        )
        port = listeners[0].socket.getsockname()[1]
        yield f"http://127.0.0.1:{port}"
        nursery.cancel_scope.cancel()
