"""Markets small enough to be worked out by hand, and files of them as Deribit would write them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from channels.backtest.market import ListedExpiry, Market, Snapshot
from channels.pricing.kinds import Kind
from channels.units import DAY, HOUR, WAD
from tests.pricing.margin_reference import black

EXPIRY = 1_774_598_400  # 27 March 2026, 08:00 UTC
STRIKES = tuple(range(60, 145, 5))


def snapshot(
    at: int,
    spot: float,
    *,
    vol: float = 0.6,
    expiries: Mapping[int, float] | None = None,
    strikes: Sequence[float] = STRIKES,
) -> Snapshot:
    """A snapshot with one vol everywhere; ``expiries`` gives the forwards, else the spot is."""
    forwards = {EXPIRY: spot} if expiries is None else expiries
    vols = {_wad(strike): _wad(vol) for strike in strikes}
    return Snapshot(
        at=at,
        spot=_wad(spot),
        expiries={
            expiry: ListedExpiry(expiry=expiry, forward=_wad(forward), calls=vols, puts=vols)
            for expiry, forward in forwards.items()
        },
    )


def market(
    spots: Iterable[float], *, start: int = EXPIRY - 10 * DAY, step: int = 6 * HOUR
) -> Market:
    """A market of one expiry, its forward at the spot, a snapshot every six hours."""
    return Market(
        name="ETH",
        snapshots=[snapshot(start + step * i, spot) for i, spot in enumerate(spots)],
    )


def _wad(number: float) -> int:
    return round(number * 10**6) * WAD // 10**6


COLUMNS = (
    *("timestamp", "instrument_name", "expiry_datetime", "strike", "option_type", "index_price"),
    *("futures_price", "bid_price", "ask_price", "mark_price", "implied_volatility"),
)


def write_file(
    path: Path,
    spots: Sequence[float],
    *,
    base: str = "ETH",
    start: int = EXPIRY - 9 * DAY,
    step: int = 6 * HOUR,
    vol: float = 0.6,
) -> Path:
    """Write option summaries: three expiries, forwards at the spot, marks in coin."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for number, spot in enumerate(spots):
            writer.writerows(_rows(start + step * number, spot, base, vol))
    return path


def _rows(at: int, spot: float, base: str, vol: float) -> Iterable[Sequence[object]]:
    for expiry in (EXPIRY - 7 * DAY, EXPIRY, EXPIRY + 28 * DAY):
        if expiry <= at:
            continue
        when = datetime.fromtimestamp(expiry, UTC)
        date = f"{when.day}{when:%b%y}".upper()
        for strike in STRIKES:
            for kind, letter, name in ((Kind.CALL, "C", "call"), (Kind.PUT, "P", "put")):
                mark = black(kind, spot, strike, vol, expiry - at) / spot
                yield (
                    *(_time(at), f"{base}-{date}-{strike}-{letter}", _time(expiry)),
                    *(f"{strike:.1f}", name, spot, spot, "", "", f"{mark:.8f}", vol),
                )


def _time(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
