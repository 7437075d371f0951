"""The maker for demonstrations: around the market's own marks, both ways where both are asked."""

from __future__ import annotations

import attrs

from channels.peer import FlatMarket, Leg, QuoteRequest, SpreadMaker
from channels.pricing import forward_price, price
from channels.pricing.instruments import Put
from channels.protocol.types import EMPTY_PORTFOLIO, Party
from tests.peer.world import DAY, FEED_NAME, WAD

NOW = 1_767_225_600
LEG = Leg(Put(FEED_NAME, strike=3_000, expiry=NOW + 30 * DAY), quantity=2)


def request(*, both: bool) -> QuoteRequest:
    return QuoteRequest(
        channel_id=bytes(32),
        legs=(LEG,),
        time_to_live=10,
        side=Party.B,
        portfolio=EMPTY_PORTFOLIO,
        both_sides=both,
    )


def fair(vol: int) -> int:
    forward = forward_price(3_000 * WAD, 0, 30 * DAY)
    return price(LEG.kind, forward, LEG.strike, vol, 30 * DAY)


async def test_two_vol_points_to_its_own_side_each_way() -> None:
    market = FlatMarket({FEED_NAME: "3000"}, vol="0.6", clock=lambda: NOW)
    maker = SpreadMaker(market, edge="0.02")
    quote = await maker(request(both=True))
    assert quote is not None
    assert quote.prices == (fair(WAD * 62 // 100),)
    assert quote.reverse == (fair(WAD * 58 // 100),)
    one_way = await maker(request(both=False))
    assert one_way is not None
    assert one_way == attrs.evolve(quote, reverse=None)
