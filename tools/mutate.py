"""Change the contracts one place at a time and see whether a test notices.

    python -m tools.mutate --list                       what would be run, without running it
    python -m tools.mutate --file Adjudicator.sol       all mutants of a file
    python -m tools.mutate --file Adjudicator.sol:300-400 --operators guard,statement
    python -m tools.mutate --sample 100 --seed 7 --minutes 60
    python -m tools.mutate --survivors                  those that survived before, once more;
                                                        what was killed is taken to be so still

Nothing in the checkout is changed: the contracts are copied to a scratch directory and built there
as they ship, once. One mutant is tested at a time. It is *killed* if a test fails (tests that
measure gas do not count and are not run; the stateful invariants are run last), *stillborn* if it
does not compile or compiles to the same code, else it *survived*.
Only forge's tests are run: what the Python tests alone compare with a contract (prices, margins)
survives here.

Order is that of `tools.mutation.operators.OPERATORS`, and within an operator drawn by the seed: a
run that is out of time has done what matters most. Results go to ``--results`` after each mutant;
the next run goes on from there as long as neither contracts nor tests have changed.

Exit status: 0 if every survivor is explained in ``tools/mutants_explained.toml``, 1 if not, 2 if
the unchanged contracts fail.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Final

from tools.mutation.build import CompileError, Name, Workshop
from tools.mutation.operators import OPERATORS, Mutant, mutants_of
from tools.mutation.report import (
    KILLED,
    STILLBORN,
    SURVIVED,
    Outcome,
    markdown,
    outcome_of,
    read_explanations,
    read_outcomes,
    unexplained,
    write_outcomes,
)

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = "contracts/src"
NOT_MUTATED: Final = "contracts/src/testing/"
EXPLAINED: Final = ROOT / "tools" / "mutants_explained.toml"
RESULTS: Final = ROOT / "build" / "mutants.json"

NOT_RUN: Final = "contracts/test/gas/"
RUN_LAST: Final = "contracts/test/invariant/"
SEED: Final = "0x6d7574616e7473"
"""Of forge's fuzzing: the same figures for each mutant."""

TEST_TIMEOUT: Final = 1_800
"""Seconds, far beyond what all tests take: a mutant that has not ended by then counts as killed."""

_FAILURE: Final = re.compile(r"\[FAIL.*?\]\s+(\w+)\(", re.DOTALL)


def select(files: Sequence[str], operators: Sequence[str], seed: int, root: Path) -> list[Mutant]:
    """Mutants in the order in which to run them.

    ``files`` are ends of paths, with or without ``:first-last`` lines; none means every file.

    Raises:
        ValueError: nothing is called so.
    """
    found: dict[str, Mutant] = {}
    paths = [path.relative_to(root).as_posix() for path in sorted((root / SOURCES).rglob("*.sol"))]
    for wanted in files or [""]:
        name, _, lines = wanted.partition(":")
        first, _, last = lines.partition("-")
        chosen = [path for path in paths if f"/{path}".endswith(f"/{name}" if name else "")]
        if not chosen:
            raise ValueError(f"no contract source is called {name}")
        for path in chosen:
            if path.startswith(NOT_MUTATED):
                continue
            for mutant in mutants_of(path, (root / path).read_text()):
                inside = not lines or int(first) <= mutant.line <= int(last or first)
                if inside and mutant.operator in operators:
                    found[mutant.key] = mutant
    rank = {name: place for place, name in enumerate(OPERATORS)}

    def order(mutant: Mutant) -> tuple[int, str]:
        draw = hashlib.sha256(f"{seed}:{mutant.key}".encode()).hexdigest()
        return rank[mutant.operator], draw

    return sorted(found.values(), key=order)


def draw_sample(mutants: Sequence[Mutant], size: int, seed: int) -> list[Mutant]:
    """``size`` of them by the seed, each as likely as the other, in the order they had."""
    by_draw = sorted(
        mutants, key=lambda each: hashlib.sha256(f"{each.key}:{seed}".encode()).digest()
    )
    drawn = {each.key for each in by_draw[:size]}
    return [mutant for mutant in mutants if mutant.key in drawn]


def failing_test(workshop: Workshop, tests: Sequence[Name]) -> str:
    """Name of a test among these contracts that fails, or ``""``; the invariants come last."""
    for last in (False, True):
        counted = [(path, name) for path, name in tests if not path.startswith(NOT_RUN)]
        names = sorted({name for path, name in counted if path.startswith(RUN_LAST) == last})
        if not names:
            continue
        chosen = f"^({'|'.join(names)})$"
        command = (
            "test",
            "--match-contract",
            chosen,
            "--no-match-path",
            f"{NOT_RUN}**",
            "--fail-fast",
        )
        try:
            run = workshop.forge(
                *command, "--fuzz-seed", SEED, "--threads", "1", timeout=TEST_TIMEOUT
            )
        except TimeoutExpired:
            return "no end"
        if run.returncode:
            failure = _FAILURE.search(run.stdout)
            if failure is None:
                raise CompileError(run.stdout + run.stderr)
            return failure.group(1)
    return ""


