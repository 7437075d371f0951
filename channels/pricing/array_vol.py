"""Implied volatility of whole columns of options: every element has a status, none aborts.

Method, accuracy and statuses are those of `channels.pricing.implied_vol`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from channels.pricing.array_mills import Floats, deep_ratio, far_ratio, near_ratio, sinhc
from channels.pricing.columns import Column, Kinds, columns, cut, cut_kinds, pieces
from channels.pricing.householder import lower_step, middle_step, upper_step
from channels.pricing.implied_vol import (
    HALF_PI,
    LEAST,
    LEAST_GAP,
    LEAST_NEAR,
    MAX_LOG,
    NEAR_LOG,
    ROUNDING,
    SQRT_2PI,
    START_E,
    START_K,
    START_M,
    UPPER,
    VolStatus,
)

__all__ = ["ImpliedVols", "implied_vol"]


class ImpliedVols(NamedTuple):
    """Annual vols and what became of each (`VolStatus`): NaN unless the status is OK."""

    vol: Floats
    status: NDArray[np.int8]


def implied_vol(
    kind: ArrayLike, price: ArrayLike, forward: ArrayLike, strike: ArrayLike, years: ArrayLike
) -> ImpliedVols:
    """Return the vols at which calls and puts have these undiscounted prices, with a status each.

    Arguments are numbers or arrays that broadcast together. Kinds other than call and put are
    INVALID, like prices and times that make no sense.

    Raises:
        InvalidValueError: a kind that is none of the five, or shapes that do not broadcast.

    >>> vols = implied_vol(0, [7.965567455405804, 0.0, 101.0], 100.0, 100.0, 1.0)
    >>> vols.vol
    array([0.2, nan, nan])
    >>> vols.status
    array([0, 3, 2], dtype=int8)
    """
    shape, kinds, arguments = columns(kind, price, forward, strike, years)
    vols, statuses = np.empty(shape), np.empty(shape, dtype=np.int8)
    flat_vols, flat_statuses = vols.reshape(-1), statuses.reshape(-1)
    with np.errstate(all="ignore"):
        for piece in pieces(flat_vols.size):
            _solve(
                cut_kinds(kinds, piece),
                *(cut(column, piece) for column in arguments),
                vols=flat_vols[piece],
                statuses=flat_statuses[piece],
            )
    return ImpliedVols(vols, statuses)


def _solve(
    kind: Kinds,
    price: Column,
    forward: Column,
    strike: Column,
    years: Column,
    *,
    vols: Floats,
    statuses: NDArray[np.int8],
) -> None:
    high, low = np.maximum(forward, strike), np.minimum(forward, strike)
    call = np.equal(kind, _CALL)
    value = price - (high - np.where(call, strike, forward))
    missing = np.where(call, forward, strike) - price
    sensible = (
        (low > 0.0)
        & (high < np.inf)
        & np.greater(years, 0.0)
        & np.less(years, np.inf)
        & np.isfinite(price)
        & np.less_equal(kind, _PUT)
    )
    rounding = np.multiply(ROUNDING, price)
    resolved = (value >= LEAST * np.maximum(low, 1.0)) & (missing > rounding) & (value > rounding)
    resolved &= high <= low * _FARTHEST
    resolved &= (value >= LEAST_NEAR * low) | (high - low >= LEAST_GAP * low)
    good = np.broadcast_to(sensible & resolved, vols.shape)
    if good.all():
        chosen: slice | NDArray[np.intp] = slice(None)
        statuses.fill(VolStatus.OK)
    else:
        chosen = np.flatnonzero(good)
        vols.fill(np.nan)
        statuses[:] = np.select(
            (~sensible, value < 0.0, missing < 0.0, ~resolved), _FAILURES, VolStatus.OK
        )
    high, low, value, missing = (
        np.broadcast_to(column, vols.shape)[chosen] for column in (high, low, value, missing)
    )
    vols[chosen] = _deviations(high, low, value / low, missing / low) / np.sqrt(cut(years, chosen))


_CALL: Final = 0
_PUT: Final = 1
_FARTHEST: Final = float(np.exp(MAX_LOG))
_FAILURES: Final = (
    VolStatus.INVALID,
    VolStatus.BELOW_INTRINSIC,
    VolStatus.ABOVE_MAXIMUM,
    VolStatus.UNRESOLVABLE,
)


def _deviations(high: Floats, low: Floats, part: Floats, lack: Floats) -> Floats:
    """Return s from the time value and what it lacks of its maximum, both by the lower price."""
    distance = high - low
    x = np.log1p(distance / low)
    s, below = _start(x, part, lack, low / high, distance / high)
    upper = part > UPPER
    near = (x < NEAR_LOG) & (s < _NEAR_START)
    lower = below & ~upper
    middle = ~(below | upper)
    for group, step, ratio, wanted in (
        (lower & near, _lower, near_ratio, part),
        (lower & ~near, _lower, _far_ratio, part),
        (middle & near, _middle, near_ratio, part),
        (middle & ~near, _middle, _far_ratio, part),
        (upper, _upper, _deep_ratio, lack),
    ):
        if not group.any():
            continue
        chosen = np.flatnonzero(group)
        x_chosen, wanted_chosen, found = x[chosen], wanted[chosen], s[chosen]
        scale = sinhc(x_chosen)
        for _ in range(2):
            found = step(x_chosen, found, wanted_chosen, ratio(x_chosen, found, scale))
        s[chosen] = found
    return s


_NEAR_START: Final = 0.45
"""Starts below this are taken for near: they may be 12 % too low."""


def _start(
    x: Floats, part: Floats, lack: Floats, q: Floats, rest: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return what `channels.pricing.implied_vol` starts from."""
    w = part * (rest + q * part)
    sinh_k = np.sinh(START_K * x)
    cosh_k_less_1 = 2.0 * np.sinh(0.5 * START_K * x) ** 2
    square = 4.0 * sinh_k * sinh_k
    product = 16.0 * np.sinh(0.5 * x) * np.sinh(START_M * x)
    linear = product + 16.0 * w * (1.0 + cosh_k_less_1)
    constant = 16.0 * w * lack * (1.0 + q * part)
    root = np.sqrt(linear * linear + 4.0 * square * constant)
    power = 2.0 * constant / (linear + root)
    less = square + product + 16.0 * w * (cosh_k_less_1 + w)
    g = -HALF_PI * np.where(
        power < 0.5,
        np.log(power),
        np.log1p(-2.0 * less / (2.0 * square + linear + root)),
    )
    outer = np.sqrt(g + x)
    inner = np.sqrt(np.maximum(g - x, 0.0))
    split = -np.expm1(START_E * x)
    below = 2.0 * part * q * (np.sqrt(split) + rest) < split - rest * rest
    total = outer + inner
    return np.where(below, 2.0 * x / total, total), below


def _far_ratio(x: Floats, s: Floats, scale: Floats) -> Floats:
    far_ratio(x / s, s, scale)
    return scale


def _deep_ratio(x: Floats, s: Floats, scale: Floats) -> Floats:
    del scale
    return deep_ratio(x / s, 0.5 * s)


def _lower(x: Floats, s: Floats, part: Floats, ratio: Floats) -> Floats:
    excess = _log_excess(x, s, part / ratio)
    result: Floats = lower_step(x, s, ratio, excess, np.log(part) - 0.5 * x)
    return result


def _middle(x: Floats, s: Floats, part: Floats, ratio: Floats) -> Floats:
    result: Floats = middle_step(x, s, ratio, np.expm1(_log_excess(x, s, part / ratio)))
    return result


def _upper(x: Floats, s: Floats, lack: Floats, ratio: Floats) -> Floats:
    result: Floats = upper_step(x, s, ratio, _log_excess(x, s, lack / ratio))
    return result


def _log_excess(x: Floats, s: Floats, wanted: Floats) -> Floats:
    h = x / s
    excess: Floats = np.log(SQRT_2PI * wanted)
    excess += 0.5 * (h * h + 0.25 * s * s - x)
    return excess
