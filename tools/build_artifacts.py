"""Compile the contracts and write what the package ships of them: ABI and bytecode, as JSON.

    python tools/build_artifacts.py            write channels/chain/artifacts/*.json
    python tools/build_artifacts.py --check    compare, write nothing; exit status 1 if they differ

Needs the tooling of package.json (``npm ci``). The build goes to a directory of its own, so it
neither uses nor disturbs forge's cache.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
TARGET: Final = ROOT / "channels" / "chain" / "artifacts"
FORGE: Final = ROOT / "tools" / "forge"
NODE_MODULES: Final = ROOT / "node_modules"

CONTRACTS: Final = {
    "Adjudicator": "contracts/src/Adjudicator.sol",
    "RiskEngine": "contracts/src/RiskEngine.sol",
    "ChannelLens": "contracts/src/ChannelLens.sol",
    "AttestedOracle": "contracts/src/oracles/AttestedOracle.sol",
    "ChainlinkOracle": "contracts/src/oracles/ChainlinkOracle.sol",
    "FallbackOracle": "contracts/src/oracles/FallbackOracle.sol",
    "TestToken": "contracts/src/testing/TestToken.sol",
}
"""Contracts that ship, and where they stand."""

SETTINGS: Final = ("evmVersion", "metadata", "optimizer", "viaIR")
"""Settings of the compiler that decide about the bytecode."""


def compile_contracts(contracts: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Compile and return the artifact of each contract, by name.

    Raises:
        subprocess.CalledProcessError: the compiler refused them; it has said why.
    """
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            [
                *(str(FORGE), "build", "--force", "--root", str(ROOT)),
                *("--out", f"{scratch}/out", "--cache-path", f"{scratch}/cache"),
                *contracts.values(),
            ],
            cwd=ROOT,
            check=True,
            stdout=sys.stderr,
        )
        built = {}
        for name, source in contracts.items():
            path = Path(scratch, "out", Path(source).name, f"{name}.json")
            built[name] = reduce_artifact(name, json.loads(path.read_text()))
        return built


def reduce_artifact(name: str, forged: dict[str, Any]) -> dict[str, Any]:
    """Keep of forge's output what a user needs, in a form that does not change without cause."""
    creation, runtime = forged["bytecode"], forged["deployedBytecode"]
    if creation.get("linkReferences") or runtime.get("linkReferences"):
        raise SystemExit(f"{name} needs linking, which deploy.py does not do")
    groups = [
        sorted([place["start"], place["length"]] for place in places)
        for places in runtime.get("immutableReferences", {}).values()
    ]
    compiled = forged["metadata"]
    return {
        "name": name,
        "abi": forged["abi"],
        "creation": creation["object"],
        "runtime": runtime["object"],
        "immutables": sorted(groups),
        "compiler": {
            "version": compiled["compiler"]["version"],
            "settings": {each: compiled["settings"][each] for each in SETTINGS},
        },
    }


def write(artifact: dict[str, Any]) -> str:
    """Text of the JSON file of an artifact."""
    return json.dumps(artifact, indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Run the tool; 0 if what ships is what the sources compile to."""
    parser = argparse.ArgumentParser(description="Build the contract artifacts of the package.")
    parser.add_argument("--check", action="store_true", help="compare only; 1 if they differ")
    check = parser.parse_args().check
    if not NODE_MODULES.exists():
        print("no node_modules: run `npm ci` first", file=sys.stderr)
        return 2
    stale = []
    for name, artifact in compile_contracts(CONTRACTS).items():
        path, text = TARGET / f"{name}.json", write(artifact)
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if not check:
            TARGET.mkdir(exist_ok=True)
            path.write_text(text)
    if stale:
        verb = "differ from their sources" if check else "written"
        print(f"{', '.join(stale)}: {verb}", file=sys.stderr)
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
