"""Plots: profit and loss, smiles, surfaces, scenarios, margin over time. Need the extra ``plot``.

Every function returns a Matplotlib figure and, given a ``path``, saves it there in the format of
the name's ending. No window is opened and no global state is touched, so they work in servers,
notebooks and scripts alike. Money is floats of collateral, for eyes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil, exp, log10, sqrt
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

from channels.errors import InvalidValueError
from channels.pricing.book import Book
from channels.pricing.instruments import date_of
from channels.pricing.least_squares import Floats
from channels.pricing.markets import Market
from channels.pricing.smiles import QuotedSmile
from channels.pricing.surface import Smile, Surface
from channels.pricing.verbs import Number, Tradable
from channels.units import DAY, YEAR

__all__ = ["plot_margin", "plot_profit", "plot_scenarios", "plot_smiles", "plot_surface"]

NOW: Final = "#1f6feb"
LATER: Final = "#d1242f"
QUIET: Final = "#6e7781"
_DEVIATIONS: Final = 3.0
_POINTS: Final = 401
_DAYS: Final = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
_MOVES: Final = tuple(-0.3 + 0.05 * i for i in range(13))
_VOL_MOVES: Final = tuple(-0.4 + 0.1 * i for i in range(9))

_MONEY: Final = FuncFormatter(lambda value, _: f"{value:,.6g}")
_PERCENT: Final = PercentFormatter(1.0, decimals=0)


def plot_profit(
    tradable: Tradable,
    market: Market,
    *,
    quantity: Number = 1,
    premium: float | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Draw profit and loss against the spot: now, and at the first expiry.

    ``premium`` is what was paid for all of it, negative if received; without it, the price now, so
    that now the profit at the spot is 0. Legs that outlive the first expiry are valued at their
    present vols then.

    Raises:
        InvalidValueError: everything has expired.
    """
    book = tradable.book(market, quantity)
    live = book.years[book.years > 0.0]
    if not live.size:
        raise InvalidValueError("there is nothing left to plot: every leg has expired")
    paid = book.value() if premium is None else premium
    first = float(live.min())
    spots = _spots(book, market.spot, first)
    moves = spots / market.spot - 1.0
    now = book.grid(moves, [1.0])[:, 0] - paid
    then = book.grid(moves, [1.0], later=first)[:, 0] - paid
    expiry = min(
        leg.instrument.expiry for leg in tradable.legs() if leg.instrument.expiry > market.at
    )
    figure, axes = _figure()
    axes.fill_between(spots, then, 0.0, where=(then > 0.0).tolist(), color="#2da44e", alpha=0.12)
    axes.fill_between(spots, then, 0.0, where=(then < 0.0).tolist(), color=LATER, alpha=0.10)
    axes.plot(spots, then, color=LATER, linewidth=2, label=f"at {_day(expiry)}")
    axes.plot(spots, now, color=NOW, linewidth=2, label=f"now, {_day(market.at)}")
    axes.axhline(0.0, color=QUIET, linewidth=0.8)
    axes.axvline(
        market.spot, color=QUIET, linewidth=1.2, linestyle=":", label=f"spot {market.spot:,.6g}"
    )
    for strike in np.unique(book.strikes):
        axes.axvline(strike, color=QUIET, linewidth=0.5, alpha=0.35)
    axes.set_title(f"{_of(quantity)}{_name(tradable)}, premium {paid:,.6g}")
    axes.set_xlabel("spot price")
    axes.set_ylabel("profit and loss, collateral")
    axes.xaxis.set_major_formatter(_MONEY)
    axes.yaxis.set_major_formatter(_MONEY)
    axes.set_xlim(spots[0], spots[-1])
    axes.legend(frameon=False)
    return _saved(figure, path)


