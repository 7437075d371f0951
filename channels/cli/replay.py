"""``option-channels replay``: makers and takers trade over a recorded market, to the last unit."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from channels.cli.failing import failing
from channels.cli.results import drawing, plot_option, writing
from channels.errors import InvalidValueError

if TYPE_CHECKING:
    from channels.cli.replaying.live import Screen
    from channels.cli.replaying.run import ReplayOptions
    from channels.cli.replaying.tape import Tape

__all__ = ["replay"]

_DATE = click.DateTime(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"])


@click.command(short_help="Let makers and takers trade over a recorded market.")
@click.option(
    "--market",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Deribit option summaries (.csv or .csv.gz).  [default: a built-in story of a fall]",
)
@click.option("--makers", type=click.IntRange(1, 8), default=3, show_default=True)
@click.option("--takers", type=click.IntRange(1, 8), default=2, show_default=True)
@click.option(
    "--channels",
    type=click.IntRange(1, 8),
    metavar="N",
    help="Makers that each taker has a channel with.  [default: all]",
)
@click.option("--from", "since", type=_DATE, metavar="DATE", help="Begin at this time, UTC.")
@click.option("--to", "until", type=_DATE, metavar="DATE", help="End at this time, UTC.")
@click.option("--days", type=click.IntRange(min=1), metavar="N", help="Play only so many days.")
@click.option("--seed", default="1", show_default=True, help="What the takers' wishes come from.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep every trader's store there; it must be empty.",
)
@click.option(
    "--csv",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write trades, settlements, samples and all audit trails there.",
)
@plot_option("profit and margin over time")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for machines.")
def replay(
    market: Path | None,
    makers: int,
    takers: int,
    channels: int | None,
    since: datetime | None,
    until: datetime | None,
    days: int | None,
    seed: str,
    keep: Path | None,
    folder: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Let makers and takers trade over a recorded market, then unwind, close and reconcile.

    Every trader is a peer of its own, with its own keys and store, on a chain in this process.
    Makers quote from a surface fitted to each snapshot; takers ask several and take the best. At
    the end every wallet's change is worked out from the trades alone. Needs the extra 'numpy'.
    Exit status 1 if anything does not reconcile.
    """
    with failing(), _store_folder(keep) as stores:
        sound = _replay(
            stores=stores,
            market=market,
            since=since,
            until=until,
            days=days,
            options=_options(makers, takers, channels, seed),
            folder=folder,
            plot=plot,
            as_json=as_json,
        )
    raise SystemExit(0 if sound else 1)


def _options(makers: int, takers: int, channels: int | None, seed: str) -> ReplayOptions:
    from channels.cli.replaying.run import ReplayOptions

    if channels is not None and channels > makers:
        raise click.UsageError(f"--channels {channels} with {makers} makers")
    return ReplayOptions(
        makers=makers, takers=takers, channels=makers if channels is None else channels, seed=seed
    )


@contextmanager
def _store_folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
        return
    with writing():
        keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise InvalidValueError(f"{keep} is not empty", next_step="name another folder")
    yield keep


def _replay(
    *,
    stores: Path,
    market: Path | None,
    since: datetime | None,
    until: datetime | None,
    days: int | None,
    options: ReplayOptions,
    folder: Path | None,
    plot: Path | None,
    as_json: bool,
) -> bool:
    """Play, report, and return whether everything reconciles."""
    from channels.cli.interrupts import run_interruptible
    from channels.cli.replaying.live import open_screen
    from channels.cli.replaying.report import ending, show, write_csv
    from channels.cli.replaying.run import play

    draw = None if plot is None else drawing(plot, "channels.cli.replaying.plot")
    began = time.perf_counter()
    with open_screen() as screen:
        tape = _tape(market, since, until, days, screen)
        screen.begin("opening channels", len(tape.frames))
        played = run_interruptible(
            partial(play, tape, options, folder=stores, on_sample=screen.show)
        )
    found = ending(tape, played, stores, seconds=time.perf_counter() - began)
    written: list[Path] = []
    with writing():
        if folder is not None:
            written += write_csv(found, played, folder)[:3]
        if plot is not None and draw is not None:
            caption = f"{tape.name}: profit and margin of {len(played.balances)} traders"
            plot.write_bytes(draw(played.samples, caption, plot.suffix[1:].lower()))
            written.append(plot)
    if as_json:
        click.echo(json.dumps(found.document, indent=2))
    else:
        show(found, written)
    return found.reconciliation.holds


def _tape(
    market: Path | None,
    since: datetime | None,
    until: datetime | None,
    days: int | None,
    screen: Screen,
) -> Tape:
    from channels.cli.replaying.tape import built_in_tape, read_tape

    if market is None:
        if since is not None or until is not None:
            raise click.UsageError("--from and --to need --market")
        return built_in_tape() if days is None else built_in_tape(days)
    screen.begin("fitting surfaces")
    return read_tape(
        market,
        since=_seconds(since),
        until=_seconds(until),
        days=days,
        on_frame=screen.advance,
    )


def _seconds(when: datetime | None) -> int | None:
    return None if when is None else int(when.replace(tzinfo=UTC).timestamp())
