"""Calibration of raw SVI to the quotes of one expiry.

Written with p and q, the roots of the slopes of the two wings, and v, the least total variance,

    w(k) = v + (p sqrt(A) - q sqrt(B))**2,    A, B = (sqrt(x**2 + sigma**2) -+ x) / 2,   x = k - m

so that variance is never negative and both wings obey Lee's bound exactly if v >= 0 and
0 <= p, q <= sqrt(2): bounds on single parameters, which least squares between bounds keep.

For fixed m and sigma the smile is linear in its other three numbers. That is used for the start: a
coarse net of (m, sigma), the three solved for at each of its knots, and the best knot taken. The
five are then refined together.

Source: Gatheral and Jacquier (2014) for the parameters; De Marco and Martini, "Quasi-explicit
calibration of Gatheral's SVI model", Zeliade Systems (2009), for the reduction.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, log, sqrt
from typing import Final

import attrs
import numpy as np
from numpy.typing import ArrayLike

from channels.errors import InvalidValueError
from channels.pricing.least_squares import Floats, Residuals, least_squares
from channels.pricing.svi import RawSvi, Slack, butterfly_slack, calendar_slack, svi_function

__all__ = ["LEAST_QUOTES", "SviFit", "fit_svi"]

LEAST_QUOTES: Final = 5
"""As many quotes as parameters."""

_STEEPEST: Final = sqrt(2.0)
_PLACES: Final = np.array([0.15, 0.3, 0.45, 0.6, 0.75, 0.9])
_WIDTHS: Final = np.array([0.03, 0.1, 0.3, 1.0])
_LEAST_PART: Final = 1e-6
"""Of the mean total variance: what v is at least."""

_ROUNDS: Final = 8
_PENALTY: Final = 1e2
_MARGIN: Final = 1e-3
"""Weight of arbitrage against quotes at first, and the g(k) that is asked for."""
_NET_SIZE: Final = 121
_NET_REACH: Final = 20.0
"""Of the quotes' range."""
_SPREAD: Final = 1e-6
"""Step of the derivatives of what is penalised."""


@attrs.frozen(kw_only=True)
class SviFit:
    """A smile, and how well it does.

    ``rms`` is the root mean square of model less market, in half-spreads, and ``inside`` the part
    of the quotes that the smile is between bid and ask of; fitted without half-spreads, ``rms`` is
    relative to the mean total variance and ``inside`` None. ``butterfly`` and ``calendar`` are the
    smile's slacks, the latter the lesser of those against the smiles before and after, if given.
    """

    svi: RawSvi
    rms: float
    inside: float | None
    butterfly: Slack
    calendar: Slack | None
    iterations: int
    converged: bool


def fit_svi(
    log_moneyness: ArrayLike,
    total_variance: ArrayLike,
    half_spread: ArrayLike | None = None,
    *,
    start: RawSvi | None = None,
    earlier: RawSvi | None = None,
    later: RawSvi | None = None,
    arbitrage_free: bool = True,
) -> SviFit:
    """Return the smile with the least sum of squares of what it misses quotes by, in half-spreads.

    Args:
        log_moneyness: ln(strike / forward), one a quote.
        total_variance: vol squared times years, of the middle of bid and ask.
        half_spread: half of ask less bid, in total variance: a quote's weight is one by its square.
            Without it all quotes weigh the same.
        start: a smile to start from, such as the last one: saves the search for a start.
        earlier: the smile of the expiry before, below which this one should not go.
        later: the smile of the expiry after, above which this one should not go.
        arbitrage_free: fit again, arbitrage penalised, if the best smile has any. Quotes can leave
            no way out: read the slacks.

    Raises:
        InvalidValueError: fewer than five quotes or strikes, columns of different lengths, or a
            figure that is not finite; a variance or half-spread that is not positive.
    """
    k, w, half = _columns(log_moneyness, total_variance, half_spread)
    weight = 1.0 / half
    low, high = _bounds(k, w)
    residuals = _residuals(k, w, weight)
    begin = _parameters(start) if start is not None else _start(k, w, weight)
    minimum = least_squares(residuals, begin, low, high)
    iterations, point = minimum.iterations, minimum.parameters
    svi = _svi(point)
    slacks = _slacks(svi, earlier, later)
    penalty = _PENALTY
    for _ in range(_ROUNDS if arbitrage_free else 0):
        if all(each.slack >= 0.0 for each in slacks):
            break
        rows = _penalised(residuals, _net(k, svi, slacks), earlier, later, penalty)
        minimum = least_squares(rows, point, low, high)
        iterations, point = iterations + minimum.iterations, minimum.parameters
        svi = _svi(point)
        slacks = _slacks(svi, earlier, later)
        penalty *= 10.0
    missed = (svi.total_variance(k) - w) * weight
    return SviFit(
        svi=svi,
        rms=float(np.sqrt(np.mean(missed * missed))),
        inside=None if half_spread is None else float(np.mean(np.abs(missed) <= 1.0)),
        butterfly=slacks[0],
        calendar=min(slacks[1:], key=lambda each: each.slack, default=None),
        iterations=iterations,
        converged=minimum.converged,
    )


