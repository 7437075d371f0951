"""Fees that run away, mempools with rules, transactions that vanish, a gas key used by others."""

from __future__ import annotations

from pathlib import Path

import pytest

from channels.dispute import AlertCode, Level
from tests.chain.world import HOUR
from tests.faults.lies import LeastTip, ReplacementRule, crowded_out
from tests.faults.world import GWEI, Ground, Post, some_of
from tests.soak.proxy import Fault

pytestmark = pytest.mark.anvil


async def signed(ground: Ground, post: Post) -> None:
    """Wait until a transaction of the tower is in the mempool."""

    async def waits() -> bool:
        account = post.account.address
        pending = await ground.world.rpc.nonce(account, "pending")
        return pending > await ground.world.rpc.nonce(account)

    await ground.until(waits)


async def test_base_fee_rises_for_forty_blocks(ground: Ground, tmp_path: Path) -> None:
    """By an eighth each, and every block is full of others that pay more.

    A fee fixed at first send, as all other towers but Vector's have it, is not enough.
    """
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        fee = GWEI
        for proxy in post.proxies:
            await proxy.begin(Fault.LIE, lie=crowded_out)
        async with ground.by_hand():
            await ground.post(ground.stale(channel, 3))
            for _ in range(40):
                fee = fee * 9 // 8
                await ground.base_fee(fee)
                await ground.mine()
                await post.stand.caught_up()
            for proxy in post.proxies:
                proxy.end()

            async def recorded() -> bool:
                await post.stand.caught_up()
                await ground.base_fee(fee)
                await ground.mine()
                return (await ground.view(channel)).nonce == 40

            await ground.until(recorded)
        assert fee > 100 * GWEI
        assert await ground.sent_by(post.account) == 1
        await ground.judge()


async def test_mempool_minimum(ground: Ground, tmp_path: Path) -> None:
    rules = [LeastTip(tip=5 * GWEI) for _ in range(2)]
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        for proxy, rule in zip(post.proxies, rules, strict=True):
            await proxy.begin(Fault.LIE, lie=rule)
        await ground.file(channel)
        await ground.until_recorded(channel, mining=True)
        assert all(rule.refused for rule in rules)
        await ground.judge()


async def test_underpriced_replacement(ground: Ground, tmp_path: Path) -> None:
    """Nodes that want half as much again for a replacement, and fees that make one necessary."""
    rules = [ReplacementRule(percent=50) for _ in range(2)]
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        for proxy, rule in zip(post.proxies, rules, strict=True):
            await proxy.begin(Fault.LIE, lie=rule)
        async with ground.by_hand():
            await ground.post(ground.stale(channel, 3))
            await ground.mine()
            await signed(ground, post)

            async def refused() -> bool:
                for _ in range(30):
                    await ground.rpc("anvil_dropAllTransactions")
                    await ground.base_fee(15 * GWEI)
                    await ground.mine()
                    await post.stand.caught_up()
                return any(rule.refused for rule in rules)

            await ground.until(refused)
        await ground.until_recorded(channel, mining=True)
        assert all(len(rule.bids) == 1 for rule in rules)
        await ground.judge()


async def test_evicted(ground: Ground, tmp_path: Path) -> None:
    """Dropped from the mempool after it was taken, five times."""
    # Through one endpoint: by another one it could come back after it was dropped.
    async with ground.tower(tmp_path / "a", endpoints=1) as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        async with ground.by_hand():
            await ground.post(ground.stale(channel, 3))
            for _ in range(5):
                await ground.mine()
                await signed(ground, post)
                await ground.rpc("anvil_dropAllTransactions")
        await ground.until_recorded(channel, mining=True)
        assert await ground.sent_by(post.account) == 1
        await ground.judge()


async def test_budget_exhausted(ground: Ground, tmp_path: Path) -> None:
    """Too small for the fees of the day: somebody is told, and nothing is dropped."""
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel, budget=10 * GWEI * 100_000)
        async with ground.by_hand():
            await ground.base_fee(40 * GWEI)
            await ground.mine()
            await ground.base_fee(40 * GWEI)
            await ground.post(ground.stale(channel, 3))
            await ground.mine()
            for _ in range(8):
                await ground.base_fee(40 * GWEI)
                await ground.mine()
                await post.stand.caught_up()

            async def told() -> bool:
                return any(
                    each.code is AlertCode.BUDGET_EXHAUSTED and each.level is Level.CRITICAL
                    for each in post.stand.alerts
                )

            await ground.until(told)
            assert (await ground.view(channel)).nonce == 3
            assert post.stand.book.keys(channel.id)
        await ground.base_fee(GWEI)
        await ground.until_recorded(channel, mining=True)
        await ground.judge()


