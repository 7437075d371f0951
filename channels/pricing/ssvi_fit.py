"""Calibration of SSVI to the quotes of all expiries at once.

All parameters are mapped from the whole line to where no arbitrage is possible, at-the-money
variances as sums of positive steps: whatever the search ends with is free of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import ArrayLike

from channels.errors import InvalidValueError
from channels.pricing.least_squares import Floats, least_squares
from channels.pricing.ssvi import Ssvi

__all__ = ["SsviFit", "fit_ssvi"]

_SPREAD: Final = 1e-7
_WIDEST: Final = 30.0
"""Ends of the line: there the maps are flat to the last digit."""


@attrs.frozen(kw_only=True)
class SsviFit:
    """The shared parameters, the at-the-money total variance of each expiry, and how well it does.

    ``rms`` and ``inside`` are those of `channels.pricing.svi_fit.SviFit`, over all quotes.
    """

    ssvi: Ssvi
    thetas: tuple[float, ...]
    rms: float
    inside: float
    iterations: int
    converged: bool


def fit_ssvi(
    log_moneyness: Sequence[ArrayLike],
    total_variance: Sequence[ArrayLike],
    half_spread: Sequence[ArrayLike],
) -> SsviFit:
    """Return the SSVI surface that misses quotes by the least sum of squared half-spreads.

    One array an expiry, the earliest first, with the meanings of `fit_svi`.

    Raises:
        InvalidValueError: arrays that do not fit together, an expiry without quotes, or a variance
            or half-spread that is not positive and finite.
    """
    ks, ws, halves = (
        [np.asarray(each, dtype=np.float64) for each in arrays]
        for arrays in (log_moneyness, total_variance, half_spread)
    )
    shapes = [[each.shape for each in arrays] for arrays in (ks, ws, halves)]
    if not ks or shapes[0] != shapes[1] or shapes[0] != shapes[2] or min(map(len, ks)) == 0:
        raise InvalidValueError("each expiry has quotes, and its three columns are of one length")
    k, w, half = (np.concatenate(arrays) for arrays in (ks, ws, halves))
    if not (np.abs(k).max() < np.inf and 0.0 < w.min() <= w.max() < np.inf and half.min() > 0.0):
        raise InvalidValueError("variances and half-spreads are positive, everything is finite")
    expiry = np.repeat(np.arange(len(ks)), [len(each) for each in ks])
    weight = 1.0 / half

    def values(point: Floats) -> Floats:
        ssvi, thetas = _unpacked(point)
        missed: Floats = (ssvi.total_variance(k, thetas[expiry]) - w) * weight
        return missed

    def residuals(point: Floats) -> tuple[Floats, Floats]:
        here = values(point)
        jacobian = np.empty((len(here), len(point)))
        for index in range(len(point)):
            moved = point.copy()
            moved[index] += _SPREAD
            jacobian[:, index] = (values(moved) - here) / (moved[index] - point[index])
        return here, jacobian

    nearest = [w[np.argmin(np.abs(k))] for k, w in zip(ks, ws, strict=True)]
    rising = np.maximum.accumulate(nearest)
    steps = np.maximum(np.diff(rising, prepend=0.0), 1e-3 * rising)
    start = np.concatenate(([-0.2, 0.0, 0.0], np.log(steps)))
    ends = np.full(len(start), _WIDEST)
    minimum = least_squares(residuals, start, -ends, ends)
    ssvi, thetas = _unpacked(minimum.parameters)
    missed = values(minimum.parameters)
    return SsviFit(
        ssvi=ssvi,
        thetas=tuple(thetas.tolist()),
        rms=float(np.sqrt(np.mean(missed * missed))),
        inside=float(np.mean(np.abs(missed) <= 1.0)),
        iterations=minimum.iterations,
        converged=minimum.converged,
    )


def _unpacked(point: Floats) -> tuple[Ssvi, Floats]:
    tilt, size, power = point[:3].tolist()
    rho = 0.999 * float(np.tanh(tilt))
    largest = 2.0 / (1.0 + abs(rho)) ** 0.5
    return (
        Ssvi(rho=rho, eta=largest * _logistic(size), gamma=0.5 * _logistic(power)),
        np.cumsum(np.exp(point[3:])),
    )


def _logistic(x: float) -> float:
    return 0.5 + 0.5 * float(np.tanh(0.5 * x))
