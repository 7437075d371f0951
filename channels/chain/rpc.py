"""What this library asks of an Ethereum endpoint, typed: blocks, receipts, logs, calls, broadcast.

Everything goes through a provider's ``make_request``, one JSON-RPC exchange a call, so that the
HTTP provider, the embedded chain and a test's double are the same to everything above. web3's
middleware is not on this path: answers are checked and turned into values here, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol, runtime_checkable

import attrs
import trio
from web3.types import RPCEndpoint, RPCResponse

from channels.chain.json_values import (
    hexadecimal,
    mapping,
    number,
    number_64,
    sequence,
    shown,
    words,
)
from channels.errors import EndpointError
from channels.protocol.eip712 import Address

__all__ = [
    "Block",
    "BlockId",
    "BlockSignal",
    "CallFailedError",
    "Contested",
    "Log",
    "Provider",
    "Receipt",
    "Rpc",
    "RpcRefusedError",
    "Transaction",
    "checked_logs",
    "quantity",
]

BlockId = int | bytes | str
"""A block by number, by 32-byte hash, or by tag (``latest``, ``finalized``, ``pending``)."""

_REVERT_CODE: Final = 3


class Provider(Protocol):
    """A web3 provider, as far as this library uses one."""

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Send one request and return the JSON-RPC response, error or result."""


@runtime_checkable
class BlockSignal(Protocol):
    """A provider that can tell of a new block without being polled."""

    async def wait_for_block(self, known: bytes) -> None:
        """Return as soon as the newest block is not ``known``."""


@runtime_checkable
class Contested(Protocol):
    """A provider made of several, that knows when they disagree."""

    @property
    def trouble(self) -> Exception | None:
        """What they disagree about."""


class RpcRefusedError(EndpointError):
    """The endpoint answered a request with an error. ``code`` and ``data`` are JSON-RPC's."""

    def __init__(self, method: str, error: Mapping[str, Any]) -> None:
        self.code = error.get("code")
        self.reply = words(error.get("message", ""))
        self.data = error.get("data")
        super().__init__(f"{method} was refused: {self.reply} (code {shown(self.code)})")


class CallFailedError(RpcRefusedError):
    """The EVM reverted or failed a simulated call. ``output`` is what the contract returned."""

    def __init__(self, method: str, error: Mapping[str, Any]) -> None:
        super().__init__(method, error)
        data = self.data
        if isinstance(data, Mapping):  # some nodes nest it
            data = data.get("data", data.get("result"))
        try:
            self.output = hexadecimal(data)
        except EndpointError:
            self.output = b""


@attrs.frozen(kw_only=True)
class Block:
    """A block's header. Time in Unix seconds, base fee in wei."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    base_fee: int
    gas_limit: int


@attrs.frozen(kw_only=True)
class Log:
    """One log of a mined transaction."""

    address: Address
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    transaction_hash: bytes
    log_index: int


@attrs.frozen(kw_only=True)
class Receipt:
    """What became of a mined transaction. Price in wei per gas."""

    transaction_hash: bytes
    block_number: int
    block_hash: bytes
    success: bool
    gas_used: int
    effective_gas_price: int
    contract_address: Address | None
    logs: tuple[Log, ...]


@attrs.frozen(kw_only=True)
class Transaction:
    """A transaction as sent: whence, whither and with what input."""

    hash: bytes
    sender: Address
    to: Address | None
    data: bytes
    block_number: int | None


def quantity(value: int) -> str:
    """JSON-RPC's way to write a number."""
    return hex(value)


def _address(value: object) -> Address | None:
    return None if value is None else Address(hexadecimal(value, 20))


def _block(value: object) -> Block:
    raw = mapping(value)
    return Block(
        number=number_64(raw.get("number")),
        hash=hexadecimal(raw.get("hash"), 32),
        parent_hash=hexadecimal(raw.get("parentHash"), 32),
        timestamp=number_64(raw.get("timestamp")),
        base_fee=number(raw.get("baseFeePerGas", "0x0")),
        gas_limit=number(raw.get("gasLimit", "0x0")),
    )


