"""What the demo shows: a live, readable account of every step, or one JSON document."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from channels.cli.demo.reconcile import Reconciliation

__all__ = ["ConsoleReport", "JsonReport", "Report", "dollars"]


def dollars(units: int, unit: int) -> str:
    """Base units as money, to the last digit."""
    sign = "-" if units < 0 else ""
    whole, part = divmod(abs(units), unit)
    return f"{sign}${whole:,}.{part:06d}"


class Report:
    """Collects the steps; what is shown while they happen is a subclass's business."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self._began = time.perf_counter()
        self._last = self._began

    def step(
        self,
        title: str,
        facts: Mapping[str, str | int],
        *,
        chain_time: int,
        gas: int | None = None,
        nonce: int | None = None,
    ) -> None:
        """Record one step and show it."""
        now = time.perf_counter()
        entry = {
            "step": len(self.steps) + 1,
            "title": title,
            "chain_time": datetime.fromtimestamp(chain_time, UTC).isoformat(),
            "milliseconds": round((now - self._last) * 1000, 1),
            "gas": gas,
            "nonce": nonce,
            "facts": dict(facts),
        }
        self._last = now
        self.steps.append(entry)
        self.show(entry)

    def show(self, entry: Mapping[str, Any]) -> None:
        """Show one step as it happens."""

    def finish(self, reconciliation: Reconciliation) -> None:
        """Show the end."""
        raise NotImplementedError

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return time.perf_counter() - self._began


class JsonReport(Report):
    """Nothing until the end, then everything."""

    def finish(self, reconciliation: Reconciliation) -> None:
        """Print the document."""
        document = {
            "steps": self.steps,
            "reconciliation": [
                {
                    "what": check.what,
                    "expected": str(check.expected),
                    "found": str(check.found),
                    "holds": check.holds,
                }
                for check in reconciliation.checks
            ],
            "reconciled": reconciliation.holds,
            "seconds": round(self.seconds, 3),
        }
        print(json.dumps(document, indent=2))


class ConsoleReport(Report):
    """A line a step, its facts below; colour only on a terminal."""

    def __init__(self, title: str, unit: int) -> None:
        super().__init__()
        self._unit = unit
        self._console = Console(highlight=False)
        self._console.print(Rule(Text(title, style="bold")))

    def show(self, entry: Mapping[str, Any]) -> None:
        """Print one step."""
        head = Text()
        head.append(f"{entry['step']:>2}  ", style="dim")
        head.append(entry["title"], style="bold")
        tail = [f"{entry['milliseconds']:,.0f} ms"]
        if entry["nonce"] is not None:
            tail.insert(0, f"nonce {entry['nonce']}")
        if entry["gas"] is not None:
            tail.insert(0, f"{entry['gas']:,} gas")
        when = datetime.fromisoformat(entry["chain_time"])
        head.append(f"   {when:%d %b %H:%M:%S} UTC · " + " · ".join(tail), style="dim")
        self._console.print(head, soft_wrap=True)
        for name, value in entry["facts"].items():
            line = Text("      ")
            line.append(f"{name}: ", style="cyan")
            line.append(str(value))
            self._console.print(line, soft_wrap=True)

    def finish(self, reconciliation: Reconciliation) -> None:
        """Print the reconciliation."""
        self._console.print(Rule(Text("Reconciliation", style="bold")))
        table = Table(show_edge=False, pad_edge=False)
        table.add_column("")
        table.add_column("worked out here", justify="right")
        table.add_column("found on chain", justify="right")
        table.add_column("")
        for check in reconciliation.checks:
            mark = Text("✓", style="green") if check.holds else Text("✗ DIFFERS", style="bold red")
            table.add_row(
                check.what,
                dollars(check.expected, self._unit),
                dollars(check.found, self._unit),
                mark,
            )
        self._console.print(table)
        gas = sum(entry["gas"] or 0 for entry in self.steps)
        verdict = (
            Text("Every unit of collateral is accounted for", style="bold green")
            if reconciliation.holds
            else Text("THE BOOKS DO NOT BALANCE", style="bold red")
        )
        verdict.append(f" · {gas:,} gas in all · {self.seconds:.1f} s", style="dim")
        self._console.print(verdict)
