"""Custom errors: every one decoded with its arguments, and every one explained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode

from channels.chain.abi import selector
from channels.chain.artifacts import NAMES, load_artifact
from channels.chain.board import ending
from channels.chain.explanations import EXPLANATIONS
from channels.chain.jobs import JobFailed
from channels.chain.records import JobRecord, Stage, decode_record, encode_record
from channels.chain.reverts import NO_EFFECT, Revert, decode_revert, explain, refused
from channels.chain.rpc import CallFailedError
from channels.errors import (
    BugError,
    ChainError,
    ContractRevertedError,
    OurError,
    PeerError,
    SchemaVersionError,
)
from channels.protocol.eip712 import Address, keccak
from channels.protocol.facts import OnChainPhase
from channels.protocol.types import Party, feed_id
from tests.chain.test_bindings import Made

SOURCES = Path(__file__).resolve().parents[2] / "contracts" / "src"
FAULTS = {OurError.fault, PeerError.fault, ChainError.fault, BugError.fault}
NOT_CUSTOM = {"NoEffect", "Reverted", "Error", "Panic"}

ERRORS = {
    (contract, entry["name"]): [(each["type"], each["name"]) for each in entry["inputs"]]
    for contract in NAMES
    for entry in load_artifact(contract).abi
    if entry["type"] == "error"
}


def test_every_error_of_every_contract_is_explained_and_no_other() -> None:
    assert set(EXPLANATIONS) - NOT_CUSTOM == {name for _, name in ERRORS}


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_an_explanation_says_whose_fault_and_what_to_do(name: str) -> None:
    told = EXPLANATIONS[name]
    assert told.fault in FAULTS
    for sentence in (told.why, told.next_step):
        assert len(sentence.split()) >= 2
        assert not sentence.endswith(".")
        assert sentence[0].islower() or sentence[0] == "`"


def test_errors_of_the_sources_are_those_of_the_artifacts() -> None:
    """An error that no shipped contract can raise has no place in the sources either."""
    declared = {
        name
        for path in SOURCES.rglob("*.sol")
        for name in re.findall(r"^\s*error (\w+)\(", path.read_text(), re.MULTILINE)
    }
    assert declared - {name for _, name in ERRORS} == set()


def drawn(made: Made, kind: str, label: str) -> tuple[Any, Any]:
    """An argument as eth-abi encodes it, and as we should read it."""
    match kind, label:
        case "uint8", "party":
            party = made.party()
            return (1 if party is Party.A else 2), party
        case "uint8", "phase":
            phase = made.random.choice(list(OnChainPhase))
            return int(phase), phase
        case "address", _:
            address = made.address()
            return "0x" + address.hex(), address
        case "bytes32", _:
            word = made.bytes(32)
            return word, word
        case "int256", _:
            number = made.random.randint(-(2**255), 2**255 - 1)
            return number, number
    number = made.unsigned(int(kind.removeprefix("uint")))
    return number, number


@pytest.mark.parametrize("error", ERRORS, ids="-".join)
def test_every_error_is_decoded_with_its_arguments(error: tuple[str, str]) -> None:
    made = Made(len(error[1]))
    inputs = ERRORS[error]
    kinds = [kind for kind, _ in inputs]
    # Two oracles name the argument of one error differently: the first contract's name is used.
    labels = [label for _, label in next(ERRORS[each] for each in ERRORS if each[1] == error[1])]
    for _ in range(5):
        values = {label: drawn(made, kind, label) for kind, label in inputs}
        output = keccak(f"{error[1]}({','.join(kinds)})".encode())[:4]
        output += encode(kinds, [given for given, _ in values.values()])
        revert = decode_revert(output)
        assert (revert.name, revert.output) == (error[1], output)
        assert list(revert.arguments.values()) == [read for _, read in values.values()]
        assert list(revert.arguments) == labels
        raised = refused("the call", revert)
        assert raised.reason == error[1]
        assert raised.arguments == revert.arguments
        assert raised.fault == EXPLANATIONS[error[1]].fault
        assert raised.next_step == EXPLANATIONS[error[1]].next_step
        assert str(raised).startswith(f"the call was refused, {error[1]}(")
        assert all(f"{label}=" in str(raised) for label in labels)


@pytest.mark.parametrize(
    ("output", "name", "text"),
    [
        (b"", "Reverted", "Reverted without a reason"),
        (selector("WrongPhase(uint8)") + (4).to_bytes(32, "big"), "WrongPhase", "phase=CLOSED"),
        (selector("NoCall(uint8)") + (2).to_bytes(32, "big"), "NoCall", "NoCall(party=B)"),
        (selector("NoCall(uint8)") + bytes(32), "NoCall", "NoCall(party=nobody)"),
        (
            selector("NoSpot(bytes32)") + feed_id("ETH-USD"),
            "NoSpot",
            "NoSpot(feed=ETH-USD)",
        ),
        (
            selector("NotAParty(address)") + bytes(12) + b"\x11" * 20,
            "NotAParty",
            "NotAParty(caller=0x1111111111111111111111111111111111111111)",
        ),
        (
            selector("Error(string)") + encode(["string"], ["old style"]),
            "Error",
            "Error('old style')",
        ),
        (selector("Panic(uint256)") + (17).to_bytes(32, "big"), "Panic", "Panic(0x11)"),
        (b"\x01\x02\x03\x04", "Unknown", "unknown error 0x01020304"),
        (selector("WrongPhase(uint8)") + b"\x01", "Unknown", "unknown error"),
        (selector("WrongPhase(uint8)") + (5).to_bytes(32, "big"), "Unknown", "unknown error"),
        (selector("NoCall(uint8)") + (3).to_bytes(32, "big"), "Unknown", "unknown error"),
    ],
)
def test_what_is_shown(output: bytes, name: str, text: str) -> None:
    revert = decode_revert(output)
    assert revert.name == name
    assert text in revert.text
    assert text in str(refused("it", revert))


def test_an_unknown_error_is_the_chains_and_says_what_to_check() -> None:
    error = refused("open", decode_revert(b"\x01\x02\x03\x04"))
    assert (error.fault, error.arguments) == (ChainError.fault, {})
    assert "check the contract's address" in str(error)


def test_an_endpoint_that_only_says_no_is_quoted() -> None:
    silent = CallFailedError("eth_call", {"code": 3, "message": "execution reverted: out of gas"})
    error = explain(silent, "settle")
    assert error.reason == "Reverted"
    assert "out of gas" in str(error)


# ---- refusals outlive the process


def job(**changes: Any) -> JobRecord:
    fields: dict[str, Any] = {
        "key": b"k",
        "sequence": 3,
        "name": "close",
        "to": Address(bytes(range(20))),
        "data": b"\x01\x02",
        "value": 5,
        "answer": None,
        "repeatable": True,
        "gas": 0,
        "fee_limit": 7,
        "stage": Stage.FAILED,
    }
    return JobRecord(**{**fields, **changes})


def failure(record: JobRecord) -> ContractRevertedError:
    ended = ending(decode_record(record.key, encode_record(record)))
    assert isinstance(ended, JobFailed)
    assert isinstance(ended.error, ContractRevertedError)
    return ended.error


def test_a_stored_refusal_keeps_its_arguments() -> None:
    output = selector("NonceNotNewer(uint256,uint256)") + encode(["uint256", "uint256"], [7, 5])
    revert = decode_revert(output)
    told = {"reason": revert.name, "message": revert.text, "output": revert.output}
    error = failure(job(**told))
    assert error.reason == "NonceNotNewer"
    assert error.arguments == {"recorded": 7, "given": 5}
    assert str(error) == str(refused("close", revert))


@pytest.mark.parametrize("revert", [NO_EFFECT, Revert(name="Reverted", text="out of gas")])
def test_a_stored_refusal_without_output_keeps_its_words(revert: Revert) -> None:
    error = failure(job(reason=revert.name, message=revert.text, output=revert.output))
    assert str(error) == str(refused("close", revert))


FIRST_SCHEMA = bytes.fromhex(
    "dc00110103a5636c6f7365c414000102030405060708090a0b0c0d0e0f10111213c4020102c40105c0c300c4010703"
    "90c4000000a84e6f7453686f7274b24e6f7453686f7274286571756974793d3129"
)
"""A record of the first schema, as that version wrote it."""


def test_records_of_the_first_schema_are_read() -> None:
    assert decode_record(b"k", FIRST_SCHEMA) == job(reason="NotShort", message="NotShort(equity=1)")
    with pytest.raises(SchemaVersionError):
        decode_record(b"k", FIRST_SCHEMA[:3] + b"\x04" + FIRST_SCHEMA[4:])
