"""Prove what the contracts promise, and look for what a static analyser finds: halmos and slither.

    python tools/prove.py                      everything
    python tools/prove.py --match close        the proofs whose name matches
    python tools/prove.py --only slither       the static analysis alone

halmos runs every ``check_*`` of ``contracts/test/prove`` against the compiled Adjudicator, each in
a process of its own. slither runs all its detectors over ``contracts/src``; each finding must be
explained in ``tools/slither_findings.toml``, and each explanation must be of use. Exit status 1 if
a property does not hold, could not be decided, or took too long, or if a finding has no
explanation.

Needs the tooling of package.json (``npm ci``), halmos and slither beside the running interpreter
(``make prove`` sees to all of it). Builds go to directories of their own.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import attrs

ROOT: Final = Path(__file__).resolve().parent.parent
SCRATCH: Final = Path("build", "prove")
SPECIFICATIONS: Final = "contracts/test/prove"
SOURCES: Final = "contracts/src"
FINDINGS: Final = ROOT / "tools" / "slither_findings.toml"
FORGE: Final = str(ROOT / "tools" / "forge")
BINARIES: Final = Path(sys.executable).parent

BRANCHING: Final = "10ms"
"""How long to look for a contradiction at a branch; too short costs paths, never soundness."""

DECISION: Final = "300s"
"""How long one decision of the solver may take; beyond it the property counts as undecided."""

VERDICTS: Final = {
    0: "proven",
    1: "REFUTED",
    2: "UNDECIDED",
    3: "NOT EXPLORED",
    4: "ALWAYS REVERTS",
    5: "FAILED",
}
"""halmos's exit codes of a property."""


@attrs.frozen(kw_only=True)
class Property:
    """A ``check_*`` function: what it shows, and for how much."""

    contract: str
    name: str
    claim: str
    bound: str


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of a property: the verdict, paths explored, seconds, what halmos printed."""

    claim: Property
    verdict: str
    paths: int
    seconds: float
    output: str

    @property
    def holds(self) -> bool:
        """Whether every path was explored and none refutes the property."""
        return self.verdict == VERDICTS[0]


@attrs.frozen(kw_only=True)
class Explanation:
    """Why findings of one detector at these places stay."""

    check: str
    where: tuple[str, ...]
    why: str

    def covers(self, check: str, place: str) -> bool:
        """Whether this is about a finding of ``check`` at ``place``."""
        return check == self.check and any(fnmatch.fnmatch(place, each) for each in self.where)


# ---- forge


def environment(sources: str, out: Path) -> dict[str, str]:
    """Variables under which forge builds ``sources`` alone, into a directory of its own."""
    return os.environ | {
        "PATH": os.pathsep.join((str(ROOT / "tools"), str(BINARIES), os.environ["PATH"])),
        "FOUNDRY_SRC": sources,
        "FOUNDRY_TEST": sources,
        "FOUNDRY_SCRIPT": sources,
        "FOUNDRY_OUT": str(out),
        "FOUNDRY_CACHE_PATH": f"{out}-cache",
    }


def build(sources: str, out: Path, *options: str) -> dict[str, str]:
    """Compile and return the environment it was done in.

    Raises:
        subprocess.CalledProcessError: the compiler refused the sources; it has said why.
    """
    variables = environment(sources, out)
    command = [FORGE, "build", "--root", str(ROOT), *options]
    subprocess.run(command, cwd=ROOT, env=variables, check=True, stdout=sys.stderr)
    return variables


# ---- halmos


def properties(out: Path) -> Iterator[Property]:
    """Every ``check_*`` of the compiled specifications."""
    for path in sorted((ROOT / out).glob("Prove*.t.sol/Prove*.json")):
        documents = json.loads(path.read_text())["metadata"]["output"]
        for signature in sorted(documents["devdoc"]["methods"]):
            if not signature.startswith("check_"):
                continue
            yield Property(
                contract=path.stem,
                name=signature.partition("(")[0],
                claim=documents["userdoc"]["methods"][signature]["notice"],
                bound=documents["devdoc"]["methods"][signature]["custom:bound"],
            )


def prove(claim: Property, out: Path, variables: dict[str, str], limit: float) -> Outcome:
    """Have halmos explore every path of ``claim``, ``limit`` seconds at most."""
    answer = ROOT / out.parent / f"{claim.contract}.{claim.name}.json"
    answer.unlink(missing_ok=True)
    command = [
        *(str(BINARIES / "halmos"), "--root", str(ROOT), "--forge-build-out", str(out)),
        *("--contract", claim.contract, "--match-test", rf"^{claim.name}\("),
        *("--solver-timeout-branching", BRANCHING, "--solver-timeout-assertion", DECISION),
        *("--solver-threads", "1", "--no-status", "--json-output", str(answer)),
    ]
    started = time.monotonic()
    verdict, paths, output = "TIMED OUT", 0, ""
    try:
        run = subprocess.run(
            command, cwd=ROOT, env=variables, timeout=limit, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        pass
    else:
        output = run.stdout + run.stderr
        verdict, paths = judge(json.loads(answer.read_text()) if answer.exists() else {})
    seconds = time.monotonic() - started
    return Outcome(claim=claim, verdict=verdict, paths=paths, seconds=seconds, output=output)


def judge(answer: dict[str, Any]) -> tuple[str, int]:
    """Verdict and number of paths in halmos's report on one property."""
    results = [each for found in answer.get("test_results", {}).values() for each in found]
    if len(results) != 1:
        return VERDICTS[5], 0
    (result,) = results
    verdict = VERDICTS[result["exitcode"]]
    if verdict == VERDICTS[0] and result["num_bounded_loops"]:
        verdict = VERDICTS[3]
    return verdict, result["num_paths"][0]


