"""What is done now, and how much of it: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["Bar"]


class Bar:
    """One bar on standard error; shown while `shown` is entered, or as a part of something else."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.shown = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self.shown.add_task("", total=None)

    def begin(self, what: str, total: int | None = None) -> None:
        """Say what is done from now on, and how many of it if that is known."""
        self.shown.reset(self._task, description=what, total=total)

    def advance(self, what: str | None = None) -> None:
        """One more is done; ``what`` is said from now on."""
        self.shown.update(self._task, description=what, advance=1)
