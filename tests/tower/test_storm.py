"""A storm of disputes in one block: one tower answers them all, in a quarter of the window."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chain.world import DAY, anvil_world
from tests.tower.storm import BLOCK_GAS, NEWEST, OLD, SLOT, break_out, storm_of

FUZZ = os.environ.get("OPTION_CHANNELS_FUZZ") == "1"


@pytest.mark.anvil
@pytest.mark.parametrize(
    "count", [60, pytest.param(1_000, marks=pytest.mark.skipif(not FUZZ, reason="make fuzz"))]
)
async def test_every_dispute_of_a_storm_is_answered(
    fresh_anvil_url: str, tmp_path: Path, count: int
) -> None:
    """The fourteenth concurrent dispute dropped: PISA's way to fail."""
    async with (
        anvil_world(fresh_anvil_url) as world,
        storm_of(world, tmp_path, count) as storm,
    ):
        before = await world.rpc.block()
        await break_out(storm)
        views = await storm.views()
        assert [(each.nonce, each.filed_nonce) for each in views] == [(NEWEST, OLD)] * count
        assert storm.stand.tower.tally.disputes_seen == count
        assert storm.blocks * SLOT <= DAY // 4
        # Everything but the filings was mined in blocks of the usual size, and in few transactions.
        assert before is not None
        tip = await world.rpc.block()
        assert tip is not None
        assert tip.gas_limit <= BLOCK_GAS
        assert storm.fillers == 0
        nonces = [await world.rpc.nonce(each) for each in storm.stand.chain.transactions.accounts]
        assert sum(nonces) < count // 2
        assert all(nonces)
