"""Endpoints that lie, lag, or tell of another chain; unless said otherwise the one that leads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from channels.chain import AnvilControl, open_provider
from tests.conftest import start_anvil, stop
from tests.faults.lies import (
    ForgedHead,
    Lagging,
    both,
    crowded_out,
    false_receipts,
    omits_logs,
    other_nonce,
)
from tests.faults.world import Ground, some_of
from tests.soak.proxy import Fault, FaultProxy

pytestmark = pytest.mark.anvil


@pytest.mark.parametrize("liars", [1, 2], ids=["one", "all"])
async def test_omitted_logs(ground: Ground, tmp_path: Path, liars: int) -> None:
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        for proxy in [post.leader] if liars == 1 else post.proxies:
            await proxy.begin(Fault.LIE, lie=omits_logs)
        await ground.file(channel)
        await ground.until_recorded(channel)
        assert ("DISPUTES_MISSED" in post.codes) is (liars == 2)
        await ground.judge()


@pytest.mark.parametrize("liars", [1, 2], ids=["one", "all"])
async def test_omitted_logs_of_the_time_it_was_away(
    ground: Ground, tmp_path: Path, liars: int
) -> None:
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
    await ground.file(channel)
    await ground.mine(10)

    async def lying(proxies: tuple[FaultProxy, ...]) -> None:
        for proxy in proxies[:liars]:
            await proxy.begin(Fault.LIE, lie=omits_logs)

    async with ground.tower(tmp_path / "a", before=lying) as post:
        await ground.until_recorded(channel)
        await ground.judge()


async def test_forged_head(ground: Ground, tmp_path: Path) -> None:
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        await post.leader.begin(Fault.LIE, lie=ForgedHead())
        await ground.file(channel)
        await ground.until_recorded(channel, mining=True)
        await ground.judge()


async def test_forged_head_of_one_of_three(ground: Ground, tmp_path: Path) -> None:
    async with ground.tower(tmp_path / "a", endpoints=3) as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        await post.leader.begin(Fault.LIE, lie=ForgedHead())
        await ground.file(channel)
        await ground.until_recorded(channel, mining=True)
        await ground.judge()


async def test_stale_latest(ground: Ground, tmp_path: Path) -> None:
    """The leader stands still at the block before the filing."""
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        await post.leader.begin(Fault.STALE)
        await ground.file(channel)
        await ground.until_recorded(channel, mining=True)
        await ground.judge()


@pytest.mark.parametrize("shift", some_of(5, -1, besides=[1]))
async def test_wrong_nonce(ground: Ground, tmp_path: Path, shift: int) -> None:
    async with ground.tower(tmp_path / "a") as post:
        earlier, channel = await ground.channel(), await ground.channel()
        for each in (earlier, channel):
            await ground.hand_over(post, each)
        await ground.file(earlier)
        await ground.until_recorded(earlier)
        await post.leader.begin(Fault.LIE, lie=other_nonce(shift))
        await ground.file(channel)
        await ground.until_recorded(channel, mining=True)
        await ground.judge()


async def test_false_receipt(ground: Ground, tmp_path: Path) -> None:
    """What nobody has mined is said to be mined, its nonce used up, and all of it final."""
    lie = both(false_receipts, other_nonce(1))
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        liar = post.leader
        for proxy in post.proxies:
            waits = both(lie, crowded_out) if proxy is liar else crowded_out
            await proxy.begin(Fault.LIE, lie=waits)
        await ground.file(channel)
        for _ in range(20):
            await ground.mine()
            await post.stand.caught_up()
        assert (await ground.view(channel)).nonce == 3
        for proxy in post.proxies:
            proxy.end()
        await liar.begin(Fault.LIE, lie=lie)
        await ground.until_recorded(channel, mining=True)
        await ground.judge()


async def test_lagging(ground: Ground, tmp_path: Path) -> None:
    """A leader that is always two blocks behind."""
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        await post.leader.begin(Fault.LIE, lie=Lagging(2))
        await ground.file(channel)
        await ground.until_recorded(channel, mining=True)
        await ground.judge()


@asynccontextmanager
async def another_chain(ground: Ground) -> AsyncIterator[str]:
    """A node that shares this one's past, is far ahead of it, and goes on by itself."""
    options = ("--fork-url", ground.url, "--chain-id", "31340", "--block-time", "1")
    process, url = await trio.to_thread.run_sync(start_anvil, *options)
    async with open_provider(url) as provider:
        await AnvilControl(provider).mine(20)
    try:
        yield url
    finally:
        await trio.to_thread.run_sync(stop, process)


@pytest.mark.parametrize("honest", [2, 1], ids=["of three", "of two"])
async def test_forked(ground: Ground, tmp_path: Path, honest: int) -> None:
    """The leader goes over to another chain, on which nobody ever files."""
    async with ground.tower(tmp_path / "a", endpoints=1 + honest) as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        async with another_chain(ground) as url:
            post.leader.turn_to(url)
            await ground.file(channel)
            await ground.until_recorded(channel, mining=True, pause=0.3)
        await ground.judge()
