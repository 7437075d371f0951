"""Reading a recorded market, finding a later snapshot, settling what expires in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from channels.backtest.market import Market, read_market
from channels.errors import InvalidValueError
from channels.pricing.kinds import Kind
from channels.units import DAY, HOUR, WAD
from tests.pricing.margin_reference import black

from .values import EXPIRY, STRIKES, market, snapshot, write_file


def test_a_file_gives_its_snapshots(tmp_path: Path) -> None:
    read = read_market(write_file(tmp_path / "eth.csv", [100, 95, 97.5]))
    assert read.name == "ETH"
    assert [each.spot for each in read.snapshots] == [100 * WAD, 95 * WAD, 97_500 * WAD // 1000]
    assert list(read.snapshots[0].expiries) == [EXPIRY - 7 * DAY, EXPIRY, EXPIRY + 28 * DAY]
    listed = read.snapshots[1].expiries[EXPIRY]
    assert listed.strikes == tuple(strike * WAD for strike in STRIKES)
    assert read.snapshots[1].mark(Kind.PUT, EXPIRY, 100 * WAD) == (95 * WAD, WAD * 6 // 10)
    assert read.snapshots[1].mark(Kind.PUT, EXPIRY, 101 * WAD) is None
    assert read.snapshots[1].mark(Kind.PUT, EXPIRY + 1, 100 * WAD) is None


def test_worth_is_that_of_the_snapshot_asked() -> None:
    fallen = market([100, 90])
    at = fallen.snapshots[1].at
    assert fallen.worth(1, Kind.CALL, EXPIRY, 95 * WAD) == pytest.approx(
        black(Kind.CALL, 90, 95, 0.6, EXPIRY - at), rel=1e-12
    )


@pytest.mark.parametrize(
    ("hours", "found"), [(6, 1), (5, 1), (12, 2), (7.5, 1), (8, None), (18, None), (-6, None)]
)
def test_the_later_snapshot_is_the_nearest_within_ninety_minutes(
    hours: float, found: int | None
) -> None:
    assert market([100, 100, 100]).later(0, int(hours * HOUR)) == found


def test_what_expired_between_two_snapshots_settles_at_the_spot_in_between() -> None:
    start = EXPIRY - 2 * HOUR
    held = Market(
        name="ETH",
        snapshots=[
            snapshot(start, 100),
            snapshot(start + 8 * HOUR, 140, expiries={}),
            snapshot(start + 16 * HOUR, 60, expiries={}),
        ],
    )
    assert held.settlement(EXPIRY) == 110 * WAD  # a quarter of the way from 100 to 140
    for later in (1, 2):
        assert held.worth(later, Kind.CALL, EXPIRY, 95 * WAD) == 15.0
        assert held.worth(later, Kind.PUT, EXPIRY, 95 * WAD) == 0.0
    with pytest.raises(InvalidValueError, match="no snapshots around"):
        held.settlement(start - 1)


def test_a_missing_mark_is_no_worth() -> None:
    held = Market(
        name="ETH",
        snapshots=[snapshot(0, 100), snapshot(6 * HOUR, 100, strikes=(100,))],
    )
    assert held.worth(1, Kind.CALL, EXPIRY, 100 * WAD) is not None
    assert held.worth(1, Kind.CALL, EXPIRY, 105 * WAD) is None


def _swap(path: Path, old: str, new: str) -> Path:
    path.write_text(path.read_text().replace(old, new, 1))
    return path


def test_files_that_make_no_market_say_why(tmp_path: Path) -> None:
    def file(spots: list[float]) -> Path:
        return write_file(tmp_path / "eth.csv", spots)

    with pytest.raises(InvalidValueError, match=r"eth\.csv: 1 snapshots"):
        read_market(file([100]))
    with pytest.raises(InvalidValueError, match="several underlyings: BTC, ETH"):
        read_market(_swap(file([100, 100]), "ETH-", "BTC-"))
    with pytest.raises(InvalidValueError, match=r"eth\.csv, line 1: no column index_price"):
        read_market(_swap(file([100, 100]), "index_price", "index"))
    lines = file([100, 99]).read_text().splitlines(keepends=True)
    backwards = tmp_path / "back.csv"
    backwards.write_text("".join([lines[0], *lines[-5:], *lines[1:6]]))
    with pytest.raises(InvalidValueError, match="comes after"):
        read_market(backwards)
