"""A contract that makes calls while it is created, so that one transaction makes several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from channels.protocol.eip712 import Address

__all__ = ["calls"]

_STEP: Final = 53
"""Bytes of code for one call."""


def calls(to: Address, data: Sequence[bytes]) -> bytes:
    """Creation code that calls ``to`` with each of ``data``, and reverts if one reverts."""
    start, code = _STEP * len(data) + 1, b""
    for each in data:
        size, place = len(each).to_bytes(2, "big"), start.to_bytes(2, "big")
        after = len(code) + _STEP - 1
        code += b"\x61" + size + b"\x61" + place + b"\x60\x00" + b"\x39"  # CODECOPY(0, place, size)
        code += b"\x60\x00\x60\x00" + b"\x61" + size + b"\x60\x00\x60\x00"  # out, in, value
        code += b"\x73" + to + b"\x5a\xf1"  # CALL with all gas
        code += b"\x61" + after.to_bytes(2, "big") + b"\x57"  # JUMPI
        code += b"\x60\x00\x60\x00\xfd" + b"\x5b"  # REVERT, JUMPDEST
        start += len(each)
    return code + b"\x00" + b"".join(data)
