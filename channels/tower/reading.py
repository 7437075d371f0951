"""Reading a tower's book: one short query at a time, beside whoever writes it.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from channels.errors import SchemaVersionError, StorageError
from channels.protocol.eip712 import Address
from channels.protocol.types import Party
from channels.tower.intake import Account
from channels.tower.kept import Kept, watch_key
from channels.tower.writes import Cursor

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "BookReader", "check_schema", "read_book"]

SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0x6F707477  # "optw", in the file's header and in schema.sql
_PAGE: Final = 1_000


def check_schema(database: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that is no book of this version.

    Raises:
        SchemaVersionError: it is not.
    """
    (application,) = database.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise SchemaVersionError(f"{path} is no tower's book")
    row = database.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    if row is None or row[0] != SCHEMA_VERSION:
        raise SchemaVersionError(f"{path} has another schema than {SCHEMA_VERSION}")


class BookReader:
    """What is committed of a book. Every method may raise `StorageError`."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.database = sqlite3.connect(
            self.path.as_uri() + "?mode=ro", uri=True, timeout=5, isolation_level=None
        )

    def select(self, statement: str, *values: object) -> list[Any]:
        """All rows of a query over what is committed."""
        try:
            return self.database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"cannot read {self.path}: {error}") from error

    def _meta(self, key: str) -> Any:
        rows = self.select("SELECT value FROM meta WHERE key = ?", key)
        return rows[0][0] if rows else None

    @property
    def entries(self) -> int:
        """How many there are: one for each customer of each channel."""
        return int(self._meta("entries"))

    @property
    def cursor(self) -> Cursor | None:
        """How far the chain was taken in."""
        number = self._meta("cursor")
        if number is None:
            return None
        return Cursor(
            number=number, hash=self._meta("cursor_hash"), disputes=self._meta("cursor_disputes")
        )

    def kept(self, key: bytes) -> Kept | None:
        """What is kept of an entry.

        Raises:
            StorageError: it cannot be read.
        """
        rows = self.select(
            "SELECT record FROM entries JOIN records USING (number) WHERE key = ?", key
        )
        return Kept.read(rows[0][0]) if rows else None

    def keys(self, channel_id: bytes) -> tuple[bytes, ...]:
        """The entries of a channel: of none, one or both of its sides."""
        both = [watch_key(channel_id, side) for side in Party]
        return tuple(
            key for (key,) in self.select("SELECT key FROM entries WHERE key IN (?, ?)", *both)
        )

    def account(self, customer: Address) -> Account:
        """What a customer has here."""
        rows = self.select("SELECT channels, committed FROM accounts WHERE customer = ?", customer)
        if not rows:
            return Account()
        return Account(channels=rows[0][0], committed=int.from_bytes(rows[0][1], "big"))

    def of_customer(self, customer: Address) -> list[bytes]:
        """Ids of a customer's channels, in no order, at most a thousand."""
        rows = self.select("SELECT record FROM records WHERE customer = ? LIMIT ?", customer, _PAGE)
        return [Kept.read(record).channel_id for (record,) in rows]

    def due(self, time: int) -> list[bytes]:
        """Channels whose boxed state is to be put on chain at this chain time or before."""
        rows = self.select("SELECT key FROM due WHERE time <= ? ORDER BY time", time)
        return [key[:32] for (key,) in rows]

    def disputes(self) -> list[tuple[bytes, int]]:
        """Channels that the monitor has to see to, and since which block."""
        return self.select("SELECT channel_id, block FROM disputes ORDER BY block")

    def every_key(self, after: bytes = b"") -> Iterator[bytes]:
        """Keys of all entries above one, a page at a time: no long read holds the log back."""
        statement = "SELECT key FROM entries WHERE key > ? ORDER BY 1 LIMIT ?"
        while rows := self.select(statement, after, _PAGE):
            for (after,) in rows:
                yield after


@contextmanager
def read_book(path: Path) -> Iterator[BookReader]:
    """Read the book at ``path``, beside a running tower or after one has stopped.

    Raises:
        SchemaVersionError: it is no book of this version.
        StorageError: it cannot be read.
    """
    try:
        reader = BookReader(path)
        check_schema(reader.database, path)
    except sqlite3.Error as error:
        raise StorageError(f"cannot read {path}: {error}") from error
    try:
        yield reader
    finally:
        reader.database.close()
