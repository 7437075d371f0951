"""The store by itself: what it opens, what it refuses, groups, and reading."""

from __future__ import annotations

import math
import random
import sqlite3
import stat
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from channels.errors import (
    InvalidValueError,
    SchemaVersionError,
    StorageError,
    StoreLockedError,
)
from channels.storage import (
    AppendJournal,
    DeleteRecord,
    PutChannel,
    PutRecord,
    Store,
    Write,
    open_store,
)

from .helpers import A, B, batch_of, committed, contents, inject, number


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


async def refused(path: Path | str, error: type[StorageError]) -> StorageError:
    with pytest.raises(error) as caught:
        async with open_store(path):
            raise AssertionError("opened")
    return caught.value


@pytest.mark.parametrize("in_memory", [False, True])
async def test_what_is_put_is_read(path: Path, in_memory: bool) -> None:
    async with open_store(":memory:" if in_memory else path) as store:
        assert store.channels() == {}
        await store.commit(
            [PutChannel(channel_id=A, record=b"1"), PutChannel(channel_id=B, record=b"")]
        )
        await store.commit([PutChannel(channel_id=A, record=b"2")])
        assert store.channels() == {A: b"2", B: b""}
        await store.commit([])
    if not in_memory:
        async with open_store(str(path)) as store:
            assert store.channels() == {A: b"2", B: b""}


async def test_records_by_namespace(path: Path) -> None:
    async with open_store(path) as store:
        jobs, towers = store.records("jobs"), store.records("towers")
        await jobs.put(b"1", b"first")
        await jobs.put(b"1", b"second")
        await jobs.put(b"2", b"other")
        await towers.put(b"1", b"tower")
        await jobs.delete(b"2")
        await jobs.delete(b"never there")
        assert await jobs.load() == {b"1": b"second"}
        await store.commit(
            [
                PutRecord(namespace="jobs", key=b"3", record=b"third"),
                DeleteRecord(namespace="jobs", key=b"1"),
            ]
        )
    async with open_store(path) as store:
        assert await store.records("jobs").load() == {b"3": b"third"}
        assert await store.records("towers").load() == {b"1": b"tower"}


async def test_settings_of_the_file(path: Path) -> None:
    async with open_store(path) as store:
        pragma = {
            name: store._database.writer.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
        assert pragma == {
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "busy_timeout": 0,
        }
        await store.commit(batch_of(1))
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


# Opening


def rubbish(path: Path, size: int = 7_000) -> None:
    path.write_bytes(b"!" * size)


async def test_one_opener_at_a_time_by_any_name(path: Path) -> None:
    other = path.with_name("alias.db")
    async with open_store(path):
        other.symlink_to(path)
        await refused(path, StoreLockedError)
        await refused(other, StoreLockedError)
    async with open_store(other) as store:
        assert store.failed is None


@pytest.mark.parametrize("version", [0, 2, "one", None])
async def test_another_schema_version_is_refused_untouched(path: Path, version: object) -> None:
    async with open_store(path) as store:
        await store.commit(batch_of(1))
    with closing(sqlite3.connect(path)) as connection, connection:
        if version is None:
            connection.execute("DELETE FROM meta WHERE key = 'schema_version'")
        else:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (version,))
    before = contents(path)
    error = await refused(path, SchemaVersionError)
    assert str(version) in str(error)
    assert contents(path) == before


async def test_another_database_is_refused_untouched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE something (else_ TEXT)")
    before = contents(path)
    await refused(path, SchemaVersionError)
    assert contents(path) == before


async def test_rubbish_and_missing_places_are_refused(path: Path, tmp_path: Path) -> None:
    rubbish(path)
    await refused(path, StorageError)
    await refused(path, StorageError)  # and the lock was let go
    await refused(tmp_path / "missing" / "store.db", StorageError)
    await refused(tmp_path, StorageError)


async def test_a_reader_in_the_way_of_opening_is_named(path: Path) -> None:
    async with open_store(path) as store:
        await store.commit(batch_of(1))
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM meta").fetchall()
        await store.commit(batch_of(2))
    with closing(reader):
        assert "another program" in str(await refused(path, StorageError))
    async with open_store(path) as store:
        assert committed(store) == 2


async def test_creation_cut_short_is_done_again(path: Path) -> None:
    rubbish(path, 0)
    async with open_store(path) as store:
        await store.commit(batch_of(1))
    async with open_store(path) as store:
        assert committed(store) == 1


async def test_closed_means_closed(path: Path) -> None:
    async with open_store(path) as store:
        pass
    with pytest.raises(StorageError, match="closed"):
        await store.commit(batch_of(1))
    with pytest.raises(StorageError):
        store.channels()
    with pytest.raises(StorageError):
        await store.backup(path.with_name("backup.db"))


async def test_errors_of_the_body_come_out_as_they_are(path: Path) -> None:
    with pytest.raises(KeyError):
        async with open_store(path):
            raise KeyError


# Values


@pytest.mark.parametrize(
    ("write", "fields"),
    [
        (PutChannel, {"channel_id": b"", "record": b""}),
        (PutChannel, {"channel_id": bytes(256), "record": b""}),
        (PutChannel, {"channel_id": "text", "record": b""}),
        (PutChannel, {"channel_id": A, "record": bytearray(3)}),
        (PutChannel, {"channel_id": A, "record": bytes((1 << 24) + 1)}),
        (AppendJournal, {"channel_id": A, "kind": -1, "body": b""}),
        (AppendJournal, {"channel_id": A, "kind": 1 << 31, "body": b""}),
        (AppendJournal, {"channel_id": A, "kind": "one", "body": b""}),
        (AppendJournal, {"channel_id": A, "kind": 1, "body": None}),
        (PutRecord, {"namespace": "", "key": b"", "record": b""}),
        (PutRecord, {"namespace": b"jobs", "key": b"", "record": b""}),
        (DeleteRecord, {"namespace": "jobs", "key": 7}),
    ],
)
def test_invalid_writes_cannot_be_made(write: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError):
        write(**fields)


