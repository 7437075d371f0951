"""A taker: ask several makers at once, take the best price, and turn the others down."""

from functools import partial

import trio

from channels import Call, Leg, Put
from channels.bots import open_floor
from channels.peer import FlatMarket, SpreadMaker, best_price
from channels.peer.unwinding import unwind_legs
from examples.local import FEED, USD, dollars, next_expiry

EDGES = {"Ann": "0.030", "Ben": "0.018", "Cem": "0.024"}
"""Vol points that each maker adds to its own side."""


async def main() -> None:
    """Three makers, one taker, a channel with each."""
    async with open_floor(FEED) as floor:
        market = FlatMarket({FEED: 3_000}, vol="0.60", clock=floor.clock)
        makers = [
            await floor.join(
                name,
                market=market,
                funds=50_000 * USD,
                maker=SpreadMaker(market, edge=edge),
                settlement_price=market.settlement_price,
            )
            for name, edge in EDGES.items()
        ]
        tara = await floor.join("Tara", market=market, funds=50_000 * USD)
        channels = [await floor.open(tara, each, deposit=10_000 * USD) for each in makers]
        names = {each.channel_id: name for each, name in zip(channels, EDGES, strict=True)}

        expiry = next_expiry(floor, days=7)
        strangle = [
            Leg(Put(FEED, strike=2_800, expiry=expiry), quantity=+2),
            Leg(Call(FEED, strike=3_200, expiry=expiry), quantity=+2),
        ]
        best = await best_price(channels, strangle)
        for channel_id, answer in best.answers.items():
            asked = dollars(answer) if isinstance(answer, int) else "nothing"
            print(f"{names[channel_id]} asks {asked}")
        await best.quote.accept()
        print(f"Tara takes {names[best.channel.channel_id]}'s, and the others are free again")

        fall = partial(market.set_spot, FEED, 2_750)
        await floor.move_to(expiry - 2 * 86_400, market=fall)
        held = best.channel
        back = await best_price([held], unwind_legs(held.portfolio, held.side, int(floor.clock())))
        await back.quote.accept()
        print(f"ETH falls to 2750; taken back, the strangle brings {dollars(-back.quote.premium)}")

        for channel in channels:
            await channel.close()
        total = await floor.balance(tara)
        print(f"All closed; Tara's wallet: {dollars(total)}")
        assert total - 50_000 * USD == -best.quote.premium - back.quote.premium


if __name__ == "__main__":
    trio.run(main)
