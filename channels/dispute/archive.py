"""Where a monitor's knowledge survives: one record a channel, and how far the chain was read.

Source: design, protocol.md "Durability".
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from channels.dispute.evidence import Watched, decode_watched, encode_watched
from channels.dispute.ports import RecordsPort
from channels.errors import MessageError, SchemaVersionError, StorageError
from channels.protocol.codec import pack, unpack

__all__ = ["Archive", "Loaded"]

_CURSOR: Final = b"cursor"
"""No channel id: those have 32 bytes."""
_CURSOR_VERSION: Final = 1


@attrs.frozen(kw_only=True)
class Loaded:
    """What an earlier run left: channels, newest final block taken in, and keys of damaged records.

    A damaged record is not touched: the others must be defended in spite of it.
    """

    watched: tuple[Watched, ...] = ()
    cursor: int | None = None
    damaged: tuple[tuple[bytes, StorageError], ...] = ()


class Archive:
    """A monitor's namespace of a record store."""

    def __init__(self, records: RecordsPort) -> None:
        self._records = records
        self._cursor: int | None = None
        self._saved: dict[bytes, Watched] = {}
        self._locks: dict[bytes, trio.Lock] = {}

    async def load(self) -> Loaded:
        """Read everything.

        Raises:
            SchemaVersionError: written by another version.
            StorageError: the store cannot be read.
        """
        watched, damaged = [], []
        for key, record in sorted((await self._records.load()).items()):
            if key == _CURSOR:
                self._cursor = _read_cursor(record)
                continue
            try:
                each = decode_watched(record)
            except SchemaVersionError:
                raise
            except StorageError as error:
                damaged.append((key, error))
                continue
            self._saved[each.channel_id] = each
            watched.append(each)
        return Loaded(watched=tuple(watched), cursor=self._cursor, damaged=tuple(damaged))

    async def save(self, watched: Watched) -> None:
        """Store a channel; durable on return. Of two at once the one asked for later stays.

        Raises:
            StorageError: not stored.
        """
        channel = watched.channel_id
        async with self._locks.setdefault(channel, trio.Lock()):
            if self._saved.get(channel) is not watched:
                await self._records.put(channel, encode_watched(watched))
                self._saved[channel] = watched

    async def delete(self, channel: bytes) -> None:
        """Forget a channel.

        Raises:
            StorageError: it is still there.
        """
        async with self._locks.setdefault(channel, trio.Lock()):
            await self._records.delete(channel)
            self._saved.pop(channel, None)
        self._locks.pop(channel, None)

    async def save_cursor(self, block_number: int) -> None:
        """Store that every block up to this one was taken in, for good.

        Raises:
            StorageError: not stored.
        """
        if block_number != self._cursor:
            await self._records.put(_CURSOR, pack([_CURSOR_VERSION, block_number]))
            self._cursor = block_number

    @property
    def cursor(self) -> int | None:
        """The block last given to `save_cursor`, by this run or an earlier one."""
        return self._cursor


def _read_cursor(record: bytes) -> int | None:
    """The stored block number; None, that is begin at the head, if it cannot be read.

    Nothing rests on it: storage is read at every start, the cursor only finds portfolios again.
    """
    try:
        version, number = unpack(record)
    except (MessageError, ValueError, TypeError):
        return None
    return number if version == _CURSOR_VERSION and type(number) is int else None
