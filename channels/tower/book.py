"""The book: what a tower keeps of every channel, in a database, and nothing of it in memory.

A million channels take under a gigabyte on disk, and in memory only the tree above their hashes.
Many writes are committed as one. When a write has returned it survives a crash of the machine, and
only then is a receipt signed: a receipt for what could be lost **may lose funds** of the customer.

Several processes may have one PostgreSQL open as a book. Their transactions go one after the other,
each with a number, and what others have changed is taken in with every write and every `refresh`.

Source: design, watchtower.md "Service"; targets.md "Watchtower".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

import trio

from channels.chain.tasks import open_tasks
from channels.errors import StorageError
from channels.tower.commits import Asked, Commits
from channels.tower.database import Statements, TowerDatabase
from channels.tower.merkle import MerkleProof, StoreTree, bucket_of
from channels.tower.reading import BookReader, open_database
from channels.tower.writes import Transaction, Write

__all__ = ["Book", "open_book"]

T = TypeVar("T")

_TRIES: Final = 16


class Book(BookReader):
    """A tower's book. Make one with `open_book`.

    What it inherits blocks, for a round trip where the database is not a file: in the event loop
    `ask` for it. ``entries``: how many there are, one for each customer of each channel.
    """

    def __init__(self, database: TowerDatabase) -> None:
        super().__init__(database)
        self.entries = 0
        self._change = 0
        self._tree = StoreTree({})
        self._commits: Commits[Write] = Commits(self._transact)
        self._readers = trio.CapacityLimiter(1)
        self._fetching = Lock()
        self._tree_lock = Lock()
        self._take_in()

    @property
    def failed(self) -> str | None:
        """Why the newest write was not taken; None if it was."""
        return self.database.failed

    @property
    def commit_seconds(self) -> float:
        """What the newest transaction took."""
        return self._commits.seconds

    @property
    def change(self) -> int:
        """The number of the newest transaction that was taken in, of this process or another."""
        return self._change

    @property
    def root(self) -> bytes:
        """The store root of what was taken in."""
        return self._tree.root

    async def ask(self, question: Callable[[BookReader], T]) -> T:
        """Ask something of the book without holding up the event loop.

        Raises:
            StorageError: it cannot be read.
        """
        if not self.database.shared:  # a page of a local file: a thread would take longer
            await trio.lowlevel.checkpoint()
            return question(self)
        return await trio.to_thread.run_sync(question, self, limiter=self._readers)

    async def proof(self, key: bytes) -> MerkleProof:
        """What shows an entry's leaf under `root`, or that it is not there.

        Raises:
            StorageError: the book cannot be read, or its hashes are not those of its entries.
        """
        bucket = bucket_of(key)
        for _ in range(_TRIES):  # entries and tree are read one after the other
            await self.refresh()
            pairs = await self.ask(lambda book: book.pairs(bucket))
            with self._tree_lock:
                proof = MerkleProof(pairs=pairs, siblings=self._tree.siblings(bucket))
                root = self.root
            if proof.root(key) == root:
                return proof
        raise StorageError(f"the store tree of {self.database.name} is not that of its entries")

    async def refresh(self) -> None:
        """Take in what other processes have written.

        Raises:
            StorageError: the book cannot be read.
        """
        if self.database.shared:
            await trio.to_thread.run_sync(self._take_in, limiter=self._readers)

    async def write(self, write: Write) -> int:
        """Write; durable on return, together with whatever else is asked for at the same time.

        Cancellation leaves no doubt but one: what was asked for may be written all the same.

        Raises:
            StorageError: disk full, I/O error, no connection: take it as not written.
        """
        return await self._commits.write(write)

    async def run(self) -> None:
        """Write what is asked for, for ever."""
        await self._commits.run()

    def close(self) -> None:
        """Close the database."""
        self.database.close()
        self._commits.close("the book was closed")

    # ---- in a thread

    def _transact(self, group: Sequence[Asked[Write]]) -> None:
        def work(statements: Statements) -> list[int]:
            transaction = Transaction.begin(statements)
            answers = [each.write.write(transaction) for each in group]
            transaction.finish()
            return answers

        try:
            answers = self.database.transact(work)
            self._take_in()
        except StorageError as error:
            for each in group:
                each.error = error
            return
        for each, answer in zip(group, answers, strict=True):
            each.answer = answer

    def _take_in(self) -> None:
        """Take in what was committed since; what comes between two queries comes again."""
        with self._fetching:
            change, entries = self.count("changes"), self.count("entries")
            rows = self.select("SELECT bucket, hash FROM buckets WHERE change > ?", self._change)
            with self._tree_lock:
                self._tree.update(dict(rows))
                self.entries, self._change = entries, change


@asynccontextmanager
async def open_book(place: str | Path | TowerDatabase) -> AsyncIterator[Book]:
    """Open the book at ``place`` for the time of an ``async with``, making it if it is missing.

    ``place`` is the path of a file, the address of a PostgreSQL database (``postgresql://``), or a
    database that is open already; it is closed in the end.

    Raises:
        StoreLockedError: another process holds the file.
        SchemaVersionError: it was written by another version, or is no book.
        StorageError: it cannot be read or written.
    """
    if isinstance(place, str | Path):
        place = await trio.to_thread.run_sync(open_database, place)
    database: TowerDatabase = place
    try:
        book = await trio.to_thread.run_sync(Book, database)
    except BaseException:
        database.close()
        raise
    try:
        async with open_tasks() as nursery:
            nursery.start_soon(book.run)
            yield book
    finally:
        book.close()
