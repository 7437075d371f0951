"""A struct as the JSON that wallets sign: EIP-712 typed data with its types spelled out.

The hash of this JSON is the digest the contract checks, which is a test of every struct; and a
signature over anything else is refused when it comes back.

Source: EIP-712, "Specification of the eth_signTypedData JSON RPC".
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from channels.protocol.eip712 import checksum
from channels.protocol.proofs import SessionProof
from channels.protocol.signing import Signable
from channels.protocol.terms import DisputeAuthorisation, Opening, Signed, Terms
from channels.protocol.types import Closing, Portfolio, Position, Spot, State, Withdrawal
from channels.protocol.watching import (
    Appointment,
    Heartbeat,
    PortfolioKey,
    Receipt,
    TowerRequest,
)

__all__ = ["FIELDS", "Field", "typed_data"]

# Types and names of the fields, in the order of the class's own.
_DECLARED: Final[dict[type[Any], str]] = {
    Appointment: (
        "bytes32 channelId,uint64 nonce,uint64 validUntil,bytes32 portfolioHash,uint8 duties,"
        "uint128 gasBudget,uint64 sequence,bytes32 contentHash"
    ),
    Closing: "bytes32 channelId,uint64 nonce,uint64 validUntil,int128 netToB",
    DisputeAuthorisation: "bytes32 channelId,address delegate,uint64 minNonce,uint64 validUntil",
    Heartbeat: (
        "uint64 headNumber,bytes32 headHash,uint64 headTime,uint64 finalNumber,"
        "uint64 disputeCount,bytes32 storeRoot,uint64 channels,uint128 gasReserve,uint64 sequence"
    ),
    Opening: "Terms terms,uint128 depositA,uint128 depositB,uint64 validUntil",
    Portfolio: (
        "int128 netToB,uint128 marginA,uint128 marginB,uint64 markedAt,"
        "Spot[] spots,Position[] positions"
    ),
    PortfolioKey: "bytes32 channelId",
    Position: (
        "bytes32 feed,uint8 kind,uint64 expiry,uint128 strike,int128 quantity,"
        "uint128 vol,int128 carry"
    ),
    Receipt: (
        "bytes32 appointmentHash,bytes32 channelId,uint64 nonce,uint64 validFrom,uint64 validTo,"
        "uint64 acceptedAt,uint32 longestResponse,uint64 sequence"
    ),
    SessionProof: (
        "uint8 role,bytes32 certificate,bytes32 clientChallenge,bytes32 serverChallenge,"
        "address client"
    ),
    Spot: "bytes32 feed,uint128 price",
    State: "bytes32 channelId,uint64 nonce,uint64 validUntil,Portfolio portfolio",
    Terms: (
        "address partyA,address partyB,address signerA,address signerB,address collateral,"
        "uint128 unit,address oracle,uint32 disputeWindow,uint32 cureWindow,"
        "uint32 settlementGrace,uint32 maxPriceAge,uint32 maxMarkAge,uint32 maxTenor,"
        "uint16 maxInFlight,uint128 stalePenalty,uint16 defaultPenaltyBps,bytes32 riskHash,"
        "bytes32 salt"
    ),
    TowerRequest: "bytes32 channelId,uint8 verb,address tower,bytes32 subject,uint64 time",
    Withdrawal: "State state,uint128 amountA,uint128 amountB",
}

Field = dict[str, str]
"""The ``name`` and the ``type`` of one field."""

_DOMAIN: Final = "string name,string version,uint256 chainId,address verifyingContract"


def _fields(declared: str) -> list[Field]:
    pairs = (each.split(" ") for each in declared.split(","))
    return [{"name": name, "type": kind} for kind, name in pairs]


FIELDS: Final = {cls.__name__: _fields(declared) for cls, declared in _DECLARED.items()}
"""Names and types of the fields of every struct, by the struct's name."""


def _reached(name: str) -> dict[str, list[Field]]:
    """The type and those it refers to: signers refuse types that nothing uses."""
    found = {name: FIELDS[name]}
    for field in FIELDS[name]:
        inner = field["type"].removesuffix("[]")
        if inner in FIELDS:
            found |= _reached(inner)
    return found


_TYPES: Final = {
    cls.__name__: {"EIP712Domain": _fields(_DOMAIN), **_reached(cls.__name__)} for cls in _DECLARED
}


def typed_data(signable: Signable) -> dict[str, Any]:
    """The parameter of ``eth_signTypedData_v4``: types, primaryType, domain and message.

    Numbers are decimal strings, because readers of JSON lose digits of large ones; bytes are
    hexadecimal with ``0x``, addresses have their checksum.
    """
    domain, name = signable.domain, type(signable.value).__name__
    return {
        "types": _TYPES[name],
        "primaryType": name,
        "domain": {
            "name": "OptionChannels",
            "version": "1",
            "chainId": str(domain.chain_id),
            "verifyingContract": checksum(domain.adjudicator),
        },
        "message": _message(signable.value),
    }


def _message(value: Signed | Terms | Portfolio | Position | Spot) -> dict[str, Any]:
    declared = FIELDS[type(value).__name__]
    held = (getattr(value, field.name) for field in attrs.fields(type(value)))
    return {
        field["name"]: _plain(each, field["type"])
        for field, each in zip(declared, held, strict=True)
    }


def _plain(value: Any, kind: str) -> Any:
    if kind.endswith("[]"):
        return [_message(each) for each in value]
    if kind in FIELDS:
        return _message(value)
    if kind == "address":
        return checksum(value)
    return "0x" + value.hex() if kind == "bytes32" else f"{value:d}"
