"""Taking positions off: at quotes, at agreed prices, and by put-call parity."""

from __future__ import annotations

from pathlib import Path

import pytest

from channels.errors import InvalidValueError, RejectedError
from channels.peer import Leg
from channels.peer.unwinding import compression_legs, in_trades, unwind_legs
from channels.pricing import Kind, settlement_payoff
from channels.pricing.instruments import Call, Put
from channels.protocol.types import Party, Portfolio
from tests.chain.world import World
from tests.desk.build import after
from tests.peer.world import FEED_NAME, UNIT, WAD, Pair, expiry_of, put, trade, trading
from tests.protocol.build import EXPIRY, T0, make_leg, make_trade


async def deal(pair: Pair, *legs: Leg) -> None:  # type: ignore[valid-type]
    await pair.channel.propose_trade(list(legs), [50 * WAD] * len(legs))


async def test_unwound_at_the_makers_quote(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        bought = await trade(pair.alice, 3)
        await trade(pair.bob, 1)
        (confirmed,) = await pair.channel.unwind()
        ours, _ = await pair.settled()
        assert ours.portfolio.positions == ()
        assert confirmed.portfolio == ours.portfolio
        assert bought.premium > 0


async def test_unwound_at_agreed_prices_and_only_what_was_named(
    world: World, tmp_path: Path
) -> None:
    async with trading(world, tmp_path) as pair:
        low, high = put(pair.alice, 2, strike=2_500), put(pair.alice, -1, strike=3_000)
        await deal(pair, low, high)
        before = pair.channel.portfolio.net_to_b
        with pytest.raises(InvalidValueError, match="a price for each"):
            await pair.channel.unwind([low.series], prices={})
        await pair.channel.unwind([low.series], prices={low.series: 40 * WAD})
        ours, _ = await pair.settled()
        assert [each.series for each in ours.portfolio.positions] == [high.series]
        assert ours.portfolio.net_to_b - before == -80 * UNIT
        with pytest.raises(InvalidValueError, match="no live position"):
            await pair.channel.unwind([low.series])


async def test_more_than_a_trade_holds(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        legs = [put(pair.alice, "0.1", strike=2_000 + 50 * place) for place in range(22)]
        for part in in_trades(legs):
            await pair.channel.propose_trade(part, [WAD] * len(part))
        assert len(pair.channel.portfolio.positions) == 22
        assert len(await pair.channel.unwind()) == 2
        assert pair.channel.portfolio.positions == ()


async def test_compressed_for_nothing(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        expiry = expiry_of(pair.alice)
        call = Leg(Call(FEED_NAME, strike=3_100, expiry=expiry), quantity=5)
        written = Leg(Put(FEED_NAME, strike=3_100, expiry=expiry), quantity=-3)
        await deal(pair, call, written)
        before = pair.channel.portfolio
        (confirmed,) = await pair.channel.compress()
        ours, _ = await pair.settled()
        now = ours.portfolio
        assert confirmed.portfolio == now
        assert [(each.kind, each.quantity) for each in now.positions] == [
            (Kind.CALL, 2 * WAD),
            (Kind.FORWARD, 3 * WAD),
        ]
        assert now.net_to_b == before.net_to_b
        for price in (0, 2_999, 3_100, 3_101, 10_000):
            assert payoff(before, price * WAD) == payoff(now, price * WAD)
        assert await pair.channel.compress() == []


def payoff(portfolio: Portfolio, price: int) -> int:
    return sum(
        settlement_payoff(Kind(each.kind), each.strike, each.quantity, price, UNIT)
        for each in portfolio.positions
    )


async def test_the_peer_may_decline_to_compress(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, bob={"accept_trade": None}, opened=True) as pair:
        with pytest.raises(RejectedError):
            await deal(pair, put(pair.alice))
        assert await pair.channel.compress() == []


def test_legs_of_either_side_and_of_what_lives() -> None:
    portfolio = after(make_trade(make_leg(2), make_leg(-3, kind=Kind.CALL)))
    for side in Party:
        legs = unwind_legs(portfolio, side, T0)
        assert sorted(side.sign * each.quantity for each in legs) == [-2 * WAD, 3 * WAD]
        call, written, forward = compression_legs(portfolio, side, T0)
        assert (call.kind, written.kind, forward.kind) == (Kind.CALL, Kind.PUT, Kind.FORWARD)
        quantities = [side.sign * each.quantity for each in (call, written, forward)]
        assert quantities == [2 * WAD, -2 * WAD, -2 * WAD]
    assert unwind_legs(portfolio, Party.A, EXPIRY) == []
    assert compression_legs(portfolio, Party.A, EXPIRY) == []
    same_way = after(make_trade(make_leg(2), make_leg(3, kind=Kind.CALL)))
    assert compression_legs(same_way, Party.A, T0) == []
