"""The search for Chainlink rounds: right by hand, and ended in spite of interruptions."""

from __future__ import annotations

from typing import Any, cast

import trio

from channels.chain.oracles import SettlementRounds, record_settlement
from channels.chain.rpc import Provider
from channels.prices import ChainlinkSource
from tests.chain.test_oracles import ORACLE, WINDOW, FakeFeed, Written
from tests.chain.world import FEED, HOUR

BEGIN = 10**9 // HOUR * HOUR


class Slow(FakeFeed):
    """Stops answering after so many reads, until it is given more."""

    provider = cast(Provider, None)

    def __init__(self, phases: list[Written]) -> None:
        super().__init__(phases, [], reverts=True)
        self.left = 10**9

    async def call(self, *arguments: Any, **options: Any) -> bytes:
        if not self.left:
            await trio.sleep_forever()
        self.left -= 1
        return await super().call(*arguments, **options)


def feed_of(count: int) -> Slow:
    """A round every five minutes."""
    times = {number: BEGIN + 300 * number for number in range(1, count + 1)}
    return Slow([Written({number: (at, at) for number, at in times.items()})])


async def test_the_call_names_the_round_that_was_live() -> None:
    time = BEGIN + 100 * HOUR
    source = ChainlinkSource(feed_of(5_000))
    number = (time - WINDOW - BEGIN) // 300
    expected = record_settlement(ORACLE, FEED, time, SettlementRounds(first=1 << 64 | number))
    assert await source.settlement(ORACLE, FEED, time) == expected
    assert await source.spot(ORACLE, FEED, time) is None


async def test_none_if_no_round_proves_a_price() -> None:
    source = ChainlinkSource(feed_of(10))
    assert await source.settlement(ORACLE, FEED, BEGIN + 100 * HOUR) is None


async def test_a_search_cut_short_goes_on_where_it_was() -> None:
    time = BEGIN + 100 * HOUR
    whole = feed_of(5_000)
    intent = await ChainlinkSource(whole).settlement(ORACLE, FEED, time)
    assert whole.reads > 20

    feed = feed_of(5_000)
    source, found = ChainlinkSource(feed), None
    for _ in range(whole.reads):
        feed.left = 12
        with trio.move_on_after(0):
            found = await source.settlement(ORACLE, FEED, time)
            break
    assert found == intent
    assert feed.reads < 3 * whole.reads
