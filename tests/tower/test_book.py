"""The book: durable, constant per channel, and provable."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest
import trio
from eth_utils.crypto import keccak

from channels.errors import SchemaVersionError, StorageError, StoreLockedError
from channels.protocol.terms import channel_id
from channels.storage import open_store
from channels.tower.book import Book, open_book
from channels.tower.database import SqliteDatabase
from channels.tower.intake import Account
from channels.tower.kept import Kept
from channels.tower.merkle import BUCKETS, MerkleProof
from channels.tower.writes import CountBeat, CountReceipt, Cursor, Forget, Keep, Progress, Release
from tests.dispute.build import DOMAIN as DOMAIN
from tests.dispute.build import HOUR, T0, make_terms
from tests.tower.build import ALICE, BUDGET, co_signed, kept_of, offer


def channel(salt: int, nonce: int = 9) -> Kept:
    terms = make_terms(salt)
    identity = channel_id(DOMAIN, terms)
    return kept_of(offer(co_signed(nonce, terms=terms), terms=terms, channel=identity))


def root_by_hand(kept: list[Kept]) -> bytes:
    """The store root from its definition alone, with another library's hash."""
    by_bucket: dict[int, list[Kept]] = {}
    for each in sorted(kept, key=lambda each: each.channel_id):
        by_bucket.setdefault(int(each.channel_id[:2].hex(), 16), []).append(each)
    level = {
        number: bytes(
            keccak(b"\x00" + b"".join(each.channel_id + b"\x00" + each.leaf for each in here))
        )
        for number, here in by_bucket.items()
    }
    empty = bytes(32)
    for _ in range(BUCKETS.bit_length() - 1):
        level = {
            above: bytes(
                keccak(b"\x01" + level.get(2 * above, empty) + level.get(2 * above + 1, empty))
            )
            for above in {number // 2 for number in level}
        }
        empty = bytes(keccak(b"\x01" + empty + empty))
    return level.get(0, empty)


async def test_what_was_written_is_there_after_opening_again(place: str | Path) -> None:
    first, second = channel(1), channel(2)
    async with open_book(place) as book:
        assert await book.write(Keep(first)) == 1
        assert await book.write(Keep(second)) == 2
        assert await book.write(Keep(channel(1, nonce=20))) == 3
        assert await book.write(CountReceipt()) == 4
        assert await book.write(CountBeat()) == 1
        cursor = Cursor(number=7, hash=b"\x07" * 32, disputes=3)
        await book.write(
            Progress(cursor=cursor, concerned=(first.channel_id, second.channel_id), block=8)
        )
        await book.write(Release(second.channel_id))
        root = book.root
    async with open_book(place) as book:
        assert (book.entries, book.root, book.cursor) == (2, root, cursor)
        assert book.kept(first.key) == channel(1, nonce=20)
        assert book.kept(second.key) == second
        assert book.disputes() == [(first.channel_id, 8)]
        assert sorted(book.every_key()) == sorted((first.key, second.key))
        assert book.keys(first.channel_id) == (first.key,)
        assert book.keys(bytes(32)) == ()
        assert book.account(ALICE.address) == Account(channels=2, committed=2 * BUDGET)
        await book.write(Forget(first.key))
        await book.write(Forget(first.key))
        assert book.entries == 1
        assert book.account(ALICE.address) == Account(channels=1, committed=BUDGET)
        assert book.of_customer(ALICE.address) == [second.channel_id]
        assert book.root == root_by_hand([second])


async def test_the_root_is_the_same_however_it_was_reached(place: str | Path) -> None:
    every = [channel(salt) for salt in range(40)]
    shuffled = random.Random(3).sample(every, len(every))
    async with open_book(place) as book:
        async with trio.open_nursery() as nursery:
            for each in shuffled:
                nursery.start_soon(book.write, Keep(each))
        for each in every[30:]:
            await book.write(Forget(each.key))
        assert book.root == root_by_hand(every[:30])


async def test_a_proof_shows_a_channel_or_that_it_is_not_there(place: str | Path) -> None:
    async with open_book(place) as book:
        for salt in range(20):
            await book.write(Keep(channel(salt)))
        here, gone = channel(4), channel(99)
        proof, absent = await book.proof(here.key), await book.proof(gone.key)
        assert proof.root(here.key) == book.root
        assert proof.leaf(here.key) == here.leaf
        assert absent.root(gone.key) == book.root
        assert absent.leaf(gone.key) is None
        forged = MerkleProof(
            pairs=((here.key, channel(4, nonce=10).leaf),), siblings=proof.siblings
        )
        assert forged.root(here.key) != book.root
        # Another bucket's proof, one cut short, and one that names a channel twice prove nothing.
        assert proof.root(gone.key) != book.root
        for pairs, siblings in (
            (proof.pairs, proof.siblings[:-1]),
            (proof.pairs * 2, proof.siblings),
            ((*proof.pairs, (gone.key, here.leaf)), proof.siblings),
        ):
            assert MerkleProof(pairs=pairs, siblings=siblings).root(here.key) == b""


async def test_what_is_due_is_found_by_its_time(place: str | Path) -> None:
    boxed = kept_of(
        offer(co_signed(9, valid_until=T0 + HOUR), duties=1, affirm_by=T0 + 60),
    )
    async with open_book(place) as book:
        await book.write(Keep(boxed))
        assert book.due(T0 + 59) == []
        assert book.due(T0 + 60) == [boxed.channel_id]
        await book.write(Keep(boxed.with_holding(offer(co_signed(10), sequence=2))))
        assert book.due(T0 + 60) == []


async def fill(book: Book) -> None:
    for salt in range(2, 500):
        await book.write(Keep(channel(salt)))


async def test_a_write_that_fails_is_told_and_nothing_is_written_after(tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    async with open_book(path) as book:
        await book.write(Keep(channel(1)))
        # A full disk, as SQLite tells of one.
        assert isinstance(book.database, SqliteDatabase)
        book.database.writer.execute("PRAGMA max_page_count = 1")
        with pytest.raises(StorageError, match="full"):
            await fill(book)
        written, root = book.entries, book.root
        assert root == root_by_hand([channel(salt) for salt in range(1, written + 1)])
        with pytest.raises(StorageError, match="no more writes"):
            await book.write(Keep(channel(1)))
        # Reading, and so defending, goes on.
        assert (book.entries, book.root) == (written, root)
        assert book.kept(channel(1).key) is not None
    async with open_book(path) as book:
        assert (book.entries, book.root) == (written, root)
        await book.write(Keep(channel(999)))


async def test_one_process_a_book_and_no_file_of_something_else(tmp_path: Path) -> None:
    async with open_book(tmp_path / "book.db"):
        with pytest.raises(StoreLockedError):
            SqliteDatabase(tmp_path / "book.db")
    async with open_store(tmp_path / "store.db"):
        pass
    with pytest.raises(SchemaVersionError):
        SqliteDatabase(tmp_path / "store.db")
    with sqlite3.connect(tmp_path / "book.db") as database:
        database.execute("UPDATE meta SET value = 1 WHERE key = 'schema_version'")
    with pytest.raises(SchemaVersionError):
        SqliteDatabase(tmp_path / "book.db")


async def test_a_damaged_record_harms_no_other(tmp_path: Path) -> None:
    one, two = channel(1), channel(2)
    async with open_book(tmp_path / "book.db") as book:
        await book.write(Keep(one))
        await book.write(Keep(two))
        with sqlite3.connect(tmp_path / "book.db") as database:
            database.execute("UPDATE records SET record = x'c0' WHERE number = 1")
        with pytest.raises(StorageError, match="damaged"):
            book.kept(one.key)
        assert book.kept(two.key) == two
