"""The desk of a peer: limits over all its channels, counted from the moment of signing; fills."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from channels.desk import Limits, ProtectionLimits, SensitivityLimits
from channels.errors import IllegalCommandError, LimitError, RejectedError
from channels.peer import BreakerPolicy, PeerChannel
from channels.peer.desk import DeskPolicy
from channels.peer.desk_news import LimitReached, ProtectionReset, ProtectionTripped
from channels.protocol.channel import Mode
from channels.protocol.effects import ModeChanged, ProposalCancelled
from channels.protocol.halts import Cause
from channels.protocol.types import Party
from tests.chain.world import World
from tests.peer.world import (
    FEED,
    PATIENCE,
    WAD,
    Pair,
    open_channel,
    put,
    trading,
)


@asynccontextmanager
async def two_channels(
    world: World, folder: Path, **sides: Any
) -> AsyncIterator[tuple[Pair, PeerChannel, PeerChannel]]:
    """Two channels between the same two, which are two counterparties to the limits' sums."""
    async with trading(world, folder, opened=False, **sides) as pair:
        found = []
        for _ in range(2):
            channel = await open_channel(pair.alice, pair.b)
            await pair.bob.peer.channel(channel.channel_id).wait_open(PATIENCE)
            found.append(channel)
        yield pair, found[0], found[1]


def at_most(**limits: float) -> dict[str, Any]:
    """A desk that may carry so much of each feed, all channels together."""
    return {"desk": DeskPolicy(limits=Limits(desk=SensitivityLimits(**limits)))}


async def buy(channel: PeerChannel, pair: Pair, quantity: int = 1) -> None:
    await (await channel.request_quote([put(pair.alice, quantity)])).best().accept()


async def test_a_limit_counts_all_channels(world: World, tmp_path: Path) -> None:
    """Two puts of notional 3,000 each: 6,000 in all, which is what the maker may carry."""
    async with two_channels(world, tmp_path, bob=at_most(notional=6_000)) as (pair, one, two):
        await buy(one, pair)
        await buy(two, pair)
        with pytest.raises(RejectedError, match="LIMIT beyond a limit of ours") as caught:
            await one.request_quote([put(pair.alice)])
        assert "9000" not in str(caught.value)
        told = await pair.bob.told(LimitReached)
        assert "notional in ETH-USD of the desk: 9000, limit 6000" in told.text
        # What takes risk off is always quoted.
        await buy(one, pair, -1)
        await buy(two, pair)


async def test_a_quote_in_flight_counts(world: World, tmp_path: Path) -> None:
    async with two_channels(world, tmp_path, bob=at_most(notional=3_000)) as (pair, one, two):
        held = (await one.request_quote([put(pair.alice)])).best()
        with pytest.raises(RejectedError, match="LIMIT"):
            await two.request_quote([put(pair.alice)])
        await held.decline()
        await pair.bob.peer.channel(one.channel_id).wait_idle(PATIENCE)
        await buy(two, pair)


async def test_two_at_once_do_not_share_the_last_of_a_limit(world: World, tmp_path: Path) -> None:
    async with two_channels(world, tmp_path, bob=at_most(notional=3_000)) as (pair, one, two):
        outcomes: list[str] = []

        async def ask(channel: PeerChannel) -> None:
            try:
                await channel.request_quote([put(pair.alice)])
            except RejectedError:
                outcomes.append("refused")
            else:
                outcomes.append("quoted")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, one)
            nursery.start_soon(ask, two)
        assert sorted(outcomes) == ["quoted", "refused"]


async def test_our_own_acceptance_and_proposal_are_checked(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, alice=at_most(delta=0.4)) as pair:
        quote = (await pair.channel.request_quote([put(pair.alice)])).best()
        with pytest.raises(LimitError, match="delta in ETH-USD of the desk"):
            await quote.accept()
        ours, _ = await pair.settled()
        assert ours.portfolio.positions == ()
        with pytest.raises(LimitError):
            await ours.propose_trade([put(pair.alice)], [100 * WAD])
        await ours.propose_trade([put(pair.alice, "0.5")], [100 * WAD])


async def test_a_proposal_beyond_our_limit_is_rejected(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, bob=at_most(notional=1)) as pair:
        with pytest.raises(RejectedError, match="LIMIT beyond a limit of ours"):
            await pair.channel.propose_trade([put(pair.alice)], [100 * WAD])
        await pair.settled()


