"""Blocks, transactions and receipts of the embedded chain as JSON-RPC shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rlp  # type: ignore[import-untyped]
from eth.abc import BlockAPI, LogAPI, ReceiptAPI, SignedTransactionAPI

from channels.protocol.eip712 import keccak

__all__ = ["block_json", "log_json", "receipt_json", "transaction_json"]


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def block_json(block: BlockAPI, full: bool) -> dict[str, Any]:
    """A block, with whole transactions or their hashes."""
    header = block.header
    return {
        "number": hex(header.block_number),
        "hash": _hex(header.hash),
        "parentHash": _hex(header.parent_hash),
        "timestamp": hex(header.timestamp),
        "baseFeePerGas": hex(header.base_fee_per_gas or 0),
        "gasLimit": hex(header.gas_limit),
        "gasUsed": hex(header.gas_used),
        "miner": _hex(header.coinbase),
        "stateRoot": _hex(header.state_root),
        "transactionsRoot": _hex(header.transaction_root),
        "receiptsRoot": _hex(header.receipt_root),
        "sha3Uncles": _hex(header.uncles_hash),
        "logsBloom": _hex(header.bloom.to_bytes(256, "big")),
        "mixHash": _hex(header.mix_hash),
        "nonce": _hex(header.nonce),
        "difficulty": hex(header.difficulty),
        "extraData": _hex(header.extra_data),
        "size": hex(len(header.hash)),
        "uncles": [],
        "transactions": [
            transaction_json(each, block, index) if full else _hex(each.hash)
            for index, each in enumerate(block.transactions)
        ],
    }


def transaction_json(
    transaction: SignedTransactionAPI, block: BlockAPI | None, index: int | None
) -> dict[str, Any]:
    """A transaction, mined (with its place) or waiting."""
    return {
        "hash": _hex(transaction.hash),
        "type": hex(getattr(transaction, "type_id", None) or 0),
        "nonce": hex(transaction.nonce),
        "blockHash": None if block is None else _hex(block.hash),
        "blockNumber": None if block is None else hex(block.number),
        "transactionIndex": None if index is None else hex(index),
        "from": _hex(transaction.sender),
        "to": _hex(transaction.to) if transaction.to else None,
        "value": hex(transaction.value),
        "gas": hex(transaction.gas),
        "gasPrice": hex(transaction.max_fee_per_gas),
        "maxFeePerGas": hex(transaction.max_fee_per_gas),
        "maxPriorityFeePerGas": hex(transaction.max_priority_fee_per_gas),
        "input": _hex(transaction.data),
        "chainId": hex(transaction.chain_id or 0),
        "v": hex(transaction.y_parity),
        "r": hex(transaction.r),
        "s": hex(transaction.s),
    }


def receipt_json(block: BlockAPI, receipts: Sequence[ReceiptAPI], index: int) -> dict[str, Any]:
    """Receipt of transaction ``index`` of ``block``."""
    transaction, receipt = block.transactions[index], receipts[index]
    before = receipts[index - 1].gas_used if index else 0
    first_log = sum(len(each.logs) for each in receipts[:index])
    base_fee = block.header.base_fee_per_gas or 0
    created = None
    if not transaction.to:
        created = keccak(rlp.encode([transaction.sender, transaction.nonce]))[12:]
    return {
        "transactionHash": _hex(transaction.hash),
        "transactionIndex": hex(index),
        "blockHash": _hex(block.hash),
        "blockNumber": hex(block.number),
        "from": _hex(transaction.sender),
        "to": _hex(transaction.to) if transaction.to else None,
        "status": "0x1" if receipt.state_root == b"\x01" else "0x0",
        "gasUsed": hex(receipt.gas_used - before),
        "cumulativeGasUsed": hex(receipt.gas_used),
        "effectiveGasPrice": hex(
            min(transaction.max_fee_per_gas, base_fee + transaction.max_priority_fee_per_gas)
        ),
        "contractAddress": None if created is None else _hex(created),
        "logsBloom": _hex(receipt.bloom.to_bytes(256, "big")),
        "type": hex(getattr(transaction, "type_id", None) or 0),
        "logs": [
            log_json(log, block, index, first_log + place) for place, log in enumerate(receipt.logs)
        ],
    }


def log_json(log: LogAPI, block: BlockAPI, index: int, log_index: int) -> dict[str, Any]:
    """A log of transaction ``index`` of ``block``."""
    return {
        "address": _hex(log.address),
        "topics": [_hex(topic.to_bytes(32, "big")) for topic in log.topics],
        "data": _hex(log.data),
        "blockNumber": hex(block.number),
        "blockHash": _hex(block.hash),
        "transactionHash": _hex(block.transactions[index].hash),
        "transactionIndex": hex(index),
        "logIndex": hex(log_index),
        "removed": False,
    }
