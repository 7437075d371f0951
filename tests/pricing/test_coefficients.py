"""The constants: generated as they should be, and as accurate as they claim."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import mpmath
import pytest

from channels.pricing import coefficients

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "channels" / "pricing" / "coefficients.json"
TABLE: dict[str, Any] = json.loads(SOURCE.read_text())
Q96 = 2**96


@pytest.fixture(autouse=True)
def _precision() -> Any:
    with mpmath.workdps(50):
        yield


def test_regenerating_gives_the_same_module() -> None:
    path = ROOT / "tools" / "generate_coefficients.py"
    spec = importlib.util.spec_from_file_location("generate_coefficients", path)
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert generator.generate() == Path(coefficients.__file__).read_text()


def test_plain_constants() -> None:
    assert int(mpmath.nint(mpmath.ln2 * Q96)) == coefficients.LN2
    inverse = 1 / mpmath.sqrt(2 * mpmath.pi)
    assert int(mpmath.nint(inverse * Q96)) == coefficients.INV_SQRT_2PI


def _polynomial(values: list[str], x: Any) -> Any:
    return mpmath.polyval([mpmath.mpf(int(value)) / Q96 for value in reversed(values)], x)


def test_mills_ratio_is_as_accurate_as_claimed() -> None:
    table = TABLE["mills_rational_q96"]

    def error(u: Any) -> Any:
        exact = mpmath.sqrt(mpmath.pi / 2) * mpmath.exp(u * u / 2) * mpmath.erfc(u / mpmath.sqrt(2))
        rational = _polynomial(table["numerator_low_to_high"], u) / _polynomial(
            table["denominator_low_to_high"], u
        )
        return abs(rational / exact - 1)

    # denser towards 0, where the error's waves are short
    grid = [16 * (mpmath.mpf(i) / 1500) ** 2 for i in range(1501)]
    assert max(map(error, grid)) <= mpmath.mpf(table["max_rel_error"]) * mpmath.mpf("1.05")


def test_logarithm_series_is_as_accurate_as_claimed() -> None:
    table = TABLE["atanh_ln_q96"]
    root = mpmath.sqrt(2)
    edge = (root - 1) / (root + 1)

    def error(z: Any) -> Any:
        series = z * _polynomial(table["coefficients_low_to_high"], z * z)
        return abs(series - mpmath.log((1 + z) / (1 - z)))

    assert max(error(edge * i / 500) for i in range(501)) <= mpmath.mpf(table["max_error"]) * 1.05
    # the engine's edge is 99/70, not the root of 2
    assert error(mpmath.mpf(29) / 169) <= 5e-29


def test_exponential_is_as_accurate_as_claimed() -> None:
    table = TABLE["exp_pade_8_8"]

    def error(r: Any) -> Any:
        even = mpmath.polyval(list(reversed(table["even_r0_to_r8"])), r * r)
        odd = r * mpmath.polyval(list(reversed(table["odd_r1_to_r7"])), r * r)
        return abs((even - odd) / (even + odd) - mpmath.exp(-r))

    grid = (mpmath.ln2 / 2 * i / 500 for i in range(-500, 501))
    # claimed for exp(-y) with y's fraction of ln 2 centred; the upper half is up to 1.42 as large
    claimed = mpmath.mpf(table["max_error_with_ln2_reduction"])
    assert max(map(error, grid)) <= 2 * claimed
