"""The special functions of the float engine: a price over its vega, without losing digits.

R(u) = N(-u) / n(u) is the Mills ratio, n the normal density. Its slope, -(1 - u R(u)), is what
remains of a price; computed from R it loses u**2 units in the last place. So neither is computed
from the other: both come from one rational function, the quotient

    V(u) = R(u) / (1 - u R(u)),    R = V / (1 + u V),    1 - u R = 1 / (1 + u V).

Let H >= L be forward and strike in either order, x = ln(H/L), s = vol * sqrt(years), h = x / s,
t = s / 2, a = h - t, b = h + t. The out-of-the-money option's price is

    sqrt(H L) exp(-(h**2 + t**2) / 2) / sqrt(2 pi) * r,        r = R(a) - R(b),

where all before r is the vega, per unit of s. There are three ways to r:

- far: (V(a) - V(b) + s V(a) V(b)) / ((1 + a V(a)) (1 + b V(b))), whose parts hardly cancel unless
  x and s are both small; for a >= -1, where V was fitted;
- near, for x < 1.2 and s < 0.5: s exp(t**2 / 2) (2 sinh(x / 2) / x (1 - h R(h)) - t**2 psi), from
  R' = u R - 1 solved from h to a and b. The first term is Bachelier's price, the second makes it
  Black's, and takes at most a tenth: t**3 psi(h**2 t**2, t**2) is the integral from 0 to t of
  cosh(h (t - y)) (1 - exp(-y**2 / 2)) dy;
- deep, a < -1: the price is L less the same vega times R(-a) + R(b).
"""

from __future__ import annotations

from math import erfc, exp
from typing import Final

from channels.pricing.float_coefficients import (
    CORRECTION,
    QUOTIENT_DENOMINATOR,
    QUOTIENT_NUMERATOR,
)

__all__ = [
    "DEEP",
    "INV_SQRT_2PI",
    "LINEAR",
    "SMALL",
    "correction",
    "deep_ratio",
    "far_ratio",
    "near_ratio",
    "normal",
    "quotient",
]

INV_SQRT_2PI: Final = 0.3989422804014327
_INV_SQRT_2: Final = 0.7071067811865476
_SQRT_2_OVER_PI: Final = 0.7978845608028654

SMALL: Final = 0.02
"""Below this x + s prices are computed the near way; above, the far one errs by 4e-14 at most."""

DEEP: Final = -1.0
"""Below this a prices are computed the deep way."""

LINEAR: Final = 1e15
"""From here on V(u) = u to the last digit, and powers of u would overflow soon."""

_DIRECT: Final = 1.5
"""Below this 1 - u R(u), at least a quarter, may be had from R."""

_N0, _N1, _N2, _N3, _N4, _N5, _N6, _N7, _N8, _N9, _N10, _N11 = QUOTIENT_NUMERATOR
_D0, _D1, _D2, _D3, _D4, _D5, _D6, _D7, _D8, _D9, _D10 = QUOTIENT_DENOMINATOR
(
    (_A0, _A1, _A2, _A3, _A4, _A5),
    (_B0, _B1, _B2, _B3, _B4),
    (_C0, _C1, _C2, _C3),
    (_E0, _E1, _E2),
    (_F0, _F1),
    (_G0,),
) = CORRECTION


def quotient(u: float) -> float:
    """Return V(u) = R(u) / (1 - u R(u)) for u >= -1; relative error 4e-15.

    >>> u = 3.0
    >>> round(quotient(u) / (1 + u * quotient(u)), 15)  # the Mills ratio
    0.304590298710103
    """
    if u < _DIRECT:  # a third of the time, and nothing to lose yet
        return 1.0 / (_SQRT_2_OVER_PI * exp(-0.5 * u * u) / erfc(_INV_SQRT_2 * u) - u)
    if u > LINEAR:
        return u
    w = u + 1.0
    upper = (((((_N11 * w + _N10) * w + _N9) * w + _N8) * w + _N7) * w + _N6) * w + _N5
    lower = (((((_D10 * w + _D9) * w + _D8) * w + _D7) * w + _D6) * w + _D5) * w + _D4
    return (((((upper * w + _N4) * w + _N3) * w + _N2) * w + _N1) * w + _N0) / (
        (((lower * w + _D3) * w + _D2) * w + _D1) * w + _D0
    )


def correction(p: float, q: float) -> float:
    """Return psi(p, q) for p = (h t)**2 <= 0.36 and q = t**2 <= 0.0625, to the last digit.

    >>> correction(0.0, 0.0)
    0.16666666666666666
    """
    rest = (_E2 * p + _E1) * p + _E0 + (_F1 * p + _F0 + _G0 * q) * q
    rest = ((_C3 * p + _C2) * p + _C1) * p + _C0 + rest * q
    rest = (((_B4 * p + _B3) * p + _B2) * p + _B1) * p + _B0 + rest * q
    return ((((_A5 * p + _A4) * p + _A3) * p + _A2) * p + _A1) * p + _A0 + rest * q


def near_ratio(x: float, s: float, sinhc: float) -> float:
    """Return price over vega the near way; ``sinhc`` is 2 sinh(x / 2) / x, 1 at x = 0."""
    h = x / s
    q = 0.25 * s * s
    bachelier = sinhc / (1.0 + h * quotient(h))
    return s * exp(0.5 * q) * (bachelier - q * correction(0.25 * x * x, q))


def far_ratio(h: float, t: float) -> float:
    """Return price over vega the far way, for h - t >= -1."""
    a, b = h - t, h + t
    v_a, v_b = quotient(a), quotient(b)
    return (v_a - v_b + 2.0 * t * v_a * v_b) / ((1.0 + a * v_a) * (1.0 + b * v_b))


def deep_ratio(h: float, t: float) -> float:
    """Return what the price lacks of its maximum L, over vega: R(t - h) + R(h + t), t >= h."""
    u, b = t - h, h + t
    v_u, v_b = quotient(u), quotient(b)
    return v_u / (1.0 + u * v_u) + v_b / (1.0 + b * v_b)


def normal(x: float) -> float:
    """Return the standard normal distribution N(x), its tail to relative precision.

    >>> normal(0.0)
    0.5
    """
    return 0.5 * erfc(-x * _INV_SQRT_2)