def run_mutant(workshop: Workshop, mutant: Mutant, root: Path) -> Outcome:
    """Compile a mutant, run its tests, put everything back."""
    started = _processor_seconds()

    def outcome(verdict: str, detail: str) -> Outcome:
        return outcome_of(mutant, verdict, detail, _processor_seconds() - started)

    try:
        changed = workshop.install(mutant.file, mutant.apply((root / mutant.file).read_text()))
    except CompileError as error:
        return outcome(STILLBORN, str(error).splitlines()[0])
    try:
        if not changed:
            return outcome(STILLBORN, "the same code")
        killer = failing_test(workshop, workshop.tests(mutant.file))
    finally:
        workshop.restore(mutant.file)
    return outcome(KILLED if killer else SURVIVED, killer)


def _processor_seconds() -> float:
    """Time that compiler and forge have computed so far, whatever else the machine does."""
    spent = os.times()
    return spent.children_user + spent.children_system


def digest_tree(root: Path) -> str:
    """Digest of all that a result depends on: contracts, tests, settings."""
    digest = hashlib.sha256((root / "foundry.toml").read_bytes())
    for path in sorted((root / "contracts").rglob("*.sol")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Mutation testing of the contracts.")
    parser.add_argument("--file", action="append", default=[], metavar="NAME[:FIRST-LAST]")
    parser.add_argument("--operators", default=",".join(OPERATORS), metavar="NAME,...")
    parser.add_argument("--sample", type=int, help="this many, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin none after")
    parser.add_argument("--survivors", action="store_true", help="only those that survived before")
    parser.add_argument("--list", action="store_true", help="show what would be run")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", type=Path, help="Markdown; by default beside the results")
    parser.add_argument("--scratch", type=Path, help="directory for the copy; by default a new one")
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree to test")
    options = parser.parse_args(arguments)
    options.operators = options.operators.split(",")
    if strange := set(options.operators) - set(OPERATORS):
        parser.error(
            f"no such operator: {', '.join(sorted(strange))}; there are {', '.join(OPERATORS)}"
        )
    return options


def run_all(
    workshop: Workshop,
    mutants: Sequence[Mutant],
    outcomes: dict[str, Outcome],
    tree: str,
    options: argparse.Namespace,
) -> None:
    """Run these, and store all outcomes after each."""
    started = time.monotonic()
    for number, mutant in enumerate(mutants):
        if time.monotonic() - started > 60 * options.minutes:
            print(f"out of time: {len(mutants) - number} not run", flush=True)
            return
        outcome = run_mutant(workshop, mutant, options.root)
        outcomes[mutant.key] = outcome
        write_outcomes(options.results, tree, outcomes.values())
        print(f"{number + 1}/{len(mutants)} {shown(mutant)}", flush=True)
        print(f"    {outcome.verdict} in {outcome.seconds:.0f} s {outcome.detail}", flush=True)


def shown(mutant: Mutant) -> str:
    """A mutant in one line."""
    place = f"{mutant.file.removeprefix(SOURCES + '/')}:{mutant.line}"
    return f"{place} {mutant.operator}: {mutant.original!r} -> {mutant.replacement!r}"


def test_mutants(
    mutants: Sequence[Mutant], outcomes: dict[str, Outcome], tree: str, options: argparse.Namespace
) -> str:
    """Build, see that every test passes, and run; return what is wrong before any mutant."""
    with tempfile.TemporaryDirectory() as temporary:
        workshop = Workshop(options.root, options.scratch or Path(temporary))
        try:
            print("building the unchanged contracts", flush=True)
            workshop.prepare()
            print("running their tests", flush=True)
            every = [name for name, contract in workshop.contracts.items() if contract.test]
            if failure := failing_test(workshop, every):
                return f"fails without any mutant: {failure}"
        except CompileError as error:
            return str(error)
        run_all(workshop, mutants, outcomes, tree, options)
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; see the module for what it returns."""
    options = parse(arguments)
    try:
        mutants = select(options.file, options.operators, options.seed, options.root)
        explanations = read_explanations(EXPLAINED)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    tree = digest_tree(options.root)
    stored_tree, stored = read_outcomes(options.results)
    outcomes = {outcome.key: outcome for outcome in stored}
    if options.survivors:
        survived = {key for key, outcome in outcomes.items() if outcome.verdict == SURVIVED}
        mutants = [mutant for mutant in mutants if mutant.key in survived]
        present = {mutant.key for mutant in select([], list(OPERATORS), 0, options.root)}
        outcomes = {key: outcome for key, outcome in outcomes.items() if key in present}
    if options.sample is not None:
        mutants = draw_sample(mutants, options.sample, options.seed)
    if options.list:
        print(*map(shown, mutants), f"{len(mutants)} mutants", sep="\n")
        return 0
    if not options.survivors:
        outcomes = outcomes if stored_tree == tree else {}
        mutants = [mutant for mutant in mutants if mutant.key not in outcomes]
    if mutants and (fault := test_mutants(mutants, outcomes, tree, options)):
        print(fault, file=sys.stderr)
        return 2
    results = list(outcomes.values())
    report = options.report or options.results.with_suffix(".md")
    report.write_text(markdown(results, explanations))
    open_ones = unexplained(results, explanations)
    print(f"{len(open_ones)} survivors without an explanation; see {report}")
    return 1 if open_ones else 0


if __name__ == "__main__":
    raise SystemExit(main())
