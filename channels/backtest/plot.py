"""Misses against the median margin, a panel a horizon. Needs matplotlib: the extra ``plot``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator, PercentFormatter

from channels.backtest.figures import draw_figure
from channels.backtest.report import Coverage

__all__ = ["draw"]

_OURS: Final = "ours"
_BLUE, _BROWN = "#1f5fa8", "#8a5a2b"
_LEVELS: Final = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def draw(rows: Sequence[Coverage], caption: str, file_format: str) -> bytes:
    """Return the picture of some rows of coverage, as a file.

    Models whose name begins with "ours" are joined by a line: they differ in parameters only. The
    same rows give the same file.
    """
    hours = sorted({row.hours for row in rows})

    def fill(figure: Figure) -> None:
        grid = figure.subplots(-(-len(hours) // 2), 2, squeeze=False, sharex=True, sharey=True)
        panels = [axes for line in grid for axes in line]
        for axes, hour in zip(panels, hours, strict=False):
            _panel(axes, [row for row in rows if row.hours == hour], hour)
        for axes in panels[len(hours) :]:
            axes.set_axis_off()
        worst = max((row.miss_rate for row in rows), default=0.0)
        panels[0].set_ylim(-0.4 * _LEVELS[1], 4.0 * max(worst, _LEVELS[2]))
        figure.supxlabel("median initial margin, % of spot", fontsize=10)
        figure.supylabel("portfolios that lost more than their initial margin", fontsize=10)

    return draw_figure(fill, size=(9.0, 7.2), caption=caption, file_format=file_format)


def _panel(axes: Axes, rows: Sequence[Coverage], hours: int) -> None:
    ours = sorted(
        (row for row in rows if row.model.startswith(_OURS)), key=lambda row: row.median_margin
    )
    axes.plot(
        [row.median_margin for row in ours],
        [row.miss_rate for row in ours],
        color=_BLUE,
        linewidth=1.2,
        zorder=1,
    )
    for row in rows:
        mine = row in ours
        # ours stand close together where nothing is missed: their labels climb side by side
        placed: dict[str, Any] = (
            {"rotation": 38, "rotation_mode": "anchor", "xytext": (4, 5)}
            if mine and row.miss_rate < _LEVELS[1]
            else {"xytext": (-4, 7), "ha": "right"}
            if row.median_margin > 1.5 * ours[-1].median_margin
            else {"xytext": (7, -3)}
        )
        axes.scatter(
            [row.median_margin],
            [row.miss_rate],
            color=_BLUE if mine else _BROWN,
            marker="o" if mine else "s",
            zorder=2,
        )
        axes.annotate(
            f"{row.model}: {row.misses}",
            (row.median_margin, row.miss_rate),
            textcoords="offset points",
            fontsize=8,
            color=_BLUE if mine else _BROWN,
            **placed,
        )
    axes.set_title(f"{hours} h, {rows[0].portfolios:,} portfolios", fontsize=10, loc="left")
    axes.set_yscale("symlog", linthresh=_LEVELS[1])
    axes.yaxis.set_major_locator(FixedLocator(_LEVELS))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{level:.2%}" for level in _LEVELS]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=""))
    axes.margins(x=0.12)
    axes.set_axisbelow(True)
    axes.grid(visible=True, color="#e5e5e5", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
