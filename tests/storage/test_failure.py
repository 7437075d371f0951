"""A full or broken disk: everybody is told, nothing more is written, and reading goes on."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from channels.errors import StorageError
from channels.storage import PutRecord, Store, open_store, verify_journal

from .helpers import A, batch_of, committed, inject, number

FULL_DISK = """
import resource, sys, trio
from channels.errors import StorageError
from channels.storage import AppendJournal, PutChannel, open_store

async def main(path):
    async with open_store(path) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        stored = 0
        try:
            while True:
                body = (stored + 1).to_bytes(8, "big")
                await store.commit([
                    PutChannel(channel_id=b"a" * 32, record=body),
                    AppendJournal(channel_id=b"a" * 32, kind=1, body=body),
                    PutChannel(channel_id=b"b" * 32, record=body),
                ])
                stored += 1
        except StorageError as error:
            assert store.failed is not None
            assert store.channels()[b"a" * 32] == stored.to_bytes(8, "big")
            print(stored)

trio.run(main, sys.argv[1])
"""


async def expect_failed(store: Store, held: int) -> None:
    """The store is failed and stays so, and still reads what was committed."""
    assert store.failed is not None
    for _ in range(2):
        with pytest.raises(StorageError):
            await store.commit(batch_of(held + 1))
    with pytest.raises(StorageError):
        await store.records("n").put(b"", b"")
    assert committed(store) == held
    assert await store.records("n").load() == {}


async def test_a_full_database_fails_every_waiter(tmp_path: Path) -> None:
    path = tmp_path / "full.db"
    refused = []

    async def commit(store: Store, value: int) -> None:
        large = [PutRecord(namespace="n", key=number(value), record=bytes(10_000))]
        with pytest.raises(StorageError, match="full") as caught:
            await store.commit(large)
        refused.append(caught.value)

    async with open_store(path) as store:
        await store.commit(batch_of(1))
        pages = store._database.writer.execute("PRAGMA page_count").fetchone()[0]
        store._database.writer.execute(f"PRAGMA max_page_count = {pages + 1}")
        async with trio.open_nursery() as nursery:
            for value in range(5):
                nursery.start_soon(commit, store, value)
        assert len(set(map(id, refused))) == 5  # each its own, or their tracebacks would mix
        assert "free the disk" in str(refused[0])
        await expect_failed(store, 1)
    async with open_store(path) as store:
        assert committed(store) == 1
        await store.commit(batch_of(2))


def test_a_full_file_system_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "full.db"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=True
    )
    stored = int(done.stdout)
    assert stored > 5
    entries = list(verify_journal(path))
    # The batch that failed may be there, but only whole; those acknowledged are.
    assert len(entries) in (stored, stored + 1)
    with sqlite3.connect(path) as connection:
        newest = connection.execute("SELECT DISTINCT record FROM channels").fetchall()
    connection.close()
    assert newest == [(entries[-1].body,)]


@pytest.mark.parametrize("inline_below", [0, 60], ids=["thread", "inline"])
@pytest.mark.parametrize(
    "broken", ["BEGIN", "INSERT INTO channels", "INSERT INTO journal", "COMMIT"]
)
@pytest.mark.parametrize("rollback", [True, False], ids=["rolls back", "cannot roll back"])
async def test_an_io_error_anywhere(
    tmp_path: Path, broken: str, rollback: bool, inline_below: float
) -> None:
    def fault(statement: str) -> None:
        if statement.startswith(broken) or (not rollback and statement == "ROLLBACK"):
            raise sqlite3.OperationalError("disk I/O error")

    path = tmp_path / "broken.db"
    async with open_store(path, inline_below=inline_below) as store:
        await store.commit(batch_of(1))
        head = store.journal_head
        inject(store, fault)
        with pytest.raises(StorageError, match="disk I/O error"):
            await store.commit(batch_of(2))
        assert store.journal_head == head
        await expect_failed(store, 1)
    async with open_store(path) as store:
        assert committed(store) == 1
        await store.commit(batch_of(2))
    assert len(list(verify_journal(path))) == 2


async def test_an_error_after_the_commit_may_leave_the_batch_in(tmp_path: Path) -> None:
    """As when fsync fails: the waiter is told no, and reopening may say yes."""
    path = tmp_path / "broken.db"
    async with open_store(path) as store:
        connection = store._database.writer

        def fault(statement: str) -> None:
            if statement == "COMMIT":
                connection.execute("COMMIT")
                raise sqlite3.OperationalError("disk I/O error")

        inject(store, fault)
        with pytest.raises(StorageError, match="may or may not be there"):
            await store.commit(batch_of(1))
    async with open_store(path) as store:
        assert committed(store) == 1
        assert store.journal_head.seq == 1


async def test_a_foreign_writer_stops_us(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    async with open_store(path) as store:
        await store.commit(batch_of(1))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked"):
            await store.commit(batch_of(2))
        other.close()
        await expect_failed(store, 1)


async def test_a_failing_clock_fails_only_its_caller(tmp_path: Path) -> None:
    times = iter([1, -1, 3])
    async with open_store(tmp_path / "s.db", clock=lambda: next(times)) as store:
        await store.commit(batch_of(1))
        with pytest.raises(ValueError, match="refused"):
            await store.commit(batch_of(2))
        assert store.failed is None
        await store.commit(batch_of(2))
        assert committed(store) == 2
        with pytest.raises(RuntimeError):
            await store.commit(batch_of(3))
        assert store.channels()[A] == number(2)
