"""Bodies of HTTP requests: no more of them than is allowed, and nothing left unread.

A server that answers and closes while a body is still on its way resets the connection, and the
answer gets lost.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import trio
from starlette.requests import ClientDisconnect, Request

from channels.errors import InvalidValueError
from channels.foreign_json import parse_json

__all__ = ["TooLargeError", "drain", "read_json"]

_READ: Final = "option_channels.body_read"
_MOST_DRAINED: Final = 1_000_000
_DRAIN_TIME: Final = 2.0


class TooLargeError(Exception):
    """A body has more bytes than are taken."""


async def read_json(request: Request, *, most: int) -> Any:
    """The JSON of a body of at most ``most`` bytes.

    Raises:
        TooLargeError: it has more.
        InvalidValueError: it is no JSON, or nested without end.
        ClientDisconnect: it was cut short.
    """
    body = bytearray()
    while not request.scope.get(_READ):
        body += await _part(request)
        if len(body) > most:
            raise TooLargeError
    try:
        return parse_json(bytes(body))
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(f"no JSON: {error}") from error


async def drain(request: Request) -> None:
    """Take in what no handler wanted: a megabyte, or two seconds, at most."""
    left = _MOST_DRAINED
    with trio.move_on_after(_DRAIN_TIME), suppress(ClientDisconnect):
        while left > 0 and not request.scope.get(_READ):
            left -= len(await _part(request))


async def _part(request: Request) -> bytes:
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    if not message.get("more_body", False):
        request.scope[_READ] = True
    body: bytes = message.get("body", b"")
    return body
