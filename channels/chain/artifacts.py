"""Compiled contracts as they ship with the package, and whether deployed code is theirs."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any, Final

import attrs

from channels.chain.abi import expand
from channels.protocol.eip712 import keccak

__all__ = ["NAMES", "Artifact", "load_artifact"]

NAMES: Final = (
    "Adjudicator",
    "RiskEngine",
    "AttestedOracle",
    "ChainlinkOracle",
    "FallbackOracle",
    "TestToken",
)
"""Contracts that ship."""


@attrs.frozen(kw_only=True)
class Artifact:
    """A compiled contract.

    ``immutables`` are (start, length) of the places in ``runtime`` that deployment fills in.
    """

    name: str
    abi: tuple[dict[str, Any], ...] = attrs.field(repr=False)
    creation: bytes = attrs.field(repr=False)
    runtime: bytes = attrs.field(repr=False)
    immutables: tuple[tuple[int, int], ...] = attrs.field(repr=False)

    def is_code(self, deployed: bytes) -> bool:
        """Whether ``deployed`` is this contract's code, whatever its immutable values."""
        return self._masked(deployed) == self._masked(self.runtime)

    def _masked(self, code: bytes) -> bytes:
        masked = bytearray(code)
        for start, length in self.immutables:
            masked[start : start + length] = bytes(length)
        return bytes(masked)

    def errors(self) -> dict[bytes, tuple[str, tuple[tuple[str, str], ...]]]:
        """Custom errors by selector: name, and (type, name) of each argument."""
        return {
            keccak(_signature(entry).encode())[:4]: (
                str(entry["name"]),
                tuple((_canonical(each), str(each["name"])) for each in entry["inputs"]),
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


def _canonical(parameter: dict[str, Any]) -> str:
    kind = str(parameter["type"])
    if kind.startswith("tuple"):
        members = ",".join(_canonical(each) for each in parameter["components"])
        return f"({members}){kind.removeprefix('tuple')}"
    return kind


def _signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(_canonical(each) for each in entry['inputs'])})"


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
        immutables=tuple((start, length) for start, length in raw["immutables"]),
    )
