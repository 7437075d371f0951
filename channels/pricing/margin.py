"""Margin: what a party's equity must cover to trade, and to stay out of default.

A model is a pure function of what a state signs - positions, spots, marks' time, unit - and of the
parameters it was built with, so both parties and the contract compute the same integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

from channels.pricing.portfolio import PositionLike, SpotLike

__all__ = ["MarginModel", "Margins"]


@attrs.frozen(kw_only=True)
class Margins:
    """Requirements of both parties in collateral units, rounded up, and the values they rest on.

    A party's equity is its cash plus its value here; it may trade while equity >= initial, and is
    in default when equity < maintenance.
    """

    initial_a: int
    initial_b: int
    maintenance_a: int
    maintenance_b: int
    value_a: int
    value_b: int


class MarginModel(Protocol):
    """How margins follow from a state. A model with parameters takes them at construction."""

    def requirements(
        self,
        positions: Sequence[PositionLike],
        spots: Sequence[SpotLike],
        marked_at: int,
        unit: int,
    ) -> Margins:
        """Return both parties' margins of these positions at these marks.

        Raises:
            InvalidValueError: a feed without spot, or with two.
            PricingDomainError: an input out of the pricing domain.
            MarginError: this model has no finite requirement for these positions.
        """
