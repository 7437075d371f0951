"""A scratch copy of the contracts, compiled once; then, for a mutant, only what its change is in.

A whole build takes minutes, so forge makes one. For each mutant the compiler is asked only for the
contracts whose code the changed file is part of, what it answers takes the place of forge's
artifacts, and forge runs the tests on them. That this is honest rests on two things:

- Tests do not carry the code of what they deploy: in the copy ``new X(...)`` reads
  ``X(deployed("X.sol:X", ...))``, which loads the artifact when the test runs. It creates the
  contract itself: after ``vm.expectRevert`` the cheatcode that deploys passes for any revert.
- Which contracts a file is part of is read from the compiler's syntax trees: whatever can be
  reached from a contract by references, calls from outside excepted.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tools.mutation.solidity import Source

_OUTPUTS: Final = [
    "evm.bytecode.object",
    "evm.bytecode.sourceMap",
    "evm.bytecode.linkReferences",
    "evm.deployedBytecode.object",
    "evm.deployedBytecode.sourceMap",
    "evm.deployedBytecode.linkReferences",
    "evm.deployedBytecode.immutableReferences",
]
_COPIED: Final = ("contracts", "foundry.toml", "tools/forge", "tools/solc")
_LINKER: Final = """
interface MutationVm {
    function getCode(string calldata what) external view returns (bytes memory);
}

address constant CHEATCODES = address(uint160(uint256(keccak256("hevm cheat code"))));

