"""What the storage tests share: batches that show whether they were torn, and broken disks."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from channels.storage import AppendJournal, PutChannel, Store, Write

A = b"a" * 32
B = b"b" * 32


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def batch_of(value: int) -> list[Write]:
    """Three writes that all carry ``value``: on disk they agree, or the batch was torn."""
    return [
        PutChannel(channel_id=A, record=number(value)),
        AppendJournal(channel_id=A, kind=1, body=number(value)),
        PutChannel(channel_id=B, record=number(value)),
    ]


def committed(store: Store) -> int:
    """The value of the newest batch, checked to be whole and to follow all batches before it."""
    channels = store.channels()
    bodies = [entry.body for entry in store.journal()]
    assert bodies == [number(value) for value in range(1, len(bodies) + 1)]
    assert channels == ({A: bodies[-1], B: bodies[-1]} if bodies else {})
    return len(bodies)


def copy_as_if_killed(path: Path, to: Path) -> Path:
    """Copy the files as they are now, which is what a killed process would leave behind."""
    to.mkdir()
    for file in path.parent.glob(path.name + "*"):
        if not file.name.endswith((".lock", "-shm")):
            shutil.copy(file, to / file.name)
    return to / path.name


def contents(path: Path) -> bytes:
    return path.read_bytes()


def names(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.iterdir())


class FaultyConnection:
    """A connection that asks ``fault`` about every statement before SQLite sees it."""

    def __init__(self, connection: sqlite3.Connection, fault: Callable[[str], None]) -> None:
        self._connection = connection
        self._fault = fault

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        self._fault(statement)
        return self._connection.execute(statement, *values)

    def cursor(self) -> FaultyConnection:
        """One whose statements are asked about, too."""
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def inject(store: Store, fault: Callable[[str], None]) -> None:
    """Put ``fault`` between the store and SQLite for every write from now on."""
    database = store._database
    database.writer = cast(sqlite3.Connection, FaultyConnection(database.writer, fault))