def _columns(
    log_moneyness: ArrayLike, total_variance: ArrayLike, half_spread: ArrayLike | None
) -> tuple[Floats, Floats, Floats]:
    k = np.asarray(log_moneyness, dtype=np.float64)
    w = np.asarray(total_variance, dtype=np.float64)
    half = np.full(w.shape, w.mean()) if half_spread is None else np.asarray(half_spread, float)
    if not (k.ndim == 1 and k.shape == w.shape == half.shape):
        raise InvalidValueError("log-moneyness, total variance and half-spread are of one length")
    if len(k) < LEAST_QUOTES or len(np.unique(k)) < LEAST_QUOTES:
        raise InvalidValueError(f"{len(k)} quotes: a smile takes {LEAST_QUOTES} strikes")
    # NaN fails every comparison
    if not (np.abs(k).max() < inf and 0.0 < w.min() <= w.max() < inf and 0.0 < half.min() < inf):
        raise InvalidValueError("variances and half-spreads are positive, everything is finite")
    return k, w, half


def _bounds(k: Floats, w: Floats) -> tuple[Floats, Floats]:
    """Return bounds of v, p, q, m and ln sigma."""
    first, last = float(k.min()), float(k.max())
    width = last - first
    low = np.array([_LEAST_PART * float(w.mean()), 0.0, 0.0, first - width, log(1e-3 * width)])
    high = np.array([2.0 * float(w.max()), _STEEPEST, _STEEPEST, last + width, log(10.0 * width)])
    return low, high


def _parameters(svi: RawSvi) -> Floats:
    left, right = svi.wings
    return np.array([svi.minimum, sqrt(left), sqrt(right), svi.m, log(svi.sigma)])


def _svi(point: Floats) -> RawSvi:
    v, p, q, m, log_sigma = point.tolist()
    sigma, twice = exp(log_sigma), p * p + q * q
    return RawSvi(
        a=v - sigma * p * q,
        b=0.5 * twice,
        rho=(q * q - p * p) / twice if twice > 0.0 else 0.0,
        m=m,
        sigma=sigma,
    )


def _residuals(k: Floats, w: Floats, weight: Floats) -> Residuals:
    def residuals(point: Floats) -> tuple[Floats, Floats]:
        v, p, q, m, log_sigma = point.tolist()
        sigma = exp(log_sigma)
        tilt, half, bend = 0.5 * (q * q - p * p), 0.5 * (q * q + p * p), p * q
        x = k - m
        root = np.sqrt(x * x + sigma * sigma)
        jacobian = np.empty((5, len(k)))
        jacobian[0] = 1.0
        np.subtract(root, x, out=jacobian[1])
        jacobian[1] *= p
        jacobian[1] -= sigma * q
        np.add(root, x, out=jacobian[2])
        jacobian[2] *= q
        jacobian[2] -= sigma * p
        np.divide(x, root, out=jacobian[3])
        jacobian[3] *= -half
        jacobian[3] -= tilt
        np.divide(half * sigma * sigma, root, out=jacobian[4])
        jacobian[4] -= sigma * bend
        jacobian *= weight
        root *= half
        x *= tilt
        root += x
        root += v - sigma * bend
        root -= w
        root *= weight
        return root, jacobian.T

    return residuals


