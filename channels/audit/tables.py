"""The audit trail as files: CSV (RFC 4180), decimals as strings, times in ISO 8601 UTC.

Amounts of collateral are integers, in base units; prices, quantities, vols and carries are exact
decimals. Quantities and cash are seen from our own side: + = we are long, we receive.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from channels.audit.replay import ChannelHistory
from channels.desk.pnl import explain
from channels.pricing.instruments import Instrument
from channels.pricing.kinds import Kind
from channels.protocol.changes import Settlement, Trade
from channels.protocol.types import Portfolio, Series, feed_name
from channels.units import HOUR, from_wad

__all__ = ["TABLES", "series_name", "write_tables"]

Row = tuple[object, ...]


def series_name(series: Series) -> str:
    """Name a series as Deribit does; one that has no such name by its parts."""
    feed, expiry, kind, strike = series
    if expiry % HOUR == 0 and kind in Kind.__members__.values():
        return Instrument(feed=feed_name(feed), kind=Kind(kind), expiry=expiry, strike=strike).name
    return f"{feed_name(feed)}-@{expiry}-{from_wad(strike):f}-kind{kind}"


def write_tables(history: ChannelHistory, folder: str | Path) -> tuple[Path, ...]:
    """Write one CSV file for each of `TABLES` into ``folder``, which is made if need be.

    Raises:
        OSError: a file cannot be written.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (columns, rows) in TABLES.items():
        path = place / f"{name}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(rows(history))
        written.append(path)
    return tuple(written)


def _when(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _chain_time(seconds: int) -> str:
    return _when(seconds * 10**9) if seconds else ""


def _decimal(wad: int) -> str:
    return f"{from_wad(wad):f}"


def _trades(history: ChannelHistory) -> Iterator[Row]:
    sign = history.channel.side.sign
    for each in history.settled:
        if isinstance(each.change, Trade):
            for number, leg in enumerate(each.change.legs, start=1):
                yield (
                    _when(each.time),
                    each.nonce,
                    each.change.trade_id.hex(),
                    number,
                    series_name(leg.series),
                    _decimal(sign * leg.quantity),
                    _decimal(leg.price),
                    -sign * each.change.premium if number == 1 else 0,
                )


def _positions(history: ChannelHistory) -> Iterator[Row]:
    sign = history.channel.side.sign
    for each in history.settled:
        for held in each.portfolio.positions:
            yield (
                _when(each.time),
                each.nonce,
                series_name(held.series),
                _decimal(sign * held.quantity),
            )


def _marks(history: ChannelHistory) -> Iterator[Row]:
    for each in history.settled:
        for held in each.portfolio.positions:
            yield (
                _chain_time(each.portfolio.marked_at),
                each.nonce,
                series_name(held.series),
                _decimal(each.portfolio.spot(held.feed) or 0),
                _decimal(held.vol),
                _decimal(held.carry),
            )


def _cashflows(history: ChannelHistory) -> Iterator[Row]:
    sign, before = history.channel.side.sign, 0
    for each in history.settled:
        moved = each.portfolio.net_to_b - before
        if moved:
            why = type(each.change).__name__.lower() if each.change is not None else "recorded"
            yield (_when(each.time), each.nonce, why, -sign * moved)
        before = each.portfolio.net_to_b


def _margin(history: ChannelHistory) -> Iterator[Row]:
    side = history.channel.side
    for each in history.settled:
        yield (
            _when(each.time),
            each.nonce,
            each.portfolio.margin(side),
            each.portfolio.margin(side.other),
        )


def _events(history: ChannelHistory) -> Iterator[Row]:
    before = Portfolio()
    for each in history.settled:
        earned = explain(
            before, each.portfolio, side=history.channel.side, unit=history.channel.terms.unit
        )
        yield (
            _when(each.time),
            each.seq,
            each.nonce,
            _event_name(each.change),
            each.portfolio.struct_hash.hex(),
            earned.total,
            earned.delta,
            earned.gamma,
            earned.vega,
            earned.theta,
            earned.carry,
            earned.trades,
            earned.residual,
        )
        before = each.portfolio


def _event_name(change: object) -> str:
    match change:
        case None:
            return "void or recorded"
        case Settlement():
            return f"settlement {feed_name(change.feed)} {_chain_time(change.expiry)}"
        case _:
            return type(change).__name__.lower()


TABLES: Final[dict[str, tuple[tuple[str, ...], Callable[[ChannelHistory], Iterator[Row]]]]] = {
    "trades": (
        ("time", "nonce", "uti", "leg", "instrument", "quantity", "price", "cash"),
        _trades,
    ),
    "positions": (("time", "nonce", "instrument", "quantity"), _positions),
    "marks": (("marked_at", "nonce", "instrument", "spot", "vol", "carry"), _marks),
    "cashflows": (("time", "nonce", "reason", "cash"), _cashflows),
    "margin": (("time", "nonce", "initial_margin", "counterparty_initial_margin"), _margin),
    "events": (
        (
            *("time", "journal", "nonce", "event", "portfolio_hash", "profit"),
            *("delta", "gamma", "vega", "theta", "carry", "trades", "residual"),
        ),
        _events,
    ),
}
"""File name -> its columns, and the rows of a history."""
