"""Entry point of ``option-channels``. Commands import what they need when they run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import click

from channels import __version__
from channels.cli.attest import attest
from channels.cli.audit import audit
from channels.cli.backtest import backtest
from channels.cli.desk import COMMANDS
from channels.cli.doctor import doctor
from channels.cli.replay import replay
from channels.cli.sections import SectionedGroup
from channels.cli.tower import tower

__all__ = ["main"]

_SECTIONS: Final = {
    "See it": ("demo", "replay", "backtest"),
    "Begin": ("init", "card", "fund", "doctor"),
    "Trade": ("open", "quote", "trade", "settle", "close"),
    "Look": ("positions", "margin", "greeks", "audit"),
    "Run": ("serve", "watch", "tower", "attest"),
    "Deploy": ("deploy",),
}


@click.group(
    cls=SectionedGroup,
    sections=_SECTIONS,
    epilog="Every command takes --help; with --json it speaks to a machine, of its errors too.",
)
@click.version_option(__version__, prog_name="option-channels")
def main() -> None:
    """Trade options with a counterparty in a state channel."""
    # What the library logs it also reports; a command shows it in its own way.
    logging.getLogger("channels").addHandler(logging.NullHandler())


main.add_command(attest)
main.add_command(audit)
main.add_command(tower)
main.add_command(backtest)
main.add_command(doctor)
main.add_command(replay)
for _command in COMMANDS:
    main.add_command(_command)


@main.command(short_help="Open, trade, get cheated, be paid: a channel's whole life.")
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


@main.command(short_help="Deploy the contracts, at the same addresses on every chain.")
@click.option(
    "--rpc",
    metavar="URL",
    default="http://127.0.0.1:8545",
    envvar="OPTION_CHANNELS_RPC",
    show_default=True,
    show_envvar=True,
    help="The node to deploy through.",
)
@click.option("--chain-id", type=int, help="Stop if the node is on another chain.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Oracles to deploy, as TOML.",
)
@click.option("--test-token", is_flag=True, help="Deploy a token that anyone can mint.")
@click.option(
    "--test-oracle",
    is_flag=True,
    help="Deploy an oracle whose attesters' keys everybody knows.",
)
@click.option(
    "--keystore",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Encrypted key file of the account that pays.",
)
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the record is kept.  [default: deployments/CHAIN-ID.json]",
)
@click.option(
    "--timeout",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Seconds to wait for each transaction.",
)
@click.option("--dry-run", is_flag=True, help="Show addresses and costs, and send nothing.")
@click.option("--verify", is_flag=True, help="Only compare the record with the chain.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for machines.")
def deploy(dry_run: bool, verify: bool, **options: Any) -> None:
    """Deploy the contracts to addresses that are the same on every chain.

    What stands already is recognised and left alone, so a run that was interrupted is continued by
    running it again. The key comes from OPTION_CHANNELS_KEY, or from --keystore, whose passphrase
    comes from OPTION_CHANNELS_PASSPHRASE or is asked for. Exit status 1 if it fails, or if
    --verify finds a difference.
    """
    from channels.cli.deploy import DeployOptions, run_deploy

    if dry_run and verify:
        raise click.UsageError("--dry-run looks ahead and --verify back: give one of them")
    raise SystemExit(run_deploy(DeployOptions(dry_run=dry_run, verify=verify, **options)))


@main.command(hidden=True)
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def counterparty(config: Path) -> None:
    """Run the demo's counterparty as a process of its own."""
    from channels.cli.demo.counterparty import run_as_process

    run_as_process(config)
