"""``serve``: at work until stopped, a line for each event."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from channels.cli.desk.options import as_json, home_option, line, run
from channels.cli.desk.watching import tell_alerts
from channels.errors import ChannelsError, LinkClosedError, OurError

if TYPE_CHECKING:
    from channels.peer import PeerEvent

__all__ = ["serve"]


@click.command(short_help="Listen, quote around our market, defend every channel.")
@home_option()
@as_json
def serve(home: Path, as_json: bool) -> None:
    """Listen for counterparties, quote around our market, and defend every channel. Until stopped.

    One line an event; with --json, one JSON document a line.
    """
    run(_serve, home, as_json)


async def _serve(folder: Path, machine: bool) -> None:
    from channels.cli.desk.home import read_home
    from channels.cli.desk.session import at_work

    home = read_home(folder)
    if home.listen is None:
        raise OurError("there is no address to listen on", next_step="set listen in config.toml")

    def on_trouble(where: str, error: ChannelsError) -> None:
        document = {"event": "TowerTrouble", "at": where, "text": str(error)}
        line(machine, document, f"{where} {type(error).__name__} {error}")

    async with (
        at_work(home, listen=home.listen, on_trouble=on_trouble) as desk,
        desk.peer.events() as events,
    ):
        at = desk.peer.listening
        line(machine, {"event": "Listening", "at": at}, f"listening on {at}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_alerts, desk.monitor, machine)
            async for event in events:
                _tell(event, machine)


def _tell(event: PeerEvent, machine: bool) -> None:
    notice = event.notice
    channel = "0x" + event.channel_id.hex()[:8] if any(event.channel_id) else "-"
    said = str(notice) if isinstance(notice, ChannelsError) else ""
    name = type(notice).__name__
    if isinstance(notice, LinkClosedError) and not machine:
        said = str(notice.args[0])  # it comes back by itself, and most go on purpose
    line(
        machine,
        {
            "event": name,
            "channel": "0x" + event.channel_id.hex(),
            "nonce": getattr(notice, "nonce", None),
            "text": said,
        },
        " ".join(
            each
            for each in (
                channel,
                name,
                f"nonce {notice.nonce}" if hasattr(notice, "nonce") else "",
                said,
            )
            if each
        ),
    )
