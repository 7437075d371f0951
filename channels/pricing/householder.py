"""Householder's fourth-order step for a price's objectives, on floats and on arrays alike.

x = ln(H/L), s is vol * sqrt(years), b(s) the time value by the root of H L, its ratio b / b'
(`channels.pricing.mills`), and the excess the logarithm of what b should be less that of what it
is. Each function returns the next s. The error's order is 4: two steps from 12 % leave nothing.

Source: Jäckel, "Let's be rational", Wilmott (2015).
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["lower_step", "middle_step", "upper_step"]

# Floats and arrays alike, which no one type says: hence Any.


def lower_step(x: Any, s: Any, ratio: Any, excess: Any, target: Any) -> Any:
    """Step towards 1 / ln b = 1 / target."""
    value = target - excess
    slope = 1.0 / ratio
    by_log = slope / value
    second, third = _vega_slopes(x, s)
    return s + _step(
        excess * value / target * ratio,
        second - slope - 2.0 * by_log,
        third - slope * (3.0 * second - 2.0 * slope) + 6.0 * by_log * (by_log + slope - second),
    )


def middle_step(x: Any, s: Any, ratio: Any, growth: Any) -> Any:
    """Step towards b, which should be larger by the part ``growth``, exp of the excess less 1."""
    return s + _step(ratio * growth, *_vega_slopes(x, s))


def upper_step(x: Any, s: Any, ratio: Any, excess: Any) -> Any:
    """Step towards ln(maximum - b); ratio and excess are those of what b lacks."""
    slope = 1.0 / ratio
    second, third = _vega_slopes(x, s)
    return s + _step(-excess * ratio, second + slope, third + slope * (3.0 * second + 2.0 * slope))


def _vega_slopes(x: Any, s: Any) -> tuple[Any, Any]:
    """Return the second and third derivative of b in s, by its first."""
    fall = x / (s * s)
    square = fall * fall
    second = s * (square - 0.25)
    return second, second * second - 3.0 * square - 0.25


def _step(newton: Any, second: Any, third: Any) -> Any:
    """Return the step from -f / f' and the second and third derivative of f by its first."""
    return (
        newton * (1.0 + 0.5 * second * newton) / (1.0 + newton * (second + third * newton * _SIXTH))
    )


_SIXTH: Final = 1.0 / 6.0
