"""Bots tested as their owners would test them: real peers, no chain, no sockets, no waiting.

Figures are worked out by hand: a maker that names round prices, puts that pay the difference.
"""

from __future__ import annotations

import inspect
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Final

import attrs
import pytest
import trio
from trio.testing import MockClock

from channels import FlatMarket, Leg, LocalSigner, MakerQuote, Put, QuoteRequest, RiskPolicy, Side
from channels.errors import (
    ChannelsError,
    IllegalCommandError,
    InvalidValueError,
    PeerTimeoutError,
    RejectedError,
)
from channels.peer import CreditPolicy, PeerChannel, best_price, open_peer
from channels.pricing.instruments import Instrument
from channels.pricing.markets import FlatVol
from channels.protocol.changes import Marks
from channels.protocol.channel import Phase
from channels.protocol.facts import ClosedOut, OnChainPhase
from channels.protocol.halts import Cause
from channels.protocol.signing import Signable, Signature
from channels.protocol.types import Party, Series
from channels.testing import UNIT, FakeChain, LinkedPeers, PeerOptions, linked_peers, quiet, run
from channels.units import DAY, HOUR, WAD
from tests.conftest import ROOT

FUNDS: Final = 1_000_000 * UNIT
"""In each wallet at the start, unless told otherwise."""

FUZZ: Final = os.environ.get("OPTION_CHANNELS_FUZZ") == "1"
GAMES: Final = 300 if FUZZ else 4


@attrs.define
class RoundMaker:
    """A bot: quotes one price for whatever it is asked, up to a size."""

    market: FlatMarket
    price: int = 50
    most: int = 5
    asked: int = 0

    async def __call__(self, request: QuoteRequest) -> MakerQuote | None:
        self.asked += 1
        if any(abs(leg.quantity) > self.most * WAD for leg in request.legs):
            return None
        held = {each.series for each in request.portfolio.positions}
        marks = self.market.marks({*held, *(leg.series for leg in request.legs)})
        return MakerQuote(prices=(self.price * WAD,) * len(request.legs), marks=marks)


def round_maker(**settings: int) -> tuple[FakeChain, RoundMaker, PeerOptions]:
    """A chain, the bot on it, and the options to open it with."""
    chain = FakeChain()
    market = FlatMarket({"ETH-USD": 3_000}, clock=chain.clock)
    maker = RoundMaker(market, **settings)
    options: PeerOptions = {"market": market, "maker": maker}
    return chain, maker, options


def a_put(pair: LinkedPeers, days: int = 1) -> Instrument:
    return Put(pair.feed, strike=3_000, expiry=pair.next_expiry(days))


async def buy(channel: PeerChannel, put: Instrument, quantity: int | str = 1) -> int:
    """Ask, take, and return the premium."""
    quotes = await channel.request_quote([Leg(put, quantity=quantity)], Side.BUY)
    quote = quotes.best()
    await quote.accept()
    return quote.premium


def conserved(pair: LinkedPeers) -> bool:
    """Whether all that was minted is in somebody's wallet or in the contract."""
    held = sum(each.balance for each in pair.peers)
    return held + pair.chain.locked == FUNDS * len(pair.peers)


# ---- a bot, from its first quote to its pay


async def test_a_maker_is_paid_its_premium_and_pays_what_expires(autojump_clock: MockClock) -> None:
    chain, maker, bot = round_maker(price=50, most=5)
    async with linked_peers(chain=chain, bob=bot) as pair:
        channel = await pair.open(deposit=10_000 * UNIT)
        put = a_put(pair)
        with pytest.raises(RejectedError):
            await channel.request_quote([Leg(put, quantity=6)], Side.BUY)
        assert await buy(channel, put, 2) == 2 * 50 * UNIT
        assert maker.asked == 2
        await pair.move_to(put.expiry, spot=2_900)
        await channel.settle(pair.feed, put.expiry, 2_900 * WAD)
        await channel.close()
        gain = 2 * (3_000 - 2_900) * UNIT - 2 * 50 * UNIT
        assert pair.alice.balance == FUNDS + gain
        assert pair.bob.balance == FUNDS - gain
        assert pair.chain.locked == 0


