"""Range checks of what is signed: a value that Solidity cannot hold is never constructed."""

from __future__ import annotations

from typing import Final

from channels.errors import InvalidValueError

__all__ = ["fixed_bytes", "require", "signed128", "unsigned"]

_LEAST_128: Final = -(1 << 127)


def require(valid: bool, what: str, value: object) -> None:
    """Refuse ``value`` unless ``valid``; ``what`` says what it has to be.

    Raises:
        InvalidValueError: it is not valid.
    """
    if not valid:
        raise InvalidValueError(f"{what}, not {value!r}")


def unsigned(bits: int, **values: int) -> None:
    """Check unsigned integers of ``bits`` bits, each under its name.

    Raises:
        InvalidValueError: one is out of range, or no integer.
    """
    for name, value in values.items():
        if type(value) is not int or value >> bits:  # a negative number shifts to -1
            raise InvalidValueError(f"{name} is an unsigned {bits}-bit integer, not {value!r}")


def signed128(**values: int) -> None:
    """Check signed 128-bit integers, each under its name.

    Raises:
        InvalidValueError: one is out of range, or no integer.
    """
    for name, value in values.items():
        if type(value) is not int or not _LEAST_128 <= value < -_LEAST_128:
            raise InvalidValueError(f"{name} is a signed 128-bit integer, not {value!r}")


def fixed_bytes(length: int, **values: bytes) -> None:
    """Check byte strings of one length, each under its name.

    Raises:
        InvalidValueError: one has another length, or is no bytes.
    """
    for name, value in values.items():
        if type(value) is not bytes or len(value) != length:
            raise InvalidValueError(f"{name} has {length} bytes, not {value!r}")
