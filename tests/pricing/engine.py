"""The contracts' arithmetic called from Python: compiled harnesses, run by Anvil's EVM.

Nothing is compiled here: forge does that, and the sources' hashes in its artifact tell whether it
has done so since the last change. Nothing is deployed either: code goes along with every call.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from eth_hash.auto import keccak

ROOT: Final = Path(__file__).resolve().parents[2]
ADDRESS: Final = "0x" + "e1" * 20
GAS: Final = 30_000_000
"""Anvil's block, and so the most that a call may use."""

DOMAIN_ERROR: Final = int.from_bytes(keccak(b"PricingDomainError()")[:4], "big") << 224


class StaleArtifactError(Exception):
    """Forge has not compiled the harness since its sources changed."""


class RevertedError(Exception):
    """The contract refused a call; ``data`` is its error."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data.hex())
        self.data = data


class Harness:
    """A contract without storage, compiled by forge: its functions, called in an EVM at ``url``.

    Raises:
        FileNotFoundError: forge has never compiled it.
        StaleArtifactError: forge has not compiled what the sources say now.
    """

    def __init__(self, name: str, url: str) -> None:
        out = ROOT / os.environ.get("FOUNDRY_OUT", "build/forge")
        artifact = json.loads((out / f"{name}.sol" / f"{name}.json").read_text())
        for path, source in artifact["metadata"]["sources"].items():
            if "0x" + keccak((ROOT / path).read_bytes()).hex() != source["keccak256"]:
                raise StaleArtifactError(f"{path} has changed: run `forge build` first")
        self._code = artifact["deployedBytecode"]["object"]
        self._selectors: dict[str, str] = {
            signature.partition("(")[0]: selector
            for signature, selector in artifact["methodIdentifiers"].items()
        }
        self._url = url

    def call(self, function: str, data: bytes = b"") -> bytes:
        """Return what ``function`` answers to these encoded arguments.

        Raises:
            RevertedError: it reverted.
        """
        request = {"to": ADDRESS, "data": f"0x{self._selectors[function]}{data.hex()}"}
        answer = self._post(
            [request | {"gas": hex(GAS)}, "latest", {ADDRESS: {"code": self._code}}]
        )
        return bytes.fromhex(answer[2:])

    def each(
        self, function: str, rows: Sequence[Sequence[int]], batch: int = 1500
    ) -> Iterator[tuple[bool, int]]:
        """Yield, for every row of arguments, whether it succeeded and its figure or error.

        For functions that take rows of words as ``bytes`` and answer with two words a row. A
        figure is unsigned, an error its selector in the first four bytes of a word.
        """
        for start in range(0, len(rows), batch):
            packed = b"".join(
                (value % 2**256).to_bytes(32, "big")
                for row in rows[start : start + batch]
                for value in row
            )
            answer = self.call(function, _bytes_argument(packed))[64:]
            for at in range(0, len(rows[start : start + batch]) * 64, 64):
                yield bool(answer[at + 31]), int.from_bytes(answer[at + 32 : at + 64], "big")

    def _post(self, parameters: list[Any]) -> str:
        body = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": parameters}
        request = urllib.request.Request(
            self._url, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        if "result" not in answer:
            error = answer["error"]
            if "data" not in error:
                raise AssertionError(f"the call failed: {error}")
            raise RevertedError(bytes.fromhex(error["data"][2:]))
        result: str = answer["result"]
        return result


def _bytes_argument(data: bytes) -> bytes:
    head = (32).to_bytes(32, "big") + len(data).to_bytes(32, "big")
    return head + data + bytes(-len(data) % 32)
