"""What a deployment shows: a line a contract, or one JSON document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from channels import __version__
from channels.chain.create2 import PROXY
from channels.chain.deploy import Step, Survey
from channels.chain.deployments import Deployment, record_json
from channels.chain.plan import PlannedContract
from channels.errors import ChannelsError, InsufficientFundsError
from channels.protocol.eip712 import Address, checksum

__all__ = ["ConsoleReport", "JsonReport", "Report"]

_STYLES: Final = {"present": "green", "sent": "yellow", "deployed": "bold green", "missing": "dim"}


def _ether(wei: int) -> str:
    return f"{Decimal(wei).scaleb(-18):.9f} ETH"


class Report:
    """What a deployment tells of itself. How it is shown is a subclass's business."""

    def surveyed(
        self, found: Survey, plan: Sequence[PlannedContract], account: Address | None
    ) -> None:
        """What stands already, and what the rest costs."""

    def step(self, step: Step) -> None:
        """What became of one contract."""

    def recorded(self, _deployment: Deployment, path: Path) -> None:
        """The record is complete."""

    def verified(self, deployment: Deployment, path: Path, differences: Sequence[str]) -> None:
        """The chain was compared with a record. Nothing follows."""
        raise NotImplementedError

    def failed(self, error: ChannelsError) -> None:
        """It ends here."""
        raise NotImplementedError

    def finished(self) -> None:
        """Everything is as it should be."""


class JsonReport(Report):
    """Nothing until the end, then everything."""

    def __init__(self) -> None:
        self._document: dict[str, Any] = {"version": __version__}

    def surveyed(
        self, found: Survey, plan: Sequence[PlannedContract], account: Address | None
    ) -> None:
        """Keep it."""
        gas = {each.name: limit for each, limit in found.missing}
        self._document |= {
            "chain_id": found.chain_id,
            "account": None if account is None else checksum(account),
            "proxy": {"address": checksum(PROXY), "present": found.has_proxy},
            "gas": found.gas,
            "max_fee": found.max_fee,
            "cost": str(found.cost),
            "contracts": {
                each.name: {
                    "contract": each.contract,
                    "address": checksum(each.address),
                    "status": "missing" if each.name in gas else "present",
                    "gas": gas.get(each.name, 0),
                }
                for each in plan
            },
        }

    def step(self, step: Step) -> None:
        """Keep it."""
        entry = self._document["contracts"][step.contract.name]
        entry["status"] = step.status
        if step.gas_used is not None:
            entry["gas_used"] = step.gas_used

    def recorded(self, _deployment: Deployment, path: Path) -> None:
        """Keep it."""
        self._document["record"] = {"path": str(path), **record_json(_deployment)}

    def verified(self, deployment: Deployment, path: Path, differences: Sequence[str]) -> None:
        """Print the document."""
        self._document |= {
            "chain_id": deployment.chain_id,
            "record": {"path": str(path), **record_json(deployment)},
            "differences": list(differences),
            "verified": not differences,
        }
        self.finished()

    def failed(self, error: ChannelsError) -> None:
        """Print the document, with the error in it."""
        found: dict[str, Any] = {
            "type": type(error).__name__,
            "message": str(error),
            "fault": error.fault,
            "next_step": error.next_step,
        }
        if isinstance(error, InsufficientFundsError):
            found |= {"needed": str(error.needed), "available": str(error.available)}
        self._document["error"] = found
        self.finished()

    def finished(self) -> None:
        """Print the document."""
        print(json.dumps(self._document, indent=2))


class ConsoleReport(Report):
    """A line a contract; colour only on a terminal."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._errors = Console(highlight=False, stderr=True)

    def surveyed(
        self, found: Survey, plan: Sequence[PlannedContract], account: Address | None
    ) -> None:
        """Print the plan."""
        title = f"option-channels {__version__} on chain {found.chain_id}"
        self._console.print(Rule(Text(title, style="bold")))
        gas = {each.name: limit for each, limit in found.missing}
        self._place("proxy", PROXY, present=found.has_proxy)
        for each in plan:
            self._place(
                each.name, each.address, gas.get(each.name, 0), present=each.name not in gas
            )
        payer = "" if account is None else f" from {checksum(account)}"
        self._console.print(
            f"costs at most {_ether(found.cost)}{payer}: {found.gas:,} gas at "
            f"{Decimal(found.max_fee).scaleb(-9)} gwei",
            soft_wrap=True,
        )

    def _place(self, name: str, address: Address, gas: int = 0, *, present: bool) -> None:
        status = "present" if present else "missing"
        line = Text()
        line.append(f"{status:<9}", style=_STYLES[status])
        line.append(f" {name:<16}", style="bold")
        line.append(f" {checksum(address)}")
        if gas:
            line.append(f"   at most {gas:,} gas", style="dim")
        self._console.print(line, soft_wrap=True)

    def step(self, step: Step) -> None:
        """Print it."""
        entry = step.contract
        line = Text()
        line.append(f"{step.status:<9}", style=_STYLES[step.status])
        line.append(f" {entry.name:<16}", style="bold")
        if step.status == "sent" and entry.transaction is not None:
            line.append(f" 0x{entry.transaction.hex()}", style="dim")
        else:
            line.append(f" {checksum(entry.address)}")
        if step.gas_used is not None:
            line.append(f"   block {entry.block} · {step.gas_used:,} gas", style="dim")
        self._console.print(line, soft_wrap=True)

    def recorded(self, _deployment: Deployment, path: Path) -> None:
        """Print where."""
        self._console.print(f"record: {path}", soft_wrap=True)

    def verified(self, deployment: Deployment, path: Path, differences: Sequence[str]) -> None:
        """Print what differs, or that nothing does."""
        title = f"{path} against chain {deployment.chain_id}"
        self._console.print(Rule(Text(title, style="bold")))
        for each in differences:
            self._console.print(Text("✗ ", style="bold red") + Text(each), soft_wrap=True)
        if not differences:
            for entry in deployment.contracts:
                line = Text("✓ ", style="green")
                line.append(f"{entry.name} {checksum(entry.address)}")
                self._console.print(line, soft_wrap=True)

    def failed(self, error: ChannelsError) -> None:
        """Print it, apart from the rest."""
        self._errors.print(f"option-channels: {error}", soft_wrap=True, markup=False)
