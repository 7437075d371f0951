"""Implied volatility of one option: a number with a status, never a guess.

The price is reduced to the time value of the out-of-the-money option; an explicit formula gives
the vol within 12 %, and exactly two steps of Householder's fourth-order method make it exact: the
relative error is below 4 (1 + condition) units of 2.2e-16, the condition being d ln vol / d ln
price, or what the price's own rounding leaves of it.

With b the time value by the root of forward times strike, s = vol * sqrt(years), and the objective
solved for in brackets: below the inflection of b(s), where b is flat, [1 / ln b]; in the middle
[b]; above 0.6 of its maximum, where it is flat again, [the logarithm of what is missing].

Source: Stefanica and Radoicic, "An explicit implied volatility formula", Int. J. Theoretical and
Applied Finance 20 (2017), for the start; Jäckel, "Let's be rational", Wilmott (2015), for the
objectives and the method.
"""

from __future__ import annotations

from enum import IntEnum
from math import expm1, inf, log, log1p, nan, pi, sinh, sqrt
from typing import Final, NamedTuple

from channels.pricing.householder import lower_step, middle_step, upper_step
from channels.pricing.mills import deep_ratio, far_ratio, near_ratio

__all__ = ["ImpliedVol", "VolStatus", "implied_vol"]


class VolStatus(IntEnum):
    """What became of an implied vol; anything but OK goes with a vol of NaN."""

    OK = 0
    BELOW_INTRINSIC = 1
    """The price is below the option's intrinsic value."""
    ABOVE_MAXIMUM = 2
    """The price is above its limit for infinite vol: forward for a call, strike for a put."""
    UNRESOLVABLE = 3
    """Within its own rounding the price is its bound: any low (or high) enough vol explains it."""
    INVALID = 4
    """No option: not a call or put, or an argument not positive, not finite, or not a number."""


class ImpliedVol(NamedTuple):
    """Annual vol (0.65 is 65 %), and whether there is one: NaN unless ``status`` is OK."""

    vol: float
    status: VolStatus


MAX_LOG: Final = 300.0
"""Forwards and strikes further apart than exp of this are UNRESOLVABLE."""

LEAST: Final = 1e-305
"""Time values below this, or this part of the smaller of forward and strike, are UNRESOLVABLE."""

LEAST_GAP: Final = 1e-15
LEAST_NEAR: Final = 1e-75
"""Forward and strike closer than the first, relatively, time values below the second part of them
are UNRESOLVABLE: the squares that the start is made of are no doubles."""

ROUNDING: Final = 2.0**-51
"""Two units in the last place: what must be left of a price besides its bound."""

UPPER: Final = 0.6
"""Part of the maximum above which what is missing is solved for."""

NEAR_LOG: Final = 1.2
NEAR_S: Final = 0.5
"""Bounds of x and s for the near formula; it is more exact than the far one while both hold."""

START_K: Final = 1.0 - 2.0 / pi
START_M: Final = 0.5 * (4.0 / pi - 1.0)
START_E: Final = -4.0 / pi
HALF_PI: Final = 0.5 * pi
SQRT_2PI: Final = sqrt(2.0 * pi)


def implied_vol(kind: int, price: float, forward: float, strike: float, years: float) -> ImpliedVol:
    """Return the vol at which a call or put has this undiscounted price, with a status.

    Never raises: what has no answer has a status that says why.

    >>> from channels.pricing.kinds import Kind
    >>> round(implied_vol(Kind.CALL, 7.965567455405796, 100.0, 100.0, 1.0).vol, 14)
    0.2
    >>> implied_vol(Kind.CALL, 1.0, 110.0, 100.0, 1.0).status.name
    'BELOW_INTRINSIC'
    """
    high, low = (forward, strike) if forward > strike else (strike, forward)
    if not (0.0 < low <= high < inf and 0.0 < years < inf and -inf < price < inf):
        return _INVALID
    if kind == _CALL:
        value, missing = price - (high - strike), forward - price
    elif kind == _PUT:
        value, missing = price - (high - forward), strike - price
    else:
        return _INVALID
    if value < 0.0:
        return _BELOW
    if missing < 0.0:
        return _ABOVE
    gap = (high - low) / low
    x = log1p(gap)
    rounding = ROUNDING * price
    if value < LEAST * max(low, 1.0) or missing <= rounding or value <= rounding or x > MAX_LOG:
        return _UNRESOLVABLE
    part, lack = value / low, missing / low
    if part < LEAST_NEAR and gap < LEAST_GAP:
        return _UNRESOLVABLE
    s, below = _start(x, part, lack, low / high, (high - low) / high)
    if part > UPPER:
        s = _upper(x, _upper(x, s, lack), lack)
    else:
        sinhc = gap / (x * sqrt(1.0 + gap)) if gap > 0.0 else 1.0
        step = _lower if below else _middle
        s = step(x, step(x, s, part, sinhc), part, sinhc)
    return ImpliedVol(s / sqrt(years), VolStatus.OK)


