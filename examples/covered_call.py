"""A treasury that overwrites: every month it sells calls a tenth above the market.

Its 20 ETH lie elsewhere. What a rally costs it here, they gain there; margin for the calls is in
dollars, marks are signed every day, and a shortfall is topped up by itself.
"""

from functools import partial

import attrs
import trio

from channels import Call, Leg
from channels.bots import open_floor
from channels.bots.floor import PATIENT
from channels.peer import FlatMarket, SpreadMaker, best_price
from channels.units import DAY, WAD
from examples.local import FEED, USD, dollars, next_expiry

COINS = 20
MONTHS = (3_120, 3_890, 3_560)
"""ETH at the end of each month; it begins at 3,000 and moves in a straight line."""

FUNDS = 100_000 * USD


async def main() -> None:
    """The treasury, and two makers that bid for its calls."""
    async with open_floor(FEED) as floor:
        market = FlatMarket({FEED: 3_000}, vol="0.60", clock=floor.clock)
        makers = [
            await floor.join(
                name,
                market=market,
                funds=FUNDS,
                maker=SpreadMaker(market, edge=edge),
                settlement_price=market.settlement_price,
            )
            for name, edge in (("Max", "0.02"), ("Mona", "0.03"))
        ]
        treasury = await floor.join(
            "Treasury",
            market=market,
            funds=FUNDS,
            credit=attrs.evolve(PATIENT, auto_top_up=50_000 * USD),
        )
        channels = [await floor.open(treasury, each, deposit=40_000 * USD) for each in makers]

        spot, premiums, paid = 3_000, 0, 0
        for month, end in enumerate(MONTHS, start=1):
            strike = round(spot * 1.1, -1)
            expiry = next_expiry(floor, days=28)
            call = Call(FEED, strike=strike, expiry=expiry)
            best = await best_price(channels, [Leg(call, quantity=-COINS)])
            await best.quote.accept()
            premiums -= best.quote.premium
            print(f"Month {month}: sells {COINS} {call.name} for {dollars(-best.quote.premium)}")

            begin = int(floor.clock())
            while (now := int(floor.clock())) < expiry:
                at = min(now + DAY, expiry)
                there = spot + (end - spot) * (at - begin) // (expiry - begin)
                await floor.move_to(at, market=partial(market.set_spot, FEED, there))
            before = best.channel.portfolio.net_to_b
            await best.channel.settle(FEED, expiry, end * WAD)
            payoff = best.channel.portfolio.net_to_b - before
            paid += payoff
            called = "called away above it" if payoff else "not called"
            print(f"         ETH ends at {end}: pays {dollars(payoff)}, {called}")
            spot = end

        topped_up = sum(each.state.contribution(each.side) for each in channels) - 80_000 * USD
        for channel in channels:
            await channel.close()
        earned = await floor.balance(treasury) - FUNDS
        print(f"Topped up on the way: {'something' if topped_up else 'nothing'}")
        print(f"Calls: {dollars(premiums)} of premium, {dollars(paid)} paid: {dollars(earned)}")
        print(f"Coins: {dollars(COINS * (MONTHS[-1] - 3_000) * USD)}")
        assert earned == premiums - paid


if __name__ == "__main__":
    trio.run(main)
