"""Prices of `channels.pricing.arrays`, and what its Greeks share with them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from channels.pricing.array_mills import CHUNK, Floats, log_ratio, mills_ratio, rows, time_value
from channels.pricing.columns import (
    Column,
    Kinds,
    columns,
    cut,
    cut_kinds,
    pieces,
    result_array,
)
from channels.pricing.mills import INV_SQRT_2PI

__all__ = [
    "density_of",
    "deviates",
    "distribution",
    "groups",
    "intrinsic_values",
    "options_only",
    "prepare",
    "price",
    "settled_prices",
    "signed_log_ratio",
]

_CALL: Final = 0
_PUT: Final = 1
_DIGITAL_CALL: Final = 2
_FORWARD: Final = 4
_SIGN_BIT: Final = 63
_NOTHING: Final = np.zeros(CHUNK)
"""An array: the maximum with one number takes twice as long."""


def price(
    kind: ArrayLike,
    forward: ArrayLike,
    strike: ArrayLike,
    vol: ArrayLike,
    years: ArrayLike,
    *,
    out: Floats | None = None,
) -> Floats:
    """Return the undiscounted prices of one unit each, as `channels.pricing.scalar.price`.

    NaN where that function raises. ``out``, a contiguous float64 array of the common shape and
    none of the arguments, takes the result if given: fresh memory is a good part of the time.

    Raises:
        InvalidValueError: a kind that is none of the five, shapes that do not broadcast together,
            or an unsuitable ``out``.

    >>> price(0, 100.0, [90.0, 100.0, 110.0], 0.2, 1.0).round(6)
    array([13.589108,  7.965567,  4.292011])
    """
    shape, kinds, (forwards, strikes, vols, times) = columns(kind, forward, strike, vol, years)
    result = result_array(out, shape)
    flat = result.reshape(-1)
    with np.errstate(all="ignore"):
        for piece in pieces(flat.size):
            _price(
                cut_kinds(kinds, piece),
                cut(forwards, piece),
                cut(strikes, piece),
                cut(vols, piece),
                cut(times, piece),
                out=flat[piece],
            )
    return result


def _price(
    kind: Kinds, forward: Column, strike: Column, vol: Column, years: Column, *, out: Floats
) -> None:
    if _option_prices(kind, forward, strike, vol, years, out=out):
        return
    out.fill(np.nan)
    for formula, group in zip(
        (_option_prices, _digital_prices, settled_prices),
        groups(kind, forward, strike, vol, years, out.size),
        strict=True,
    ):
        if group.size:
            part = np.empty(group.size)
            chosen = (cut(column, group) for column in (forward, strike, vol, years))
            formula(cut_kinds(kind, group), *chosen, out=part)
            out[group] = part


def groups(
    kind: Kinds, forward: Column, strike: Column, vol: Column, years: Column, size: int
) -> tuple[NDArray[np.intp], ...]:
    """Return the indices of live options, live digitals, and of what moves with the forward only.

    That is forwards, and what is expired or has no vol. Invalid elements are in no group.
    """
    low, high = np.minimum(forward, strike), np.maximum(forward, strike)
    variance = np.multiply(vol, vol) * years
    valid = (low > 0.0) & (high < np.inf) & np.greater_equal(vol, 0.0) & (variance < np.inf)
    live = valid & (variance > 0.0) & np.not_equal(kind, _FORWARD)
    option = np.less_equal(kind, _PUT)
    return tuple(
        np.flatnonzero(np.broadcast_to(group, size))
        for group in (live & option, live & ~option, valid & ~live)
    )


def _option_prices(
    kind: Kinds, forward: Column, strike: Column, vol: Column, years: Column, *, out: Floats
) -> bool:
    """Write the prices if all are options with time value; return whether they are."""
    high, low, variance, extra, x = rows(10, 5, out.size)
    if not (options_only(kind) and prepare(forward, strike, vol, years, high, low, variance)):
        return False
    log_ratio(high, low, x)
    time_value(high, low, x, variance, extra)
    intrinsic_values(kind, forward, strike, out)
    out += extra
    return True


def options_only(kind: Kinds) -> bool:
    """Say whether there are no digitals and no forwards."""
    return (kind if isinstance(kind, int) else int(kind.max())) <= _PUT


def prepare(
    forward: Column,
    strike: Column,
    vol: Column,
    years: Column,
    high: Floats,
    low: Floats,
    variance: Floats,
) -> bool:
    """Write the last three; return whether all elements are valid and have time to run."""
    np.maximum(forward, strike, out=high)
    np.minimum(forward, strike, out=low)
    np.multiply(vol, vol, out=variance)
    variance *= years
    return bool(
        low.min() > 0.0
        and high.max() < np.inf
        and np.min(vol) >= 0.0
        and variance.min() > 0.0
        and variance.max() < np.inf
    )


def intrinsic_values(kind: Kinds, forward: Column, strike: Column, out: Floats) -> None:
    """Write what calls and puts pay at ``forward``."""
    gain = np.subtract(forward, strike, out=out)
    if isinstance(kind, int):
        if kind == _PUT:
            np.negative(gain, out=out)
    else:  # a put's is the negative: the last bit of its kind, 1, becomes that of the sign
        bits = out.view(np.int64)
        bits ^= kind << _SIGN_BIT
    np.maximum(gain, _NOTHING[: out.size], out=out)


def _digital_prices(
    kind: Kinds, forward: Column, strike: Column, vol: Column, years: Column, *, out: Floats
) -> None:
    _, d2, _ = deviates(forward, strike, vol, years, out.size)
    out[:] = distribution(np.where(np.equal(kind, _DIGITAL_CALL), d2, -d2))


def settled_prices(
    kind: Kinds, forward: Column, strike: Column, vol: Column, years: Column, *, out: Floats
) -> None:
    """Write what is paid at ``forward``: the price of what has no time value."""
    del vol, years
    gain = np.subtract(forward, strike)
    pays = gain >= 0.0
    out[:] = np.choose(
        np.asarray(kind), (np.maximum(gain, 0.0), np.maximum(-gain, 0.0), pays, ~pays, gain)
    )


def deviates(
    forward: Column, strike: Column, vol: Column, years: Column, size: int
) -> tuple[Floats, Floats, Floats]:
    """Return d1, d2 and s, near the money with all digits, in this module's buffers."""
    d1, d2, s, x = rows(10, 4, size)
    np.multiply(vol, vol, out=s)
    s *= years
    np.sqrt(s, out=s)
    np.divide(signed_log_ratio(forward, strike), s, out=x)
    np.multiply(s, 0.5, out=d2)
    np.add(x, d2, out=d1)
    np.subtract(x, d2, out=d2)
    return d1, d2, s


def signed_log_ratio(forward: Column, strike: Column) -> Floats:
    """Return ln(F/K), near 0 with all digits."""
    high, low = np.maximum(forward, strike), np.minimum(forward, strike)
    return np.copysign(np.log1p((high - low) / low), np.subtract(forward, strike))


def density_of(d: Floats) -> Floats:
    """Return the standard normal density."""
    density: Floats = d * d
    density *= -0.5
    np.exp(density, out=density)
    density *= INV_SQRT_2PI
    return density


def distribution(d: Floats) -> Floats:
    """Return N(d), its tail to relative precision."""
    tail = mills_ratio(np.abs(d))
    tail *= density_of(d)
    return np.where(d > 0.0, 1.0 - tail, tail)
