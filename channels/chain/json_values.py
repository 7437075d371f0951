"""What an endpoint answers, as values: each function raises `EndpointError` for anything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from channels.errors import EndpointError

__all__ = ["hexadecimal", "mapping", "number", "number_64", "sequence", "shown", "words"]

_MOST_SHOWN: Final = 400
"""Characters of an endpoint's own words that an error repeats."""


def shown(value: object) -> str:
    """Enough of an answer to know it again: the endpoint decides how long it is."""
    return repr(value)[:_MOST_SHOWN]


def words(value: object) -> str:
    """The endpoint's own words, as far as they are repeated."""
    return value[:_MOST_SHOWN] if isinstance(value, str) else shown(value)


def hexadecimal(value: object, length: int | None = None) -> bytes:
    """Bytes, of this length if one is given."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise EndpointError(f"expected hexadecimal data, got {shown(value)}")
    try:
        raw = bytes.fromhex(value[2:])
    except ValueError as error:
        raise EndpointError(f"expected hexadecimal data, got {shown(value)}") from error
    if length is not None and len(raw) != length:
        raise EndpointError(f"expected {length} bytes, got {len(raw)}")
    return raw


def number(value: object) -> int:
    """A number."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise EndpointError(f"expected a hexadecimal number, got {shown(value)}")
    try:
        return int(value, 16)
    except ValueError as error:
        raise EndpointError(f"expected a hexadecimal number, got {shown(value)}") from error


def number_64(value: object) -> int:
    """A number of blocks or seconds."""
    found = number(value)
    if not 0 <= found < 1 << 64:
        raise EndpointError(f"expected a number of 64 bits, got {shown(value)}")
    return found


def mapping(value: object) -> Mapping[str, Any]:
    """An object."""
    if not isinstance(value, Mapping):
        raise EndpointError(f"expected an object, got {type(value).__name__}")
    return value


def sequence(value: object) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise EndpointError(f"expected a list, got {type(value).__name__}")
    return value
