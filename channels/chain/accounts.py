"""Accounts that pay for transactions: a key in memory, or whatever else can sign one."""

from __future__ import annotations

from typing import Protocol

import attrs
from eth_account import Account

from channels.errors import InvalidValueError, SignerError
from channels.protocol.eip712 import Address, checksum
from channels.protocol.signing import LocalSigner

__all__ = ["LocalAccount", "TransactionSigner", "UnsignedTransaction"]


@attrs.frozen(kw_only=True)
class UnsignedTransaction:
    """An EIP-1559 transaction before it is signed. Fees in wei per gas, value in wei."""

    chain_id: int
    nonce: int
    to: Address | None
    data: bytes
    value: int
    gas: int
    max_fee: int
    priority_fee: int

    def __attrs_post_init__(self) -> None:
        numbers = (self.chain_id, self.nonce, self.value, self.gas, self.max_fee)
        if min(*numbers, self.priority_fee) < 0:
            raise InvalidValueError("a transaction has no negative numbers")
        if self.priority_fee > self.max_fee:
            raise InvalidValueError("the priority fee is above the maximum fee")


class TransactionSigner(Protocol):
    """What holds the key of an account that pays for transactions."""

    @property
    def address(self) -> Address:
        """The account."""

    async def sign_transaction(self, transaction: UnsignedTransaction) -> bytes:
        """Sign; return the bytes to broadcast.

        Raises:
            SignerError: the key cannot or will not sign. Nothing was signed.
        """


class LocalAccount(LocalSigner):
    """A key held in this process's memory: signs transactions, and states as a `LocalSigner`."""

    def __init__(self, secret: bytes) -> None:
        """Take the 32-byte private key.

        Raises:
            InvalidValueError: not a valid secp256k1 private key.
        """
        super().__init__(secret)
        self._account = Account.from_key(secret)

    def __repr__(self) -> str:
        return f"LocalAccount({checksum(self.address)})"

    async def sign_transaction(self, transaction: UnsignedTransaction) -> bytes:
        """Sign; return the bytes to broadcast.

        Raises:
            SignerError: a number has more bits than a transaction has room for.
        """
        return self.sign_transaction_now(transaction)

    def sign_transaction_now(self, transaction: UnsignedTransaction) -> bytes:
        """Sign without waiting; return the bytes to broadcast."""
        fields: dict[str, object] = {
            "type": 2,
            "chainId": transaction.chain_id,
            "nonce": transaction.nonce,
            "to": b"" if transaction.to is None else checksum(transaction.to),
            "data": transaction.data,
            "value": transaction.value,
            "gas": transaction.gas,
            "maxFeePerGas": transaction.max_fee,
            "maxPriorityFeePerGas": transaction.priority_fee,
        }
        try:
            return bytes(self._account.sign_transaction(fields).raw_transaction)
        except (TypeError, ValueError) as error:
            raise SignerError(f"the transaction cannot be signed: {error}") from error
