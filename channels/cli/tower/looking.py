"""What one looks at from outside: a running tower by its URL, its book, a receipt."""

from __future__ import annotations

import json
from typing import Any

import click

from channels.cli.failing import failing
from channels.errors import ChannelsError, OurError, TowerFaultError
from channels.foreign_json import parse_json

__all__ = ["ask_tower", "channels", "disputes", "status", "verify_receipt"]

_url = click.option(
    "--url", default="http://127.0.0.1:8700", show_default=True, help="Where the tower listens."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def ask_tower(url: str, path: str) -> tuple[int, Any]:
    """Status and JSON of a running tower's answer.

    Raises:
        OurError: none answers at this address.
    """
    import httpx

    try:
        response = httpx.get(url.rstrip("/") + path, timeout=10)
        return response.status_code, parse_json(response.content)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise OurError(
            f"no tower answers at {url}: {error}",
            next_step="start one with `option-channels tower run`, or correct --url",
        ) from error


@click.command()
@_url
@_json
def status(url: str, as_json: bool) -> None:
    """Ask a running tower how it is. Exit status 1 if it is not ready."""
    with failing():
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
    with failing():
        _, found = ask_tower(url, "/v1/disputes")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for each in found["disputes"]:
        click.echo(f"{each['channel']} recorded {each['recorded']} deadline {each['deadline']}")
    click.echo(f"{len(found['disputes'])} disputes")


@click.command()
@click.argument("book")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@_json
def channels(book: str, limit: int, as_json: bool) -> None:
    """List what BOOK, a file or a PostgreSQL, holds, beside the running tower or without one."""
    from itertools import islice

    from channels.tower.reading import read_book

    with failing(), read_book(book) as reader:
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
        entries = reader.count("entries")
    if as_json:
        click.echo(json.dumps({"entries": entries, "channels": rows}, indent=2))
        return
    for row in rows:
        nonces = ", ".join(row["nonces"])
        click.echo(f"{row['channel']} {row['side']} nonce {nonces} budget {row['budget']} wei")
    click.echo(f"{len(rows)} of {entries} entries")


@click.command("verify-receipt")
@click.argument("receipt", type=click.File("rb"))
@click.option("--tower", required=True, help="Address that signs for the tower.")
@click.option("--chain-id", type=int, required=True, help="Of the chain.")
@click.option("--adjudicator", required=True, help="Address of the contract.")
@_json
def verify_receipt(
    receipt: Any, tower: str, chain_id: int, adjudicator: str, as_json: bool
) -> None:
    """Check the signature of a receipt, offline. Exit status 1 if it is not the tower's."""
    from channels.protocol.eip712 import address
    from channels.protocol.signing import check_digest
    from channels.protocol.terms import Domain
    from channels.tower.wire import read_receipt

    with failing():
        try:
            signed = read_receipt(parse_json(receipt.read()))
            domain = Domain(chain_id=chain_id, adjudicator=address(adjudicator))
            check_digest(signed.signature, domain.digest(signed.receipt), address(tower))
        except (ChannelsError, ValueError, KeyError, TypeError) as error:
            raise TowerFaultError(f"this receipt does not hold: {error}") from error
    found = signed.receipt
    if as_json:
        document = {
            "channel": "0x" + found.channel_id.hex(),
            "nonce": str(found.nonce),
            "valid_from": found.valid_from,
            "valid_to": found.valid_to,
        }
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(
        f"holds: channel 0x{found.channel_id.hex()}, nonce {found.nonce}, "
        f"from {found.valid_from} to {found.valid_to}"
    )
