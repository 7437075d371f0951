"""``serve``, ``open``, ``quote``, ``trade``, ``settle``, ``close``: what needs a counterparty."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import trio

from channels.cli.desk.options import as_json, home_option, printable, run, show
from channels.errors import ChannelsError, InvalidValueError, OurError

if TYPE_CHECKING:
    from channels.cli.desk.session import Desk
    from channels.peer import PeerChannel, PeerEvent
    from channels.peer.quotes import Quotes
    from channels.protocol.messages import Leg

__all__ = ["close", "open_channel", "quote", "serve", "settle", "trade"]

_SIGNED: Final = {"ignore_unknown_options": True}
"""So that a quantity may begin with a minus."""

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


# ---------------------------------------------------------------- serving


@click.command()
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
    async with at_work(home, listen=home.listen) as desk, desk.peer.events() as events:
        at = desk.peer.listening
        _line(machine, {"event": "Listening", "at": at}, f"listening on {at}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_tell_alerts, desk, machine)
            async for event in events:
                _tell(event, machine)


def _line(machine: bool, document: dict[str, Any], text: str) -> None:
    click.echo(json.dumps(document) if machine else printable(text))


def _tell(event: PeerEvent, machine: bool) -> None:
    notice = event.notice
    channel = "0x" + event.channel_id.hex()[:8] if event.channel_id else "-"
    said = str(notice) if isinstance(notice, ChannelsError) else ""
    name = type(notice).__name__
    _line(
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


async def _tell_alerts(desk: Desk, machine: bool) -> None:
    async for alert in desk.monitor.alerts:
        _line(
            machine,
            {"event": "Alert", "code": alert.code.name, "text": alert.text},
            f"{alert.level.name} {alert.code.name}: {alert.text}",
        )


# ---------------------------------------------------------------- opening


@click.command("open")
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
    """Open a channel with the counterparty whose CARD this is, on default terms."""
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


@click.command(context_settings=_SIGNED)
@home_option()
@channel_option
@legs_argument
@as_json
def quote(home: Path, channel: str | None, legs: tuple[str, ...], as_json: bool) -> None:
    r"""Ask the counterparty for a price, and turn it down: + quantity, we buy.

    \b
    option-channels quote +1 ETH-USD-27MAR26-3000-P
    """
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


@click.command(context_settings=_SIGNED)
@home_option()
@channel_option
@click.option(
    "--limit",
    metavar="AMOUNT",
    help="Most to pay in all, units of collateral; negative: least to receive.",
)
@legs_argument
@as_json
def trade(
    home: Path,
    channel: str | None,
    limit: str | None,
    legs: tuple[str, ...],
    as_json: bool,
) -> None:
    r"""Ask for a price and take it: + quantity, we buy. All legs or none.

    \b
    option-channels trade +1 ETH-USD-27MAR26-3000-P -1 ETH-USD-27MAR26-2800-P
    """
    run(_trade, home, channel, limit, legs, as_json)


async def _trade(
    folder: Path, which: str | None, limit: str | None, words: tuple[str, ...], machine: bool
) -> None:
    from channels.units import WAD, to_wad

    legs = _read_legs(words)
    most = None if limit is None else int(to_wad(limit))
    async with _with_counterparty(folder, which) as (desk, channel):
        best = (await channel.request_quote(legs)).best()
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


@click.command()
@home_option()
@channel_option
@click.argument("feed")
@click.argument("expiry")
@click.argument("price")
@as_json
def settle(
    home: Path, channel: str | None, feed: str, expiry: str, price: str, as_json: bool
) -> None:
    """Settle what expired on FEED at EXPIRY (27MAR26) at PRICE, if the counterparty agrees."""
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


@click.command()
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
