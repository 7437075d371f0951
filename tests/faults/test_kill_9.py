"""kill -9 at every commit, signature and broadcast of a tower; what it gave receipts for, holds.

The long form, under OPTION_CHANNELS_FUZZ, runs 1,000 kill points.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import attrs
import pytest

from tests.faults.lives import DEEPEST_REORG, Lives, Offer, open_lives
from tests.faults.world import LONG, Ground
from tests.tower.world import Channel

pytestmark = pytest.mark.anvil

KILLS = 1_000 if LONG else 8
STRIDE = 1 if LONG else 8
BUDGET = 10**15
A_STORY = 8
"""Kills in the life of one set of channels."""
FARTHEST = 40
"""No life is planned to pass more points."""
A_WHILE = 10
"""Blocks for which a life goes on when nothing is left to do."""


def offer(channel: Channel, nonce: int) -> Offer:
    return Offer(channel, nonce, channel.offer(channel.state(nonce), sequence=nonce, budget=BUDGET))


async def until_defended(ground: Ground, lives: Lives, channel: Channel) -> None:
    """Mine until a filed channel stands at its receipt, or the tower has died."""
    nonce = ground.receipted[channel.id]

    async def done() -> bool:
        return not lives.alive or (await ground.view(channel)).nonce >= nonce

    await ground.until(done, mining=True, pause=0.3)


async def until_handed_over(lives: Lives) -> None:
    await lives.until(lambda: not lives.alive or lives.ready)
    assert not lives.refusals


async def defend_once(ground: Ground, lives: Lives, *, deadly: int) -> None:
    """A channel handed over, disputed and defended, by a tower that dies once."""
    channel = await ground.channel()
    await lives.begin([offer(channel, 40)], deadly=deadly, told=True)
    await until_handed_over(lives)
    if channel.id not in ground.receipted:  # without a receipt, the customer asks again
        await lives.until(lambda: not lives.alive)
        await lives.begin([offer(channel, 40)])
        await until_handed_over(lives)
    await ground.file(channel)
    await until_defended(ground, lives, channel)
    if not lives.alive:
        await ground.mine(3)
        await lives.begin()
        await until_defended(ground, lives, channel)
    assert (await ground.view(channel)).nonce == 40


async def test_every_point_of_one_defence(ground: Ground, tmp_path: Path) -> None:
    async with open_lives(ground, tmp_path / "tower") as lives:
        await defend_once(ground, lives, deadly=0)
        labels = lives.points
        await lives.end()
        for what in ("a commit", "a broadcast", "Receipt is signed", "transaction is signed"):
            assert any(what in each for each in labels), labels
        for number in range(1, len(labels) + 1, STRIDE):
            await defend_once(ground, lives, deadly=number)
            await lives.end()
        await ground.judge()


@attrs.define
class Story:
    """Channels that are handed over, renewed and disputed while their tower is killed."""

    ground: Ground
    lives: Lives
    rng: Random
    offers: dict[bytes, Offer] = attrs.Factory(dict)
    filed: set[bytes] = attrs.Factory(set)

    async def begin(self) -> None:
        for _ in range(self.rng.randint(1, 3)):
            channel = await self.ground.channel()
            self.offers[channel.id] = offer(channel, 40)

    async def live(self, *, deadly: int) -> None:
        """One life, to its end or to where nothing is left to do."""
        await self._renew()
        await self.lives.begin(self._without_receipt(), deadly=deadly)
        if self.rng.random() < 0.3:
            await self._file()
        await until_handed_over(self.lives)
        await self._file()
        for channel_id in self.filed & self.ground.receipted.keys():
            await until_defended(self.ground, self.lives, self.ground.channels[channel_id])
        last = await self.ground.height() + A_WHILE

        async def over() -> bool:
            return not self.lives.alive or await self.ground.height() >= last

        if deadly:
            await self.ground.until(over, mining=True)
        await self.lives.end()
        if self.rng.random() < 0.2:
            await self.ground.control.reorg(self.rng.randint(1, DEEPEST_REORG), keep=True)

    async def end(self) -> None:
        """All that has a receipt is disputed, and a tower that does not die defends it."""
        for _ in range(2):
            await self.live(deadly=0)
        for channel_id, each in self.offers.items():
            if channel_id in self.ground.receipted and channel_id not in self.filed:
                await self.ground.file(each.channel)
                self.filed.add(channel_id)
        await self.live(deadly=0)

    def _without_receipt(self) -> list[Offer]:
        receipted = self.ground.receipted
        return [
            each
            for each in self.offers.values()
            if each.channel.id not in self.filed and receipted.get(each.channel.id) != each.nonce
        ]

    async def _renew(self) -> None:
        for channel_id, each in self.offers.items():
            if channel_id not in self.filed and self.rng.random() < 0.3:
                self.offers[channel_id] = offer(each.channel, each.nonce + 1)

    async def _file(self) -> None:
        for channel_id, each in self.offers.items():
            if channel_id not in self.filed and self.rng.random() < 0.3:
                self.filed.add(channel_id)
                await self.ground.file(each.channel, self.rng.randint(1, 30))


async def test_seeded_kill_points(ground: Ground, tmp_path: Path) -> None:
    kills = seed = 0
    while kills < KILLS:
        seed += 1
        async with open_lives(ground, tmp_path / str(seed), finality=5) as lives:
            story = Story(ground, lives, Random(seed))
            await story.begin()
            for _ in range(A_STORY):
                await story.live(deadly=story.rng.randint(1, FARTHEST))
            kills += lives.deaths
            await story.end()
            await ground.judge()
        ground.forget()
        print(f"{kills} kill points, {seed} stories")
    assert kills >= KILLS