async def test_new_marks_pass_any_limit(world: World, tmp_path: Path) -> None:
    """The market has moved the desk beyond its limit: marks are signed, trades are not."""
    async with trading(world, tmp_path, bob=at_most(notional=3_000)) as pair:
        await buy(pair.channel, pair)
        pair.a.market.spot = pair.b.market.spot = 3_500 * WAD
        await pair.travel(by=60)
        await pair.channel.remark()
        await pair.settled()
        (over,) = pair.bob.peer.desk.breaches
        assert (over.value, over.limit) == (3_500, 3_000)
        with pytest.raises(RejectedError, match="LIMIT"):
            await pair.channel.request_quote([put(pair.alice)])


async def test_the_desk_tells_its_exposure(world: World, tmp_path: Path) -> None:
    async with two_channels(world, tmp_path, bob=at_most(), alice={"desk": None}) as (pair, one, _):
        await buy(one, pair, 2)
        await pair.bob.peer.channel(one.channel_id).wait_idle(PATIENCE)
        exposure = pair.bob.peer.desk.exposure[FEED]
        assert exposure.notional == 6_000
        assert exposure.vega < 0 < exposure.theta
        assert [each.side for each in pair.bob.peer.desk.holdings] == [Party.B, Party.B]
        with pytest.raises(IllegalCommandError, match="no desk"):
            _ = pair.alice.peer.desk


def protected(**limits: Any) -> dict[str, Any]:
    return {"desk": DeskPolicy(protection=ProtectionLimits(interval=60, **limits))}


async def test_protection_stops_quotes_and_takes_back_the_others(
    world: World, tmp_path: Path
) -> None:
    async with two_channels(world, tmp_path, bob=protected(size=2.5)) as (pair, one, two):
        await buy(one, pair, 2)
        assert pair.bob.peer.desk.quoting
        held = (await two.request_quote([put(pair.alice)])).best()
        await buy(one, pair)
        tripped = await pair.bob.told(ProtectionTripped)
        assert tripped == ProtectionTripped(reason="size of 3 filled within 60 s", until=None)
        # The quote in the other channel is taken back before anybody could take it.
        cancelled = await pair.alice.told(ProposalCancelled)
        assert cancelled.nonce == held.proposal.nonce
        with pytest.raises(RejectedError, match="DECLINED"):
            await two.request_quote([put(pair.alice)])
        pair.bob.peer.desk.reset_protection()
        await pair.bob.told(ProtectionReset)
        await buy(two, pair)


async def test_protection_ends_after_its_pause(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, bob=protected(vega=1.0, frozen_for=30)) as pair:
        now = pair.bob.peer.now()
        await buy(pair.channel, pair)
        assert (await pair.bob.told(ProtectionTripped)).until == now + 30
        with pytest.raises(RejectedError, match="DECLINED"):
            await pair.channel.request_quote([put(pair.alice)])
        await pair.travel(by=30)
        assert (await pair.channel.request_quote([put(pair.alice)])).best().premium > 0


async def test_what_we_propose_ourselves_is_no_fill(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, bob=protected(size=0.5)) as pair:
        await pair.bob.channel.propose_trade([put(pair.bob)], [100 * WAD])
        await pair.channel.propose_trade([put(pair.alice)], [100 * WAD])
        assert pair.bob.peer.desk.quoting
        protection = pair.bob.peer.desk.protection
        assert protection is not None
        assert protection.fills == ()


async def test_credit_beyond_its_limit_reduces_the_groups_channels(
    world: World, tmp_path: Path
) -> None:
    """A has sold puts; the market falls, and what A must hold against B passes B's limit for it."""
    async with trading(
        world,
        tmp_path,
        bob={
            "desk": DeskPolicy(limits=Limits(default_credit=400 * 10**6)),
            "breaker": BreakerPolicy(jump=WAD),
        },
    ) as pair:
        await pair.channel.propose_trade([put(pair.alice, -1, strike=2_000)], [5 * WAD])
        ours, _ = await pair.settled()
        assert ours.margin <= 400 * 10**6
        pair.a.market.spot = pair.b.market.spot = 2_000 * WAD
        await pair.travel(by=60)
        await pair.channel.remark()
        await pair.settled()
        assert ours.margin > 400 * 10**6
        pair.bob.peer.look()
        changed = await pair.bob.told(ModeChanged)
        assert (changed.cause, changed.stands) == (Cause.LIMIT, Mode.REDUCE_ONLY)
        assert "credit of group 0x" in changed.reason
