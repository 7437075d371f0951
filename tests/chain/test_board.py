"""How long a job that has ended is known by its key."""

from __future__ import annotations

import attrs
import pytest

import channels.chain.board as board_module
from channels.chain.board import JobBoard
from channels.chain.jobs import Intent
from channels.chain.records import MemoryRecordStore, Stage
from channels.errors import StorageError
from channels.protocol.eip712 import Address

TO = Address(bytes(19) + b"\x01")
MOST = 3


@attrs.define
class Board:
    """A board whose jobs end when they are told to."""

    store: MemoryRecordStore = attrs.Factory(MemoryRecordStore)
    jobs: JobBoard = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.jobs = JobBoard(self.store)

    async def ask(self, key: bytes, **said: object) -> None:
        await self.jobs.submit(key, Intent(name="do", to=TO, data=key, **said))  # type: ignore[arg-type]

    async def end(self, key: bytes, stage: Stage = Stage.FINAL) -> None:
        job = self.jobs.job(key)
        assert job is not None
        await self.jobs._save(attrs.evolve(job, stage=stage))

    def known(self) -> set[bytes]:
        kept = {key for key in self.store.records if self.jobs.job(key) is not None}
        assert kept == set(self.store.records)
        return kept


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.setattr(board_module, "KEPT", MOST)
    return Board()


KEYS = [b"%d" % number for number in range(8)]


@pytest.mark.parametrize("stage", [Stage.FINAL, Stage.FAILED])
async def test_the_oldest_that_have_ended_are_forgotten(board: Board, stage: Stage) -> None:
    for key in KEYS:
        await board.ask(key)
        await board.end(key, stage)
    await board.ask(b"one more")
    assert board.known() == {*KEYS[-MOST:], b"one more"}


async def test_what_has_not_ended_is_never_forgotten(board: Board) -> None:
    for key in KEYS:
        await board.ask(key)
    for key in KEYS[3:]:
        await board.end(key)
    await board.ask(b"one more")
    assert board.known() == {*KEYS[:3], *KEYS[-MOST:], b"one more"}
    assert set(board.jobs.unfinished) == {*KEYS[:3], b"one more"}


async def test_what_a_budget_is_counted_from_stays(board: Board) -> None:
    bounded, free = b"b" * 32, b"f" * 32
    for key in KEYS[:4]:
        await board.ask(key, channel=bounded, budget=1 if key == KEYS[0] else 0)
        await board.end(key)
    for key in KEYS[4:]:
        await board.ask(key, channel=free)
        await board.end(key)
    await board.ask(b"one more")
    assert board.known() == {*KEYS[:4], *KEYS[-MOST:], b"one more"}


async def test_a_store_that_fails_to_forget_does_not_keep_a_job_from_being_taken(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in KEYS:
        await board.ask(key)
        await board.end(key)
    before = board.known()

    async def failing(key: bytes) -> None:
        raise StorageError("no space left on the device")

    with monkeypatch.context() as patched:
        patched.setattr(board.store, "delete", failing)
        await board.ask(b"one more")
    assert board.known() == {*before, b"one more"}
    await board.ask(b"another")
    assert board.known() == {*KEYS[-MOST:], b"one more", b"another"}


async def test_a_restart_knows_what_was_kept(board: Board) -> None:
    for key in KEYS:
        await board.ask(key)
        await board.end(key)
    await board.ask(b"one more")
    again = Board(board.store)
    await again.jobs.start()
    assert again.known() == board.known()
    await again.ask(KEYS[-1])
    assert again.jobs.unfinished == (b"one more",), "its key still names what was done"