@pytest.mark.parametrize("budget", some_of(0, besides=[1, 99_999]))
async def test_a_budget_of_next_to_nothing_is_no_licence(
    ground: Ground, tmp_path: Path, budget: int
) -> None:
    """Whatever a tower makes of it, it does not spend more than the customer said."""
    async with ground.tower(tmp_path / "a") as post:
        channel, other = await ground.channel(), await ground.channel()
        await ground.hand_over(post, other)
        await ground.hand_over(post, channel, budget=budget)
        ground.receipted.pop(channel.id)
        before = await ground.world.rpc.balance(post.account.address)
        await ground.file(channel)
        for _ in range(6):
            await ground.mine()
            await post.stand.caught_up()
        assert before - await ground.world.rpc.balance(post.account.address) <= budget
        await ground.file(other)
        await ground.until_recorded(other, mining=True)
        await ground.judge()


async def test_foreign_use_of_the_gas_key(ground: Ground, tmp_path: Path) -> None:
    """Another process takes the nonce of the response, at a higher price."""
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        async with ground.by_hand():
            await ground.post(ground.stale(channel, 3))
            await ground.mine()
            await signed(ground, post)
            await ground.rpc("anvil_dropAllTransactions")
            await ground.pay_self(post.account, nonce=0)
            await ground.mine()
            assert await ground.sent_by(post.account) == 1
        await ground.until_recorded(channel, mining=True)
        await ground.judge()


async def test_nonce_gap(ground: Ground, tmp_path: Path) -> None:
    """The nonce below ours was another's, and a reorganisation takes it away for good."""
    async with ground.tower(tmp_path / "a", finality=9) as post:
        channel, later = await ground.channel(), await ground.channel()
        for each in (channel, later):
            await ground.hand_over(post, each)
        async with ground.by_hand():
            await ground.pay_self(post.account, nonce=0)
            await ground.mine()
            filing = await ground.post(ground.stale(channel, 3))
            await ground.mine()
            await signed(ground, post)
            await ground.rpc("anvil_dropAllTransactions")
            async with post.held():
                await ground.control.reorg(2, keep=False)
                assert await ground.sent_by(post.account) == 0
            await ground.world.rpc.send(filing)
            await ground.mine()
            await post.stand.caught_up()
        await ground.until_recorded(channel, mining=True)
        await ground.file(later, 5)
        await ground.until_recorded(later, mining=True)
        await ground.judge()


async def test_stuck_head_of_line_with_an_urgent_job_behind(ground: Ground, tmp_path: Path) -> None:
    """The first cannot pay for what fees have become; the second can, and has less time."""
    async with ground.tower(tmp_path / "a") as post:
        poor = await ground.channel(dispute_window=12 * HOUR)
        urgent = await ground.channel(dispute_window=2 * HOUR)
        await ground.hand_over(post, poor, budget=3 * GWEI * 100_000)
        await ground.hand_over(post, urgent)
        async with ground.by_hand():
            await ground.base_fee(GWEI)
            await ground.post(ground.stale(poor, 3))
            await ground.mine()
            await signed(ground, post)
            for proxy in post.proxies:
                await proxy.begin(Fault.LIE, lie=crowded_out)
            await ground.rpc("anvil_dropAllTransactions")
            await ground.base_fee(30 * GWEI)
            await ground.mine()
            for proxy in post.proxies:
                proxy.end()
            await ground.base_fee(30 * GWEI)
            await ground.post(ground.stale(urgent, 3))
            await ground.mine()

            async def recorded() -> bool:
                await post.stand.caught_up()
                await ground.base_fee(30 * GWEI)
                await ground.mine()
                return (await ground.view(urgent)).nonce == 40

            await ground.until(recorded)
            assert (await ground.view(poor)).nonce == 3
        await ground.base_fee(GWEI)
        await ground.until_recorded(poor, mining=True)
        await ground.judge()


async def test_a_gas_account_without_ether_is_told_of_and_goes_on_when_funded(
    ground: Ground, tmp_path: Path
) -> None:
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        await ground.rpc("anvil_setBalance", "0x" + post.account.address.hex(), "0x1")
        await ground.file(channel)

        async def told() -> bool:
            return bool(post.codes & {"BUDGET_EXHAUSTED", "DUTY_DELAYED"})

        await ground.until(told, mining=True)
        await ground.rpc("anvil_setBalance", "0x" + post.account.address.hex(), hex(10**18))
        await ground.until_recorded(channel, mining=True)
        await ground.judge()
