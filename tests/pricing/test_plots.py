"""Plots: what is drawn is what the functions they draw return."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from channels.errors import InvalidValueError
from channels.pricing.instruments import Call, DigitalCall
from channels.pricing.markets import FlatVol
from channels.pricing.plots import (
    plot_margin,
    plot_profit,
    plot_scenarios,
    plot_smiles,
    plot_surface,
)
from channels.pricing.smiles import QuotedSmile
from channels.pricing.strategies import Calendar, Strangle
from channels.pricing.surface import Surface
from channels.units import DAY
from tests.pricing.test_surface import SURFACE

FEED = "ETH-USD"
EXPIRY = 1_774_598_400
MARKET = FlatVol(at=EXPIRY - 30 * DAY, spot=3000, vol=0.6, carry=0.04)
STRANGLE = Strangle(FEED, strikes=(2800, 3200), expiry=EXPIRY)

Column = NDArray[np.float64]


def _line(axes: Axes, label: str) -> tuple[Column, Column]:
    (line,) = [line for line in axes.get_lines() if str(line.get_label()).startswith(label)]
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


def _labelled(figure: Figure) -> None:
    for axes in figure.axes[:1]:
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert axes.get_title()


def test_at_expiry_the_profit_is_payoff_less_premium() -> None:
    figure = STRANGLE.plot(MARKET, quantity=-10, premium=-2000.0)
    _labelled(figure)
    axes = figure.axes[0]
    spots, profits = _line(axes, "at 27 Mar 2026")
    expected = [-10 * STRANGLE.payoff(float(spot)) + 2000.0 for spot in spots]
    np.testing.assert_allclose(profits, expected, atol=1e-6)
    assert {2800.0, 3200.0} <= set(spots.tolist())
    assert "premium -2,000" in axes.get_title()
    assert "-10 x ETH-USD-STRG-27MAR26-2800_3200" in axes.get_title()


def test_now_the_profit_at_the_spot_is_nothing() -> None:
    spots, profits = _line(STRANGLE.plot(MARKET).axes[0], "now")
    assert np.interp(3000.0, spots, profits) == pytest.approx(0.0, abs=0.05)
    moved = FlatVol(at=MARKET.at, spot=float(spots[7]), vol=0.6, carry=0.04)
    gained = STRANGLE.price(moved) - STRANGLE.price(MARKET)
    assert profits[7] == pytest.approx(gained, rel=1e-9)


def test_a_calendar_is_drawn_at_its_first_expiry() -> None:
    calendar = Calendar(FEED, strike=3000, expiries=(EXPIRY, EXPIRY + 28 * DAY))
    spots, profits = _line(calendar.plot(MARKET, premium=0.0).axes[0], "at 27 Mar 2026")
    later = FlatVol(at=EXPIRY, spot=float(spots[100]), vol=0.6, carry=0.04)
    assert profits[100] == pytest.approx(calendar.price(later), rel=1e-9)


def test_a_digital_jumps_at_its_strike() -> None:
    digital = DigitalCall(FEED, strike=3000, expiry=EXPIRY)
    spots, profits = _line(digital.plot(MARKET, premium=0.0).axes[0], "at 27")
    assert profits[spots < 3000.0].max() == 0.0
    assert profits[spots >= 3000.0].min() == 1.0


def test_what_has_expired_is_not_drawn() -> None:
    late = FlatVol(at=EXPIRY, spot=3000, vol=0.6)
    with pytest.raises(InvalidValueError, match="expired"):
        STRANGLE.plot(late)


def test_a_heat_map_is_the_change_of_the_books_grid() -> None:
    moves, vol_moves = (-0.2, 0.0, 0.1), (-0.3, 0.5)
    figure = plot_scenarios(
        STRANGLE, MARKET, quantity=-3, moves=moves, vol_moves=vol_moves, days=3.65
    )
    _labelled(figure)
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    assert drawn.shape == (2, 3)
    for row, vol_move in enumerate(vol_moves):
        for column, move in enumerate(moves):
            # carries are held, and so is the forward's growth over what time is left
            then = FlatVol(
                at=MARKET.at + int(3.65 * DAY),
                spot=3000 * (1 + move),
                vol=0.6 * (1 + vol_move),
                carry=0.04,
            )
            change = -3 * (STRANGLE.price(then) - STRANGLE.price(MARKET))
            assert drawn[row, column] == pytest.approx(change, rel=1e-9)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(texts) == 6


@pytest.mark.parametrize(
    ("moves", "vol_moves", "days"),
    [((-1.0, 0.0), (0.0, 0.1), 0.0), ((0.0,), (0.0, 0.1), 0.0), ((0.0, 0.1), (0.0, 0.1), -1.0)],
)
def test_scenarios_are_checked(
    moves: tuple[float, ...], vol_moves: tuple[float, ...], days: float
) -> None:
    with pytest.raises(InvalidValueError):
        plot_scenarios(STRANGLE, MARKET, moves=moves, vol_moves=vol_moves, days=days)


def _quotes(surface: Surface) -> list[QuotedSmile]:
    quotes = []
    for smile in surface.smiles:
        years = (smile.expiry - surface.at) / (365 * DAY)
        k = np.linspace(-0.3, 0.3, 7)
        vols = smile.svi.volatility(k, years)
        quotes.append(
            QuotedSmile(
                at=surface.at,
                expiry=smile.expiry,
                forward=smile.forward,
                strikes=smile.forward * np.exp(k),
                bids=vols - 0.01,
                asks=vols + 0.02,
                marks=vols,
            )
        )
    return quotes


def test_smiles_have_their_quotes() -> None:
    quotes = _quotes(SURFACE)
    figure = plot_smiles(SURFACE, quotes)
    for axes, smile, quoted in zip(figure.axes, SURFACE.smiles, quotes, strict=False):
        strikes, vols = _line(axes, "SVI")
        for strike, vol in zip(strikes[::100], vols[::100], strict=True):
            assert vol == pytest.approx(SURFACE.volatility(float(strike), smile.expiry), rel=1e-9)
        bars = [np.asarray(path.vertices) for path in axes.collections[0].get_paths()]
        ends = np.array([(bar[0, 1], bar[-1, 1]) for bar in bars])
        np.testing.assert_allclose(
            np.sort(ends), np.column_stack((quoted.bids, quoted.asks)), rtol=1e-12
        )
    assert figure.get_supxlabel() == "strike"
    assert len(plot_smiles(SURFACE).axes) >= len(SURFACE.smiles)


def test_a_surface_has_its_quotes() -> None:
    quotes = _quotes(SURFACE)
    figure = plot_surface(SURFACE, quotes)
    _labelled(figure)
    (axes,) = figure.axes
    dots = [part for part in axes.collections if type(part).__name__ == "Path3DCollection"]
    assert len(dots) == len(quotes)
    assert SURFACE.plot().axes[0].get_title() == axes.get_title()


def test_margin_over_time() -> None:
    times = [EXPIRY + hour * 3_600 for hour in range(4)]
    figure = plot_margin(
        times, equity=[9, 7, 4, 6], initial=[6, 6, 7, 6], maintenance=[5, 5, 5, 5], title="Ours"
    )
    _labelled(figure)
    _, equity = _line(figure.axes[0], "equity")
    assert equity.tolist() == [9, 7, 4, 6]
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert "shortfall" in [text.get_text() for text in legend.get_texts()]
    with pytest.raises(InvalidValueError):
        plot_margin(times, equity=[1, 2], initial=[1, 2], maintenance=[1, 2])
    with pytest.raises(InvalidValueError):
        plot_margin(times[:1], equity=[1], initial=[1], maintenance=[1])


@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_figures_are_saved(tmp_path: Path, ending: str, magic: bytes) -> None:
    path = tmp_path / f"call.{ending}"
    Call(FEED, strike=3000, expiry=EXPIRY).plot(MARKET, path=path)
    assert path.read_bytes().startswith(magic)


def test_no_window_is_touched() -> None:
    script = (
        "import sys; from channels.pricing.plots import plot_profit;"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_profit_is_the_verbs_plot() -> None:
    ours, verbs = plot_profit(STRANGLE, MARKET), STRANGLE.plot(MARKET)
    for label in ("now", "at"):
        np.testing.assert_array_equal(_line(ours.axes[0], label), _line(verbs.axes[0], label))
