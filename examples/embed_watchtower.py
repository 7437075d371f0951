"""A bot that embeds its own watchtower: the dispute monitor runs beside its peer and defends it.

Wanda trades with Victor and hands every change to the monitor. Victor files the state
after the first; the monitor answers, the contract settles the rest, and Victor pays the penalty.
"""

import trio

from channels import Leg, Put, Side
from channels.bots import open_floor
from channels.dispute import DisputeFound, Duty, DutyDone, evidence_of
from channels.peer import FlatMarket, SpreadMaker
from channels.protocol.calls import Dispute
from channels.units import HOUR, WAD
from examples.local import FEED, USD, dollars, next_expiry

FUNDS = 50_000 * USD
STAKE = 10_000 * USD
FALLEN = 2_800
TRADES = 10
"""A state that is too old by more than the terms' ``max_in_flight`` costs its filer a penalty."""


async def main() -> None:
    """Wanda is defended, Victor is not."""
    async with open_floor(FEED) as floor:
        market = FlatMarket({FEED: 3_000}, vol="0.60", clock=floor.clock)
        wanda = await floor.join("Wanda", market=market, funds=FUNDS, monitored=True)
        victor = await floor.join("Victor", market=market, funds=FUNDS, maker=SpreadMaker(market))
        assert wanda.monitor is not None
        channel = await floor.open(wanda, victor, deposit=STAKE)
        expiry = next_expiry(floor)
        put = Put(FEED, strike=3_000, expiry=expiry)

        premiums = 0
        kept = None
        for _ in range(TRADES):
            legs = [Leg(put, quantity=1)]
            quote = (await channel.request_quote(legs, Side.BUY)).best(Side.BUY)
            await quote.accept()
            premiums += quote.premium
            # Before this returns the change is not defended by the monitor.
            await wanda.monitor.watch(evidence_of(channel.state))
            kept = kept or victor.peer.channels[0].state.newest_evidence()
        print(f"Wanda buys {TRADES} {put.name} for {dollars(premiums)}, one by one")
        print(f"Her monitor holds nonce {channel.state.ledger.nonce}, Victor keeps the first")

        await victor.chain.submit(Dispute(terms=channel.terms, newest=kept), key=b"an old state")
        with trio.fail_after(30):
            async for report in wanda.monitor.reports:
                match report:
                    case DisputeFound():
                        print(f"Victor files nonce {report.recorded}; {report.newest} is newer")
                    case DutyDone(duty=Duty.REFUTE):
                        break
        view = await wanda.chain.view(channel.channel_id)
        print(f"Answered: the chain records nonce {view.nonce}")

        market.set_spot(FEED, FALLEN)
        await floor.move_to(max(view.deadline, expiry) + HOUR)
        await floor.attest(expiry, FALLEN * WAD)
        await channel.wait_closed()
        earned, penalty = TRADES * (3_000 - FALLEN) * USD - premiums, channel.terms.stale_penalty
        change = await floor.balance(wanda) - FUNDS
        print(f"Settled at {FALLEN} by the contract: {dollars(earned)} for Wanda,")
        print(f"and Victor's penalty of {dollars(penalty)}: {dollars(change)} in all")
        assert change == earned + penalty
        assert await floor.left_in_contract() == 0


if __name__ == "__main__":
    trio.run(main)
