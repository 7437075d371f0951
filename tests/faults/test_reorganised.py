"""Blocks that are replaced, one to sixty-four at once, under a tower that acts without waiting."""

from __future__ import annotations

from pathlib import Path

import pytest

from channels.chain.bindings import encode_call
from channels.chain.jobs import Intent
from channels.chain.sending import send_now
from channels.protocol.calls import DisputeFor
from channels.protocol.eip712 import Address
from channels.protocol.facts import OnChainPhase
from channels.protocol.terms import DisputeAuthorisation
from tests.faults.assembly import calls
from tests.faults.world import Ground
from tests.tower.world import Channel

pytestmark = pytest.mark.anvil

DEPTHS = [1, 2, 7, 64]
FINALITY = 80


async def test_depths_that_drop_the_response(ground: Ground, tmp_path: Path) -> None:
    async with ground.tower(tmp_path / "a", finality=FINALITY) as post:
        for depth in DEPTHS:
            channel = await ground.channel()
            await ground.hand_over(post, channel)
            await ground.file(channel)
            await ground.until_recorded(channel)
            await ground.mine(depth - 1)
            await post.stand.caught_up()
            async with post.held():
                await ground.control.reorg(depth, keep=False)
                assert (await ground.view(channel)).nonce == 3
            await ground.until_recorded(channel, mining=True)
        await ground.judge()


@pytest.mark.parametrize("depth", DEPTHS)
async def test_drops_the_dispute(ground: Ground, tmp_path: Path, depth: int) -> None:
    """With the response where that is as young; then it returns, on another nonce."""
    async with ground.tower(tmp_path / "a", finality=depth + 9) as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        async with ground.by_hand():
            await ground.post(ground.stale(channel, 3))
            await ground.mine(depth)
            await post.stand.caught_up()
            async with post.held():
                await ground.control.reorg(depth, keep=False)
                assert (await ground.view(channel)).phase is OnChainPhase.OPEN
            await post.stand.caught_up()
            await ground.post(ground.stale(channel, 7))
        await ground.mine()
        await ground.until_recorded(channel, mining=True)
        assert (await ground.view(channel)).filed_nonce in (7, 40)
        await ground.judge()


@pytest.mark.parametrize("depth", [2, 7])
async def test_reorders(ground: Ground, tmp_path: Path, depth: int) -> None:
    """The response comes first, and then what it responds to."""
    async with ground.tower(tmp_path / "a", finality=depth + 9) as post:
        channel, other = await ground.channel(), await ground.channel()
        for each in (channel, other):
            await ground.hand_over(post, each)
        number = await ground.height()
        await ground.file(channel)
        await ground.until_recorded(channel)
        await ground.mine(depth - 2)
        await post.stand.caught_up()
        blocks = await ground.height() - number
        dispute, response = await ground.raw_transactions(number + 1, number + blocks)
        async with ground.by_hand(), post.held():
            await ground.control.rollback(blocks)
            for raw in (response, dispute):
                await ground.rpc("eth_sendRawTransaction", raw)
                await ground.mine()
            await ground.mine(blocks)
        # With the gas it was given it may fail where it now stands; then another one is due.
        await ground.until_recorded(channel, mining=True)
        await ground.file(other)
        await ground.until_recorded(other, mining=True)
        await ground.judge()


async def file_at_once(ground: Ground, *filed: tuple[Channel, int]) -> None:
    """File on several channels in one transaction, by contract."""
    sender = ground.world.a
    created = Address(await ground.next_contract(sender))
    data = []
    for channel, nonce in filed:
        leave = DisputeAuthorisation(
            channel_id=channel.id, delegate=created, min_nonce=nonce, valid_until=channel.now + 999
        )
        call = DisputeFor(
            terms=channel.terms,
            newest=channel.state(nonce),
            authorisation=leave,
            signature=ground.world.signer_b.sign_digest(ground.world.domain.digest(leave)),
        )
        data.append(encode_call(call).data)
    creation = calls(ground.world.domain.adjudicator, data)
    await send_now(ground.world.rpc, sender, Intent(name="file", to=None, data=creation))


async def test_two_disputes_in_one_transaction(ground: Ground, tmp_path: Path) -> None:
    async with ground.tower(tmp_path / "a", finality=9) as post:
        one, two = await ground.channel(), await ground.channel()
        for each in (one, two):
            await ground.hand_over(post, each)
        await file_at_once(ground, (one, 3), (two, 5))
        for each in (one, two):
            await ground.until_recorded(each)
        await ground.control.reorg(2, keep=False)
        for each in (one, two):
            await ground.until_recorded(each, mining=True)
        await ground.judge()


async def test_the_last_block_of_finality_is_replaced(ground: Ground, tmp_path: Path) -> None:
    """Deeper than what was final: an alarm, and all is read again."""
    async with ground.tower(tmp_path / "a", finality=3) as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        await ground.file(channel)
        await ground.until_recorded(channel)
        await ground.mine(4)
        await post.stand.caught_up()
        async with post.held():
            await ground.control.reorg(5, keep=False)
            assert (await ground.view(channel)).nonce == 3
        await ground.until_recorded(channel, mining=True)

        async def told() -> bool:
            return "CHAIN_TROUBLE" in post.codes

        await ground.until(told)
        await ground.judge()
