"""The book: what a tower keeps of every channel, in one SQLite file, and nothing of it in memory.

A million channels take under a gigabyte on disk, and in memory only the tree above their hashes.
Many writes are committed as one: while a transaction runs in a thread, those that come wait, and
are the next one together. When a write has returned it survives a crash of the machine, and only
then is a receipt signed: a receipt for what could be lost **may lose funds** of the customer.

Source: design, watchtower.md "Service"; targets.md "Watchtower".
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from channels.chain.tasks import open_tasks
from channels.errors import SchemaVersionError, StorageError
from channels.protocol.eip712 import Address
from channels.protocol.types import Party
from channels.storage.lock import FileLock
from channels.tower.intake import Account
from channels.tower.kept import Kept, watch_key
from channels.tower.merkle import MerkleProof, StoreTree, bucket_hash, bucket_of
from channels.tower.writes import Cursor, Transaction, Write

__all__ = ["Book", "open_book"]

_SCHEMA_VERSION: Final = 1
_APPLICATION_ID: Final = 0x6F707477  # "optw", in the file's header and in schema.sql
_PAGE: Final = 1_000
_MOST_AT_ONCE: Final = 256
"""Writes in one transaction: more would make those that come wait for too long."""


@attrs.define
class _Waiting:
    write: Write
    done: trio.Event = attrs.field(factory=trio.Event)
    answer: int = 0
    error: StorageError | None = None


class Book:
    """A tower's book. Make one with `open_book`; ``failed`` says why it takes no more writes."""

    def __init__(self, path: Path) -> None:
        self.failed: str | None = None
        self.commit_seconds = 0.0
        self._path = path.resolve()
        self._lock = FileLock(self._path)
        self._open: list[sqlite3.Connection] = []
        self._waiting: list[_Waiting] = []
        try:
            self._writer = self._connect()
            self._reader = sqlite3.connect(
                self._path.as_uri() + "?mode=ro", uri=True, timeout=5, isolation_level=None
            )
            self._open.append(self._reader)
            self._tree = StoreTree(dict(self._select("SELECT bucket, hash FROM buckets")))
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StorageError(f"cannot open {path}: {error}") from error
        except BaseException:
            self.close()
            raise
        self._arrived = trio.Event()
        self._limiter = trio.CapacityLimiter(1)

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        database = sqlite3.connect(
            self._path, timeout=5, isolation_level=None, check_same_thread=False
        )
        self._open.append(database)
        fresh = not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not fresh:
            (application,) = database.execute("PRAGMA application_id").fetchone()
            if application != _APPLICATION_ID:
                raise SchemaVersionError(f"{self._path} is no tower's book")
            row = database.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
            if row is None or row[0] != _SCHEMA_VERSION:
                raise SchemaVersionError(f"{self._path} has another schema than {_SCHEMA_VERSION}")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        if fresh:
            schema = resources.files("channels.tower").joinpath("schema.sql").read_text("utf-8")
            database.executescript(schema)
        # What a killed process left in the log must be on the disk before it is acted on.
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return database

    def close(self) -> None:
        """Close the file and let its lock go."""
        while self._open:
            self._open.pop().close()
        self._lock.release()
        for each in self._waiting:
            each.error = StorageError("the book was closed", next_step="open it again")
            each.done.set()

    # ---- reading

    def _select(self, statement: str, *values: object) -> list[Any]:
        try:
            return self._reader.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"cannot read {self._path}: {error}") from error

    def _meta(self, key: str) -> Any:
        rows = self._select("SELECT value FROM meta WHERE key = ?", key)
        return rows[0][0] if rows else None

    @property
    def entries(self) -> int:
        """How many there are: one for each customer of each channel."""
        return int(self._meta("entries"))

    @property
    def root(self) -> bytes:
        """The store root of what is durable."""
        return self._tree.root

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
        rows = self._select(
            "SELECT record FROM entries JOIN records USING (number) WHERE key = ?", key
        )
        return Kept.read(rows[0][0]) if rows else None

    def keys(self, channel_id: bytes) -> tuple[bytes, ...]:
        """The entries of a channel: of none, one or both of its sides."""
        both = [watch_key(channel_id, side) for side in Party]
        return tuple(
            key for (key,) in self._select("SELECT key FROM entries WHERE key IN (?, ?)", *both)
        )

    def account(self, customer: Address) -> Account:
        """What a customer has here."""
        rows = self._select("SELECT channels, committed FROM accounts WHERE customer = ?", customer)
        if not rows:
            return Account()
        return Account(channels=rows[0][0], committed=int.from_bytes(rows[0][1], "big"))

    def of_customer(self, customer: Address) -> list[bytes]:
        """Ids of a customer's channels, in no order, at most a thousand."""
        rows = self._select(
            "SELECT record FROM records WHERE customer = ? LIMIT ?", customer, _PAGE
        )
        return [Kept.read(record).channel_id for (record,) in rows]

    def due(self, time: int) -> list[bytes]:
        """Channels whose boxed state is to be put on chain at this chain time or before."""
        rows = self._select("SELECT key FROM due WHERE time <= ? ORDER BY time", time)
        return [key[:32] for (key,) in rows]

    def disputes(self) -> list[tuple[bytes, int]]:
        """Channels that the monitor has to see to, and since which block."""
        return self._select("SELECT channel_id, block FROM disputes ORDER BY block")

    def every_key(self, after: bytes = b"") -> Iterator[bytes]:
        """Keys of all entries above one, a page at a time: no long read holds the log back."""
        statement = "SELECT key FROM entries WHERE key > ? ORDER BY 1 LIMIT ?"
        while rows := self._select(statement, after, _PAGE):
            for (after,) in rows:
                yield after

    def proof(self, key: bytes) -> MerkleProof:
        """What shows an entry's leaf under `root`, or that it is not there."""
        bucket = bucket_of(key)
        return MerkleProof(
            pairs=tuple(_pairs(self._reader, bucket)), siblings=self._tree.siblings(bucket)
        )

    # ---- writing

    async def write(self, write: Write) -> int:
        """Write; durable on return, together with whatever else is asked for at the same time.

        Cancellation leaves no doubt but one: what was asked for may be written all the same.

        Raises:
            StorageError: disk full, I/O error: take it as not written.
        """
        if self.failed is not None:
            raise StorageError(self.failed)
        waiting = _Waiting(write)
        self._waiting.append(waiting)
        self._arrived.set()
        await waiting.done.wait()
        if waiting.error is not None:
            raise waiting.error
        return waiting.answer

    async def run(self) -> None:
        """Write what is asked for, for ever."""
        while True:
            await self._arrived.wait()
            self._arrived = trio.Event()
            while self._waiting:
                group, self._waiting = (
                    self._waiting[:_MOST_AT_ONCE],
                    self._waiting[_MOST_AT_ONCE:],
                )
                with trio.CancelScope(shield=True):
                    started = trio.current_time()
                    buckets = await trio.to_thread.run_sync(
                        self._transact, group, limiter=self._limiter
                    )
                    self.commit_seconds = trio.current_time() - started
                self._tree.update(buckets)
                for each in group:
                    each.done.set()

    def _transact(self, group: list[_Waiting]) -> dict[int, bytes]:
        database = self._writer
        transaction = Transaction(database)
        try:
            if self.failed is not None:
                raise sqlite3.OperationalError(self.failed)
            database.execute("BEGIN IMMEDIATE")
            for each in group:
                each.answer = each.write.write(transaction)
            buckets = {each: bucket_hash(_pairs(database, each)) for each in transaction.touched}
            database.executemany(
                "INSERT OR REPLACE INTO buckets VALUES (?, ?)", list(buckets.items())
            )
            database.execute("COMMIT")
        except sqlite3.Error as error:
            # After a failed fsync nobody knows what is on the disk: only opening anew tells.
            self.failed = f"{self._path} takes no more writes: {error}"
            for each in group:
                each.error = StorageError(self.failed)
            if database.in_transaction:
                database.execute("ROLLBACK")
            return {}
        return buckets


def _pairs(database: sqlite3.Connection, bucket: int) -> list[tuple[bytes, bytes]]:
    first = bucket.to_bytes(2, "big")
    last = first + b"\xff" * 32
    return database.execute(
        "SELECT key, leaf FROM entries WHERE key BETWEEN ? AND ? ORDER BY 1",
        (first, last),
    ).fetchall()


@asynccontextmanager
async def open_book(path: str | Path) -> AsyncIterator[Book]:
    """Open the book at ``path`` for the time of an ``async with``, making it if it is missing.

    Raises:
        StoreLockedError: another process holds it.
        SchemaVersionError: it was written by another version, or is no book.
        StorageError: it cannot be read or written.
    """
    await trio.lowlevel.checkpoint()
    book = Book(Path(path))
    try:
        async with open_tasks() as nursery:
            nursery.start_soon(book.run)
            yield book
    finally:
        book.close()