def plot_scenarios(
    tradable: Tradable,
    market: Market,
    *,
    quantity: Number = 1,
    moves: Sequence[float] = _MOVES,
    vol_moves: Sequence[float] = _VOL_MOVES,
    days: float = 0.0,
    path: str | Path | None = None,
) -> Figure:
    """Draw the change of value as a heat map: spot moves across, relative vol moves upwards.

    A move of -0.1 takes a tenth off; ``days`` pass at once. Each leg's vol is its own, times
    1 + the move.

    Raises:
        InvalidValueError: a move of -1 or below, fewer than two of them, or days before now.
    """
    if min(len(moves), len(vol_moves)) < 2 or min(*moves, *vol_moves) <= -1.0 or days < 0.0:
        raise InvalidValueError("moves are two at least and above -1, days are not negative")
    book = tradable.book(market, quantity)
    factors = 1.0 + np.asarray(vol_moves, dtype=np.float64)
    changes = book.grid(moves, factors, later=days / 365).T - book.value()
    bound = float(np.abs(changes).max()) or 1.0
    figure, axes = _figure(width=9.5)
    image = axes.imshow(
        changes, origin="lower", aspect="auto", cmap="RdYlGn", vmin=-bound, vmax=bound
    )
    for (row, column), change in np.ndenumerate(changes):
        axes.text(
            column, row, f"{change:,.3g}" if bound < 1e3 else f"{change:,.0f}",
            ha="center", va="center", fontsize=7,
        )  # fmt: skip
    axes.set_xticks(range(len(moves)), [f"{move:+.0%}" for move in moves])
    axes.set_yticks(range(len(vol_moves)), [f"{move:+.0%}" for move in vol_moves])
    axes.set_xlabel(f"move of the spot, from {market.spot:,.6g}")
    axes.set_ylabel("move of every vol, relative")
    later = f" after {days:g} days" if days else ""
    axes.set_title(f"{_of(quantity)}{_name(tradable)}: change of value{later}")
    figure.colorbar(image, label="collateral", format=_MONEY)
    return _saved(figure, path)


