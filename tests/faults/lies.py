"""What endpoints that lie, lag or have rules of their own answer."""

from __future__ import annotations

from typing import Any, Final

import attrs
import rlp  # type: ignore[import-untyped]

from channels.protocol.eip712 import keccak
from tests.soak.proxy import Ask, Lie, as_of

__all__ = [
    "ForgedHead",
    "Lagging",
    "LeastTip",
    "ReplacementRule",
    "both",
    "chokes_on",
    "crowded_out",
    "false_receipts",
    "omits_logs",
    "other_nonce",
]

_REFUSED: Final = -32_000


def _refusal(request: Any, message: str) -> Any:
    error = {"code": _REFUSED, "message": message}
    return {"jsonrpc": "2.0", "id": request["id"], "error": error}


def _result(request: Any, result: Any) -> Any:
    return {"jsonrpc": "2.0", "id": request["id"], "result": result}


async def omits_logs(request: Any, ask: Ask) -> Any:
    """Tells of no event."""
    return _result(request, []) if request["method"] == "eth_getLogs" else await ask(request)


async def false_receipts(request: Any, ask: Ask) -> Any:
    """Every transaction asked for was mined long ago, and with success."""
    if request["method"] != "eth_getTransactionReceipt":
        return await ask(request)
    block = (
        await ask({**request, "method": "eth_getBlockByNumber", "params": ["finalized", False]})
    )["result"]
    return _result(
        request,
        {
            "transactionHash": request["params"][0],
            "blockNumber": block["number"],
            "blockHash": block["hash"],
            "status": "0x1",
            "gasUsed": "0x5208",
            "effectiveGasPrice": "0x1",
            "contractAddress": None,
            "logs": [],
        },
    )


def other_nonce(shift: int) -> Lie:
    """The account has sent so many more than it has; fewer, if negative."""

    async def lie(request: Any, ask: Ask) -> Any:
        answer = await ask(request)
        if request["method"] == "eth_getTransactionCount":
            answer["result"] = hex(max(int(answer["result"], 16) + shift, 0))
        return answer

    return lie


async def crowded_out(request: Any, ask: Ask) -> Any:
    """Takes transactions, of which none is ever mined, as others pay more."""
    if request["method"] != "eth_sendRawTransaction":
        return await ask(request)
    return _result(request, "0x" + keccak(bytes.fromhex(request["params"][0][2:])).hex())


def both(one: Lie, other: Lie) -> Lie:
    """Two lies at once; where both have an answer of their own, ``one`` has the last word."""

    async def lie(request: Any, ask: Ask) -> Any:
        async def lied(again: Any) -> Any:
            return await other(again, ask)

        return await one(request, lied)

    return lie


def chokes_on(what: bytes, *methods: str) -> Lie:
    """Has no sensible answer to requests of these methods that hold these bytes."""

    async def lie(request: Any, ask: Ask) -> Any:
        if request["method"] in methods and what.hex() in str(request["params"]):
            return {"jsonrpc": "2.0", "id": request["id"]}
        return await ask(request)

    return lie


@attrs.define
class ForgedHead:
    """Claims a newest block far ahead, of which it has the header and nothing else."""

    ahead: int = 1_000

    async def __call__(self, request: Any, ask: Ask) -> Any:
        answer = await ask(request)
        newest = ("latest", "pending")
        if request["method"] == "eth_blockNumber":
            answer["result"] = hex(int(answer["result"], 16) + self.ahead)
        elif request["method"] == "eth_getBlockByNumber" and request["params"][0] in newest:
            block = answer["result"]
            block["number"] = hex(int(block["number"], 16) + self.ahead)
            block["parentHash"] = "0x" + keccak(bytes.fromhex(block["hash"][2:])).hex()
            block["hash"] = "0x" + keccak(bytes.fromhex(block["parentHash"][2:])).hex()
        return answer


@attrs.frozen
class Lagging:
    """Knows no block younger than so many."""

    behind: int

    async def __call__(self, request: Any, ask: Ask) -> Any:
        height = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}
        newest = max(int((await ask(height))["result"], 16) - self.behind, 0)
        return await as_of(newest, request, ask)


@attrs.frozen
class _Bid:
    nonce: int
    tip: int
    most: int


def _bid(request: Any) -> _Bid:
    """What a signed EIP-1559 transaction offers."""
    raw = bytes.fromhex(request["params"][0][2:])
    fields: Any = rlp.decode(raw[1:])
    _, nonce, tip, most = (int.from_bytes(each, "big") for each in fields[:4])
    return _Bid(nonce, tip, most)


@attrs.define
class LeastTip:
    """A node whose mempool takes nothing below a priority fee, wei per gas."""

    tip: int
    refused: int = 0

    async def __call__(self, request: Any, ask: Ask) -> Any:
        if request["method"] == "eth_sendRawTransaction" and _bid(request).tip < self.tip:
            self.refused += 1
            return _refusal(request, f"transaction underpriced: minimum needed {self.tip}")
        return await ask(request)


@attrs.define
class ReplacementRule:
    """A node that wants both fees raised by so many percent before it replaces a transaction."""

    percent: int
    refused: int = 0
    bids: dict[int, _Bid] = attrs.Factory(dict)

    async def __call__(self, request: Any, ask: Ask) -> Any:
        if request["method"] != "eth_sendRawTransaction":
            return await ask(request)
        bid = _bid(request)
        before = self.bids.get(bid.nonce, bid)
        if bid != before and not all(
            100 * now >= (100 + self.percent) * then
            for now, then in ((bid.tip, before.tip), (bid.most, before.most))
        ):
            self.refused += 1
            return _refusal(request, "replacement transaction underpriced")
        self.bids[bid.nonce] = bid
        return await ask(request)
