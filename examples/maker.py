"""A market maker: a surface fitted to quotes, a skew against inventory, limits, protection.

A client buys puts until the maker's prices, then its limits, then its protection say stop.
"""

import math

import numpy as np
import trio

from channels import Leg, PeerChannel, Put, Side
from channels.bots import Skew, SkewMaker, SurfaceMarket, open_floor
from channels.desk import Limits, ProtectionLimits, SensitivityLimits
from channels.errors import RejectedError
from channels.peer.desk import DeskPolicy
from channels.pricing.surface import Smile, Surface
from channels.pricing.svi_fit import fit_svi
from channels.protocol.messages import Leg as Asked
from channels.units import DAY, HOUR, YEAR
from examples.local import FEED, USD, dollars, next_expiry

QUOTES = (
    # strike, bid and ask in vol: what the maker sees on its screens
    (2_400, 0.742, 0.766),
    (2_600, 0.684, 0.700),
    (2_800, 0.637, 0.647),
    (3_000, 0.604, 0.612),
    (3_200, 0.589, 0.597),
    (3_400, 0.588, 0.600),
    (3_600, 0.597, 0.615),
)
SPOT = 3_000.0


def fitted(at: int, expiry: int) -> Surface:
    """Fit one smile to the quotes; every other expiry follows from it."""
    years = (expiry - at) / YEAR
    strikes, bids, asks = np.array(QUOTES).T
    low, high = bids**2 * years, asks**2 * years
    svi = fit_svi(np.log(strikes / SPOT), (low + high) / 2, (high - low) / 2).svi
    return Surface(at=at, spot=SPOT, smiles=[Smile(expiry=expiry, forward=SPOT, svi=svi)])


async def deal(channel: PeerChannel, leg: Asked) -> str:
    """Ask, take it, and say what it came to."""
    try:
        quote = (await channel.request_quote([leg], Side.BUY)).best()
        await quote.accept()
    except RejectedError as refusal:
        return str(refusal.args[0])
    return f"{dollars(quote.premium):>12}"


async def main() -> None:
    """One maker, one client."""
    async with open_floor(FEED) as floor:
        expiry = next_expiry(floor, days=28)
        market = SurfaceMarket(FEED, fitted(int(floor.clock()), expiry))
        maker = SkewMaker(edge="0.01", skew=Skew(vega=5_000, delta=10))
        desk = DeskPolicy(
            limits=Limits(desk=SensitivityLimits(vega=10_000)),
            protection=ProtectionLimits(interval=HOUR, frozen_for=HOUR, size=45),
        )
        mia = await floor.join("Mia", market=market, funds=200_000 * USD, maker=maker, desk=desk)
        maker.attend(mia.peer)
        carl = await floor.join("Carl", market=market, funds=200_000 * USD)
        channel = await floor.open(carl, mia, deposit=100_000 * USD)

        put = Put(FEED, strike=2_800, expiry=expiry)
        vol = market.surface.volatility(2_800, expiry)
        print(f"{put.name}: fitted vol {vol:.4f}, quoted {QUOTES[2][1]} to {QUOTES[2][2]}")
        for _ in range(4):
            print(f"Carl buys 10:  {await deal(channel, Leg(put, quantity=+10))}")
        for _ in range(2):
            print(f"Carl sells 10: {await deal(channel, Leg(put, quantity=-10))}")
        print(f"Carl sells 1:  {await deal(channel, Leg(put, quantity=-1))}")
        assert mia.peer.desk.protection is not None
        print(f"Mia's protection: {mia.peer.desk.protection.reason}")
        await floor.move_to(int(floor.clock()) + 2 * HOUR)
        print(f"Two hours on:  {await deal(channel, Leg(put, quantity=-1))}")
        assert math.isclose(vol, 0.642, abs_tol=0.005), "the fit passes through the quotes"
        assert expiry - floor.clock() < 29 * DAY


if __name__ == "__main__":
    trio.run(main)
