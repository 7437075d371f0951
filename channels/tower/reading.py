"""Reading a tower's book: one short query at a time, beside whoever writes it.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from channels.protocol.eip712 import Address
from channels.protocol.types import Party
from channels.tower.database import Row, SqliteDatabase, TowerDatabase
from channels.tower.intake import Account
from channels.tower.kept import Kept, watch_key
from channels.tower.merkle import Pair
from channels.tower.writes import Cursor, pairs_of

__all__ = ["BookReader", "is_address", "open_database", "read_book"]

_PAGE: Final = 1_000


class BookReader:
    """What is committed of a book. Every method blocks, and may raise `StorageError`."""

    def __init__(self, database: TowerDatabase) -> None:
        self.database = database

    def select(self, statement: str, *values: object) -> list[Row]:
        """All rows of a query over what is committed."""
        return self.database.select(statement, *values)

    def count(self, what: str) -> int:
        """One of the counters."""
        ((value,),) = self.select("SELECT value FROM meta WHERE key = ?", what)
        return int(value)

    @property
    def cursor(self) -> Cursor | None:
        """How far the chain was taken in."""
        rows = self.select("SELECT number, hash, disputes FROM chain_cursor")
        if not rows:
            return None
        number, hashed, disputes = rows[0]
        return Cursor(number=number, hash=hashed, disputes=disputes)

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

    def of_channel(self, channel_id: bytes) -> list[Kept]:
        """What is kept of a channel, for either side."""
        found = (self.kept(key) for key in self.keys(channel_id))
        return [each for each in found if each is not None]

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
        return [
            (channel_id, block)
            for channel_id, block in self.select(
                "SELECT channel_id, block FROM disputes ORDER BY block"
            )
        ]

    def disputes_since(self, change: int) -> list[tuple[bytes, int]]:
        """Those of which something new is known since a change of the book, and its number."""
        return [
            (channel_id, newest)
            for channel_id, newest in self.select(
                "SELECT channel_id, change FROM disputes WHERE change > ? ORDER BY change", change
            )
        ]

    def pairs(self, bucket: int) -> tuple[Pair, ...]:
        """The keys and leaves of a bucket of the store tree."""
        return tuple(pairs_of(self.select, bucket))

    def every_key(self, after: bytes = b"") -> Iterator[bytes]:
        """Keys of all entries above one, a page at a time: no long read holds the log back."""
        while keys := self.keys_after(after):
            yield from keys
            after = keys[-1]

    def keys_after(self, after: bytes) -> list[bytes]:
        """A page of `every_key`."""
        statement = "SELECT key FROM entries WHERE key > ? ORDER BY 1 LIMIT ?"
        return [key for (key,) in self.select(statement, after, _PAGE)]


def is_address(place: str) -> bool:
    """Whether a place is the address of a PostgreSQL database, not the path of a file."""
    return place.startswith(("postgresql://", "postgres://"))


def open_database(place: str | Path, *, read_only: bool = False) -> TowerDatabase:
    """Open a tower's tables: a path, or ``postgresql://``. Raises as the class that is made."""
    if isinstance(place, str) and is_address(place):
        from channels.tower.postgres import PostgresDatabase

        return PostgresDatabase(place, read_only=read_only)
    return SqliteDatabase(Path(place), read_only=read_only)


@contextmanager
def read_book(place: str | Path) -> Iterator[BookReader]:
    """Read the book at ``place``, beside a running tower or after one has stopped.

    Raises:
        SchemaVersionError: it is no book of this version.
        StorageError: it cannot be read.
    """
    database = open_database(place, read_only=True)
    try:
        yield BookReader(database)
    finally:
        database.close()
