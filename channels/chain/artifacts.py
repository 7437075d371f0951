"""Compiled contracts as they ship with the package, and whether deployed code is theirs."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any, Final

import attrs

from channels.chain.abi import expand
from channels.protocol.eip712 import keccak

__all__ = ["NAMES", "Artifact", "canonical_type", "load_artifact"]

NAMES: Final = (
    "Adjudicator",
    "RiskEngine",
    "ChannelLens",
    "AttestedOracle",
    "ChainlinkOracle",
    "FallbackOracle",
    "TestToken",
)
"""Contracts that ship."""


@attrs.frozen(kw_only=True)
class Artifact:
    """A compiled contract.

    ``immutables`` are the places, (start, length), in ``runtime`` that deployment fills in: one
    group for each immutable value, which stands at all places of its group. ``compiler`` is the
    compiler's version and what of its settings decides about the bytecode.
    """

    name: str
    abi: tuple[dict[str, Any], ...] = attrs.field(repr=False)
    creation: bytes = attrs.field(repr=False)
    runtime: bytes = attrs.field(repr=False)
    immutables: tuple[tuple[tuple[int, int], ...], ...] = attrs.field(repr=False)
    compiler: dict[str, Any] = attrs.field(repr=False)

    @property
    def compiler_hash(self) -> bytes:
        """Keccak-256 of ``compiler`` as JSON with sorted keys and no blanks."""
        return keccak(json.dumps(self.compiler, sort_keys=True, separators=(",", ":")).encode())

    @property
    def constructor(self) -> tuple[dict[str, Any], ...]:
        """Parameters of the constructor, as the ABI has them."""
        return next(
            (tuple(each["inputs"]) for each in self.abi if each["type"] == "constructor"), ()
        )

    def is_code(self, deployed: bytes) -> bool:
        """Whether ``deployed`` is this contract's code, whatever its immutable values are.

        A value that differs between two of its places is none that a deployment leaves.
        """
        return self._masked(deployed) == self._masked(self.runtime) and all(
            len({deployed[start : start + length] for start, length in places}) == 1
            for places in self.immutables
        )

    def _masked(self, code: bytes) -> bytes:
        masked = bytearray(code)
        for places in self.immutables:
            for start, length in places:
                masked[start : start + length] = bytes(length)
        return bytes(masked)

    def errors(self) -> dict[bytes, tuple[str, tuple[tuple[str, str], ...]]]:
        """Custom errors by selector: name, and (type, name) of each argument."""
        return {
            keccak(_signature(entry).encode())[:4]: (
                str(entry["name"]),
                tuple((canonical_type(each), str(each["name"])) for each in entry["inputs"]),
            )
            for entry in self.abi
            if entry["type"] == "error"
        }

    def topic(self, event: str) -> bytes:
        """First topic of an event, by name."""
        for entry in self.abi:
            if entry["type"] == "event" and entry["name"] == event:
                return keccak(_signature(entry).encode())
        raise KeyError(event)

    def has_function(self, signature: str) -> bool:
        """Whether the contract has this function; structs by name."""
        wanted = expand(signature)
        return any(
            entry["type"] == "function" and _signature(entry) == wanted for entry in self.abi
        )


def canonical_type(parameter: dict[str, Any]) -> str:
    """Type of an ABI's parameter, structs written out."""
    kind = str(parameter["type"])
    if kind.startswith("tuple"):
        members = ",".join(canonical_type(each) for each in parameter["components"])
        return f"({members}){kind.removeprefix('tuple')}"
    return kind


def _signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(canonical_type(each) for each in entry['inputs'])})"


@cache
def load_artifact(name: str) -> Artifact:
    """Read one of `NAMES` from the package."""
    path = resources.files("channels.chain") / "artifacts" / f"{name}.json"
    raw = json.loads(path.read_text())
    return Artifact(
        name=raw["name"],
        abi=tuple(raw["abi"]),
        creation=bytes.fromhex(raw["creation"].removeprefix("0x")),
        runtime=bytes.fromhex(raw["runtime"].removeprefix("0x")),
        immutables=tuple(
            tuple((start, length) for start, length in places) for places in raw["immutables"]
        ),
        compiler=raw["compiler"],
    )