def run_halmos(match: str, limit: float, jobs: int) -> bool:
    """Prove what matches, print a table, and tell whether all of it holds."""
    out = SCRATCH / "out"
    variables = build(SPECIFICATIONS, out, "--ast", "--extra-output", "storageLayout", "metadata")
    chosen = [each for each in properties(out) if re.search(match, each.name)]
    row = "{:<13} {:>6} {:>7}  {:<38} {:<26} {}"
    print(row.format("result", "paths", "seconds", "proof", "bound", "property"))
    with ThreadPoolExecutor(jobs) as pool:
        outcomes = []
        for outcome in pool.map(lambda each: prove(each, out, variables, limit), chosen):
            claim, spent = outcome.claim, f"{outcome.seconds:.0f}"
            cells = (outcome.verdict, outcome.paths, spent, claim.name, claim.bound, claim.claim)
            print(row.format(*cells), flush=True)
            outcomes.append(outcome)
    failed = [each for each in outcomes if not each.holds]
    for outcome in failed:
        print(f"\n{outcome.claim.name}: {outcome.verdict}\n{outcome.output}", file=sys.stderr)
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} properties proven")
    return bool(outcomes) and not failed


# ---- slither


def place(element: dict[str, Any]) -> str:
    """Where a finding is: contract, function and variable, as far as it has them."""
    parent = element.get("type_specific_fields", {}).get("parent")
    # A statement is told by the function it stands in: its text changes more often than its place.
    if parent and element["type"] == "node":
        return place(parent)
    if parent and parent["type"] in {"contract", "function"}:
        return f"{place(parent)}.{element['name']}"
    return str(element["name"])


def explanations(text: str) -> list[Explanation]:
    """What the file of findings says."""
    return [
        Explanation(check=each["check"], where=tuple(each["where"]), why=each["why"])
        for each in tomllib.loads(text)["explained"]
    ]


def run_slither() -> bool:
    """Run all detectors and tell whether each finding is explained, and each explanation used."""
    out = SCRATCH / "slither"
    shutil.rmtree(ROOT / out, ignore_errors=True)  # one build, one account of it
    variables = build(SOURCES, out, "--force", "--build-info")
    report = ROOT / SCRATCH / "slither.json"
    report.unlink(missing_ok=True)
    command = [
        *(str(BINARIES / "slither"), ".", "--json", str(report)),
        *("--foundry-out-directory", str(out), "--foundry-ignore-compile"),
        *("--filter-paths", f"node_modules|{SOURCES}/testing"),
    ]
    run = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    if not report.exists() or not json.loads(report.read_text())["success"]:
        print(run.stderr, file=sys.stderr)
        return False

    found = json.loads(report.read_text())["results"].get("detectors", [])
    given = explanations(FINDINGS.read_text())
    used: set[Explanation] = set()
    unexplained = []
    for each in found:
        matching = [why for why in given if why.covers(each["check"], place(each["elements"][0]))]
        used.update(matching)
        if not matching:
            unexplained.append(each)
    for each in unexplained:
        where = place(each["elements"][0])
        print(f"UNEXPLAINED {each['impact']} {each['check']} {where}\n{each['description']}")
    idle = [each for each in given if each not in used]
    for explanation in idle:
        print(f"NOTHING TO EXPLAIN {explanation.check} {', '.join(explanation.where)}")
    print(f"slither: {len(found)} findings, {len(found) - len(unexplained)} explained")
    return not unexplained and not idle


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; 0 if everything holds."""
    parser = argparse.ArgumentParser(description="Prove the contracts' properties.")
    parser.add_argument("--only", choices=("halmos", "slither"), help="one of the two alone")
    parser.add_argument("--match", default="", help="regular expression on the names of proofs")
    parser.add_argument("--limit", type=float, default=3_600, help="seconds that a proof may take")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="proofs at a time")
    options = parser.parse_args(arguments)
    good = True
    if options.only != "slither":
        good &= run_halmos(options.match, options.limit, options.jobs)
    if options.only != "halmos":
        good &= run_slither()
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
