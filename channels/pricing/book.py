"""Whole books in floats: value, Greeks and scenario grids, for trading, never for signing.

A book is columns of equal length, one element a position: kind, spot and strike of its feed, vol,
years to expiry, carry, and the quantity held, + for long. What enters a signed state is valued in
integers by `channels.pricing.portfolio_value` instead.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import ArrayLike, NDArray

from channels.errors import InvalidValueError
from channels.pricing import arrays
from channels.pricing.array_mills import CHUNK, Floats, rows, time_value
from channels.pricing.array_price import signed_log_ratio
from channels.pricing.columns import kinds_of
from channels.pricing.greeks import Greeks

__all__ = ["Book"]


def _floats(values: ArrayLike) -> Floats:
    return np.atleast_1d(np.asarray(values, dtype=np.float64))


def _kinds(values: ArrayLike) -> NDArray[np.int64]:
    return np.atleast_1d(kinds_of(values))


@attrs.frozen(kw_only=True, eq=False)
class Book:
    """Positions as columns; a column of one element, or a number, stands for all positions.

    ``spots`` is the price of each position's own underlying. ``vols`` and ``carries`` are annual,
    ``years`` counts 365 days each; quantities are signed, + for long.

    Raises:
        InvalidValueError: a kind that is none of the five, or columns of different lengths.

    >>> book = Book(kinds=[0, 1], spots=100.0, strikes=[110.0, 90.0], vols=0.5, years=0.25,
    ...             quantities=[2.0, -1.0])
    >>> round(book.value(), 6)
    7.108795
    """

    kinds: NDArray[np.int64] = attrs.field(converter=_kinds)
    spots: Floats = attrs.field(converter=_floats)
    strikes: Floats = attrs.field(converter=_floats)
    vols: Floats = attrs.field(converter=_floats)
    years: Floats = attrs.field(converter=_floats)
    carries: Floats = attrs.field(converter=_floats, default=0.0)
    quantities: Floats = attrs.field(converter=_floats)

    def __attrs_post_init__(self) -> None:
        columns = attrs.astuple(self, recurse=False)
        lengths = {len(column) for column in columns if len(column) != 1}
        if len(lengths) > 1 or any(column.ndim != 1 for column in columns):
            raise InvalidValueError(f"columns of a book are of one length, not {sorted(lengths)}")

    def value(self) -> float:
        """Return the value of the book: the sum of quantity times price, NaN if one has none."""
        forwards, years = self._forwards(0.0)
        prices = arrays.price(self.kinds, forwards, self.strikes, self.vols, years)
        return float(np.sum(self.quantities * prices))

    def _forwards(self, later: float) -> tuple[Floats, Floats]:
        """Return forwards and years to expiry when ``later`` years have passed."""
        years = np.maximum(self.years - later, 0.0)
        return self.spots * np.exp(self.carries * years), years

    def greeks(self) -> Greeks[Floats]:
        """Return value and Greeks of each position, its quantity included."""
        per_unit = arrays.greeks(
            self.kinds, self.spots, self.strikes, self.vols, self.years, self.carries
        )
        return Greeks(
            **{
                field.name: self.quantities * getattr(per_unit, field.name)
                for field in attrs.fields(Greeks)
            }
        )

    def total(self) -> Greeks[float]:
        """Return value and Greeks of the whole book.

        Sums over positions: delta and gamma of different feeds are in one figure only if you put
        them into one book.
        """
        by_position = self.greeks()
        return Greeks(
            **{
                field.name: float(np.sum(getattr(by_position, field.name)))
                for field in attrs.fields(Greeks)
            }
        )

    def grid(self, moves: ArrayLike, vol_factors: ArrayLike, *, later: float = 0.0) -> Floats:
        """Return the value of the book in every scenario: a row for each move, a column a factor.

        Spots are multiplied by 1 + move, vols by the factor, ``later`` years have passed and
        carries are held. The change of a scenario is its value less that of move 0 and factor 1.

        >>> book = Book(kinds=0, spots=100.0, strikes=[90.0, 110.0], vols=0.5, years=0.25,
        ...             quantities=[1.0, -1.0])
        >>> book.grid([-0.1, 0.0, 0.1], [1.0, 1.5]).round(2)
        array([[ 5.99,  6.47],
               [ 9.08,  8.56],
               [12.02, 10.56]])
        """
        shifts, factors = _floats(moves), _floats(vol_factors)
        forwards, years = self._forwards(later)
        kinds, quantities, forwards, strikes, vols, years = np.broadcast_arrays(
            self.kinds, self.quantities, forwards, self.strikes, self.vols, years
        )
        variances = vols * vols * years
        fast = np.isin(kinds, (0, 1)) & (forwards > 0.0) & (strikes > 0.0) & (vols > 0.0)
        fast &= np.isfinite(forwards) & np.isfinite(strikes) & (variances > 0.0)
        fast &= np.isfinite(variances)
        if not ((shifts > -1.0).all() and (factors > 0.0).all()):
            fast[:] = False
        values = np.zeros((len(shifts), len(factors)))
        if fast.any():
            values += _options_grid(
                kinds[fast] == 0,
                quantities[fast],
                forwards[fast],
                strikes[fast],
                variances[fast],
                shifts,
                factors,
            )
        if not fast.all():
            rest = ~fast
            values += (
                arrays.price(
                    kinds[rest],
                    forwards[rest] * (1.0 + shifts)[:, None, None],
                    strikes[rest],
                    vols[rest] * factors[:, None],
                    years[rest],
                )
                @ quantities[rest]
            )
        return values


def _options_grid(
    calls: NDArray[np.bool_],
    quantities: Floats,
    forwards: Floats,
    strikes: Floats,
    variances: Floats,
    moves: Floats,
    factors: Floats,
) -> Floats:
    """Return the grid of live options: ln(F/K) once a position, a move only adds ln(1 + move)."""
    logs = signed_log_ratio(forwards, strikes)
    growth = np.repeat(1.0 + moves, len(factors))
    shift = np.repeat(np.log1p(moves), len(factors))
    square = np.tile(factors * factors, len(moves))
    total = np.zeros(len(growth))
    for start in range(0, len(forwards), CHUNK):
        part = slice(start, start + CHUNK)
        width = len(forwards[part])
        depth = CHUNK // width  # scenarios at a time
        for first in range(0, len(growth), depth):
            scenarios = slice(first, first + depth)
            height = len(growth[scenarios])
            flat = rows(10, 5, height * width)
            high, low, x, variance, value = (row.reshape(height, width) for row in flat)
            np.multiply(growth[scenarios, None], forwards[part], out=value)
            np.maximum(value, strikes[part], out=high)
            np.minimum(value, strikes[part], out=low)
            # what is paid at once: high - strike for a call, high - forward for a put
            paid = high @ quantities[part]
            paid -= value @ np.where(calls[part], 0.0, quantities[part])
            paid -= np.sum(np.where(calls[part], strikes[part] * quantities[part], 0.0))
            np.add(logs[part], shift[scenarios, None], out=x)
            np.abs(x, out=x)
            np.multiply(square[scenarios, None], variances[part], out=variance)
            time_value(flat[0], flat[1], flat[2], flat[3], flat[4])
            total[scenarios] += value @ quantities[part] + paid
    return total.reshape(len(moves), len(factors))
