"""Requests for quotes: both sides, parts, hedges, many makers at once, and quotes taken back."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import trio

import channels.peer.makers as makers_module
import channels.peer.quoting as quoting_module
from channels.errors import IllegalCommandError, InvalidValueError, OurError, RejectedError
from channels.peer import MakerQuote, PeerChannel, QuoteRequest, RiskPolicy
from channels.peer.best_price import best_price
from channels.peer.desk_news import QuoteTakenLate
from channels.peer.makers import reversed_legs, trade_draft
from channels.peer.quote_book import part_id, part_of
from channels.peer.quotes import HedgeLeg
from channels.protocol.changes import Trade
from channels.protocol.channel import Channel, Phase
from channels.protocol.effects import ProposalCancelled
from channels.protocol.events import Draft, SetMode
from channels.protocol.halts import Cause, Mode
from channels.protocol.messages import Leg, Side
from channels.protocol.types import Portfolio, feed_id
from tests.chain.world import World
from tests.peer.world import (
    DAY,
    FEED_NAME,
    PATIENCE,
    UNIT,
    WAD,
    FairMaker,
    Pair,
    expiry_of,
    open_channel,
    put,
    trading,
)


@attrs.define(kw_only=True)
class Maker:
    """Names what it is told to: ``ask`` and ``bid`` a unit of every leg, in dollars."""

    fair: FairMaker
    ask: int = 110
    bid: int | None = 90
    good_for: int = 10
    least: int = WAD
    seen: list[QuoteRequest] = attrs.Factory(list)

    async def __call__(self, request: QuoteRequest) -> MakerQuote | None:
        self.seen.append(request)
        fair = await self.fair(request)
        assert fair is not None
        buys = request.legs[0].quantity > 0
        away, back = (self.ask, self.bid) if buys else (self.bid, self.ask)
        if away is None:
            return None
        count = len(request.legs)
        return MakerQuote(
            prices=(away * WAD,) * count,
            reverse=None if back is None else (back * WAD,) * count,
            marks=fair.marks,
            good_for=self.good_for,
            least=self.least,
        )


@asynccontextmanager
async def quoted(
    world: World, folder: Path, *, channels: int = 1, **settings: Any
) -> AsyncIterator[tuple[Pair, Maker]]:
    """Bob quotes by a `Maker`, and takes nothing that he did not quote."""
    peers = {name: settings.pop(name) for name in ("alice", "bob") if name in settings}
    async with trading(
        world,
        folder,
        alice=peers.get("alice"),
        bob={"accept_trade": None, "maker": None, **peers.get("bob", {})},
        opened=False,
    ) as pair:
        maker = Maker(fair=FairMaker(pair.b.market), **settings)
        object.__setattr__(pair.bob.peer._setup, "maker", maker)
        for _ in range(channels):
            channel = await open_channel(pair.alice, pair.b)
            await pair.bob.peer.channel(channel.channel_id).wait_open(PATIENCE)
        yield pair, maker


def part(whole: Trade, fraction: int) -> Trade:
    found = part_of(whole, fraction, quoter_is_b=True, unit=UNIT)
    assert found is not None
    return found


async def propose(pair: Pair, change: Trade) -> None:
    """Propose a trade as it is, with Alice's own marks."""
    series = [leg.series for leg in change.legs]

    def build(channel: Channel) -> Draft:
        return Draft(change=change, marks=pair.alice.peer.marks_for(channel, series))

    await pair.channel._propose(build, PATIENCE)


async def test_both_sides_of_one_request(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path) as (pair, maker):
        quotes = await pair.channel.request_quote([put(pair.alice, 2)])
        assert [each.both_sides for each in maker.seen] == [True]
        buy, sell = quotes.buy, quotes.sell
        assert buy is not None
        assert sell is not None
        assert (buy.premium, sell.premium) == (220 * UNIT, -180 * UNIT)
        assert quotes.best() is buy
        assert quotes.best(Side.SELL) is sell
        assert buy.trade.trade_id != sell.trade.trade_id
        await sell.accept()
        ours, theirs = await pair.settled()
        assert ours.portfolio.net_to_b == -180 * UNIT
        assert ours.portfolio.positions[0].quantity == -2 * WAD
        assert theirs.phase is Phase.IDLE
        with pytest.raises(IllegalCommandError):  # the other side died with it
            await buy.accept()


