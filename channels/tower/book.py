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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Final

import attrs
import trio

from channels.chain.tasks import open_tasks
from channels.errors import StorageError
from channels.storage.lock import FileLock
from channels.tower.merkle import MerkleProof, StoreTree, bucket_hash, bucket_of
from channels.tower.reading import BookReader, check_schema
from channels.tower.writes import Transaction, Write

__all__ = ["Book", "open_book"]

_MOST_AT_ONCE: Final = 256
"""Writes in one transaction: more would make those that come wait for too long."""


@attrs.define
class _Waiting:
    write: Write
    done: trio.Event = attrs.field(factory=trio.Event)
    answer: int = 0
    error: StorageError | None = None


class Book(BookReader):
    """A tower's book. Make one with `open_book`; ``failed`` says why it takes no more writes."""

    def __init__(self, path: Path) -> None:
        self.failed: str | None = None
        self.commit_seconds = 0.0
        self._lock = FileLock(path.resolve())
        self._open: list[sqlite3.Connection] = []
        self._waiting: list[_Waiting] = []
        try:
            self._writer = self._connect(path.resolve())
            super().__init__(path)
            self._open.append(self.database)
            self._tree = StoreTree(dict(self.select("SELECT bucket, hash FROM buckets")))
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StorageError(f"cannot open {path}: {error}") from error
        except BaseException:
            self.close()
            raise
        self._arrived = trio.Event()
        self._limiter = trio.CapacityLimiter(1)

    def _connect(self, path: Path) -> sqlite3.Connection:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        # Used by one thread at a time, not always the same one.
        database = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        self._open.append(database)
        fresh = not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not fresh:
            check_schema(database, path)
        if fresh:
            # Eight records of a kilobyte fill such a page; of the usual 4 KiB a quarter is lost.
            database.execute("PRAGMA page_size = 8192")
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

    @property
    def root(self) -> bytes:
        """The store root of what is durable."""
        return self._tree.root

    def proof(self, key: bytes) -> MerkleProof:
        """What shows an entry's leaf under `root`, or that it is not there."""
        bucket = bucket_of(key)
        return MerkleProof(
            pairs=tuple(_pairs(self.database, bucket)), siblings=self._tree.siblings(bucket)
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
            self.failed = f"{self.path} takes no more writes: {error}"
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
