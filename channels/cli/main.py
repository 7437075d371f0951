"""Entry point of ``option-channels``. Commands import what they need when they run."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from channels import __version__

__all__ = ["main"]


@click.group()
@click.version_option(__version__, prog_name="option-channels")
def main() -> None:
    """Trade options with a counterparty in a state channel."""
    # What the library logs it also reports; a command shows it in its own way.
    logging.getLogger("channels").addHandler(logging.NullHandler())


@main.command()
@click.option(
    "--market",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Drive spots and vols from a Deribit option summary (.csv or .csv.gz).",
)
@click.option("--rpc", metavar="URL", help="Use a node such as Anvil, at this URL.")
@click.option("--two-processes", is_flag=True, help="Run the counterparty as its own process.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for machines.")
def demo(market: Path | None, rpc: str | None, two_processes: bool, as_json: bool) -> None:
    """Open a channel, trade, get cheated, be paid: the whole life of one, on a real chain.

    Exit status 1 if anything does not reconcile.
    """
    from channels.cli.demo import run_demo

    if two_processes and rpc is None:
        raise click.UsageError(
            "--two-processes needs --rpc: an in-process chain cannot be shared by two processes"
        )
    raise SystemExit(run_demo(market=market, rpc=rpc, two_processes=two_processes, as_json=as_json))


@main.command(hidden=True)
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def counterparty(config: Path) -> None:
    """Run the demo's counterparty as a process of its own."""
    from channels.cli.demo.counterparty import run_as_process

    run_as_process(config)
