"""What all commands of a trader share: the folder, JSON, errors, and running under Trio."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import trio

from channels.errors import ChannelsError

__all__ = ["as_json", "home_option", "printable", "run", "show"]

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
    """Run a command; an error of this library's becomes one line, and exit status 1."""
    try:
        trio.run(command, *arguments)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except ChannelsError as error:
        raise click.ClickException(printable(str(error))) from error
    except BaseExceptionGroup as group:
        # Several tasks ended at once; an interrupt of one of them was meant for all.
        if group.split(KeyboardInterrupt)[0] is not None:
            raise SystemExit(130) from None
        raise
    except OSError as error:
        raise click.ClickException(f"{error.filename or 'the system'}: {error.strerror}") from error


def printable(text: str) -> str:
    """One line of text that does nothing to a terminal: some of it comes from counterparties."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def show(machine: bool, document: dict[str, Any], text: str) -> None:
    """Print the document for a machine, or the text for a person."""
    click.echo(json.dumps(document, indent=2) if machine else text)
