"""``option-channels backtest``: margin models beside each other on recorded markets."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from channels import __version__
from channels.cli.failing import failing
from channels.cli.results import drawing, plot_option, writing

if TYPE_CHECKING:
    from channels.backtest import Coverage, Market, Observation

__all__ = ["backtest"]

_EXAMPLES: Final = (
    ("call 0, month", "short"),
    ("put -2, month", "short"),
    ("straddle, week", "short"),
    ("call spread, month", "short"),
    ("risk reversal, month", "short"),
    ("iron condor, week", "long"),
    ("covered call, month", "long"),
    ("call calendar, month to quarter", "short"),
    ("forward spread, quarter to half", "long"),
    ("tight butterfly, eve", "short"),
)
"""The portfolios whose margins are shown one by one."""


@click.command(short_help="Test margin models, ours and others', on recorded markets.")
@click.option(
    "--market",
    "paths",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    required=True,
    help="Deribit option summaries (.csv or .csv.gz) of one underlying; may be given again.",
)
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Margin each N-th snapshot only.",
)
@click.option("--seed", default="1", show_default=True, help="Where the random books come from.")
@click.option(
    "--csv",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write coverage.csv, families.csv and observations.csv there.",
)
@plot_option("misses against median margins")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for machines.")
def backtest(
    paths: Sequence[Path],
    every: int,
    seed: str,
    folder: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Test margin models on recorded markets: ours beside Deribit's and Derive's.

    Every snapshot gets the same portfolios. A portfolio that has lost more than its initial margin
    6, 12, 24 or 48 hours later, at the marks of then, is a miss.
    """
    from channels.backtest.report import write_all

    draw = None if plot is None else drawing(plot, "channels.backtest.plot")
    began = time.monotonic()
    with failing():
        result = _Result(paths, every=every, seed=seed)
        files: dict[Path, bytes] = {}
        if folder is not None:
            files |= {folder / name: text.encode() for name, text in result.tables().items()}
        if plot is not None and draw is not None:
            files[plot] = draw(result.coverage, result.caption, plot.suffix[1:].lower())
        with writing():
            write_all(files)
    document = result.document() | {"seconds": round(time.monotonic() - began, 1)}
    if as_json:
        print(json.dumps(document, indent=2))
    else:
        _show(document, list(files))


class _Result:
    """One run over some files, with a progress bar on a terminal."""

    def __init__(self, paths: Sequence[Path], *, every: int, seed: str) -> None:
        from channels.backtest import DEFAULT_MODELS, HORIZONS, coverage, run_backtest
        from channels.backtest.market import read_market
        from channels.cli.progress import Bar
        from channels.errors import InvalidValueError

        self.models = [model.name for model in DEFAULT_MODELS]
        self.horizons = HORIZONS
        bar = Bar()
        with bar.shown:
            self.markets: list[Market] = []
            for path in paths:
                bar.begin(f"reading {path.name}")
                self.markets.append(read_market(path))
            names = [market.name for market in self.markets]
            if len(set(names)) < len(names):
                raise InvalidValueError(
                    f"two files for one underlying: {', '.join(sorted(names))}",
                    next_step="give each underlying once",
                )
            total = sum(len(range(0, len(each.snapshots), every)) for each in self.markets)
            bar.begin("margining", total)
            self.observations: list[Observation] = list(
                run_backtest(
                    self.markets,
                    DEFAULT_MODELS,
                    seed=seed,
                    every=every,
                    tell=bar.advance,
                )
            )
        self.coverage: list[Coverage] = coverage(self.observations, self.models, HORIZONS)
        if not self.coverage:
            raise InvalidValueError(
                "no snapshot has another one 6 to 48 hours later",
                next_step="give a file with more snapshots",
            )

    @property
    def caption(self) -> str:
        """What was tested, for the plot."""
        spans = (f"{each['underlying']} {each['from']} to {each['to']}" for each in self._spans())
        return f"option-channels {__version__} back-test: {'; '.join(spans)}"

    def tables(self) -> dict[str, str]:
        """Return the CSV files by name."""
        from channels.backtest.report import coverage_csv, families, observations_csv

        groups = families(self.observations, self.models, self.horizons)
        return {
            "coverage.csv": coverage_csv([("all", "both", self.coverage)]),
            "families.csv": coverage_csv([(*key, rows) for key, rows in groups.items()]),
            "observations.csv": observations_csv(self.observations, self.models, self.horizons),
        }

    def document(self) -> dict[str, Any]:
        """Return everything but the observations one by one."""
        import attrs

        return {
            "version": __version__,
            "markets": self._spans(),
            "portfolio_snapshots": len(self.observations),
            "models": self.models,
            "horizons": list(self.horizons),
            "coverage": [
                {**attrs.asdict(row), "miss_rate": row.miss_rate} for row in self.coverage
            ],
            "examples": self._examples(),
        }

    def _spans(self) -> list[dict[str, Any]]:
        return [
            {
                "underlying": market.name,
                "snapshots": len(market.snapshots),
                "from": _day(market.snapshots[0].at),
                "to": _day(market.snapshots[-1].at),
            }
            for market in self.markets
        ]

    def _examples(self) -> list[dict[str, Any]]:
        """Margins of some portfolios at the last snapshot, as fractions of the spot."""
        last = {each.market: each.at for each in self.observations}
        at_last = {
            (each.market, each.portfolio, each.side): each
            for each in self.observations
            if each.at == last[each.market]
        }
        return [
            {
                "underlying": found.market,
                "at": datetime.fromtimestamp(found.at, UTC).isoformat(),
                "portfolio": portfolio,
                "side": side,
                "margins": dict(
                    zip(self.models, (each / found.spot for each in found.margins), strict=True)
                ),
            }
            for market in last
            for portfolio, side in _EXAMPLES
            if (found := at_last.get((market, portfolio, side))) is not None
        ]


