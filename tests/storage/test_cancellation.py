"""A cancelled commit leaves no doubt: Cancelled means not written, a return means written."""

from __future__ import annotations

import math
import random
import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from channels.errors import StorageError
from channels.storage import PutRecord, Store, Write, open_store

from .helpers import inject, number

PATIENCE = 60
"""Seconds after which what does not come is taken never to come."""


def record(value: int) -> list[Write]:
    return [PutRecord(namespace="n", key=number(value), record=b"")]


class Gate:
    """Holds the next transaction in its thread, inside SQLite's hands, until opened."""

    def __init__(self, store: Store) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        inject(store, self)

    def __call__(self, statement: str) -> None:
        if statement == "COMMIT":
            self.reached.set()
            assert self.opened.wait(PATIENCE)


async def stored(store: Store) -> set[int]:
    return {int.from_bytes(key, "big") for key in await store.records("n").load()}


async def test_cancelled_before_it_began_is_not_written(tmp_path: Path) -> None:
    async with open_store(tmp_path / "s.db") as store:
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.commit(record(1))
        assert scope.cancelled_caught
        assert await stored(store) == set()


async def test_cancelled_in_the_queue_is_out_and_in_sqlite_is_in(tmp_path: Path) -> None:
    returned = []

    async def commit(store: Store, value: int, scope: trio.CancelScope) -> None:
        with scope:
            await store.commit(record(value))
            returned.append(value)

    scopes = [trio.CancelScope() for _ in range(4)]
    async with open_store(tmp_path / "s.db", inline_below=0) as store:
        gate = Gate(store)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit, store, 0, scopes[0])
            nursery.start_soon(commit, store, 1, scopes[1])
            await trio.to_thread.run_sync(gate.reached.wait, PATIENCE)
            nursery.start_soon(commit, store, 2, scopes[2])
            nursery.start_soon(commit, store, 3, scopes[3])
            await trio.testing.wait_all_tasks_blocked()
            for scope in scopes[:3]:  # the writer, its companion, and one of two still queued
                scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert returned == []
            gate.opened.set()
        assert sorted(returned) == [0, 1, 3]
        assert await stored(store) == {0, 1, 3}
    assert [scope.cancelled_caught for scope in scopes] == [False, False, True, False]


async def test_a_shielded_commit_is_never_out(tmp_path: Path) -> None:
    returned = []
    scopes: list[trio.CancelScope] = []

    async def commit(store: Store, value: int) -> None:
        with trio.CancelScope() as own:
            scopes.append(own)
            await store.commit(record(value), shield=True)
            returned.append(value)

    async with open_store(tmp_path / "s.db", inline_below=0) as store:
        gate = Gate(store)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit, store, 0)
            await trio.to_thread.run_sync(gate.reached.wait, PATIENCE)
            nursery.start_soon(commit, store, 1)  # queues
            await trio.testing.wait_all_tasks_blocked()
            for scope in scopes:
                scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert returned == []
            gate.opened.set()
        assert sorted(returned) == [0, 1]
        assert await stored(store) == {0, 1}


@pytest.mark.parametrize("inline_below", [0, 60], ids=["thread", "inline"])
async def test_outcomes_match_the_disk_whenever_cancelled(
    tmp_path: Path, inline_below: float
) -> None:
    chance = random.Random(23)
    returned: set[int] = set()
    cancelled: set[int] = set()

    async def commit(store: Store, value: int, patience: float) -> None:
        with trio.move_on_after(patience) as scope:
            await trio.sleep(chance.uniform(0, 0.05))
            await store.commit(record(value))
            returned.add(value)
        if value not in returned:
            assert scope.cancelled_caught
            cancelled.add(value)

    async with open_store(tmp_path / "s.db", inline_below=inline_below) as store:
        async with trio.open_nursery() as nursery:
            for value in range(400):
                # One at least of each, however slow this machine is.
                at_most = {0: 0.0, 1: math.inf}.get(value, chance.uniform(0, 0.06))
                nursery.start_soon(commit, store, value, at_most)
        assert await stored(store) == returned
    assert returned | cancelled == set(range(400))
    assert 0 in cancelled
    assert 1 in returned


async def test_closing_lets_the_running_transaction_end_and_refuses_the_queue(
    tmp_path: Path,
) -> None:
    outcomes: dict[int, str] = {}

    async def commit(store: Store, value: int) -> None:
        try:
            await store.commit(record(value))
            outcomes[value] = "stored"
        except StorageError:
            outcomes[value] = "refused"
            gate.opened.set()

    async with trio.open_nursery() as nursery:
        async with open_store(tmp_path / "s.db", inline_below=0) as store:
            gate = Gate(store)
            nursery.start_soon(commit, store, 0)
            await trio.to_thread.run_sync(gate.reached.wait, PATIENCE)
            nursery.start_soon(commit, store, 1)
            await trio.testing.wait_all_tasks_blocked()
            assert outcomes == {}
        await trio.testing.wait_all_tasks_blocked()
    assert outcomes == {0: "stored", 1: "refused"}
    async with open_store(tmp_path / "s.db") as store:
        assert await stored(store) == {0}


async def test_closing_between_queueing_and_writing(tmp_path: Path) -> None:
    """The writer has yielded to gather its group when the store is closed under it."""
    outcomes: list[str] = []

    async def commit(store: Store, value: int) -> None:
        try:
            await store.commit(record(value))
            outcomes.append("stored")
        except StorageError:
            outcomes.append("refused")

    for _ in range(20):
        async with trio.open_nursery() as nursery:
            async with open_store(tmp_path / "s.db") as store:
                nursery.start_soon(commit, store, 1)
                nursery.start_soon(commit, store, 2)
                await trio.lowlevel.cancel_shielded_checkpoint()
            assert store.failed is None
        assert len(outcomes) == 2
        outcomes.clear()