_CALL: Final = 0
_PUT: Final = 1
_INVALID: Final = ImpliedVol(nan, VolStatus.INVALID)
_BELOW: Final = ImpliedVol(nan, VolStatus.BELOW_INTRINSIC)
_ABOVE: Final = ImpliedVol(nan, VolStatus.ABOVE_MAXIMUM)
_UNRESOLVABLE: Final = ImpliedVol(nan, VolStatus.UNRESOLVABLE)


def _start(x: float, part: float, lack: float, q: float, rest: float) -> tuple[float, bool]:
    """Return s within 12 %, and whether it is below the inflection, sqrt(2 x).

    ``part`` is the time value and ``lack`` what it lacks, by L; q = L/H and rest = 1 - q. It is
    N(d) approximated by (1 + sqrt(1 - exp(-2 d**2 / pi))) / 2 and solved for s, the quadratic
    equation for exp(-2 g / pi), g = x**2 / s**2 + s**2 / 4, arranged so that nothing cancels.
    """
    w = part * (rest + q * part)
    sinh_k = sinh(START_K * x)
    cosh_k_less_1 = 2.0 * sinh(0.5 * START_K * x) ** 2
    square = 4.0 * sinh_k * sinh_k
    product = 16.0 * sinh(0.5 * x) * sinh(START_M * x)
    linear = product + 16.0 * w * (1.0 + cosh_k_less_1)
    constant = 16.0 * w * lack * (1.0 + q * part)
    root = sqrt(linear * linear + 4.0 * square * constant)
    power = 2.0 * constant / (linear + root)
    if power < 0.5:
        g = -HALF_PI * log(power)
    else:
        less = square + product + 16.0 * w * (cosh_k_less_1 + w)
        g = -HALF_PI * log1p(-2.0 * less / (2.0 * square + linear + root))
    upper = sqrt(g + x)
    lower = sqrt(g - x) if g > x else 0.0
    split = -expm1(START_E * x)
    if 2.0 * part * q * (sqrt(split) + rest) < split - rest * rest:
        return 2.0 * x / (upper + lower), True
    return upper + lower, False


def _ratio(x: float, s: float, sinhc: float) -> float:
    if x < NEAR_LOG and s < NEAR_S:
        return near_ratio(x, s, sinhc)
    return far_ratio(x / s, 0.5 * s)


def _lower(x: float, s: float, part: float, sinhc: float) -> float:
    ratio = _ratio(x, s, sinhc)
    excess = _log_excess(x, s, part / ratio)
    return float(lower_step(x, s, ratio, excess, log(part) - 0.5 * x))


def _middle(x: float, s: float, part: float, sinhc: float) -> float:
    ratio = _ratio(x, s, sinhc)
    return float(middle_step(x, s, ratio, expm1(_log_excess(x, s, part / ratio))))


def _upper(x: float, s: float, lack: float) -> float:
    ratio = deep_ratio(x / s, 0.5 * s)
    return float(upper_step(x, s, ratio, _log_excess(x, s, lack / ratio)))


def _log_excess(x: float, s: float, wanted: float) -> float:
    """Return ln(wanted / vega), both by L: one logarithm, of what is near 1 near the money."""
    h = x / s
    return log(SQRT_2PI * wanted) + 0.5 * (h * h + 0.25 * s * s - x)
