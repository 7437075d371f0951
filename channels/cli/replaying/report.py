"""What a replay reports: one document, and the tables, files and picture made of it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from channels import __version__
from channels.audit import ChannelHistory, audit, write_tables
from channels.bots.floor import UNIT
from channels.cli.demo.reconcile import Reconciliation
from channels.cli.demo.report import dollars
from channels.cli.replaying.books import TraderEnd, reconcile
from channels.cli.replaying.run import FUNDS, Played
from channels.cli.replaying.tape import Tape
from channels.desk import Explained, explain_all
from channels.units import WAD, from_wad

__all__ = ["Ending", "ending", "show", "trader_table", "write_csv"]

_PARTS = ("delta", "gamma", "vega", "theta", "carry", "trades", "residual")


@attrs.frozen(kw_only=True)
class Ending:
    """How a replay ended: what the journals say, whether the books balance, and the document."""

    histories: Mapping[str, Sequence[ChannelHistory]]
    reconciliation: Reconciliation
    document: dict[str, Any]


def ending(tape: Tape, played: Played, folder: Path, *, seconds: float) -> Ending:
    """Audit every store in ``folder``, explain every profit, and reconcile.

    Raises:
        StorageError: a store that cannot be read.
    """
    histories: dict[str, Sequence[ChannelHistory]] = {}
    ends = []
    for name, balance in played.balances.items():
        found = audit(folder / f"{name}.db")
        histories[name] = found.histories
        parts = [
            explain_all(each.portfolios, side=each.channel.side, unit=each.channel.terms.unit)
            for each in found.histories
        ]
        ends.append(
            TraderEnd(
                name=name,
                funds=FUNDS,
                balance=balance,
                explained=sum(parts, start=Explained()),
                findings=len(found.findings),
            )
        )
    reconciliation = reconcile(
        played.books, ends, unit=UNIT, left_in_contract=played.left_in_contract
    )
    document = {
        "version": __version__,
        "market": tape.name,
        "feed": tape.feed,
        "from": _when(tape.frames[0].at),
        "to": _when(tape.frames[-1].at),
        "snapshots": len(tape.frames),
        "spot": {
            "first": tape.frames[0].surface.spot,
            "lowest": min(each.surface.spot for each in tape.frames),
            "last": tape.frames[-1].surface.spot,
        },
        "totals": _totals(played),
        "traders": [_trader(each, played) for each in ends],
        "reconciliation": [
            {
                "what": each.what,
                "expected": str(each.expected),
                "found": str(each.found),
                "holds": each.holds,
            }
            for each in reconciliation.checks
        ],
        "reconciled": reconciliation.holds,
        "seconds": round(seconds, 1),
    }
    return Ending(histories=histories, reconciliation=reconciliation, document=document)


def _when(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _totals(played: Played) -> dict[str, Any]:
    books, tallies = played.books, played.tallies.values()
    spots = {each.at: each.spot for each in played.samples}
    underlying = sum(
        spots[each.at] * sum(abs(leg.quantity) for leg in each.trade.legs if leg.kind < 3) / WAD
        for each in books.dealt
    )
    return {
        "channels": len(books.parties),
        "trades": len(books.dealt),
        "unwinds": sum(each.title == "unwinds" for each in books.dealt),
        "premium": sum(abs(each.trade.premium) for each in books.dealt),
        "notional": round(underlying),
        "quotes_compared": sum(sum(p is not None for p in e.premiums) for e in books.dealt),
        "settlements": len(books.settled),
        "attested": sum(each.attested for each in books.settled),
        "remarks": sum(each.remarks for each in tallies) // 2,
        "margin_calls": sum(each.called for each in tallies),
        "cured": sum(each.cured for each in tallies),
        "disputes": sum(each.disputes for each in tallies),
        "halts": sum(each.halts for each in tallies),
        "unquoted": sum(each.unquoted for each in tallies),
    }


def _trader(end: TraderEnd, played: Played) -> dict[str, Any]:
    tally = played.tallies[end.name]
    worst = max(each.traders[end.name].use for each in played.samples)
    return {
        "name": end.name,
        "profit": end.balance - end.funds,
        "explained": attrs.asdict(end.explained),
        "trades": sum(end.name in (each.taker, each.maker) for each in played.books.dealt),
        "margin_calls": tally.called,
        "cured": tally.cured,
        "disputes": tally.disputes,
        "worst_margin_use": round(worst, 4) if isfinite(worst) else None,
        "most_margin": max(s.traders[end.name].margin for s in played.samples),
        "no_price": {"limit": tally.limited, "margin": tally.unmargined},
        "protection": tally.tripped,
        "errors": tally.errors,
    }


# ---- on a terminal


def _money(units: int) -> str:
    return f"{round(units / UNIT):,}"


def trader_table(rows: Iterable[tuple[str, int, int, int, float, int]]) -> Table:
    """Make the table of traders as they stand: name, profit, equity, margin, use, margin calls."""
    table = Table(box=None, pad_edge=False)
    table.add_column("trader", style="bold")
    for name in ("profit, $", "equity, $", "margin, $", "use", "calls"):
        table.add_column(name, justify="right")
    for name, profit, equity, margin, use, calls in rows:
        style = "red" if profit < 0 else "green"
        table.add_row(
            name,
            Text(_money(profit), style=style),
            _money(equity),
            _money(margin),
            f"{use:.0%}",
            str(calls),
        )
    return table


def show(found: Ending, written: Sequence[Path]) -> None:
    """Print the report."""
    console = Console(highlight=False)
    document, totals = found.document, found.document["totals"]
    console.print(Rule(Text(f"option-channels {document['version']} replay", style="bold")))
    spot = document["spot"]
    console.print(
        f"{document['market']}: {document['snapshots']} snapshots, {document['from']} to "
        f"{document['to']}; spot {spot['first']:,.2f}, lowest {spot['lowest']:,.2f}, "
        f"last {spot['last']:,.2f}",
        soft_wrap=True,
    )
    console.print(
        f"{totals['trades']} trades in {totals['channels']} channels, {totals['unwinds']} of them "
        f"unwinds; premium ${_money(totals['premium'])}, about ${totals['notional']:,} of the "
        "underlying",
        soft_wrap=True,
    )
    console.print(
        f"{totals['remarks']} re-marks; {totals['settlements']} settlements off chain, "
        f"{totals['attested']} of them at an attested price; {totals['margin_calls']} margin "
        f"calls, {totals['cured']} met; {totals['disputes']} disputes",
        soft_wrap=True,
    )
    for renderable in (_profits(document), _risks(document), _checks(found.reconciliation)):
        console.print()
        console.print(renderable)
    verdict = (
        Text("Reconciled to the unit", style="bold green")
        if found.reconciliation.holds
        else Text("THE BOOKS DO NOT BALANCE", style="bold red")
    )
    verdict.append(f" · {document['seconds']} s", style="dim")
    console.print(verdict)
    for path in written:
        console.print(f"written: {path}", soft_wrap=True, markup=False)


def _profits(document: Mapping[str, Any]) -> RenderableType:
    table = Table(title="Profit explained, $", title_justify="left", box=None, pad_edge=False)
    table.add_column("trader", style="bold")
    table.add_column("profit", justify="right")
    for part in _PARTS:
        table.add_column(part, justify="right")
    for each in document["traders"]:
        parts = each["explained"]
        table.add_row(
            each["name"], _money(each["profit"]), *(_money(parts[part]) for part in _PARTS)
        )
    return table


def _risks(document: Mapping[str, Any]) -> RenderableType:
    table = Table(title="Margin", title_justify="left", box=None, pad_edge=False)
    table.add_column("trader", style="bold")
    for name in (
        "trades",
        "worst use",
        "most margin, $",
        "calls",
        "met",
        "no price: limit",
        "margin",
    ):
        table.add_column(name, justify="right")
    for each in document["traders"]:
        table.add_row(
            each["name"],
            str(each["trades"]),
            "no equity" if each["worst_margin_use"] is None else f"{each['worst_margin_use']:.0%}",
            _money(each["most_margin"]),
            str(each["margin_calls"]),
            str(each["cured"]),
            str(each["no_price"]["limit"]),
            str(each["no_price"]["margin"]),
        )
    return table


def _checks(reconciliation: Reconciliation) -> RenderableType:
    table = Table(title="Reconciliation", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("from the trades alone", justify="right")
    table.add_column("found", justify="right")
    table.add_column("")
    for each in reconciliation.checks:
        counted = each.what.startswith(("positions", "findings"))
        text = str if counted else (lambda units: dollars(units, UNIT))
        mark = Text("✓", style="green") if each.holds else Text("✗ DIFFERS", style="bold red")
        table.add_row(each.what, text(each.expected), text(each.found), mark)
    return table


# ---- files


def write_csv(found: Ending, played: Played, folder: Path) -> tuple[Path, ...]:
    """Write trades, settlements and samples, and every trader's audit trail by channel.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    books = played.books
    written = [
        _write(
            folder / "trades.csv",
            ("time", "channel", "taker", "maker", "what", "legs", "premium_from_taker"),
            (
                (
                    _when(each.at),
                    each.channel_id.hex(),
                    each.taker,
                    each.maker,
                    each.title,
                    len(each.trade.legs),
                    each.trade.premium,
                )
                for each in books.dealt
            ),
        ),
        _write(
            folder / "settlements.csv",
            ("expiry", "channel", "price", "attested"),
            (
                (
                    _when(each.expiry),
                    each.channel_id.hex(),
                    f"{from_wad(each.price):f}",
                    int(each.attested),
                )
                for each in books.settled
            ),
        ),
        _write(
            folder / "samples.csv",
            ("time", "spot", "trader", "profit", "equity", "margin", "use", "margin_calls"),
            (
                (
                    _when(each.at),
                    each.spot,
                    name,
                    trader.profit,
                    trader.equity,
                    trader.margin,
                    f"{trader.use:.6f}",
                    each.calls,
                )
                for each in played.samples
                for name, trader in each.traders.items()
            ),
        ),
    ]
    for name, histories in found.histories.items():
        for history in histories:
            written += write_tables(history, folder / name / history.channel.channel_id.hex())
    return tuple(written)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path
