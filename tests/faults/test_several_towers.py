"""Towers of one customer that race, and that take turns."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import pytest

from tests.faults.world import POLICY, Ground, Post, some_of
from tests.soak.proxy import Fault

pytestmark = pytest.mark.anvil

STAGGER = 600


async def payers(ground: Ground, posts: list[Post]) -> int:
    return sum([await ground.sent_by(each.account) for each in posts])


@pytest.mark.parametrize("towers", some_of(2, 5, besides=[3, 4]))
async def test_a_race(ground: Ground, tmp_path: Path, towers: int) -> None:
    """All at once: one wins, the others lose a cheap no-op at most, and all go on."""
    async with AsyncExitStack() as stack:
        posts = [
            await stack.enter_async_context(ground.tower(tmp_path / str(rank), endpoints=1))
            for rank in range(towers)
        ]
        first, second = await ground.channel(), await ground.channel()
        for post in posts:
            for channel in (first, second):
                await ground.hand_over(post, channel)
        async with ground.by_hand():
            await ground.post(ground.stale(first, 3))
            await ground.mine()

            async def all_sent() -> bool:
                pending = [
                    await ground.world.rpc.nonce(each.account.address, "pending") for each in posts
                ]
                return all(pending)

            await ground.until(all_sent)
            await ground.mine()
        view = await ground.view(first)
        assert (view.nonce, view.filed_nonce) == (40, 3)
        assert await payers(ground, posts) == towers
        await ground.file(second)
        await ground.until_recorded(second, mining=True)
        await ground.judge()


@pytest.mark.parametrize("down", some_of(0, 2, besides=[1]))
async def test_turns(ground: Ground, tmp_path: Path, down: int) -> None:
    """One pays: the first of those that are not down."""
    async with AsyncExitStack() as stack:
        posts = [
            await stack.enter_async_context(
                ground.tower(
                    tmp_path / str(rank),
                    endpoints=1,
                    policy=attrs.evolve(POLICY, rank=rank, stagger=STAGGER),
                )
            )
            for rank in range(3)
        ]
        channel = await ground.channel()
        for post in posts:
            await ground.hand_over(post, channel)
        for post in posts[:down]:
            await post.proxies[0].begin(Fault.DROP)
        await ground.file(channel)
        for _ in range(down):
            assert (await ground.view(channel)).nonce == 3
            await ground.control.advance_time(by=STAGGER + 1)
        await ground.until_recorded(channel)
        await ground.control.advance_time(by=3 * STAGGER)
        for post in posts[down:]:
            await post.stand.caught_up()
        sent = [await ground.sent_by(each.account) for each in posts]
        assert sent == [int(rank == down) for rank in range(3)]
        await ground.judge()
