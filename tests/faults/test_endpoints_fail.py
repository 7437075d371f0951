"""Endpoints that are down, slow, overloaded, or break off in the midst of an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.lies import chokes_on
from tests.faults.world import PATIENCE, WINDOW, Ground, some_of
from tests.soak.proxy import Fault

pytestmark = pytest.mark.anvil


@pytest.mark.parametrize("seconds", some_of(1, WINDOW // 2, besides=[60, 600]))
@pytest.mark.parametrize("which", ["one", "all"])
async def test_down(ground: Ground, tmp_path: Path, which: str, seconds: int) -> None:
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        down = post.proxies[: 1 if which == "one" else None]
        for proxy in down:
            await proxy.begin(Fault.DROP)
        await ground.file(channel)
        await ground.control.advance_time(by=seconds)
        if which == "one":
            await ground.until_recorded(channel)
        else:
            assert (await ground.view(channel)).nonce == 3
        for proxy in down:
            proxy.end()
        await ground.until_recorded(channel)
        await ground.judge()


@pytest.mark.parametrize(
    ("fault", "share"),
    [(Fault.RESET, 0.5), (Fault.TOO_MANY, 0.5), (Fault.DROP, 0.5), (Fault.LOST, 0.2)],
)
async def test_many_requests_fail(
    ground: Ground, tmp_path: Path, fault: Fault, share: float
) -> None:
    """On every endpoint: resets in the midst of answers, 429, hangs."""
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        post.hurry()
        for proxy in post.proxies:
            await proxy.begin(fault, share=share)

        async def all_have_struck() -> bool:
            return all(proxy.met[fault] for proxy in post.proxies)

        await ground.until(all_have_struck)
        await ground.file(channel)
        # How many requests must fail is chance, and whoever fails is asked less and less.
        await ground.until_recorded(channel, mining=True, pause=0.3, patience=5 * PATIENCE)
        await ground.judge()


@pytest.mark.parametrize("mined", [True, False], ids=["mined", "waits"])
async def test_accepted_and_never_answered(ground: Ground, tmp_path: Path, mined: bool) -> None:
    """A time-out after acceptance: the tower must not pay twice for not having heard of it."""
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        post.hurry()
        for proxy in post.proxies:
            await proxy.begin(Fault.LOST, methods=["eth_sendRawTransaction"])
        await ground.control.set_auto_mine(mined)
        await ground.post(ground.stale(channel, 3))
        await ground.mine()

        async def taken() -> bool:
            return await ground.world.rpc.nonce(post.account.address, "pending") > 0

        await ground.until(taken)
        assert any(proxy.met[Fault.LOST] for proxy in post.proxies)
        await ground.control.set_auto_mine(True)
        await ground.until_recorded(channel, mining=True)
        for proxy in post.proxies:
            proxy.end()
        await ground.mine(3)
        await post.stand.caught_up()
        assert await ground.sent_by(post.account) == 1
        await ground.judge()


async def test_a_request_that_fails_for_one_channel_holds_up_no_other(
    ground: Ground, tmp_path: Path
) -> None:
    async with ground.tower(tmp_path / "a") as post:
        first, second = await ground.channel(), await ground.channel()
        for channel in (first, second):
            await ground.hand_over(post, channel)
        poison = first.state(40).signature_a.compact[:32]
        for proxy in post.proxies:
            await proxy.begin(Fault.LIE, lie=chokes_on(poison, "eth_estimateGas", "eth_call"))
        await ground.file(first)
        await ground.mine()
        await ground.file(second)
        await ground.until_recorded(second, mining=True)
        assert (await ground.view(first)).nonce == 3
        for proxy in post.proxies:
            proxy.end()
        await ground.until_recorded(first, mining=True)
        await ground.judge()
