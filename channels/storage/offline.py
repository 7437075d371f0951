"""Reading a store that no process of ours has open: for audits and tools."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from channels.errors import StorageError

__all__ = ["stored_channels"]


def stored_channels(path: str | Path) -> dict[bytes, bytes]:
    """Read the newest record of every channel of the store at ``path``, by channel id.

    Reads only, in one snapshot; works on a backup and beside a running process.

    Raises:
        StorageError: the file is no readable store.
    """
    uri = Path(path).resolve().as_uri() + "?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            rows = connection.execute("SELECT channel_id, record FROM channels").fetchall()
    except sqlite3.Error as error:
        raise StorageError(f"cannot read the channels of {path}: {error}") from error
    return dict(rows)
