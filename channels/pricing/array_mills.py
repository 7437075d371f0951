"""The special functions of `channels.pricing.mills`, on NumPy arrays and into given buffers.

The same polynomials as one by one, so both agree to a few units in the last place of what each
can resolve. Arrays are float64, one-dimensional, of one length and at most `CHUNK` long.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from channels.pricing.float_coefficients import (
    CORRECTION,
    QUOTIENT_DENOMINATOR,
    QUOTIENT_NUMERATOR,
)
from channels.pricing.mills import DEEP, INV_SQRT_2PI, LINEAR, SMALL

__all__ = [
    "CHUNK",
    "Floats",
    "deep_ratio",
    "far_ratio",
    "log_ratio",
    "mills_ratio",
    "near_ratio",
    "quotient",
    "rows",
    "sinhc",
    "time_value",
]

Floats = NDArray[np.float64]

CHUNK: Final = 36_864
"""Elements treated at a time: few enough for the work buffers to stay in the processor's cache."""

_ROWS: Final = 20

_BLOCK: Final = 9_216
"""Elements of `quotient` treated at a time: ten rows of them stay in the cache."""

_HALF: Final = 6


def _halves() -> Floats:
    """Return the lower halves of V's numerator and denominator, then the upper ones."""
    both = np.zeros((2, 2 * _HALF))
    for row, coefficients in zip(both, (QUOTIENT_NUMERATOR, QUOTIENT_DENOMINATOR), strict=True):
        row[: len(coefficients)] = coefficients
    return np.concatenate([both[:, _HALF - 1 :: -1], both[:, : _HALF - 1 : -1]])


_HALVES: Final = _halves()
"""Times the powers 5 to 0 of w, this gives both polynomials' halves in one matrix product.

The small terms come first: near u = -1, where V's digits matter most, the sum is more exact so.
"""


class _Workspace(threading.local):
    """Buffers of one thread, allocated once: fresh memory costs more than the arithmetic."""

    def __init__(self) -> None:
        self.memory: Floats = np.empty((_ROWS, CHUNK))
        self.powers: Floats = np.ones((_HALF, _BLOCK))
        self.products: Floats = np.empty((len(_HALVES), _BLOCK))


_workspace: Final = _Workspace()


def rows(first: int, count: int, size: int) -> list[Floats]:
    """Return ``count`` of this thread's buffers, each of ``size`` elements.

    Rows 0 to 9 belong to this module, the others to its callers.
    """
    return list(_workspace.memory[first : first + count, :size])


def quotient(u: Floats, out: Floats) -> None:
    """Write V(u) for -1 <= u <= `LINEAR`, into ``u`` itself if wanted."""
    for first in range(0, u.size, _BLOCK):
        block = slice(first, first + _BLOCK)
        part = u[block]
        powers = _workspace.powers[:, : part.size]
        products = _workspace.products[:, : part.size]
        w5, w4, w3, w2, w, _ = powers
        np.add(part, 1.0, out=w)
        np.multiply(w, w, out=w2)
        np.multiply(w2, w, out=w3)
        np.multiply(w2, w2, out=w4)
        np.multiply(w3, w2, out=w5)
        np.matmul(_HALVES, powers, out=products)
        upper, lower, upper_half, lower_half = products
        w6 = np.multiply(w3, w3, out=w)
        upper_half *= w6
        upper += upper_half
        lower_half *= w6
        lower += lower_half
        np.divide(upper, lower, out=out[block])


def _horner(coefficients: Sequence[float], x: Floats, out: Floats) -> None:
    *others, last = coefficients
    np.multiply(x, last, out=out)
    for coefficient in others[:0:-1]:
        out += coefficient
        out *= x
    out += others[0]


def mills_ratio(u: Floats) -> Floats:
    """Return R(u) for u >= 0 in a new array."""
    (v,) = rows(0, 1, u.size)
    u = np.minimum(u, LINEAR)
    quotient(u, v)
    u *= v
    u += 1.0
    np.divide(v, u, out=u)
    return u


