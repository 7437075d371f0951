"""Transactions that wait to be mined on the embedded chain, by the rules usual on real nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from eth.abc import SignedTransactionAPI

from channels.protocol.eip712 import Address

__all__ = ["Mempool", "RefusedTransactionError"]

_BUMP_PERCENT: Final = 10


class RefusedTransactionError(Exception):
    """The mempool does not take a transaction. Never leaves the embedded chain."""


class Mempool:
    """Waiting transactions by sender and nonce."""

    def __init__(self) -> None:
        self._waiting: dict[Address, dict[int, SignedTransactionAPI]] = {}

    def add(self, transaction: SignedTransactionAPI, account_nonce: int) -> None:
        """Take a transaction; one of the same sender and nonce is replaced by a better paying one.

        Raises:
            RefusedTransactionError: known, its nonce used, or paying too little to replace.
        """
        if transaction.nonce < account_nonce:
            raise RefusedTransactionError("nonce too low")
        queue = self._waiting.setdefault(Address(transaction.sender), {})
        present = queue.get(transaction.nonce)
        if present is not None:
            if present.hash == transaction.hash:
                raise RefusedTransactionError("already known")
            if not (
                _raised(present.max_fee_per_gas, transaction.max_fee_per_gas)
                and _raised(present.max_priority_fee_per_gas, transaction.max_priority_fee_per_gas)
            ):
                raise RefusedTransactionError("replacement transaction underpriced")
        queue[transaction.nonce] = transaction

    def restore(self, transaction: SignedTransactionAPI) -> None:
        """Take back a transaction whose block was reorganised away."""
        queue = self._waiting.setdefault(Address(transaction.sender), {})
        queue.setdefault(transaction.nonce, transaction)

    def remove(self, transaction: SignedTransactionAPI) -> None:
        """Forget what a mined transaction has made impossible: its nonce and all below."""
        queue = self._waiting.get(Address(transaction.sender), {})
        for nonce in [nonce for nonce in queue if nonce <= transaction.nonce]:
            del queue[nonce]

    def clear(self) -> None:
        """Forget everything, as a node does that restarts."""
        self._waiting.clear()

    def find(self, transaction_hash: bytes) -> SignedTransactionAPI | None:
        """A waiting transaction by its hash."""
        for queue in self._waiting.values():
            for transaction in queue.values():
                if transaction.hash == transaction_hash:
                    return transaction
        return None

    def next_nonce(self, sender: Address, account_nonce: int) -> int:
        """Nonce after all of ``sender``'s that can be mined in a row."""
        queue = self._waiting.get(sender, {})
        while account_nonce in queue:
            account_nonce += 1
        return account_nonce

    def executable(
        self, account_nonce: Callable[[Address], int], base_fee: int
    ) -> Iterator[SignedTransactionAPI]:
        """Transactions that can be mined now, each sender's in order of nonce."""
        for sender, queue in list(self._waiting.items()):
            nonce = account_nonce(sender)
            while (transaction := queue.get(nonce)) is not None:
                if transaction.max_fee_per_gas < base_fee:
                    break
                yield transaction
                nonce += 1


def _raised(before: int, after: int) -> bool:
    return after * 100 >= before * (100 + _BUMP_PERCENT)