def plot_smiles(
    surface: Surface, quotes: Sequence[QuotedSmile] = (), *, path: str | Path | None = None
) -> Figure:
    """Draw the smile of each expiry, the bids and asks it was fitted to as bars."""
    shown = {quote.expiry: quote for quote in quotes}
    columns = min(len(surface.smiles), 3)
    rows = ceil(len(surface.smiles) / columns)
    figure = Figure(figsize=(4.2 * columns + 0.6, 3.0 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, smile in zip(grid, surface.smiles, strict=False):
        _draw_smile(axes, surface, smile, shown.get(smile.expiry))
    for axes in grid[len(surface.smiles) :]:
        axes.set_axis_off()
    figure.supxlabel("strike")
    figure.supylabel("implied vol, annual")
    figure.suptitle(f"Smiles of {_time(surface.at)}, spot {surface.spot:,.6g}")
    return _saved(figure, path)


def _draw_smile(axes: Axes, surface: Surface, smile: Smile, quoted: QuotedSmile | None) -> None:
    years = (smile.expiry - surface.at) / YEAR
    if quoted is None:
        width = _DEVIATIONS * float(smile.svi.total_variance(0.0)) ** 0.5
        low, high = -width, width
    else:
        low, high = float(quoted.log_moneyness.min()), float(quoted.log_moneyness.max())
        middle = 0.5 * (quoted.bids + quoted.asks)
        axes.errorbar(
            quoted.strikes, middle, yerr=0.5 * (quoted.asks - quoted.bids), fmt="none",
            ecolor=QUIET, elinewidth=1.2, capsize=1.5, label="bid to ask",
        )  # fmt: skip
    k = np.linspace(low - 0.02, high + 0.02, _POINTS)
    axes.plot(
        smile.forward * np.exp(k), smile.svi.volatility(k, years), color=NOW, linewidth=1.6,
        label="SVI",
    )  # fmt: skip
    axes.axvline(smile.forward, color=QUIET, linewidth=0.8, linestyle=":")
    axes.xaxis.set_major_formatter(_MONEY)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(_PERCENT)
    days = (smile.expiry - surface.at) / DAY
    axes.set_title(f"{date_of(smile.expiry)}, {days:.3g} days", fontsize=10)
    axes.grid(alpha=0.2)
    axes.legend(frameon=False, fontsize=8)


def plot_surface(
    surface: Surface,
    quotes: Sequence[QuotedSmile] = (),
    *,
    widest: float = 2.5,
    path: str | Path | None = None,
) -> Figure:
    """Draw implied vol over moneyness and time, the middle of bid and ask as dots.

    Moneyness is ln(strike / forward) in standard deviations, of the at-the-money vol until expiry,
    ``widest`` of them on both sides: at that scale expiries can be compared.
    """
    figure = Figure(figsize=(9.0, 6.6), layout="constrained")
    # mypy knows 2D axes only
    axes: Any = figure.add_subplot(projection="3d", computed_zorder=False)
    deviations = np.linspace(-widest, widest, 61)
    expiries = [smile.expiry for smile in surface.smiles]
    seconds = np.geomspace(expiries[0] - surface.at, expiries[-1] - surface.at, 61)
    times = [surface.at + max(round(each), 1) for each in seconds.tolist()]
    across, along = np.meshgrid(deviations, [_depth(surface, time) for time in times])
    vols = np.array([_vols(surface, deviations, time) for time in times])
    axes.plot_surface(across, along, vols, cmap="viridis", alpha=0.8, linewidth=0, zorder=1)
    for expiry in expiries:
        depth = np.full(len(deviations), _depth(surface, expiry))
        axes.plot(deviations, depth, _vols(surface, deviations, expiry), "w-", lw=0.8, zorder=2)
    for quoted in quotes:
        unit = surface.total_variance(0.0, quoted.expiry) ** 0.5
        places = quoted.log_moneyness / unit
        inside = np.abs(places) <= widest
        middle = 0.5 * (quoted.bids + quoted.asks)[inside]
        depth = np.full(len(middle), _depth(surface, quoted.expiry))
        label = "middle of bid and ask" if quoted is quotes[0] else None
        axes.scatter(
            places[inside], depth, middle, color=LATER, s=7, depthshade=False, zorder=3, label=label
        )
    first, last = along[0, 0], along[-1, 0]
    days = [day for day in _DAYS if first - 0.1 <= np.log10(day) <= last + 0.1]
    axes.set_yticks(np.log10(days), [f"{day:g}" for day in days])
    axes.zaxis.set_major_formatter(_PERCENT)
    axes.set_xlabel("strike, standard deviations from the forward", labelpad=8)
    axes.set_ylabel("days to expiry", labelpad=8)
    axes.set_zlabel("implied vol, annual", labelpad=8)
    axes.set_title(f"Implied vol on {_time(surface.at)}, spot {surface.spot:,.6g}")
    axes.view_init(elev=28, azim=-50)
    axes.set_box_aspect(None, zoom=0.92)
    if quotes:
        axes.legend(frameon=False, loc="upper left")
    return _saved(figure, path)


def _depth(surface: Surface, time: int) -> float:
    return log10((time - surface.at) / DAY)


def _vols(surface: Surface, deviations: Floats, time: int) -> Floats:
    unit = surface.total_variance(0.0, time) ** 0.5
    variances = surface.total_variance(deviations * unit, time)
    vols: Floats = np.sqrt(variances * YEAR / (time - surface.at))
    return vols


def plot_margin(
    times: Sequence[int],
    *,
    equity: ArrayLike,
    initial: ArrayLike,
    maintenance: ArrayLike,
    title: str = "Equity and margin",
    path: str | Path | None = None,
) -> Figure:
    """Draw a party's equity against its margins over time.

    Times are Unix seconds, ascending; the others are money of one unit, one figure a time. Where
    equity is below initial margin no new risk can be taken, below maintenance margin it is called.

    Raises:
        InvalidValueError: columns of different lengths, or fewer than two times.
    """
    columns = [np.asarray(column, dtype=np.float64) for column in (equity, initial, maintenance)]
    if len(times) < 2 or any(column.shape != (len(times),) for column in columns):
        raise InvalidValueError("equity and margins have a figure for each of two times at least")
    # a datetime64 has no time zone, so none is converted on the axis
    when: Any = np.array(times, dtype="datetime64[s]")
    held, wanted, least = columns
    figure, axes = _figure(width=9.5)
    axes.plot(when, held, color=NOW, linewidth=2, label="equity")
    axes.plot(when, wanted, color="#bf8700", linewidth=1.6, label="initial margin")
    axes.plot(when, least, color=LATER, linewidth=1.6, label="maintenance margin")
    axes.fill_between(
        when, held, least, where=(held < least).tolist(), color=LATER, alpha=0.25,
        label="shortfall" if (held < least).any() else None,
    )  # fmt: skip
    axes.axhline(0.0, color=QUIET, linewidth=0.8)
    axes.set_title(title)
    axes.set_xlabel("time, UTC")
    axes.set_ylabel("collateral")
    axes.yaxis.set_major_formatter(_MONEY)
    concise: Any = ConciseDateFormatter  # which has no types
    axes.xaxis.set_major_formatter(concise(axes.xaxis.get_major_locator()))
    axes.legend(frameon=False)
    return _saved(figure, path)


def _figure(width: float = 8.0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _saved(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        figure.savefig(path, dpi=144)
    return figure


def _spots(book: Book, spot: float, years: float) -> Floats:
    """Return spots to draw at: what the vol reaches, all strikes, and just beside each of them."""
    width = _DEVIATIONS * float(np.max(book.vols)) * sqrt(years)
    strikes = np.unique(book.strikes)
    low = min(spot * exp(-width), 0.9 * float(strikes[0]))
    high = max(spot * exp(width), 1.1 * float(strikes[-1]))
    around = np.concatenate((strikes, strikes * (1.0 - 1e-9)))
    return np.sort(np.concatenate((np.linspace(low, high, _POINTS), around)))


def _name(tradable: Tradable) -> str:
    return getattr(tradable, "name", type(tradable).__name__)


def _of(quantity: Number) -> str:
    return "" if str(quantity) == "1" else f"{quantity} x "


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%-d %b %Y}"


def _time(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%-d %b %Y %H:%M} UTC"
