"""Every cheat there is, tried by Mallory on Alice, and what each one costs her.

An old state; a Confirm withheld; a boxed state filed late; two signatures at one nonce; a state
replayed in another channel. Mallory has her own database, her own key, and Alice's signatures.
"""

import tempfile
from functools import partial
from pathlib import Path

import attrs
import trio

from channels import LocalSigner, Put, Side
from channels.bots import Trader, open_floor
from channels.dispute import Duty, DutyDone
from channels.errors import ChannelsError
from channels.peer import FlatMarket, Leg, PeerChannel, Quote, SpreadMaker
from channels.pricing.instruments import Instrument
from channels.protocol.calls import CoSigned, Dispute
from channels.protocol.records import decode_journal_entry
from channels.protocol.signing import Signable, Signature
from channels.protocol.types import State
from channels.storage import verify_journal
from channels.units import DAY, HOUR
from examples.local import FEED, USD, dollars, next_expiry

FUNDS, STAKE, FALLEN, TRADES = 50_000 * USD, 10_000 * USD, 2_800, 10


class WithholdingSigner(LocalSigner):
    """Signs everything, but nothing that is permanent while it withholds."""

    withheld: trio.Event | None = None

    async def sign(self, signable: Signable) -> Signature:
        """Sign, when she pleases."""
        permanent = isinstance(signable.value, State) and signable.value.permanent
        if permanent and self.withheld is not None:
            await self.withheld.wait()
        return await super().sign(signable)


async def quoted(channel: PeerChannel, put: Instrument) -> Quote:
    """Mallory's price for one put."""
    return (await channel.request_quote([Leg(put, quantity=1)], Side.BUY)).best(Side.BUY)


async def file(mallory: Trader, channel: PeerChannel, state: CoSigned, what: str) -> None:
    """Have Mallory dispute on a state, and say what the contract makes of it."""
    key = what.encode()
    await mallory.chain.submit(Dispute(terms=channel.terms, newest=state), key=key)
    try:
        await mallory.chain.wait_mined(key)
    except ChannelsError as error:
        reason = str(error.args[0]).split(", ")[1].split("(")[0]
        print(f"{what}: refused by the contract, {reason}")
    else:
        print(f"{what}: filed")


def boxed_states(store: Path) -> list[CoSigned]:
    """The boxed states of a journal that both signed; Mallory is B."""
    entries = [e for line in verify_journal(store) for e in decode_journal_entry(line.body)[2]]
    return [
        CoSigned(state=each.value, signature_a=each.theirs, signature_b=each.mine)
        for each in entries
        if isinstance(each.value, State) and not each.value.permanent and each.theirs and each.mine
    ]


async def main() -> None:
    """Two channels with Mallory; Alice's monitor watches both."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_floor(FEED, patience=0.5) as floor:
            store, signer = Path(folder) / "mallory.db", WithholdingSigner(b"\x66" * 32)
            market = FlatMarket({FEED: 3_000}, vol="0.60", clock=floor.clock)
            alice = await floor.join("Alice", market=market, funds=FUNDS, monitored=True)
            mallory = await floor.join(
                "Mallory",
                market=market,
                funds=FUNDS,
                store=store,
                signer=signer,
                maker=SpreadMaker(market),
                settlement_price=market.settlement_price,
            )
            one = await floor.open(alice, mallory, deposit=STAKE)
            two = await floor.open(alice, mallory, deposit=STAKE)
            put = Put(FEED, strike=3_000, expiry=next_expiry(floor))
            paid, old = 0, None
            for _ in range(TRADES):
                quote = await quoted(one, put)
                await quote.accept()
                paid += quote.premium
                old = old or mallory.peer.channel(one.channel_id).state.newest_evidence()
            newest = mallory.peer.channel(one.channel_id).state.newest_evidence()
            assert old is not None
            assert newest is not None
            print(f"Alice buys {TRADES} puts for {dollars(paid)}")

            boxed = boxed_states(store)[-1]
            quote = await quoted(two, put)
            signer.withheld = trio.Event()
            async with floor.ticking():
                await quote.accept()
            signer.withheld.set()
            paid += quote.premium
            print("a Confirm withheld: Alice puts the boxed state on chain, the trade stands")

            await floor.move_to(int(floor.clock()) + HOUR)
            await file(mallory, one, boxed, "a boxed state, late")
            better = attrs.evolve(newest.state.portfolio, net_to_b=STAKE)
            forged = attrs.evolve(newest.state, portfolio=better)
            mine = await signer.sign(one.state.signable(forged))
            twice = attrs.evolve(newest, state=forged, signature_b=mine)
            await file(mallory, one, twice, "two signatures at one nonce")
            await file(mallory, two, newest, "a state of another channel")

            await file(mallory, one, old, "an old state")
            assert alice.monitor is not None
            async for report in alice.monitor.reports:
                if isinstance(report, DutyDone) and report.duty is Duty.REFUTE:
                    break
            print("an old state: answered by Alice's monitor with the newest")
            await floor.move_to(put.expiry, market=partial(market.set_spot, FEED, FALLEN))
            await two.settle(FEED, put.expiry, market.spot(FEED))
            await two.close()
            await floor.move_to(put.expiry + 2 * DAY)
            await floor.attest(put.expiry, market.spot(FEED))
            await one.wait_closed()

            change = await floor.balance(mallory) - FUNDS
            honest = paid - (TRADES + 1) * (3_000 - FALLEN) * USD
            print(f"Mallory, had she been honest: {dollars(honest)}")
            print(f"Mallory, as it is:            {dollars(change)}")
            assert change == honest - one.terms.stale_penalty


if __name__ == "__main__":
    trio.run(main)
