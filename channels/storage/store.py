"""The store: durable, atomic batches, committed in groups from many tasks at once.

There is one writer at a time, and it is one of the tasks that commit. The first to find the store
idle lets every other ready task queue its batch, then writes them all in one transaction and wakes
their tasks; after a pause, in which it was mostly alone, it writes at once. A writer task of its
own would cost two more wake-ups on every commit, and a nursery.

A transaction runs in the event loop: it takes about 0.12 ms, of which a thread's round trip would
add two thirds. Where the disk is slow (on average above ``inline_below``), transactions move to a
thread until it is fast again.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, enable_ki_protection

from channels.errors import StorageError
from channels.storage.database import Database, ForgetBackup
from channels.storage.journal import JournalEntry, JournalHead
from channels.storage.writes import DeleteRecord, PutRecord, Write

__all__ = ["Records", "Store", "open_store"]

_PAUSE: Final = 0.0002
"""Seconds beyond a transaction's own time after which the next committer is taken to be alone."""

_WEIGHT: Final = 1 / 8
"""Of the newest transaction in the average time of one: a single checkpoint does not move it."""


class _Request:
    """A batch waiting to be written, and the task that waits for it."""

    __slots__ = ("batch", "error", "leads", "shielded", "taken", "task", "time")

    def __init__(self, batch: tuple[Write, ...], time: int, shielded: bool) -> None:
        self.batch = batch
        self.time = time
        self.shielded = shielded
        self.task: Task | None = None
        self.error: Exception | None = None
        self.taken = False
        self.leads = False


class Store:
    """What survives. Made by ``open_store``; used by any number of tasks of one Trio run."""

    def __init__(
        self, database: Database, *, clock: Callable[[], int], inline_below: float
    ) -> None:
        self._database = database
        self._clock = clock
        self._inline_below = inline_below
        self._average = 0.0
        self._ended = -math.inf
        self._in_thread = inline_below <= 0 and not database.in_memory
        self._limiter = trio.CapacityLimiter(1)
        self._queue: list[_Request] = []
        self._writing = False
        self._crowded = False
        self._closed = False
        self._idle: trio.Event | None = None

    @property
    def failed(self) -> str | None:
        """Why the store takes no more commits until it is opened anew; None while it does."""
        return self._database.failed

    @property
    def journal_head(self) -> JournalHead:
        """The newest journal entry's number and hash; kept elsewhere, it dates the journal."""
        return self._database.head

    @property
    def backup_time(self) -> int | None:
        """When this store was copied, if it is a backup not yet ``mark_recovered``; else None.

        A backup is older than what was signed since. Signing on it **may lose funds**: recover
        from the peer and the towers first.
        """
        value = self._database.meta("backup_time")
        return value if isinstance(value, int) else None

    @enable_ki_protection
    async def commit(self, batch: Iterable[Write], *, shield: bool = False) -> None:
        """Write a batch, whole or not at all; return when it is on the disk.

        Cancellation leaves no doubt: if this raises ``trio.Cancelled``, nothing of the batch was
        written; once the transaction has begun, it is seen through, and this returns. With
        ``shield`` it is never cancelled. Whoever commits after a pause does not wait for others,
        and lets none of them run.

        Raises:
            InvalidValueError: SQLite refuses these values, such as a journal entry for a channel
                that is not stored; nothing of the batch was written.
            StorageError: disk full, I/O error, or closed. Take the batch as **not** stored: sending
                a signature in spite of this **may lose funds**. Take it as possible, too, that it
                is found stored when the store is opened anew.
        """
        request = _Request(tuple(batch), self._clock(), shield)
        self._check_usable()
        if not shield:
            await trio.lowlevel.checkpoint_if_cancelled()
        self._queue.append(request)
        if self._writing:
            await self._wait(request)
        else:
            self._writing = request.leads = True
        if request.leads:
            await self._lead()
        if request.error is not None:
            raise request.error

    async def _wait(self, request: _Request) -> None:
        def abort(_: RaiseCancelT) -> Abort:
            if request.taken or request.shielded:
                return Abort.FAILED
            self._queue.remove(request)
            return Abort.SUCCEEDED

        request.task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    @enable_ki_protection
    async def _lead(self) -> None:
        soon = time.perf_counter() < self._ended + self._average + _PAUSE
        if soon or self._crowded or self._in_thread:
            # Whoever is ready queues now. Trio runs one round's tasks in any order, so that only a
            # second round gathers all of them; one whose like were alone is spared it.
            await trio.lowlevel.cancel_shielded_checkpoint()
            if self._crowded or len(self._queue) > 1:
                await trio.lowlevel.cancel_shielded_checkpoint()
        group, self._queue = self._queue, []
        self._crowded = len(group) > 1
        for request in group:
            request.taken = True
        work = [(request.batch, request.time) for request in group]
        if self._in_thread and work:
            with trio.CancelScope(shield=True):
                errors = await trio.to_thread.run_sync(self._write, work, limiter=self._limiter)
        else:
            errors = self._write(work) if work else []  # none if closed meanwhile
        for request, error in zip(group, errors, strict=True):
            request.error = error
            if request.task is not None:
                trio.lowlevel.reschedule(request.task)
        self._hand_over()

    def _write(self, work: list[tuple[tuple[Write, ...], int]]) -> list[Exception | None]:
        started = time.perf_counter()
        errors = self._database.write(work)
        self._ended = time.perf_counter()
        self._average += (self._ended - started - self._average) * _WEIGHT
        limit = self._inline_below / 2 if self._in_thread else self._inline_below
        self._in_thread = self._average >= limit and not self._database.in_memory
        return errors

    def _hand_over(self) -> None:
        """Make the first task that queued in the meantime the next writer, if there is one."""
        if self._queue:
            following = self._queue[0]
            following.leads = True
            task, following.task = following.task, None
            if task is not None:
                trio.lowlevel.reschedule(task)
            return
        self._writing = False
        if self._idle is not None:
            self._idle.set()

    def _check_usable(self) -> None:
        if self._closed:
            raise StorageError("the store is closed", next_step="open it again")
        if self._database.failed is not None:
            raise StorageError(self._database.failed)

    def channels(self) -> dict[bytes, bytes]:
        """Newest record of every channel, by channel id.

        Raises:
            StorageError: the file cannot be read, or the store is closed.
        """
        return dict(self._database.select("SELECT channel_id, record FROM channels"))

    def records(self, namespace: str) -> Records:
        """The records of one namespace."""
        return Records(self, namespace)

    def journal(self, channel_id: bytes | None = None, after: int = 0) -> Iterator[JournalEntry]:
        """Iterate over the journal's entries above number ``after``, oldest first.

        Of one channel if given, of none if ``channel_id`` is empty, else of all. The hashes are not
        verified here; see ``verify_journal``. Entries appended meanwhile are given too.

        Raises:
            StorageError: the file cannot be read, or the store is closed.
        """
        return self._database.entries(channel_id, after)

    def newest_entry(
        self, channel_id: bytes, kinds: Iterable[int], *, before: int
    ) -> JournalEntry | None:
        """The newest entry of one channel below number ``before`` that is of one of these kinds.

        Raises:
            StorageError: the file cannot be read, or the store is closed.
        """
        return self._database.newest_entry(channel_id, tuple(kinds), before)

    async def backup(self, path: str | Path) -> None:
        """Copy everything committed now to a new file at ``path``; commits go on meanwhile.

        The copy is one plain file that can be opened as a store, which then has a ``backup_time``.
        Restore it under a new name, never beside the log of another database. Every backup is
        older than what was signed since: signing on one without recovery **may lose funds**.

        Raises:
            StorageError: ``path`` exists already or cannot be written, or the store is closed.
        """
        if self._closed:
            raise StorageError("the store is closed", next_step="open it again")
        if self._database.in_memory:
            await trio.lowlevel.checkpoint()
            self._database.backup(Path(path), self._clock())
        else:
            await trio.to_thread.run_sync(self._database.backup, Path(path), self._clock())

    async def mark_recovered(self) -> None:
        """Forget that this store was a backup: the newest states have been found and stored.

        Raises:
            StorageError: as for ``commit``.
        """
        await self.commit([ForgetBackup()])  # type: ignore[list-item]  # ours alone to write

    async def _close(self) -> None:
        self._closed = True
        waiting, self._queue = self._queue, []
        for request in waiting:
            request.taken = True
            request.error = StorageError("the store was closed", next_step="open it again")
            if request.task is not None:
                trio.lowlevel.reschedule(request.task)
        if self._writing:
            self._idle = trio.Event()
            with trio.CancelScope(shield=True):
                await self._idle.wait()
        self._database.close()


