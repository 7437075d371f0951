"""The writes a batch is made of. Identifiers and records are bytes that the store never reads."""

from __future__ import annotations

from typing import Final

import attrs

from channels.errors import InvalidValueError

__all__ = [
    "MAX_KEY",
    "MAX_RECORD",
    "AppendJournal",
    "DeleteRecord",
    "PutChannel",
    "PutRecord",
    "Write",
]

MAX_KEY: Final = 255
"""Bytes in the longest channel id or key; its length takes one byte in the journal's hash."""

MAX_RECORD: Final = 1 << 24
"""Bytes in the longest record or journal body: far above any, far below SQLite's own limit."""

_MAX_KIND: Final = (1 << 31) - 1


def _is_bytes(what: str, value: object, shortest: int, longest: int) -> None:
    if type(value) is not bytes:
        raise InvalidValueError(f"{what} is {type(value).__name__}, not bytes")
    if not shortest <= len(value) <= longest:
        raise InvalidValueError(f"{what} has {len(value)} bytes, not {shortest} to {longest}")


def _is_namespace(namespace: object) -> None:
    if not isinstance(namespace, str) or not namespace:
        raise InvalidValueError(f"{namespace!r} names no namespace")


def _is_kind(kind: object) -> None:
    if not isinstance(kind, int) or not 0 <= kind <= _MAX_KIND:
        raise InvalidValueError(f"{kind!r} is no kind of journal entry")


@attrs.frozen(kw_only=True)
class PutChannel:
    """Store ``record`` as the newest one of a channel, in place of the one before.

    Raises:
        InvalidValueError: not bytes, an empty id, or too long.
    """

    channel_id: bytes
    record: bytes

    def __attrs_post_init__(self) -> None:
        _is_bytes("channel_id", self.channel_id, 1, MAX_KEY)
        _is_bytes("record", self.record, 0, MAX_RECORD)


@attrs.frozen(kw_only=True)
class AppendJournal:
    """Append one entry to the journal; it can never be changed or taken out again.

    The channel must be stored, at the latest by the same batch; an empty ``channel_id`` is for
    what concerns no one channel.

    Raises:
        InvalidValueError: not bytes, too long, or a ``kind`` that is no integer below 2**31.
    """

    channel_id: bytes
    kind: int
    body: bytes

    def __attrs_post_init__(self) -> None:
        _is_bytes("channel_id", self.channel_id, 0, MAX_KEY)
        _is_bytes("body", self.body, 0, MAX_RECORD)
        _is_kind(self.kind)


@attrs.frozen(kw_only=True)
class PutRecord:
    """Store ``record`` under ``key`` in a namespace, in place of the one before.

    Raises:
        InvalidValueError: not bytes, too long, or no namespace.
    """

    namespace: str
    key: bytes
    record: bytes

    def __attrs_post_init__(self) -> None:
        _is_namespace(self.namespace)
        _is_bytes("key", self.key, 0, MAX_KEY)
        _is_bytes("record", self.record, 0, MAX_RECORD)


@attrs.frozen(kw_only=True)
class DeleteRecord:
    """Delete the record under ``key`` in a namespace, if there is one.

    Raises:
        InvalidValueError: not bytes, too long, or no namespace.
    """

    namespace: str
    key: bytes

    def __attrs_post_init__(self) -> None:
        _is_namespace(self.namespace)
        _is_bytes("key", self.key, 0, MAX_KEY)


Write = PutChannel | AppendJournal | PutRecord | DeleteRecord
"""One write of a batch; a batch is written whole or not at all."""
