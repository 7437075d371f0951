"""A store restored from a backup signs nothing, and stays that way over restarts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trio

from channels.errors import IllegalCommandError
from channels.protocol.channel import Phase
from tests.chain.world import World
from tests.peer.world import PATIENCE, Desk, put, trade, traders, trading


async def test_a_restored_backup_signs_nothing(world: World, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice)
        await pair.settled()
        await pair.alice.store.backup(copy)
        await trade(pair.alice)
        await pair.settled()
    a, _ = traders(world, tmp_path)
    _restore(copy, a.store_path)
    for start in ("the first start", "a later one"):
        async with a.running() as alice:
            channel = alice.channel
            assert channel.phase is Phase.RECOVERING, start
            with pytest.raises(IllegalCommandError):
                await channel.request_quote([put(alice)])
            with pytest.raises(IllegalCommandError):
                await channel.remark()


def _restore(copy: Path, path: Path) -> None:
    for left_over in path.parent.glob(f"{path.name}*"):
        left_over.unlink()
    shutil.copy(copy, path)


async def test_the_monitor_is_handed_every_change(world: World, tmp_path: Path) -> None:
    """What stood before it came, and what is traded after."""
    async with trading(world, tmp_path) as opened:
        await trade(opened.alice)
        await opened.settled()
    a, b = traders(world, tmp_path)
    async with b.running(), a.running(monitored=True) as alice:
        await alice.peer.connect(str(b.listen))
        await alice.channel.wait_idle(PATIENCE)
        await _holds_the_newest(alice)
        await trade(alice)
        await _holds_the_newest(alice)


async def _holds_the_newest(desk: Desk) -> None:
    monitor = desk.monitor
    assert monitor is not None
    newest = desk.channel.state.ledger.nonce
    assert newest > 0
    with trio.fail_after(PATIENCE):
        while True:
            held = monitor.watched(desk.channel.channel_id)
            if held is not None and held.newest_nonce >= newest:
                return
            await trio.lowlevel.checkpoint()
