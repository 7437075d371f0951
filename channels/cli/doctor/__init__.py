"""``option-channels doctor``: look at everything a trader rests on, and say what to do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from channels.cli.desk.options import as_json, home_option, run

if TYPE_CHECKING:
    from channels.cli.doctor.findings import Finding

__all__ = ["doctor"]


@click.command(short_help="Check everything a trader's folder rests on.")
@home_option(exists=False)
@as_json
def doctor(home: Path, as_json: bool) -> None:
    """Check a trader's folder: installation, chain, keys, money, store, channels, prices.

    Sends nothing, signs nothing and asks for no passphrase; works beside a running process. Exit
    status 1 if something does not work, 0 if all is well or there are warnings alone.
    """
    run(_doctor, home, as_json)


async def _doctor(folder: Path, machine: bool) -> None:
    from channels.cli.doctor.examination import examine
    from channels.cli.doctor.findings import Severity

    findings = await examine(folder)
    if machine:
        click.echo(json.dumps({"findings": [_json(each) for each in findings]}, indent=2))
    else:
        _show(findings)
    raise SystemExit(1 if any(each.severity is Severity.ERROR for each in findings) else 0)


def _json(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "severity": finding.severity.name.lower(),
        "text": finding.text,
        "remedy": finding.remedy,
    }


def _show(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.text import Text

    signs = (("✓", "green"), ("!", "yellow"), ("✗", "red"))
    console = Console(soft_wrap=True)
    for each in findings:
        sign, colour = signs[each.severity]
        console.print(Text.assemble((sign, colour), f" {each.check}: {each.text}"))
        if each.remedy:
            console.print(Text(f"    → {each.remedy}"))
