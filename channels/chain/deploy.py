"""Deployment of the contracts, for demos and tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import trio
from eth_abi.abi import encode as abi_encode

from channels.chain.accounts import LocalAccount, UnsignedTransaction
from channels.chain.artifacts import load_artifact
from channels.chain.fees import GWEI
from channels.chain.jobs import Intent
from channels.chain.reverts import explain
from channels.chain.rpc import CallFailedError, Provider, Receipt, Rpc
from channels.errors import EndpointError, TransactionFailedError
from channels.protocol.eip712 import Address, checksum
from channels.protocol.terms import Domain

__all__ = ["Deployment", "deploy", "deploy_contract", "send_now"]

_PATIENCE: Final = 60.0
_ORACLE_GRACE: Final = 3 * 86_400
_CHALLENGE_DELAY: Final = 1_800


@attrs.frozen(kw_only=True)
class Deployment:
    """Where the contracts stand on a chain for demos and tests."""

    chain_id: int
    adjudicator: Address
    risk_engine: Address
    oracle: Address
    token: Address
    block_number: int
    """Block of the last of them: no event is older than the Adjudicator's, just before."""

    @property
    def domain(self) -> Domain:
        """The EIP-712 domain that states are signed in."""
        return Domain(chain_id=self.chain_id, adjudicator=self.adjudicator)


async def deploy(
    provider: Provider,
    account: LocalAccount,
    *,
    attesters: Sequence[Address],
    threshold: int = 1,
    challenge_delay: int = _CHALLENGE_DELAY,
    grace: int = _ORACLE_GRACE,
    token_name: str = "Test Dollar",  # noqa: S107  (no password)
    token_symbol: str = "USDT",  # noqa: S107
    token_decimals: int = 6,
) -> Deployment:
    """Deploy the RiskEngine, the Adjudicator, an AttestedOracle and a TestToken from ``account``.

    Delays in seconds. Without a transaction manager: a crash halfway leaves contracts nobody uses.

    Raises:
        EndpointError: no answer.
        ContractRevertedError: a constructor refuses its arguments.
    """
    rpc = Rpc(provider)
    risk_engine = await deploy_contract(rpc, account, "RiskEngine", b"")
    adjudicator = await deploy_contract(
        rpc, account, "Adjudicator", abi_encode(["address"], [checksum(risk_engine)])
    )
    oracle = await deploy_contract(
        rpc,
        account,
        "AttestedOracle",
        abi_encode(
            ["address[]", "uint8", "uint32", "uint32"],
            [[checksum(each) for each in attesters], threshold, challenge_delay, grace],
        ),
    )
    token = await deploy_contract(
        rpc,
        account,
        "TestToken",
        abi_encode(["string", "string", "uint8"], [token_name, token_symbol, token_decimals]),
    )
    block = await rpc.block()
    return Deployment(
        chain_id=await rpc.chain_id(),
        adjudicator=adjudicator,
        risk_engine=risk_engine,
        oracle=oracle,
        token=token,
        block_number=0 if block is None else block.number,
    )


async def deploy_contract(rpc: Rpc, account: LocalAccount, name: str, arguments: bytes) -> Address:
    """Deploy one of the package's contracts and return its address."""
    creation = load_artifact(name).creation
    receipt = await send_now(
        rpc, account, Intent(name=f"deploy {name}", to=None, data=creation + arguments)
    )
    if receipt.contract_address is None:
        raise EndpointError("a deployment's receipt names no contract")
    return receipt.contract_address


async def send_now(rpc: Rpc, account: LocalAccount, intent: Intent) -> Receipt:
    """Send one transaction and wait until it is mined: for demos and tests, where nothing is lost.

    Raises:
        ContractRevertedError: a contract refuses it.
        TransactionFailedError: mined and failed, or not mined within a minute.
    """
    block = await rpc.block()
    known = b"" if block is None else block.hash
    try:
        gas = intent.gas or await rpc.estimate_gas(
            intent.to, intent.data, sender=account.address, value=intent.value
        )
    except CallFailedError as error:
        raise explain(error, intent.name) from error
    base_fee = 0 if block is None else block.base_fee
    raw = account.sign_transaction_now(
        UnsignedTransaction(
            chain_id=await rpc.chain_id(),
            nonce=await rpc.nonce(account.address, "pending"),
            to=intent.to,
            data=intent.data,
            value=intent.value,
            gas=gas + gas // 4,
            max_fee=2 * base_fee + GWEI,
            priority_fee=GWEI,
        )
    )
    transaction_hash = await rpc.send(raw)
    with trio.move_on_after(_PATIENCE):
        while (receipt := await rpc.receipt(transaction_hash)) is None:
            await rpc.wait_for_block(known, 0.02)
            newest = await rpc.block()
            known = known if newest is None else newest.hash
        if not receipt.success:
            raise TransactionFailedError(f"{intent.name} was mined and failed")
        return receipt
    raise TransactionFailedError(f"{intent.name} was not mined within {_PATIENCE:.0f} seconds")
