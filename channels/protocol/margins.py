"""The margins and the value of a portfolio, each worked out once."""

from __future__ import annotations

from channels.pricing import MarginModel, Margins, portfolio_value
from channels.protocol.types import Portfolio

__all__ = ["margins_of", "remember_margins", "share_margins", "values_of"]


def margins_of(portfolio: Portfolio, unit: int, model: MarginModel) -> Margins:
    """Both parties' margins of ``portfolio`` at its own marks.

    Raises:
        MarginError, PricingDomainError, InvalidValueError: as the model's.
    """
    known: Margins | None = portfolio.worked_out.get((model, unit))
    if known is None:
        known = model.requirements(portfolio.positions, portfolio.spots, portfolio.marked_at, unit)
        remember_margins(portfolio, unit, model, known)
    return known


def remember_margins(portfolio: Portfolio, unit: int, model: MarginModel, margins: Margins) -> None:
    """Keep what was just worked out for ``portfolio``, the values the margins rest on included."""
    known = portfolio.worked_out
    known[model, unit] = margins
    known["values", unit] = (margins.value_a, margins.value_b)


def share_margins(portfolio: Portfolio, equal: Portfolio) -> None:
    """Keep for ``portfolio`` what is known of one that is ``equal`` to it."""
    portfolio.worked_out.update(equal.worked_out)


def values_of(portfolio: Portfolio, unit: int) -> tuple[int, int]:
    """What the positions are worth to A and to B at the portfolio's own marks, rounded down.

    Raises:
        InvalidValueError, PricingDomainError: as `channels.pricing.portfolio_value`.
    """
    known: tuple[int, int] | None = portfolio.worked_out.get(("values", unit))
    if known is None:
        value = portfolio_value(portfolio.positions, portfolio.spots, portfolio.marked_at, unit)
        known = value.value_rounded_down_a, value.value_rounded_down_b
        portfolio.worked_out["values", unit] = known
    return known
