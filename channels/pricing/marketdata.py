"""Option markets read from Deribit's option summaries, recorded or of the moment, as integers.

One row is one option at one time. Index and futures price are those of the row's own moment: the
rows of one snapshot are some seconds apart, so every quote keeps its own.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property, lru_cache
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, Final, TextIO

import attrs

from channels.errors import InvalidValueError
from channels.pricing.black76 import implied_carry
from channels.pricing.instruments import Instrument, parse_name
from channels.pricing.kinds import Kind
from channels.units import WAD

__all__ = [
    "ExpiryMarks",
    "MarketSnapshot",
    "OptionQuote",
    "read_book_summary",
    "read_snapshots",
]

_KINDS: Final = {"call": Kind.CALL, "put": Kind.PUT}


@attrs.frozen(kw_only=True)
class OptionQuote:
    """One option at one time; prices and vol in WAD, prices in the currency of the strike.

    ``bid``, ``ask`` and ``mark`` are None where the market shows none. Those quoted in coin have
    been multiplied by ``forward``: the bid rounded down, the ask up, the mark to nearest. ``vol``
    is that of the mark; Black-76 on ``forward`` with it gives the mark again.
    """

    instrument: Instrument
    at: int
    spot: int
    forward: int
    bid: int | None
    ask: int | None
    mark: int | None
    vol: int

    @property
    def tau(self) -> int:
        """Seconds to expiry, negative after it."""
        return self.instrument.expiry - self.at


@attrs.frozen(kw_only=True)
class ExpiryMarks:
    """Spot and forward of one expiry in one snapshot: the (lower) medians of its rows, in WAD."""

    expiry: int
    at: int
    spot: int
    forward: int

    @property
    def carry(self) -> int:
        """Annual carry from spot to forward, in WAD; 0 once expired.

        Raises:
            PricingDomainError: beyond 100.0, as quotes minutes before expiry may imply.
        """
        tau = self.expiry - self.at
        return implied_carry(self.spot, self.forward, tau) if tau > 0 else 0


@attrs.frozen(kw_only=True)
class MarketSnapshot:
    """All options of a file at one time, Unix seconds; ``spot`` is the lower median of its rows."""

    at: int
    spot: int
    quotes: tuple[OptionQuote, ...]

    @cached_property
    def expiries(self) -> Mapping[int, ExpiryMarks]:
        """Marks of each expiry, the earliest first."""
        by_expiry: dict[int, list[OptionQuote]] = {}
        for quote in self.quotes:
            by_expiry.setdefault(quote.instrument.expiry, []).append(quote)
        return {
            expiry: ExpiryMarks(
                expiry=expiry,
                at=self.at,
                spot=_lower_median(map(attrgetter("spot"), by_expiry[expiry])),
                forward=_lower_median(map(attrgetter("forward"), by_expiry[expiry])),
            )
            for expiry in sorted(by_expiry)
        }


def read_snapshots(path: str | Path) -> Iterator[MarketSnapshot]:
    """Yield the snapshots of a CSV or CSV.gz file one by one, in the order of the file.

    Only one snapshot is in memory at a time. Columns needed: timestamp, instrument_name,
    index_price, futures_price, bid_price, ask_price, mark_price, implied_volatility; a column
    expiry_datetime, strike or option_type must agree with the name; others are ignored.

    Raises:
        InvalidValueError: a missing column or a malformed row, with the file's name and its line.
    """
    source = Path(path)
    with _opened(source) as stream:
        rows = _rows(stream, source.name)
        for at, group in groupby(rows, key=attrgetter("at")):
            quotes = tuple(group)
            yield MarketSnapshot(
                at=at, spot=_lower_median(quote.spot for quote in quotes), quotes=quotes
            )


def read_book_summary(path: str | Path) -> MarketSnapshot:
    """Read the answer of Deribit's ``public/get_book_summary_by_currency``, saved as a file.

    Its list of results alone will do too. Futures, perpetuals and combos are left out. The time is
    that of the newest row; the spot of a row is its ``estimated_delivery_price``, which is the
    index but for the last half hour of an expiry.

    Raises:
        InvalidValueError: no such answer, an error in place of one, no option in it, or a malformed
            row, with the file's name and the row's number.
    """
    source = Path(path)
    try:
        # numbers stay the decimals that were sent
        answer = json.loads(source.read_bytes(), parse_float=str, parse_int=str)
    except ValueError as error:
        raise InvalidValueError(f"{source.name} is no JSON: {error}") from error
    rows = answer.get("result") if isinstance(answer, dict) else answer
    if not isinstance(rows, list):
        raise InvalidValueError(f"{source.name} holds no list of book summaries")
    quotes = []
    for number, row in enumerate(rows, 1):
        try:
            quote = _summary(row)
        except InvalidValueError as error:
            raise InvalidValueError(f"{source.name}, row {number}: {error}") from error
        if quote is not None:
            quotes.append(quote)
    if not quotes:
        raise InvalidValueError(f"{source.name} holds no options")
    return MarketSnapshot(
        at=max(quote.at for quote in quotes),
        spot=_lower_median(quote.spot for quote in quotes),
        quotes=tuple(quotes),
    )


def _summary(row: Any) -> OptionQuote | None:
    """Return a row as a quote; None of what is no option."""
    if not isinstance(row, dict):
        raise InvalidValueError("is no object")
    if row.get("mark_iv") is None:
        return None
    texts = {key: "" if value is None else str(value) for key, value in row.items()}
    missing = [key for key in _SUMMARY if key not in texts]
    if missing:
        raise InvalidValueError(f"no {', '.join(missing)}")
    time, name, index, futures, bid, ask, mark, vol = (texts[key] for key in _SUMMARY)
    return _quote(
        at=_wad(time) // (1_000 * WAD),
        name=name,
        index=index,
        futures=futures,
        prices=(bid, ask, mark),
        vol=_not_negative("mark_iv", vol) // 100,
    )


_SUMMARY: Final = (
    "creation_timestamp",
    "instrument_name",
    "estimated_delivery_price",
    "underlying_price",
    "bid_price",
    "ask_price",
    "mark_price",
    "mark_iv",
)
_REQUIRED: Final = (
    "timestamp",
    "instrument_name",
    "index_price",
    "futures_price",
    "bid_price",
    "ask_price",
    "mark_price",
    "implied_volatility",
)
_CHECKED: Final = ("expiry_datetime", "strike", "option_type")


@contextmanager
def _opened(source: Path) -> Iterator[TextIO]:
    if source.suffix == ".gz":
        with gzip.open(source, "rt", encoding="utf-8", newline="") as stream:
            yield stream
    else:
        with source.open(encoding="utf-8", newline="") as stream:
            yield stream


def _rows(stream: TextIO, source: str) -> Iterator[OptionQuote]:
    reader = csv.reader(stream)
    try:
        header: Sequence[str] = next(reader, ())
        missing = [column for column in _REQUIRED if column not in header]
        if missing:
            raise InvalidValueError(f"no column {', '.join(missing)}")
        required = itemgetter(*map(header.index, _REQUIRED))
        checked = [(column, header.index(column)) for column in _CHECKED if column in header]
        for row in reader:
            if len(row) != len(header):
                raise InvalidValueError(f"{len(row)} columns, the header has {len(header)}")
            time, name, index, futures, bid, ask, mark, vol = required(row)
            quote = _quote(
                at=_seconds(time),
                name=name,
                index=index,
                futures=futures,
                prices=(bid, ask, mark),
                vol=_not_negative("implied_volatility", vol),
            )
            for column, index in checked:
                _check(column, row[index], quote.instrument)
            yield quote
    except (InvalidValueError, csv.Error, EOFError, OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(
            f"{source}, line {max(reader.line_num, 1)}: {error}",
            next_step="repair or remove that row",
        ) from error


def _quote(
    *, at: int, name: str, index: str, futures: str, prices: tuple[str, str, str], vol: int
) -> OptionQuote:
    instrument = _option(name)
    forward = _positive("futures_price", futures)
    # a linear option is quoted in the strike's currency already
    per_quote = WAD if instrument.quote else forward
    bid, ask, mark = prices
    return OptionQuote(
        instrument=instrument,
        at=at,
        spot=_positive("index_price", index),
        forward=forward,
        bid=_scaled("bid_price", bid, per_quote, 0),
        ask=_scaled("ask_price", ask, per_quote, WAD - 1),
        mark=_scaled("mark_price", mark, per_quote, WAD // 2),
        vol=vol,
    )


@lru_cache(maxsize=8192)
def _option(name: str) -> Instrument:
    instrument = parse_name(name)
    if instrument.kind not in (Kind.CALL, Kind.PUT):
        raise InvalidValueError(f"{name!r} is no option")
    return instrument


def _check(column: str, text: str, instrument: Instrument) -> None:
    if column == "expiry_datetime":
        agrees = _seconds(text) == instrument.expiry
    elif column == "strike":
        agrees = _wad(text) == instrument.strike
    else:
        agrees = _KINDS.get(text) is instrument.kind
    if not agrees:
        raise InvalidValueError(f"{column} {text!r} is not that of {instrument.name}")


def _wad(text: str) -> int:
    """Read a decimal number to the nearest WAD."""
    try:
        value = Decimal(text)
        if not value.is_finite() or value.adjusted() > 20:
            raise InvalidValueError(f"{text!r} is no price or fraction")
        return int(value.scaleb(18).to_integral_value())
    except InvalidOperation as error:
        raise InvalidValueError(f"{text!r} is no number") from error


def _not_negative(column: str, text: str) -> int:
    value = _wad(text)
    if value < 0:
        raise InvalidValueError(f"{column} {text} is negative")
    return value


def _positive(column: str, text: str) -> int:
    value = _wad(text)
    if value <= 0:
        raise InvalidValueError(f"{column} {text} is not positive")
    return value


def _scaled(column: str, text: str, factor: int, rounding: int) -> int | None:
    return (_not_negative(column, text) * factor + rounding) // WAD if text else None


def _seconds(text: str) -> int:
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidValueError(f"{text!r} is no time") from error
    if when.tzinfo is None:
        raise InvalidValueError(f"{text!r} has no time zone")
    return int(when.timestamp())


def _lower_median(values: Iterable[int]) -> int:
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]
