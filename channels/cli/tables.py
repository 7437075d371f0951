"""Tables on a terminal of any width: no figure is ever cut short."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

__all__ = ["print_table"]

_ROOMY: Final = 200
"""Columns that any table has room in."""


def print_table(table: Table, terminal: Console | None = None) -> None:
    """Print a table at its own width; on a terminal too narrow for it, without its lines."""
    terminal = Console() if terminal is None else terminal
    for column in table.columns:
        column.no_wrap = True
    roomy = terminal.options.update(width=_ROOMY, max_width=_ROOMY)
    if terminal.is_terminal and Measurement.get(terminal, roomy, table).maximum > terminal.width:
        table.box, table.padding = None, (0, 1, 0, 0)
    terminal.width = _ROOMY
    terminal.print(table)
