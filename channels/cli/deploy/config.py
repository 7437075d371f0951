"""Which oracles to deploy: a TOML file, one table each.

::

    [oracles.attested]
    contract = "AttestedOracle"
    attesters = ["0x…", "0x…", "0x…"]
    threshold = 2
    challenge_delay = 1800
    grace = 259200

The keys are the parameters of the contract's constructor. A feed goes by its name, and an oracle
that another one asks by the name of its table, above.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from channels.chain.artifacts import load_artifact
from channels.chain.plan import CORE, ORACLES, PlannedContract, parameter_name
from channels.errors import InvalidValueError
from channels.protocol.eip712 import checksum
from channels.protocol.types import feed_id

__all__ = ["read_oracles"]

_ABSENT: Final = {"sequencerFeed": "0x" + "00" * 20}
"""What stands for an argument that is left out."""

_TAKEN: Final = {*CORE, "TestToken", "TestOracle"}


def read_oracles(path: Path) -> tuple[PlannedContract, ...]:
    """The oracles of a configuration file, in its order.

    Raises:
        InvalidValueError: no such file, or something in it is not as it must be.
    """
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InvalidValueError(f"{path} cannot be read: {error}") from error
    unknown = set(document) - {"oracles"}
    tables = document.get("oracles", {})
    if unknown or not isinstance(tables, dict):
        raise InvalidValueError(f"{path} has tables [oracles.…], not {', '.join(sorted(unknown))}")
    planned: dict[str, PlannedContract] = {}
    for name, table in tables.items():
        planned[name] = _oracle(name, table, planned)
    return tuple(planned.values())


def _oracle(name: str, table: object, above: Mapping[str, PlannedContract]) -> PlannedContract:
    if not isinstance(table, dict) or table.get("contract") not in ORACLES:
        raise InvalidValueError(f"oracles.{name}: contract is one of {', '.join(ORACLES)}")
    if name in _TAKEN:
        raise InvalidValueError(f"oracles.{name}: an oracle is not named like a contract")
    contract: str = table["contract"]
    given = {_camel(key): value for key, value in table.items() if key != "contract"}
    arguments = {
        (key := parameter_name(parameter)): _resolved(parameter, given.pop(key), above)
        for parameter in load_artifact(contract).constructor
        if parameter_name(parameter) in given
    }
    names = {parameter_name(each) for each in load_artifact(contract).constructor}
    for key in names & set(_ABSENT):
        arguments.setdefault(key, _ABSENT[key])
    return PlannedContract(name=name, contract=contract, arguments={**arguments, **given})


def _camel(key: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), key)


def _resolved(
    parameter: Mapping[str, Any], value: Any, above: Mapping[str, PlannedContract]
) -> Any:
    """A value of the file as the plan has it: names in place of addresses and feeds looked up."""
    kind = str(parameter["type"])
    if isinstance(value, list):
        element = {**parameter, "type": kind.removesuffix("[]")}
        return [_resolved(element, each, above) for each in value]
    if isinstance(value, dict):
        members = {parameter_name(each): each for each in parameter.get("components", ())}
        return {
            _camel(key): _resolved(members[_camel(key)], each, above)
            if _camel(key) in members
            else each
            for key, each in value.items()
        }
    if isinstance(value, str) and not value.startswith("0x"):
        if kind == "address" and value in above:
            return checksum(above[value].address)
        if kind == "bytes32":
            return "0x" + feed_id(value).hex()
    return value
