"""JSON from outside: of an endpoint, a tower, a signer, a price feed; none of them is trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

__all__ = ["parse_json"]

_MOST_NESTED: Final = 64
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


def parse_json(raw: bytes, *, parse_float: Callable[[str], Any] | None = None) -> Any:
    """JSON, nested no deeper than any honest answer.

    web3's dependencies raise Python's recursion limit so far that a parser overflows the stack of
    the process first: whoever answers with brackets alone would end it.

    Args:
        raw: the text, in UTF-8.
        parse_float: makes a number with a point of its digits; a float unless given.

    Raises:
        ValueError: not JSON in UTF-8, or nested too deeply.
    """
    text = raw.decode()
    left = _STRING.sub(b"", raw).translate(None, delete=_NO_BRACKETS)
    for _ in range(_MOST_NESTED):
        if not left:
            break
        left = left.replace(b"[]", b"").replace(b"{}", b"")
    if left:
        raise ValueError(f"nested more than {_MOST_NESTED} deep, or not JSON")
    return json.loads(text, parse_float=parse_float)
