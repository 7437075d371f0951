"""Option markets read from files of Deribit's option summaries, as integers.

One row is one option at one time. Index and futures price are those of the row's own moment: the
rows of one snapshot are some seconds apart, so every quote keeps its own.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Final, TextIO

import attrs

from channels.errors import InvalidValueError
from channels.pricing.black76 import implied_carry
from channels.pricing.kinds import Kind
from channels.units import WAD, from_wad

__all__ = [
    "ExpiryMarks",
    "ListedOption",
    "MarketSnapshot",
    "OptionQuote",
    "parse_option_name",
    "read_snapshots",
]

_MONTHS: Final = (
    *("JAN", "FEB", "MAR", "APR", "MAY", "JUN"),
    *("JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
)
_EXPIRY_HOUR: Final = 8
_NAME: Final = re.compile(
    r"(?P<base>[A-Z0-9]+?)(?:_(?P<quote>[A-Z0-9]+))?"
    r"-(?P<day>[1-9]|[12]\d|3[01])(?P<month>[A-Z]{3})(?P<year>\d{2})"
    r"-(?P<strike>\d+(?:d\d+)?)-(?P<kind>[CP])",
    re.ASCII,
)
_KINDS: Final = {"C": Kind.CALL, "P": Kind.PUT, "call": Kind.CALL, "put": Kind.PUT}


@attrs.frozen(kw_only=True)
class ListedOption:
    """What an exchange's option name says.

    ``quote`` is empty for an option quoted and settled in its coin, else the currency of a linear
    one, such as ``USDC``. Expiry in Unix seconds (08:00 UTC), strike in WAD.
    """

    base: str
    quote: str = ""
    expiry: int
    strike: int
    kind: Kind

    @property
    def name(self) -> str:
        """Name of the instrument, the inverse of `parse_option_name`."""
        when = datetime.fromtimestamp(self.expiry, UTC)
        pair = f"{self.base}_{self.quote}" if self.quote else self.base
        strike = f"{from_wad(self.strike):f}".replace(".", "d")
        date = f"{when.day}{_MONTHS[when.month - 1]}{when:%y}"
        return f"{pair}-{date}-{strike}-{'C' if self.kind is Kind.CALL else 'P'}"


def parse_option_name(name: str) -> ListedOption:
    """Read an option's name: ``ETH-27MAR26-3000-C`` or ``ETH_USDC-27MAR26-3000-C``.

    A ``d`` in the strike is its decimal point (``XRP_USDC-27MAR26-0d55-P``).

    Raises:
        InvalidValueError: not the name of an option.

    >>> parse_option_name("ETH_USDC-27MAR26-3000-C").quote
    'USDC'
    """
    match = _NAME.fullmatch(name)
    if match is None or match["month"] not in _MONTHS:
        raise InvalidValueError(f"{name!r} is no option's name such as ETH-27MAR26-3000-C")
    try:
        when = datetime(
            2000 + int(match["year"]),
            _MONTHS.index(match["month"]) + 1,
            int(match["day"]),
            _EXPIRY_HOUR,
            tzinfo=UTC,
        )
    except ValueError as error:
        raise InvalidValueError(f"{name!r} expires on no day of the calendar") from error
    return ListedOption(
        base=match["base"],
        quote=match["quote"] or "",
        expiry=int(when.timestamp()),
        strike=_wad(match["strike"].replace("d", ".")),
        kind=_KINDS[match["kind"]],
    )


@attrs.frozen(kw_only=True)
class OptionQuote:
    """One option at one time; prices and vol in WAD, prices in the currency of the strike.

    ``bid``, ``ask`` and ``mark`` are None where the market shows none. Those quoted in coin have
    been multiplied by ``forward``: the bid rounded down, the ask up, the mark to nearest. ``vol``
    is that of the mark; Black-76 on ``forward`` with it gives the mark again.
    """

    instrument: ListedOption
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


def _rows(stream: TextIO, name: str) -> Iterator[OptionQuote]:
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
            quote = _quote(*required(row))
            for column, index in checked:
                _check(column, row[index], quote.instrument)
            yield quote
    except (InvalidValueError, csv.Error, EOFError, OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(
            f"{name}, line {max(reader.line_num, 1)}: {error}",
            next_step="repair or remove that row",
        ) from error


def _quote(
    timestamp: str, name: str, index: str, futures: str, bid: str, ask: str, mark: str, vol: str
) -> OptionQuote:
    instrument = parse_option_name(name)
    forward = _positive("futures_price", futures)
    # a linear option is quoted in the strike's currency already
    per_quote = WAD if instrument.quote else forward
    half = WAD // 2
    return OptionQuote(
        instrument=instrument,
        at=_seconds(timestamp),
        spot=_positive("index_price", index),
        forward=forward,
        bid=_scaled("bid_price", bid, per_quote, 0),
        ask=_scaled("ask_price", ask, per_quote, WAD - 1),
        mark=_scaled("mark_price", mark, per_quote, half),
        vol=_not_negative("implied_volatility", vol),
    )


def _check(column: str, text: str, instrument: ListedOption) -> None:
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
