from __future__ import annotations

from pathlib import Path

from tests.chain.world import World
from tests.peer.world import trade, trading


async def test_quote_trade(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        done = await trade(pair.alice)
        ours, theirs = await pair.settled()
        assert ours.portfolio.net_to_b == done.premium
