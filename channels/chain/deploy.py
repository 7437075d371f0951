"""Deployment of the contracts, the same for a public network, a demo and a test.

Every contract goes through the deterministic deployment proxy, so its address follows from its
code, its arguments and a salt. What stands there already is recognised and left alone: a run that
was interrupted is continued by the next one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

import attrs

from channels.chain.accounts import TransactionSigner
from channels.chain.create2 import (
    PROXY,
    PROXY_COST,
    PROXY_SENDER,
    PROXY_TRANSACTION,
    has_proxy,
)
from channels.chain.deployments import DeployedContract, Deployment
from channels.chain.inspection import differences
from channels.chain.jobs import Intent
from channels.chain.plan import PlannedContract, core_contracts, token_contract
from channels.chain.reverts import explain
from channels.chain.rpc import CallFailedError, Provider, Receipt, Rpc, RpcRefusedError
from channels.chain.sending import market_bid, send_now, sign_now, wait_mined, wait_until_idle
from channels.errors import (
    CodeDiffersError,
    DeploymentProxyError,
    EndpointError,
    InvalidValueError,
    WrongChainError,
)
from channels.protocol.eip712 import Address, checksum, keccak
from channels.units import DAY

__all__ = ["Deployment", "Step", "Survey", "carry_out", "deploy", "send_now", "survey"]

_PATIENCE: Final = 60.0
_SETTLING_GAS: Final = 100_000
"""What a constructor may take that does not write storage."""

_REFUSES_UNPROTECTED: Final = ("replay-protected", "eip-155", "eip155", "unprotected")


# ---- looking


@attrs.frozen(kw_only=True)
class Survey:
    """What a plan finds on a chain, and what the rest of it costs. Fees in wei per gas.

    ``missing`` has the gas limit of each contract that is still to be deployed.
    """

    chain_id: int
    has_proxy: bool
    missing: tuple[tuple[PlannedContract, int], ...]
    max_fee: int

    @property
    def gas(self) -> int:
        """Gas limits of everything missing but the proxy."""
        return sum(gas for _, gas in self.missing)

    @property
    def cost(self) -> int:
        """Wei that the account may have to pay in all, the proxy included if it is missing."""
        return self.gas * self.max_fee + (0 if self.has_proxy else PROXY_COST)


async def survey(
    rpc: Rpc, plan: Sequence[PlannedContract], sender: Address, *, expected: int | None = None
) -> Survey:
    """Find out what of a plan stands already. Sends nothing.

    ``expected`` is the id that the chain must have, if it is known.

    Raises:
        WrongChainError: the chain has another id.
        CodeDiffersError: at a planned address stands something else.
        DeploymentProxyError: something else stands in the proxy's place.
        ContractRevertedError: a constructor refuses its arguments.
        EndpointError: no answer.
    """
    chain_id = await _chain_id(rpc, expected)
    proxy = await has_proxy(rpc)
    missing: list[tuple[PlannedContract, int]] = []
    for planned in plan:
        if not await _stands(rpc, planned, chain_id):
            # A constructor that looks at a contract to come cannot be simulated yet.
            waits = any(planned.encoded_arguments.count(each.address) for each, _ in missing)
            gas = _formula(planned) if waits else await _gas_limit(rpc, planned, sender, proxy)
            missing.append((planned, gas))
    bid = await market_bid(rpc)
    return Survey(chain_id=chain_id, has_proxy=proxy, missing=tuple(missing), max_fee=bid.max_fee)


async def _chain_id(rpc: Rpc, expected: int | None) -> int:
    chain_id = await rpc.chain_id()
    if expected is not None and chain_id != expected:
        raise WrongChainError(expected=expected, found=chain_id)
    return chain_id


async def _stands(rpc: Rpc, planned: PlannedContract, chain_id: int) -> bool:
    if not await rpc.code(planned.address):
        return False
    if found := await differences(rpc, planned, chain_id):
        raise CodeDiffersError(f"{planned.name} at {checksum(planned.address)}: {'; '.join(found)}")
    return True


async def _gas_limit(rpc: Rpc, planned: PlannedContract, sender: Address, proxy: bool) -> int:
    gas = await _estimate(rpc, planned, sender, proxy)
    return gas + gas // 8


async def _estimate(rpc: Rpc, planned: PlannedContract, sender: Address, proxy: bool) -> int:
    try:
        if proxy:
            try:
                return await rpc.estimate_gas(
                    PROXY, planned.salt + planned.init_code, sender=sender
                )
            except CallFailedError:
                pass  # The proxy swallows the reason: without it the constructor says why.
        return await rpc.estimate_gas(None, planned.init_code, sender=sender)
    except CallFailedError as error:
        raise explain(error, f"deploy {planned.name}") from error


def _formula(planned: PlannedContract) -> int:
    """Gas of a deployment through the proxy, by the Yellow Paper and EIP-3860, Prague's prices."""
    data = planned.salt + planned.init_code
    zeros = data.count(0)
    words = -(-len(planned.init_code) // 32)
    calldata = 4 * zeros + 16 * (len(data) - zeros)
    code = 200 * len(planned.artifact.runtime)
    return 21_000 + calldata + 32_000 + 8 * words + code + _SETTLING_GAS


# ---- deploying


@attrs.frozen(kw_only=True)
class Step:
    """What became of a contract: it was there before, its transaction was sent, it is deployed."""

    status: Literal["present", "sent", "deployed"]
    contract: DeployedContract
    gas_used: int | None = None


async def _forget(_: Deployment) -> None:
    """Keep no record."""


async def _say_nothing(_: Step) -> None:
    """Report nothing."""


async def carry_out(
    rpc: Rpc,
    account: TransactionSigner,
    plan: Sequence[PlannedContract],
    *,
    before: Deployment,
    save: Callable[[Deployment], Awaitable[None]] = _forget,
    tell: Callable[[Step], Awaitable[None]] = _say_nothing,
    patience: float = _PATIENCE,
    fee_limit: int = 0,
) -> Deployment:
    """Deploy what of a plan is missing, from ``account``, and return the record.

    ``before`` is the record so far, empty at first; it names the chain. ``save`` gets the record
    whenever it changes, and before a transaction leaves this process: so a run that is killed
    leaves nothing behind that the next one does not find. ``patience`` is seconds to wait for each
    transaction, ``fee_limit`` the most to pay for one, wei per gas; 0: as the fee policy says.

    Raises:
        WrongChainError: the endpoint is on another chain.
        InvalidValueError: the record has other contracts by the same names.
        InsufficientFundsError: the account cannot pay for the next transaction.
        DeploymentProxyError: the proxy is missing and cannot be created here.
        CodeDiffersError: at a planned address stands something else.
        ContractRevertedError: a constructor refuses its arguments.
        TransactionFailedError: a transaction failed, or was not mined in time.
        EndpointError: no answer.
    """
    await _chain_id(rpc, before.chain_id)
    for planned in plan:
        known = before.find(planned.name)
        if known is not None and known.address != planned.address:
            raise InvalidValueError(
                f"the record has another {planned.name}, at {checksum(known.address)}",
                next_step="name it otherwise, or keep another record",
            )
    if not await has_proxy(rpc):
        await _create_proxy(rpc, account, patience, fee_limit)
    deployment = before
    for planned in plan:
        one = _Placement(rpc, account, planned, deployment, save, tell, patience, fee_limit)
        deployment = await one.place()
    return deployment


@attrs.frozen
class _Placement:
    """One contract on its way."""

    rpc: Rpc
    account: TransactionSigner
    planned: PlannedContract
    deployment: Deployment
    save: Callable[[Deployment], Awaitable[None]]
    tell: Callable[[Step], Awaitable[None]]
    patience: float
    fee_limit: int

    async def place(self) -> Deployment:
        chain_id = self.deployment.chain_id
        if not await _stands(self.rpc, self.planned, chain_id):
            # A transaction of an earlier run may be about to deploy it: a second one would fail.
            await wait_until_idle(self.rpc, self.account.address, self.patience)
            if not await _stands(self.rpc, self.planned, chain_id):
                return await self._send()
        return await self._found()

    async def _found(self) -> Deployment:
        entry = self.deployment.find(self.planned.name) or DeployedContract.of(self.planned)
        receipt = None if entry.transaction is None else await self.rpc.receipt(entry.transaction)
        if receipt is not None and receipt.success:
            entry = await self._done(entry, receipt)
        elif not entry.is_done:  # somebody else's transaction did it
            entry = await self._done(DeployedContract.of(self.planned), None)
        await self.tell(Step(status="present", contract=entry))
        return await self._kept(entry)

    async def _send(self) -> Deployment:
        planned, name = self.planned, f"deploy {self.planned.name}"
        intent = Intent(
            name=name,
            to=PROXY,
            data=planned.salt + planned.init_code,
            gas=await _gas_limit(self.rpc, planned, self.account.address, proxy=True),
            fee_limit=self.fee_limit,
        )
        raw = await sign_now(self.rpc, self.account, intent)
        entry = attrs.evolve(
            DeployedContract.of(planned), deployer=self.account.address, transaction=keccak(raw)
        )
        await self._kept(entry)
        transaction_hash = await self.rpc.send(raw)
        await self.tell(Step(status="sent", contract=entry))
        receipt = await wait_mined(self.rpc, transaction_hash, name, self.patience)
        if not await _stands(self.rpc, planned, self.deployment.chain_id):
            raise EndpointError(f"{planned.name} was deployed, and the endpoint does not show it")
        entry = await self._done(entry, receipt)
        await self.tell(Step(status="deployed", contract=entry, gas_used=receipt.gas_used))
        return await self._kept(entry)

    async def _done(self, entry: DeployedContract, receipt: Receipt | None) -> DeployedContract:
        return attrs.evolve(
            entry,
            runtime_hash=keccak(await self.rpc.code(entry.address)),
            block=None if receipt is None else receipt.block_number,
        )

    async def _kept(self, entry: DeployedContract) -> Deployment:
        deployment = self.deployment.including(entry)
        if deployment != self.deployment:
            await self.save(deployment)
        return deployment


async def _create_proxy(
    rpc: Rpc, account: TransactionSigner, patience: float, fee_limit: int
) -> None:
    """Put the proxy on a chain that has none."""
    if await rpc.nonce(PROXY_SENDER):
        raise DeploymentProxyError(
            "the deployment proxy is missing, and what creates it was used up on this chain",
            next_step="ask who runs the chain to put the proxy there",
        )
    if await _proxy_refused(rpc) is not None:
        owed = PROXY_COST - await rpc.balance(PROXY_SENDER)
        if owed > 0:
            fund = Intent(
                name="fund the proxy's sender",
                to=PROXY_SENDER,
                data=b"",
                value=owed,
                fee_limit=fee_limit,
            )
            await send_now(rpc, account, fund, patience=patience)
        if (reply := await _proxy_refused(rpc)) is not None:
            raise DeploymentProxyError(
                f"the deployment proxy is missing, and its transaction was refused: {reply}"
            )
    await wait_mined(rpc, keccak(PROXY_TRANSACTION), "the deployment proxy", patience)
    if not await has_proxy(rpc):
        raise EndpointError("the deployment proxy was created, and the endpoint does not show it")


async def _proxy_refused(rpc: Rpc) -> str | None:
    """Broadcast what creates the proxy; why it is not taken, or None."""
    try:
        await rpc.send(PROXY_TRANSACTION)
    except RpcRefusedError as error:
        reply = error.reply.lower()
        if any(text in reply for text in _REFUSES_UNPROTECTED):
            raise DeploymentProxyError(
                "the deployment proxy is missing, and the endpoint refuses the transaction that "
                f"creates it, which is from before EIP-155: {error.reply}",
                next_step="broadcast it through a node that takes such transactions (geth: "
                "--rpc.allow-unprotected-txs), or ask who runs the chain for the proxy",
            ) from error
        return None if "known" in reply or "already imported" in reply else error.reply
    return None


async def deploy(
    provider: Provider,
    account: TransactionSigner,
    *,
    attesters: Sequence[Address],
    threshold: int = 1,
    challenge_delay: int = 1_800,
    grace: int = 3 * DAY,
) -> Deployment:
    """Deploy the contracts, an AttestedOracle and a TestToken, for demos and tests.

    Delays in seconds. Every call deploys contracts of its own: their salt is of the account and
    its nonce.

    Raises:
        EndpointError: no answer.
        ContractRevertedError: a constructor refuses its arguments.
    """
    rpc = Rpc(provider)
    nonce = await rpc.nonce(account.address)
    salt = keccak(account.address + nonce.to_bytes(32, "big"))
    oracle = PlannedContract(
        name="AttestedOracle",
        contract="AttestedOracle",
        arguments={
            "attesters": [checksum(each) for each in attesters],
            "threshold": threshold,
            "challengeDelay": challenge_delay,
            "grace": grace,
        },
        salt=salt,
    )
    plan = (*core_contracts(salt), oracle, token_contract(salt=salt))
    before = Deployment(chain_id=await rpc.chain_id())
    return await carry_out(rpc, account, plan, before=before)
