"""Tables keep their figures whole on any terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from channels.cli.tables import print_table

FIGURES = ("0xf99cafd4", "counterparty", "1,234,567.123456", "9,963.007485", "196.910513")


def printed(width: int, *, terminal: bool) -> str:
    table = Table(title="Margin")
    for number, _ in enumerate(FIGURES):
        table.add_column(f"a column {number}")
    table.add_row(*FIGURES)
    out = io.StringIO()
    print_table(table, Console(file=out, width=width, force_terminal=terminal, color_system=None))
    return out.getvalue()


@pytest.mark.parametrize("width", [20, 60, 80, 120, 300])
@pytest.mark.parametrize("terminal", [True, False])
def test_no_figure_is_cut_short(width: int, terminal: bool) -> None:
    (row,) = [line for line in printed(width, terminal=terminal).splitlines() if FIGURES[0] in line]
    assert tuple(row.replace("│", " ").split()) == FIGURES


def test_the_lines_go_where_there_is_no_room_for_them() -> None:
    assert "│" in printed(120, terminal=True)
    assert "│" not in printed(70, terminal=True)
    assert max(map(len, printed(70, terminal=True).splitlines())) <= 70
    assert "│" in printed(70, terminal=False)