async def test_a_journal_entry_needs_its_channel(path: Path) -> None:
    async with open_store(path) as store:
        with pytest.raises(InvalidValueError, match="refused"):
            await store.commit([AppendJournal(channel_id=A, kind=1, body=b"")])
        await store.commit(
            [
                AppendJournal(channel_id=A, kind=1, body=b"before its channel"),
                PutChannel(channel_id=A, record=b""),
                AppendJournal(channel_id=b"", kind=2, body=b"of no channel"),
            ]
        )
        assert [entry.seq for entry in store.journal()] == [1, 2]


# Groups


async def test_a_bad_batch_fails_alone(path: Path) -> None:
    outcomes: dict[int, str] = {}

    async def commit(store: Store, value: int) -> None:
        writes: list[Any] = [PutChannel(channel_id=number(value), record=b"")]
        if value == 3:
            writes.append(AppendJournal(channel_id=b"unknown", kind=1, body=b""))
        elif value == 5:
            writes.append("no write at all")
        else:
            writes.append(AppendJournal(channel_id=number(value), kind=1, body=b""))
        try:
            await store.commit(writes)
        except InvalidValueError:
            outcomes[value] = "refused"
        else:
            outcomes[value] = "stored"

    async with open_store(path) as store:
        async with trio.open_nursery() as nursery:
            for value in range(8):
                nursery.start_soon(commit, store, value)
        assert outcomes == {v: "refused" if v in (3, 5) else "stored" for v in range(8)}
        assert set(store.channels()) == {number(v) for v in range(8) if v not in (3, 5)}
        assert [entry.seq for entry in store.journal()] == [1, 2, 3, 4, 5, 6]
        assert store.failed is None


@pytest.mark.parametrize("inline_below", [0, 60], ids=["thread", "inline"])
async def test_groups_are_shared_and_nobody_starves(
    path: Path, inline_below: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("channels.storage.store._PAUSE", math.inf)  # or a slow machine pauses
    done: Counter[int] = Counter()
    transactions = 0
    worst = 0

    def count(statement: str) -> None:
        nonlocal transactions
        transactions += statement == "COMMIT"

    async def commit(store: Store, task: int) -> None:
        nonlocal worst
        for _ in range(20):
            await store.commit([PutRecord(namespace="n", key=number(task), record=b"")])
            done[task] += 1
            worst = max(worst, done[task] - min(done[other] for other in range(32)))

    async with open_store(path, inline_below=inline_below) as store:
        inject(store, count)
        async with trio.open_nursery() as nursery:
            for task in range(32):
                nursery.start_soon(commit, store, task)
    assert transactions <= 64  # of 640 commits
    assert worst <= 2


async def test_slow_disks_get_a_thread_and_fast_ones_lose_it(path: Path) -> None:
    async with open_store(path, inline_below=60) as store:
        inline = threading.get_ident()
        ran_in = []
        inject(store, lambda statement: ran_in.append(threading.get_ident()))
        for value, limit in ((1, 0), (2, 60), (3, 60)):
            store._inline_below = limit
            ran_in.clear()
            await store.commit(batch_of(value))
            assert (set(ran_in) == {inline}) == (value != 2)
        assert committed(store) == 3


async def test_commits_do_not_need_time_to_pass(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_store(path, inline_below=math.inf) as store:
        with trio.fail_after(1):
            for value in range(1, 20):
                await store.commit(batch_of(value))
        assert committed(store) == 19


async def test_reads_see_what_is_committed_and_iterators_outlive_commits(path: Path) -> None:
    async with open_store(path) as store:
        for value in range(1, 601):
            await store.commit(batch_of(value))
        entries = store.journal(after=10)
        assert next(entries).seq == 11
        await store.commit(batch_of(601))
        assert [entry.seq for entry in entries] == list(range(12, 602))


async def test_many_random_batches_against_a_model(path: Path) -> None:
    chance = random.Random(22)
    channels: dict[bytes, bytes] = {}
    records: dict[bytes, bytes] = {}
    bodies: list[bytes] = []
    for _ in range(3):
        async with open_store(path) as store:
            for _ in range(60):
                batch: list[Write] = []
                for _ in range(chance.randrange(6)):
                    key, value = (
                        bytes([chance.randrange(1, 9)]),
                        chance.randbytes(chance.randrange(9_000)),
                    )
                    choice = chance.randrange(4)
                    if choice == 0:
                        batch.append(PutChannel(channel_id=key, record=value))
                        channels[key] = value
                    elif choice == 1:
                        batch.append(PutRecord(namespace="n", key=key, record=value))
                        records[key] = value
                    elif choice == 2:
                        batch.append(DeleteRecord(namespace="n", key=key))
                        records.pop(key, None)
                    else:
                        batch.append(AppendJournal(channel_id=b"", kind=1, body=value))
                        bodies.append(value)
                await store.commit(batch)
            assert store.channels() == channels
            assert await store.records("n").load() == records
            assert [entry.body for entry in store.journal()] == bodies
