"""Where a tower's tables are: a file of SQLite, or a PostgreSQL that several processes share.

The statements are written once, in the SQL that both understand, with ``?`` for values; this module
holds what they are given to. `channels.tower.postgres` is the other database. All of it blocks:
`channels.tower.book` decides what waits for it in a thread.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from channels.errors import SchemaVersionError, StorageError
from channels.storage.lock import FileLock

__all__ = [
    "SCHEMA_VERSION",
    "Row",
    "SqliteDatabase",
    "Statements",
    "TowerDatabase",
    "check_version",
    "schema_text",
]

T = TypeVar("T")
Row = tuple[Any, ...]

SCHEMA_VERSION: Final = 2
APPLICATION_ID: Final = 0x6F707477  # "optw", in the file's header and in schema.sql


class Statements(Protocol):
    """An open transaction."""

    def execute(self, statement: str, *values: object) -> list[Row]:
        """Carry out one statement; return its rows, if it has any."""

    def each(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Carry out one statement for every row of values."""


class TowerDatabase(Protocol):
    """A tower's database. Every method blocks, and may raise `StorageError`.

    ``shared``: other processes write to it as well, and an answer takes a round trip. ``failed``
    says why the newest transaction was not taken; None if it was.
    """

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def shared(self) -> bool:
        """Whether other processes write to it."""

    @property
    def failed(self) -> str | None:
        """What is wrong with it."""

    def select(self, statement: str, *values: object) -> list[Row]:
        """All rows of a query over what is committed."""

    def transact(self, work: Callable[[Statements], T]) -> T:
        """Run ``work`` in one transaction, whole or not at all; durable on return."""

    def close(self) -> None:
        """Let go of everything."""


def schema_text(name: str) -> str:
    """A schema that ships with this package."""
    return resources.files("channels.tower").joinpath(name).read_text("utf-8")


def check_version(rows: Sequence[Row], name: str) -> None:
    """Refuse a database of another schema, given the rows of its ``schema_version``.

    Raises:
        SchemaVersionError: it is of another.
    """
    if not rows or rows[0][0] != SCHEMA_VERSION:
        raise SchemaVersionError(f"{name} has another schema than {SCHEMA_VERSION}")


class _Cursor:
    """The statements of one SQLite connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, *values: object) -> list[Row]:
        return self._connection.execute(statement, values).fetchall()

    def each(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        self._connection.executemany(statement, rows)


class SqliteDatabase:
    """A tower's file: one connection writes, another reads beside it.

    Args:
        path: of the file, made if missing.
        read_only: read beside whoever writes it, or after that has stopped; no lock is taken.

    Raises:
        StoreLockedError: another process holds it.
        SchemaVersionError: it was written by another version, or is no book.
        StorageError: it cannot be read or written.
    """

    shared: Final = False

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.failed: str | None = None
        self.path = path.resolve()
        self._lock = None if read_only else FileLock(self.path)
        self._open: list[sqlite3.Connection] = []
        try:
            if not read_only:
                self.writer = self._connect()
            self._reader = sqlite3.connect(
                self.path.as_uri() + "?mode=ro",
                uri=True,
                timeout=5,
                isolation_level=None,
                check_same_thread=False,  # SQLite serialises what several threads ask of it
            )
            self._open.append(self._reader)
            if read_only:
                self._check(self._reader)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StorageError(f"cannot open {path}: {error}") from error
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.path)

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        # Used by one thread at a time, not always the same one.
        database = sqlite3.connect(
            self.path, timeout=5, isolation_level=None, check_same_thread=False
        )
        self._open.append(database)
        fresh = not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if fresh:
            # Eight records of a kilobyte fill such a page; of the usual 4 KiB a quarter is lost.
            database.execute("PRAGMA page_size = 8192")
        else:
            self._check(database)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        if fresh:
            database.executescript(schema_text("schema.sql"))
        # What a killed process left in the log must be on the disk before it is acted on.
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return database

    def _check(self, database: sqlite3.Connection) -> None:
        (application,) = database.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION_ID:
            raise SchemaVersionError(f"{self.path} is no tower's book")
        statement = "SELECT value FROM meta WHERE key = 'schema_version'"
        check_version(database.execute(statement).fetchall(), self.name)

    def select(self, statement: str, *values: object) -> list[Row]:
        """All rows of a query over what is committed."""
        try:
            return self._reader.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"cannot read {self.path}: {error}") from error

    def transact(self, work: Callable[[Statements], T]) -> T:
        """Run ``work`` in one transaction. After an error the file takes no more writes."""
        database = self.writer
        try:
            if self.failed is not None:
                raise StorageError(self.failed)
            database.execute("BEGIN IMMEDIATE")
            answer = work(_Cursor(database))
            database.execute("COMMIT")
        except sqlite3.Error as error:
            # After a failed fsync nobody knows what is on the disk: only opening anew tells.
            self.failed = f"{self.path} takes no more writes: {error}"
            raise StorageError(self.failed) from error
        except OverflowError as error:  # the values are wrong, not the file
            raise StorageError(f"{self.path} does not hold such values: {error}") from error
        finally:
            self._end_transaction(database)
        return answer

    def _end_transaction(self, database: sqlite3.Connection) -> None:
        try:
            if database.in_transaction:
                database.execute("ROLLBACK")
        except sqlite3.Error as error:
            self.failed = f"{self.path} takes no more writes: {error}"

    def close(self) -> None:
        """Close the file and let its lock go."""
        while self._open:
            self._open.pop().close()
        if self._lock is not None:
            self._lock.release()
