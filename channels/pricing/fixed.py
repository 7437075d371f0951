"""Fixed-point core of the integer engine: logarithm, exponential, root and Mills ratio in Q96.

Q96 is an integer that stands for itself divided by 2**96. Every value is non-negative: signs live
in branches of the callers, so that shifts and divisions mean the same in Python, which floors, and
in the EVM, which truncates. Each intermediate carries its bound as a comment ``# < 2**n``, and
every bound is below 2**256. Bounds of arguments and results are asserted; a test runs the engine on
integers that watch themselves for the others. Arguments outside the stated ranges are a bug of the
caller: the domain is checked in `channels.pricing.black76`.

Source: design, risk.md "Integer engine"; derivation in docs/explanation/pricing.md.
"""

# ruff: noqa: S101 - the bounds are part of the specification

from __future__ import annotations

from math import isqrt
from typing import Final

from channels.pricing.coefficients import (
    EXP_E0,
    EXP_E2,
    EXP_E4,
    EXP_E6,
    EXP_E8,
    EXP_O1,
    EXP_O3,
    EXP_O5,
    EXP_O7,
    INV_SQRT_2PI,
    LN2,
    LN_C0,
    LN_C1,
    LN_C2,
    LN_C3,
    LN_C4,
    LN_C5,
    LN_C6,
    LN_C7,
    LN_C8,
    LN_C9,
    LN_C10,
    LN_C11,
    LN_C12,
    LN_C13,
    MILLS_D0,
    MILLS_D1,
    MILLS_D2,
    MILLS_D3,
    MILLS_D4,
    MILLS_D5,
    MILLS_D6,
    MILLS_D7,
    MILLS_D8,
    MILLS_D9,
    MILLS_D10,
    MILLS_D11,
    MILLS_D12,
    MILLS_D13,
    MILLS_N0,
    MILLS_N1,
    MILLS_N2,
    MILLS_N3,
    MILLS_N4,
    MILLS_N5,
    MILLS_N6,
    MILLS_N7,
    MILLS_N8,
    MILLS_N9,
    MILLS_N10,
    MILLS_N11,
    MILLS_N12,
)
from channels.units import YEAR

__all__ = ["ONE", "SIXTEEN", "density", "exp_negative", "ln_ratio", "mills", "sqrt_years"]

ONE: Final = 1 << 96
"""1.0 in Q96."""

SIXTEEN: Final = 1 << 100
"""End of the Mills ratio's domain in Q96: no price of the domain is left beyond it."""

_HALF_LN2: Final = LN2 >> 1


def ln_ratio(high: int, low: int) -> int:
    """Return ln(high / low) in Q96, for 1 <= low <= high < 2**128.

    A power of two brings the ratio into [70/99, 99/70]; there ln = 2 atanh(z) with
    z = (high - low) / (high + low), |z| <= 29/169, by its series. Error below 2**-94.
    """
    assert 1 <= low <= high < 1 << 128
    power = 0
    if 70 * high > 99 * low:  # < 2**135
        power = high.bit_length() - low.bit_length()  # < 128
        low <<= power  # same length as high: high / low in (1/2, 2)
        if 70 * high > 99 * low:
            power += 1
            low <<= 1  # < 2**129
        elif 99 * high < 70 * low:
            power -= 1
            low >>= 1  # exact: power was 1 or more, as high > low then
    gap = high - low if high >= low else low - high  # < 2**127
    z = (gap << 96) // (high + low)  # numerator < 2**223; z < 2**94
    zz = z * z >> 96  # < 2**91
    # every sum below is less than twice its constant: < 2**98; every product < 2**189
    a = (LN_C13 * zz >> 96) + LN_C12
    a = (a * zz >> 96) + LN_C11
    a = (a * zz >> 96) + LN_C10
    a = (a * zz >> 96) + LN_C9
    a = (a * zz >> 96) + LN_C8
    a = (a * zz >> 96) + LN_C7
    a = (a * zz >> 96) + LN_C6
    a = (a * zz >> 96) + LN_C5
    a = (a * zz >> 96) + LN_C4
    a = (a * zz >> 96) + LN_C3
    a = (a * zz >> 96) + LN_C2
    a = (a * zz >> 96) + LN_C1
    a = (a * zz >> 96) + LN_C0
    a = a * z >> 96  # < 2**95
    result = power * LN2 + a if high >= low else power * LN2 - a  # power >= 1 in the second
    assert 0 <= result < 1 << 103
    return result


