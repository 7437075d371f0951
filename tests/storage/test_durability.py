"""What a crash leaves behind: everything acknowledged, and of the rest whole batches or nothing."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from channels.errors import StoreLockedError
from channels.storage import open_store, verify_journal

from .helpers import batch_of, committed, copy_as_if_killed
from .killed import TASKS

KILLED = Path(__file__).with_name("killed.py")


def start(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, KILLED, path], stdout=subprocess.PIPE, bufsize=0)


def run_and_kill(path: Path, told_before: int, after: float) -> dict[int, int]:
    """Run the committing process, kill -9 it, and return what it had been told was stored.

    Killed so many seconds after it was told so many times; or, with ``told_before`` 0, after its
    start, perhaps while opening.
    """
    process = start(path)
    assert process.stdout is not None
    output: list[bytes] = []
    pipe = process.stdout
    told_enough = threading.Event()

    def drain() -> None:
        lines = 0
        while chunk := pipe.read(65_536):
            output.append(chunk)
            lines += chunk.count(b"\n")
            if lines > told_before:  # the first says that the store is open
                told_enough.set()
        told_enough.set()

    reader = threading.Thread(target=drain)
    reader.start()
    if told_before:
        told_enough.wait()
    time.sleep(after)
    process.kill()
    assert process.wait() == -9
    reader.join()
    pipe.close()
    told: dict[int, int] = {}
    for line in b"".join(output).split(b"\n")[:-1]:  # a line cut short was not a whole word
        if line != b"open":
            task, value = map(int, line.split())
            told[task] = value
    return told


async def test_everything_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "killed.db"
    chance = random.Random(20)
    total = 0
    for turn in range(12):
        if turn % 3 != 2:
            told = run_and_kill(path, chance.randrange(20, 400), chance.uniform(0, 0.02))
        else:
            told = run_and_kill(path, 0, chance.uniform(0, 0.4))
        assert len(list(verify_journal(path))) >= total
        async with open_store(path) as store:
            records = store.channels()
            newest = dict.fromkeys(range(TASKS), 0)
            total = 0
            for entry in store.journal():
                total += 1
                value = int.from_bytes(entry.body[:8], "big")
                assert value == newest[entry.kind] + 1
                newest[entry.kind] = value
            for task, value in newest.items():
                stored = records.get(bytes([task + 128]) * 32, bytes(8))
                assert stored == records.get(bytes([task]) * 32, bytes(8))
                assert int.from_bytes(stored, "big") == value
                assert value >= told.get(task, 0)
    assert total > 100


async def test_the_lock_goes_with_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "held.db"
    process = start(path)
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    with pytest.raises(StoreLockedError):
        async with open_store(path):
            raise AssertionError("two processes hold one database")
    process.kill()
    process.wait()
    process.stdout.close()
    async with open_store(path) as store:
        assert store.failed is None


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
async def test_a_torn_log_loses_only_its_end(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "torn.db"
    ends = []  # size of the log after each commit
    async with open_store(path) as store:
        log = path.with_name("torn.db-wal")
        for value in range(1, 31):
            await store.commit(batch_of(value))
            ends.append(log.stat().st_size)
        left = copy_as_if_killed(path, tmp_path / "left")
    whole = left.with_name("torn.db-wal").read_bytes()
    chance = random.Random(21)
    for turn in range(40):
        at = chance.randrange(len(whole))
        torn = whole[:at]
        if damage == "flipped":
            torn += bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :]
        directory = tmp_path / f"{turn}"
        directory.mkdir()
        shutil.copy(left, directory)
        (directory / "torn.db-wal").write_bytes(torn)
        async with open_store(directory / "torn.db") as store:
            assert committed(store) == sum(end <= at for end in ends)
            await store.commit(batch_of(committed(store) + 1))
        assert list(verify_journal(directory / "torn.db"))


async def test_opening_moves_the_log_into_the_file(tmp_path: Path) -> None:
    """What was read must be on the disk, though the process that wrote it died before its fsync."""
    path = tmp_path / "first.db"
    async with open_store(path) as store:
        for value in range(1, 6):
            await store.commit(batch_of(value))
        left = copy_as_if_killed(path, tmp_path / "left")
    assert left.with_name("first.db-wal").stat().st_size > 0
    async with open_store(left) as store:
        assert committed(store) == 5
        assert left.with_name("first.db-wal").stat().st_size == 0
        alone = tmp_path / "alone.db"
        shutil.copy(left, alone)
    async with open_store(alone) as store:
        assert committed(store) == 5
