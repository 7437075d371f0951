"""``positions``, ``margin`` and ``greeks``: read from the store, beside a running process too."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from channels.cli.desk.options import as_json, home_option, run, show

if TYPE_CHECKING:
    from channels.protocol.channel import Channel

__all__ = ["greeks", "margin", "positions"]


def _stored(folder: Path) -> list[Channel]:
    """The channels of the folder's store, those that ended left out."""
    from channels.cli.desk.home import read_home
    from channels.protocol import records
    from channels.protocol.channel import Phase
    from channels.storage.offline import stored_channels

    path = read_home(folder).store
    if not path.exists():
        return []
    found = (records.decode_channel(each) for each in stored_channels(path).values())
    return [each for each in found if each.phase not in (Phase.CLOSED, Phase.ABANDONED)]


def _print_table(title: str, columns: dict[str, bool], rows: list[tuple[str, ...]]) -> None:
    """Print a table; a column is right-aligned if it says so."""
    from rich.table import Table

    from channels.cli.tables import print_table

    table = Table(title=title, title_justify="left")
    for name, right in columns.items():
        table.add_column(name, justify="right" if right else "left")
    for row in rows:
        table.add_row(*row)
    print_table(table)


def _decimal(wad: int) -> str:
    from channels.units import from_wad

    return f"{from_wad(wad):f}"


def _units(channel: Channel, amount: int) -> str:
    places = len(str(channel.terms.unit)) - 1
    return f"{Decimal(amount) / channel.terms.unit:,.{places}f}"


@click.command()
@home_option()
@as_json
def positions(home: Path, as_json: bool) -> None:
    """List what is open, seen from our side: + = we are long."""
    run(_positions, home, as_json)


async def _positions(folder: Path, machine: bool) -> None:
    rows = [row for channel in _stored(folder) for row in _position_rows(channel)]
    if machine or not rows:
        show(machine, {"positions": rows}, "No open positions.")
        return
    columns = {"channel": False, "instrument": False, "quantity": True, "vol": True, "spot": True}
    names = ("channel", "instrument", "quantity", "vol", "spot")
    shown = [tuple(str(row[name])[:44] for name in names) for row in rows]
    _print_table("Positions", columns, [(each[0][:10], *each[1:]) for each in shown])


def _position_rows(channel: Channel) -> Iterator[dict[str, Any]]:
    from channels.audit.tables import series_name

    for each in channel.portfolio.positions:
        yield {
            "channel": "0x" + channel.channel_id.hex(),
            "instrument": series_name(each.series),
            "quantity": _decimal(channel.side.sign * each.quantity),
            "vol": _decimal(each.vol),
            "spot": _decimal(channel.portfolio.spot(each.feed) or 0),
        }


@click.command(short_help="Show both sides' collateral, equity and margin.")
@home_option()
@as_json
def margin(home: Path, as_json: bool) -> None:
    """Show collateral, equity and margin of both sides at the last signed marks."""
    run(_margin, home, as_json)


async def _margin(folder: Path, machine: bool) -> None:
    from channels.chain.endpoints import open_endpoints
    from channels.chain.readers import AdjudicatorReader
    from channels.chain.rpc import Rpc
    from channels.cli.desk.home import read_home
    from channels.protocol.changes import equity

    home, rows = read_home(folder), []
    channels = _stored(folder)
    if channels:
        async with open_endpoints(home.rpc, finality=home.finality) as pool:
            for channel in channels:
                reader = AdjudicatorReader(Rpc(pool), channel.domain.adjudicator)
                view = await reader.view(channel.channel_id)
                for who, side in (("we", channel.side), ("counterparty", channel.side.other)):
                    held, put_in = channel.portfolio, view.contribution(side)
                    owns = equity(held, put_in, side, channel.terms.unit)
                    rows.append(
                        {
                            "channel": "0x" + channel.channel_id.hex(),
                            "side": who,
                            "deposited": _units(channel, put_in),
                            "equity": _units(channel, owns),
                            "initial_margin": _units(channel, held.margin(side)),
                            "free": _units(channel, owns - held.margin(side)),
                        }
                    )
    if machine or not rows:
        show(machine, {"margin": rows}, "No open channel.")
        return
    names = ("channel", "side", "deposited", "equity", "initial_margin", "free")
    columns = {name.replace("_", " "): name not in ("channel", "side") for name in names}
    _print_table(
        "Margin, units of collateral",
        columns,
        [(row["channel"][:10], *(row[name] for name in names[1:])) for row in rows],
    )


@click.command(short_help="Show what we gain or lose as each market moves.")
@home_option()
@as_json
def greeks(home: Path, as_json: bool) -> None:
    """Show what we gain or lose as each market moves, at the last signed marks.

    Delta in units of the underlying, gamma per 1.00 of its price, vega per vol point, theta per
    day; all channels together.
    """
    run(_greeks, home, as_json)


async def _greeks(folder: Path, machine: bool) -> None:
    from channels.desk import exposures
    from channels.desk.exposure import total
    from channels.pricing import per_day, per_vol_point
    from channels.protocol.types import feed_name

    together = total(exposures(each.portfolio, each.side) for each in _stored(folder))
    rows = [
        {
            "feed": feed_name(feed),
            "delta": each.delta,
            "gamma": each.gamma,
            "vega": per_vol_point(each.vega),
            "theta": per_day(each.theta),
            "notional": each.notional,
        }
        for feed, each in sorted(together.items())
    ]
    if machine or not rows:
        show(machine, {"greeks": rows}, "No open positions.")
        return
    names = ("feed", "delta", "gamma", "vega", "theta", "notional")
    _print_table(
        "Greeks",
        {name: name != "feed" for name in names},
        [(str(row["feed"]), *(f"{row[name]:,.4f}" for name in names[1:])) for row in rows],
    )
