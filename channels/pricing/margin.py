"""Margin: what a party's equity must cover to trade, and to stay out of default.

A model is a pure function of what a state signs - positions, spots, marks' time, unit - and of the
parameters it was built with, so both parties and the contract compute the same integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import attrs

from channels.errors import MarginError, PricingDomainError
from channels.pricing.losses import BucketLoss, largest_losses
from channels.pricing.portfolio import PositionLike, SpotLike, portfolio_value
from channels.units import from_wad

__all__ = ["LargestLossMargin", "MarginModel", "Margins"]

_MAX_MARGIN: Final = 2**128 - 1


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


@attrs.frozen(kw_only=True)
class LargestLossMargin:
    """Full collateral: each party can pay the worst outcome of every bucket from its cash.

    A party's margin is the value of its positions, rounded down as in its equity, plus the sum of
    its buckets' largest losses rounded up, and at least 0. As equity is cash plus the same value,
    equity >= margin says that cash covers the largest possible loss. Initial and maintenance
    margin are equal. Risk.md's item 7 caps every other model at this figure.

    >>> LargestLossMargin().requirements([], [], 0, 10**6).initial_a
    0
    """

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
            MarginError: a bucket's loss has no bound; the message says which and what closes it.
        """
        value = portfolio_value(positions, spots, marked_at, unit)
        value_a, value_b = value.value_rounded_down_a, value.value_rounded_down_b
        losses_a = losses_b = 0
        for bucket in largest_losses(positions, unit):
            if bucket.loss_a is None or bucket.loss_b is None:
                raise _unbounded(bucket)
            losses_a += bucket.loss_a
            losses_b += bucket.loss_b
        margin_a, margin_b = max(0, value_a + losses_a), max(0, value_b + losses_b)
        if max(margin_a, margin_b) > _MAX_MARGIN:
            raise PricingDomainError("a margin does not fit 128 bits")
        return Margins(
            initial_a=margin_a,
            initial_b=margin_b,
            maintenance_a=margin_a,
            maintenance_b=margin_b,
            value_a=value_a,
            value_b=value_b,
        )


def _unbounded(bucket: BucketLoss) -> MarginError:
    party, other = ("A", "B") if bucket.net_upside < 0 else ("B", "A")
    units = f"{from_wad(abs(bucket.net_upside)):f}"
    return MarginError(
        f"party {party}'s loss in {bucket.name} has no bound: it is short {units} units of upside",
        next_step=f"let {party} buy {units} calls of that expiry from {other}, at any strike, "
        f"in the same trade",
    )
