"""Deribit's own delta and vega, from its vols, over a whole month of options.

Its Greeks are a moment older than the futures price beside them: the delta says of which forward.
With that forward the vegas agree; with the futures price they differ by what it moved since.
"""

from __future__ import annotations

import csv
import gzip
from datetime import datetime
from typing import Final

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray

from channels.pricing import arrays
from channels.units import YEAR
from tests.pricing.real_data import real_options

Column = NDArray[np.float64]

NEAR: Final = 0.02
"""Deltas closer to 0 or 1 tell a forward from a fifth decimal that is rounded."""


@attrs.frozen(kw_only=True)
class Venue:
    """Columns of a file."""

    kinds: NDArray[np.int64]
    strikes: Column
    forwards: Column
    vols: Column
    years: Column
    deltas: Column
    vegas: Column


def _read(asset: str) -> Venue:
    with gzip.open(real_options(asset), "rt", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))

    def column(name: str) -> Column:
        return np.array([float(row[name]) for row in rows])

    def seconds(name: str) -> Column:
        return np.array([datetime.fromisoformat(row[name]).timestamp() for row in rows])

    return Venue(
        kinds=np.array([int(row["option_type"] == "put") for row in rows]),
        strikes=column("strike"),
        forwards=column("futures_price"),
        vols=column("implied_volatility"),
        years=(seconds("expiry_datetime") - seconds("timestamp")) / YEAR,
        deltas=column("delta"),
        vegas=column("vega"),
    )


def _told_by_delta(venue: Venue, chosen: NDArray[np.intp]) -> Column:
    """The forwards at which the deltas are the venue's: a bisection, as delta rises with it."""
    low, high = 0.5 * venue.forwards[chosen], 2.0 * venue.forwards[chosen]
    for _ in range(50):
        middle = 0.5 * (low + high)
        deltas = arrays.greeks(
            venue.kinds[chosen],
            middle,
            venue.strikes[chosen],
            venue.vols[chosen],
            venue.years[chosen],
        ).delta
        above = deltas > venue.deltas[chosen]
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return 0.5 * (low + high)


@pytest.mark.parametrize("asset", ["btc", "eth"])
def test_the_venues_delta_and_vega(asset: str) -> None:
    venue = _read(asset)
    ours = arrays.greeks(venue.kinds, venue.forwards, venue.strikes, venue.vols, venue.years)
    apart = np.abs(ours.delta - venue.deltas)
    assert len(apart) > 90_000
    assert np.median(apart) < 2e-4
    assert np.percentile(apart, 99) < 0.012
    assert apart.max() < 0.1
    per_point = np.abs(ours.vega / 100 - venue.vegas) / venue.forwards
    assert np.median(per_point) < 1e-6
    assert np.percentile(per_point, 99) < 2e-5
    assert per_point.max() < 2e-4

    size = np.abs(venue.deltas)
    chosen = np.flatnonzero((size > NEAR) & (size < 1.0 - NEAR) & (venue.vols > 0.0))
    forwards = _told_by_delta(venue, chosen)
    vegas = arrays.greeks(
        venue.kinds[chosen],
        forwards,
        venue.strikes[chosen],
        venue.vols[chosen],
        venue.years[chosen],
    ).vega
    missed = np.abs(vegas / 100 / venue.vegas[chosen] - 1.0)
    assert np.median(missed) < 1e-4
    assert np.percentile(missed, 99) < 0.003
    assert missed.max() < 0.04
    moved = np.abs(forwards / venue.forwards[chosen] - 1.0)
    assert np.median(moved) < 5e-4  # how far the futures price has moved in the meantime
    assert moved.max() < 0.05
