"""The record of a deployment: where the contracts stand, what they were made of, and by whom.

`load_deployment` reads one, and its `Deployment.domain` is what states are signed in. That the
chain holds what a record says is for ``option-channels deploy --verify`` to find out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from channels.chain.plan import ORACLES, Argument, PlannedContract
from channels.errors import InvalidValueError, StorageError
from channels.protocol.eip712 import Address, address, checksum, keccak
from channels.protocol.terms import Domain
from channels.version import VERSION

__all__ = [
    "DeployedContract",
    "Deployment",
    "load_deployment",
    "record_json",
    "save_deployment",
]

_FORMAT: Final = 1
_UNFINISHED: Final = "run `option-channels deploy` again: it goes on where it stopped"


@attrs.frozen(kw_only=True)
class DeployedContract:
    """One contract of a deployment.

    ``creation_hash`` is of the init code, ``runtime_hash`` of the code on the chain, both
    Keccak-256; ``compiler_hash`` is `channels.chain.artifacts.Artifact.compiler_hash`.
    ``transaction`` and ``deployer`` are None if somebody else had deployed it before. Until it is
    found on the chain ``runtime_hash`` and ``block`` are None.
    """

    name: str
    contract: str
    address: Address
    arguments: Mapping[str, Argument]
    salt: bytes
    creation_hash: bytes
    compiler_hash: bytes
    runtime_hash: bytes | None = None
    deployer: Address | None = None
    transaction: bytes | None = None
    block: int | None = None

    @classmethod
    def of(cls, planned: PlannedContract) -> DeployedContract:
        """What a plan alone says of it."""
        return cls(
            name=planned.name,
            contract=planned.contract,
            address=planned.address,
            arguments=planned.arguments,
            salt=planned.salt,
            creation_hash=keccak(planned.init_code),
            compiler_hash=planned.artifact.compiler_hash,
        )

    @property
    def planned(self) -> PlannedContract:
        """The plan that this package has for the same contract, arguments and salt.

        Raises:
            InvalidValueError: this package has no such contract, or it takes other arguments.
        """
        return PlannedContract(
            name=self.name, contract=self.contract, arguments=self.arguments, salt=self.salt
        )

    @property
    def is_done(self) -> bool:
        """Whether it was found on the chain."""
        return self.runtime_hash is not None


@attrs.frozen(kw_only=True)
class Deployment:
    """Contracts of one version of this package on one chain."""

    chain_id: int
    version: str = VERSION
    contracts: tuple[DeployedContract, ...] = ()

    def find(self, name: str) -> DeployedContract | None:
        """What the record calls ``name``; None if there is none such."""
        return next((each for each in self.contracts if each.name == name), None)

    def address(self, name: str) -> Address:
        """Where ``name`` stands.

        Raises:
            InvalidValueError: it is not in the record, or not deployed yet.
        """
        found = self.find(name)
        if found is None:
            known = ", ".join(each.name for each in self.contracts)
            raise InvalidValueError(f"no {name} in this deployment, only {known or 'nothing'}")
        if not found.is_done:
            raise InvalidValueError(f"{name} is not deployed yet", next_step=_UNFINISHED)
        return found.address

    @property
    def adjudicator(self) -> Address:
        """The Adjudicator."""
        return self.address("Adjudicator")

    @property
    def risk_engine(self) -> Address:
        """The RiskEngine that the Adjudicator asks."""
        return self.address("RiskEngine")

    @property
    def token(self) -> Address:
        """The TestToken, where one was asked for."""
        return self.address("TestToken")

    @property
    def oracle(self) -> Address:
        """The oracle, if there is just one.

        Raises:
            InvalidValueError: there is none, or more than one.
        """
        oracles = [each.name for each in self.contracts if each.contract in ORACLES]
        if len(oracles) != 1:
            raise InvalidValueError(
                f"the deployment has {len(oracles)} oracles",
                next_step="name the one you mean: deployment.address(name)",
            )
        return self.address(oracles[0])

    @property
    def domain(self) -> Domain:
        """The EIP-712 domain that states are signed in."""
        return Domain(chain_id=self.chain_id, adjudicator=self.adjudicator)

    def including(self, contract: DeployedContract) -> Deployment:
        """This deployment with ``contract``, in place of the one of the same name if any."""
        if self.find(contract.name) is None:
            return attrs.evolve(self, contracts=(*self.contracts, contract))
        replaced = (contract if each.name == contract.name else each for each in self.contracts)
        return attrs.evolve(self, contracts=tuple(replaced))


# ---- JSON


def record_json(deployment: Deployment) -> dict[str, Any]:
    """The record as JSON has it."""
    return {
        "format": _FORMAT,
        "version": deployment.version,
        "chain_id": deployment.chain_id,
        "contracts": {each.name: _entry_json(each) for each in deployment.contracts},
    }


def _entry_json(entry: DeployedContract) -> dict[str, Any]:
    return {
        "contract": entry.contract,
        "address": checksum(entry.address),
        "arguments": dict(entry.arguments),
        "salt": _hex(entry.salt),
        "creation_hash": _hex(entry.creation_hash),
        "compiler_hash": _hex(entry.compiler_hash),
        "runtime_hash": _hex(entry.runtime_hash),
        "deployer": None if entry.deployer is None else checksum(entry.deployer),
        "transaction": _hex(entry.transaction),
        "block": entry.block,
    }


def _hex(value: bytes | None) -> str | None:
    return None if value is None else "0x" + value.hex()


def _word(value: str) -> bytes:
    raw = bytes.fromhex(value.removeprefix("0x"))
    if len(raw) != 32:
        raise ValueError(f"{value!r} has not 32 bytes")
    return raw


def save_deployment(deployment: Deployment, path: Path) -> None:
    """Write the record, all of it or nothing.

    Raises:
        StorageError: the file cannot be written.
    """
    unfinished = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w") as file:
            file.write(json.dumps(record_json(deployment), indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise StorageError(
            f"the record {path} cannot be written: {error}",
            next_step="make it writable, then run it again",
        ) from error


def load_deployment(path: str | Path) -> Deployment:
    """Read the record of a deployment.

    Raises:
        InvalidValueError: no such file, or no record that this version can read.
    """
    try:
        raw = json.loads(Path(path).read_text())
        found = raw["format"]
        deployment = _deployment(raw) if found == _FORMAT else None
    except FileNotFoundError as error:
        raise InvalidValueError(f"there is no deployment record {path}") from error
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidValueError(
            f"{path} is no deployment record: {type(error).__name__}: {error}"
        ) from error
    if deployment is None:
        raise InvalidValueError(f"{path} is a record of format {found!r}, not {_FORMAT}")
    return deployment


def _deployment(raw: Mapping[str, Any]) -> Deployment:
    chain_id, version = raw["chain_id"], raw["version"]
    if not isinstance(chain_id, int) or not isinstance(version, str):
        raise TypeError("chain_id is a number and version a text")
    entries = tuple(_entry(name, each) for name, each in raw["contracts"].items())
    return Deployment(chain_id=chain_id, version=version, contracts=entries)


def _entry(name: str, raw: Mapping[str, Any]) -> DeployedContract:
    words = {key: None if raw[key] is None else _word(raw[key]) for key in _OPTIONAL_WORDS}
    block = raw["block"]
    if not (block is None or isinstance(block, int)):
        raise TypeError(f"block {block!r} is no number")
    return DeployedContract(
        name=name,
        contract=raw["contract"],
        address=address(raw["address"]),
        arguments=dict(raw["arguments"]),
        salt=_word(raw["salt"]),
        creation_hash=_word(raw["creation_hash"]),
        compiler_hash=_word(raw["compiler_hash"]),
        deployer=None if raw["deployer"] is None else address(raw["deployer"]),
        block=block,
        **words,
    )


_OPTIONAL_WORDS: Final = ("runtime_hash", "transaction")
