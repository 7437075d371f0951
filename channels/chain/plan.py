"""What is to be deployed: contracts, their constructor arguments, and so their addresses.

Arguments are kept as JSON has them: addresses and bytes as hexadecimal text, numbers as numbers,
structs as objects. So a plan and the record of a deployment say the same in the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import attrs
from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import EncodingError

from channels.chain.artifacts import NAMES, Artifact, canonical_type, load_artifact
from channels.chain.create2 import create2_address
from channels.errors import InvalidValueError
from channels.protocol.eip712 import Address, address, checksum, keccak
from channels.protocol.signing import LocalSigner
from channels.units import DAY
from channels.version import VERSION

__all__ = [
    "CORE",
    "ORACLES",
    "RELEASE_SALT",
    "TEST_ATTESTERS",
    "Argument",
    "PlannedContract",
    "abi_value",
    "core_contracts",
    "parameter_name",
    "public_oracle_contract",
    "token_contract",
]

Argument = str | int | Sequence["Argument"] | Mapping[str, "Argument"]
"""A constructor argument as JSON has it."""

CORE: Final[Mapping[str, Mapping[str, str]]] = {
    "RiskEngine": {},
    "Adjudicator": {"riskEngine": "RiskEngine"},
    "ChannelLens": {"adjudicator": "Adjudicator"},
}
"""Contracts of every deployment, in order: constructor parameters and the contracts they name."""

ORACLES: Final = ("AttestedOracle", "ChainlinkOracle", "FallbackOracle")
"""Oracles that ship, one of which may stand any number of times."""

RELEASE_SALT: Final = keccak(f"option-channels {VERSION}".encode())
"""Salt of everything that this version deploys."""


def parameter_name(parameter: Mapping[str, Any]) -> str:
    """Name of a constructor's parameter, without the underscore that keeps it from shadowing."""
    return str(parameter["name"]).rstrip("_")


@attrs.frozen(kw_only=True)
class PlannedContract:
    """One contract to deploy. ``name`` is what the record calls it; ``contract`` is which it is.

    Raises:
        InvalidValueError: no such contract, or arguments that its constructor cannot have.
    """

    name: str
    contract: str
    arguments: Mapping[str, Argument] = attrs.field(factory=dict)
    salt: bytes = RELEASE_SALT

    def __attrs_post_init__(self) -> None:
        if self.contract not in NAMES:
            raise InvalidValueError(f"{self.contract!r} is no contract of this package")
        if len(self.salt) != 32:
            raise InvalidValueError("a salt has 32 bytes")
        names = [parameter_name(each) for each in self.artifact.constructor]
        if sorted(self.arguments) != sorted(names):
            raise InvalidValueError(
                f"{self.name}: {self.contract} is made of {', '.join(names) or 'nothing'}, "
                f"not of {', '.join(self.arguments) or 'nothing'}"
            )
        self.encoded_arguments  # noqa: B018  (raises if they are not what the constructor takes)

    @property
    def artifact(self) -> Artifact:
        """The compiled contract."""
        return load_artifact(self.contract)

    @cached_property
    def encoded_arguments(self) -> bytes:
        """Constructor arguments as they follow the creation code."""
        parameters = self.artifact.constructor
        values = [
            abi_value(each, self.arguments[parameter_name(each)], self.name) for each in parameters
        ]
        try:
            return bytes(abi_encode([canonical_type(each) for each in parameters], values))
        except (EncodingError, TypeError) as error:
            raise InvalidValueError(f"{self.name}: {error}") from error

    @cached_property
    def init_code(self) -> bytes:
        """Creation code and arguments."""
        return self.artifact.creation + self.encoded_arguments

    @cached_property
    def address(self) -> Address:
        """Where it stands, on whatever chain."""
        return create2_address(self.salt, self.init_code)


def abi_value(parameter: Mapping[str, Any], value: object, where: str) -> Any:
    """Value of a parameter as eth-abi takes it.

    Raises:
        InvalidValueError: ``value`` is none of the parameter's type; says ``where``.
    """
    kind, name = str(parameter["type"]), f"{where}: {parameter_name(parameter)}"
    if kind.endswith("[]"):
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise InvalidValueError(f"{name} is a list, not {value!r}")
        element = {**parameter, "type": kind.removesuffix("[]")}
        return [abi_value(element, each, where) for each in value]
    if kind == "tuple":
        members = {parameter_name(each): each for each in parameter["components"]}
        if not isinstance(value, Mapping) or set(value) != set(members):
            raise InvalidValueError(f"{name} is made of {', '.join(members)}, not {value!r}")
        return tuple(abi_value(each, value[key], where) for key, each in members.items())
    simple = "uint" if kind.startswith("uint") else "bytes" if kind.startswith("bytes") else kind
    wanted, convert = _SIMPLE[simple]
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise InvalidValueError(f"{name} is of type {kind}, not {value!r}")
    try:
        return convert(value)
    except ValueError as error:
        raise InvalidValueError(f"{name}: {error}") from error


def _hexadecimal(text: str) -> bytes:
    if not text.startswith("0x"):
        raise InvalidValueError(f"{text!r} does not begin with 0x")
    return bytes.fromhex(text[2:])


_SIMPLE: Final[Mapping[str, tuple[type, Callable[[Any], object]]]] = {
    "address": (str, address),
    "bytes": (str, _hexadecimal),
    "string": (str, str),
    "uint": (int, int),
}


def core_contracts(salt: bytes = RELEASE_SALT) -> tuple[PlannedContract, ...]:
    """The contracts of `CORE`, each after those it names."""
    planned: dict[str, PlannedContract] = {}
    for contract, parameters in CORE.items():
        arguments = {key: checksum(planned[named].address) for key, named in parameters.items()}
        planned[contract] = PlannedContract(
            name=contract, contract=contract, arguments=arguments, salt=salt
        )
    return tuple(planned.values())


def token_contract(
    *,
    token_name: str = "Test Dollar",  # noqa: S107  (no password)
    token_symbol: str = "USDT",  # noqa: S107
    token_decimals: int = 6,
    salt: bytes = RELEASE_SALT,
) -> PlannedContract:
    """A token that anyone can mint: worth nothing, for tests and demos."""
    return PlannedContract(
        name="TestToken",
        contract="TestToken",
        arguments={"name": token_name, "symbol": token_symbol, "decimals": token_decimals},
        salt=salt,
    )


TEST_ATTESTERS: Final = tuple(bytes([number]) * 32 for number in (1, 2, 3))
"""Secret keys of a test oracle's attesters: everybody knows them."""


def public_oracle_contract(salt: bytes = RELEASE_SALT) -> PlannedContract:
    """An oracle that anyone can tell any price, two of three known keys: for tests and demos."""
    attesters = sorted(LocalSigner(secret).address for secret in TEST_ATTESTERS)
    return PlannedContract(
        name="TestOracle",
        contract="AttestedOracle",
        arguments={
            "attesters": [checksum(each) for each in attesters],
            "threshold": 2,
            "challengeDelay": 60,
            "grace": 3 * DAY,
        },
        salt=salt,
    )
