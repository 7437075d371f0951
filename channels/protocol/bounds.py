"""Range checks of what is signed: a value that Solidity cannot hold is never constructed."""

from __future__ import annotations

from channels.errors import InvalidValueError

__all__ = ["fixed_bytes", "require", "signed128", "unsigned"]


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
        require(
            type(value) is int and 0 <= value < 1 << bits,
            f"{name} is an unsigned {bits}-bit integer",
            value,
        )


def signed128(**values: int) -> None:
    """Check signed 128-bit integers, each under its name.

    Raises:
        InvalidValueError: one is out of range, or no integer.
    """
    for name, value in values.items():
        require(
            type(value) is int and -(1 << 127) <= value < 1 << 127,
            f"{name} is a signed 128-bit integer",
            value,
        )


def fixed_bytes(length: int, **values: bytes) -> None:
    """Check byte strings of one length, each under its name.

    Raises:
        InvalidValueError: one has another length, or is no bytes.
    """
    for name, value in values.items():
        require(type(value) is bytes and len(value) == length, f"{name} has {length} bytes", value)
