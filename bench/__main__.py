"""``make bench``: run every benchmark, print one table, write its page, its plot and its JSON."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Final

from bench.plot import draw_results
from bench.results import Machine, Result, as_table, write_page, write_results
from bench.timing import be_quick

_ROOT: Final = Path(__file__).resolve().parent.parent
_MODULES: Final = (
    "pricing_float",
    "pricing_integer",
    "surface",
    "gas",
    "updates",
    "transport",
    "tower",
    "tower_chain",
)


def main() -> None:
    """Measure; a part of it (``--only``) or in haste (``--quick``) leaves page and plot be."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=_MODULES, action="append", help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="a tenth of the time, rough figures")
    arguments = parser.parse_args()
    if arguments.quick:
        be_quick()
    results: list[Result] = []
    for name in arguments.only or _MODULES:
        for result in importlib.import_module(f"bench.{name}").measure():
            print(f"{name}: {result.name}", file=sys.stderr, flush=True)
            results.append(result)
    machine = Machine.here()
    print(f"{machine}\n\n{as_table(results)}")
    write_results(results, machine, _ROOT / "build" / "bench.json")
    if not (arguments.only or arguments.quick):
        write_page(results, machine, _ROOT / "docs" / "benchmarks.md")
        picture = _ROOT / "docs" / "assets" / "benchmarks.svg"
        picture.write_bytes(draw_results(results, machine))


if __name__ == "__main__":
    main()
