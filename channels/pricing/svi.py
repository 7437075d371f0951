"""Raw SVI: the smile of one expiry in five numbers, and what no arbitrage asks of it.

The total variance (vol squared times years) at k = ln(strike / forward) is

    w(k) = a + b (rho (k - m) + sqrt((k - m)**2 + sigma**2))

No butterfly can be had for less than nothing where g(k) >= 0 for every k, and no calendar spread
where the later of two expiries has the larger total variance at every k. Both conditions are
measured, not just answered: a `Slack` is positive by how much they hold, negative by how much they
fail.

Source: Gatheral and Jacquier, "Arbitrage-free SVI volatility surfaces", Quantitative Finance 14
(2014), sections 2 and 3; Lee, "The moment formula for implied volatility at extreme strikes",
Mathematical Finance 14 (2004), for the wings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import asinh, inf, isfinite, sinh, sqrt
from typing import Any, Final

import attrs

from channels.errors import InvalidValueError

__all__ = ["RawSvi", "Slack", "butterfly_slack", "calendar_slack", "svi_function"]

_REACH: Final = 1e3
"""Log-moneyness up to which a minimum is searched; beyond it the wings are straight."""

_STEPS: Final = 256
_EQUAL: Final = 1e-9
"""Wings that differ by this part of their slope are parallel."""
_GOLDEN: Final = (sqrt(5.0) - 1.0) / 2.0
_NARROWINGS: Final = 35
"""Of the distance between places, golden**35 is 5e-8, and the minimum exact to its square."""


@attrs.frozen(kw_only=True)
class Slack:
    """By how much a condition holds at the worst place: ``slack`` < 0 is arbitrage.

    ``at`` is that place as log-moneyness, infinite if it is the limit of a wing.
    """

    slack: float
    at: float


@attrs.frozen(kw_only=True)
class RawSvi:
    """Parameters of one expiry, its time included: w is vol squared times years.

    ``b`` is half the sum of the slopes of the wings, ``rho`` their tilt, ``m`` and ``sigma`` place
    and width of the bend.

    Raises:
        InvalidValueError: b < 0, |rho| > 1, sigma <= 0, anything not finite, or a total variance
            that is not positive at every k.

    >>> smile = RawSvi(a=0.01, b=0.1, rho=-0.3, m=0.0, sigma=0.2)
    >>> round(smile.total_variance(0.0), 12)
    0.03
    """

    a: float
    b: float
    rho: float
    m: float
    sigma: float

    def __attrs_post_init__(self) -> None:
        if not (
            all(map(isfinite, attrs.astuple(self)))
            and self.b >= 0.0
            and -1.0 <= self.rho <= 1.0
            and self.sigma > 0.0
            and self.minimum > 0.0
        ):
            raise InvalidValueError(
                f"no smile: {self}",
                next_step="b >= 0, |rho| <= 1, sigma > 0 and a + b sigma sqrt(1 - rho**2) > 0",
            )

    @property
    def minimum(self) -> float:
        """The least total variance of all strikes."""
        return self.a + self.b * self.sigma * sqrt(1.0 - self.rho * self.rho)

    @property
    def wings(self) -> tuple[float, float]:
        """Slopes of total variance far to the left and to the right; above 2 is arbitrage."""
        return self.b * (1.0 - self.rho), self.b * (1.0 + self.rho)

    # Log-moneyness may be a float or an array, and so is what comes back: hence Any.

    def total_variance(self, k: Any) -> Any:
        """Return w at log-moneyness ``k``."""
        x = k - self.m
        return self.a + self.b * (self.rho * x + (x * x + self.sigma * self.sigma) ** 0.5)

    def derivatives(self, k: Any) -> tuple[Any, Any, Any]:
        """Return w and its first and second derivative by k."""
        x = k - self.m
        root = (x * x + self.sigma * self.sigma) ** 0.5
        bend = self.sigma / root
        return (
            self.a + self.b * (self.rho * x + root),
            self.b * (self.rho + x / root),
            self.b * bend * bend / root,
        )

    def volatility(self, k: Any, years: float) -> Any:
        """Return the annual implied vol at log-moneyness ``k``, ``years`` to expiry."""
        return (self.total_variance(k) / years) ** 0.5

    def density_factor(self, k: Any) -> Any:
        """Return Gatheral's g(k): the risk-neutral density in units of the lognormal one.

        Of the terminal price, at strike and vol of k; negative where a butterfly is.
        """
        return svi_function(k, *self.derivatives(k))


def svi_function(k: Any, w: Any, slope: Any, curvature: Any) -> Any:
    """Return g(k) of any smile, from its total variance and the two derivatives of it.

    Source: Gatheral and Jacquier (2014), equation 2.1.
    """
    turned = 1.0 - 0.5 * k * slope / w
    return turned * turned - 0.25 * slope * slope * (1.0 / w + 0.25) + 0.5 * curvature


def butterfly_slack(svi: RawSvi) -> Slack:
    """Return the least g(k) over all k, limits at both ends included.

    Far out, where w grows like c |k|, g tends to (4 - c**2) / 16: Lee's bound c <= 2.

    >>> butterfly_slack(RawSvi(a=0.01, b=0.1, rho=-0.3, m=0.0, sigma=0.2)).slack > 0
    True
    """
    left, right = svi.wings
    limits = [
        Slack(slack=0.25 - slope * slope / 16.0 if slope > 0.0 else 1.0, at=end)
        for slope, end in ((left, -inf), (right, inf))
    ]
    lowest = _lowest(svi.density_factor, _places(svi))
    return min(lowest, *limits, key=lambda slack: slack.slack)


def calendar_slack(
    earlier: RawSvi, later: RawSvi, *, low: float = -inf, high: float = inf
) -> Slack:
    """Return the least of later less earlier total variance over ``low`` <= k <= ``high``.

    Where no bounds are given and a wing of the later smile is flatter, the smiles cross somewhere
    far out: the slack is then -inf, ``at`` the infinite end of that wing.

    Raises:
        InvalidValueError: ``low`` above ``high``.
    """
    if not low <= high:
        raise InvalidValueError(f"no log-moneyness is from {low} to {high}")
    for end, slopes in (
        (-inf, (earlier.wings[0], later.wings[0])),
        (inf, (earlier.wings[1], later.wings[1])),
    ):
        if end in (low, high) and slopes[1] < slopes[0] * (1.0 - _EQUAL):
            return Slack(slack=-inf, at=end)
    places = {min(max(k, low), high) for k in (*_places(earlier), *_places(later))}
    return _lowest(
        lambda k: float(later.total_variance(k) - earlier.total_variance(k)), sorted(places)
    )


def _places(svi: RawSvi) -> list[float]:
    """Return log-moneynesses, ascending, dense around the bend and sparse in the wings."""
    end = asinh((_REACH + abs(svi.m)) / svi.sigma)
    return [
        svi.m + svi.sigma * sinh(end * (2.0 * step / _STEPS - 1.0)) for step in range(_STEPS + 1)
    ]


def _lowest(function: Callable[[float], float], places: Iterable[float]) -> Slack:
    """Return the minimum next to the lowest of these places, by golden section."""
    points = list(places)
    values = [function(k) for k in points]
    best = values.index(min(values))
    low, high = points[max(best - 1, 0)], points[min(best + 1, len(points) - 1)]
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(_NARROWINGS):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = function(right)
    slack, at = min((values[best], points[best]), (at_left, left), (at_right, right))
    return Slack(slack=slack, at=at)
