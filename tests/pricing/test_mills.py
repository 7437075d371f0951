"""The float engine's special functions: fitted as they should be, and as exact as they claim."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import mpmath
import numpy as np
import pytest

from channels.pricing import Greeks, array_mills, mills, per_day, per_vol_point
from channels.pricing.float_coefficients import (
    CORRECTION,
    QUOTIENT_DENOMINATOR,
    QUOTIENT_NUMERATOR,
)

from .float_reference import EPS

TOOL = Path(__file__).resolve().parents[2] / "tools" / "generate_float_mills.py"


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_float_mills", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_regenerating_gives_the_same_file() -> None:
    tool = _tool()
    assert tool.generate() == tool.TARGET.read_text()


def _quotient(u: float) -> Any:
    exact = mpmath.mpf(u)
    ratio = mpmath.ncdf(-exact) / mpmath.npdf(exact)
    return ratio / (1 - exact * ratio)


def test_quotient_by_both_engines() -> None:
    points = np.concatenate([np.linspace(-1, 3, 401), np.linspace(3, 40, 371)])
    by_array = np.empty_like(points)
    array_mills.quotient(points, by_array)
    with mpmath.workdps(50):
        for u, from_array in zip(points.tolist(), by_array.tolist(), strict=True):
            exact = _quotient(u)
            assert abs(mills.quotient(u) / exact - 1) <= 18 * EPS
            assert abs(from_array / exact - 1) <= 7 * EPS


def test_quotient_far_out_is_its_argument() -> None:
    for u in (1e8, 1e15, 1e20, 1e300):
        assert mills.quotient(u) == pytest.approx(u, rel=1e-10)


def test_coefficients_are_positive_so_that_nothing_cancels() -> None:
    assert min(*QUOTIENT_NUMERATOR, *QUOTIENT_DENOMINATOR) > 0


def test_correction_is_its_integral() -> None:
    # t**3 psi = integral over y from 0 to t of cosh(h (t - y)) (1 - exp(-y**2 / 2))
    assert CORRECTION[0][0] == pytest.approx(1 / 6, rel=EPS)
    with mpmath.workdps(40):
        for z in (0.0, 0.1, 0.35, 0.6):
            for t in (0.01, 0.1, 0.25):
                h = mpmath.mpf(z) / mpmath.mpf(t)

                def weight(y: Any, h: Any = h, t: float = t) -> Any:
                    return mpmath.cosh(h * (t - y)) * -mpmath.expm1(-y * y / 2)

                exact = mpmath.quad(weight, [0, t]) / mpmath.mpf(t) ** 3
                assert abs(mills.correction(z * z, t * t) / exact - 1) <= 4 * EPS


@pytest.mark.parametrize(("h", "t"), [(0.0, 0.2), (0.3, 0.24), (1.0, 0.2), (2.2, 0.25)])
def test_two_ways_to_a_price_over_its_vega(h: float, t: float) -> None:
    x = 2 * h * t
    sinhc = 2 * math.sinh(x / 2) / x if x else 1.0
    near, far = mills.near_ratio(x, 2 * t, sinhc), mills.far_ratio(h, t)
    assert near == pytest.approx(far, rel=100 * EPS)
    by_array = array_mills.near_ratio(np.array([x]), np.array([2 * t]), np.array([sinhc]))
    assert by_array[0] == pytest.approx(near, rel=20 * EPS)


def test_price_and_what_it_lacks_make_the_whole() -> None:
    # R(a) + R(-a) = 1 / n(a): with a = h - t, far_ratio + deep_ratio = R(a) + R(-a)
    for h, t in ((0.5, 0.9), (1.0, 1.0), (0.0, 1.0)):
        whole = 1 / (mills.INV_SQRT_2PI * math.exp(-0.5 * (h - t) ** 2))
        assert mills.far_ratio(h, t) + mills.deep_ratio(h, t) == pytest.approx(whole, rel=1e-14)


def test_units_are_converted_explicitly() -> None:
    assert per_day(-36.5) == -0.1
    assert per_vol_point(39.7) == 0.397
    np.testing.assert_array_equal(per_day(np.array([365.0, 730.0])), [1.0, 2.0])
    assert [field.name for field in attrs.fields(Greeks)] == (
        ["price", "delta", "gamma", "vega", "theta", "rho", "vanna", "volga", "charm"]
    )
