"""The margins and the value of a portfolio, each worked out once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, TypeVar

from channels.pricing import MarginModel, Margins, portfolio_value
from channels.protocol.types import Portfolio

__all__ = ["margins_of", "remember_margins", "values_of"]

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class _Newest(OrderedDict[_Key, _Value]):
    """What was worked out last; the oldest of many is forgotten."""

    MOST: Final = 4_096

    def keep(self, key: _Key, value: _Value) -> None:
        self[key] = value
        if len(self) > self.MOST:
            self.popitem(last=False)


_MARGINS: Final[_Newest[tuple[bytes, int, MarginModel], Margins]] = _Newest()
_VALUES: Final[_Newest[tuple[bytes, int], tuple[int, int]]] = _Newest()


def margins_of(portfolio: Portfolio, unit: int, model: MarginModel) -> Margins:
    """Both parties' margins of ``portfolio`` at its own marks.

    Raises:
        MarginError, PricingDomainError, InvalidValueError: as the model's.
    """
    known = _MARGINS.get((portfolio.struct_hash, unit, model))
    if known is None:
        known = model.requirements(portfolio.positions, portfolio.spots, portfolio.marked_at, unit)
        remember_margins(portfolio, unit, model, known)
    return known


def remember_margins(portfolio: Portfolio, unit: int, model: MarginModel, margins: Margins) -> None:
    """Keep what was just worked out for ``portfolio``, the values the margins rest on included."""
    identity = portfolio.struct_hash
    _MARGINS.keep((identity, unit, model), margins)
    _VALUES.keep((identity, unit), (margins.value_a, margins.value_b))


def values_of(portfolio: Portfolio, unit: int) -> tuple[int, int]:
    """What the positions are worth to A and to B at the portfolio's own marks, rounded down.

    Raises:
        InvalidValueError, PricingDomainError: as `channels.pricing.portfolio_value`.
    """
    key = (portfolio.struct_hash, unit)
    known = _VALUES.get(key)
    if known is None:
        value = portfolio_value(portfolio.positions, portfolio.spots, portfolio.marked_at, unit)
        known = value.value_rounded_down_a, value.value_rounded_down_b
        _VALUES.keep(key, known)
    return known
