"""What is shown while a replay runs: a bar and the traders' table on a terminal, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Group
from rich.live import Live

from channels.cli.progress import Bar
from channels.cli.replaying.report import trader_table
from channels.cli.replaying.run import Sample

__all__ = ["Screen", "open_screen"]


class Screen(Bar):
    """The bar, and the table below it while ``live`` shows them."""

    def __init__(self) -> None:
        super().__init__()
        self.live: Live | None = None

    def show(self, sample: Sample) -> None:
        """Show how everybody stands after a frame."""
        when = datetime.fromtimestamp(sample.at, UTC)
        self.advance(f"{when:%d %b %H:%M} · spot {sample.spot:,.2f}")
        if self.live is not None:
            rows = (
                (name, each.profit, each.equity, each.margin, each.use, each.called)
                for name, each in sample.traders.items()
            )
            self.live.update(Group(self.shown, trader_table(rows)))


@contextmanager
def open_screen() -> Iterator[Screen]:
    """Show progress on standard error while the block lasts, if that is a terminal."""
    screen = Screen()
    if not screen.console.is_terminal:
        yield screen
        return
    with Live(screen.shown, console=screen.console, transient=True, refresh_per_second=8) as live:
        screen.live = live
        yield screen
