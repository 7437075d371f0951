"""``watch``: the monitor alone, over a trader's folder, when no process serves it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import trio

from channels.cli.desk.options import as_json, home_option, line, run

if TYPE_CHECKING:
    from channels.cli.desk.session import Watch
    from channels.dispute import Monitor

__all__ = ["tell", "tell_alerts", "watch"]

_DISPUTED: Final = 3
"""Exit status of --once if a channel is not simply open."""


@click.command()
@home_option()
@click.option(
    "--once",
    is_flag=True,
    help="Read every channel once, tell what it is in, and end: 0 all is open, 3 one is disputed.",
)
@as_json
def watch(home: Path, once: bool, as_json: bool) -> None:
    """Defend every channel of a folder, and trade nothing. Until stopped.

    Needs the wallet's passphrase alone: answering takes no session key. `serve` does all this too,
    and holds the store, so that only one of the two runs. One line for each alert and for each
    thing done; with --json, one JSON document a line.
    """
    run(_watch, home, once, as_json)


async def _watch(folder: Path, once: bool, machine: bool) -> None:
    from channels.cli.desk.home import read_home
    from channels.cli.desk.session import on_watch

    disputed = False
    async with on_watch(read_home(folder)) as at_watch:
        monitor = at_watch.monitor
        await monitor.ready()
        if once:
            disputed = await _tell_phases(at_watch, machine)
        else:
            line(
                machine,
                {"event": "Watching", "channels": [_hex(each) for each in monitor.channels]},
                f"watching {len(monitor.channels)} channels",
            )
            await tell(at_watch, machine)
    raise SystemExit(_DISPUTED if disputed else 0)


async def tell(at_watch: Watch, machine: bool) -> None:
    """Print what the monitor says and does, a line each, until it ends."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_alerts, at_watch.monitor, machine)
        nursery.start_soon(_tell_reports, at_watch, machine)


async def _tell_phases(at_watch: Watch, machine: bool) -> bool:
    from channels.protocol.facts import OnChainPhase

    phases = {
        each: (await at_watch.chain.view(each)).phase for each in sorted(at_watch.monitor.channels)
    }
    for channel, phase in phases.items():
        line(
            machine,
            {"event": "Channel", "channel": _hex(channel), "phase": phase.name},
            f"{_hex(channel)[:10]} {phase.name}",
        )
    return any(each in (OnChainPhase.DISPUTED, OnChainPhase.RUN_OFF) for each in phases.values())


async def tell_alerts(monitor: Monitor, machine: bool) -> None:
    """Print a monitor's alerts, a line each, until it ends."""
    async for alert in monitor.alerts:
        channel = _hex(alert.channel_id) if alert.channel_id else None
        facts = dict((*alert.facts, *alert.figures))
        line(
            machine,
            {
                "event": "Alert",
                "level": alert.level.name,
                "code": alert.code.name,
                "channel": channel,
                "text": alert.text,
                "facts": {name: str(value) for name, value in facts.items()},
            },
            f"{(channel or '-')[:10]} {alert.level.name} {alert.code.name}: {alert.text}",
        )


async def _tell_reports(at_watch: Watch, machine: bool) -> None:
    async for report in at_watch.monitor.reports:
        name, channel = type(report).__name__, _hex(report.channel_id)
        duty = getattr(report, "duty", None)
        told = "" if duty is None else f" {duty.name}"
        line(
            machine,
            {
                "event": name,
                "channel": channel,
                "duty": None if duty is None else duty.name,
            },
            f"{channel[:10]} {name}{told}",
        )


def _hex(channel: bytes) -> str:
    return "0x" + channel.hex()
