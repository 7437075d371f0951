"""``option-channels tower``: run a watchtower, look at it, and try it out."""

from __future__ import annotations

import click

from channels.cli.tower.drill import drill
from channels.cli.tower.looking import channels, disputes, status, verify_receipt
from channels.cli.tower.moving import export, import_
from channels.cli.tower.running import run

__all__ = ["tower"]


@click.group(short_help="Watch other people's channels, and defend them.")
def tower() -> None:
    """Watch other people's channels, and defend them while they are away."""


for _command in (run, status, channels, disputes, export, import_, verify_receipt, drill):
    tower.add_command(_command)
