"""Backups: consistent under writes, and known for what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from channels.errors import StorageError
from channels.storage import Store, open_store, verify_journal

from .helpers import batch_of, committed, names


async def test_a_backup_taken_under_writes_is_whole(tmp_path: Path) -> None:
    taken = []

    async def write(store: Store, task_status: trio.TaskStatus[None]) -> None:
        for value in range(1, 100_000):
            await store.commit(batch_of(value))
            if value == 200:
                task_status.started()

    async with open_store(tmp_path / "live.db") as store, trio.open_nursery() as nursery:
        await nursery.start(write, store)
        for turn in range(5):
            before = store.journal_head.seq
            await store.backup(tmp_path / f"{turn}.db")
            taken.append((before, store.journal_head.seq))
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    for turn, (before, after) in enumerate(taken):
        path = tmp_path / f"{turn}.db"
        entries = list(verify_journal(path))
        assert before <= len(entries) <= after
        async with open_store(path) as copy:
            assert committed(copy) == len(entries)
    assert {Path(name).suffix for name in names(tmp_path)} <= {".db", ".lock"}


@pytest.mark.parametrize("in_memory", [False, True])
async def test_a_backup_says_so_until_recovered(tmp_path: Path, in_memory: bool) -> None:
    backup = tmp_path / "backup.db"
    live = ":memory:" if in_memory else tmp_path / "live.db"
    async with open_store(live, clock=lambda: 12_345) as store:
        await store.commit(batch_of(1))
        await store.backup(backup)
        assert store.backup_time is None
    assert [name for name in names(tmp_path) if "backup" in name] == ["backup.db"]
    assert backup.stat().st_mode & 0o777 == 0o600
    async with open_store(backup) as store:
        assert store.backup_time == 12_345
        await store.commit(batch_of(2))
    async with open_store(backup) as store:
        assert store.backup_time == 12_345
        await store.mark_recovered()
    async with open_store(backup) as store:
        assert store.backup_time is None
        assert committed(store) == 2


async def test_a_backup_replaces_nothing(tmp_path: Path) -> None:
    live, other = tmp_path / "live.db", tmp_path / "other.db"
    async with open_store(live) as store, open_store(other) as victim:
        await store.commit(batch_of(1))
        for path in (live, other):
            with pytest.raises(StorageError, match="exists"):
                await store.backup(path)
        with pytest.raises(StorageError):
            await store.backup(tmp_path / "missing" / "backup.db")
        (tmp_path / "half.db.partial").write_bytes(b"left by a crash")
        await store.backup(tmp_path / "half.db")
        assert committed(victim) == 0
        assert committed(store) == 1
        assert store.failed is None
    assert not (tmp_path / "half.db.partial").exists()
