"""An Ethereum chain inside the process, from eth-tester's py-evm, for demos and quick tests.

It answers the JSON-RPC methods this library uses, under Prague rules, and any number of peers of
one process can share it. Unlike eth-tester it has a mempool (future nonces wait, replacements
follow the usual 10 % rule), can reorganise itself, and can stop mining on its own, so that what
only happens on real networks can be tested here.

Not a secure chain: its accounts' keys are public.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio
from eth.abc import BlockAPI, ReceiptAPI, SignedTransactionAPI
from eth_tester.backends.pyevm.main import (
    generate_genesis_state_for_keys,
    get_default_account_keys,
    get_default_genesis_params,
    setup_tester_chain,
)
from eth_utils.exceptions import ValidationError
from web3.providers.async_base import AsyncJSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from channels.chain.accounts import LocalAccount
from channels.chain.create2 import PROXY, PROXY_CODE
from channels.chain.mempool import Mempool, RefusedTransactionError
from channels.chain.serialise import block_json, log_json, receipt_json, transaction_json
from channels.chain.simulation import RpcError, estimate_gas, simulate
from channels.errors import InvalidValueError
from channels.protocol.eip712 import Address, keccak

__all__ = ["DEFAULT_CHAIN_ID", "EmbeddedChain"]

DEFAULT_CHAIN_ID: Final = 1337
GENESIS_TIME: Final = 1_767_225_600
"""2026-01-01T00:00:00Z."""

_GAS_LIMIT: Final = 60_000_000


class EmbeddedChain(AsyncJSONBaseProvider):
    """The chain, and a web3 provider for it.

    ``accounts`` have a million ether each. ``slot`` is the seconds from one block to the next
    unless time is moved on purpose. ``finality_depth`` is how far the block tagged ``finalized`` is
    behind the newest one. ``deployment_proxy``: whether the proxy of `channels.chain.create2` is
    there from the start, as on other development nodes.
    """

    def __init__(
        self,
        *,
        chain_id: int = DEFAULT_CHAIN_ID,
        accounts: int = 10,
        genesis_time: int = GENESIS_TIME,
        slot: int = 12,
        finality_depth: int = 0,
        auto_mine: bool = True,
        deployment_proxy: bool = True,
    ) -> None:
        super().__init__()
        keys = get_default_account_keys(quantity=accounts)
        self.accounts = tuple(LocalAccount(key.to_bytes()) for key in keys)
        self.chain_id = chain_id
        self.slot = slot
        self.finality_depth = finality_depth
        self.auto_mine = auto_mine
        genesis = generate_genesis_state_for_keys(keys)
        if deployment_proxy:
            genesis[PROXY] = {"balance": 0, "nonce": 1, "code": PROXY_CODE, "storage": {}}
        _, self._chain = setup_tester_chain(
            get_default_genesis_params({"timestamp": genesis_time, "gas_limit": _GAS_LIMIT}),
            genesis,
        )
        self._chain.chain_id = chain_id
        # py-evm's own canonical chain follows total difficulty, which is 0 for every block since
        # the merge: which blocks count is decided here.
        self._blocks: list[BlockAPI] = [self._chain.get_canonical_block_by_number(0)]
        self._receipts: dict[bytes, tuple[ReceiptAPI, ...]] = {self._blocks[0].hash: ()}
        self._places: dict[bytes, tuple[int, int]] = {}
        self._mempool = Mempool()
        self._mined = trio.Event()
        self._fork = 0
        self._next_time: int | None = None
        self._methods: dict[str, Callable[..., Any]] = {
            "web3_clientVersion": lambda: "option-channels/embedded",
            "net_version": lambda: str(self.chain_id),
            "eth_chainId": lambda: hex(self.chain_id),
            "eth_blockNumber": lambda: hex(self._tip.number),
            "eth_accounts": lambda: ["0x" + each.address.hex() for each in self.accounts],
            "eth_gasPrice": lambda: hex(2 * int(self._tip.header.base_fee_per_gas or 0) + 10**9),
            "eth_maxPriorityFeePerGas": lambda: hex(10**9),
            "eth_getBlockByNumber": self._get_block,
            "eth_getBlockByHash": self._get_block,
            "eth_getTransactionCount": self._get_nonce,
            "eth_getBalance": lambda a, b="latest": hex(self._state(b).get_balance(_raw(a))),
            "eth_getCode": lambda a, b="latest": _hex(self._state(b).get_code(_raw(a))),
            "eth_getStorageAt": lambda a, slot, b="latest": _hex(
                self._state(b).get_storage(_raw(a), int(slot, 16)).to_bytes(32, "big")
            ),
            "eth_call": self._call,
            "eth_estimateGas": self._estimate_gas,
            "eth_sendRawTransaction": self._send,
            "eth_getTransactionByHash": self._get_transaction,
            "eth_getTransactionReceipt": self._get_receipt,
            "eth_getLogs": self._get_logs,
        }

    # ---- the provider

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Answer one JSON-RPC request."""
        await trio.lowlevel.checkpoint()
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": 1}
        handler = self._methods.get(method)
        try:
            if handler is None:
                raise RpcError(-32601, f"the method {method} does not exist here")
            answer["result"] = handler(*params)
        except RpcError as error:
            answer["error"] = error.error
        except RefusedTransactionError as error:
            answer["error"] = {"code": -32000, "message": str(error)}
        return answer  # type: ignore[return-value]

    async def wait_for_block(self, known: bytes) -> None:
        """Return as soon as the newest block is not ``known``."""
        while self._tip.hash == known:
            await self._mined.wait()

    # ---- control

    async def time(self) -> int:
        """Timestamp of the newest block."""
        return int(self._tip.header.timestamp)

    async def mine(self, blocks: int = 1) -> None:
        """Mine blocks, the first with whatever the mempool holds."""
        for _ in range(blocks):
            self._mine()
        await trio.lowlevel.checkpoint()

    async def advance_time(self, *, to: int | None = None, by: int | None = None) -> None:
        """Mine a block whose timestamp is ``to``, or ``by`` seconds after the newest one's.

        Raises:
            InvalidValueError: not later than the newest block.
        """
        now = self._tip.header.timestamp
        target = to if to is not None else now + (by or 0)
        if target <= now:
            raise InvalidValueError(f"time only moves forward: {target} is not after {now}")
        self._next_time = target
        self._mine()
        await trio.lowlevel.checkpoint()

    async def set_next_time(self, timestamp: int) -> None:
        """Give the next block this timestamp, whatever it will hold."""
        self._next_time = timestamp
        await trio.lowlevel.checkpoint()

    async def reorg(self, depth: int, *, keep: bool = True) -> None:
        """Replace the newest ``depth`` blocks by ``depth`` + 1 others.

        The transactions of the old ones return to the mempool and are mined in the first new block,
        unless ``keep`` is False: then they are forgotten, as by a node that dropped them.
        """
        dropped = await self._rewind(depth)
        if keep:
            for transaction in dropped:
                self._mempool.restore(transaction)
        for _ in range(depth + 1):
            self._mine()

    async def rollback(self, depth: int) -> None:
        """Forget the newest ``depth`` blocks and what they held, and put nothing in their place."""
        await self._rewind(depth)
        self._announce()

    async def _rewind(self, depth: int) -> list[SignedTransactionAPI]:
        if not 0 < depth < len(self._blocks):
            raise InvalidValueError(f"cannot replace {depth} of {len(self._blocks)} blocks")
        await trio.lowlevel.checkpoint()
        dropped = [each for block in self._blocks[-depth:] for each in block.transactions]
        for transaction in dropped:
            self._places.pop(transaction.hash, None)
        for block in self._blocks[-depth:]:
            del self._receipts[block.hash]
        del self._blocks[-depth:]
        self._fork += 1
        return dropped

    # ---- mining

    @property
    def _tip(self) -> BlockAPI:
        return self._blocks[-1]

    def _mine(self) -> None:
        parent = self._tip.header
        timestamp = parent.timestamp + self.slot
        if self._next_time is not None:
            timestamp, self._next_time = max(self._next_time, parent.timestamp + 1), None
        chain = self._chain
        chain.header = chain.create_header_from_parent(
            parent, timestamp=timestamp, gas_limit=parent.gas_limit
        )
        receipts: list[ReceiptAPI] = []
        for transaction in self._mempool.executable(
            chain.get_vm().state.get_nonce, chain.header.base_fee_per_gas
        ):
            try:
                _, receipt, _ = chain.apply_transaction(transaction)
            except ValidationError:  # no funds, or the block is full: it may fit another one
                continue
            receipts.append(receipt)
            self._mempool.remove(transaction)
        # Numbered forks: a block mined again in place of another never has the same hash.
        randomness = keccak(f"{self._fork}/{parent.block_number}".encode())
        block = chain.mine_block(mix_hash=randomness)
        for index, transaction in enumerate(block.transactions):
            self._places[transaction.hash] = (block.number, index)
        self._blocks.append(block)
        self._receipts[block.hash] = tuple(receipts)
        self._announce()

    def _announce(self) -> None:
        self._mined.set()
        self._mined = trio.Event()

    # ---- reads

    def _find(self, block: object) -> BlockAPI | None:
        if isinstance(block, dict):
            block = block.get("blockHash") or block.get("blockNumber")
        match block:
            case None | "latest" | "pending":
                return self._tip
            case "finalized" | "safe":
                return self._blocks[max(len(self._blocks) - 1 - self.finality_depth, 0)]
            case "earliest":
                return self._blocks[0]
            case str() if len(block) == 66:
                wanted = bytes.fromhex(block[2:])
                return next((each for each in reversed(self._blocks) if each.hash == wanted), None)
            case str():
                number = int(block, 16)
                return self._blocks[number] if number < len(self._blocks) else None
        raise RpcError(-32602, f"{block!r} names no block")

    def _known(self, block: object) -> BlockAPI:
        found = self._find(block)
        if found is None:
            raise RpcError(-32000, "header not found")
        return found

    def _state(self, block: object) -> Any:
        return self._vm(block).state

    def _get_block(self, block: str, full: bool = False) -> dict[str, Any] | None:
        found = self._find(block)
        return None if found is None else block_json(found, full)

    def _get_nonce(self, account: str, block: object = "latest") -> str:
        address = Address(_raw(account))
        nonce = self._state(block).get_nonce(address)
        return hex(self._mempool.next_nonce(address, nonce) if block == "pending" else nonce)

    def _get_transaction(self, hash_: str) -> dict[str, Any] | None:
        wanted = _raw(hash_)
        if (place := self._places.get(wanted)) is not None:
            block = self._blocks[place[0]]
            return transaction_json(block.transactions[place[1]], block, place[1])
        waiting = self._mempool.find(wanted)
        return None if waiting is None else transaction_json(waiting, None, None)

    def _get_receipt(self, hash_: str) -> dict[str, Any] | None:
        place = self._places.get(_raw(hash_))
        if place is None:
            return None
        block = self._blocks[place[0]]
        return receipt_json(block, self._receipts[block.hash], place[1])

    def _get_logs(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        if "blockHash" in query:
            blocks = [self._known(query["blockHash"])]
        else:
            first = self._known(query.get("fromBlock", "earliest")).number
            last = self._known(query.get("toBlock", "latest")).number
            blocks = self._blocks[first : last + 1]
        address = query.get("address")
        found = []
        for block in blocks:
            index = 0
            for place, receipt in enumerate(self._receipts[block.hash]):
                for log in receipt.logs:
                    if address is None or log.address == _raw(address):
                        found.append(log_json(log, block, place, index))
                    index += 1
        return found

    # ---- execution

    def _send(self, raw: str) -> str:
        decoder = self._chain.get_vm().get_transaction_builder()
        try:
            transaction: SignedTransactionAPI = decoder.decode(_raw(raw))
            transaction.validate()
            sender = transaction.sender
        except Exception as error:  # py-evm, rlp and eth-keys each have their own
            raise RpcError(-32000, f"invalid transaction: {error}") from error
        state = self._state("latest")
        if transaction.chain_id not in (None, self.chain_id):  # None: from before EIP-155
            raise RpcError(-32000, "invalid chain id for signer")
        if transaction.intrinsic_gas > transaction.gas:
            raise RpcError(-32000, "intrinsic gas too low")
        if transaction.gas > _GAS_LIMIT:
            raise RpcError(-32000, "exceeds block gas limit")
        cost = transaction.gas * int(transaction.max_fee_per_gas) + transaction.value
        if state.get_balance(sender) < cost:
            raise RpcError(-32000, "insufficient funds for gas * price + value")
        if transaction.hash in self._places:
            raise RpcError(-32000, "already known")
        self._mempool.add(transaction, state.get_nonce(sender))
        if self.auto_mine:
            self._mine()
        return _hex(transaction.hash)

    def _vm(self, block: object) -> Any:
        return self._chain.get_vm(self._known(block).header)

    def _call(self, message: dict[str, str], block: object = "latest") -> str:
        return _hex(simulate(self._vm(block), message, most_gas=_GAS_LIMIT)[0])

    def _estimate_gas(self, message: dict[str, str], block: object = "latest") -> str:
        return hex(estimate_gas(self._vm(block), message, most_gas=_GAS_LIMIT))


def _raw(value: str) -> bytes:
    return bytes.fromhex(value[2:])


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