def _start(k: Floats, w: Floats, weight: Floats) -> Floats:
    """Return the best knot of the net: the linear problem of a, left and right slope solved."""
    first, width = float(k.min()), float(np.ptp(k))
    places = np.repeat(first + width * _PLACES, len(_WIDTHS))
    sigmas = np.tile(width * _WIDTHS, len(_PLACES))
    x = k - places[:, None]
    root = np.sqrt(x * x + (sigmas * sigmas)[:, None])
    basis = np.empty((len(places), 3, len(k)))
    basis[:, 0] = 1.0
    np.subtract(root, x, out=basis[:, 1])
    np.add(root, x, out=basis[:, 2])
    basis *= weight
    wanted = w * weight
    normal = basis @ basis.transpose(0, 2, 1)
    diagonal = normal.reshape(-1, 9)[:, ::4]
    diagonal *= 1.0 + 1e-9
    solved = np.linalg.solve(normal, (basis @ wanted)[:, :, None])[:, :, 0]
    np.clip(solved[:, 1:], 0.0, 1.0, out=solved[:, 1:])
    bends = np.sqrt(solved[:, 1] * solved[:, 2])
    bends *= 2.0 * sigmas
    least = _LEAST_PART * w.mean() - bends
    np.maximum(solved[:, 0], least, out=solved[:, 0])
    missed = (solved[:, None, :] @ basis)[:, 0, :] - wanted
    best = int(np.argmin(np.einsum("ij,ij->i", missed, missed)))
    a, left, right = solved[best].tolist()
    return np.array(
        [
            a + float(bends[best]),
            sqrt(2.0 * left),
            sqrt(2.0 * right),
            float(places[best]),
            log(float(sigmas[best])),
        ]
    )


def _slacks(svi: RawSvi, earlier: RawSvi | None, later: RawSvi | None) -> list[Slack]:
    """Return the butterfly's first, then those of the calendars that there are."""
    slacks = [butterfly_slack(svi)]
    if earlier is not None:
        slacks.append(calendar_slack(earlier, svi))
    if later is not None:
        slacks.append(calendar_slack(svi, later))
    return slacks


def _net(k: Floats, svi: RawSvi, slacks: Sequence[Slack]) -> Floats:
    """Return log-moneynesses at which arbitrage is penalised: the quotes' range, and far beyond."""
    reach = np.arcsinh(_NET_REACH * float(np.ptp(k)) / svi.sigma)
    net = svi.m + svi.sigma * np.sinh(np.linspace(-reach, reach, _NET_SIZE))
    worst = [each.at for each in slacks if abs(each.at) < inf]
    return np.sort(np.concatenate((net, k, worst)))


def _penalised(
    residuals: Residuals,
    net: Floats,
    earlier: RawSvi | None,
    later: RawSvi | None,
    penalty: float,
) -> Residuals:
    """Return residuals with one more for each place of the net and each condition."""
    conditions = [_Order(net, each, sign) for each, sign in ((earlier, 1.0), (later, -1.0)) if each]

    def short(point: Floats) -> Floats:
        svi = _svi(point)
        w, slope, curvature = svi.derivatives(net)
        rows = [_MARGIN - svi_function(net, w, slope, curvature)]
        for condition in conditions:
            rows += condition.missing(w, svi)
        lacking: Floats = penalty * np.maximum(np.concatenate(rows), 0.0)
        return lacking

    def both(point: Floats) -> tuple[Floats, Floats]:
        values, jacobian = residuals(point)
        rows = short(point)
        slopes = np.empty((len(rows), len(point)))
        for index in range(len(point)):
            moved = point.copy()
            moved[index] += _SPREAD * max(abs(moved[index]), 1e-2)
            slopes[:, index] = (short(moved) - rows) / (moved[index] - point[index])
        return np.concatenate((values, rows)), np.concatenate((jacobian, slopes))

    return both


class _Order:
    """What a smile lacks to be above another one (``sign`` 1) or below it (-1)."""

    def __init__(self, net: Floats, other: RawSvi, sign: float) -> None:
        self._sign = sign
        self._w: Floats = other.total_variance(net)
        self._wings = np.array(other.wings)

    def missing(self, w: Floats, svi: RawSvi) -> list[Floats]:
        """Return the parts that total variances and slopes of the wings lack, with a margin."""
        return [
            self._sign * (self._w - w) / self._w + _MARGIN,
            self._sign * (self._wings - svi.wings) + _MARGIN * self._wings,
        ]