def _correction(p: Floats, q: Floats) -> Floats:
    out, scratch = np.empty_like(p), np.empty_like(p)
    *others, (last,) = CORRECTION
    np.multiply(q, last, out=out)
    for row in others[:0:-1]:
        _horner(row, p, scratch)
        out += scratch
        out *= q
    _horner(others[0], p, scratch)
    out += scratch
    return out


def near_ratio(x: Floats, s: Floats, sinhc: Floats) -> Floats:
    """Return `channels.pricing.mills.near_ratio` in a new array."""
    (v,) = rows(0, 1, x.size)
    h = np.minimum(x / s, LINEAR)
    quotient(h, v)
    h *= v
    h += 1.0
    np.divide(sinhc, h, out=h)
    q = 0.25 * s * s
    h -= q * _correction(0.25 * x * x, q)
    h *= s
    q *= 0.5
    h *= np.exp(q, out=q)
    return h


def deep_ratio(h: Floats, t: Floats) -> Floats:
    """Return `channels.pricing.mills.deep_ratio` in a new array."""
    return mills_ratio(t - h) + mills_ratio(h + t)


def far_ratio(
    h: Floats, s: Floats, out: Floats, tails: tuple[Floats, Floats] | None = None
) -> Floats:
    """Write `channels.pricing.mills.far_ratio`; return a = h - s / 2, in a buffer.

    ``tails`` take R(a) and R(b) besides. Where a is below -1, only R(b) has a meaning.
    """
    a, b, v_a, v_b = rows(0, 4, h.size)
    half = np.multiply(s, 0.5, out=v_a)
    np.subtract(h, half, out=a)
    np.add(h, half, out=b)
    if not b.max() <= LINEAR:
        for end in a, b:
            np.minimum(end, LINEAR, out=end)
    quotient(a, v_a)
    quotient(b, v_b)
    np.multiply(a, v_a, out=out)
    out += 1.0
    b *= v_b
    b += 1.0
    if tails is not None:
        np.divide(v_a, out, out=tails[0])
        np.divide(v_b, b, out=tails[1])
    b *= out
    np.multiply(v_a, v_b, out=out)
    out *= s
    v_a -= v_b
    out += v_a
    out /= b
    return a


def log_ratio(high: Floats, low: Floats, out: Floats) -> None:
    """Write x = ln(high / low), near 0 with all digits."""
    np.subtract(high, low, out=out)
    out /= low
    np.log1p(out, out=out)


def time_value(
    high: Floats,
    low: Floats,
    x: Floats,
    variance: Floats,
    out: Floats,
    tails: tuple[Floats, Floats] | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Write the price of the out-of-the-money option, as `channels.pricing.scalar.time_value`.

    Needs 0 < low <= high, x their `log_ratio`, and variance > 0 everywhere. The far formula is
    applied to all, and the few that need another are done again. ``tails`` take R(h - s / 2) and
    R(h + s / 2) as `far_ratio` does. Returns h, s and the vega per unit of s, in buffers.
    """
    vega, s, h = rows(6, 3, out.size)
    np.sqrt(variance, out=s)
    np.divide(x, s, out=h)
    a = far_ratio(h, s, out, tails)
    deep = np.flatnonzero(a < DEEP) if a.min() < DEEP else _NONE
    scratch = a
    near = np.flatnonzero(np.add(x, s, out=scratch) < SMALL) if s.min() < SMALL else _NONE
    if near.size:
        out[near] = near_ratio(x[near], s[near], sinhc(x[near]))
    # high n(b), its exponent from x and variance: through s and h it would be less exact
    np.multiply(x, x, out=vega)
    vega /= variance
    vega += x
    np.multiply(variance, 0.25, out=scratch)
    vega += scratch
    vega *= -0.5
    np.exp(vega, out=vega)
    vega *= high
    vega *= INV_SQRT_2PI
    out *= vega
    if deep.size:
        out[deep] = low[deep] - vega[deep] * deep_ratio(h[deep], 0.5 * s[deep])
    return h, s, vega


_NONE: Final = np.empty(0, dtype=np.intp)


def sinhc(x: Floats) -> Floats:
    """Return 2 sinh(x / 2) / x, 1 at 0."""
    half = np.maximum(0.5 * x, _LEAST)
    return np.sinh(half) / half


_LEAST: Final = 1e-300
