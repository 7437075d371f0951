"""The storage port against a model, in both databases; and in one that two processes share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import attrs
import psycopg
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels.errors import LeaseLostError, SchemaVersionError, StorageError
from channels.tower.book import Book, open_book
from channels.tower.database import SqliteDatabase, schema_text
from channels.tower.fenced import open_fenced
from channels.tower.intake import Account
from channels.tower.kept import Kept
from channels.tower.lease import open_lease
from channels.tower.postgres import PostgresDatabase
from channels.tower.writes import (
    CountBeat,
    CountReceipt,
    Cursor,
    Forget,
    ForgetCursor,
    Keep,
    Progress,
    Release,
)
from tests.dispute.build import HOUR, T0
from tests.tower.build import ALICE, BUDGET, co_signed, kept_of, offer
from tests.tower.postgres_server import fresh_database
from tests.tower.test_book import channel, root_by_hand

CHANNELS: Final = 4
ENTRIES: Final = {
    (salt, nonce): channel(salt, nonce) for salt in range(CHANNELS) for nonce in (9, 20)
}


@attrs.define
class Model:
    """What a book holds, from the meaning of its writes alone."""

    kept: dict[int, int] = attrs.field(factory=dict)
    disputes: dict[int, int] = attrs.field(factory=dict)
    cursor: Cursor | None = None
    receipts: int = 0
    beats: int = 0

    def apply(self, write: tuple[Any, ...]) -> tuple[Any, int]:
        """The write, and what it has to answer."""
        match write:
            case ("keep", salt, nonce):
                self.kept[salt] = nonce
                self.receipts += 1
                return Keep(ENTRIES[salt, nonce]), self.receipts
            case ("follow", salt, nonce, over):
                held = self.kept.get(salt)
                expected = b"" if over is None else ENTRIES[salt, over].record
                if held != over:
                    return Keep(ENTRIES[salt, nonce], expected), 0
                self.kept[salt] = nonce
                self.receipts += 1
                return Keep(ENTRIES[salt, nonce], expected), self.receipts
            case ("forget", salt):
                self.kept.pop(salt, None)
                return Forget(ENTRIES[salt, 9].key), 0
            case ("receipt",):
                self.receipts += 1
                return CountReceipt(), self.receipts
            case ("beat",):
                self.beats += 1
                return CountBeat(), self.beats
            case ("progress", block, salts):
                self.cursor = Cursor(number=block, hash=bytes([block]) * 32, disputes=block // 2)
                for salt in salts:
                    self.disputes.setdefault(salt, block)
                channels = tuple(ENTRIES[salt, 9].channel_id for salt in salts)
                return Progress(cursor=self.cursor, concerned=channels, block=block), 0
            case ("release", salt):
                self.disputes.pop(salt, None)
                return Release(ENTRIES[salt, 9].channel_id), 0
            case _:
                self.cursor = None
                return ForgetCursor(), 0

    @property
    def entries(self) -> list[Kept]:
        return [ENTRIES[each] for each in self.kept.items()]


_salt = st.integers(0, CHANNELS - 1)
_nonce = st.sampled_from((9, 20))
_writes = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), _salt, _nonce),
        st.tuples(st.just("follow"), _salt, _nonce, st.none() | _nonce),
        st.tuples(st.just("forget"), _salt),
        st.tuples(st.just("receipt")),
        st.tuples(st.just("beat")),
        st.tuples(st.just("progress"), st.integers(0, 90), st.lists(_salt, max_size=3)),
        st.tuples(st.just("release"), _salt),
        st.tuples(st.just("forget cursor")),
    ),
    min_size=1,
    max_size=16,
)


def compare(book: Book, model: Model) -> None:
    """Everything that a book tells."""
    assert book.entries == len(model.kept)
    for salt in range(CHANNELS):
        nonce, entry = model.kept.get(salt), ENTRIES[salt, 9]
        assert book.kept(entry.key) == (None if nonce is None else ENTRIES[salt, nonce])
        assert book.keys(entry.channel_id) == (() if nonce is None else (entry.key,))
    assert list(book.every_key()) == sorted(each.key for each in model.entries)
    account = Account(channels=len(model.kept), committed=len(model.kept) * BUDGET)
    assert book.account(ALICE.address) == account
    assert set(book.of_customer(ALICE.address)) == {each.channel_id for each in model.entries}
    assert sorted(book.disputes()) == sorted(
        (ENTRIES[salt, 9].channel_id, block) for salt, block in model.disputes.items()
    )
    assert book.cursor == model.cursor
    assert (book.count("receipts"), book.count("beats")) == (model.receipts, model.beats)


async def play(places: Sequence[str | Path], writes: list[tuple[Any, ...]]) -> None:
    """Write in turns through every place, and compare each with the model in the end."""
    model = Model()
    async with AsyncExitStack() as stack:
        books = [await stack.enter_async_context(open_book(each)) for each in places]
        for number, write in enumerate(writes):
            made, answer = model.apply(write)
            assert await books[number % len(books)].write(made) == answer
        root = root_by_hand(model.entries)
        for book in books:
            await book.refresh()
            compare(book, model)
            assert book.root == root
    async with open_book(places[0]) as book:
        compare(book, model)
        assert book.root == root


@settings(max_examples=12, deadline=None)
@given(_writes)
def test_any_history_in_a_file(writes: list[tuple[Any, ...]]) -> None:
    with TemporaryDirectory() as folder:
        trio.run(play, [Path(folder) / "book.db"], writes)


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_writes)
def test_any_history_through_two_processes(
    postgres_server: str, writes: list[tuple[Any, ...]]
) -> None:
    trio.run(play, [fresh_database(postgres_server)] * 2, writes)


async def test_both_schemas_have_the_same_columns(tmp_path: Path, postgres: str) -> None:
    def columns(statements: list[tuple[Any, ...]]) -> set[tuple[str, str]]:
        return {(table, column) for table, column in statements}

    async with open_book(tmp_path / "book.db") as book:
        here = columns(
            book.select(
                "SELECT m.name, p.name FROM sqlite_master m, pragma_table_info(m.name) p"
                " WHERE m.type = 'table'"
            )
        )
    async with open_book(postgres) as book:
        there = columns(
            book.select(
                "SELECT table_name, column_name FROM information_schema.columns"
                " WHERE table_schema = ?",
                "option_channels_tower",
            )
        )
    assert here < there
    assert {table for table, _ in there - here} == {"lease", "fenced", "signed"}
    assert "lease" not in schema_text("schema.sql")


async def test_a_newer_state_of_what_is_disputed_shows_by_its_change(place: str | Path) -> None:
    one, two = channel(1), channel(2)
    async with open_book(place) as book:
        for each in (one, two):
            await book.write(Keep(each))
        await book.write(Progress(concerned=(one.channel_id, two.channel_id), block=7))
        before = book.change
        assert book.disputes_since(before) == []
        await book.write(Keep(channel(2, nonce=20)))
        assert book.disputes_since(before) == [(two.channel_id, before + 1)]


async def test_a_time_beyond_all_times_does_no_harm(place: str | Path) -> None:
    """An appointment may name any chain time of 64 bits; columns hold 63."""
    never = offer(co_signed(9, valid_until=T0 + HOUR), duties=1, affirm_by=(1 << 64) - 1)
    async with open_book(place) as book:
        assert await book.write(Keep(kept_of(never))) == 1
        assert book.due(T0 + HOUR) == []
        with pytest.raises(StorageError):
            await book.write(Progress(concerned=(bytes(32),), block=1 << 64))
        assert await book.write(CountBeat()) == 1


async def test_two_that_follow_the_same_entry_do_not_both_replace_it(postgres: str) -> None:
    first, left, right = channel(1), channel(1, nonce=20), channel(1, nonce=9)
    async with open_book(postgres) as one, open_book(postgres) as two:
        await one.write(Keep(first))
        answers = []

        async def follow(book: Book, kept: Kept) -> None:
            answers.append(await book.write(Keep(kept, first.record)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, one, left)
            nursery.start_soon(follow, two, left)
        # Of two identical states either may be told that the other was there first.
        assert sorted(answers) == [0, 2]
        assert await two.write(Keep(right, first.record)) == 0
        assert two.kept(first.key) == left


async def test_what_is_no_book_is_refused(tmp_path: Path, postgres: str) -> None:
    async with open_book(postgres) as book:
        book.database.transact(
            lambda statements: statements.execute(
                "UPDATE meta SET value = 1 WHERE key = 'schema_version'"
            )
        )
    with pytest.raises(SchemaVersionError):
        PostgresDatabase(postgres)
    with pytest.raises(StorageError, match="PostgreSQL nowhere"):
        PostgresDatabase(f"postgresql://tower:secret@/nowhere?host={tmp_path}")
    with pytest.raises(StorageError):
        SqliteDatabase(tmp_path / "missing.db", read_only=True)


async def test_the_lease_is_one_processs_and_its_token_rises(postgres: str) -> None:
    database = PostgresDatabase(postgres)
    async with (
        open_lease(database, me="left", term=60) as left,
        open_lease(database, me="right", term=60) as right,
    ):
        assert not (await left.state()).held
        first = await left.acquire()
        state = await right.state()
        assert state.holder.startswith("left ")
        assert (state.token, state.held) == (first, True)
        assert 0 < state.left <= 60
        with trio.move_on_after(0.2) as scope:
            await right.acquire()
        assert scope.cancelled_caught
        # Its own it takes again, as after losing sight of the database, under a new token.
        again = await left.acquire()
        assert again > first
        await left.release(first)  # an old token lets go of nothing
        assert (await right.state()).held
        await left.release(again)
        assert await right.acquire() > again
        with pytest.raises(LeaseLostError, match="another process"):
            await _hold_soon(left, again)
    database.close()


async def _hold_soon(lease: Any, token: int) -> None:
    """Renew at once, as if a third of the term had passed."""
    lease.term = 0.0
    await lease.hold(token)


async def test_nothing_is_stored_under_an_old_token(postgres: str) -> None:
    database = PostgresDatabase(postgres)
    async with (
        open_lease(database, me="left") as left,
        open_lease(database, me="right") as right,
    ):
        old = await left.acquire()
        async with open_fenced(database, old) as before:
            await before.monitor.put(b"channel", b"defended")
            await left.release(old)
            new = await right.acquire()
            for records in (before.monitor, before.transactions):
                with pytest.raises(LeaseLostError):
                    await records.put(b"channel", b"of one who slept")
                with pytest.raises(LeaseLostError):
                    await records.delete(b"channel")
            async with open_fenced(database, new) as after:
                assert await after.monitor.load() == {b"channel": b"defended"}
                assert await after.transactions.load() == {}
                await after.monitor.put(b"channel", b"taken over")
            # Reading does no harm: what it finds, the holder has stored.
            assert await before.monitor.load() == {b"channel": b"taken over"}
    database.close()


async def test_the_lease_waits_for_a_transaction_that_is_under_way(postgres: str) -> None:
    """Whoever takes the lease finds all that was stored under the token before."""
    database, writer = PostgresDatabase(postgres), PostgresDatabase(postgres)
    stored, taken = trio.Event(), trio.Event()
    order: list[str] = []
    async with (
        open_lease(database, me="left", term=0.0) as left,
        open_lease(database, me="right") as right,
    ):
        token = await left.acquire()

        def slow(statements: Any) -> None:
            statements.execute("SELECT token FROM lease WHERE token = ? FOR SHARE", token)
            trio.from_thread.run_sync(stored.set)
            # The lease is out already, and is being asked for.
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while not database.select(waiting)[0][0]:
                pass
            order.append("stored")

        async def take() -> None:
            await stored.wait()
            await right.acquire()
            order.append("taken")
            taken.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await trio.to_thread.run_sync(writer.transact, slow)
            await taken.wait()
    assert order == ["stored", "taken"]
    database.close()
    writer.close()


async def test_connections_that_break_are_made_anew(postgres: str) -> None:
    """Reading goes on; what was being written is told as not written; nobody signs meanwhile."""
    database = PostgresDatabase(postgres)
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid()"
    async with (
        open_book(postgres) as book,
        open_lease(database, me="left") as lease,
        open_fenced(database, await lease.acquire()) as store,
    ):
        await book.write(Keep(channel(1)))
        await store.monitor.put(b"channel", b"defended")
        with psycopg.connect(postgres) as stranger:
            stranger.execute(others)
        with pytest.raises(StorageError):
            await book.write(Keep(channel(2)))
        assert book.failed is not None
        with pytest.raises(LeaseLostError):
            await store.monitor.put(b"channel", b"nobody knows")
        assert await book.ask(lambda book: book.kept(channel(1).key)) == channel(1)
        assert await store.monitor.load() == {b"channel": b"defended"}
        assert await book.write(Keep(channel(2))) == 2
        assert book.entries == 2
        assert book.database.failed is None
        assert (await lease.state()).held
    database.close()
