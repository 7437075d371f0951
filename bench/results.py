"""What a benchmark yields, the one table it is printed in, and the files it is kept in."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import attrs

__all__ = ["Machine", "Result", "as_table", "write_page", "write_results"]


@attrs.frozen(kw_only=True)
class Result:
    """One figure. ``references`` are the floor and the peers of the same run, or published.

    A reference of None is a peer that is not installed; a ``value`` of None is a figure that could
    not be had here. Units of ``1/s`` are better when larger, all others when smaller.
    """

    name: str
    value: float | None
    unit: str
    target: float | None = None
    references: dict[str, float | None] = attrs.field(factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target or a value."""
        if self.value is None or self.target is None:
            return None
        return self.value >= self.target if self.unit == "1/s" else self.value <= self.target


@attrs.frozen(kw_only=True)
class Machine:
    """Where and when the figures were taken."""

    processor: str
    cores: int
    python: str
    date: str

    @classmethod
    def here(cls) -> Machine:
        """This machine, today."""
        return cls(
            processor=_processor(),
            cores=os.cpu_count() or 1,
            python=platform.python_version(),
            date=datetime.now(UTC).date().isoformat(),
        )

    def __str__(self) -> str:
        return f"{self.processor}, {self.cores} cores, Python {self.python}, {self.date}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def as_table(results: Iterable[Result]) -> str:
    """Return a Markdown table: ours, each peer or floor and our ratio to it, target, verdict."""
    lines = [
        "| what | ours | peer or floor | ours / theirs | target | met |",
        "|---|---|---|---|---|---|",
    ]
    for each in results:
        ours = "not measured" if each.value is None else _with_unit(each.value, each.unit)
        target = "" if each.target is None else _figure(each.target)
        met = {True: "yes", False: "no", None: ""}[each.met]
        for name, reference, ratio in _references(each):
            cells = (each.name, ours, f"{name}: {reference}" if name else "", ratio, target, met)
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _references(each: Result) -> list[tuple[str, str, str]]:
    """Return name, figure and ratio of each reference; one empty row if there is none."""
    return [
        (
            name,
            "not installed" if reference is None else _figure(reference),
            "" if each.value is None or not reference else f"{each.value / reference:.2f}",
        )
        for name, reference in each.references.items()
    ] or [("", "", "")]


def _with_unit(value: float, unit: str) -> str:
    return f"{_figure(value)} {unit}".rstrip()


def _figure(value: float) -> str:
    if value and abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:,.2f}" if abs(value) < 10 else f"{value:,.0f}"


def write_results(results: Iterable[Result], machine: Machine, path: Path) -> None:
    """Write machine and results as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**attrs.asdict(each), "met": each.met} for each in results]
    path.write_text(json.dumps({"machine": attrs.asdict(machine), "rows": rows}, indent=2) + "\n")


def write_page(results: Iterable[Result], machine: Machine, path: Path) -> None:
    """Write the page of the documentation that shows the table."""
    path.write_text(_PAGE.format(machine=machine, table=as_table(results)))


_PAGE = """# Benchmarks

Written by `make bench`, on: {machine}.

Peers and floors are measured in the same run on the same machine, so look at the ratios first: \
they move less than the figures from one machine to another. Gas is that of the committed \
snapshots, beside published figures. Rates (1/s) are better when larger, everything else when \
smaller. Peers come with `pip install -e '.[bench]'`.

![How many times better than peers, floors and targets](assets/benchmarks.svg)

{table}
"""
