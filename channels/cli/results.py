"""What a long computation leaves: a picture, and files in the places that were named for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from channels.errors import StorageError

__all__ = ["drawing", "plot_option", "writing"]


def plot_option(what: str) -> Callable[[Any], Any]:
    """The option ``--plot``, which draws ``what``."""
    return click.option(
        "--plot",
        type=click.Path(dir_okay=False, path_type=Path),
        help=f"Draw {what}: .png, .svg or .pdf. Needs the extra 'plot'.",
    )


def drawing(plot: Path, module: str) -> Callable[..., bytes]:
    """Return the ``draw`` of a module; asked before the work, for it may not be installed.

    Raises:
        click.UsageError: it is not, or the file is of no format that it draws.
    """
    try:
        formats = import_module("channels.backtest.figures").FORMATS
        draw: Callable[..., bytes] = import_module(module).draw
    except ImportError as error:
        raise click.UsageError(
            "--plot needs matplotlib: pip install 'option-channels[plot]'"
        ) from error
    if plot.suffix[1:].lower() not in formats:
        raise click.BadParameter(
            f"{plot.name}: give it one of the endings .{', .'.join(formats)}", param_hint="--plot"
        )
    return draw


@contextmanager
def writing() -> Iterator[None]:
    """Tell of a place that cannot be written to what to do about it.

    Raises:
        StorageError: instead of the system's error.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write {error.filename}: {error.strerror}",
            next_step="name a place that can be written to",
        ) from error