def _day(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _show(document: dict[str, Any], written: Sequence[Path]) -> None:
    from rich.console import Console
    from rich.rule import Rule
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Rule(Text(f"option-channels {__version__} back-test", style="bold")))
    for each in document["markets"]:
        console.print(
            f"{each['underlying']}: {each['snapshots']} snapshots, {each['from']} to {each['to']}"
        )
    count, seconds = document["portfolio_snapshots"], document["seconds"]
    console.print(f"{count:,} portfolio snapshots in {seconds} s")
    tables = [_coverage_table(document)]
    tables += [_examples_table(document, each["underlying"]) for each in document["markets"]]
    for table in tables:
        console.print()
        console.print(table)
    for path in written:
        console.print(f"written: {path}", soft_wrap=True, markup=False)


def _coverage_table(document: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(
        title="Portfolios that lost more than their initial margin; margins in % of spot",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("model", style="bold", no_wrap=True)
    table.add_column("median\nmargin", justify="right")
    counts = {row["hours"]: row["portfolios"] for row in document["coverage"]}
    for hours in document["horizons"]:
        table.add_column(f"{hours} h\nof {counts.get(hours, 0):,}", justify="right")
    table.add_column("worst\nshortfall", justify="right")
    for model in document["models"]:
        rows = [row for row in document["coverage"] if row["model"] == model]
        misses = {row["hours"]: str(row["misses"]) for row in rows}
        table.add_row(
            model,
            f"{100 * rows[0]['median_margin']:.2f}",
            *(misses.get(hours, "") for hours in document["horizons"]),
            f"{100 * max(row['worst_shortfall'] for row in rows):.2f}",
        )
    return table


def _examples_table(document: dict[str, Any], underlying: str) -> Any:
    from rich.table import Table

    examples = [each for each in document["examples"] if each["underlying"] == underlying]
    when = f", {examples[0]['at']}" if examples else ""
    table = Table(
        title=f"Initial margin, % of spot: {underlying}{when}",
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("portfolio", style="bold", no_wrap=True)
    for model in document["models"]:
        # one word a line keeps the columns as narrow as their figures
        table.add_column(model.replace(" / ", " ").replace(" ", "\n", 2), justify="right")
    for each in examples:
        table.add_row(
            f"{each['side']} {each['portfolio']}",
            *(f"{100 * margin:.2f}" for margin in each["margins"].values()),
        )
    return table
