"""Whether what stands on a chain is what this package deploys: code, immutables, record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import DecodingError

from channels.chain.abi import selector
from channels.chain.artifacts import canonical_type
from channels.chain.attestations import OracleDomain
from channels.chain.create2 import PROXY, has_proxy
from channels.chain.deployments import DeployedContract, Deployment
from channels.chain.plan import CORE, PlannedContract, abi_value, parameter_name
from channels.chain.rpc import CallFailedError, Rpc
from channels.errors import DeploymentProxyError, InvalidValueError, WrongChainError
from channels.protocol.eip712 import checksum, keccak
from channels.protocol.terms import Domain
from channels.version import VERSION

__all__ = ["differences", "verify"]


@attrs.frozen
class _Getter:
    """A view function, and what it must answer."""

    call: str
    data: bytes
    types: tuple[str, ...]
    expected: tuple[Any, ...]


async def differences(rpc: Rpc, planned: PlannedContract, chain_id: int) -> tuple[str, ...]:
    """What is not as planned at the planned address, in words; nothing: it is our contract.

    Compares the code but for its immutable values, and those by what the contract says of them.

    Raises:
        EndpointError: no answer.
    """
    code = await rpc.code(planned.address)
    if not code:
        return ("there is no contract",)
    if not planned.artifact.is_code(code):
        return (f"the code is not {planned.contract}'s",)
    found = []
    for getter in _getters(planned, chain_id):
        try:
            output = await rpc.call(planned.address, getter.data)
        except CallFailedError as error:
            found.append(f"{getter.call} fails: {error.reply}")
            continue
        if output != abi_encode(getter.types, getter.expected):
            found.append(
                f"{getter.call} is {_shown(getter.types, output)}, not {_text(getter.expected)}"
            )
    return tuple(found)


def _getters(planned: PlannedContract, chain_id: int) -> Iterator[_Getter]:
    """A getter for each constructor argument that has one of its name, and what is special."""
    for parameter in planned.artifact.constructor:
        name = parameter_name(parameter)
        if planned.artifact.has_function(f"{name}()"):
            value = abi_value(parameter, planned.arguments[name], planned.name)
            call = f"{name}()"
            yield _Getter(call, selector(call), (canonical_type(parameter),), (value,))
    if planned.contract in _SPECIAL:
        yield from _SPECIAL[planned.contract](planned, chain_id)


def _of_adjudicator(planned: PlannedContract, chain_id: int) -> Iterator[_Getter]:
    call = "deploymentChainId()"
    yield _Getter(call, selector(call), ("uint256",), (chain_id,))
    separator = Domain(chain_id=chain_id, adjudicator=planned.address).separator
    yield _separator(separator)


def _of_attested_oracle(planned: PlannedContract, chain_id: int) -> Iterator[_Getter]:
    yield _separator(OracleDomain(chain_id=chain_id, oracle=planned.address).separator)


def _of_chainlink_oracle(planned: PlannedContract, _chain_id: int) -> Iterator[_Getter]:
    (parameter,) = (each for each in planned.artifact.constructor if each["type"] == "tuple[]")
    for feed, proxy, heartbeat in abi_value(
        parameter, planned.arguments[parameter_name(parameter)], planned.name
    ):
        yield _Getter(
            f"source(0x{feed.hex()})",
            selector("source(bytes32)") + feed,
            ("address", "uint32"),
            (proxy, heartbeat),
        )


def _separator(expected: bytes) -> _Getter:
    call = "domainSeparator()"
    return _Getter(call, selector(call), ("bytes32",), (expected,))


_SPECIAL: Final[Mapping[str, Callable[[PlannedContract, int], Iterator[_Getter]]]] = {
    "Adjudicator": _of_adjudicator,
    "AttestedOracle": _of_attested_oracle,
    "ChainlinkOracle": _of_chainlink_oracle,
}


def _shown(types: Sequence[str], output: bytes) -> str:
    try:
        return _text(abi_decode(types, output))
    except (DecodingError, UnicodeDecodeError):
        return f"0x{output.hex()}"


def _text(values: Sequence[object]) -> str:
    return ", ".join(_one(each) for each in values)


def _one(value: object) -> str:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, str) and value.startswith("0x"):
        return value.lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{_text(value)}]"
    return str(value)


# ---- a whole record


async def verify(rpc: Rpc, deployment: Deployment) -> tuple[str, ...]:
    """Everything about a record that this package or the chain contradicts, in words.

    Raises:
        WrongChainError: the endpoint is on another chain.
        EndpointError: no answer.
    """
    chain_id = await rpc.chain_id()
    if chain_id != deployment.chain_id:
        raise WrongChainError(expected=deployment.chain_id, found=chain_id)
    if deployment.version != VERSION:
        return (f"the record is of version {deployment.version}, this is {VERSION}",)
    found = []
    try:
        if not await has_proxy(rpc):
            found.append(f"the deployment proxy: there is no contract at {checksum(PROXY)}")
    except DeploymentProxyError as error:
        found.append(f"the deployment proxy: {error}")
    if deployment.find("Adjudicator") is None:
        found.append("Adjudicator: not in the record")
    for entry in deployment.contracts:
        where = f"{entry.name} at {checksum(entry.address)}"
        found += [f"{where}: {each}" for each in await _contradictions(rpc, entry, deployment)]
    return tuple(found)


async def _contradictions(rpc: Rpc, entry: DeployedContract, deployment: Deployment) -> list[str]:
    try:
        ours = DeployedContract.of(entry.planned)
    except InvalidValueError as error:
        return [str(error)]
    found = [
        f"its {field.replace('_', ' ')} follows from nothing in this package"
        for field in ("address", "creation_hash", "compiler_hash")
        if getattr(entry, field) != getattr(ours, field)
    ]
    if found:
        return found
    found += _other_engine(entry, deployment)
    found += await differences(rpc, entry.planned, deployment.chain_id)
    code = await rpc.code(entry.address)
    if code and entry.runtime_hash != keccak(code):
        found.append("its code does not have the recorded runtime hash")
    if entry.transaction is not None:
        found += await _other_transaction(rpc, entry, entry.transaction)
    return found


def _other_engine(entry: DeployedContract, deployment: Deployment) -> list[str]:
    """A contract that belongs to another one than the record's own."""
    by_name = {each.name: checksum(each.address) for each in deployment.contracts}
    return [
        f"its {parameter} is not the record's {named}"
        for parameter, named in CORE.get(entry.contract, {}).items()
        if str(entry.arguments[parameter]).lower() != by_name.get(named, "").lower()
    ]


async def _other_transaction(
    rpc: Rpc, entry: DeployedContract, transaction_hash: bytes
) -> list[str]:
    receipt = await rpc.receipt(transaction_hash)
    if receipt is None:
        return [f"its transaction 0x{transaction_hash.hex()} is not on the chain"]
    if not receipt.success:
        return [f"its transaction 0x{transaction_hash.hex()} failed"]
    if receipt.block_number != entry.block:
        return [f"its transaction is in block {receipt.block_number}, not in {entry.block}"]
    return []
