"""Figures that are the same file whenever they are drawn. Needs matplotlib: the extra ``plot``."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Final

from matplotlib import rc_context
from matplotlib.figure import Figure

__all__ = ["FORMATS", "draw_figure"]

FORMATS: Final = ("png", "svg", "pdf")

_UNDATED: Final = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def draw_figure(
    fill: Callable[[Figure], None], *, size: tuple[float, float], caption: str, file_format: str
) -> bytes:
    """Return what ``fill`` draws on an empty figure, as a file of one of `FORMATS`; inches."""
    # text that can be searched, ids and dates that do not change
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "option-channels"}):
        figure = Figure(figsize=size, dpi=120, layout="constrained")
        fill(figure)
        figure.suptitle(caption, fontsize=10)
        content = BytesIO()
        figure.savefig(content, format=file_format, metadata=_UNDATED.get(file_format, {}))
    return content.getvalue()
