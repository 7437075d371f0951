"""Counting what was lost beyond a margin, on markets whose losses are known beforehand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

from channels.backtest import (
    DEFAULT_MODELS,
    HORIZONS,
    Leg,
    Market,
    Observation,
    Snapshot,
    coverage,
    families,
    read_market,
    run_backtest,
)
from channels.backtest.models import Requirement, Sides
from channels.units import DAY, HOUR
from tests.docs.documents import ROOT

from .values import EXPIRY, market, snapshot


@attrs.frozen
class Flat:
    """A model that asks the same of everybody."""

    name: str
    margin: float

    def at(self, underlying: str, snapshot: Snapshot) -> Requirement:
        def requirement(legs: Sequence[Leg]) -> Sides:
            return Sides(self.margin, self.margin)

        return requirement


def forwards(observations: Sequence[Observation]) -> list[Observation]:
    """One forward a snapshot: its losses are the moves of the spot."""
    return [each for each in observations if each.portfolio == "forward, eve"]


def test_losses_are_the_moves_and_misses_those_beyond_the_margin() -> None:
    fall = market([100, 90, 95, 80])
    models = [Flat("nine", 9.0), Flat("ten", 10.0), Flat("sixteen", 16.0)]
    seen = forwards(list(run_backtest([fall], models, horizons=(6, 12))))
    found = [(each.side, [loss and round(loss, 9) for loss in each.losses]) for each in seen]
    assert found == [
        ("long", [10, 5]),
        ("short", [-10, -5]),
        ("long", [-5, 10]),
        ("short", [5, -10]),
        ("long", [15, None]),
        ("short", [-15, None]),
    ]
    rows = {
        (row.model, row.hours): row for row in coverage(seen, ["nine", "ten", "sixteen"], (6, 12))
    }
    assert {key: (row.misses, row.portfolios) for key, row in rows.items()} == {
        ("nine", 6): (2, 6),
        ("nine", 12): (1, 4),
        ("ten", 6): (1, 6),  # a loss of the margin itself is covered
        ("ten", 12): (0, 4),
        ("sixteen", 6): (0, 6),
        ("sixteen", 12): (0, 4),
    }
    assert rows["ten", 6].worst_shortfall == pytest.approx(5 / 95)
    assert rows["nine", 12].worst_shortfall == pytest.approx(1 / 90)
    # spots 100, 90 and 95, twice each
    assert rows["nine", 6].median_margin == pytest.approx(9 / 95)
    assert rows["nine", 6].mean_margin == pytest.approx((9 / 100 + 9 / 90 + 9 / 95) / 3)
    assert rows["nine", 6].miss_rate == pytest.approx(1 / 3)


def test_one_sides_loss_is_the_others_gain() -> None:
    seen = list(run_backtest([market([100, 93, 108])], [Flat("any", 1.0)], horizons=(6, 12)))
    assert len(seen) > 100
    for long, short in zip(seen[::2], seen[1::2], strict=True):
        assert (long.portfolio, long.side, short.side) == (short.portfolio, "long", "short")
        assert long.value == -short.value
        for one, other in zip(long.losses, short.losses, strict=True):
            assert (one is None and other is None) or one == -(other or 0.0)


def test_what_expires_is_paid_at_its_settlement() -> None:
    start = EXPIRY - 4 * HOUR
    held = Market(
        name="ETH",
        snapshots=[
            snapshot(start, 100),
            snapshot(start + 6 * HOUR, 70, expiries={EXPIRY + DAY: 70}),
        ],
    )
    (long, short) = forwards(list(run_backtest([held], [Flat("any", 1.0)], horizons=(6,))))
    # two thirds of the way from 100 to 70
    assert [*long.losses, *short.losses] == pytest.approx([20.0, -20.0])


def test_a_mark_that_is_missing_later_is_no_loss_known() -> None:
    at = EXPIRY - 10 * DAY
    held = Market(
        name="ETH",
        snapshots=[snapshot(at, 100), snapshot(at + 6 * HOUR, 90, strikes=(60,))],
    )
    seen = list(run_backtest([held], [Flat("any", 1.0)], horizons=(6,)))
    assert {each.losses for each in forwards(seen)} == {(None,)}
    assert coverage(forwards(seen), ["any"], (6,)) == []


def test_every_nth_snapshot_is_margined_and_each_is_told() -> None:
    told: list[int] = []
    seen = list(
        run_backtest(
            [market([100] * 5)],
            [Flat("any", 1.0)],
            horizons=(6,),
            every=2,
            tell=lambda: told.append(1),
        )
    )
    assert len({each.at for each in seen}) == 2  # the fifth snapshot has no later one
    assert len(told) == 3


def test_families_add_up_to_the_whole() -> None:
    seen = list(run_backtest([market([100, 80, 120])], [Flat("ten", 10.0)], horizons=(6,)))
    (whole,) = coverage(seen, ["ten"], (6,))
    parts = [row for rows in families(seen, ["ten"], (6,)).values() for row in rows]
    assert sum(row.misses for row in parts) == whole.misses > 0
    assert sum(row.portfolios for row in parts) == whole.portfolios


def test_on_real_markets_the_default_misses_a_tenth_of_what_the_venues_miss() -> None:
    data = Path(os.environ.get("OPTION_CHANNELS_DATA", ROOT.parent / "shared" / "data"))
    paths = sorted(data.glob("deribit/*_options_*.csv.gz"))
    if not paths:
        pytest.skip(f"no option data below {data}; set OPTION_CHANNELS_DATA to its folder")
    names = [model.name for model in DEFAULT_MODELS]
    seen = list(run_backtest([*map(read_market, paths)], DEFAULT_MODELS, every=20))
    misses = {(row.model, row.hours): row.misses for row in coverage(seen, names, HORIZONS)}
    for hours in HORIZONS:
        for venue in ("Deribit PM", "Derive PMRM2"):
            assert misses[names[0], hours] * 10 <= misses[venue, hours]
    assert misses["Deribit PM", 48] > 0
