"""Generate ``channels/pricing/coefficients.py`` from ``channels/pricing/coefficients.json``.

Usage: ``python tools/generate_coefficients.py [--check]``. With ``--check`` nothing is written and
the exit status says whether the module is what the source file gives.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_PRICING = Path(__file__).resolve().parent.parent / "channels" / "pricing"
SOURCE = _PRICING / "coefficients.json"
TARGET = _PRICING / "coefficients.py"


def _numbered(prefix: str, values: Sequence[str | int], first: int = 0, step: int = 1) -> str:
    lines = (
        f"{prefix}{first + step * index}: Final = {int(value)}"
        for index, value in enumerate(values)
    )
    return "\n".join(lines)


def _blocks(table: dict[str, Any], digest: str) -> Iterator[str]:
    mills, atanh, exp = table["mills_rational_q96"], table["atanh_ln_q96"], table["exp_pade_8_8"]
    yield (
        '"""Constants of the integer engine. Generated from coefficients.json; do not edit.\n\n'
        "``python tools/generate_coefficients.py`` writes this file; a test compares the two.\n"
        '"""'
    )
    yield "from __future__ import annotations"
    yield "from typing import Final"
    yield (
        f'SOURCE_SHA256: Final = "{digest}"\n'
        '"""SHA-256 of coefficients.json; shared test vectors carry it."""'
    )
    yield f"LN2: Final = {int(table['ln2_q96'])}"
    yield f"INV_SQRT_2PI: Final = {int(table['inv_sqrt_2pi_q96'])}"
    yield f"# {mills['form']}\n# on {mills['domain']}; error {mills['max_abs_error']}"
    yield _numbered("MILLS_N", mills["numerator_low_to_high"])
    yield _numbered("MILLS_D", mills["denominator_low_to_high"])
    yield f"# {atanh['form']}\n# on {atanh['domain']}; error {atanh['max_error']}"
    yield _numbered("LN_C", atanh["coefficients_low_to_high"])
    yield f"# {exp['form']}, in Q96\n# on {exp['domain']}; relative error {exp['max_rel_error']}"
    yield _numbered("EXP_E", [value << 96 for value in exp["even_r0_to_r8"]], 0, 2)
    yield _numbered("EXP_O", [value << 96 for value in exp["odd_r1_to_r7"]], 1, 2)


def generate() -> str:
    """Text of the generated module."""
    source = SOURCE.read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    return "\n\n".join(_blocks(json.loads(source), digest)) + "\n"


def main() -> int:
    """Write the module, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    if parser.parse_args().check:
        return 0 if TARGET.read_text() == generate() else 1
    TARGET.write_text(generate())
    return 0


if __name__ == "__main__":
    sys.exit(main())
