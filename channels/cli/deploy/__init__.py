"""``option-channels deploy``: put the contracts on a chain, or check those that stand there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs

from channels.chain.accounts import LocalAccount
from channels.chain.deploy import Step, Survey, carry_out, survey
from channels.chain.deployments import Deployment, load_deployment, save_deployment
from channels.chain.inspection import verify
from channels.chain.plan import (
    PlannedContract,
    core_contracts,
    public_oracle_contract,
    token_contract,
)
from channels.chain.provider import open_provider
from channels.chain.rpc import Rpc
from channels.cli.deploy.config import read_oracles
from channels.cli.deploy.keys import read_account
from channels.cli.deploy.report import ConsoleReport, JsonReport, Report
from channels.cli.interrupts import run_interruptible
from channels.errors import ChannelsError, InsufficientFundsError, SignerError, WrongChainError
from channels.protocol.eip712 import Address, checksum

__all__ = ["DeployOptions", "run_deploy"]

_NOBODY: Final = Address(bytes(20))


@attrs.frozen(kw_only=True)
class DeployOptions:
    """What the command line asks for."""

    rpc: str
    chain_id: int | None
    config: Path | None
    test_token: bool
    test_oracle: bool
    keystore: Path | None
    record: Path | None
    timeout: int
    dry_run: bool
    verify: bool
    as_json: bool

    def plan(self) -> tuple[PlannedContract, ...]:
        """What is to stand on the chain.

        Raises:
            InvalidValueError: the configuration is none.
        """
        oracles = () if self.config is None else read_oracles(self.config)
        tests = (
            *((public_oracle_contract(),) if self.test_oracle else ()),
            *((token_contract(),) if self.test_token else ()),
        )
        return (*core_contracts(), *oracles, *tests)

    def record_path(self, chain_id: int) -> Path:
        """Where the record is kept."""
        return self.record or Path("deployments") / f"{chain_id}.json"


def run_deploy(options: DeployOptions) -> int:
    """Do what the options say; 0 if the chain then holds, or holds already, what it should."""
    report: Report = JsonReport() if options.as_json else ConsoleReport()
    try:
        # Before the chain is asked: what is wrong with these cannot be mended by it.
        plan = options.plan()
        account = None if options.verify else read_account(options.keystore)
        if account is None and not (options.verify or options.dry_run):
            raise SignerError(
                "there is no key to deploy with",
                next_step="set OPTION_CHANNELS_KEY, or give --keystore",
            )
        return run_interruptible(_run, options, plan, account, report)
    except ChannelsError as error:
        report.failed(error)
        return 1


async def _run(
    options: DeployOptions,
    plan: tuple[PlannedContract, ...],
    account: LocalAccount | None,
    report: Report,
) -> int:
    async with open_provider(options.rpc) as provider:
        rpc = Rpc(provider)
        if options.verify:
            return await _verify(options, rpc, report)
        sender = _NOBODY if account is None else account.address
        found = await survey(rpc, plan, sender, expected=options.chain_id)
        report.surveyed(found, plan, None if account is None else account.address)
        if options.dry_run or account is None:
            report.finished()
            return 0
        return await _deploy(options, rpc, plan, account, found, report)


async def _verify(options: DeployOptions, rpc: Rpc, report: Report) -> int:
    chain_id = await rpc.chain_id()
    if options.chain_id is not None and options.chain_id != chain_id:
        raise WrongChainError(expected=options.chain_id, found=chain_id)
    path = options.record_path(chain_id)
    deployment = load_deployment(path)
    differences = await verify(rpc, deployment)
    report.verified(deployment, path, differences)
    return 1 if differences else 0


async def _deploy(
    options: DeployOptions,
    rpc: Rpc,
    plan: tuple[PlannedContract, ...],
    account: LocalAccount,
    found: Survey,
    report: Report,
) -> int:
    available = await rpc.balance(account.address)
    if available < found.cost:
        raise InsufficientFundsError(
            f"{checksum(account.address)} has {available} wei and needs up to {found.cost}",
            needed=found.cost,
            available=available,
        )
    path = options.record_path(found.chain_id)
    before = load_deployment(path) if path.exists() else Deployment(chain_id=found.chain_id)

    async def save(deployment: Deployment) -> None:
        save_deployment(deployment, path)

    async def tell(step: Step) -> None:
        report.step(step)

    deployment = await carry_out(
        rpc,
        account,
        plan,
        before=before,
        save=save,
        tell=tell,
        patience=options.timeout,
        fee_limit=found.max_fee,
    )
    report.recorded(deployment, path)
    report.finished()
    return 0
