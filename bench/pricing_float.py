"""The float engine's speed: ours beside the peers that are installed, in one run, on one thread.

Peers come with the extra ``bench``; a missing one is a row that says so. Inputs are the same for
all: a forward of 100, strikes 70 to 140, vols 20 to 100 %, a week to a year, out of the money.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from bench.results import Result, as_table
from bench.timing import best, best_of_one, peer  # before NumPy: it limits threads

import numpy as np  # isort: skip

from channels.pricing import Kind, arrays, implied_vol, scalar
from channels.pricing.book import Book
from tests.pricing.float_reference import exact_price, hard_options

__all__ = ["measure"]

SIZE: Final = 1_000_000
POSITIONS: Final = 1_000
HARD: Final = 2_000
MOVES: Final = tuple(-0.3 + 0.06 * i for i in range(11))
FACTORS: Final = (0.7, 1.0, 1.45)


def measure() -> Iterator[Result]:
    """Yield everything; times are nanoseconds an option, the grid's microseconds."""
    yield from _one_by_one()
    yield from _arrays()
    yield _grid()
    yield _accuracy()


def _one_by_one() -> list[Result]:
    kind, forward, strike, vol, years = Kind.CALL, 100.0, 110.0, 0.5, 0.25
    value = scalar.price(kind, forward, strike, vol, years)
    prices: dict[str, float | None] = {"QuantLib (C++)": None}
    vols: dict[str, float | None] = {"vollib": None}
    if quantlib := peer("QuantLib"):
        call, deviation = quantlib.Option.Call, vol * years**0.5
        prices["QuantLib (C++)"] = _one(
            lambda: quantlib.blackFormula(call, strike, forward, deviation)
        )
    if vollib := peer("vollib.black.implied_volatility"):
        vols["vollib"] = _one(
            lambda: vollib.implied_volatility(value, forward, strike, 0.0, years, "c"), 200
        )
    return [
        Result(
            name="float price, one option, pure Python",
            value=_one(lambda: scalar.price(kind, forward, strike, vol, years)),
            unit="ns",
            target=1_000,
            references=prices,
        ),
        Result(
            name="float implied vol, one option, pure Python",
            value=_one(lambda: implied_vol.implied_vol(kind, value, forward, strike, years)),
            unit="ns",
            target=6_500,
            references=vols,
        ),
    ]


def _one(work: Callable[[], Any], times: int = 2_000) -> float:
    return 1e9 * best_of_one(work, times)


def _arrays() -> list[Result]:
    chance = np.random.default_rng(1)
    forwards = np.full(SIZE, 100.0)
    strikes = chance.uniform(70.0, 140.0, SIZE)
    vols = chance.uniform(0.2, 1.0, SIZE)
    years = chance.uniform(0.02, 1.0, SIZE)
    kinds = (strikes < forwards).astype(np.int64)
    values = arrays.price(kinds, forwards, strikes, vols, years)
    buffers = arrays.greeks(kinds, forwards, strikes, vols, years)
    out = np.empty(SIZE)
    prices: dict[str, float | None] = {"fast-vollib": None, "polars-vol": None}
    greeks: dict[str, float | None] = {
        "fast-vollib (5 Greeks)": None,
        "polars-vol (5 Greeks)": None,
    }
    implied = dict(prices)
    if fast := peer("fast_vollib"):
        flags = np.where(kinds == 0, "c", "p")
        prices["fast-vollib"] = _each(
            lambda: fast.fast_black(flags, forwards, strikes, years, 0.0, vols, return_as="numpy")
        )
        greeks["fast-vollib (5 Greeks)"] = _each(
            lambda: fast.get_all_greeks(
                flags, forwards, strikes, years, 0.0, vols, model="black", return_as="dict"
            )
        )
        implied["fast-vollib"] = _each(
            lambda: fast.fast_implied_volatility_black(
                values, forwards, strikes, 0.0, years, flags, return_as="numpy", on_error="ignore"
            )
        )
    if polars_vol := peer("polars_vol"):
        frame = peer("polars").DataFrame(  # type: ignore[union-attr]
            {
                "strike": strikes,
                "spot": forwards,
                "vol": vols,
                "time": years,
                "rate": np.zeros(SIZE),
                "call": kinds == 0,
                "price": values,
            }
        )
        option = ("strike", "spot", "vol", "time", "rate", "call")
        quoted = ("price", "strike", "spot", "time", "rate", "call")
        priced = polars_vol.black_scholes(*option)
        prices["polars-vol"] = _each(lambda: frame.select(priced))
        with_greeks = polars_vol.black_scholes_with_greeks(*option)
        greeks["polars-vol (5 Greeks)"] = _each(lambda: frame.select(with_greeks))
        solved = polars_vol.implied_vol(*quoted)
        implied["polars-vol"] = _each(lambda: frame.select(solved))
    return [
        Result(
            name="float prices, 1e6 options",
            value=_each(lambda: arrays.price(kinds, forwards, strikes, vols, years, out=out)),
            unit="ns",
            target=30,
            references=prices,
        ),
        Result(
            name="float prices and all eight Greeks, 1e6 options",
            value=_each(lambda: arrays.greeks(kinds, forwards, strikes, vols, years, out=buffers)),
            unit="ns",
            target=40,
            references=greeks,
        ),
        Result(
            name="float implied vols, 1e6 options",
            value=_each(lambda: arrays.implied_vol(kinds, values, forwards, strikes, years)),
            unit="ns",
            target=170,
            references=implied,
        ),
    ]


