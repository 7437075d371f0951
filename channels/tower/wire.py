"""The JSON that a tower and its customers exchange: structs as wallets show them, bytes as hex.

A struct's members have their EIP-712 names; numbers are decimal strings, because readers of JSON
lose digits of large ones, and are taken as numbers too. Nothing unknown is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import attrs

from channels.errors import InvalidValueError
from channels.protocol.eip712 import address
from channels.protocol.signing import Signable, Signature
from channels.protocol.terms import Domain, Signed
from channels.protocol.watching import Appointment, Heartbeat, Receipt
from channels.signers.typed_data import FIELDS, typed_data
from channels.tower.kept import Holding
from channels.tower.merkle import MerkleProof
from channels.tower.signed import SignedHeartbeat, SignedReceipt

__all__ = [
    "hexed",
    "holding_json",
    "proof_json",
    "read_heartbeat",
    "read_hex",
    "read_holding",
    "read_proof",
    "read_receipt",
    "read_signature",
    "read_struct",
    "signed_json",
    "struct_json",
]

T = TypeVar("T")

_MOST_DIGITS: Final = 78
"""Of a 256-bit number: Python reads longer ones too, and slowly."""


def hexed(value: bytes) -> str:
    """Bytes as text."""
    return "0x" + value.hex()


def read_hex(value: object, length: int | None = None) -> bytes:
    """Text as bytes, of a certain length if one is given.

    Raises:
        InvalidValueError: it is not hexadecimal with 0x, or of another length.
    """
    if not isinstance(value, str) or not value.startswith("0x"):
        raise InvalidValueError("bytes are text that begins with 0x")
    try:
        raw = bytes.fromhex(value[2:])
    except ValueError as error:
        raise InvalidValueError("bytes are hexadecimal digits after 0x") from error
    if length is not None and len(raw) != length:
        raise InvalidValueError(f"{length} bytes are expected, not {len(raw)}")
    return raw


def _read_number(value: object) -> int:
    if type(value) is int:
        return value
    if isinstance(value, str) and value.isdecimal() and len(value) <= _MOST_DIGITS:
        return int(value)
    raise InvalidValueError("a number is a decimal string")


def _read_address(value: object) -> bytes:
    if not isinstance(value, str):
        raise InvalidValueError("an address is text that begins with 0x")
    return address(value)


def read_object(value: object, *names: str) -> Mapping[str, Any]:
    """A JSON object with exactly these members.

    Raises:
        InvalidValueError: it is not.
    """
    if not isinstance(value, dict) or set(value) != set(names):
        raise InvalidValueError(f"an object with exactly {', '.join(names)} is expected")
    return value


def struct_json(value: Signed, domain: Domain) -> dict[str, Any]:
    """A struct's members."""
    message: dict[str, Any] = typed_data(Signable(domain, value))["message"]
    return message


def read_struct(cls: type[T], value: object) -> T:
    """Read a flat struct of `channels.protocol.watching`.

    Raises:
        InvalidValueError: members are missing, unknown or out of range.
    """
    declared = FIELDS[cls.__name__]
    members = read_object(value, *(field["name"] for field in declared))
    found: dict[str, Any] = {}
    names = [each.name for each in attrs.fields(cls)]  # type: ignore[arg-type]  # all are attrs'
    for name, field in zip(names, declared, strict=True):
        raw = members[field["name"]]
        match field["type"]:
            case "bytes32":
                found[name] = read_hex(raw, 32)
            case "address":
                found[name] = _read_address(raw)
            case _:
                found[name] = _read_number(raw)
    return cls(**found)


def read_signature(value: object) -> Signature:
    """A signature: 64 bytes compact (EIP-2098), or the usual 65.

    Raises:
        InvalidValueError: neither.
    """
    raw = read_hex(value)
    return Signature.from_expanded(raw) if len(raw) == 65 else Signature(raw)


def holding_json(holding: Holding, domain: Domain) -> dict[str, Any]:
    """An appointment with all that belongs to it."""
    return {
        "appointment": struct_json(holding.appointment, domain),
        "signature": hexed(holding.signature.compact),
        "content": hexed(holding.content),
    }


def read_holding(value: object) -> Holding:
    """Read `holding_json`. Raises `InvalidValueError`."""
    members = read_object(value, "appointment", "signature", "content")
    return Holding(
        appointment=read_struct(Appointment, members["appointment"]),
        signature=read_signature(members["signature"]),
        content=read_hex(members["content"]),
    )


def signed_json(signed: SignedReceipt | SignedHeartbeat, domain: Domain) -> dict[str, Any]:
    """A receipt or a heartbeat, with its signature."""
    value: Receipt | Heartbeat
    if isinstance(signed, SignedReceipt):
        name, value = "receipt", signed.receipt
    else:
        name, value = "heartbeat", signed.heartbeat
    return {name: struct_json(value, domain), "signature": hexed(signed.signature.compact)}


def read_receipt(value: object) -> SignedReceipt:
    """Read a receipt; its signature is not checked. Raises `InvalidValueError`."""
    members = read_object(value, "receipt", "signature")
    return SignedReceipt(
        receipt=read_struct(Receipt, members["receipt"]),
        signature=read_signature(members["signature"]),
    )


def read_heartbeat(value: object) -> SignedHeartbeat:
    """Read a heartbeat; its signature is not checked. Raises `InvalidValueError`."""
    members = read_object(value, "heartbeat", "signature")
    return SignedHeartbeat(
        heartbeat=read_struct(Heartbeat, members["heartbeat"]),
        signature=read_signature(members["signature"]),
    )


def proof_json(proof: MerkleProof) -> dict[str, Any]:
    """A proof under the store root."""
    return {
        "pairs": [[hexed(key), hexed(leaf)] for key, leaf in proof.pairs],
        "siblings": [hexed(each) for each in proof.siblings],
    }


def read_proof(value: object) -> MerkleProof:
    """Read `proof_json`. Raises `InvalidValueError`."""
    members = read_object(value, "pairs", "siblings")
    try:
        pairs = tuple((read_hex(key), read_hex(leaf)) for key, leaf in members["pairs"])
        siblings = tuple(read_hex(each) for each in members["siblings"])
    except (TypeError, ValueError) as error:
        raise InvalidValueError("no proof") from error
    return MerkleProof(pairs=pairs, siblings=siblings)
