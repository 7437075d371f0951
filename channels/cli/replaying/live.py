"""What is shown while a replay runs: a bar and the traders' table on a terminal, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from channels.cli.replaying.report import trader_table
from channels.cli.replaying.run import Sample

__all__ = ["Screen", "open_screen"]


class Screen:
    """The bar, and the table below it."""

    def __init__(self, live: Live | None, progress: Progress) -> None:
        self._live = live
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def begin(self, what: str, total: int | None = None) -> None:
        """Say what is done from now on, and how many of it if that is known."""
        self._progress.reset(self._task, description=what, total=total)

    def advance(self) -> None:
        """One more is done."""
        self._progress.advance(self._task)

    def show(self, sample: Sample) -> None:
        """Show how everybody stands after a frame."""
        when = datetime.fromtimestamp(sample.at, UTC)
        what = f"{when:%d %b %H:%M} · spot {sample.spot:,.2f}"
        self._progress.update(self._task, description=what, advance=1)
        if self._live is not None:
            rows = (
                (name, each.profit, each.equity, each.margin, each.use, each.called)
                for name, each in sample.traders.items()
            )
            self._live.update(Group(self._progress, trader_table(rows)))


@contextmanager
def open_screen() -> Iterator[Screen]:
    """Show progress on standard error while the block lasts, if that is a terminal."""
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    if not console.is_terminal:
        yield Screen(None, progress)
        return
    with Live(progress, console=console, transient=True, refresh_per_second=8) as live:
        yield Screen(live, progress)
