"""A first trade: open a channel, buy two puts, settle them at expiry, close, be paid."""

import trio

from channels import Leg, Put, Side
from examples.local import FEED, USD, dollars, open_local


async def main() -> None:
    """Alice buys from Bob. They talk over TCP; the chain is in this process."""
    async with open_local() as local:
        put = Put(FEED, strike=3_000, expiry=local.next_expiry)
        channel = await local.alice.open(
            peer=local.bob_address,
            terms=local.terms,
            risk=local.risk,
            deposit=10_000 * USD,
        )
        quotes = await channel.request_quote([Leg(put, quantity=+2)], Side.BUY)
        print(f"Bob's price for 2 {put.name}: {dollars(quotes.best().premium)}")
        trade = await quotes.best().accept()
        print(f"Both signed nonce {trade.nonce}; Alice's equity: {dollars(channel.equity)}")
        await local.move_to(put.expiry, spot=2_900)
        await channel.settle(FEED, put.expiry, local.market.spot(FEED))
        print(f"Settled at 2900; Alice's equity: {dollars(channel.equity)}")
        await channel.close()
        alice, bob = await local.balances()
        print(f"Paid out; in their wallets: Alice {dollars(alice)}, Bob {dollars(bob)}")


trio.run(main)
