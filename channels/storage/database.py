"""The SQLite file behind a store: opening, writing groups of batches, reading, copying.

Everything here blocks and knows nothing of Trio; ``store`` decides where it runs. One connection
writes and checkpoints. Others only read: two connections that checkpoint and write at one instant
can corrupt the file in SQLite before 3.51.3 (https://sqlite.org/wal.html#walresetbug).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import attrs

from channels.errors import InvalidValueError, SchemaVersionError, StorageError
from channels.storage.journal import COLUMNS, JournalEntry, JournalHead, check_entry, entry_hash
from channels.storage.lock import FileLock
from channels.storage.writes import AppendJournal, DeleteRecord, PutChannel, PutRecord, Write

__all__ = ["MEMORY", "SCHEMA_VERSION", "Database", "ForgetBackup"]

MEMORY: Final = ":memory:"
SCHEMA_VERSION: Final = 1

_APPLICATION_ID: Final = 0x6F706363  # "opcc", in the file's header and in schema.sql
_OLDEST_SQLITE: Final = (3, 37, 0)  # STRICT tables
_PAGE_OF_ENTRIES: Final = 256


@attrs.frozen(kw_only=True)
class ForgetBackup:
    """Take away the mark that this store was once a backup."""


_STATEMENTS: Final[dict[type, tuple[str, Callable[[Any], tuple[object, ...]]]]] = {
    PutChannel: (
        "INSERT INTO channels (channel_id, record) VALUES (?, ?)"
        " ON CONFLICT (channel_id) DO UPDATE SET record = excluded.record",
        lambda write: (write.channel_id, write.record),
    ),
    PutRecord: (
        "INSERT INTO records (namespace, key, record) VALUES (?, ?, ?)"
        " ON CONFLICT (namespace, key) DO UPDATE SET record = excluded.record",
        lambda write: (write.namespace, write.key, write.record),
    ),
    DeleteRecord: (
        "DELETE FROM records WHERE namespace = ? AND key = ?",
        lambda write: (write.namespace, write.key),
    ),
    ForgetBackup: ("DELETE FROM meta WHERE key = 'backup_time'", lambda _: ()),
}

_APPEND: Final = f"INSERT INTO journal ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608

_THE_BATCH_IS_WRONG: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
"""What SQLite raises about the values it was given, the file being sound."""


class Database:
    """One open file. ``failed`` says why it takes no more writes; reads go on.

    Args:
        path: of the file, made if missing; ``:memory:`` for one that does not survive.

    Raises:
        StoreLockedError: another process holds it.
        SchemaVersionError: it was written by another version, or is no store.
        JournalBrokenError: the newest journal entry is not what was written.
        StorageError: it cannot be read or written.
    """

    def __init__(self, path: str | Path) -> None:
        self.failed: str | None = None
        self.in_memory = str(path) == MEMORY
        # Resolved, or two names of one file would have two locks.
        self.path = Path(path) if self.in_memory else Path(path).resolve()
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise StorageError(
                f"SQLite {sqlite3.sqlite_version} is too old", next_step="install 3.37 or newer"
            )
        self._lock = None if self.in_memory else FileLock(self.path)
        self._open: list[sqlite3.Connection] = []
        try:
            self.writer = self._connect_writer()
            self.reader = self.writer if self.in_memory else self._connect_to_read()
            self._open.append(self.reader)
            self.head = self._read_head()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StorageError(f"cannot open {path}: {error}") from error
        except BaseException:
            self.close()
            raise

    def _connect_writer(self) -> sqlite3.Connection:
        if not self.in_memory:
            _create_privately(self.path)
        # Used by one thread at a time, not always the same one.
        connection = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False
        )
        self._open.append(connection)
        fresh = _is_fresh(connection, self.path)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != ("memory" if self.in_memory else "wal"):
            raise StorageError(
                f"{self.path} cannot have a write-ahead log",
                next_step="put it on a local file system",
            )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        if fresh:
            connection.executescript(_schema())
        if not self.in_memory:
            _make_durable(connection, self.path)
        return connection

    def _connect_to_read(self) -> sqlite3.Connection:
        uri = self.path.as_uri() + "?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)

    def _read_head(self) -> JournalHead:
        entries = [
            JournalEntry.of_row(row)
            for row in self.reader.execute(
                f"SELECT {COLUMNS} FROM journal ORDER BY seq DESC LIMIT 2"  # noqa: S608
            )
        ]
        if len(entries) == 2:
            previous = JournalHead(seq=entries[1].seq, hash=entries[1].hash)
        else:
            store_id = self.meta("store_id")
            if not isinstance(store_id, bytes):
                raise StorageError(f"{self.path} has lost its id")
            previous = JournalHead(seq=0, hash=store_id)
        return check_entry(previous, entries[0]) if entries else previous

    # Writing

    def write(self, group: Sequence[tuple[Sequence[Write], int]]) -> list[Exception | None]:
        """Write a group of (batch, time) in one transaction; return the error of each, or None.

        A batch that SQLite refuses for its own values fails alone: then every batch gets a
        transaction of its own. Any other error fails all of them and the database with them.
        """
        if self.failed is not None:
            return [StorageError(self.failed) for _ in group]
        try:
            self._transact(group)
        except Exception as error:
            failure = self._roll_back(error)
            if failure is not None:
                return [_chained(StorageError(failure), error) for _ in group]
            if len(group) == 1:
                return [_chained(InvalidValueError(f"the batch was refused: {error}"), error)]
            return [outcome for one in group for outcome in self.write([one])]
        return [None] * len(group)

    def _transact(self, group: Sequence[tuple[Sequence[Write], int]]) -> None:
        # A cursor for all of it: the connection would make and drop one at each statement.
        execute, head = self.writer.cursor().execute, self.head
        execute("BEGIN IMMEDIATE")
        for batch, time in group:
            for write in batch:
                if type(write) is AppendJournal:
                    head, row = _appended(head, write, time)
                    execute(_APPEND, row)
                else:
                    statement, values = _STATEMENTS[type(write)]
                    execute(statement, values(write))
        execute("COMMIT")
        self.head = head

    def _roll_back(self, cause: Exception) -> str | None:
        """Undo the open transaction; fail, and say why, if the file is no longer to be trusted."""
        try:
            if self.writer.in_transaction:
                self.writer.execute("ROLLBACK")
        except sqlite3.Error as error:
            cause = error
        if isinstance(cause, sqlite3.Error) and not isinstance(cause, _THE_BATCH_IS_WRONG):
            # After a failed fsync nobody knows what is on the disk, and a second fsync may lie.
            # Only opening anew, which rewrites what the log holds, makes it certain again.
            self.failed = (
                f"{self.path} takes no more writes: {cause}; an unacknowledged batch may or may"
                " not be there after opening it anew"
            )
        return self.failed

    # Reading

    def meta(self, key: str) -> object:
        """Value of a key in ``meta``, None if there is none."""
        rows = self.select("SELECT value FROM meta WHERE key = ?", key)
        return rows[0][0] if rows else None

    def select(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows of a query over what is committed.

        Raises:
            StorageError: the file cannot be read, or was closed.
        """
        try:
            return self.reader.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"cannot read {self.path}: {error}") from error

    def entries(self, channel_id: bytes | None, after: int) -> Iterator[JournalEntry]:
        """Journal entries above ``after``, a page at a time: no long read holds the log back."""
        if channel_id is None:
            where: str = "seq > ?"
            chosen: tuple[bytes | None, ...] = ()
        else:
            where, chosen = "channel_id IS ? AND seq > ?", (channel_id or None,)
        statement = f"SELECT {COLUMNS} FROM journal WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608
        while rows := self.select(statement, *chosen, after, _PAGE_OF_ENTRIES):
            for row in rows:
                yield JournalEntry.of_row(row)
            after = rows[-1][0]

    def newest_entry(
        self, channel_id: bytes, kinds: tuple[int, ...], before: int
    ) -> JournalEntry | None:
        """The newest journal entry of a channel below ``before`` that is of one of these kinds."""
        marks = ", ".join("?" * len(kinds))
        statement = (
            f"SELECT {COLUMNS} FROM journal WHERE channel_id = ? AND seq < ?"  # noqa: S608
            f" AND kind IN ({marks}) ORDER BY seq DESC LIMIT 1"
        )
        rows = self.select(statement, channel_id, before, *kinds)
        return JournalEntry.of_row(rows[0]) if rows else None

    # Copying and closing

    def backup(self, path: Path, time: int) -> None:
        """Copy what is committed now into a new file, marked as a backup.

        Raises:
            StorageError: ``path`` exists already, or cannot be written.
        """
        path = path.resolve()
        if path.exists() or path.with_name(path.name + "-wal").exists():
            raise StorageError(f"{path} exists already", next_step="give the backup a new name")
        partial = path.with_name(path.name + ".partial")
        try:
            partial.unlink(missing_ok=True)
            _create_privately(partial)
            self._copy(partial, time)
            os.link(partial, path)  # unlike a rename, never replaces a file
            _sync_directory(path.parent)
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"cannot back up to {path}: {error}") from error
        finally:
            partial.unlink(missing_ok=True)

    def _copy(self, path: Path, time: int) -> None:
        # A connection of its own, so that one snapshot can be copied in another thread.
        source = self.writer if self.in_memory else self._connect_to_read()
        target = sqlite3.connect(path, isolation_level=None)
        try:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
            target.execute("PRAGMA synchronous = FULL")
            target.execute("INSERT OR REPLACE INTO meta VALUES ('backup_time', ?)", (time,))
        finally:
            target.close()
            if source is not self.writer:
                source.close()

    def close(self) -> None:
        """Close the file and let its lock go; the writer last, whose closing checkpoints."""
        while self._open:
            self._open.pop().close()
        if self._lock is not None:
            self._lock.release()


