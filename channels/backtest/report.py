"""What the observations say: misses, medians, shortfalls; and the files they are written to."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Final

import attrs

from channels.backtest.run import Observation

__all__ = [
    "Coverage",
    "coverage",
    "coverage_csv",
    "families",
    "is_miss",
    "observations_csv",
    "write_all",
]

_TOLERANCE: Final = 1e-6
"""Of the spot: less is rounding, or the dust of options that are worth nothing."""


@attrs.frozen(kw_only=True)
class Coverage:
    """How one model did over one horizon.

    A miss is a portfolio that lost more than its initial margin. ``median_margin``,
    ``mean_margin`` and ``worst_shortfall`` (the greatest loss beyond a margin) are fractions of the
    spot at the start.
    """

    model: str
    hours: int
    portfolios: int
    misses: int
    median_margin: float
    mean_margin: float
    worst_shortfall: float

    @property
    def miss_rate(self) -> float:
        """Misses as a fraction of the portfolios."""
        return self.misses / self.portfolios if self.portfolios else 0.0


def is_miss(loss: float, margin: float, spot: float) -> bool:
    """Say whether a loss is beyond a margin, by more than a millionth of the spot."""
    return loss > margin + _TOLERANCE * spot


def coverage(
    observations: Sequence[Observation], models: Sequence[str], horizons: Sequence[int]
) -> list[Coverage]:
    """Return a row for each model and horizon, in their order; without observations, none."""
    rows = []
    for model, name in enumerate(models):
        for horizon, hours in enumerate(horizons):
            seen = [
                (loss, each.margins[model], each.spot)
                for each in observations
                if (loss := each.losses[horizon]) is not None
            ]
            if not seen:
                continue
            relative = [margin / spot for _, margin, spot in seen]
            missed = [
                (loss - margin) / spot for loss, margin, spot in seen if is_miss(loss, margin, spot)
            ]
            rows.append(
                Coverage(
                    model=name,
                    hours=hours,
                    portfolios=len(seen),
                    misses=len(missed),
                    median_margin=median(relative),
                    mean_margin=sum(relative) / len(relative),
                    worst_shortfall=max(missed, default=0.0),
                )
            )
    return rows


def families(
    observations: Iterable[Observation], models: Sequence[str], horizons: Sequence[int]
) -> dict[tuple[str, str], list[Coverage]]:
    """Return the same for each kind of portfolio by itself: (family, side) in alphabetic order."""
    groups: dict[tuple[str, str], list[Observation]] = {}
    for each in observations:
        groups.setdefault((each.family, each.side), []).append(each)
    return {key: coverage(groups[key], models, horizons) for key in sorted(groups)}


def coverage_csv(groups: Iterable[tuple[str, str, Sequence[Coverage]]]) -> str:
    """Return a table of (family, side, rows): one line for each row, fractions as they are."""
    fields = [field.name for field in attrs.fields(Coverage)]
    lines = [
        [family, side, *(getattr(row, name) for name in fields), row.miss_rate]
        for family, side, rows in groups
        for row in rows
    ]
    return _csv(["family", "side", *fields, "miss_rate"], lines)


def observations_csv(
    observations: Iterable[Observation], models: Sequence[str], horizons: Sequence[int]
) -> str:
    """Return one line an observation, in the currency of the strikes; an unknown loss is empty."""
    head = [
        *("market", "time", "portfolio", "family", "side", "spot", "value"),
        *(f"margin {name}" for name in models),
        *(f"loss {hours} h" for hours in horizons),
    ]
    lines = [
        [
            each.market,
            datetime.fromtimestamp(each.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            *(each.portfolio, each.family, each.side),
            *(f"{figure:.6f}" for figure in (each.spot, each.value, *each.margins)),
            *("" if loss is None else f"{loss:.6f}" for loss in each.losses),
        ]
        for each in observations
    ]
    return _csv(head, lines)


def _csv(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(lines)
    return text.getvalue()


def write_all(files: dict[Path, bytes]) -> None:
    """Write files so that each is there whole or, if this is interrupted, is as it was.

    Folders are made. All are written beside their places first, and put there at the end.

    Raises:
        OSError: one cannot be written.
    """
    ready: list[tuple[str, Path]] = []
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            ready.append((temporary, path))
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
        for temporary, path in ready:
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
    finally:
        for temporary, _ in ready:
            Path(temporary).unlink(missing_ok=True)