async def test_both_sides_declined_one_after_the_other(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path) as (pair, _):
        for quote in (await pair.channel.request_quote([put(pair.alice)])).all:
            await quote.decline()
        ours, _ = await pair.settled()
        assert ours.portfolio.positions == ()


async def test_one_side_alone(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path) as (pair, maker):
        quotes = await pair.channel.request_quote([put(pair.alice, 2)], Side.SELL)
        (request,) = maker.seen
        assert not request.both_sides
        assert request.legs[0].quantity == -2 * WAD
        assert (quotes.buy, quotes.best().premium) == (None, -180 * UNIT)
        with pytest.raises(RejectedError, match="no price on this side"):
            quotes.best(Side.BUY)


async def test_a_maker_may_name_one_price_for_both(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path, bid=None) as (pair, _):
        quotes = await pair.channel.request_quote([put(pair.alice)])
        assert (quotes.sell, quotes.best().side) == (None, Side.BUY)


async def test_the_side_that_margin_allows_is_quoted_alone(world: World, tmp_path: Path) -> None:
    """B can sell no 60 puts on this deposit, and can buy them."""
    async with quoted(world, tmp_path, ask=1) as (pair, _):
        quotes = await pair.channel.request_quote([put(pair.alice, 60)])
        assert quotes.buy is None
        assert quotes.sell is not None


