"""``open``, ``quote``, ``trade``, ``settle``, ``close``: what needs a counterparty."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import trio

from channels.cli.desk.options import as_json, home_option, run, show
from channels.errors import InvalidValueError, OurError

if TYPE_CHECKING:
    from channels.cli.desk.session import Desk
    from channels.peer import PeerChannel
    from channels.peer.quotes import Quotes
    from channels.protocol.messages import Leg

__all__ = ["close", "open_channel", "quote", "settle", "trade"]

_SIGNED: Final = {"ignore_unknown_options": True}
"""So that a quantity may begin with a minus."""

_TAKING: Final = 10
_THINKING: Final = 30
"""Seconds that a price should stand: to be taken at once, or read first by a person."""

channel_option = click.option(
    "--channel", metavar="ID", help="The channel, or the beginning of its id, if there are several."
)
legs_argument = click.argument("legs", nargs=-1, required=True, metavar="QUANTITY INSTRUMENT ...")


@asynccontextmanager
async def _with_counterparty(folder: Path, which: str | None) -> AsyncIterator[tuple[Any, Any]]:
    """Work on an open channel while the block lasts: the desk, and the channel, connected."""
    from channels.cli.desk.home import read_home
    from channels.cli.desk.session import at_work
    from channels.protocol.channel import OPEN_PHASES

    async with at_work(read_home(folder)) as desk:
        channel = _chosen([each for each in desk.peer.channels if each.phase in OPEN_PHASES], which)
        places = _places(folder)
        at = places.get(channel.channel_id.hex())
        if at is None:
            raise OurError(
                "it is not known where the counterparty of this channel listens",
                next_step="run this on the side that opened the channel",
            )
        await desk.peer.connect(at)
        await channel.wait_idle()
        yield desk, channel


def _chosen(channels: list[PeerChannel], which: str | None) -> PeerChannel:
    wanted = (which or "").removeprefix("0x").lower()
    found = [each for each in channels if each.channel_id.hex().startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise InvalidValueError(
            "no such open channel" if which else "no open channel",
            next_step="open one with `option-channels open CARD`",
        )
    ids = ", ".join("0x" + each.channel_id.hex()[:8] for each in found)
    raise InvalidValueError(f"several channels: {ids}", next_step="name one with --channel")


def _places(folder: Path) -> dict[str, str]:
    path = folder / "counterparties.json"
    if not path.exists():
        return {}
    return {str(key): str(value) for key, value in json.loads(path.read_text("utf-8")).items()}


def _remember(folder: Path, channel_id: bytes, at: str) -> None:
    places = {**_places(folder), channel_id.hex(): at}
    (folder / "counterparties.json").write_text(json.dumps(places, indent=2), encoding="utf-8")


def _read_legs(words: tuple[str, ...]) -> list[Leg]:
    from channels.peer import Leg
    from channels.pricing.instruments import parse_name

    if len(words) % 2:
        raise InvalidValueError(
            "legs come in pairs", next_step="write a quantity before each instrument's name"
        )
    pairs = zip(words[::2], words[1::2], strict=True)
    return [Leg(parse_name(name), quantity=quantity) for quantity, name in pairs]


# ---------------------------------------------------------------- opening


@click.command(
    "open",
    short_help="Open a channel with the counterparty whose CARD this is.",
    epilog="Example: option-channels open 0x…:0x…@host:7001 --deposit 10000",
)
@home_option()
@click.argument("card")
@click.option(
    "--deposit", type=click.IntRange(min=1), required=True, help="Ours, whole units of collateral."
)
@click.option(
    "--peer-deposit", type=click.IntRange(min=1), help="The counterparty's.  [default: as ours]"
)
@as_json
def open_channel(
    home: Path, card: str, deposit: int, peer_deposit: int | None, as_json: bool
) -> None:
    """Open a channel with the counterparty whose CARD this is, on default terms.

    Both deposits are locked at once, in one transaction that we pay for. A counterparty locks what
    its configuration allows (most_deposit), and no more.
    """
    run(_open, home, card, deposit, peer_deposit or deposit, as_json)


async def _open(folder: Path, text: str, deposit: int, peer_deposit: int, machine: bool) -> None:
    from channels.cli.desk.home import Card, read_home
    from channels.cli.desk.session import at_work, risk_of
    from channels.peer import default_terms

    card, home = Card.read(text), read_home(folder)
    async with at_work(home) as desk:
        unit, keys = desk.collateral.unit, desk.keys
        risk = risk_of(home)
        terms = default_terms(
            party_a=keys.wallet.address,
            party_b=card.party,
            signer_a=keys.signer.address,
            signer_b=card.signer,
            collateral=desk.collateral.token,
            unit=unit,
            oracle=keys.deployment.oracle,
            risk=risk,
            stale_penalty=min(deposit, peer_deposit) * unit // 20,
        )
        channel = await desk.peer.open(
            peer=card.at,
            terms=terms,
            risk=risk,
            deposit=deposit * unit,
            peer_deposit=peer_deposit * unit,
        )
        _remember(folder, channel.channel_id, card.at)
        show(
            machine,
            {"channel": "0x" + channel.channel_id.hex(), "equity": str(channel.equity)},
            f"Channel 0x{channel.channel_id.hex()} is open; our equity: "
            f"{desk.collateral.show(channel.equity)}",
        )


# ---------------------------------------------------------------- trading


@click.command(
    short_help="Ask the counterparty for a price, and turn it down.",
    context_settings=_SIGNED,
    epilog="Example: option-channels quote +1 ETH-USD-27MAR26-3000-P",
)
@home_option()
@channel_option
@legs_argument
@as_json
def quote(home: Path, channel: str | None, legs: tuple[str, ...], as_json: bool) -> None:
    """Ask the counterparty for a price, and turn it down: + quantity, we buy."""
    run(_quote, home, channel, legs, as_json)


async def _quote(folder: Path, which: str | None, words: tuple[str, ...], machine: bool) -> None:
    legs = _read_legs(words)
    async with _with_counterparty(folder, which) as (desk, channel):
        quotes: Quotes = await channel.request_quote(legs)
        best = quotes.best()
        show(
            machine,
            {"premium": str(best.premium), "expires_at": best.expires_at},
            f"premium: {_premium(desk, best.premium)}",
        )
        for each in quotes.all:
            await each.decline()
        await channel.wait_idle()


def _premium(desk: Desk, amount: int) -> str:
    return f"we {'pay' if amount >= 0 else 'receive'} {desk.collateral.show(abs(amount))}"


@click.command(
    short_help="Ask for a price and take it.",
    context_settings=_SIGNED,
    epilog="Example: option-channels trade +1 ETH-USD-27MAR26-3000-P -1 ETH-USD-27MAR26-2800-P",
)
@home_option()
@channel_option
@click.option(
    "--limit",
    metavar="AMOUNT",
    help="Most to pay in all, units of collateral; negative: least to receive.",
)
@click.option("--at-any-price", is_flag=True, help="Take whatever price is named.")
@legs_argument
@as_json
def trade(
    home: Path,
    channel: str | None,
    limit: str | None,
    at_any_price: bool,
    legs: tuple[str, ...],
    as_json: bool,
) -> None:
    """Ask for a price and take it: + quantity, we buy. All legs or none.

    Up to --limit, or --at-any-price; with neither, a person at a terminal is shown the price and
    asked.
    """
    if limit is not None and at_any_price:
        raise click.UsageError("--limit or --at-any-price, not both")
    asks = limit is None and not at_any_price
    if asks and (as_json or not _on_terminal()):
        raise click.UsageError("say what may be paid: --limit AMOUNT, or --at-any-price")
    run(_trade, home, channel, limit, asks, legs, as_json)


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


async def _agrees(desk: Desk, premium: int) -> bool:
    """Ask the person at the terminal; the peer goes on working meanwhile."""
    question = f"{_premium(desk, premium)}. Trade?"
    return await trio.to_thread.run_sync(partial(click.confirm, question), abandon_on_cancel=True)


async def _trade(
    folder: Path,
    which: str | None,
    limit: str | None,
    asks: bool,
    words: tuple[str, ...],
    machine: bool,
) -> None:
    from channels.units import WAD, to_wad

    legs = _read_legs(words)
    most = None if limit is None else int(to_wad(limit))
    async with _with_counterparty(folder, which) as (desk, channel):
        quotes: Quotes = await channel.request_quote(legs, ttl=_THINKING if asks else _TAKING)
        best = quotes.best()
        if asks and not await _agrees(desk, best.premium):
            await best.decline()
            raise OurError("not traded", next_step="ask again, or name a --limit")
        if most is not None and best.premium * WAD > most * desk.collateral.unit:
            await best.decline()
            raise OurError(
                f"the price is beyond the limit: {_premium(desk, best.premium)}",
                next_step="nothing was traded; raise --limit or ask again",
            )
        done = await best.accept()
        show(
            machine,
            {
                "nonce": done.nonce,
                "premium": str(best.premium),
                "trade_id": "0x" + best.trade.trade_id.hex(),
                "equity": str(channel.equity),
                "initial_margin": str(channel.margin),
            },
            f"Traded at nonce {done.nonce}: {_premium(desk, best.premium)}\n"
            f"equity {desk.collateral.show(channel.equity)}, "
            f"initial margin {desk.collateral.show(channel.margin)}",
        )


@click.command(
    short_help="Settle what has expired, if the counterparty agrees.",
    epilog="Example: option-channels settle ETH-USD 27MAR26 2950",
)
@home_option()
@channel_option
@click.argument("feed")
@click.argument("expiry")
@click.argument("price")
@as_json
def settle(
    home: Path, channel: str | None, feed: str, expiry: str, price: str, as_json: bool
) -> None:
    """Settle what expired on FEED at EXPIRY at PRICE, if the counterparty agrees.

    Who does not agree waits for the attested price: the contract settles at that.
    """
    run(_settle, home, channel, feed, expiry, price, as_json)


async def _settle(
    folder: Path, which: str | None, feed: str, expiry: str, price: str, machine: bool
) -> None:
    from channels.pricing.instruments import parse_name
    from channels.units import to_wad

    time = parse_name(f"{feed}-{expiry}-1-F").expiry
    async with _with_counterparty(folder, which) as (desk, channel):
        done = await channel.settle(feed, time, int(to_wad(price)))
        show(
            machine,
            {"nonce": done.nonce, "equity": str(channel.equity)},
            f"Settled at nonce {done.nonce}; our equity: {desk.collateral.show(channel.equity)}",
        )


@click.command(short_help="End a channel without open positions; both are paid.")
@home_option()
@channel_option
@as_json
def close(home: Path, channel: str | None, as_json: bool) -> None:
    """End a channel without open positions, with the counterparty's signature; both are paid."""
    run(_close, home, channel, as_json)


async def _close(folder: Path, which: str | None, machine: bool) -> None:
    async with _with_counterparty(folder, which) as (desk, channel):
        paid = channel.equity
        await channel.close()
        show(
            machine,
            {"channel": "0x" + channel.channel_id.hex(), "paid": str(paid)},
            f"Closed; paid to our wallet: {desk.collateral.show(paid)}",
        )