def _each(work: Callable[[], Any]) -> float:
    return best(work) / SIZE * 1e9


def _grid() -> Result:
    chance = np.random.default_rng(2)
    book = Book(
        kinds=chance.integers(0, 2, POSITIONS),
        spots=100.0,
        strikes=chance.uniform(70.0, 140.0, POSITIONS),
        vols=chance.uniform(0.2, 1.0, POSITIONS),
        years=chance.uniform(0.02, 1.0, POSITIONS),
        quantities=chance.normal(0.0, 1.0, POSITIONS),
    )
    references: dict[str, float | None] = {"fast-vollib": None}
    if fast := peer("fast_vollib"):
        scenarios = [(1.0 + move, factor) for move in MOVES for factor in FACTORS]
        forwards = np.concatenate([np.full(POSITIONS, 100.0 * growth) for growth, _ in scenarios])
        vols = np.concatenate([book.vols * factor for _, factor in scenarios])
        strikes, years = (np.tile(column, len(scenarios)) for column in (book.strikes, book.years))
        flags = np.tile(np.where(book.kinds == 0, "c", "p"), len(scenarios))
        references["fast-vollib"] = 1e6 * best(
            lambda: fast.fast_black(flags, forwards, strikes, years, 0.0, vols, return_as="numpy")
        )
    return Result(
        name="a book of 1,000 positions in 33 scenarios, in floats",
        value=1e6 * best(lambda: book.grid(MOVES, FACTORS)),
        unit="us",
        target=800,
        references=references,
    )


def _accuracy() -> Result:
    """The greatest relative error against 60 digits, out of the money, on the design's domain."""
    options = list(hard_options(4, HARD))
    exact = [exact_price(*option) for option in options]

    def worst(prices: Iterable[float]) -> float:
        pairs = zip(prices, exact, strict=True)
        return max(float(abs(found / right - 1)) for found, right in pairs)

    references: dict[str, float | None] = {"vollib": None, "QuantLib (C++)": None}
    if vollib := peer("vollib.black"):
        references["vollib"] = worst(
            vollib.undiscounted_black(forward, strike, vol, years, "cp"[kind])
            for kind, forward, strike, vol, years in options
        )
    if quantlib := peer("QuantLib"):
        sides = quantlib.Option.Call, quantlib.Option.Put
        references["QuantLib (C++)"] = worst(
            quantlib.blackFormula(sides[kind], strike, forward, vol * years**0.5)
            for kind, forward, strike, vol, years in options
        )
    return Result(
        name=f"float prices, greatest relative error of {HARD:,} hard options",
        value=worst(arrays.price(*map(np.array, zip(*options, strict=True))).tolist()),
        unit="",
        target=5e-13,
        references=references,
    )


if __name__ == "__main__":
    sys.stdout.write(as_table(measure()) + "\n")