async def test_a_quote_for_other_legs_is_declined(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = makers_module.trade_draft

    def twice(*, legs: tuple[Leg, ...], **rest: Any) -> Any:
        return made(legs=(attrs.evolve(legs[0], quantity=2 * legs[0].quantity),), **rest)

    async with quoted(world, tmp_path, bid=None) as (pair, _):
        monkeypatch.setattr(quoting_module, "trade_draft", twice)
        with pytest.raises(RejectedError, match="other legs than asked"):
            await pair.channel.request_quote([put(pair.alice)])
        ours, _ = await pair.settled()
        assert ours.portfolio.positions == ()


async def test_the_wrong_side_is_declined(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = makers_module.trade_draft

    def other_way(*, legs: tuple[Leg, ...], **rest: Any) -> Any:
        return made(legs=reversed_legs(legs), **rest)

    async with quoted(world, tmp_path) as (pair, _):
        monkeypatch.setattr(quoting_module, "trade_draft", other_way)
        with pytest.raises(RejectedError, match="other legs than asked"):
            await pair.channel.request_quote([put(pair.alice)], Side.BUY)
        await pair.settled()


async def test_twenty_legs_and_no_more(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path, ask=0) as (pair, _):
        ratios = [1, -2, 1, -1, 3] * 4
        legs = [
            put(pair.alice, ratio, strike=2_000 + 100 * place) for place, ratio in enumerate(ratios)
        ]
        await (await pair.channel.request_quote(legs)).best().accept()
        ours, _ = await pair.settled()
        assert [each.quantity for each in ours.portfolio.positions] == [
            ratio * WAD for ratio in ratios
        ]
        for wrong in ([], [*legs, put(pair.alice)]):
            with pytest.raises(InvalidValueError, match="1 to 20 legs"):
                await pair.channel.request_quote(wrong)


async def test_a_hedge_moves_delta_and_no_premium(world: World, tmp_path: Path) -> None:
    """A forward struck at the reference price is worth nothing where the carry is."""
    async with trading(world, tmp_path) as pair:
        option = put(pair.alice, 10)
        bare = (await pair.channel.request_quote([option])).best()
        premium = bare.premium
        await bare.decline()
        await pair.settled()

        async def no_charge(request: QuoteRequest) -> MakerQuote | None:
            fair = await FairMaker(pair.b.market)(request)
            assert fair is not None
            hedge = request.legs[1]
            assert hedge.strike == pair.b.market.spot
            return attrs.evolve(fair, prices=(fair.prices[0], 0))

        object.__setattr__(pair.bob.peer._setup, "maker", no_charge)
        hedge = HedgeLeg(FEED_NAME, expiry=expiry_of(pair.alice), reference=3_000, delta=5)
        hedged = (await pair.channel.request_quote([option, hedge])).best()
        assert hedged.premium == premium
        # A long put and a long forward lose less than the put's writer can: margin is shared.
        assert hedged.portfolio.margin_b < bare.portfolio.margin_b
        await hedged.accept()
        await pair.settled()


async def test_a_part_at_the_quotes_price(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path, least=WAD // 4) as (pair, _):
        quotes = await pair.channel.request_quote([put(pair.alice, 4)])
        quote = quotes.best()
        assert quote.least == WAD // 4
        for wrong in ("0.2", "1.5", 0, "-1"):
            with pytest.raises(InvalidValueError, match="a part of"):
                await quote.accept(wrong)
        confirmed = await quote.accept("0.25")
        ours, _ = await pair.settled()
        assert ours.portfolio.positions[0].quantity == WAD
        assert ours.portfolio.net_to_b == 110 * UNIT
        assert isinstance(confirmed.change, Trade)
        assert confirmed.change.trade_id == part_id(quote.trade.trade_id)


async def test_a_part_of_the_side_we_sell(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path, least=1) as (pair, _):
        quotes = await pair.channel.request_quote([put(pair.alice, 4)])
        assert quotes.sell is not None
        await quotes.sell.accept("0.75")
        ours, _ = await pair.settled()
        assert ours.portfolio.positions[0].quantity == -3 * WAD
        assert ours.portfolio.net_to_b == -270 * UNIT


async def test_all_or_none(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path) as (pair, _):
        quote = (await pair.channel.request_quote([put(pair.alice, 4)])).best()
        with pytest.raises(InvalidValueError, match="allows 1 to 1"):
            await quote.accept("0.5")
        await quote.accept()


async def test_a_part_is_taken_once_and_not_at_other_prices(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path, least=1, bid=None) as (pair, _):
        quote = (await pair.channel.request_quote([put(pair.alice, 4)])).best()
        half = part(quote.trade, WAD // 2)
        cheaper = attrs.evolve(half, premium=0, legs=(attrs.evolve(half.legs[0], price=0),))
        with pytest.raises(RejectedError, match="did not ask"):
            await pair.channel.take_part(quote.proposal, cheaper)
        # Its word stands until the quote expires: the true half is still to be had, and once only.
        await propose(pair, half)
        ours, _ = await pair.settled()
        assert ours.portfolio.net_to_b == 220 * UNIT
        with pytest.raises(RejectedError, match="did not ask"):
            await propose(pair, half)


async def test_a_part_after_the_quote_has_expired(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path, least=1) as (pair, _):
        quote = (await pair.channel.request_quote([put(pair.alice, 4)])).best()
        await pair.travel(by=12, in_flight=True)
        with pytest.raises(RejectedError, match="expired"):
            await quote.accept("0.5")
        half = part(quote.trade, WAD // 2)
        with pytest.raises(RejectedError, match="did not ask"):
            await propose(pair, half)


async def test_a_cancelled_quote_and_its_parts(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path, least=1) as (pair, _):
        quote = (await pair.channel.request_quote([put(pair.alice, 4)])).best()
        bobs = pair.bob.channel
        await bobs.cancel(quote.proposal.nonce)
        assert (await pair.alice.told(ProposalCancelled)).nonce == quote.proposal.nonce
        await pair.settled()
        with pytest.raises(IllegalCommandError):
            await quote.accept()
        half = part(quote.trade, WAD // 2)
        with pytest.raises(RejectedError, match="did not ask"):
            await propose(pair, half)
        with pytest.raises(IllegalCommandError, match="nothing of ours waits"):
            await bobs.cancel(quote.proposal.nonce)


async def test_cancel_all(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path, channels=2) as (pair, _):
        for channel in pair.alice.peer.channels:
            await channel.request_quote([put(pair.alice)])
        await pair.bob.peer.cancel_all()
        for channel in (*pair.alice.peer.channels, *pair.bob.peer.channels):
            await channel.wait_idle(PATIENCE)
            assert channel.portfolio.positions == ()


async def test_an_untaken_quote_is_taken_back_when_it_expires(world: World, tmp_path: Path) -> None:
    """Long before its box: the chain's time stands still all the while."""
    async with quoted(world, tmp_path, good_for=1) as (pair, _):
        quote = (await pair.channel.request_quote([put(pair.alice)])).best()
        assert (await pair.alice.told(ProposalCancelled)).nonce == quote.proposal.nonce
        await pair.settled()


async def test_a_quote_taken_late_is_told(world: World, tmp_path: Path) -> None:
    late = {"policy": RiskPolicy(take_late_quotes=True)}
    async with quoted(world, tmp_path, good_for=10, alice=late) as (pair, _):
        quote = (await pair.channel.request_quote([put(pair.alice)])).best()
        await pair.travel(by=12, in_flight=True)
        await quote.accept()
        told = await pair.bob.told(QuoteTakenLate)
        assert told.trade_id == quote.trade.trade_id
        assert told.taken_at - told.expired_at == 2


@attrs.define
class ByChannel:
    """A price for each channel; None: no price."""

    fair: FairMaker
    asks: dict[bytes, int | None] = attrs.Factory(dict)

    async def __call__(self, request: QuoteRequest) -> MakerQuote | None:
        ask = self.asks[request.channel_id]
        fair = await self.fair(request)
        assert fair is not None
        if ask is None:
            return None
        return MakerQuote(prices=(ask * WAD,), reverse=((ask - 20) * WAD,), marks=fair.marks)


async def many(pair: Pair, asks: list[int | None]) -> list[PeerChannel]:
    channels = list(pair.alice.peer.channels)
    maker = ByChannel(FairMaker(pair.b.market))
    maker.asks = {each.channel_id: ask for each, ask in zip(channels, asks, strict=True)}
    object.__setattr__(pair.bob.peer._setup, "maker", maker)
    return channels


async def test_the_best_of_many_and_the_others_go_free(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path, channels=4) as (pair, _):
        channels = await many(pair, [120, 105, None, 105])
        found = await best_price(channels, [put(pair.alice)])
        assert found.quote.channel.channel_id == channels[1].channel_id
        assert found.quote.premium == 105 * UNIT
        answers = [found.answers[each.channel_id] for each in channels]
        assert [answers[0], answers[1], answers[3]] == [120 * UNIT, 105 * UNIT, 105 * UNIT]
        assert isinstance(answers[2], RejectedError)
        for loser in (channels[0], channels[2], channels[3]):
            await loser.wait_idle(PATIENCE)
        await found.quote.accept()
        assert channels[1].portfolio.net_to_b == 105 * UNIT


async def test_the_best_to_sell_to(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path, channels=2) as (pair, _):
        channels = await many(pair, [120, 105])
        found = await best_price(channels, [put(pair.alice)], Side.SELL)
        assert found.quote.premium == -100 * UNIT


async def test_nobody_names_a_price(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path, channels=2) as (pair, _):
        channels = await many(pair, [None, None])
        with pytest.raises(RejectedError, match="none of 2") as caught:
            await best_price(channels, [put(pair.alice)])
        assert isinstance(caught.value.__cause__, ExceptionGroup)
        with pytest.raises(InvalidValueError):
            await best_price([], [put(pair.alice)])


async def test_a_quote_that_comes_too_late_is_declined(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience ends when one of two has answered, however long that took."""
    patience, ask = trio.CancelScope(), PeerChannel.request_quote
    stand_in = SimpleNamespace(**{**vars(trio), "move_on_after": lambda _: patience})
    monkeypatch.setattr(sys.modules["channels.peer.best_price"], "trio", stand_in)

    asked, gate = trio.Event(), trio.Event()

    async def answered(channel: PeerChannel, *request: Any, **how: Any) -> Any:
        quotes = await ask(channel, *request, **how)
        await asked.wait()
        patience.deadline = trio.current_time()
        return quotes

    async with quoted(world, tmp_path, channels=2) as (pair, _):
        channels = await many(pair, [120, 100])
        maker = pair.bob.peer._setup.maker
        assert maker is not None

        async def slow(request: QuoteRequest) -> MakerQuote | None:
            if request.channel_id == channels[1].channel_id:
                asked.set()
                await gate.wait()
            return await maker(request)

        object.__setattr__(pair.bob.peer._setup, "maker", slow)
        monkeypatch.setattr(PeerChannel, "request_quote", answered)
        found = await best_price(channels, [put(pair.alice)])
        assert found.quote.premium == 120 * UNIT
        assert found.answers[channels[1].channel_id] is None
        gate.set()
        await channels[1]._until(lambda channel: channel.ledger.nonce > 0, PATIENCE, "decline")
        await channels[1].wait_idle(PATIENCE)
        assert channels[1].portfolio.positions == ()


# -- why there is no quote


SECRET = "https://node.example/key-of-ours failed"


async def refused(pair: Pair, legs: list[Leg], *, ttl: int = 10) -> str:
    with pytest.raises(RejectedError) as caught:
        await pair.channel.request_quote(legs, ttl=ttl)
    return str(caught.value.args[0])


@pytest.mark.parametrize(
    ("cause", "mode", "asked", "text"),
    [
        (Cause.ENDPOINT, Mode.HALTED, 0, "not trading for now"),
        (Cause.LIMIT, Mode.REDUCE_ONLY, 1, "not trading for now"),
        (Cause.OPERATOR, Mode.HALTED, 0, f"not trading for now: {SECRET}"),
    ],
)
async def test_a_halt_is_told_and_its_reason_only_where_the_owner_gave_it(
    cause: Cause, mode: Mode, asked: int, text: str, world: World, tmp_path: Path
) -> None:
    async with quoted(world, tmp_path) as (pair, maker):
        halt = SetMode(mode=mode, reason=SECRET, cause=cause)
        await pair.bob.channel._runner.feed(halt)
        assert await refused(pair, [put(pair.alice)]) == f"no quote: LIMIT {text}"
        assert len(maker.seen) == asked
        with pytest.raises(RejectedError) as caught:
            await pair.channel.propose_trade([put(pair.alice)], [100 * WAD])
        assert str(caught.value.args[0]) == f"LIMIT {text}"


async def test_what_cannot_be_settled_is_not_asked_of_the_maker(
    world: World, tmp_path: Path
) -> None:
    async with quoted(world, tmp_path) as (pair, maker):
        leg = put(pair.alice)
        for wrong, why in (
            (attrs.evolve(leg, expiry=leg.expiry + 1), "full hour"),
            (attrs.evolve(leg, feed=feed_id("XYZ-USD")), "no margin parameters for XYZ-USD"),
            (attrs.evolve(leg, expiry=leg.expiry - 30 * DAY), "tenor"),
        ):
            text = await refused(pair, [wrong])
            assert text.startswith("no quote: INVALID")
            assert why in text
        assert maker.seen == []


async def test_more_than_a_party_has_margin_for(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path) as (pair, _):
        text = await refused(pair, [put(pair.alice, 1_000)])
        assert text == "no quote: MARGIN a party would not meet its initial margin"


async def test_a_fault_of_ours_is_ours_to_know(world: World, tmp_path: Path) -> None:
    async def broken(request: QuoteRequest) -> MakerQuote | None:
        raise ZeroDivisionError(SECRET)

    async with trading(world, tmp_path, bob={"maker": broken}) as pair:
        assert await refused(pair, [put(pair.alice)]) == "no quote: DECLINED"
        assert SECRET in str(await pair.bob.told(OurError))


async def test_what_is_in_flight_is_told_in_time(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path, good_for=60) as (pair, _):
        await pair.channel.request_quote([put(pair.alice)], ttl=60)
        text = await refused(pair, [put(pair.alice)], ttl=6)
        assert text == "no quote: BUSY something else is in flight"


async def test_a_change_that_comes_while_the_maker_thinks_is_waited_for(
    world: World, tmp_path: Path
) -> None:
    thought, turned_down = trio.Event(), trio.Event()

    async def turns_down(trade: Trade, portfolio: Portfolio) -> bool:
        await thought.wait()
        await trio.testing.wait_all_tasks_blocked()
        turned_down.set()
        return False

    async with (
        quoted(world, tmp_path, alice={"accept_trade": turns_down}) as (pair, maker),
        trio.open_nursery() as nursery,
    ):
        runner = pair.bob.channel._runner

        async def propose_meanwhile(request: QuoteRequest, answer: MakerQuote) -> None:
            draft = trade_draft(
                trade_id=bytes(32),
                legs=request.legs,
                prices=answer.prices,
                requester=pair.bob.channel.side,
                marks=answer.marks,
                unit=UNIT,
            )
            with pytest.raises(RejectedError):
                await pair.bob.channel._propose(lambda _: draft, PATIENCE)

        async def slow(request: QuoteRequest) -> MakerQuote | None:
            answer = await maker(request)
            if not thought.is_set():
                assert answer is not None
                nursery.start_soon(propose_meanwhile, request, answer)
                await runner.wait_until(lambda channel: channel.phase is Phase.PROPOSED)
                thought.set()
            return answer

        object.__setattr__(pair.bob.peer._setup, "maker", slow)
        quotes = await pair.channel.request_quote([put(pair.alice, 2)], Side.BUY, ttl=60)
        assert turned_down.is_set()
        assert quotes.best().premium == 220 * UNIT
        assert len(maker.seen) == 2
