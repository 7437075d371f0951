"""Calls on py-evm that leave nothing behind: what they return, and how much gas they need.

A virtual machine is untyped here: py-evm's own interfaces name less than what it takes.
"""

from __future__ import annotations

from typing import Any, Final

from eth.abc import BlockHeaderAPI
from eth.exceptions import Revert, VMError
from eth.vm.spoof import SpoofTransaction
from eth_utils.exceptions import ValidationError

__all__ = ["RpcError", "estimate_gas", "simulate"]

_NO_ADDRESS: Final = bytes(20)


class RpcError(Exception):
    """What JSON-RPC answers in place of a result."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.error: dict[str, Any] = {"code": code, "message": message}
        if data is not None:
            self.error["data"] = data


def simulate(vm: Any, message: dict[str, str], *, most_gas: int) -> tuple[bytes, int]:
    """What a call message returns on the block of ``vm``, and the gas it takes.

    Raises:
        RpcError: it reverts, or is no transaction.
    """
    header: BlockHeaderAPI = vm.get_header()
    sender = _raw(message.get("from", "0x" + _NO_ADDRESS.hex()))
    unsigned = vm.get_transaction_builder().create_unsigned_transaction(
        nonce=vm.state.get_nonce(sender),
        gas_price=0,
        gas=int(message["gas"], 16) if "gas" in message else most_gas,
        to=_raw(message.get("to") or "0x"),
        value=int(message.get("value", "0x0"), 16),
        data=_raw(message.get("data", message.get("input", "0x"))),
    )
    state = vm.build_state(
        vm.chaindb.db, header.copy(base_fee_per_gas=0), vm.chain_context, vm.previous_hashes
    )
    try:
        # Not persisted, so nothing of it stays.
        computation = state.apply_transaction(SpoofTransaction(unsigned, from_=sender))
    except ValidationError as error:
        raise RpcError(-32000, str(error)) from error
    if computation.is_error:
        raise _failure(computation.error)
    used = computation.get_gas_used() + computation.data_floor_gas
    return computation.output, unsigned.intrinsic_gas + used


def estimate_gas(vm: Any, message: dict[str, str], *, most_gas: int) -> int:
    """About the least gas with which a call message goes through.

    Raises:
        RpcError: it goes through with none.
    """

    def suffices(gas: int) -> bool:
        try:
            simulate(vm, {**message, "gas": hex(gas)}, most_gas=most_gas)
        except RpcError:
            return gas >= most_gas
        return True

    used = simulate(vm, {**message, "gas": hex(most_gas)}, most_gas=most_gas)[1]
    # Mostly what it used is enough; a contract that looks at the gas left may want more.
    least, enough = used, used * 64 // 63
    while not suffices(enough):
        least, enough = enough, min(enough * 2, most_gas)
    while least > used and enough - least > enough // 16:
        middle = (least + enough) // 2
        if suffices(middle):
            enough = middle
        else:
            least = middle
    return enough


def _failure(error: VMError) -> RpcError:
    if isinstance(error, Revert):
        output = error.args[0] if error.args and isinstance(error.args[0], bytes) else b""
        return RpcError(3, "execution reverted", "0x" + output.hex())
    return RpcError(-32000, f"execution reverted: {type(error).__name__} {error}")


def _raw(value: str) -> bytes:
    return bytes.fromhex(value[2:])
