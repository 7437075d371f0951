"""Fit the constants of the float engine's special functions, in 40 digits, and write them.

Usage: ``python tools/generate_float_mills.py [--check]``. Writes
``channels/pricing/float_coefficients.py``. With ``--check`` nothing is written and the exit status
says whether the file is what this script gives.

Two functions are fitted (their meaning: ``channels/pricing/mills.py``):

- the quotient V(u) = R(u) / (1 - u R(u)), R the Mills ratio of the normal distribution, by a
  rational [11/10] in u + 1 of least greatest relative error on [-1, 40] (Remez's exchange);
- the lognormal correction psi(p, q), a double power series, by a polynomial of total degree 5 on
  p <= 0.36, q <= 0.0625 (least squares on Chebyshev nodes: economised, so far better than cut off).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import mpmath

TARGET: Final = (
    Path(__file__).resolve().parent.parent / "channels" / "pricing" / "float_coefficients.py"
)
DIGITS: Final = 40
FIRST: Final = -1
LAST: Final = 40
"""Ends of the interval of V: beyond the last the normal density is no double."""

_NUMERATOR: Final = 11
_DENOMINATOR: Final = 10
_GRID: Final = 900
_CENTRE: Final = 3
_DEGREE: Final = 5
_NODES: Final = 14
_TERMS: Final = 14


def mills(u: Any) -> Any:
    """Return N(-u) / n(u)."""
    return mpmath.sqrt(mpmath.pi / 2) * mpmath.exp(u * u / 2) * mpmath.erfc(u / mpmath.sqrt(2))


def quotient(u: Any) -> Any:
    """Return V(u)."""
    ratio = mills(u)
    return ratio / (1 - u * ratio)


def correction(p: Any, q: Any) -> Any:
    """Return psi(p, q) from its series; 14 terms each way leave less than 1e-30 of it out."""
    return mpmath.fsum(
        (-1) ** k
        * mpmath.fac(2 * k + 2)
        / (2 ** (k + 1) * mpmath.fac(k + 1) * mpmath.fac(2 * k + 3 + 2 * j))
        * p**j
        * q**k
        for k in range(_TERMS)
        for j in range(_TERMS)
    )


def fit_quotient() -> tuple[list[Any], list[Any], Any]:
    """Return numerator and denominator in w = u + 1, lowest first, and the greatest relative error.

    The grid is that of Chebyshev in (w - 3) / (w + 3), which spreads the error's waves evenly.
    """
    size = _NUMERATOR + _DENOMINATOR + 2
    grid = _chebyshev(_GRID)
    values = [quotient(w + FIRST) for w in grid]
    reference = [round(i * _GRID / (size - 1)) for i in range(size)]
    while True:
        numerator, denominator, level = _levelled(
            [grid[i] for i in reference], [values[i] for i in reference]
        )
        errors = [
            _polynomial(numerator, w) / _polynomial(denominator, w) / v - 1
            for w, v in zip(grid, values, strict=True)
        ]
        worst = max(map(abs, errors))
        if worst < level * 1.01:
            return numerator, denominator, worst
        reference = _extremes(errors, size)


def _chebyshev(intervals: int) -> list[Any]:
    """Points from 0 to LAST - FIRST, ends included."""
    length = LAST - FIRST
    low, high = mpmath.mpf(-1), mpmath.mpf(length - _CENTRE) / (length + _CENTRE)
    mapped = (
        (low + high) / 2 - (high - low) / 2 * mpmath.cos(mpmath.pi * i / intervals)
        for i in range(intervals + 1)
    )
    return [_CENTRE * (1 + y) / (1 - y) for y in mapped]


def _levelled(points: Sequence[Any], values: Sequence[Any]) -> tuple[list[Any], list[Any], Any]:
    """Fit so that the relative errors at the points are +e, -e, +e, ... ; return e besides."""
    size = len(points)
    denominator = [mpmath.mpf(1)] + [mpmath.mpf(0)] * _DENOMINATOR
    for _ in range(8):  # e times the denominator is not linear: take the last one there
        rows, right = mpmath.matrix(size, size), mpmath.matrix(size, 1)
        for i, (w, v) in enumerate(zip(points, values, strict=True)):
            for j in range(_NUMERATOR + 1):
                rows[i, j] = w**j
            for j in range(1, _DENOMINATOR + 1):
                rows[i, _NUMERATOR + j] = -v * w**j
            rows[i, size - 1] = -((-1) ** i) * v * _polynomial(denominator, w)
            right[i] = v
        solution = mpmath.lu_solve(rows, right)
        numerator = [solution[j] for j in range(_NUMERATOR + 1)]
        denominator = [mpmath.mpf(1)] + [solution[_NUMERATOR + j + 1] for j in range(_DENOMINATOR)]
    return numerator, denominator, abs(solution[size - 1])


def _extremes(errors: Sequence[Any], wanted: int) -> list[int]:
    """Where each wave of the error is greatest; superfluous ones are dropped from the ends."""
    found = [0]
    for i, error in enumerate(errors):
        if (error > 0) != (errors[found[-1]] > 0):
            found.append(i)
        elif abs(error) > abs(errors[found[-1]]):
            found[-1] = i
    while len(found) > wanted:
        found.pop(0 if abs(errors[found[0]]) < abs(errors[found[-1]]) else -1)
    if len(found) < wanted:
        raise ArithmeticError(f"{len(found)} waves of error, {wanted} needed: no convergence")
    return found


def _polynomial(coefficients: Sequence[Any], x: Any) -> Any:
    total = mpmath.mpf(0)
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


P_MAX: Final = "0.36"
Q_MAX: Final = "0.0625"


def fit_correction() -> list[list[Any]]:
    """Return the rows of coefficients: row k belongs to q**k, its entries to p**0, p**1, ..."""
    terms = [(j, k) for k in range(_DEGREE + 1) for j in range(_DEGREE + 1 - k)]
    p_max, q_max = mpmath.mpf(P_MAX), mpmath.mpf(Q_MAX)
    nodes = [(1 - mpmath.cos(mpmath.pi * (2 * i + 1) / (2 * _NODES))) / 2 for i in range(_NODES)]
    points = [(x, y) for x in nodes for y in nodes]
    rows, right = mpmath.matrix(len(points), len(terms)), mpmath.matrix(len(points), 1)
    for i, (x, y) in enumerate(points):
        for column, (j, k) in enumerate(terms):
            rows[i, column] = x**j * y**k
        right[i] = correction(p_max * x, q_max * y)
    solution = mpmath.lu_solve(rows.T * rows, rows.T * right)
    table: list[list[Any]] = [[] for _ in range(_DEGREE + 1)]
    for column, (j, k) in enumerate(terms):
        table[k].append(solution[column] / (p_max**j * q_max**k))
    return table


def generate() -> str:
    """Text of the module."""
    with mpmath.workdps(DIGITS):
        numerator, denominator, worst = fit_quotient()
        table = fit_correction()
        parts = [
            '"""Constants of the float engine. Generated; do not edit.\n\n'
            "``python tools/generate_float_mills.py`` fits them and writes this file; a test "
            "compares.\n"
            '"""',
            "from __future__ import annotations",
            "from typing import Final",
            f"# V(u) = R(u) / (1 - u R(u)) on [{FIRST}, {LAST}], in powers of u + 1, lowest first; "
            f"relative error {mpmath.nstr(worst, 3)}\n"
            + _vector("QUOTIENT_NUMERATOR", numerator)
            + "\n"
            + _vector("QUOTIENT_DENOMINATOR", denominator),
            f"# psi(p, q) for p <= {P_MAX}, q <= {Q_MAX}: row k is that of q**k, in powers of p\n"
            + "CORRECTION: Final = (\n"
            + "".join(map(_row, table))
            + ")",
        ]
    return "\n\n".join(parts) + "\n"


def _lines(values: Sequence[Any], indent: int) -> str:
    return "\n" + "".join(f"{' ' * indent}{float(value)!r},\n" for value in values)


def _row(values: Sequence[Any]) -> str:
    if len(values) == 1:  # as the formatter writes it
        return f"    ({float(values[0])!r},),\n"
    return f"    ({_lines(values, 8)}    ),\n"


def _vector(name: str, values: Sequence[Any]) -> str:
    return f"{name}: Final = ({_lines(values, 4)})"


def main() -> int:
    """Write the file, or compare it."""
    parser = argparse.ArgumentParser(description="Generate the float engine's constants.")
    parser.add_argument("--check", action="store_true", help="compare only; 1 if it differs")
    check = parser.parse_args().check
    text = generate()
    stale = not TARGET.exists() or TARGET.read_text() != text
    if stale and not check:
        TARGET.write_text(text)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
