"""Write-ahead logs torn by a crash, a full disk, old backups, and clocks that are wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.lives import Lives, Offer, open_lives
from tests.faults.world import Ground, some_of
from tests.tower.world import Channel

pytestmark = pytest.mark.anvil

BUDGET = 10**16


def offer(channel: Channel, nonce: int = 40) -> Offer:
    return Offer(channel, nonce, channel.offer(channel.state(nonce), sequence=nonce, budget=BUDGET))


async def handed_over(ground: Ground, lives: Lives, *offers: Offer, **more: object) -> None:
    """A life that has given receipts for all of these."""
    await lives.begin(offers, **more)
    await lives.until(lambda: lives.ready)
    assert all(ground.receipted[each.channel.id] >= each.nonce for each in offers)


def garbage(log: Path) -> None:
    """The beginning of a commit that the crash came into."""
    whole = log.read_bytes()
    frame = whole[32 : 32 + 24 + 4096]
    log.write_bytes(whole + bytes(each ^ 0x5A for each in frame) + frame[:1000])


def half(log: Path) -> None:
    """A disk that had not kept what it said it had."""
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2 + 13])


def nothing(log: Path) -> None:
    log.unlink()


@pytest.mark.parametrize(
    ("name", "tear"),
    some_of(("book", garbage), ("jobs", half), besides=[("jobs", garbage), ("jobs", nothing)]),
)
async def test_torn_log(
    ground: Ground, tmp_path: Path, name: str, tear: Callable[[Path], None]
) -> None:
    """Of the book no commit can be lost that a receipt stood on; of the jobs any may."""
    async with open_lives(ground, tmp_path / "a") as lives:
        channel, other = await ground.channel(), await ground.channel()
        await handed_over(ground, lives, offer(channel), offer(other))
        async with ground.by_hand():
            await ground.post(ground.stale(channel, 3))
            await ground.mine()

            async def sent() -> bool:
                return bool((await ground.rpc("txpool_status"))["pending"] != "0x0")

            await ground.until(sent)
            await lives.end()
            await ground.rpc("anvil_dropAllTransactions")
            tear(tmp_path / "a" / f"{name}.db-wal")
            await ground.post(ground.stale(other, 5))
            await ground.mine()
        await lives.begin()
        for each in (channel, other):
            await ground.until_recorded(each, mining=True)
        await ground.judge()


async def test_full_disk(ground: Ground, tmp_path: Path) -> None:
    """No file takes another byte after the receipt; with the disk still full it is started anew."""
    async with open_lives(ground, tmp_path / "a") as lives:
        channel, other, third = [await ground.channel() for _ in range(3)]
        await handed_over(ground, lives, offer(channel), offer(other), offer(third), full_disk=True)
        await ground.file(channel)
        await ground.until_recorded(channel, mining=True)
        await ground.file(other, 7)
        await ground.until_recorded(other, mining=True)
        await lives.end()
        await ground.file(third)
        await lives.begin()
        await ground.until_recorded(third, mining=True)
        await ground.judge()


async def test_old_backup_of_everything(ground: Ground, tmp_path: Path) -> None:
    """The receipts given since are worth nothing; whoever hands its state over again is safe."""
    old = tmp_path / "old"
    async with open_lives(ground, tmp_path / "a") as lives:
        kept, renewed, lost = [await ground.channel() for _ in range(3)]
        await handed_over(ground, lives, offer(kept), offer(renewed))
        await lives.end()
        shutil.copytree(tmp_path / "a", old)
        await handed_over(ground, lives, offer(renewed, 41), offer(lost))
        await ground.file(kept)
        await ground.until_recorded(kept, mining=True)
        await lives.end()
        await ground.file(renewed, 5)
        shutil.rmtree(tmp_path / "a")
        shutil.copytree(old, tmp_path / "a")
        await handed_over(ground, lives, offer(renewed, 41), offer(lost))
        await ground.until_recorded(renewed, 41, mining=True)
        await ground.file(lost)
        await ground.until_recorded(lost, mining=True)
        await ground.judge()


def move_jobs(origin: Path, place: Path, *, keep: bool = False) -> None:
    """Put a database of jobs, log and all, in place of another."""
    for each in place.glob("jobs.db*"):
        each.unlink()
    for each in origin.glob("jobs.db*"):
        shutil.copy(each, place / each.name)
        if not keep:
            each.unlink()


async def test_old_backup_of_the_jobs(ground: Ground, tmp_path: Path) -> None:
    """Transactions that it believes are still to be mined, under nonces long used up."""
    async with open_lives(ground, tmp_path / "a") as lives:
        channel, other, later = [await ground.channel() for _ in range(3)]
        await handed_over(ground, lives, offer(channel), offer(other), offer(later))
        async with ground.by_hand():
            await ground.post(ground.stale(channel, 3))
            await ground.mine()

            async def sent() -> bool:
                return bool((await ground.rpc("txpool_status"))["pending"] != "0x0")

            await ground.until(sent)
            await lives.end()
            move_jobs(tmp_path / "a", tmp_path, keep=True)
        await lives.begin()
        await ground.until_recorded(channel, mining=True)
        await ground.file(other)
        await ground.until_recorded(other, mining=True)
        await lives.end()
        move_jobs(tmp_path, tmp_path / "a")
        await ground.mine(3)
        await lives.begin()
        await ground.file(later)
        await ground.until_recorded(later, mining=True)
        await ground.judge()


@pytest.mark.parametrize("clock", some_of("fast", "jumping", "frozen", besides=["slow", "at zero"]))
async def test_clock(ground: Ground, tmp_path: Path, clock: str) -> None:
    async with open_lives(ground, tmp_path / "a", clock=clock) as lives:
        channel = await ground.channel()
        await handed_over(ground, lives, offer(channel))
        await ground.file(channel)
        await ground.until_recorded(channel)
        await ground.judge()


async def test_a_chain_that_is_hours_ahead_of_our_clock(ground: Ground, tmp_path: Path) -> None:
    """Deadlines are the chain's: a window that closed in a jump of its time is not missed."""
    async with open_lives(ground, tmp_path / "a") as lives:
        await ground.control.advance_time(by=30 * 3_600)
        channel = await ground.channel()
        await handed_over(ground, lives, offer(channel))
        await ground.file(channel)
        await ground.until_recorded(channel)
        await ground.judge()
