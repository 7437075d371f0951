"""Portfolios that a desk's tests speak of, made by the protocol's own changes."""

from __future__ import annotations

from channels.protocol.changes import Change, Trade, apply
from channels.protocol.types import EMPTY_PORTFOLIO, Portfolio
from tests.protocol.build import MODEL, T0, UNIT, make_marks


def after(
    change: Change, before: Portfolio = EMPTY_PORTFOLIO, *, at: int = T0, **marks: int
) -> Portfolio:
    """What ``change`` makes of ``before`` at these marks."""
    return apply(change, before, make_marks(before, change, at, **marks), UNIT, MODEL)


def premium_of(change: Change) -> int:
    """What A pays for it, base units."""
    return change.premium if isinstance(change, Trade) else 0
