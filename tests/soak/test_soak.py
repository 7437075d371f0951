"""Two desks trade through the fall of February 2026 while everything around them fails.

Two processes on an Anvil node are killed, their endpoints fail, the chain is reorganised and its
clock jumps. At the end no unit of collateral is unaccounted for, no signing rule was broken, and
every margin call was cured or closed out. ``make soak`` plays ten minutes with twenty channels.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from channels.audit import audit
from channels.protocol.changes import Trade
from channels.protocol.effects import Deed
from channels.protocol.facts import DisputeStarted, MarginCalled
from channels.protocol.types import Party
from tests.chain.world import FUNDS
from tests.conftest import ANVIL, NO_ANVIL, start_anvil, stop
from tests.soak.accounts import check_journals, read_journals, reconcile
from tests.soak.director import HOUR, Result, soak
from tests.soak.market import DATA
from tests.soak.schedule import Plan

pytestmark = pytest.mark.anvil

LONG = os.environ.get("OPTION_CHANNELS_FUZZ") == "1"
LAST = int(datetime(2026, 2, 7, 8, tzinfo=UTC).timestamp())
SHORT_START = int(datetime(2026, 2, 5, 9, 40, tzinfo=UTC).timestamp())
LONG_START = int(datetime(2026, 2, 1, 21, 30, tzinfo=UTC).timestamp())
STATES = "5000"
"""Kept by the node, more than there are blocks: it keeps fewer and fewer once it has to drop some,
and a rollback to a block whose state is gone leaves contracts without code."""
MINUTE = Plan(
    seed=3,
    channels=6,
    duration=45,
    span=14 * HOUR,
    every_jump=2,
    every_kill=8,
    every_reorg=6,
    every_outage=5,
    every_surrender=20,
)
TEN_MINUTES = Plan(
    seed=int(os.environ.get("OPTION_CHANNELS_SEED", "20260205")),
    channels=20,
    duration=600,
    span=103 * HOUR,
    every_jump=4,
    every_kill=9,
    every_reorg=7,
    every_outage=6,
    every_surrender=90,
)


def node(start: int) -> Iterator[str]:
    """A node of our own, whose time begins an hour before the story."""
    if not ANVIL.exists():
        pytest.skip(NO_ANVIL)
    process, url = start_anvil(
        "--chain-id", "31337", "--timestamp", str(start - HOUR), "--prune-history", STATES
    )
    try:
        yield url
    finally:
        stop(process)


@pytest.fixture
def short_node() -> Iterator[str]:
    yield from node(SHORT_START)


@pytest.fixture
def long_node() -> Iterator[str]:
    yield from node(LONG_START)


def check(result: Result) -> Counter[str]:
    """All that must hold after a soak; what there was of everything."""
    journals = read_journals(result.stores.values())
    counts = result.counts + Counter(type(each).__name__ for each in result.events)
    counts["signatures"] = check_journals(result.stores, journals)
    won, _ = reconcile(journals, result.market, result.events)
    assert result.balances == (FUNDS + won[Party.A], FUNDS + won[Party.B])
    assert sum(result.balances) == 2 * FUNDS
    assert result.locked == 0
    assert result.claimable == (0, 0)
    for lines in result.logs.values():
        for each in lines:
            assert each.get("event") != "BugError", each
            assert each.get("alert") != "BUG", each
            counts[f"{each['kind']} {each.get(each['kind'], each.get('action', ''))}"] += 1
    for path in result.stores.values():
        for history in audit(path).histories:
            counts["trades"] += sum(isinstance(each.change, Trade) for each in history.settled)
            counts["margin calls off chain"] += history.deeds.get(Deed.MARGIN_CALL, 0)
    for name, count in sorted(counts.items()):
        print(f"{count:7d}  {name}")
    return counts


async def test_a_minute_of_everything(short_node: str, tmp_path: Path) -> None:
    counts = check(await soak(MINUTE, tmp_path, short_node, SHORT_START, LAST))
    assert counts["killed"] >= 3
    assert counts["Reorg"] >= 5
    assert counts["Outage"] >= 5
    assert counts["trades"] > MINUTE.channels
    assert counts[DisputeStarted.__name__] >= MINUTE.channels // 2


@pytest.mark.skipif(not LONG, reason="ten minutes: `make soak` plays them")
@pytest.mark.skipif(not DATA.exists(), reason=f"no {DATA}: the fall is in there")
async def test_ten_minutes_of_everything(long_node: str, tmp_path: Path) -> None:
    counts = check(await soak(TEN_MINUTES, tmp_path, long_node, LONG_START, LAST))
    assert counts[MarginCalled.__name__] > 0
    assert counts["trades"] > 10 * TEN_MINUTES.channels
