"""What one looks at from outside: a running tower by its URL, its book, a receipt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from channels.errors import ChannelsError

__all__ = ["ask_tower", "channels", "disputes", "status", "verify_receipt"]

_url = click.option(
    "--url", default="http://127.0.0.1:8700", show_default=True, help="Where the tower listens."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def ask_tower(url: str, path: str) -> tuple[int, Any]:
    """Status and JSON of a running tower's answer."""
    import httpx

    try:
        response = httpx.get(url.rstrip("/") + path, timeout=10)
        return response.status_code, response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise click.ClickException(f"no tower answers at {url}: {error}") from error


@click.command()
@_url
@_json
def status(url: str, as_json: bool) -> None:
    """Ask a running tower how it is. Exit status 1 if it is not ready."""
    _, about = ask_tower(url, "/v1/tower")
    code, ready = ask_tower(url, "/readyz")
    _, health = ask_tower(url, "/healthz")
    told, beat = ask_tower(url, "/v1/heartbeat")
    heartbeat = beat.get("heartbeat") if told == 200 else None
    document = {**about, **ready, **health, "heartbeat": heartbeat}
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        for name, value in document.items():
            click.echo(f"{name:<18}{json.dumps(value) if name == 'heartbeat' else value}")
    raise SystemExit(0 if code == 200 else 1)


@click.command()
@_url
@_json
def disputes(url: str, as_json: bool) -> None:
    """List the watched channels that are in their window."""
    _, found = ask_tower(url, "/v1/disputes")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for each in found["disputes"]:
        click.echo(f"{each['channel']} recorded {each['recorded']} deadline {each['deadline']}")
    click.echo(f"{len(found['disputes'])} disputes")


@click.command()
@click.argument("book", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@_json
def channels(book: Path, limit: int, as_json: bool) -> None:
    """List what BOOK holds, beside the running tower or without one."""
    from itertools import islice

    from channels.tower.reading import read_book

    try:
        with read_book(book) as reader:
            rows: list[dict[str, Any]] = [
                {
                    "channel": "0x" + kept.channel_id.hex(),
                    "side": kept.side.name,
                    "customer": "0x" + kept.customer.hex(),
                    "nonces": [str(each.appointment.nonce) for each in kept.holdings],
                    "duties": int(kept.duties),
                    "budget": str(kept.budget),
                }
                for key in islice(reader.every_key(), limit)
                if (kept := reader.kept(key)) is not None
            ]
            entries = reader.entries
    except ChannelsError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"entries": entries, "channels": rows}, indent=2))
        return
    for row in rows:
        nonces = ", ".join(row["nonces"])
        click.echo(f"{row['channel']} {row['side']} nonce {nonces} budget {row['budget']} wei")
    click.echo(f"{len(rows)} of {entries} entries")


@click.command("verify-receipt")
@click.argument("receipt", type=click.File("r"))
@click.option("--tower", required=True, help="Address that signs for the tower.")
@click.option("--chain-id", type=int, required=True, help="Of the chain.")
@click.option("--adjudicator", required=True, help="Address of the contract.")
def verify_receipt(receipt: Any, tower: str, chain_id: int, adjudicator: str) -> None:
    """Check the signature of a receipt, offline. Exit status 1 if it is not the tower's."""
    from channels.protocol.eip712 import address
    from channels.protocol.signing import check_digest
    from channels.protocol.terms import Domain
    from channels.tower.wire import read_receipt

    try:
        signed = read_receipt(json.load(receipt))
        domain = Domain(chain_id=chain_id, adjudicator=address(adjudicator))
        check_digest(signed.signature, domain.digest(signed.receipt), address(tower))
    except (ChannelsError, ValueError) as error:
        raise click.ClickException(f"this receipt does not hold: {error}") from error
    found = signed.receipt
    click.echo(
        f"holds: channel 0x{found.channel_id.hex()}, nonce {found.nonce}, "
        f"from {found.valid_from} to {found.valid_to}"
    )
