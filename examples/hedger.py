"""A hedger: an option book kept flat in delta with forwards from another counterparty.

Heidi buys a straddle, and after every move of the market trades a forward against its delta. What
she earns then comes from gamma, and what she pays for it is theta and the makers' edges.
"""

from functools import partial

import attrs
import trio

from channels import Call, Forward, Leg, Put, Side
from channels.bots import SkewMaker, delta_of, forward_hedge, open_floor
from channels.desk import Explained, explain
from channels.peer import FlatMarket, SpreadMaker, best_price
from channels.peer.desk import DeskPolicy
from channels.units import HOUR
from examples.local import FEED, USD, dollars, next_expiry

PATH = (3_000, 3_120, 2_960, 2_850, 2_990, 3_150, 3_040)
"""ETH every eight hours."""


async def main() -> None:
    """Heidi trades options with Otto and forwards with Fay."""
    async with open_floor(FEED) as floor:
        market = FlatMarket({FEED: PATH[0]}, vol="0.60", clock=floor.clock)
        forwards = SkewMaker(spot_edge="0.0002")
        heidi = await floor.join("Heidi", market=market, funds=100_000 * USD, desk=DeskPolicy())
        otto = await floor.join(
            "Otto",
            market=market,
            funds=100_000 * USD,
            maker=SpreadMaker(market, edge="0.01"),
            settlement_price=market.settlement_price,
        )
        fay = await floor.join(
            "Fay",
            market=market,
            funds=100_000 * USD,
            maker=forwards,
            desk=DeskPolicy(),
            settlement_price=market.settlement_price,
        )
        forwards.attend(fay.peer)
        options = await floor.open(heidi, otto, deposit=50_000 * USD)
        hedges = await floor.open(heidi, fay, deposit=50_000 * USD)
        channels = (options, hedges)

        expiry = next_expiry(floor, days=2)
        # Far below the market: the price of a leg is never below 0.
        forward = Forward(FEED, strike=1_000, expiry=expiry)
        straddle = [
            Leg(Call(FEED, strike=3_000, expiry=expiry), quantity=+10),
            Leg(Put(FEED, strike=3_000, expiry=expiry), quantity=+10),
        ]
        explained, standing = Explained(), [each.portfolio for each in channels]
        start = int(floor.clock())
        for step, spot in enumerate(PATH):
            if step:
                at = start + step * 8 * HOUR
                await floor.move_to(at, market=partial(market.set_spot, FEED, spot))
            else:
                quotes = await options.request_quote(straddle, Side.BUY)
                await quotes.best().accept()
                print(f"Heidi buys 10 straddles for {dollars(quotes.best().premium)}")
            delta = delta_of(heidi.peer, FEED)
            leg = forward_hedge(delta, forward, tolerance=0.25)
            if leg is not None:
                best = await best_price([hedges], [leg])
                await best.quote.accept()
            left = delta_of(heidi.peer, FEED)
            print(f"ETH {spot}: delta {delta:+.2f}, after the hedge {left:+.2f}")
            for place, channel in enumerate(channels):
                side, unit = channel.side, channel.terms.unit
                explained += explain(standing[place], channel.portfolio, side=side, unit=unit)
                standing[place] = channel.portfolio

        await floor.move_to(expiry)
        for place, channel in enumerate(channels):
            await channel.settle(FEED, expiry, market.spot(FEED))
            side, unit = channel.side, channel.terms.unit
            explained += explain(standing[place], channel.portfolio, side=side, unit=unit)
            await channel.close()
        profit = await floor.balance(heidi) - 100_000 * USD
        for name, part in attrs.asdict(explained).items():
            print(f"{name:>9}: {dollars(part):>14}")
        print(f"   profit: {dollars(profit):>14}")
        assert profit == explained.total


if __name__ == "__main__":
    trio.run(main)
