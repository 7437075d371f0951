"""The margins of a portfolio, worked out once: when it is built, proposed, signed and watched."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from channels.pricing import MarginModel, Margins
from channels.protocol.types import Portfolio

__all__ = ["margins_of", "remember_margins"]

_MOST: Final = 4_096
_KNOWN: Final[OrderedDict[tuple[bytes, int, MarginModel], Margins]] = OrderedDict()


def margins_of(portfolio: Portfolio, unit: int, model: MarginModel) -> Margins:
    """Both parties' margins of ``portfolio`` at its own marks.

    Raises:
        MarginError, PricingDomainError, InvalidValueError: as the model's.
    """
    key = (portfolio.struct_hash, unit, model)
    known = _KNOWN.get(key)
    if known is None:
        known = model.requirements(portfolio.positions, portfolio.spots, portfolio.marked_at, unit)
        remember_margins(portfolio, unit, model, known)
    return known


def remember_margins(portfolio: Portfolio, unit: int, model: MarginModel, margins: Margins) -> None:
    """Keep what was just worked out for ``portfolio``; the oldest of many is forgotten."""
    _KNOWN[portfolio.struct_hash, unit, model] = margins
    if len(_KNOWN) > _MOST:
        _KNOWN.popitem(last=False)