class Records:
    """The records of one namespace of a store, by key."""

    def __init__(self, store: Store, namespace: str) -> None:
        self._store = store
        self._namespace = namespace

    async def put(self, key: bytes, record: bytes) -> None:
        """Store ``record`` under ``key``; durable on return, errors as for ``Store.commit``."""
        await self._store.commit([PutRecord(namespace=self._namespace, key=key, record=record)])

    async def delete(self, key: bytes) -> None:
        """Delete what is under ``key``, if anything; durable on return, errors as for ``put``."""
        await self._store.commit([DeleteRecord(namespace=self._namespace, key=key)])

    async def load(self) -> dict[bytes, bytes]:
        """All records of the namespace, by key.

        Raises:
            StorageError: the file cannot be read, or the store is closed.
        """
        await trio.lowlevel.checkpoint()
        return dict(
            self._store._database.select(
                "SELECT key, record FROM records WHERE namespace = ?", self._namespace
            )
        )


@asynccontextmanager
async def open_store(
    path: str | Path, *, clock: Callable[[], int] = time.time_ns, inline_below: float = 0.002
) -> AsyncIterator[Store]:
    """Open the store at ``path`` for the time of an ``async with``, making it if it is missing.

    Args:
        path: of the database; ``:memory:`` for one that does not survive. Its directory must exist.
        clock: time of journal entries, in nanoseconds since 1970.
        inline_below: seconds; where a transaction takes longer on average, a thread runs it.
            Infinite under an autojump clock, which does not wait for threads.

    Raises:
        StoreLockedError: another process holds it.
        SchemaVersionError: it was written by another version, or is no store.
        JournalBrokenError: the newest journal entry is not what was written.
        StorageError: it cannot be read or written.
    """
    await trio.lowlevel.checkpoint()
    store = Store(Database(path), clock=clock, inline_below=inline_below)
    try:
        yield store
    finally:
        await store._close()