def exp_negative(y: int) -> tuple[int, int]:
    """Return (m, k) with exp(-y) = m / 2**(96 + k), for y in Q96 below 2**106.

    m is in [0.707, 1.415] in Q96 and k >= 0. exp(-y) = 2**-k exp(-+r) with r <= ln(2) / 2, then
    the Pade approximant [8/8]. Relative error below 1e-26.
    """
    assert 0 <= y < 1 << 106
    k = (y + _HALF_LN2) // LN2  # nearest multiple of ln 2; < 2**11
    nearest = k * LN2  # < 2**107
    r = y - nearest if y >= nearest else nearest - y  # <= LN2 / 2 + 1 < 2**95
    rr = r * r >> 96  # < 2**94
    # even part: E0 < 2**125 leads, every sum < 2**126, every product < 2**220
    even = (EXP_E8 * rr >> 96) + EXP_E6
    even = (even * rr >> 96) + EXP_E4
    even = (even * rr >> 96) + EXP_E2
    even = (even * rr >> 96) + EXP_E0
    odd = (EXP_O7 * rr >> 96) + EXP_O5
    odd = (odd * rr >> 96) + EXP_O3
    odd = (odd * rr >> 96) + EXP_O1
    odd = odd * r >> 96  # < 2**123, less than even
    if y >= nearest:  # exp(-r)
        top, bottom = even - odd, even + odd
    else:  # exp(r)
        top, bottom = even + odd, even - odd
    m = (top << 96) // bottom  # numerator < 2**223
    assert 1 << 95 < m < 3 << 95
    return m, k


def density(u: int) -> tuple[int, int]:
    """Return (g, k) with exp(-u*u/2) / sqrt(2 pi) = g / 2**(96 + k), for u in Q96 up to 16."""
    m, k = exp_negative(u * u >> 97)  # product < 2**201; y < 2**104
    return m * INV_SQRT_2PI >> 96, k  # product < 2**192


def mills(u: int) -> int:
    """Return the Mills ratio R(u) = N(-u) / density(u) in Q96, for u in Q96 up to 16.

    A rational [12/13] with positive coefficients only, so nothing cancels. Absolute error below
    5e-24. Roundings grow with u**11: beyond u = 10 it need not fall from each u to the next.
    """
    assert 0 <= u <= SIXTEEN
    # numerator and denominator < 2**140 throughout, every product < 2**240
    n = (MILLS_N12 * u >> 96) + MILLS_N11
    n = (n * u >> 96) + MILLS_N10
    n = (n * u >> 96) + MILLS_N9
    n = (n * u >> 96) + MILLS_N8
    n = (n * u >> 96) + MILLS_N7
    n = (n * u >> 96) + MILLS_N6
    n = (n * u >> 96) + MILLS_N5
    n = (n * u >> 96) + MILLS_N4
    n = (n * u >> 96) + MILLS_N3
    n = (n * u >> 96) + MILLS_N2
    n = (n * u >> 96) + MILLS_N1
    n = (n * u >> 96) + MILLS_N0
    d = (MILLS_D13 * u >> 96) + MILLS_D12
    d = (d * u >> 96) + MILLS_D11
    d = (d * u >> 96) + MILLS_D10
    d = (d * u >> 96) + MILLS_D9
    d = (d * u >> 96) + MILLS_D8
    d = (d * u >> 96) + MILLS_D7
    d = (d * u >> 96) + MILLS_D6
    d = (d * u >> 96) + MILLS_D5
    d = (d * u >> 96) + MILLS_D4
    d = (d * u >> 96) + MILLS_D3
    d = (d * u >> 96) + MILLS_D2
    d = (d * u >> 96) + MILLS_D1
    d = (d * u >> 96) + MILLS_D0
    return (n << 96) // d  # numerator < 2**236; result < 2**97


def sqrt_years(seconds: int) -> int:
    """Return the root of ``seconds`` in years of 365 days, in Q96, for seconds below 2**29.

    The integer root of the floored square: less than one unit below the true value.
    """
    assert 0 <= seconds < 1 << 29
    return isqrt((seconds << 192) // YEAR)  # numerator < 2**221; result < 2**99
