"""Black-76 from its textbook formula in multi-precision: what the engine is held against."""

from __future__ import annotations

from typing import Any

import mpmath

DIGITS = 110
"""Enough for 50 digits of the smallest difference of two terms of 39 digits each, and more."""

WAD = 10**18
YEAR = 31_536_000


def _normal(x: Any) -> Any:
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def exact_price(kind: int, forward: int, strike: int, vol: int, tau: int) -> Any:
    """Price in WAD as a multi-precision number, for tau > 0 and vol > 0."""
    with mpmath.workdps(DIGITS):
        f, k = mpmath.mpf(forward), mpmath.mpf(strike)
        if kind == 4:
            return f - k
        s = mpmath.mpf(vol) / WAD * mpmath.sqrt(mpmath.mpf(tau) / YEAR)
        d1 = mpmath.log(f / k) / s + s / 2
        d2 = mpmath.log(f / k) / s - s / 2
        match kind:
            case 0:
                return f * _normal(d1) - k * _normal(d2)
            case 1:
                return k * _normal(-d2) - f * _normal(-d1)
            case 2:
                return WAD * _normal(d2)
            case 3:
                return WAD * _normal(-d2)
    raise ValueError(kind)


def exact_forward(spot: int, carry: int, tau: int) -> Any:
    """Forward in WAD as a multi-precision number."""
    with mpmath.workdps(DIGITS):
        return spot * mpmath.exp(mpmath.mpf(carry) * tau / (WAD * YEAR))


def difference(engine: int, exact: Any) -> float:
    """Distance in wei between an integer price and the exact one."""
    with mpmath.workdps(DIGITS):
        return float(abs(engine - exact))


def nearest(exact: Any) -> int:
    """Exact price rounded to the nearest integer."""
    with mpmath.workdps(DIGITS):
        return int(mpmath.nint(exact))


def tolerance(kind: int, forward: int, strike: int, vol: int, tau: int) -> int:
    """Greatest difference in wei that the engine's documentation allows.

    Options: 2 wei, and 1e-23 of the smaller of forward and strike where that is more, beyond
    200,000.0. Digitals: 2 wei, and 2e-28 / s of a unit more where s = vol sqrt(years) is below
    1e-10. Forwards are exact. So are all prices without variance: payoffs.
    """
    if kind == 4 or vol == 0 or tau <= 0:
        return 0
    if kind < 2:
        return max(2, min(forward, strike) // 10**23)
    root_variance = vol / WAD * (tau / YEAR) ** 0.5
    return 2 if root_variance >= 1e-10 else 2 + int(2e-28 / root_variance * WAD)