async def test_a_taker_finds_the_cheaper_of_two_makers(autojump_clock: MockClock) -> None:
    chain, dear, bot = round_maker(price=60)
    async with linked_peers(chain=chain, bob=bot) as pair:
        cheap = RoundMaker(dear.market, price=55)
        carol = await pair.join("carol", market=dear.market, maker=cheap)
        channels = [await pair.open(), await pair.open(pair.alice, carol)]
        found = await best_price(channels, [Leg(a_put(pair), quantity=1)], Side.BUY)
        assert found.quote.premium == 55 * UNIT
        assert found.quote.channel.channel_id == carol.channel.channel_id
        assert set(found.answers.values()) == {55 * UNIT, 60 * UNIT}
        assert conserved(pair)


@pytest.mark.parametrize(("tolerance", "agrees"), [(WAD // 100, True), (WAD // 1_000, False)])
async def test_a_policy_of_ones_own_judges_marks(
    tolerance: int, agrees: bool, autojump_clock: MockClock
) -> None:
    chain, _, bot = round_maker()
    bot["policy"] = RiskPolicy(spot_tolerance=tolerance)
    async with linked_peers(chain=chain, bob=bot) as pair:
        channel = await pair.open()
        await buy(channel, a_put(pair))
        pair.market.set_spot(pair.feed, 3_010)  # alice's: a third of a per cent above the bot's
        chain.mine()
        with nullcontext() if agrees else pytest.raises(RejectedError, match="MARKS"):
            await channel.remark()
        spot = channel.portfolio.spots[0].price
        assert spot == (3_010 if agrees else 3_000) * WAD


@attrs.define
class Ticker:
    """A price source of one's own, that can have an outage."""

    source: FlatMarket
    down: bool = False

    def marks(self, series: Iterable[Series]) -> Marks:
        if self.down:
            raise InvalidValueError("no price: outage")
        return self.source.marks(series)


async def test_a_price_source_that_fails_halts_its_owner(autojump_clock: MockClock) -> None:
    chain = FakeChain()
    ticker = Ticker(FlatMarket({"ETH-USD": 3_000}, clock=chain.clock))
    async with linked_peers(chain=chain, alice={"market": ticker}) as pair:
        channel = await pair.open()
        await buy(channel, a_put(pair, days=2))
        ticker.down = True
        await pair.advance(60)
        halts = {each.cause: each.reason for each in channel.state.halts}
        assert halts == {Cause.PRICE: "no price: outage"}
        assert pair.bob.channel.state.halts == ()
        ticker.down = False
        await pair.advance(60)
        assert channel.state.halts == ()


async def test_a_channel_knows_its_greeks(autojump_clock: MockClock) -> None:
    async with linked_peers(spot=3_000, vol="0.60") as pair:
        channel, put = await pair.open(), a_put(pair, days=10)
        await buy(channel, put, 2)
        one = put.greeks(FlatVol(at=channel.portfolio.marked_at, spot=3_000, vol=0.60))
        ours, theirs = (each.channel.greeks()[pair.feed] for each in (pair.alice, pair.bob))
        for name in ("delta", "gamma", "vega", "theta"):
            assert getattr(ours, name) == pytest.approx(2 * getattr(one, name))
            assert getattr(theirs, name) == pytest.approx(-2 * getattr(one, name))


class CountingSigner(LocalSigner):
    """A signer of one's own."""

    signed = 0

    async def sign(self, signable: Signable) -> Signature:
        self.signed += 1
        return await super().sign(signable)


async def test_a_signer_of_ones_own_signs_what_stands(autojump_clock: MockClock) -> None:
    signer = CountingSigner(b"\x77" * 32)
    async with linked_peers(alice={"signer": signer}) as pair:
        channel = await pair.open()
        before = signer.signed
        await buy(channel, a_put(pair))
        assert signer.signed == before + 2, "the boxed state and its affirmation"
        assert channel.terms.signer_a == signer.address


def test_all_of_it_takes_no_time() -> None:
    """`run` brings the clock; a trade and its settlement wait for nothing."""

    async def main() -> float:
        async with linked_peers() as pair:
            channel = await pair.open()
            put = a_put(pair)
            await buy(channel, put)
            await pair.move_to(put.expiry, spot=2_900)
            await channel.close()
            return trio.current_time()

    assert run(main) == 0


# ---- time


async def test_moving_time_brings_new_marks_to_what_is_open(autojump_clock: MockClock) -> None:
    async with linked_peers() as pair:
        channel = await pair.open()
        await buy(channel, a_put(pair, days=5))
        await pair.advance(6 * HOUR, spot=3_050)
        assert channel.portfolio.marked_at == int(pair.chain.clock())
        assert [each.price for each in channel.portfolio.spots] == [3_050 * WAD]
        assert channel.portfolio == pair.bob.channel.portfolio


async def test_a_call_is_not_overdue_because_time_was_moved(autojump_clock: MockClock) -> None:
    """Alice is about to look when the market falls, and has as good as called at the old time."""
    strict = CreditPolicy(margin_due=HOUR, remark_patience=400 * DAY)
    async with linked_peers(alice={"credit": strict}) as pair:
        channel = await pair.open(deposit=10_000 * UNIT)
        await buy(channel, a_put(pair, days=30), 8)
        pair.alice.peer.look()
        await pair.advance(2 * HOUR, spot=1_800)
        call = channel.state.call_made
        assert call is not None
        assert call.due_by == pair.chain.clock() + HOUR
        assert channel.phase is Phase.IDLE


async def test_blocks_come_by_themselves_while_somebody_waits(autojump_clock: MockClock) -> None:
    chain = FakeChain(finality_depth=3)
    async with linked_peers(chain=chain) as pair:
        await pair.open()
        assert trio.current_time() == 3 * chain.slot, "three blocks on the one with the deposits"


# ---- what fails


async def test_a_peer_comes_up_again_with_all_it_had(autojump_clock: MockClock) -> None:
    async with linked_peers() as pair:
        channel = await pair.open()
        await buy(channel, a_put(pair))
        held = pair.bob.channel.state.ledger.full
        await pair.bob.stop()
        with pytest.raises(IllegalCommandError):
            pair.bob.peer  # noqa: B018
        with pytest.raises(PeerTimeoutError):
            await channel.request_quote([Leg(a_put(pair), quantity=1)], Side.BUY, ttl=5)
        await pair.bob.start()
        assert pair.bob.channel.state.ledger.full == held
        await trio.sleep(30)  # for alice to dial again
        await buy(channel, a_put(pair))
        assert channel.portfolio.positions[0].quantity == 2 * WAD
        assert conserved(pair)


async def test_stopped_twice_and_started_twice(autojump_clock: MockClock) -> None:
    async with linked_peers() as pair:
        with pytest.raises(InvalidValueError):
            await pair.join("bob")
        with pytest.raises(IllegalCommandError):
            await pair.bob.start()
        await pair.bob.stop()
        with pytest.raises(IllegalCommandError):
            await pair.bob.stop()


async def test_a_cut_link_costs_the_time_of_the_quote(
    autojump_clock: MockClock,
) -> None:
    async with linked_peers() as pair:
        channel = await pair.open()
        pair.network.cut()
        began = trio.current_time()
        with pytest.raises(PeerTimeoutError):
            await channel.request_quote([Leg(a_put(pair), quantity=1)], Side.BUY, ttl=7)
        assert trio.current_time() - began == 7
        pair.network.mend()
        await trio.sleep(30)
        await buy(channel, a_put(pair))
        assert channel.portfolio == pair.bob.channel.portfolio


async def test_a_slow_link_costs_four_ways(autojump_clock: MockClock) -> None:
    async with linked_peers() as pair:
        channel = await pair.open()
        pair.network.delay = 0.25
        began = trio.current_time()
        await buy(channel, a_put(pair))
        assert trio.current_time() - began == 4 * 0.25, "request, quote, acceptance, confirmation"


async def test_trading_stops_while_the_endpoint_is_down(autojump_clock: MockClock) -> None:
    async with linked_peers() as pair:
        channel = await pair.open()
        pair.alice.chain.fail("no answer")
        await trio.sleep(60)
        halts = {each.cause: each.reason for each in channel.state.halts}
        assert halts[Cause.ENDPOINT] == "no answer"
        assert Cause.CHAIN in halts, "blocks went by unseen"
        with pytest.raises(ChannelsError):
            await buy(channel, a_put(pair))
        pair.alice.chain.mend()
        await quiet()
        await trio.sleep(10)  # until the breaker looks again
        assert channel.state.halts == ()
        await buy(channel, a_put(pair))


async def test_a_deposit_that_a_reorganisation_drops_comes_back(autojump_clock: MockClock) -> None:
    chain = FakeChain(finality_depth=3)
    async with linked_peers(chain=chain) as pair:
        channel = await pair.open(deposit=10_000 * UNIT)
        before = pair.alice.balance
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.deposit, 500 * UNIT)
            await quiet()
            assert pair.alice.balance == before - 500 * UNIT
            chain.reorg(1, keep=False)
            assert pair.alice.balance == before
        assert pair.alice.balance == before - 500 * UNIT
        assert channel.state.contribution(channel.side) == 10_500 * UNIT
        assert conserved(pair)


# ---- who cheats


async def outcome(*, cheats: bool) -> tuple[int, int]:
    """What the two gain where bob, at the end, files an old state or goes away honestly."""
    async with linked_peers(bob={"monitored": False}) as pair:
        channel = await pair.open(deposit=10_000 * UNIT)
        put = a_put(pair)
        await buy(channel, put, "0.5")
        old = pair.bob.channel.state.newest_evidence()
        for _ in range(10):
            await buy(channel, put, "0.5")
        newest = channel.state.newest_evidence()
        assert old is not None
        assert newest is not None
        filed = old if cheats else newest
        await pair.bob.stop()
        await pair.bob.cheat(channel, filed)
        await quiet()
        view = await pair.alice.chain.view(channel.channel_id)
        assert (view.phase, view.nonce) == (OnChainPhase.DISPUTED, newest.state.nonce)
        assert view.filed_nonce == filed.state.nonce
        await pair.move_to(max(view.deadline, put.expiry), spot=2_900)
        pair.chain.publish_settlement(pair.feed, put.expiry, 2_900)
        await channel.wait_closed()
        assert conserved(pair)
        assert pair.chain.locked == 0
        return pair.alice.balance - FUNDS, pair.bob.balance - FUNDS


async def test_an_old_state_is_refuted_and_costs_the_penalty(autojump_clock: MockClock) -> None:
    honest_alice, honest_bob = await outcome(cheats=False)
    alice, bob = await outcome(cheats=True)
    penalty = 10_000 * UNIT // 20
    assert (alice - honest_alice, bob - honest_bob) == (penalty, -penalty)


async def test_who_cannot_pay_is_called_and_closed_out(autojump_clock: MockClock) -> None:
    strict = CreditPolicy(margin_due=HOUR, remark_patience=400 * DAY)
    async with linked_peers(alice={"credit": strict}) as pair:
        channel = await pair.open(deposit=10_000 * UNIT)
        await buy(channel, a_put(pair, days=30), 8)
        for spot in range(2_800, 1_700, -200):  # no faster, or the breaker does not believe it
            await pair.advance(600, spot=spot)
        assert channel.state.call_made is not None
        await pair.advance(2 * HOUR)
        assert channel.phase is Phase.DISPUTED, "the call was not met"
        pair.chain.publish_spot(pair.feed, 1_800)
        await quiet()
        view = await pair.alice.chain.view(channel.channel_id)
        signed = pair.chain.state.recorded_portfolio(channel.terms)
        assert signed is not None
        await pair.move_to(max(view.cure_end_b, view.deadline))
        pair.chain.publish_settlement(pair.feed, view.cure_end_b, 1_800)
        await channel.wait_closed()
        (closed_out,) = [
            event
            for number in range(pair.chain.height + 1)
            for event in pair.chain.block(number).events
            if isinstance(event, ClosedOut)
        ]
        assert closed_out.party is Party.B
        assert closed_out.penalty == signed.margin_b * 5 // 100
        paid = closed_out.value - signed.net_to_b + closed_out.penalty
        assert (pair.alice.balance, pair.chain.locked) == (FUNDS + paid, 0)
        assert conserved(pair)


# ---- anything, in any order


async def play(pair: LinkedPeers, rng: random.Random) -> None:
    """One move; whatever the library says to it is fine, as long as it says it."""
    channel = pair.alice.channel
    move = rng.randrange(8)
    try:
        if move < 3:
            await buy(channel, a_put(pair, days=3), rng.choice((1, 2, "0.5")))
        elif move == 3:
            await pair.advance(rng.randrange(1, 8) * HOUR, spot=rng.randrange(2_800, 3_200))
        elif move == 4:
            await channel.deposit(rng.randrange(1, 1_000) * UNIT)
        elif move == 5:
            await channel.withdraw(rng.randrange(1, 500) * UNIT)
        elif move == 6:
            pair.network.cut()
            await trio.sleep(rng.random() * 20)
            pair.network.mend()
        else:
            await pair.bob.stop()
            await trio.sleep(rng.random() * 20)
            await pair.bob.start()
    except ChannelsError:
        return


FIRST: Final = random.SystemRandom().randrange(1 << 32) if FUZZ else 0


@pytest.mark.parametrize("seed", range(FIRST, FIRST + GAMES))
async def test_no_money_is_made_or_lost(seed: int, autojump_clock: MockClock) -> None:
    rng = random.Random(seed)
    async with linked_peers() as pair:
        await pair.open(deposit=20_000 * UNIT)
        for _ in range(20):
            await play(pair, rng)
            assert conserved(pair)
        await trio.sleep(300)  # for boxes to pass, and for what was cut to be said again
        ours, theirs = (each.channel.state for each in (pair.alice, pair.bob))
        assert (ours.phase, theirs.phase) == (Phase.IDLE, Phase.IDLE)
        assert ours.ledger.full.state == theirs.ledger.full.state


# ---- the promises of the module


def test_options_are_those_of_open_peer() -> None:
    ours = {"funds", "monitored"}
    offered = set(PeerOptions.__annotations__) - ours
    known = set(inspect.signature(open_peer).parameters)
    given = {"chain", "clock", "listen", "monitor", "network", "store", "tls"}
    assert offered == known - given


async def test_what_the_body_raises_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    async def body() -> None:
        async with linked_peers() as pair:
            await pair.open()
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await body()


async def test_days_go_by_without_a_peer_that_minds(autojump_clock: MockClock) -> None:
    async with linked_peers() as pair:
        channel = await pair.open()
        put = a_put(pair, days=3)
        await buy(channel, put)
        for _ in range(3):
            await pair.advance(DAY)
        assert pair.alice.channel.state.halts == ()
        assert channel.phase is Phase.IDLE


@pytest.mark.parametrize(
    ("imported", "not_there"),
    [("channels.testing", "trio sqlite3 web3"), ("channels.testing.linked", "web3 eth httpx")],
)
def test_importing_it_stays_light(imported: str, not_there: str) -> None:
    """web3 alone takes longer to import than a bot to be tested."""
    script = f"import sys, {imported}; print(*(set({not_there.split()}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == []
