"""Greeks of `channels.pricing.arrays`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import ArrayLike

from channels.pricing.array_mills import Floats, log_ratio, rows, time_value
from channels.pricing.array_price import (
    density_of,
    deviates,
    distribution,
    groups,
    intrinsic_values,
    options_only,
    prepare,
    settled_prices,
)
from channels.pricing.columns import (
    Column,
    Kinds,
    columns,
    cut,
    cut_kinds,
    pieces,
    result_array,
)
from channels.pricing.greeks import Greeks, digital_greeks, linear_greeks
from channels.pricing.mills import DEEP

__all__ = ["greeks"]

_CALL: Final = 0
_PUT: Final = 1
_DIGITAL_CALL: Final = 2
_FORWARD: Final = 4
_NAMES: Final = tuple(field.name for field in attrs.fields(Greeks))


def greeks(
    kind: ArrayLike,
    spot: ArrayLike,
    strike: ArrayLike,
    vol: ArrayLike,
    years: ArrayLike,
    carry: ArrayLike = 0.0,
    *,
    out: Greeks[Floats] | None = None,
) -> Greeks[Floats]:
    """Return prices and all eight Greeks of one unit each, as `channels.pricing.scalar.greeks`.

    NaN in all nine where that function raises. ``out`` takes the results if given: nine arrays,
    each as `price` wants it.

    Raises:
        InvalidValueError: a kind that is none of the five, shapes that do not broadcast together,
            or an unsuitable ``out``.

    >>> greeks(0, 100.0, [90.0, 100.0, 110.0], 0.2, 1.0).delta.round(6)
    array([0.734606, 0.539828, 0.353254])
    """
    shape, kinds, arguments = columns(kind, spot, strike, vol, years, carry)
    given = [None] * len(_NAMES) if out is None else [getattr(out, name) for name in _NAMES]
    results = [result_array(each, shape) for each in given]
    flat = [result.reshape(-1) for result in results]
    with np.errstate(all="ignore"):
        for piece in pieces(flat[0].size):
            _greeks(
                cut_kinds(kinds, piece),
                *(cut(column, piece) for column in arguments),
                outs=[column[piece] for column in flat],
            )
    return Greeks(**dict(zip(_NAMES, results, strict=True)))


def _greeks(
    kind: Kinds,
    spot: Column,
    strike: Column,
    vol: Column,
    years: Column,
    carry: Column,
    *,
    outs: Sequence[Floats],
) -> None:
    forward = np.multiply(spot, np.exp(np.multiply(carry, years))) if _some(carry) else spot
    if _option_greeks(kind, spot, forward, strike, vol, years, carry, outs=outs):
        return
    expired = np.less_equal(years, 0.0)
    years, carry = np.where(expired, 0.0, years), np.where(expired, 0.0, carry)
    forward = np.multiply(spot, np.exp(carry * years))
    for out in outs:
        out.fill(np.nan)
    size = outs[0].size
    everything = [np.broadcast_to(c, size) for c in (spot, forward, strike, vol, years, carry)]
    for formula, group in zip(
        (_option_greeks, _digital_greeks, _linear_greeks),
        groups(kind, forward, strike, vol, years, size),
        strict=True,
    ):
        if group.size:
            parts = np.empty((len(outs), group.size))
            formula(
                cut_kinds(kind, group), *(column[group] for column in everything), outs=list(parts)
            )
            for out, part in zip(outs, parts, strict=True):
                out[group] = part


def _some(carry: Column) -> bool:
    return not isinstance(carry, float) or carry != 0.0


def _option_greeks(
    kind: Kinds,
    spot: Column,
    forward: Column,
    strike: Column,
    vol: Column,
    years: Column,
    carry: Column,
    *,
    outs: Sequence[Floats],
) -> bool:
    """Write the Greeks if all are options with time value; return whether they are."""
    size = outs[0].size
    high, low, variance, less_d1, less_d2, x, near, far = rows(10, 8, size)
    if not (options_only(kind) and prepare(forward, strike, vol, years, high, low, variance)):
        return False
    log_ratio(high, low, x)
    h, s, density = time_value(high, low, x, variance, outs[0], (near, far))
    intrinsic_values(kind, forward, strike, high)
    outs[0] += high
    _option_delta(kind, forward, strike, density, h, s, near, far, less_d1, less_d2, outs[1])
    if forward is not spot:
        np.divide(forward, spot, out=x)
        outs[1] *= x
    _write_option_greeks(outs, density, less_d1, less_d2, s, spot, vol, years, carry)
    return True


def _option_delta(
    kind: Kinds,
    forward: Column,
    strike: Column,
    density: Floats,
    h: Floats,
    s: Floats,
    near: Floats,
    far: Floats,
    less_d1: Floats,
    less_d2: Floats,
    delta: Floats,
) -> None:
    """Write -d1, -d2 and the forward's delta, from R(h - s / 2) = ``near`` and R(h + s / 2)."""
    below = np.less(forward, strike)
    np.copyto(less_d2, below)
    near -= far
    near *= less_d2
    near += far
    near *= density
    near /= forward  # N(d1) below the strike, N(-d1) from it on
    # delta is that, or its difference from 1, or their negatives
    sign = np.multiply(less_d2, 2.0, out=less_d1)
    sign -= 1.0
    np.multiply(near, sign, out=delta)
    less_d2 -= np.equal(kind, _CALL)
    delta -= less_d2
    h *= sign
    half = np.multiply(s, 0.5, out=near)
    np.subtract(h, half, out=less_d1)
    np.add(h, half, out=less_d2)
    if less_d1.min() < DEEP:  # there near is not fitted
        deep = np.flatnonzero((less_d1 < DEEP) & below)
        sign = np.where(np.equal(cut_kinds(kind, deep), _CALL), 1.0, -1.0)
        delta[deep] = sign * distribution(-sign * less_d1[deep])


