"""The constants: generated as they should be, and as accurate as they claim."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
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


def test_regenerating_gives_the_same_files() -> None:
    path = ROOT / "tools" / "generate_coefficients.py"
    spec = importlib.util.spec_from_file_location("generate_coefficients", path)
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert generator.generate() == Path(coefficients.__file__).read_text()
    assert {path.suffix for path in generator.GENERATED} == {".py", ".sol"}
    for path, text in generator.GENERATED.items():
        assert text() == path.read_text()


def test_plain_constants() -> None:
    assert int(mpmath.nint(mpmath.ln2 * Q96)) == coefficients.LN2
    inverse = 1 / mpmath.sqrt(2 * mpmath.pi)
    assert int(mpmath.nint(inverse * Q96)) == coefficients.INV_SQRT_2PI


def _polynomial(values: list[str], x: Any) -> Any:
    return _horner([mpmath.mpf(int(value)) / Q96 for value in values], x)


def _horner(low_to_high: Sequence[Any], x: Any) -> Any:
    total = mpmath.mpf(0)
    for value in reversed(low_to_high):
        total = total * x + value
    return total


def test_mills_ratio_is_as_accurate_as_claimed() -> None:
    table = TABLE["mills_rational_q96"]

    def errors(u: Any) -> tuple[Any, Any]:
        exact = mpmath.sqrt(mpmath.pi / 2) * mpmath.exp(u * u / 2) * mpmath.erfc(u / mpmath.sqrt(2))
        rational = _polynomial(table["numerator_low_to_high"], u) / _polynomial(
            table["denominator_low_to_high"], u
        )
        return abs(rational - exact), abs(rational / exact - 1)

    # denser towards 0, where the error's waves are short
    grid = [16 * (mpmath.mpf(i) / 1500) ** 2 for i in range(1501)]
    absolute, relative = zip(*map(errors, grid), strict=True)
    assert max(absolute) <= mpmath.mpf(table["max_abs_error"])
    assert max(relative) <= mpmath.mpf(table["max_rel_error"])


def test_logarithm_series_is_as_accurate_as_claimed() -> None:
    table = TABLE["atanh_ln_q96"]
    root = mpmath.sqrt(2)
    edge = (root - 1) / (root + 1)

    def error(z: Any) -> Any:
        series = z * _polynomial(table["coefficients_low_to_high"], z * z)
        return abs(series - mpmath.log((1 + z) / (1 - z)))

    claimed = mpmath.mpf(table["max_error"])
    assert max(error(edge * i / 500) for i in range(501)) <= claimed
    # the engine's edge is 99/70, not the root of 2
    assert error(mpmath.mpf(29) / 169) <= 2 * claimed


def test_exponential_is_as_accurate_as_claimed() -> None:
    table = TABLE["exp_pade_8_8"]

    def error(r: Any) -> Any:
        even = _horner(table["even_r0_to_r8"], r * r)
        odd = r * _horner(table["odd_r1_to_r7"], r * r)
        return abs((even - odd) / (even + odd) * mpmath.exp(r) - 1)

    grid = (mpmath.ln2 / 2 * i / 500 for i in range(-500, 501))
    assert max(map(error, grid)) <= mpmath.mpf(table["max_rel_error"])
