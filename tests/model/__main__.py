"""Explore every game, then see that each removed rule is found: ``python -m tests.model``.

    python -m tests.model                         all games, up to a million positions each
    python -m tests.model --most 100000           fewer
    python -m tests.model --only closing          games and mutants whose name holds a word
    python -m tests.model --mutants               the removed rules alone

Exit status 1 if a guarantee is violated, or a removed rule goes unnoticed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.model.runs import HONEST, HOSTILE, MUTANTS
from tests.model.search import explore
from tests.model.stand_ins import installed

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for, and print its figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--most", type=int, default=1_000_000, help="positions a game")
    parser.add_argument("--only", default="", help="part of a name")
    parser.add_argument("--mutants", action="store_true", help="no games, only removed rules")
    parser.add_argument("--layers", action="store_true", help="say each depth as it is done")
    options = parser.parse_args(arguments)
    told = print if options.layers else None
    failed = False
    for rules in () if options.mutants else (*HONEST, *HOSTILE):
        if options.only not in rules.name:
            continue
        with installed():
            found = explore(rules, most=options.most, told=told)
        print(found.line(), *(f"    {move}" for move in found.trace), sep="\n", flush=True)
        failed |= bool(found.violation)
    for mutant in MUTANTS:
        if options.only not in mutant.name:
            continue
        with installed(*mutant.swaps):
            found = explore(mutant.game, most=options.most, told=told)
        name = f"{mutant.name}, in {found.name!r}"
        print(name, found.line(), *(f"    {move}" for move in found.trace), sep="\n", flush=True)
        failed |= not found.violation.startswith(mutant.breaks) or not found.violation
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
