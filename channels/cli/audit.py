"""``option-channels audit``: a store's journal verified, replayed, and told in CSV files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from channels.cli.failing import failing
from channels.cli.results import writing
from channels.errors import InvalidValueError

if TYPE_CHECKING:
    from channels.audit import AuditReport, ChannelHistory
    from channels.storage import JournalHead

__all__ = ["audit"]


@click.command(short_help="Verify the journal of STORE offline, and tell it in tables.")
@click.argument("store", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--head",
    metavar="SEQ:HASH",
    help="A head printed by an earlier audit: shows that nothing before it was changed or cut off.",
)
@click.option(
    "--csv",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write trades, positions, marks, cashflows, margin and events of each channel here.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for machines.")
def audit(store: Path, head: str | None, folder: Path | None, as_json: bool) -> None:
    """Verify the journal of STORE offline, and replay it to the state it ends in.

    Checks the hash chain, every signature, the order of signing, and that the journal ends where
    the store stands. Reads only. Exit status 1 if anything does not hold.
    """
    from channels.audit import audit as verify
    from channels.audit import write_tables

    with failing():
        report = verify(store, known=None if head is None else _head(head))
        if folder is not None:
            with writing():
                for history in report.histories:
                    write_tables(history, folder / history.channel.channel_id.hex())
    if as_json:
        click.echo(json.dumps(_document(report), indent=2))
    else:
        _show(store, report, folder)
    raise SystemExit(0 if report.sound else 1)


def _head(text: str) -> JournalHead:
    from channels.storage import JournalHead

    number, _, digits = text.partition(":")
    try:
        hash_ = bytes.fromhex(digits.removeprefix("0x"))
        if len(hash_) != 32:
            raise ValueError(text)
        return JournalHead(seq=int(number), hash=hash_)
    except ValueError as error:
        raise InvalidValueError(
            f"{text!r} is no head", next_step="give it as an audit printed it: 12:0x…"
        ) from error


def _document(report: AuditReport) -> dict[str, Any]:
    return {
        "sound": report.sound,
        "head": {"seq": report.head.seq, "hash": "0x" + report.head.hash.hex()},
        "channels": [_channel(each) for each in report.histories],
        "findings": [
            {"seq": each.seq, "channel": "0x" + each.channel_id.hex(), "text": each.text}
            for each in report.findings
        ],
    }


def _channel(history: ChannelHistory) -> dict[str, Any]:
    channel = history.channel
    return {
        "id": "0x" + channel.channel_id.hex(),
        "side": channel.side.name,
        "phase": history.phase.name,
        "nonce": channel.ledger.nonce,
        "portfolio_hash": "0x" + channel.portfolio.struct_hash.hex(),
        "net_to_b": str(channel.portfolio.net_to_b),
        "positions": len(channel.portfolio.positions),
        "changes": len(history.settled),
        "signatures": history.signatures,
        "deeds": {deed.name: count for deed, count in sorted(history.deeds.items())},
    }


def _show(store: Path, report: AuditReport, folder: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from channels.cli.tables import print_table

    console = Console(soft_wrap=True)
    if report.histories:
        table = Table(title=f"Journal of {store.name}", title_justify="left")
        for heading in ("channel", "side", "phase"):
            table.add_column(heading)
        for heading in ("nonce", "changes", "signatures", "positions", "net to B"):
            table.add_column(heading, justify="right")
        for each in report.histories:
            row = _channel(each)
            table.add_row(
                f"{row['id'][:10]}…",
                row["side"],
                row["phase"],
                *(str(row[name]) for name in ("nonce", "changes", "signatures", "positions")),
                row["net_to_b"],
            )
        print_table(table)
    for finding in report.findings:
        where = f"entry {finding.seq}" if finding.seq else "at the end"
        console.print(f"[red]✗[/red] {where}: {finding.text}", highlight=False)
    if report.sound:
        console.print(
            f"[green]✓[/green] {report.head.seq} entries hold: hash chain, signatures, order of "
            "signing, and the state they end in",
            highlight=False,
        )
    console.print(f"head {report.head.seq}:0x{report.head.hash.hex()}", highlight=False)
    if folder is not None:
        console.print(f"tables in {folder}", highlight=False)