def _appended(
    head: JournalHead, write: AppendJournal, time: int
) -> tuple[JournalHead, tuple[object, ...]]:
    """The journal's head after an entry more, and the entry's row."""
    seq, channel_id = head.seq + 1, write.channel_id
    hash_ = entry_hash(head.hash, seq, channel_id, time, write.kind, write.body)
    row = (seq, channel_id or None, time, write.kind, write.body, hash_)
    return JournalHead(seq=seq, hash=hash_), row


def _chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def _schema() -> str:
    return resources.files("channels.storage").joinpath("schema.sql").read_text("utf-8")


def _create_privately(path: Path) -> None:
    """Make an empty file that only we may read; SQLite gives its log the same mode."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_fresh(connection: sqlite3.Connection, path: Path) -> bool:
    """Say whether the file is empty; refuse, untouched, one that is not ours to write."""
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return True
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise SchemaVersionError(
            f"{path} is a database of something else", next_step="give the store another path"
        )
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    version = row and row[0]
    if version != SCHEMA_VERSION:
        raise SchemaVersionError(f"{path} has schema {version}, this library {SCHEMA_VERSION}")
    return False


def _make_durable(connection: sqlite3.Connection, path: Path) -> None:
    """Move the log into the file, so that all we are about to read is on the disk.

    A process killed between writing the log and its fsync leaves a batch that can be read but would
    not survive a power cut. Acting on it, say by sending its signature again, **may lose funds**.
    """
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StorageError(
            f"another program reads {path} while it is being opened", next_step="stop it, try again"
        )
    _sync_directory(path.parent)
