"""A bot that embeds its own watchtower, and has a second one elsewhere.

Wanda trades with Victor and hands every change to the monitor beside her peer; the newest she hands
to a tower too, which watches while her machine is off. Victor files the state after the first; the
monitor answers, the contract settles the rest, and Victor pays the penalty.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from channels import Leg, Put, Side
from channels.bots import Floor, open_floor
from channels.chain import Finality, open_chain
from channels.dispute import DisputeFound, Duty, DutyDone, evidence_of
from channels.peer import FlatMarket, SpreadMaker
from channels.protocol.calls import Dispute
from channels.protocol.eip712 import Address
from channels.protocol.signing import LocalSigner
from channels.storage import open_store
from channels.tower.book import open_book
from channels.tower.chain import BudgetedChain
from channels.tower.client import open_tower_client
from channels.tower.replicas import ProtectionPolicy, open_protection
from channels.tower.server import ServerConfig, serve_tower
from channels.tower.service import TowerPolicy, open_tower
from channels.units import HOUR, WAD
from examples.local import FEED, USD, dollars, next_expiry

FUNDS = 50_000 * USD
STAKE = 10_000 * USD
FALLEN = 2_800
TRADES = 10
"""A state that is too old by more than the terms' ``max_in_flight`` costs its filer a penalty."""

RECEIPTS = LocalSigner(b"\x70" * 32)
"""The tower's key: customers know it by this one's address. It signs nothing but its word."""


@asynccontextmanager
async def tower_on(floor: Floor) -> AsyncIterator[tuple[str, Address]]:
    """Somebody else's tower: its URL, and the address that signs its receipts."""
    with TemporaryDirectory() as folder:
        async with (
            open_store(Path(folder) / "jobs.db") as store,
            open_book(Path(folder) / "book.db") as book,
            open_chain(
                floor.provider,
                adjudicator=floor.deployment.adjudicator,
                account=floor.provider.accounts[-1],
                store=store.records("transactions"),
                finality=Finality.depth(0),
                poll_interval=0.05,
            ) as chain,
            open_tower(
                BudgetedChain(chain),
                book,
                records=store.records("monitor"),
                signer=RECEIPTS,
                # Its turn comes two minutes after hers, so that one of them pays for the answer.
                policy=TowerPolicy(rank=1),
            ) as tower,
            trio.open_nursery() as nursery,
        ):
            await tower.ready()
            url = await nursery.start(serve_tower, tower, ServerConfig(bind="127.0.0.1:0"))
            yield url, RECEIPTS.address
            nursery.cancel_scope.cancel()


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

        domain = wanda.chain.domain
        async with (
            tower_on(floor) as (url, signs),
            open_tower_client(url, signs, domain) as client,
            open_protection(
                [client],
                signer=wanda.signer,
                domain=domain,
                policy=ProtectionPolicy(needed=1, active=1),
                head=lambda: wanda.chain.head,
            ) as protection,
        ):
            # No receipt, no protection: this returns when as many are in as are needed.
            for signed in await protection.protected(evidence_of(channel.state)):
                receipt = signed.receipt
                print(
                    f"A tower signs for nonce {receipt.nonce}, within {receipt.longest_response} s"
                )
            found = await protection.recover(channel.channel_id)
            newest = max(each.state.nonce for each in found.evidence.states)
            print(f"To her key alone it gives nonce {newest} back, portfolio and all")

            await victor.chain.submit(
                Dispute(terms=channel.terms, newest=kept), key=b"an old state"
            )
            with trio.fail_after(30):
                async for report in wanda.monitor.reports:
                    match report:
                        case DisputeFound():
                            print(f"Victor files nonce {report.recorded}; {report.newest} is newer")
                        case DutyDone(duty=Duty.REFUTE):
                            break
        view = await wanda.chain.view(channel.channel_id)
        print(f"Answered: the chain records nonce {view.nonce}")

        fall = partial(market.set_spot, FEED, FALLEN)
        await floor.move_to(max(view.deadline, expiry) + HOUR, market=fall)
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
