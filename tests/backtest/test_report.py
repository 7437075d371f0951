"""Files are written whole or not at all; the picture shows every model."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import pytest

from channels.backtest.report import Coverage, coverage_csv, is_miss, observations_csv, write_all
from channels.backtest.run import Observation

ROW = Coverage(
    model="ours",
    hours=6,
    portfolios=1000,
    misses=1,
    median_margin=0.08,
    mean_margin=0.1,
    worst_shortfall=0.01,
)
SEEN = Observation(
    market="ETH",
    at=1_770_000_000,
    portfolio="call 0, month",
    family="single",
    side="short",
    spot=2500.0,
    value=-100.0,
    margins=(400.0,),
    losses=(25.5, None),
)


def test_dust_is_no_miss() -> None:
    assert is_miss(100.01, 100.0, 2500.0)
    assert not is_miss(100.001, 100.0, 2500.0)  # less than a millionth of the spot
    assert not is_miss(100.0, 100.0, 2500.0)


def test_tables_read_back() -> None:
    (line,) = csv.DictReader(StringIO(coverage_csv([("all", "both", [ROW])])))
    assert (line["family"], line["side"], line["model"]) == ("all", "both", "ours")
    assert float(line["miss_rate"]) == 0.001
    (line,) = csv.DictReader(StringIO(observations_csv([SEEN], ["ours"], [6, 48])))
    assert line["time"] == "2026-02-02T02:40:00Z"
    assert float(line["margin ours"]) == 400.0
    assert (line["loss 6 h"], line["loss 48 h"]) == ("25.500000", "")


def test_files_are_put_in_place_at_the_end(tmp_path: Path) -> None:
    there = tmp_path / "new" / "one.csv"
    write_all({there: b"one", tmp_path / "two.csv": b"two"})
    assert there.read_bytes() == b"one"
    assert (tmp_path / "two.csv").read_bytes() == b"two"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "one.csv", "two.csv"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    first = tmp_path / "one.csv"
    first.write_bytes(b"before")
    with pytest.raises(OSError, match=r"one\.csv"):
        write_all({first: b"after", first / "below.csv": b"two"})
    assert first.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [first]


def test_the_picture_names_every_model_and_is_always_the_same() -> None:
    pytest.importorskip("matplotlib")
    from channels.backtest.plot import draw

    rows = [
        Coverage(
            model=model,
            hours=hours,
            portfolios=1000,
            misses=misses,
            median_margin=margin,
            mean_margin=margin,
            worst_shortfall=0.0,
        )
        for hours in (6, 48, 24)
        for model, misses, margin in (("ours a", 0, 0.08), ("ours b", 5, 0.06), ("venue", 90, 0.05))
    ]
    picture = draw(rows, "some days", "svg")
    text = picture.decode()
    for label in ("ours a: 0", "ours b: 5", "venue: 90", "some days", "24 h, 1,000 portfolios"):
        assert text.count(f">{label}<") == (1 if "days" in label or "24" in label else 3)
    assert draw(rows, "some days", "svg") == picture
    assert draw(rows, "some days", "png").startswith(b"\x89PNG")
