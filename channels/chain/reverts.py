"""Why a contract refused a call: its custom error, decoded, and what that means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import attrs
from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError

from channels.chain.artifacts import NAMES, load_artifact
from channels.chain.explanations import EXPLANATIONS, UNEXPLAINED
from channels.chain.rpc import CallFailedError
from channels.errors import ContractRevertedError
from channels.protocol.eip712 import Address, address, checksum
from channels.protocol.facts import OnChainPhase
from channels.protocol.types import Party, feed_name

__all__ = ["NO_EFFECT", "Revert", "decode_revert", "explain", "refused", "reverts_explained"]

_ERROR: Final = bytes.fromhex("08c379a0")
_PANIC: Final = bytes.fromhex("4e487b71")


@attrs.frozen(kw_only=True)
class Revert:
    """What a reverted call returned, decoded.

    ``text`` shows the error as written in Solidity. ``arguments`` by their names there: integers,
    32 bytes, `Address`, and `Party` (None for nobody) and `OnChainPhase` as this library has them.
    """

    name: str
    text: str
    arguments: Mapping[str, object] = attrs.field(factory=dict)
    output: bytes = attrs.field(default=b"", repr=False)


NO_EFFECT: Final = Revert(name="NoEffect", text="NoEffect")
"""A call that would not revert, and would not do what it is sent for either."""


@cache
def _errors() -> dict[bytes, tuple[str, tuple[tuple[str, str], ...]]]:
    known: dict[bytes, tuple[str, tuple[tuple[str, str], ...]]] = {}
    for name in NAMES:
        known = load_artifact(name).errors() | known  # of equal ones the first names the arguments
    return known


def decode_revert(output: bytes) -> Revert:
    """The error in what a reverted call returned.

    >>> decode_revert(b"").text
    'Reverted without a reason'
    """
    if not output:
        return Revert(name="Reverted", text="Reverted without a reason")
    kind, body = output[:4], output[4:]
    try:
        if kind == _ERROR:
            text = abi_decode(["string"], body)[0]
            return Revert(name="Error", text=f"Error({text!r})", output=output)
        if kind == _PANIC:
            code = abi_decode(["uint256"], body)[0]
            return Revert(name="Panic", text=f"Panic(0x{code:02x})", output=output)
        if kind in _errors():
            return _custom(*_errors()[kind], output)
    except (DecodingError, UnicodeDecodeError, ValueError):
        pass
    return Revert(name="Unknown", text=f"unknown error 0x{output.hex()}", output=output)


def _custom(name: str, inputs: tuple[tuple[str, str], ...], output: bytes) -> Revert:
    values = abi_decode([kind for kind, _ in inputs], output[4:])
    arguments = {
        label: _READERS.get(label, _READERS.get(kind, _as_it_is))(value)
        for (kind, label), value in zip(inputs, values, strict=True)
    }
    shown = ", ".join(f"{label}={_show(label, value)}" for label, value in arguments.items())
    return Revert(name=name, text=f"{name}({shown})", arguments=arguments, output=output)


def _as_it_is(value: Any) -> object:
    return value


def _party(value: int) -> Party | None:
    return None if value == 0 else Party(value - 1)


_READERS: Final[dict[str, Callable[[Any], object]]] = {
    "address": address,
    "party": _party,
    "phase": OnChainPhase,
}
"""How an argument of this name, or else of this type, is read; others stay as they are."""


def _show(label: str, value: object) -> str:
    match value:
        case Party() | OnChainPhase():
            return value.name
        case bytes() if label == "feed":
            return feed_name(value)
        case bytes() if len(value) == 20:
            return checksum(Address(value))
        case bytes():
            return "0x" + value.hex()
    return "nobody" if value is None else str(value)


def refused(what: str, revert: Revert) -> ContractRevertedError:
    """The error that says that a contract refused ``what``, whose fault it is and what to do."""
    meaning = EXPLANATIONS.get(revert.name, UNEXPLAINED)
    return ContractRevertedError(
        f"{what} was refused, {revert.text}: {meaning.why}",
        reason=revert.name,
        arguments=revert.arguments,
        fault=meaning.fault,
        next_step=meaning.next_step,
    )


def explain(error: CallFailedError, what: str) -> ContractRevertedError:
    """Turn a failed simulation into an error that says why."""
    if not error.output and error.reply:
        return refused(what, Revert(name="Reverted", text=error.reply))
    return refused(what, decode_revert(error.output))


@contextmanager
def reverts_explained(what: str) -> Iterator[None]:
    """Raise `ContractRevertedError` in place of the endpoint's error for a reverted call."""
    try:
        yield
    except CallFailedError as error:
        raise explain(error, what) from error
