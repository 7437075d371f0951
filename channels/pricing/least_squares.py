"""Least squares between bounds by Levenberg and Marquardt, for few parameters and many residuals.

Source: Marquardt, "An algorithm for least-squares estimation of nonlinear parameters", J. SIAM 11
(1963), its scaling; Madsen, Nielsen and Tingleff, "Methods for non-linear least squares problems",
2nd edition (2004), algorithm 3.16, its damping.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Minimum", "Residuals", "least_squares"]

Floats = NDArray[np.float64]

Residuals = Callable[[Floats], tuple[Floats, Floats]]
"""From parameters to residuals and their Jacobian, a row for each residual."""

_LEAST_GAIN: Final = 1e-13
_LEAST_STEP: Final = 1e-13
_LARGEST_DAMPING: Final = 1e14


@attrs.frozen(kw_only=True, eq=False)
class Minimum:
    """Where the search ended, the sum of squares there, and if it was an end or the limit."""

    parameters: Floats
    cost: float
    iterations: int
    converged: bool


def least_squares(
    residuals: Residuals, start: Floats, low: Floats, high: Floats, *, limit: int = 500
) -> Minimum:
    """Minimise the sum of squared residuals over ``low`` <= parameters <= ``high``.

    A parameter that stands at a bound and would leave it is held for that step. Finds a local
    minimum, next to ``start`` as a rule; ``limit`` bounds the evaluations.
    """
    point = np.minimum(np.maximum(start, low), high)
    values, jacobian = residuals(point)
    cost = float(values @ values)
    damping, raising = 1e-3, 2.0
    curvature, gradient = _normal(jacobian, values)
    for iteration in range(1, limit + 1):
        step = _step(curvature, gradient, damping, point, low, high)
        trial = np.minimum(np.maximum(point - step, low), high)
        moved = point - trial
        # what the linear model promises, twice
        promised = float(moved @ (2.0 * gradient - curvature @ moved))
        if promised <= _LEAST_GAIN * cost or _small(moved, point):
            return Minimum(parameters=point, cost=cost, iterations=iteration, converged=True)
        values, jacobian = residuals(trial)
        reached = float(values @ values)
        if reached < cost:
            gain = (cost - reached) / promised
            damping *= max(1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3)
            damping, raising = max(damping, 1e-15), 2.0
            point, cost = trial, reached
            curvature, gradient = _normal(jacobian, values)
        else:
            damping *= raising
            raising *= 2.0
            if damping > _LARGEST_DAMPING:
                return Minimum(parameters=point, cost=cost, iterations=iteration, converged=True)
    return Minimum(parameters=point, cost=cost, iterations=limit, converged=False)


def _normal(jacobian: Floats, values: Floats) -> tuple[Floats, Floats]:
    turned = jacobian.T
    curvature: Floats = turned @ jacobian
    gradient: Floats = turned @ values
    return curvature, gradient


def _step(
    curvature: Floats, gradient: Floats, damping: float, point: Floats, low: Floats, high: Floats
) -> Floats:
    """Return what to take off: zero for parameters held at a bound."""
    held = ((point <= low) & (gradient > 0.0)) | ((point >= high) & (gradient < 0.0))
    damped = curvature.copy()
    diagonal = damped.reshape(-1)[:: len(gradient) + 1]
    diagonal *= 1.0 + damping
    # a parameter without any effect stays where it is
    diagonal += 1e-300 + 1e-16 * diagonal.max()
    if held.any():
        damped[held, :] = 0.0
        damped[:, held] = 0.0
        diagonal[held] = 1.0
        gradient = np.where(held, 0.0, gradient)
    return np.linalg.solve(damped, gradient).astype(np.float64, copy=False)


def _small(moved: Floats, point: Floats) -> bool:
    return bool(np.max(np.abs(moved) / (np.abs(point) + 1e-8)) < _LEAST_STEP)
