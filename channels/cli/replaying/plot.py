"""Profit and margin over time. Needs matplotlib: the extra ``plot``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator, PercentFormatter

from channels.backtest.figures import draw_figure
from channels.bots.floor import UNIT
from channels.cli.replaying.run import Sample, TraderSample
from channels.units import DAY

__all__ = ["draw"]

_TICKS: Final = 8

_MAKERS: Final = ("#1f5fa8", "#4f8fd0", "#8fbce8", "#123a68", "#6d7fa8")
_TAKERS: Final = ("#b0531f", "#d99a4e", "#7a3b12", "#c97b63", "#e0b98a")


def draw(samples: Sequence[Sample], caption: str, file_format: str) -> bytes:
    """Return the picture of spot, profit and margin use over time, as a file.

    Frames at which somebody was called for margin are marked. The same samples give the same file.
    """

    def fill(figure: Figure) -> None:
        spot, profit, use = figure.subplots(3, 1, sharex=True, height_ratios=(1, 2, 2))
        times = [float(each.at) for each in samples]
        spot.plot(times, [each.spot for each in samples], color="#444444", linewidth=1.2)
        spot.set_ylabel("spot, $")
        spot.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        _lines(profit, times, samples, lambda each: each.profit / UNIT)
        profit.axhline(0.0, color="#888888", linewidth=0.8)
        profit.set_ylabel("profit, $")
        profit.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        profit.legend(fontsize=8, frameon=False, ncols=2)
        _lines(use, times, samples, lambda each: min(each.use, 1.5))
        use.axhline(1.0, color="#888888", linewidth=0.8, linestyle="--")
        use.set_ylabel("initial margin / equity,\nworst channel")
        use.yaxis.set_major_formatter(PercentFormatter(1.0))
        for axes in (spot, profit, use):
            _mark_calls(axes, times, samples)
            axes.spines[["top", "right"]].set_visible(False)
        step = DAY * max(1, (samples[-1].at - samples[0].at) // (_TICKS * DAY))
        use.xaxis.set_major_locator(MultipleLocator(step))
        use.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _date(value)))

    return draw_figure(fill, size=(9.0, 8.4), caption=caption, file_format=file_format)


def _lines(
    axes: Axes,
    times: Sequence[float],
    samples: Sequence[Sample],
    value: Callable[[TraderSample], float],
) -> None:
    counts = {"maker": 0, "taker": 0}
    for name in samples[0].traders:
        kind = name.split("-")[0]
        colours = _MAKERS if kind == "maker" else _TAKERS
        axes.plot(
            times,
            [value(each.traders[name]) for each in samples],
            color=colours[counts[kind] % len(colours)],
            linewidth=1.4,
            label=name,
        )
        counts[kind] += 1


def _mark_calls(axes: Axes, times: Sequence[float], samples: Sequence[Sample]) -> None:
    for time, sample in zip(times, samples, strict=True):
        if sample.calls:
            axes.axvline(time, color="#c03030", linewidth=0.8, alpha=0.5)


def _date(at: float) -> str:
    when = datetime.fromtimestamp(at, UTC)
    return f"{when.day} {when:%b}"
