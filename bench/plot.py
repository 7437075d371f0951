"""The table as a picture: how many times better ours is than each peer, floor and target.

A row is a figure that has something beside it; to the right of 1 ours is better.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.results import Machine, Result
from channels.backtest.figures import draw_figure

__all__ = ["draw_results"]

_INCHES_A_ROW: Final = 0.24
_MARGINS: Final = 1.6
"""Inches, for what stands above and below the rows."""
_MOST: Final = 1_000.0
"""Times better, beyond which it does not matter how many; drawn as an arrow."""
_OURS: Final = "#0b6e4f"
_THEIRS: Final = "#b23a48"


def draw_results(results: Iterable[Result], machine: Machine) -> bytes:
    """Return the picture, as SVG."""
    rows = [each for each in results if _beside(each) or _headroom(each) is not None]

    def fill(figure: Figure) -> None:
        _fill(figure.add_subplot(), rows)

    return draw_figure(
        fill,
        size=(10, _MARGINS + _INCHES_A_ROW * len(rows)),
        caption=f"Times better than peers and floors (dots) and targets (bars). {machine}",
        file_format="svg",
    )


def _fill(axes: Axes, rows: list[Result]) -> None:
    for place, row in enumerate(rows):
        headroom = _headroom(row)
        if headroom is not None:
            colour = _OURS if row.met else _THEIRS
            axes.plot([headroom], [place], "|", color=colour, markersize=11, markeredgewidth=2.5)
        for times in _beside(row):
            colour = _OURS if times >= 1 else _THEIRS
            shape = "o" if times < _MOST else ">"
            axes.plot([min(times, _MOST)], [place], shape, color=colour, markersize=4.5)
    axes.axvline(1, color="0.4", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlim(right=_MOST * 1.2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda times, _: f"{times:g}x"))
    axes.tick_params(axis="x", top=True, labeltop=True)
    axes.set_yticks(range(len(rows)), [each.name for each in rows], fontsize=7)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="both", color="0.92")
    axes.set_axisbelow(True)


def _beside(row: Result) -> list[float]:
    """How many times better ours is than each reference there is."""
    found = (_times_better(row, each) for each in row.references.values())
    return [each for each in found if each is not None]


def _headroom(row: Result) -> float | None:
    """How many times better ours is than its target; None without one."""
    return _times_better(row, row.target)


def _times_better(row: Result, other: float | None) -> float | None:
    if not row.value or not other or row.value < 0:
        return None
    return row.value / other if row.unit == "1/s" else other / row.value
