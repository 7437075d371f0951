"""Forwards of every expiry from those the market shows, by the carry between them.

ln(forward / spot) is carry times years. It is interpolated linearly in time, so the forward carry
is constant between two expiries of the market, and from the spot to the first; beyond the last the
annual carry of the last goes on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import pairwise
from math import exp, inf, log

import attrs

from channels.errors import InvalidValueError
from channels.units import YEAR

__all__ = ["CarryCurve"]


def _nodes(nodes: Iterable[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    return tuple((int(expiry), float(forward)) for expiry, forward in nodes)


@attrs.frozen(kw_only=True)
class CarryCurve:
    """Spot at one time, Unix seconds, and forwards ``(expiry, price)`` of later ones, ascending.

    Without any forward the carry is 0.

    Raises:
        InvalidValueError: a price that is not positive and finite, or expiries out of order.

    >>> curve = CarryCurve(at=0, spot=100.0, forwards=[(31_536_000, 105.0)])
    >>> round(curve.carry(15_768_000), 6)
    0.04879
    """

    at: int
    spot: float
    forwards: tuple[tuple[int, float], ...] = attrs.field(converter=_nodes, default=())

    def __attrs_post_init__(self) -> None:
        times = (self.at, *(expiry for expiry, _ in self.forwards))
        prices = (self.spot, *(forward for _, forward in self.forwards))
        if not all(0.0 < price < inf for price in prices):
            raise InvalidValueError(f"prices are positive and finite, not {prices}")
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise InvalidValueError(f"expiries ascend and are later than {self.at}: {times[1:]}")

    def growth(self, expiry: int) -> float:
        """Return ln(forward / spot) of any expiry; 0 once it has passed."""
        if expiry <= self.at or not self.forwards:
            return 0.0
        index = bisect_left(self.forwards, expiry, key=lambda node: node[0])
        if index == len(self.forwards):
            last, forward = self.forwards[-1]
            return log(forward / self.spot) * (expiry - self.at) / (last - self.at)
        before, low = self.forwards[index - 1] if index else (self.at, self.spot)
        after, high = self.forwards[index]
        part = (expiry - before) / (after - before)
        return (1.0 - part) * log(low / self.spot) + part * log(high / self.spot)

    def forward(self, expiry: int) -> float:
        """Return the forward of any expiry; the spot once it has passed."""
        return self.spot * exp(self.growth(expiry))

    def carry(self, expiry: int) -> float:
        """Return the annual carry from spot to forward, 0 once the expiry has passed."""
        return self.growth(expiry) * YEAR / (expiry - self.at) if expiry > self.at else 0.0
