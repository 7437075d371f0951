"""Why a contract refused a call, in words: decoded custom errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError

from channels.chain.artifacts import NAMES, load_artifact
from channels.chain.rpc import CallFailedError
from channels.errors import ContractRevertedError
from channels.protocol.facts import OnChainPhase

__all__ = ["decode_revert", "explain", "refused", "reverts_explained"]

_ERROR: Final = bytes.fromhex("08c379a0")
_PANIC: Final = bytes.fromhex("4e487b71")

_NEXT_STEPS: Final = {
    "Expired": "sign again with a later validUntil",
    "InsufficientAllowance": "approve the Adjudicator for the deposit, then try again",
    "InsufficientBalance": "fund the account with collateral, then try again",
    "TransferFailed": "check the token's balance and allowance of both parties",
    "InvalidSignature": "check chain id, Adjudicator address and signer",
    "NonceNotNewer": "the chain holds a state as new: read the channel again",
    "WrongPhase": "read the channel again",
    "PortfolioMismatch": "use the recorded portfolio",
    "InsufficientGas": "send more gas",
}


@cache
def _errors() -> dict[bytes, tuple[str, tuple[tuple[str, str], ...]]]:
    known: dict[bytes, tuple[str, tuple[tuple[str, str], ...]]] = {}
    for name in NAMES:
        known |= load_artifact(name).errors()
    return known


def decode_revert(output: bytes) -> tuple[str, str]:
    """Name and full text of the error in what a reverted call returned.

    >>> decode_revert(b"")
    ('Reverted', 'Reverted without a reason')
    """
    if not output:
        return "Reverted", "Reverted without a reason"
    kind, body = output[:4], output[4:]
    try:
        if kind == _ERROR:
            text = abi_decode(["string"], body)[0]
            return "Error", f"Error({text!r})"
        if kind == _PANIC:
            return "Panic", f"Panic(0x{abi_decode(['uint256'], body)[0]:02x})"
        if kind in _errors():
            name, inputs = _errors()[kind]
            values = abi_decode([each for each, _ in inputs], body)
            shown = ", ".join(
                f"{label}={_show(label, value)}"
                for (_, label), value in zip(inputs, values, strict=True)
            )
            return name, f"{name}({shown})"
    except (DecodingError, UnicodeDecodeError):
        pass
    return "Unknown", f"unknown error 0x{output.hex()}"


def _show(label: str, value: object) -> str:
    if label == "phase" and isinstance(value, int) and value < len(OnChainPhase):
        return OnChainPhase(value).name
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


def refused(what: str, name: str, text: str) -> ContractRevertedError:
    """The error that says that a contract refused ``what``, and what to do about it."""
    return ContractRevertedError(
        f"{what} was refused: {text}", reason=name, next_step=_NEXT_STEPS.get(name)
    )


def explain(error: CallFailedError, what: str) -> ContractRevertedError:
    """Turn a failed simulation into an error that says why."""
    if not error.output:
        return refused(what, "Reverted", error.reply or "Reverted without a reason")
    return refused(what, *decode_revert(error.output))


@contextmanager
def reverts_explained(what: str) -> Iterator[None]:
    """Raise `ContractRevertedError` in place of the endpoint's error for a reverted call."""
    try:
        yield
    except CallFailedError as error:
        raise explain(error, what) from error
