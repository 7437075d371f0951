"""What became of each mutant: kept as JSON while it goes, shown as Markdown at the end."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tools.mutation.operators import OPERATORS, Mutant

KILLED: Final = "killed"
SURVIVED: Final = "survived"
STILLBORN: Final = "stillborn"
"""Does not compile, or compiles to the same code: says nothing about the tests."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Of one mutant."""

    key: str
    file: str
    operator: str
    line: int
    source: str
    original: str
    replacement: str
    verdict: str
    detail: str
    """The test that killed it, or why it is stillborn."""
    seconds: float
    """Processor time."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a survivor changes nothing that anybody could test."""

    file: str
    operator: str
    source: str
    why: str
    change: str = ""
    """Original and replacement, ``a -> b``, where a line has several mutants of one operator."""

    def covers(self, outcome: Outcome) -> bool:
        """Whether it is about this mutant."""
        place = (self.file, self.operator, self.source)
        if place != (outcome.file, outcome.operator, outcome.source):
            return False
        return self.change in ("", f"{outcome.original} -> {outcome.replacement}")


def outcome_of(mutant: Mutant, verdict: str, detail: str, seconds: float) -> Outcome:
    """Put together what is known of a mutant."""
    return Outcome(
        key=mutant.key,
        file=mutant.file,
        operator=mutant.operator,
        line=mutant.line,
        source=mutant.source,
        original=mutant.original,
        replacement=mutant.replacement,
        verdict=verdict,
        detail=detail,
        seconds=round(seconds, 1),
    )


def read_explanations(path: Path) -> list[Explanation]:
    """Explanations of a TOML file, tables ``[[explained]]``; none if it does not exist.

    Raises:
        ValueError: one is incomplete or gives no reason.
    """
    if not path.exists():
        return []
    entries = tomllib.loads(path.read_text()).get("explained", [])
    try:
        explanations = [Explanation(**entry) for entry in entries]
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error
    for explanation in explanations:
        if not explanation.why.strip():
            raise ValueError(f"{path}: no reason for {explanation.source!r}")
    return explanations


def read_outcomes(path: Path) -> tuple[str, list[Outcome]]:
    """Digest of the tree that was tested, and the outcomes so far."""
    if not path.exists():
        return "", []
    stored = json.loads(path.read_text())
    return stored["tree"], [Outcome(**outcome) for outcome in stored["outcomes"]]


def write_outcomes(path: Path, tree: str, outcomes: Iterable[Outcome]) -> None:
    """Store everything; the file is whole at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"tree": tree, "outcomes": [asdict(each) for each in outcomes]}, indent=1)
    fresh = path.with_suffix(".new")
    fresh.write_text(text + "\n")
    fresh.replace(path)


def unexplained(outcomes: Iterable[Outcome], explanations: Sequence[Explanation]) -> list[Outcome]:
    """Survivors that nobody has a reason for."""
    survivors = [outcome for outcome in outcomes if outcome.verdict == SURVIVED]
    return [each for each in survivors if not any(reason.covers(each) for reason in explanations)]


def markdown(outcomes: Sequence[Outcome], explanations: Sequence[Explanation]) -> str:
    """The report: by file, by operator, and every survivor."""
    parts = ["# Mutants of the contracts\n"]
    parts += _table("file", [each.file for each in outcomes], outcomes, explanations)
    names = [name for name in OPERATORS if any(each.operator == name for each in outcomes)]
    parts += _table("operator", names, outcomes, explanations)
    open_ones = unexplained(outcomes, explanations)
    parts.append(f"## Survivors without an explanation: {len(open_ones)}\n")
    parts += [_item(outcome) for outcome in open_ones]
    parts.append("\n## Survivors explained\n")
    for outcome in outcomes:
        if outcome.verdict == SURVIVED and outcome not in open_ones:
            why = next(reason.why for reason in explanations if reason.covers(outcome))
            parts.append(f"{_item(outcome)}: {why.strip()}")
    return "\n".join(parts) + "\n"


def _table(
    column: str, names: Sequence[str], outcomes: Sequence[Outcome], reasons: Sequence[Explanation]
) -> list[str]:
    lines = [
        f"| {column} | killed | survived | of them explained | stillborn | CPU s a mutant |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name in dict.fromkeys(names):
        ours = [each for each in outcomes if getattr(each, column) == name]
        count = Counter(each.verdict for each in ours)
        explained = count[SURVIVED] - len(unexplained(ours, reasons))
        pace = sum(each.seconds for each in ours) / len(ours)
        cells = (count[KILLED], count[SURVIVED], explained, count[STILLBORN], f"{pace:.1f}")
        lines.append(f"| {name} | " + " | ".join(map(str, cells)) + " |")
    return [*lines, ""]


def _item(outcome: Outcome) -> str:
    change = f"`{_short(outcome.original)}` -> `{_short(outcome.replacement) or ' '}`"
    return f"- {outcome.file}:{outcome.line} {outcome.operator}: {change} in `{outcome.source}`"


def _short(text: str) -> str:
    return " ".join(text.split())[:100]
