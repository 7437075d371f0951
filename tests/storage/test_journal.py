"""The journal's hash chain, and everything that must break it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio
from Crypto.Hash import keccak as independent_keccak

from channels.errors import JournalBrokenError, StorageError
from channels.storage import (
    AppendJournal,
    JournalHead,
    PutChannel,
    open_store,
    verify_journal,
)

from .helpers import A, B, batch_of, number

ENTRIES = 12

COPY = "INSERT INTO journal SELECT {}, channel_id, time, kind, body, hash FROM journal LIMIT 1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed store with twelve entries, of times 101 to 112."""
    path = tmp_path / "journal.db"
    times: Iterator[int] = iter(range(101, 200))

    async def fill() -> None:
        async with open_store(path, clock=lambda: next(times)) as store:
            for value in range(1, ENTRIES + 1):
                await store.commit(batch_of(value))

    trio.run(fill)
    return path


def tamper(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER journal_is_not_updated")
        connection.execute("DROP TRIGGER journal_is_not_deleted")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement)


def first_broken(path: Path, known: JournalHead | None = None) -> tuple[int, list[int]]:
    """The entry named as broken, and the entries given before it."""
    given = []
    try:
        for entry in verify_journal(path, known=known):
            given.append(entry.seq)
    except JournalBrokenError as error:
        return error.seq, given
    raise AssertionError("the journal verifies")


def hash_of(data: bytes) -> bytes:
    return independent_keccak.new(digest_bits=256, data=data).digest()


async def test_the_chain_as_documented(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with open_store(path, clock=lambda: 1_700_000_000_123_456_789) as store:
        genesis = store.journal_head
        assert genesis.seq == 0
        await store.commit(
            [
                PutChannel(channel_id=A, record=b""),
                AppendJournal(channel_id=A, kind=7, body=b"signed"),
                AppendJournal(channel_id=b"", kind=8, body=b""),
            ]
        )
        entries = list(store.journal())
        time = (1_700_000_000_123_456_789).to_bytes(8, "big")
        first = hash_of(genesis.hash + number(1) + b"\x20" + A + time + b"\0\0\0\x07" + b"signed")
        second = hash_of(first + number(2) + b"\0" + time + b"\0\0\0\x08")
        assert [entry.hash for entry in entries] == [first, second]
        assert store.journal_head == JournalHead(seq=2, hash=second)
        assert list(verify_journal(path)) == entries  # beside the running store
        assert list(store.journal(A)) == entries[:1]
        assert list(store.journal(b"")) == entries[1:]
        assert list(store.journal(B)) == []
        assert list(store.journal(after=1)) == entries[1:]
        assert entries[0].time == 1_700_000_000_123_456_789
    assert list(verify_journal(str(path))) == entries


async def test_stores_do_not_share_an_origin(tmp_path: Path) -> None:
    async with open_store(":memory:") as one, open_store(tmp_path / "two.db") as two:
        assert one.journal_head != two.journal_head


def test_a_sound_journal_is_left_as_it_was(path: Path) -> None:
    before = path.read_bytes()
    assert [entry.seq for entry in verify_journal(path)] == list(range(1, ENTRIES + 1))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        "body = x'00'",
        "kind = kind + 1",
        "kind = -1",
        "kind = 1 << 40",
        "time = time - 1",
        "time = -5",
        "channel_id = NULL",
        f"channel_id = x'{B.hex()}'",
        "hash = x'" + "00" * 32 + "'",
        "hash = x''",
    ],
)
@pytest.mark.parametrize("seq", [1, 6, ENTRIES])
async def test_a_changed_entry_is_named(path: Path, change: str, seq: int) -> None:
    tamper(path, f"UPDATE journal SET {change} WHERE seq = {seq}")
    assert first_broken(path) == (seq, list(range(1, seq)))
    if seq == ENTRIES:
        with pytest.raises(JournalBrokenError):
            async with open_store(path):
                raise AssertionError("opened on a broken journal")


@pytest.mark.parametrize(
    ("statements", "broken"),
    [
        (["DELETE FROM journal WHERE seq = 1"], 1),
        (["DELETE FROM journal WHERE seq = 5"], 5),
        (
            ["DELETE FROM journal WHERE seq = 5", "UPDATE journal SET seq = seq - 1 WHERE seq > 5"],
            5,
        ),
        (
            [
                "UPDATE journal SET seq = 99 WHERE seq = 4",
                "UPDATE journal SET seq = 4 WHERE seq = 5",
                "UPDATE journal SET seq = 5 WHERE seq = 99",
            ],
            4,
        ),
        (
            [COPY.format(13)],
            13,
        ),
        (
            [COPY.format(-1)],
            1,
        ),
        (["UPDATE meta SET value = randomblob(32) WHERE key = 'store_id'"], 1),
        (["DELETE FROM meta WHERE key = 'store_id'"], 1),
    ],
)
def test_missing_moved_and_forged_entries_are_named(
    path: Path, statements: list[str], broken: int
) -> None:
    tamper(path, *statements)
    assert first_broken(path) == (broken, list(range(1, broken)))


async def test_a_known_head_shows_a_lost_end_and_a_new_chain(path: Path, tmp_path: Path) -> None:
    async with open_store(path) as store:
        known = store.journal_head
        await store.commit(batch_of(ENTRIES + 1))
    assert len(list(verify_journal(path, known=known))) == ENTRIES + 1
    other = tmp_path / "other.db"
    async with open_store(other) as store:
        for value in range(1, ENTRIES + 2):
            await store.commit(batch_of(value))
        started = store.journal_head
    assert first_broken(other, known)[0] == ENTRIES
    assert first_broken(path, started)[0] == ENTRIES + 1
    tamper(path, f"DELETE FROM journal WHERE seq >= {ENTRIES}")
    assert len(list(verify_journal(path))) == ENTRIES - 1  # the chain alone cannot tell
    assert first_broken(path, known)[0] == ENTRIES


def test_the_database_itself_refuses_to_rewrite(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in ("DELETE FROM journal", "UPDATE journal SET kind = 2"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


def test_what_is_no_store_is_a_storage_error(tmp_path: Path) -> None:
    missing, rubbish = tmp_path / "missing.db", tmp_path / "rubbish.db"
    rubbish.write_bytes(b"rubbish" * 1_000)
    for path in (missing, rubbish, tmp_path):
        with pytest.raises(StorageError):
            list(verify_journal(path))
    assert not missing.exists()


def test_an_abandoned_verification_lets_the_file_go(path: Path) -> None:
    entries = verify_journal(path)
    next(entries)
    entries.close()  # type: ignore[attr-defined]  # a generator, promised as an iterator
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
