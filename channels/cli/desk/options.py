"""What all commands of a trader share: the folder, JSON, and running under Trio."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from channels.cli.failing import failing, printable
from channels.cli.interrupts import run_interruptible

__all__ = ["as_json", "home_option", "line", "run", "show"]

F = TypeVar("F", bound=Callable[..., Any])


def home_option(*, exists: bool = True) -> Callable[[F], F]:
    """The option ``--home``."""
    return click.option(
        "--home",
        type=click.Path(exists=exists, file_okay=False, path_type=Path),
        default=Path("~/.option-channels").expanduser(),
        envvar="OPTION_CHANNELS_HOME",
        show_default="~/.option-channels",
        show_envvar=True,
        help="The trader's folder.",
    )


as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document, for machines."
)


def run(command: Callable[..., Awaitable[None]], *arguments: Any) -> None:
    """Run a command under Trio."""
    with failing():
        run_interruptible(command, *arguments)


def line(machine: bool, document: dict[str, Any], text: str) -> None:
    """Print one line of a command that goes on: the document for a machine, else the text."""
    click.echo(json.dumps(document) if machine else printable(text))


def show(machine: bool, document: dict[str, Any], text: str) -> None:
    """Print the document for a machine, or the text for a person."""
    click.echo(json.dumps(document, indent=2) if machine else text)
