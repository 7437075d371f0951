"""One process for one database: an advisory lock that the kernel lets go, however we end."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from channels.errors import StorageError, StoreLockedError

__all__ = ["FileLock"]


class FileLock:
    """An exclusive lock beside ``path``, held from construction until ``release``.

    The lock is on a file of its own, because SQLite drops its locks when any descriptor of the
    database is closed. The file stays: unlinking it would let two processes lock two files of one
    name, and two writers on one channel **may lose funds**.

    Raises:
        StoreLockedError: somebody else, or we ourselves, hold it.
        StorageError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lock")
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"cannot make the lock file {self.path}: {error}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise StoreLockedError(f"{path} is in use by another process") from error
        except OSError as error:
            os.close(self._descriptor)
            raise StorageError(f"cannot lock {self.path}: {error}") from error

    def release(self) -> None:
        """Let the lock go; harmless when it is gone already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
