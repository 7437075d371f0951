"""What a benchmark yields, how it is printed, and the file it is kept in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import attrs

__all__ = ["Result", "as_table", "write_results"]


@attrs.frozen(kw_only=True)
class Result:
    """One figure. ``references`` are the floor and the peers of the same run, or published."""

    name: str
    value: float
    unit: str
    target: float | None = None
    references: dict[str, float] = attrs.field(factory=dict)


def as_table(results: Iterable[Result]) -> str:
    """A Markdown table: ours, the target, each reference and our ratio to it."""
    lines = ["| what | ours | target | reference | ratio |", "|---|---|---|---|---|"]
    for each in results:
        target = "" if each.target is None else f"{each.target:,.0f}"
        ours = f"{each.value:,.0f} {each.unit}"
        if not each.references:
            lines.append(f"| {each.name} | {ours} | {target} | | |")
        for name, value in each.references.items():
            ratio = f"{each.value / value:.2f}"
            lines.append(f"| {each.name} | {ours} | {target} | {name}: {value:,.0f} | {ratio} |")
    return "\n".join(lines)


def write_results(results: Iterable[Result], path: Path) -> None:
    """Write the list of results as JSON."""
    path.write_text(json.dumps([attrs.asdict(each) for each in results], indent=2) + "\n")