def _log(value: object) -> Log:
    raw = mapping(value)
    return Log(
        address=Address(hexadecimal(raw.get("address"), 20)),
        topics=tuple(hexadecimal(topic, 32) for topic in sequence(raw.get("topics", []))),
        data=hexadecimal(raw.get("data")),
        block_number=number_64(raw.get("blockNumber")),
        block_hash=hexadecimal(raw.get("blockHash"), 32),
        transaction_hash=hexadecimal(raw.get("transactionHash"), 32),
        log_index=number(raw.get("logIndex")),
    )


def checked_logs(raw: object, address: Address, block_hash: bytes | None) -> tuple[Log, ...]:
    """An answer to eth_getLogs as logs of ``address``, in order; in one block, if it is given.

    Raises:
        EndpointError: it is none.
    """
    logs = tuple(_log(each) for each in sequence(raw))
    for log in logs:
        elsewhere = block_hash is not None and log.block_hash != block_hash
        if log.address != address or elsewhere:
            raise EndpointError("eth_getLogs answered with logs that were not asked for")
    return tuple(sorted(logs, key=lambda log: (log.block_number, log.log_index)))


def _receipt(value: object) -> Receipt:
    raw = mapping(value)
    return Receipt(
        transaction_hash=hexadecimal(raw.get("transactionHash"), 32),
        block_number=number(raw.get("blockNumber")),
        block_hash=hexadecimal(raw.get("blockHash"), 32),
        success=number(raw.get("status")) == 1,
        gas_used=number(raw.get("gasUsed")),
        effective_gas_price=number(raw.get("effectiveGasPrice", "0x0")),
        contract_address=_address(raw.get("contractAddress")),
        logs=tuple(_log(log) for log in sequence(raw.get("logs", []))),
    )


def _at(block: BlockId) -> str:
    if isinstance(block, int):
        return hex(block)
    return block if isinstance(block, str) else "0x" + block.hex()


def _state_at(block: BlockId) -> str | dict[str, str]:
    # EIP-1898: a read at a hash fails once the block is gone, instead of answering from another.
    return {"blockHash": "0x" + block.hex()} if isinstance(block, bytes) else _at(block)