def _write_option_greeks(
    outs: Sequence[Floats],
    density: Floats,
    less_d1: Floats,
    less_d2: Floats,
    s: Floats,
    spot: Column,
    vol: Column,
    years: Column,
    carry: Column,
) -> None:
    """Write what `channels.pricing.greeks.option_greeks` returns, in place; delta is there."""
    _, delta, gamma, vega, theta, rho, vanna, volga, charm = outs
    np.divide(density, spot, out=charm)
    np.multiply(s, spot, out=gamma)
    np.divide(charm, gamma, out=gamma)
    density *= s
    by_vol = np.divide(1.0, vol, out=volga)
    np.multiply(density, by_vol, out=vega)
    charm *= less_d2
    np.multiply(charm, by_vol, out=vanna)
    volga *= less_d1
    volga *= less_d2
    volga *= vega
    decay = np.divide(-0.5, years, out=theta)
    charm *= decay
    theta *= density
    np.multiply(delta, spot, out=rho)
    if _some(carry):
        np.multiply(gamma, spot, out=density)
        density += delta
        density *= carry
        charm -= density
        np.multiply(rho, carry, out=density)
        theta -= density
    rho *= years


def _digital_greeks(
    kind: Kinds,
    spot: Floats,
    forward: Floats,
    strike: Floats,
    vol: Floats,
    years: Floats,
    carry: Floats,
    *,
    outs: Sequence[Floats],
) -> None:
    d1, d2, s = deviates(forward, strike, vol, years, outs[0].size)
    sign = np.where(np.equal(kind, _DIGITAL_CALL), 1.0, -1.0)
    _write(
        outs,
        digital_greeks(
            price=distribution(sign * d2),
            sign=sign,
            density=density_of(d2),
            d1=d1,
            d2=d2,
            s=s,
            spot=spot,
            vol=vol,
            years=years,
            carry=carry,
        ),
    )


def _linear_greeks(
    kind: Kinds,
    spot: Floats,
    forward: Floats,
    strike: Floats,
    vol: Floats,
    years: Floats,
    carry: Floats,
    *,
    outs: Sequence[Floats],
) -> None:
    settled_prices(kind, forward, strike, vol, years, out=outs[0])
    slope = np.equal(kind, _FORWARD) + (np.equal(kind, _CALL) & (forward > strike)) * 1.0
    slope -= np.equal(kind, _PUT) & (forward < strike)
    _write(
        outs,
        linear_greeks(
            price=outs[0],
            slope=slope,
            spot=spot,
            forward=forward,
            years=years,
            carry=carry,
        ),
    )


def _write(outs: Sequence[Floats], values: Greeks[Floats]) -> None:
    for name, out in zip(_NAMES, outs, strict=True):
        np.copyto(out, getattr(values, name))