function deployed(string memory what, bytes memory arguments) returns (address created) {
    bytes memory code = abi.encodePacked(MutationVm(CHEATCODES).getCode(what), arguments);
    assembly ("memory-safe") {
        created := create(0, add(code, 32), mload(code))
        if iszero(created) {
            returndatacopy(0, 0, returndatasize())
            revert(0, returndatasize())
        }
    }
}
"""
_LINKER_PATH: Final = "contracts/test/MutationVm.sol"
_CONTRACT: Final = re.compile(r"^(?:abstract )?contract (\w+)", re.MULTILINE)
COMPILER_TIMEOUT: Final = 1_800
"""Seconds after which the compiler is given up."""

Name = tuple[str, str]
"""A contract: the path of its file, and its name."""


class CompileError(Exception):
    """The compiler refused a mutant."""


@dataclass(frozen=True, kw_only=True)
class Contract:
    """A compiled contract of the copy, unchanged."""

    artifact: Path
    parts: frozenset[str]
    """Files that its code was made of."""
    used: frozenset[str]
    """Those, and the files of what it deploys, and of what that deploys."""
    test: bool


class Workshop:
    """The copy in ``scratch`` of the tree at ``root``; call `prepare` first."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root, self.scratch = root, scratch
        self.out = scratch / "out"
        self.contracts: dict[Name, Contract] = {}
        self._input: dict[str, Any] = {}
        self._originals: dict[Name, dict[str, Any]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What forge is run with: directories of its own, and no snapshots to compare or write."""
        foreign = ("FOUNDRY_", "FORGE_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        return kept | {
            "FOUNDRY_OUT": str(self.out),
            "FOUNDRY_CACHE_PATH": str(self.scratch / "cache"),
            "FORGE_SNAPSHOT_CHECK": "false",
            "FORGE_SNAPSHOT_EMIT": "false",
            # That a sequence fails is enough; a short one is of no use here.
            "FOUNDRY_INVARIANT_SHRINK_RUN_LIMIT": "0",
        }

    def forge(
        self, *arguments: str, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run forge in the copy.

        Raises:
            subprocess.TimeoutExpired: it took longer than ``timeout`` seconds.
        """
        command = [str(self.scratch / "tools/forge"), *arguments]
        with subprocess.Popen(
            command,
            cwd=self.scratch,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output, errors = process.communicate(timeout=timeout)
            except BaseException:
                # The command is a wrapper: forge itself must end too.
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def prepare(self) -> None:
        """Copy the tree, build it once, and read what each contract is made of.

        Raises:
            CompileError: the tree does not compile.
        """
        self._copy()
        built = self.forge("build", "--build-info", "--build-info-path", str(self.scratch / "info"))
        if built.returncode:
            raise CompileError(built.stdout + built.stderr)
        newest = max((self.scratch / "info").glob("*.json"), key=lambda path: path.stat().st_mtime)
        self._input = json.loads(newest.read_text())["input"]
        self._read_contracts()

    def _copy(self) -> None:
        for name in ("contracts", "out", "cache", "info"):
            shutil.rmtree(self.scratch / name, ignore_errors=True)
        for name in _COPIED:
            source, target = self.root / name, self.scratch / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy2(source, target)
        modules = self.scratch / "node_modules"
        if not modules.exists():
            modules.symlink_to((self.root / "node_modules").resolve(), target_is_directory=True)
        places = {
            name: path.relative_to(self.scratch).as_posix()
            for path in sorted((self.scratch / "contracts").rglob("*.sol"))
            for name in _CONTRACT.findall(path.read_text())
        }
        for path in (self.scratch / "contracts/test").rglob("*.sol"):
            linker = os.path.relpath(self.scratch / _LINKER_PATH, path.parent)
            path.write_text(
                link(path.read_text(), places, linker if linker[0] == "." else f"./{linker}")
            )
        (self.scratch / _LINKER_PATH).write_text(
            f"// SPDX-License-Identifier: MIT\npragma solidity ^0.8.28;\n{_LINKER}"
        )

    def _read_contracts(self) -> None:
        trees = self._compile(self._input["sources"], {"*": {"": ["ast"]}})["sources"]
        graph = _Graph({path: output["ast"] for path, output in trees.items()})
        for place in self.out.rglob("*.json"):
            artifact = json.loads(place.read_text())
            # Not other files, what is abstract, or libraries that stand in the code of others.
            if not artifact.get("methodIdentifiers") or artifact["bytecode"]["object"] == "0x":
                continue
            targets: dict[str, str] = artifact["metadata"]["settings"]["compilationTarget"]
            functions = artifact["methodIdentifiers"]
            for name in targets.items():
                self._originals[name] = artifact
                self.contracts[name] = Contract(
                    artifact=place,
                    parts=graph.parts(name, deployed=False),
                    used=graph.parts(name, deployed=True),
                    test=any(each.startswith(("test", "invariant")) for each in functions),
                )

    def affected(self, file: str) -> list[Name]:
        """Contracts whose code is made of ``file`` among others."""
        return sorted(name for name, contract in self.contracts.items() if file in contract.parts)

    def tests(self, file: str) -> list[Name]:
        """Test contracts that run code made of ``file``."""
        found = self.contracts.items()
        return sorted(name for name, contract in found if contract.test and file in contract.used)

    def install(self, file: str, code: str) -> bool:
        """Put what ``code`` compiles to in the place of ``file``'s; False if that is the same code.

        Raises:
            CompileError: it does not compile.
        """
        names = self.affected(file)
        wanted: dict[str, dict[str, list[str]]] = {}
        for path, contract in names:
            wanted.setdefault(path, {})[contract] = _OUTPUTS
        sources = self._input["sources"] | {file: {"content": code}}
        built = self._compile(sources, wanted)["contracts"]
        changed = False
        for key in names:
            original, compiled = self._originals[key], built[key[0]][key[1]]["evm"]
            artifact = dict(original)
            for part in ("bytecode", "deployedBytecode"):
                artifact[part] = compiled[part] | {"object": "0x" + compiled[part]["object"]}
                changed |= artifact[part]["object"] != original[part]["object"]
            self.contracts[key].artifact.write_text(json.dumps(artifact))
        return changed

    def restore(self, file: str) -> None:
        """Put the unchanged contracts back, and forget what forge remembers of failures."""
        for name in self.affected(file):
            self.contracts[name].artifact.write_text(json.dumps(self._originals[name]))
        for memory in ("fuzz", "invariant"):
            shutil.rmtree(self.scratch / "cache" / memory, ignore_errors=True)

    def _compile(
        self, sources: Mapping[str, Any], wanted: Mapping[str, Mapping[str, list[str]]]
    ) -> dict[str, Any]:
        settings = self._input["settings"] | {"outputSelection": wanted}
        request = self._input | {"sources": sources, "settings": settings}
        keys = ("language", "sources", "settings")
        finished = subprocess.run(
            [str(self.scratch / "tools/solc"), "--standard-json"],
            input=json.dumps({key: request[key] for key in keys}),
            cwd=self.scratch,
            capture_output=True,
            text=True,
            check=True,
            timeout=COMPILER_TIMEOUT,
        )
        answer: dict[str, Any] = json.loads(finished.stdout)
        for error in answer.get("errors", []):
            if error["severity"] == "error":
                raise CompileError(error["message"])
        return answer


def link(code: str, places: Mapping[str, str], linker: str) -> str:
    """Test code that loads what it deploys instead of carrying it.

    ``places`` has the path of every contract's file; ``linker`` is what to import the loader from.
    """
    source = Source(code)
    edits = []
    for index, token in enumerate(source.tokens):
        name, opening = source.text(index + 1), index + 2
        if token.text != "new" or name not in places or source.text(opening) != "(":
            continue
        if source.text(index - 1) == "try":
            continue
        closing = source.tokens[source.partner[opening]]
        target = f'{name}(deployed("{places[name]}:{name}", abi.encode('
        edits += [
            (token.start, source.tokens[opening].end, target),
            (closing.start, closing.end, ")))"),
        ]
    for start, end, text in sorted(edits, reverse=True):
        code = code[:start] + text + code[end:]
    # Imports may stand anywhere; at the end they disturb nothing.
    return code + f'import {{deployed}} from "{linker}";\n' if edits else code


class _Graph:
    """Declarations of all files, and which refers to which."""

    def __init__(self, trees: Mapping[str, dict[str, Any]]) -> None:
        self._nodes: dict[int, dict[str, Any]] = {}
        self._files: dict[int, str] = {}
        self._contracts: dict[Name, int] = {}
        for path, tree in trees.items():
            for node in _walk(tree):
                self._nodes[node["id"]], self._files[node["id"]] = node, path
                if node["nodeType"] == "ContractDefinition":
                    self._contracts[path, node["name"]] = node["id"]

    def parts(self, name: Name, *, deployed: bool) -> frozenset[str]:
        """Files that declare what a contract reaches; if ``deployed``, through deployments too."""
        waiting, seen = [self._contracts[name]], set()
        while waiting:
            identity = waiting.pop()
            if identity in seen or identity not in self._nodes:
                continue
            seen.add(identity)
            waiting += self._references(self._nodes[identity], deployed=deployed)
        return frozenset(self._files[identity] for identity in seen)

    def _references(self, declaration: dict[str, Any], *, deployed: bool) -> Iterator[int]:
        yield from declaration.get("linearizedBaseContracts", ())
        for node in _walk(declaration, inside_calls=False):
            kind, target = node["nodeType"], node.get("referencedDeclaration")
            if kind == "NewExpression":
                created = node["typeName"].get("referencedDeclaration")
                if created is not None:
                    yield created
            elif kind == "Literal" and deployed:
                path, _, name = (node.get("value") or "").partition(":")
                if (path, name) in self._contracts:
                    yield self._contracts[path, name]
            # An operator with a function of its own is a call too; assembly refers in its own way.
            outside = [entry["declaration"] for entry in node.get("externalReferences", ())]
            for identity in (target, node.get("function"), *outside):
                known = self._nodes.get(identity) if isinstance(identity, int) else None
                if known is not None and known["nodeType"] != "ContractDefinition":
                    yield known["id"]


def _walk(node: Any, *, inside_calls: bool = True) -> Iterator[dict[str, Any]]:
    """Every node below one and itself.

    Without ``inside_calls``, not the names of functions that are called on other contracts.
    """
    if isinstance(node, list):
        for item in node:
            yield from _walk(item, inside_calls=inside_calls)
    elif isinstance(node, dict):
        # Nodes of assembly have no id.
        if "id" in node and "nodeType" in node and (inside_calls or not _calls_outside(node)):
            yield node
        for value in node.values():
            if isinstance(value, (dict, list)):
                yield from _walk(value, inside_calls=inside_calls)


def _calls_outside(node: dict[str, Any]) -> bool:
    if node["nodeType"] != "MemberAccess":
        return False
    identifier = node["expression"].get("typeDescriptions", {}).get("typeIdentifier") or ""
    return str(identifier).startswith("t_contract")