class Rpc:
    """One endpoint's JSON-RPC, answers checked.

    Every method may raise `channels.errors.EndpointError`.
    """

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    @property
    def is_contested(self) -> bool:
        """Whether there are several endpoints, and they disagree."""
        return isinstance(self.provider, Contested) and self.provider.trouble is not None

    async def request(self, method: str, *params: object) -> Any:
        """Send one request and return its result.

        Raises:
            EndpointError: no answer, or none that is JSON-RPC.
            RpcRefusedError: the endpoint answered with an error.
        """
        response = await self.provider.make_request(RPCEndpoint(method), list(params))
        error: object = response.get("error")
        if error:
            details: Mapping[str, Any] = error if isinstance(error, Mapping) else {"message": error}
            reverted = details.get("code") == _REVERT_CODE or "revert" in words(
                details.get("message", "")
            )
            raise (CallFailedError if reverted else RpcRefusedError)(method, details)
        if "result" not in response:
            raise EndpointError(f"{method} was answered with neither a result nor an error")
        return response["result"]

    async def wait_for_block(self, known: bytes, poll: float) -> None:
        """Wait ``poll`` seconds; less if the provider can tell that ``known`` has a successor."""
        if isinstance(self.provider, BlockSignal):
            with trio.move_on_after(poll):
                await self.provider.wait_for_block(known)
        else:
            await trio.sleep(poll)

    async def chain_id(self) -> int:
        """Chain id of EIP-155."""
        return number(await self.request("eth_chainId"))

    async def block(self, block: BlockId = "latest") -> Block | None:
        """Header of a block; None if the endpoint has none such."""
        method = "eth_getBlockByHash" if isinstance(block, bytes) else "eth_getBlockByNumber"
        raw = await self.request(method, _at(block), False)
        if raw is None:
            return None
        found = _block(raw)
        if isinstance(block, bytes) and found.hash != block:
            raise EndpointError(f"asked for block 0x{block.hex()}, got 0x{found.hash.hex()}")
        if isinstance(block, int) and found.number != block:
            raise EndpointError(f"asked for block {block}, got {found.number}")
        return found

    async def logs(self, block_hash: bytes, address: Address) -> tuple[Log, ...]:
        """Logs of ``address`` in one block, in order."""
        raw = await self.request(
            "eth_getLogs", {"blockHash": "0x" + block_hash.hex(), "address": "0x" + address.hex()}
        )
        return checked_logs(raw, address, block_hash)

    async def logs_between(self, first: int, last: int, address: Address) -> tuple[Log, ...]:
        """Logs of ``address`` in blocks ``first`` to ``last``, both included, in order."""
        raw = await self.request(
            "eth_getLogs",
            {"fromBlock": hex(first), "toBlock": hex(last), "address": "0x" + address.hex()},
        )
        return checked_logs(raw, address, None)

    async def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """Receipt of a mined transaction; None if it is not (or no longer) mined."""
        raw = await self.request("eth_getTransactionReceipt", "0x" + transaction_hash.hex())
        if raw is None or mapping(raw).get("blockHash") is None:
            return None
        return _receipt(raw)

    async def transaction(self, transaction_hash: bytes) -> Transaction | None:
        """A transaction by its hash; None if the endpoint does not know it."""
        raw = await self.request("eth_getTransactionByHash", "0x" + transaction_hash.hex())
        if raw is None:
            return None
        fields = mapping(raw)
        mined = fields.get("blockNumber")
        return Transaction(
            hash=hexadecimal(fields.get("hash"), 32),
            sender=Address(hexadecimal(fields.get("from"), 20)),
            to=_address(fields.get("to")),
            data=hexadecimal(fields.get("input", fields.get("data"))),
            block_number=None if mined is None else number(mined),
        )

    async def call(
        self,
        to: Address,
        data: bytes,
        *,
        sender: Address | None = None,
        block: BlockId = "latest",
        gas: int | None = None,
    ) -> bytes:
        """Simulate a call and return its output.

        Raises:
            CallFailedError: the EVM reverted or failed it.
        """
        message = _message(to, data, sender)
        if gas is not None:
            message["gas"] = hex(gas)
        return hexadecimal(await self.request("eth_call", message, _state_at(block)))

    async def estimate_gas(
        self,
        to: Address | None,
        data: bytes,
        *,
        sender: Address,
        value: int = 0,
        block: BlockId = "latest",
    ) -> int:
        """Gas that a transaction needs on top of ``block``.

        Raises:
            CallFailedError: the EVM reverted or failed it.
        """
        message = _message(to, data, sender)
        if value:
            message["value"] = hex(value)
        return number(await self.request("eth_estimateGas", message, _state_at(block)))

    async def send(self, raw: bytes) -> bytes:
        """Broadcast signed bytes and return the transaction's hash."""
        return hexadecimal(await self.request("eth_sendRawTransaction", "0x" + raw.hex()), 32)

    async def nonce(self, account: Address, block: BlockId = "latest") -> int:
        """Transactions that ``account`` has had mined as of ``block``."""
        return number(
            await self.request("eth_getTransactionCount", "0x" + account.hex(), _state_at(block))
        )

    async def balance(self, account: Address, block: BlockId = "latest") -> int:
        """Balance of ``account``, wei."""
        return number(await self.request("eth_getBalance", "0x" + account.hex(), _state_at(block)))

    async def code(self, account: Address, block: BlockId = "latest") -> bytes:
        """Code that stands at ``account``."""
        return hexadecimal(
            await self.request("eth_getCode", "0x" + account.hex(), _state_at(block))
        )

    async def priority_fee(self) -> int | None:
        """Priority fee the endpoint suggests, wei per gas; None if it does not."""
        try:
            return number(await self.request("eth_maxPriorityFeePerGas"))
        except RpcRefusedError:
            return None


def _message(to: Address | None, data: bytes, sender: Address | None) -> dict[str, str]:
    message = {"data": "0x" + data.hex()}
    if to is not None:
        message["to"] = "0x" + to.hex()
    if sender is not None:
        message["from"] = "0x" + sender.hex()
    return message
