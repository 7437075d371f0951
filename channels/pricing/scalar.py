"""Black-76 in floats, one option at a time: prices and Greeks for trading, never for signing.

Units: ``vol`` is annual (0.65 is 65 %), ``years`` the time to expiry in years of 365 days, prices
of forward, spot and strike in one currency of your choice. Undiscounted, European.

A price is the intrinsic value plus the time value of the out-of-the-money option, so put-call
parity holds to the last digit, and far from the money no digit is lost: relative error below 5e-13
for ln(F/K) from -3 to 3, vol * sqrt(years) from 1e-3 to 5 and out-of-the-money prices above 1e-300.

Source: Black, "The pricing of commodity contracts", J. Financial Economics 3 (1976); Haug, "The
Complete Guide to Option Pricing Formulas", 2nd edition (2007), chapters 1, 2 and 4.
"""

from __future__ import annotations

from math import copysign, exp, inf, log1p, sqrt
from typing import TYPE_CHECKING, Final

from channels.errors import InvalidValueError
from channels.pricing.mills import (
    DEEP,
    INV_SQRT_2PI,
    SMALL,
    deep_ratio,
    far_ratio,
    near_ratio,
    normal,
)

if TYPE_CHECKING:
    from channels.pricing.greeks import Greeks

__all__ = ["greeks", "price"]

_CALL: Final = 0
_PUT: Final = 1
_DIGITAL_CALL: Final = 2
_DIGITAL_PUT: Final = 3
_FORWARD: Final = 4

_LEAST_EXPONENT: Final = -746.0
_LARGEST_EXPONENT: Final = 709.0
"""Beyond these exp is 0, and no double."""


def price(kind: int, forward: float, strike: float, vol: float, years: float) -> float:
    """Return the undiscounted price of one unit; signed for a forward, else never negative.

    ``kind`` is a `channels.pricing.Kind`. At ``years <= 0`` or ``vol == 0`` it is the payoff at
    ``forward``.

    Raises:
        InvalidValueError: unknown kind, forward or strike not positive and finite, vol negative or
            infinite, or anything not a number.

    >>> from channels.pricing import Kind
    >>> round(price(Kind.CALL, 100.0, 100.0, 0.2, 1.0), 12)
    7.965567455406
    """
    high, low = (forward, strike) if forward > strike else (strike, forward)
    variance = vol * vol * years
    if not (0.0 < low <= high < inf and vol >= 0.0 and variance < inf):
        raise _invalid(forward, strike, vol, years)
    if kind == _CALL:
        return high - strike + time_value(high, low, variance)
    if kind == _PUT:
        return high - forward + time_value(high, low, variance)
    if kind == _FORWARD:
        return forward - strike
    if kind in (_DIGITAL_CALL, _DIGITAL_PUT):
        return _digital(kind, forward, strike, variance)
    raise InvalidValueError(f"kind {kind} is none of the five of channels.pricing.Kind")


def greeks(
    kind: int, spot: float, strike: float, vol: float, years: float, carry: float = 0.0
) -> Greeks[float]:
    """Return the price of one unit and its eight Greeks; their units: `channels.pricing.Greeks`.

    The forward is ``spot * exp(carry * years)``; leave ``carry`` out and ``spot`` is the forward.
    Without time value (expired, or no vol) delta is the payoff's slope, 0 at the strike, and
    gamma, vega, vanna and volga are 0.

    Raises:
        InvalidValueError: as `price`; spot, carry or the forward not finite.

    >>> from channels.pricing import Kind
    >>> g = greeks(Kind.CALL, 100.0, 100.0, 0.2, 1.0)
    >>> round(g.delta, 12), round(g.vega, 10)
    (0.539827837277, 39.6952547477)
    """
    from channels.pricing.greeks import digital_greeks, linear_greeks, option_greeks

    if years <= 0.0:
        years = carry = 0.0
    forward = spot * _growth(carry * years)
    value = price(kind, forward, strike, vol, years)
    variance = vol * vol * years
    if variance <= 0.0 or kind == _FORWARD:
        slope = _slope(kind, forward, strike)
        return linear_greeks(
            price=value, slope=slope, spot=spot, forward=forward, years=years, carry=carry
        )
    s = sqrt(variance)
    distance, t = _log_ratio(forward, strike) / s, 0.5 * s
    d1, d2 = distance + t, distance - t
    if kind in (_CALL, _PUT):
        delta = normal(d1) if kind == _CALL else -normal(-d1)
        return option_greeks(
            price=value,
            delta=delta * forward / spot,
            density=INV_SQRT_2PI * forward * exp(-0.5 * d1 * d1),
            d1=d1,
            d2=d2,
            s=s,
            spot=spot,
            vol=vol,
            years=years,
            carry=carry,
        )
    return digital_greeks(
        price=value,
        sign=1.0 if kind == _DIGITAL_CALL else -1.0,
        density=INV_SQRT_2PI * exp(-0.5 * d2 * d2),
        d1=d1,
        d2=d2,
        s=s,
        spot=spot,
        vol=vol,
        years=years,
        carry=carry,
    )


def _growth(exponent: float) -> float:
    """Return exp, infinite where it overflows: `price` refuses the forward then."""
    return exp(exponent) if exponent < _LARGEST_EXPONENT else inf


def _slope(kind: int, forward: float, strike: float) -> float:
    if kind == _CALL:
        return 1.0 if forward > strike else 0.0
    if kind == _PUT:
        return -1.0 if forward < strike else 0.0
    return 1.0 if kind == _FORWARD else 0.0


def time_value(high: float, low: float, variance: float) -> float:
    """Return the price of the out-of-the-money option on ``high`` and ``low``, either way round.

    ``variance`` is vol**2 * years. The arguments are not checked: 0 < low <= high.
    """
    if variance <= 0.0:
        return 0.0
    gap = (high - low) / low
    x = log1p(gap)
    s = sqrt(variance)
    exponent = -0.5 * (x * x / variance + 0.25 * variance)
    h, t = x / s, 0.5 * s
    if exponent < _LEAST_EXPONENT:
        return 0.0 if h >= t else low
    root = sqrt(1.0 + gap)
    vega = INV_SQRT_2PI * low * root * exp(exponent)
    if x + s < SMALL:
        return vega * near_ratio(x, s, gap / (x * root) if gap > 0.0 else 1.0)
    if h - t >= DEEP:
        return vega * far_ratio(h, t)
    return low - vega * deep_ratio(h, t)


def _digital(kind: int, forward: float, strike: float, variance: float) -> float:
    if variance <= 0.0:
        return float((forward >= strike) == (kind == _DIGITAL_CALL))
    s = sqrt(variance)
    d2 = _log_ratio(forward, strike) / s - 0.5 * s
    return normal(d2) if kind == _DIGITAL_CALL else normal(-d2)


def _log_ratio(forward: float, strike: float) -> float:
    """Return ln(F/K) with all its digits, near the money too."""
    high, low = (forward, strike) if forward > strike else (strike, forward)
    return copysign(log1p((high - low) / low), forward - strike)


def _invalid(forward: float, strike: float, vol: float, years: float) -> InvalidValueError:
    return InvalidValueError(
        f"no price for forward {forward}, strike {strike}, vol {vol}, {years} years",
        next_step="forward and strike are positive and finite, vol is not negative",
    )
