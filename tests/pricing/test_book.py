"""Whole books in floats: sums of positions, and scenarios priced one by one."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import pytest

from channels.errors import InvalidValueError
from channels.pricing import Kind, scalar
from channels.pricing.book import Book
from channels.pricing.greeks import Greeks

MOVES = [-0.6, -0.2, -0.05, 0.0, 0.05, 0.2, 1.0]
FACTORS = [0.7, 1.0, 1.45]


def _book(seed: int, size: int, kinds: tuple[Kind, ...]) -> Book:
    chance = np.random.default_rng(seed)
    return Book(
        kinds=chance.choice([int(kind) for kind in kinds], size),
        spots=chance.choice([100.0, 3000.0], size),
        strikes=chance.choice([80.0, 100.0, 2900.0, 3000.0], size),
        vols=chance.uniform(0.2, 1.5, size),
        years=chance.choice([0.0, 0.002, 0.25, 1.0], size),
        carries=chance.uniform(-0.1, 0.1, size),
        quantities=chance.normal(0.0, 10.0, size),
    )


def _positions(book: Book) -> list[tuple[Any, ...]]:
    columns = (book.kinds, book.spots, book.strikes, book.vols, book.years, book.carries)
    return list(
        zip(*(column.tolist() for column in columns), book.quantities.tolist(), strict=True)
    )


@pytest.mark.parametrize("kinds", [(Kind.CALL, Kind.PUT), tuple(Kind)])
def test_a_book_is_the_sum_of_its_positions(kinds: tuple[Kind, ...]) -> None:
    book = _book(3, 200, kinds)
    single = [(scalar.greeks(*position[:-1]), position[-1]) for position in _positions(book)]
    total, each = book.total(), book.greeks()
    for field in attrs.fields(Greeks):
        parts = [quantity * getattr(one, field.name) for one, quantity in single]
        scale = sum(map(abs, parts))
        assert getattr(total, field.name) == pytest.approx(math.fsum(parts), abs=1e-12 * scale)
        np.testing.assert_allclose(getattr(each, field.name), parts, rtol=2e-11, atol=1e-13 * scale)
    assert book.value() == pytest.approx(total.price, rel=1e-12)


@pytest.mark.parametrize("kinds", [(Kind.CALL, Kind.PUT), tuple(Kind)])
@pytest.mark.parametrize("later", [0.0, 0.01])
def test_a_grid_is_its_scenarios_one_by_one(kinds: tuple[Kind, ...], later: float) -> None:
    book = _book(5, 150, kinds)
    grid = book.grid(MOVES, FACTORS, later=later)
    assert grid.shape == (len(MOVES), len(FACTORS))
    for i, move in enumerate(MOVES):
        for j, factor in enumerate(FACTORS):
            parts = []
            for kind, spot, strike, vol, years, carry, quantity in _positions(book):
                time = max(years - later, 0.0)
                forward = spot * math.exp(carry * time) * (1 + move)
                parts.append(quantity * scalar.price(kind, forward, strike, vol * factor, time))
            scale = sum(map(abs, parts))
            assert grid[i, j] == pytest.approx(math.fsum(parts), abs=1e-13 * scale)


def test_a_large_grid_in_pieces_is_the_sum_of_small_ones() -> None:
    book = _book(7, 40_000, (Kind.CALL, Kind.PUT))
    whole = book.grid(MOVES, FACTORS)
    parts = np.zeros_like(whole)
    for start in range(0, 40_000, 8_000):
        part = slice(start, start + 8_000)
        columns = {f.name: getattr(book, f.name)[part] for f in attrs.fields(Book)}
        parts += Book(**columns).grid(MOVES, FACTORS)
    scale = float(np.sum(np.abs(book.quantities) * book.spots))
    np.testing.assert_allclose(whole, parts, rtol=0, atol=1e-13 * scale)


def test_scenarios_without_vol_or_price() -> None:
    book = Book(
        kinds=[0, 1], spots=100.0, strikes=[90.0, 110.0], vols=0.5, years=1.0, quantities=[2.0, 1.0]
    )
    grid = book.grid([-1.0, 0.2], [0.0, 1.0])
    assert np.isnan(grid[0]).all()  # a price of 0 is no forward
    assert grid[1, 0] == pytest.approx(2 * 30.0)


def test_columns_must_fit() -> None:
    with pytest.raises(InvalidValueError, match="one length"):
        Book(kinds=[0, 1], spots=[1.0] * 3, strikes=1.0, vols=1.0, years=1.0, quantities=1.0)
    with pytest.raises(InvalidValueError, match="kinds"):
        Book(kinds=[0, 9], spots=1.0, strikes=1.0, vols=1.0, years=1.0, quantities=1.0)
