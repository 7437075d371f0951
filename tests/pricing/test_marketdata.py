"""The loader of option summaries, on rows of our own and on real ones where they are."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from channels.errors import InvalidValueError
from channels.pricing import Kind, forward_price, price
from channels.pricing.marketdata import read_book_summary, read_snapshots
from channels.units import WAD, to_wad
from tests.pricing.real_data import sample

HEADER = (
    "timestamp,instrument_name,expiry_datetime,strike,option_type,index_price,futures_price,"
    "bid_price,ask_price,mark_price,implied_volatility,delta,vega,open_interest"
)
TIME = "2026-01-15T04:00:00Z"
CALL = (
    f"{TIME},ETH-27MAR26-3000-C,2026-03-27T08:00:00Z,3000.0,call,"
    "3000.0,3030.5,0.1,0.2,0.15,0.6,0.5,4,1"
)
PUT = f"{TIME},ETH-27MAR26-2000-P,2026-03-27T08:00:00Z,2000.0,put,3001.0,3031.5,,,,1e-05,-0.1,0,0"
LINEAR = (
    f"{TIME},SOL_USDC-27MAR26-12d5-C,2026-03-27T08:00:00Z,12.5,call,12,12.1,0.1,,0.15,0.6,0,0,0"
)
LATER = CALL.replace("T04", "T10")
EXPIRY = 1_774_598_400


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def writer(*rows: str, header: str = HEADER, name: str = "market.csv") -> Path:
        path = tmp_path / name
        content = "\n".join((header, *rows)) + "\n"
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(content.encode()))
        else:
            path.write_text(content)
        return path

    return writer


def test_rows_become_integers(write: Callable[..., Path]) -> None:
    for name in ("market.csv", "market.csv.gz"):
        (snapshot,) = read_snapshots(write(CALL, PUT, LINEAR, name=name))
        call, put, linear = snapshot.quotes
        assert snapshot.at == call.at == 1_768_449_600
        assert (call.spot, call.forward) == (to_wad(3000), to_wad("3030.5"))
        assert (call.bid, call.ask, call.mark) == tuple(map(to_wad, ("303.05", "606.1", "454.575")))
        assert call.vol == to_wad("0.6")
        assert call.tau == EXPIRY - 1_768_449_600
        assert (put.bid, put.ask, put.mark, put.vol) == (None, None, None, 10**13)
        assert (linear.bid, linear.ask, linear.mark) == (to_wad("0.1"), None, to_wad("0.15"))


def test_medians_and_carry(write: Callable[..., Path]) -> None:
    (snapshot,) = read_snapshots(write(PUT, CALL))
    assert snapshot.spot == to_wad(3000)
    marks = snapshot.expiries[EXPIRY]
    assert (marks.spot, marks.forward) == (to_wad(3000), to_wad("3030.5"))
    again = forward_price(marks.spot, marks.carry, EXPIRY - marks.at)
    assert abs(again - marks.forward) < 10**4


def test_snapshots_are_split_by_time_and_read_lazily(write: Callable[..., Path]) -> None:
    snapshots = read_snapshots(write(CALL, PUT, LATER, CALL.replace("3000-C", "3000-X")))
    assert len(next(snapshots).quotes) == 2
    with pytest.raises(InvalidValueError, match=r"market\.csv, line 5"):
        next(snapshots)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",3000.0,call", ",3100.0,call", "strike '3100.0' is not that of ETH-27MAR26-3000-C"),
        (",call,", ",put,", "option_type 'put'"),
        ("2026-03-27T", "2026-03-28T", "expiry_datetime"),
        ("3030.5", "", "'' is no number"),
        ("3030.5", "nan", "'nan' is no price"),
        ("3030.5", "inf", "'inf' is no price"),
        ("3030.5", "1e400", "'1e400' is no price"),
        ("3030.5", "0", "futures_price 0 is not positive"),
        ("3030.5", "-1", "not positive"),
        (",0.1,", ",-0.1,", "bid_price -0.1 is negative"),
        (",0.6,", ",x,", "'x' is no number"),
        (TIME, "yesterday", "'yesterday' is no time"),
        (TIME, "2026-01-15T04:00:00", "no time zone"),
        (",0.5,4,1", "", "11 columns, the header has 14"),
    ],
)
def test_malformed_rows_are_refused_with_their_line(
    write: Callable[..., Path], old: str, new: str, message: str
) -> None:
    assert old in CALL
    with pytest.raises(InvalidValueError, match=r"market\.csv, line 3") as caught:
        list(read_snapshots(write(PUT, CALL.replace(old, new, 1))))
    assert message in str(caught.value)


def test_missing_columns_are_named(write: Callable[..., Path]) -> None:
    with pytest.raises(InvalidValueError, match="no column mark_price"):
        list(read_snapshots(write(header=HEADER.replace("mark_price", "mark"))))
    with pytest.raises(InvalidValueError, match="no column timestamp"):
        list(read_snapshots(write(header="")))


def test_a_truncated_archive_is_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    whole = write(*[CALL] * 500, name="market.csv.gz").read_bytes()
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidValueError, match=r"cut\.csv\.gz"):
        list(read_snapshots(cut))


# In the shape of Deribit's documentation of public/get_book_summary_by_currency.
SUMMARY: dict[str, Any] = {
    "volume_usd": 1234.5,
    "volume": 0.55,
    "underlying_price": 3030.5,
    "underlying_index": "ETH-27MAR26",
    "quote_currency": "ETH",
    "price_change": -26.7793594,
    "open_interest": 0.55,
    "mid_price": 0.15,
    "mark_price": 0.15,
    "mark_iv": 60.25,
    "low": None,
    "last": None,
    "interest_rate": 0.0,
    "instrument_name": "ETH-27MAR26-3000-C",
    "high": None,
    "estimated_delivery_price": 3000.25,
    "creation_timestamp": 1768449600987,
    "bid_price": 0.1,
    "base_currency": "ETH",
    "ask_price": None,
}
FUTURE = {
    key: value
    for key, value in SUMMARY.items()
    if key not in ("mark_iv", "underlying_price", "underlying_index", "interest_rate")
} | {"instrument_name": "ETH-27MAR26"}


@pytest.mark.parametrize("whole", [True, False])
def test_a_book_summary_becomes_a_snapshot(tmp_path: Path, whole: bool) -> None:
    linear = SUMMARY | {
        "instrument_name": "ETH_USDC-27MAR26-2500-P",
        "creation_timestamp": 1768449599000,
        "bid_price": 12.5,
        "estimated_delivery_price": 3001,
    }
    rows = [FUTURE, SUMMARY, linear]
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({"jsonrpc": "2.0", "id": 1, "result": rows} if whole else rows))
    snapshot = read_book_summary(path)
    assert (snapshot.at, snapshot.spot) == (1_768_449_600, to_wad("3000.25"))
    first, second = snapshot.quotes
    assert (first.instrument.name, first.at) == ("ETH-27MAR26-3000-C", 1_768_449_600)
    assert (first.bid, first.ask, first.mark) == (to_wad("303.05"), None, to_wad("454.575"))
    assert (first.forward, first.vol) == (to_wad("3030.5"), to_wad("0.6025"))
    assert (second.instrument.feed, second.bid, second.at) == (
        "ETH_USDC",
        to_wad("12.5"),
        1_768_449_599,
    )
    assert snapshot.expiries[EXPIRY].forward == to_wad("3030.5")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"summary\.json is no JSON"),
        ('{"error": {"code": 10028}}', "no list of book summaries"),
        ("[]", "no options"),
        (json.dumps([FUTURE]), "no options"),
        ("[1]", "row 1: is no object"),
        (json.dumps([FUTURE, SUMMARY | {"underlying_price": 0}]), "row 2: futures_price 0 is not"),
        (json.dumps([SUMMARY | {"instrument_name": "ETH-PERPETUAL"}]), "row 1: 'ETH-PERPETUAL'"),
        (json.dumps([SUMMARY | {"instrument_name": "ETH-27MAR26-1-F"}]), "is no option"),
        (json.dumps([SUMMARY | {"mark_iv": -1}]), "mark_iv -1 is negative"),
        ('[{"mark_iv": 1}]', "row 1: no creation_timestamp, instrument_name"),
    ],
)
def test_other_answers_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "summary.json"
    path.write_text(content)
    with pytest.raises(InvalidValueError, match=message):
        read_book_summary(path)


@pytest.mark.parametrize("asset", ["btc", "eth"])
def test_real_marks_are_black_76_on_the_futures_price(asset: str) -> None:
    """The venue's own mark from its own vol, out of the money, in basis points of the forward.

    The vol column has four decimals and the futures price moves between the mark's moment and its
    own, hence the tail; the median shows that formula, day count and forward are the right ones.
    """
    differences = []
    for snapshot in sample(asset):
        for quote in snapshot.quotes:
            series = quote.instrument
            out = (series.kind == Kind.CALL) == (series.strike >= quote.forward)
            if quote.mark is not None and out:
                ours = price(series.kind, quote.forward, series.strike, quote.vol, quote.tau)
                differences.append(abs(ours - quote.mark) / quote.forward * 1e4)
    differences.sort()
    assert len(differences) > 1_000
    assert differences[len(differences) // 2] < 0.05
    assert differences[len(differences) * 99 // 100] < 2
    assert differences[-1] < 10


@pytest.mark.parametrize("asset", ["btc", "eth"])
def test_real_forwards_come_back_from_their_carry(asset: str) -> None:
    for snapshot in sample(asset):
        assert snapshot.expiries
        for expiry, marks in snapshot.expiries.items():
            assert abs(marks.carry) < 10 * WAD  # hours before expiry a basis point is a lot
            again = forward_price(marks.spot, marks.carry, expiry - marks.at)
            assert abs(again - marks.forward) <= 3 * marks.forward // WAD + 2
