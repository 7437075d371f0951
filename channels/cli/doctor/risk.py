"""Checks of the open channels: disputes and their deadlines, margin, marks, and prices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import trio

from channels.chain.contracts import OracleReader
from channels.cli.doctor.findings import Finding, error, of_error, ok, warning
from channels.cli.doctor.ground import Ground, OnChain
from channels.errors import ChannelsError, ContractRevertedError, InvalidValueError
from channels.peer.flat_market import FlatMarket
from channels.prices import Source, open_sources
from channels.protocol.changes import equity
from channels.protocol.channel import Channel
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChannelView, OnChainPhase
from channels.protocol.types import Party, feed_id, feed_name

__all__ = ["check_channels", "check_disputes", "check_prices"]

_MOST_PRICE_AGE: Final = 3_900
"""Of an oracle no channel names yet: the terms' default."""

_WATCH: Final = "run `option-channels watch` or `option-channels serve`, and let it run"


def _name(channel: Channel) -> str:
    return f"0x{channel.channel_id.hex()[:8]}"


def _at(time: int) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _seen(ground: Ground) -> Iterator[tuple[Channel, ChannelView, OnChain]]:
    if ground.chain is not None:
        for each in ground.channels:
            if each.channel_id in ground.chain.views:
                yield each, ground.chain.views[each.channel_id], ground.chain


async def check_disputes(ground: Ground) -> list[Finding]:
    """What the chain says of each channel: open, disputed until when, called for margin."""
    await trio.lowlevel.checkpoint()
    return [
        finding
        for channel, view, chain in _seen(ground)
        for finding in _disputes(channel, view, chain.head.timestamp)
    ]


def _disputes(channel: Channel, view: ChannelView, now: int) -> Iterator[Finding]:
    name, which = "disputes", _name(channel)
    if view.phase is OnChainPhase.OPEN:
        yield ok(name, f"{which} is open on the chain")
    elif view.phase is OnChainPhase.DISPUTED and view.nonce < channel.ledger.nonce:
        yield error(
            name,
            f"{which} is disputed on nonce {view.nonce}, and our store has {channel.ledger.nonce}; "
            f"it can be answered until {_at(view.deadline)}, for {view.deadline - now} s",
            f"{_WATCH}: a stale state that stands at the deadline may lose funds",
        )
    elif view.phase is OnChainPhase.DISPUTED:
        yield warning(
            name,
            f"{which} is disputed, on our newest state, until {_at(view.deadline)}",
            f"{_WATCH}: it settles what expires and calls margin",
        )
    elif view.phase is OnChainPhase.RUN_OFF:
        yield warning(
            name, f"{which} runs off since {_at(view.deadline)}", f"{_WATCH}: it has all settled"
        )
    elif view.phase is OnChainPhase.CLOSED:
        yield warning(
            name,
            f"{which} has ended on the chain, and our store does not know",
            "run `option-channels serve` until it has seen that",
        )
    else:
        yield warning(
            name,
            f"{which} is not on the chain",
            "run `option-channels serve`: its opening is sent again, or lapses",
        )
    cure_end = view.cure_end(channel.side)
    if view.phase in (OnChainPhase.DISPUTED, OnChainPhase.RUN_OFF) and cure_end > now:
        yield error(
            name,
            f"{which}: our margin was called; the cure ends {_at(cure_end)}, in {cure_end - now} s",
            "deposit what is lacking before that: who is short then is closed out with a penalty",
        )


async def check_channels(ground: Ground) -> list[Finding]:
    """Of each channel with positions: age of the marks, and both sides' equity against margin."""
    await trio.lowlevel.checkpoint()
    return [
        finding
        for channel, view, chain in _seen(ground)
        if channel.portfolio.positions and view.phase is not OnChainPhase.CLOSED
        for finding in (
            _marks(channel, chain.head.timestamp),
            *(_margin(channel, view, side) for side in (channel.side, channel.side.other)),
        )
    ]


def _marks(channel: Channel, now: int) -> Finding:
    age, most = now - channel.portfolio.marked_at, channel.terms.max_mark_age
    said = f"{_name(channel)}: marks are {age // 3_600} h {age % 3_600 // 60} min old"
    remedy = "run `option-channels serve` while the counterparty is there: it marks anew"
    if age > most:
        return error("marks", f"{said}; over {most // 3_600} h margin cannot be called", remedy)
    if 2 * age > most:
        return warning(
            "marks", f"{said}; from {most // 3_600} h on margin cannot be called", remedy
        )
    return ok("marks", said)


def _margin(channel: Channel, view: ChannelView, side: Party) -> Finding:
    held, unit = channel.portfolio, channel.terms.unit
    owns = equity(held, view.contribution(side), side, unit)
    ours, needs = side is channel.side, held.margin(side)
    said = (
        f"{_name(channel)}: {'our equity' if ours else 'equity of the counterparty'} is "
        f"{Decimal(owns) / unit:,.2f}, the margin {Decimal(needs) / unit:,.2f}"
    )
    if owns >= needs:
        return ok("margin", said)
    if ours:
        return error("margin", said, "deposit, or close positions, before we are called for it")
    return warning(
        "margin",
        said,
        "ask the counterparty to deposit or to close positions; else dispute, and call it",
    )


# ---- prices


async def check_prices(ground: Ground) -> list[Finding]:
    """Whether each oracle has a spot that a margin call would take, or our source offers one."""
    chain = ground.chain
    if chain is None:
        return []
    found = []
    async with _sources(ground, chain) as sources:
        for oracle, feed, most_age in _wanted(ground):
            found.append(await _price(chain, sources, oracle, feed, most_age))
    return found


def _sources(ground: Ground, chain: OnChain) -> AbstractAsyncContextManager[Source]:
    market = FlatMarket(ground.home.spots, vol=ground.home.vol)

    async def price_now(feed: bytes) -> int | None:
        return market.spots.get(feed)

    return open_sources(chain.rpc, ground.deployment, ground.home.prices, market=price_now)


def _wanted(ground: Ground) -> list[tuple[Address, bytes, int]]:
    """Oracle, feed, and how old a spot may be for a margin call."""
    found: dict[tuple[Address, bytes], int] = {}
    with suppress(InvalidValueError):  # of several oracles each channel names its own
        oracle = ground.deployment.oracle
        found = {(oracle, feed_id(name)): _MOST_PRICE_AGE for name in ground.home.spots}
    for each in ground.channels:
        for spot in each.portfolio.spots:
            found[each.terms.oracle, spot.feed] = each.terms.max_price_age
    return [(oracle, feed, age) for (oracle, feed), age in sorted(found.items())]


async def _price(
    chain: OnChain, sources: Source, oracle: Address, feed: bytes, most_age: int
) -> Finding:
    name, now = "prices", chain.head.timestamp
    try:
        told = await OracleReader(chain.rpc, oracle).spot(feed)
    except ContractRevertedError:
        told = None
    age = None if told is None else now - told.observed_at
    says = "has none" if age is None else f"has one {age} s old"
    says = f"{feed_name(feed)}: the oracle {says}"
    try:
        offer = await sources.spot(oracle, feed, now)
    except ChannelsError as raised:
        return of_error(name, raised, "correct [prices] in config.toml")
    if offer is not None and now - offer.observed_at <= most_age:
        return ok(name, f"{says}; the source offers one {now - offer.observed_at} s old")
    if age is not None and age <= most_age:
        return ok(name, says)
    return warning(
        name,
        f"{says}, the source none: nobody can call margin",
        "name the oracle's attesters under [prices] in config.toml, and see that they run",
    )
