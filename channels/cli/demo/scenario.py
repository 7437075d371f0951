"""The story: open, quote, trade, re-mark, settle, trade again, be cheated, answer, be paid.

Alice's side of it. Bob is reached through `Counterparty`, wherever he runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import attrs
import trio

from channels.chain.client import EthereumChain
from channels.cli.demo.market import first_expiry, settlement_average
from channels.cli.demo.reconcile import Reconciliation, reconcile
from channels.cli.demo.report import Report, dollars
from channels.cli.demo.stage import DEPOSIT, UNIT, Stage
from channels.errors import BugError
from channels.peer import Leg, Peer, PeerChannel, default_terms
from channels.pricing.instruments import Call, Instrument, Put
from channels.protocol.changes import Trade
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChannelClosed, Checkpointed
from channels.protocol.terms import RiskParams
from channels.protocol.types import feed_id
from channels.units import HOUR, from_wad

__all__ = ["Counterparty", "Story"]

STALE_PENALTY = 2_500 * UNIT
QUANTITY = 10
REMARKS = 5
PATIENCE = 60.0


class Counterparty(Protocol):
    """Bob, as the story sees him."""

    address: str
    signer: Address

    async def ask(self, command: str) -> Mapping[str, Any]:
        """Tell him to do something, and hear what came of it."""


@attrs.frozen(kw_only=True)
class _End:
    """How the channel ended: the price it settled at, and what the contract says it paid."""

    price: int
    closed: ChannelClosed


@attrs.frozen(kw_only=True)
class Story:
    """Everything Alice's side needs; `tell` plays it."""

    stage: Stage
    chain: EthereumChain
    alice: Peer
    bob: Counterparty
    report: Report

    async def tell(self) -> Reconciliation:
        """Play the whole story and account for it."""
        channel = await self._open()
        first_end = first_expiry(self.stage.market, await self.stage.control.time())
        first = await self._trade(channel, first_end, falling=True)
        await self._remark(channel, first_end)
        first_price = await self._settle_off_chain(channel, first_end)
        kept = await self.bob.ask("remember")
        second_end = next(
            expiry
            for expiry in self.stage.market.expiries(first_end)
            if expiry >= first_end + 40 * HOUR
        )
        rising = settlement_average(self.stage.market, second_end) > first_price
        second = await self._trade(channel, second_end, falling=not rising)
        await self._remark(channel, first_end + 12 * HOUR)
        await self._cheat(channel, int(kept["nonce"]))
        end = await self._run_off(channel, second_end)
        return await self._account(channel, (first, first_price), (second, end.price), end)

    # ---- the steps

    async def _open(self) -> PeerChannel:
        deployment, stage = self.stage.deployment, self.stage
        risk = (RiskParams(feed=feed_id(stage.market.feed)),)
        terms = attrs.evolve(
            default_terms(
                party_a=stage.alice.address,
                party_b=stage.bob.address,
                signer_a=self.alice.address,
                signer_b=self.bob.signer,
                collateral=deployment.token,
                unit=UNIT,
                oracle=deployment.oracle,
                risk=risk,
                stale_penalty=STALE_PENALTY,
            ),
            max_in_flight=8,
        )
        channel = await self.alice.open(
            peer=self.bob.address, terms=terms, risk=risk, deposit=DEPOSIT
        )
        mined = await self.chain.wait_mined(b"open" + channel.channel_id)
        self.report.step(
            "Alice and Bob open a channel",
            {
                "channel": "0x" + channel.channel_id.hex(),
                "deposits": f"{dollars(DEPOSIT, UNIT)} each, in one transaction",
                "window": f"{terms.dispute_window // HOUR} h; "
                f"stale filing costs {dollars(STALE_PENALTY, UNIT)}",
            },
            chain_time=self.chain.head.timestamp,
            gas=mined.gas_used,
        )
        return channel

    def _spread(self, expiry: int, *, falling: bool) -> tuple[Instrument, Instrument]:
        """A put spread below the spot, or a call spread above it: what Alice buys and sells."""
        market, now = self.stage.market, self.chain.head.timestamp
        spot = market.spot(now)
        strikes = market.strikes(expiry, now)
        make = Put if falling else Call
        if falling:
            near = max(strike for strike in strikes if strike <= spot)
            far = max(strike for strike in strikes if strike <= near * 95 // 100)
        else:
            near = min(strike for strike in strikes if strike >= spot)
            far = min(strike for strike in strikes if strike >= near * 105 // 100)
        return (
            make(market.feed, strike=from_wad(near), expiry=expiry),
            make(market.feed, strike=from_wad(far), expiry=expiry),
        )

    async def _trade(self, channel: PeerChannel, expiry: int, *, falling: bool) -> Trade:
        bought, sold = self._spread(expiry, falling=falling)
        legs = [Leg(bought, quantity=QUANTITY), Leg(sold, quantity=-QUANTITY)]
        quotes = await channel.request_quote(legs, ttl=15)
        quote = quotes.best()
        trade = quote.trade
        self.report.step(
            "Alice asks for a quote, Bob answers",
            {
                "legs": f"+{QUANTITY} {bought.name}, -{QUANTITY} {sold.name}",
                "prices": " and ".join(f"${from_wad(leg.price):.4f}" for leg in trade.legs),
                "premium": f"{dollars(quote.premium, UNIT)} from Alice to Bob",
            },
            chain_time=self.chain.head.timestamp,
            nonce=quote.proposal.nonce,
        )
        confirmed = await quote.accept()
        self.report.step(
            "They trade: half signed, accepted, confirmed",
            self._margins(channel),
            chain_time=self.chain.head.timestamp,
            nonce=confirmed.nonce,
        )
        return trade

    def _margins(self, channel: PeerChannel) -> dict[str, str]:
        portfolio = channel.portfolio
        other = channel.state.equity(channel.side.other)
        return {
            "Alice": f"equity {dollars(channel.equity, UNIT)}, "
            f"initial margin {dollars(portfolio.margin_a, UNIT)}",
            "Bob": f"equity {dollars(other, UNIT)}, "
            f"initial margin {dollars(portfolio.margin_b, UNIT)}",
        }

    async def _remark(self, channel: PeerChannel, until: int) -> None:
        begin = self.chain.head.timestamp
        for index in range(1, REMARKS + 1):
            await self._travel(channel, begin + (until - begin) * index // (REMARKS + 1))
            confirmed = await channel.remark()
            spot = self.stage.market.spot(channel.portfolio.marked_at)
            self.report.step(
                f"The market moves to ${from_wad(spot):.2f}; both sign new marks",
                self._margins(channel),
                chain_time=self.chain.head.timestamp,
                nonce=confirmed.nonce,
            )

    async def _settle_off_chain(self, channel: PeerChannel, expiry: int) -> int:
        await self._travel(channel, expiry + 60)
        price = settlement_average(self.stage.market, expiry)
        before = channel.portfolio.net_to_b
        confirmed = await channel.settle(self.stage.market.feed, expiry, price)
        received = before - channel.portfolio.net_to_b
        self.report.step(
            "Expiry: settled in cash, off chain",
            {
                "settlement": f"${from_wad(price):.4f}, the 30-minute average into the expiry",
                "paid": f"{dollars(received, UNIT)} from Bob to Alice",
            },
            chain_time=self.chain.head.timestamp,
            nonce=confirmed.nonce,
        )
        return price

    async def _cheat(self, channel: PeerChannel, old_nonce: int) -> None:
        newest = channel.state.ledger.nonce
        updates = self.chain.updates()
        with trio.fail_after(PATIENCE):
            filed = await self.bob.ask("cheat")
            self.report.step(
                "Bob files an old state: before Alice's second trade",
                {"filed": f"nonce {old_nonce}; both signed up to {newest}"},
                chain_time=self.chain.head.timestamp,
                gas=int(filed["gas"]),
                nonce=old_nonce,
            )
            async for update in updates:
                refuted = [each for each in update.events if isinstance(each, Checkpointed)]
                if refuted:
                    break
        gas = await self._gas_of(refuted[0].transaction_hash)
        self.report.step(
            "Alice's monitor answers with the newest state",
            {"recorded": f"nonce {refuted[0].nonce}: {refuted[0].nonce - old_nonce} newer"},
            chain_time=self.chain.head.timestamp,
            gas=gas,
            nonce=refuted[0].nonce,
        )

    async def _run_off(self, channel: PeerChannel, expiry: int) -> _End:
        view = await self.chain.view(channel.channel_id)
        await self._travel(channel, view.deadline + 12)
        self.report.step(
            "The window is over: run-off",
            {"until": "the open positions expire; nobody values them by silence"},
            chain_time=self.chain.head.timestamp,
        )
        await self._travel(channel, expiry + 60)
        price = settlement_average(self.stage.market, expiry)
        feed = feed_id(self.stage.market.feed)
        updates = self.chain.updates()
        posted = await self.stage.post_settlement(feed, expiry, price)
        self.report.step(
            "The attested settlement price goes on chain",
            {"settlement": f"${from_wad(price):.4f}, two of three attesters"},
            chain_time=self.chain.head.timestamp,
            gas=posted.gas_used,
        )
        await self._travel(channel, expiry + HOUR)
        with trio.fail_after(PATIENCE):
            async for update in updates:
                closed = [each for each in update.events if isinstance(each, ChannelClosed)]
                if closed:
                    break
        gas = await self._gas_of(closed[0].transaction_hash)
        self.report.step(
            "The monitor settles, and the contract pays both",
            {
                "Alice": dollars(closed[0].paid_a, UNIT),
                "Bob": f"{dollars(closed[0].paid_b, UNIT)}, the stale penalty taken off",
            },
            chain_time=self.chain.head.timestamp,
            gas=gas,
        )
        return _End(price=price, closed=closed[0])

    # ---- the books

    async def _account(
        self,
        channel: PeerChannel,
        first: tuple[Trade, int],
        second: tuple[Trade, int],
        end: _End,
    ) -> Reconciliation:
        stage = self.stage
        alice, bob = stage.alice.address, stage.bob.address
        adjudicator = stage.deployment.adjudicator
        balance_a, balance_b, left = await stage.balances(alice, bob, adjudicator)
        return reconcile(
            deposit=DEPOSIT,
            first=first,
            second=second,
            unit=UNIT,
            penalty_on_b=STALE_PENALTY,
            last_net_to_b=channel.portfolio.net_to_b,
            paid=(end.closed.paid_a, end.closed.paid_b),
            balances=(balance_a, balance_b),
            left_in_contract=left,
            claimable=(
                await self.chain.claimable(stage.deployment.token, alice),
                await self.chain.claimable(stage.deployment.token, bob),
            ),
        )

    async def _travel(self, channel: PeerChannel, to: int) -> None:
        """Move the chain's clock, and wait until both peers have seen it."""
        await self.stage.control.advance_time(to=to)
        await channel.wait_for_head(to)
        await self.bob.ask(f"wait {to}")

    async def _gas_of(self, transaction_hash: bytes) -> int:
        receipt = await self.chain.rpc.receipt(transaction_hash)
        if receipt is None:
            raise BugError("an event without its transaction")
        return receipt.gas_used
