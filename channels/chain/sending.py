"""One transaction at a time, sent and waited for: what needs no `TransactionManager`.

Nothing is stored and nothing replaced, so this is for deployments, which find out by themselves
what is done, and for demos and tests, where nothing is lost.
"""

from __future__ import annotations

from typing import Final

import trio

from channels.chain.accounts import TransactionSigner, UnsignedTransaction
from channels.chain.fees import Bid, FeePolicy
from channels.chain.jobs import Intent
from channels.chain.market import read_market
from channels.chain.reverts import explain
from channels.chain.rpc import CallFailedError, Receipt, Rpc
from channels.errors import InsufficientFundsError, TransactionFailedError
from channels.protocol.eip712 import Address, checksum

__all__ = ["market_bid", "send_now", "sign_now", "wait_mined", "wait_until_idle"]

_PATIENCE: Final = 60.0
_POLL: Final = 0.1


async def market_bid(rpc: Rpc, fee_limit: int = 0) -> Bid:
    """What to bid now, and no more than ``fee_limit`` wei per gas; 0: as the fee policy says."""
    block, fees = await rpc.block(), FeePolicy()
    base_fee = 0 if block is None else block.base_fee
    return fees.first(await read_market(rpc, fees, base_fee), fee_limit or fees.limit)


async def send_now(
    rpc: Rpc, account: TransactionSigner, intent: Intent, *, patience: float = _PATIENCE
) -> Receipt:
    """Send one transaction and wait until it is mined: for what a second try does not harm.

    Raises:
        ContractRevertedError: a contract refuses it.
        InsufficientFundsError: the account cannot pay for it.
        TransactionFailedError: mined and failed, or not mined within ``patience`` seconds.
    """
    raw = await sign_now(rpc, account, intent)
    return await wait_mined(rpc, await rpc.send(raw), intent.name, patience)


async def sign_now(rpc: Rpc, account: TransactionSigner, intent: Intent) -> bytes:
    """Sign a transaction for the account's next nonce, with what the market asks for.

    Raises:
        ContractRevertedError: a contract refuses it.
        InsufficientFundsError: the account cannot pay for it.
    """
    gas = intent.gas
    if not gas:
        try:
            estimate = await rpc.estimate_gas(
                intent.to, intent.data, sender=account.address, value=intent.value
            )
        except CallFailedError as error:
            raise explain(error, intent.name) from error
        gas = estimate + estimate // 4
    bid = await market_bid(rpc, intent.fee_limit)
    needed, available = gas * bid.max_fee + intent.value, await rpc.balance(account.address)
    if available < needed:
        raise InsufficientFundsError(
            f"{intent.name}: {checksum(account.address)} has {available} wei and needs up to "
            f"{needed}",
            needed=needed,
            available=available,
        )
    return await account.sign_transaction(
        UnsignedTransaction(
            chain_id=await rpc.chain_id(),
            nonce=await rpc.nonce(account.address, "pending"),
            to=intent.to,
            data=intent.data,
            value=intent.value,
            gas=gas,
            max_fee=bid.max_fee,
            priority_fee=bid.priority_fee,
        )
    )


async def wait_mined(rpc: Rpc, transaction_hash: bytes, name: str, patience: float) -> Receipt:
    """Wait until a transaction is mined. ``patience`` in seconds.

    Raises:
        TransactionFailedError: mined and failed, or not mined in time.
    """
    with trio.move_on_after(patience):
        while True:
            block = await rpc.block()
            receipt = await rpc.receipt(transaction_hash)
            if receipt is not None:
                break
            await rpc.wait_for_block(b"" if block is None else block.hash, _POLL)
        if not receipt.success:
            raise TransactionFailedError(f"{name} was mined and failed")
        return receipt
    raise TransactionFailedError(
        f"{name} was not mined within {patience:.0f} seconds",
        next_step="it may still be: run it again later",
    )


async def wait_until_idle(rpc: Rpc, account: Address, patience: float) -> None:
    """Wait until all transactions of ``account`` that the endpoint knows of are mined.

    Raises:
        TransactionFailedError: they were not within ``patience`` seconds.
    """
    with trio.move_on_after(patience):
        while await rpc.nonce(account, "pending") > await rpc.nonce(account):
            block = await rpc.block()
            await rpc.wait_for_block(b"" if block is None else block.hash, _POLL)
        return
    raise TransactionFailedError(
        f"{checksum(account)} has transactions that are not mined",
        next_step="replace them by ones that pay more, or wait; then run it again",
    )
