"""Generate the engine's constants, for Python and for Solidity, from ``coefficients.json``.

Usage: ``python tools/generate_coefficients.py [--check]``. Writes
``channels/pricing/coefficients.py`` and ``contracts/src/risk/Coefficients.sol``. With ``--check``
nothing is written and the exit status says whether both files are what the source gives.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

_ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = _ROOT / "channels" / "pricing" / "coefficients.json"
TARGET: Final = _ROOT / "channels" / "pricing" / "coefficients.py"
SOLIDITY_TARGET: Final = _ROOT / "contracts" / "src" / "risk" / "Coefficients.sol"

Constants = Sequence[tuple[str, int]]
Block = tuple[Sequence[str], Constants]
"""Comment lines, and the constants below them."""


def _numbered(
    prefix: str, values: Sequence[str | int], first: int = 0, step: int = 1
) -> Iterator[tuple[str, int]]:
    for index, value in enumerate(values):
        yield f"{prefix}{first + step * index}", int(value)


def _blocks(table: dict[str, Any]) -> Iterator[Block]:
    mills, atanh, exp = table["mills_rational_q96"], table["atanh_ln_q96"], table["exp_pade_8_8"]
    yield (), [("LN2", int(table["ln2_q96"]))]
    yield (), [("INV_SQRT_2PI", int(table["inv_sqrt_2pi_q96"]))]
    yield (mills["form"], f"on {mills['domain']}; error {mills['max_abs_error']}"), ()
    yield (), list(_numbered("MILLS_N", mills["numerator_low_to_high"]))
    yield (), list(_numbered("MILLS_D", mills["denominator_low_to_high"]))
    yield (atanh["form"], f"on {atanh['domain']}; error {atanh['max_error']}"), ()
    yield (), list(_numbered("LN_C", atanh["coefficients_low_to_high"]))
    yield (
        (f"{exp['form']}, in Q96", f"on {exp['domain']}; relative error {exp['max_rel_error']}"),
        (),
    )
    yield (), list(_numbered("EXP_E", [value << 96 for value in exp["even_r0_to_r8"]], 0, 2))
    yield (), list(_numbered("EXP_O", [value << 96 for value in exp["odd_r1_to_r7"]], 1, 2))


@cache
def _source() -> tuple[list[Block], str]:
    source = SOURCE.read_bytes()
    return list(_blocks(json.loads(source))), hashlib.sha256(source).hexdigest()


def generate() -> str:
    """Text of the Python module."""
    blocks, digest = _source()
    parts = [
        '"""Constants of the integer engine. Generated from coefficients.json; do not edit.\n\n'
        "``python tools/generate_coefficients.py`` writes this file; a test compares the two.\n"
        '"""',
        "from __future__ import annotations",
        "from typing import Final",
        f'SOURCE_SHA256: Final = "{digest}"\n'
        '"""SHA-256 of coefficients.json; shared test vectors carry it."""',
    ]
    for comments, constants in blocks:
        lines = [f"# {comment}" for comment in comments]
        lines += [f"{name}: Final = {value}" for name, value in constants]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def generate_solidity() -> str:
    """Text of the Solidity library."""
    blocks, digest = _source()
    parts = [
        "    /// @notice SHA-256 of coefficients.json; shared test vectors carry it.\n"
        f"    bytes32 internal constant SOURCE_SHA256 = 0x{digest};"
    ]
    for comments, constants in blocks:
        lines = [f"    // {comment}" for comment in comments]
        lines += [f"    uint256 internal constant {name} = {value};" for name, value in constants]
        parts.append("\n".join(lines))
    return (
        "// SPDX-License-Identifier: MIT\n"
        "pragma solidity ^0.8.28;\n\n"
        "/// @notice Constants of the integer engine, in Q96. Generated from coefficients.json; do "
        "not edit.\n"
        "/// @dev `python tools/generate_coefficients.py` writes this file; a test compares the "
        "two.\n"
        "library Coefficients {\n" + "\n\n".join(parts) + "\n}\n"
    )


GENERATED: Final[dict[Path, Callable[[], str]]] = {
    TARGET: generate,
    SOLIDITY_TARGET: generate_solidity,
}
"""Every file this tool writes, and what writes its text."""


def main() -> int:
    """Write both files, or compare them."""
    parser = argparse.ArgumentParser(description="Generate the integer engine's constants.")
    parser.add_argument("--check", action="store_true", help="compare only; 1 if they differ")
    check = parser.parse_args().check
    stale = [
        path for path, text in GENERATED.items() if not path.exists() or path.read_text() != text()
    ]
    if not check:
        for path in stale:
            path.write_text(GENERATED[path]())
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
