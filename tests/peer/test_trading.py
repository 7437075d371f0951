"""Two peers over real sockets and a chain in process: the business that goes well, and what not."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import attrs
import pytest
import trio

import channels.peer.news as news_module
from channels.chain.contracts import Token
from channels.errors import (
    IllegalCommandError,
    InvalidValueError,
    PeerTimeoutError,
    RejectedError,
)
from channels.peer import MakerQuote, QuoteRequest
from channels.protocol.changes import Trade
from channels.protocol.channel import Mode, Phase, Timing
from channels.protocol.effects import (
    ChangeConfirmed,
    ChannelEnded,
    DisputeSeen,
    OpeningEnded,
    ProposalLapsed,
)
from channels.protocol.facts import OnChainPhase
from channels.protocol.messages import OpenRequest
from channels.protocol.types import Party, Portfolio
from tests.chain.world import FUNDS, World
from tests.peer.world import (
    DEPOSIT,
    FEED,
    FEED_NAME,
    PATIENCE,
    RISK,
    UNIT,
    WAD,
    FairMaker,
    Pair,
    expiry_of,
    open_channel,
    put,
    terms_of,
    trade,
    traders,
    trading,
)


def exact_premium(done: Trade) -> int:
    """What A pays B, from quantities and prices alone, rounded up for B who quoted."""
    return -(-sum(leg.quantity * leg.price for leg in done.legs) * UNIT // (WAD * WAD))


async def test_open_locks_both_deposits(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        ours, theirs = await pair.settled()
        assert ours.channel_id == theirs.channel_id
        assert (ours.equity, theirs.equity) == (DEPOSIT, DEPOSIT)
        assert (ours.side, theirs.side) == (Party.A, Party.B)
        view = await pair.alice.chain.view(ours.channel_id)
        assert view.phase is OnChainPhase.OPEN
        assert await world.token.balance(world.deployment.adjudicator) == 2 * DEPOSIT


async def test_trade_at_once_after_opening(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, opened=False) as pair:
        for _ in range(3):
            channel = await open_channel(pair.alice, pair.b)
            await channel.propose_trade([put(pair.alice)], [100 * WAD])
            assert channel.portfolio.net_to_b == 100 * UNIT


async def test_quote_accept_moves_premium_and_position(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        done = await trade(pair.alice, 2)
        ours, _ = await pair.settled()
        assert done.premium == exact_premium(done) > 0
        assert ours.portfolio.net_to_b == done.premium
        (position,) = ours.portfolio.positions
        assert position.quantity == 2 * WAD
        assert position.strike == 3_000 * WAD
        assert 0 <= ours.margin < done.premium < ours.portfolio.margin_b


async def test_both_sides_ask_and_sell(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        bought = await trade(pair.alice, 3)
        back = await trade(pair.bob, 1)
        sold = await trade(pair.alice, -2)
        ours, _ = await pair.settled()
        assert ours.portfolio.positions == ()
        assert ours.portfolio.net_to_b == bought.premium + back.premium + sold.premium
        assert bought.premium > 0 > back.premium


async def test_rejected_quote_leaves_both_free(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        quotes = await pair.channel.request_quote([put(pair.alice)], ttl=10)
        await quotes.best().decline()
        ours, _ = await pair.settled()
        assert ours.portfolio.positions == ()
        await trade(pair.alice)


async def test_no_price(world: World, tmp_path: Path) -> None:
    async def nothing(request: QuoteRequest) -> MakerQuote | None:
        return None

    async with trading(world, tmp_path, bob={"maker": nothing}) as pair:
        with pytest.raises(RejectedError, match="DECLINED"):
            await pair.channel.request_quote([put(pair.alice)], ttl=10)


async def test_no_maker_at_all(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, bob={"maker": None}) as pair:
        with pytest.raises(RejectedError, match="DECLINED"):
            await pair.channel.request_quote([put(pair.alice)], ttl=10)


async def test_proposed_trade(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        confirmed = await pair.channel.propose_trade([put(pair.alice)], [123 * WAD])
        ours, _ = await pair.settled()
        assert confirmed.portfolio == ours.portfolio
        assert ours.portfolio.net_to_b == 123 * UNIT


async def test_declined_trade_is_voided(world: World, tmp_path: Path) -> None:
    async def no(trade: Trade, portfolio: Portfolio) -> bool:
        return False

    async with trading(world, tmp_path, bob={"accept_trade": no}) as pair:
        with pytest.raises(RejectedError, match="did not ask"):
            await pair.channel.propose_trade([put(pair.alice)], [123 * WAD])
        ours, _ = await pair.settled()
        assert ours.portfolio.net_to_b == 0
        await trade(pair.alice)


@pytest.mark.parametrize(
    ("changed", "figure"),
    [
        ({"spot": 3_031 * WAD}, f"spot {3_000 * WAD}, ours {3_031 * WAD}"),
        ({"vol": WAD * 71 // 100}, f"ours {WAD * 71 // 100}"),
        ({"carry": WAD * 6 // 100}, f"ours {WAD * 6 // 100}"),
    ],
    ids=["spot", "vol", "carry"],
)
async def test_marks_beyond_tolerance_are_rejected_with_figures(
    changed: dict[str, int], figure: str, world: World, tmp_path: Path
) -> None:
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice)
        for name, value in changed.items():
            setattr(pair.b.market, name, value)
        before = (await pair.settled())[0].portfolio
        await pair.travel(by=60)
        with pytest.raises(RejectedError, match="MARKS") as caught:
            await pair.channel.remark()
        assert figure in str(caught.value)
        assert (await pair.settled())[0].portfolio == before


async def test_marks_at_tolerance_are_signed(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice)
        pair.a.market.spot = 2_970 * WAD
        await pair.travel(by=60)
        await pair.channel.remark()
        ours, _ = await pair.settled()
        assert ours.portfolio.spots[0].price == 2_970 * WAD


async def test_settlement_pays_the_payoff(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        done = await trade(pair.alice, 2)
        expiry = done.legs[0].expiry
        await pair.travel(to=expiry + 60)
        pair.a.market.spot = pair.b.market.spot = 2_900 * WAD
        await pair.channel.settle(FEED_NAME, expiry, 2_900 * WAD)
        ours, _ = await pair.settled()
        assert ours.portfolio.positions == ()
        assert ours.portfolio.net_to_b == done.premium - 200 * UNIT


async def test_settlement_with_another_price_is_rejected(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        expiry = (await trade(pair.alice)).legs[0].expiry
        await pair.travel(to=expiry + 60)
        with pytest.raises(RejectedError, match=f"PRICE.*ours {3_000 * WAD}"):
            await pair.channel.settle(FEED_NAME, expiry, 2_900 * WAD)
        ours, _ = await pair.settled()
        assert len(ours.portfolio.positions) == 1
        await pair.channel.settle(FEED_NAME, expiry, 3_000 * WAD)


async def test_settlement_that_we_do_not_know_yet(world: World, tmp_path: Path) -> None:
    async def unknown(feed: bytes, expiry: int) -> int | None:
        return None

    async with trading(world, tmp_path, bob={"settlement_price": unknown}) as pair:
        expiry = (await trade(pair.alice)).legs[0].expiry
        await pair.travel(to=expiry + 60)
        with pytest.raises(RejectedError, match="ours None"):
            await pair.channel.settle(FEED_NAME, expiry, 3_000 * WAD)


@pytest.mark.parametrize("asked", [True, False])
async def test_a_trade_leaves_the_marks_that_are_near_enough(
    world: World, tmp_path: Path, asked: bool
) -> None:
    """A quote or proposal a slot later, 4 basis points off, marks nothing but what it adds."""
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice)
        before = pair.channel.portfolio
        await pair.travel(by=12)
        for trader in (pair.a, pair.b):
            trader.market.spot = trader.market.spot * 10_004 // 10_000
            trader.market.vol += WAD // 1_000
        added = put(pair.alice, strike=3_200)
        if asked:
            await (await pair.channel.request_quote([added], ttl=10)).best().accept()
        else:
            await pair.channel.propose_trade([added], [300 * WAD])
        after, _ = await pair.settled()
        assert (after.portfolio.marked_at, after.portfolio.spots) == (
            before.marked_at,
            before.spots,
        )
        held, new = after.portfolio.positions
        assert (held, new.strike, new.vol) == (
            before.positions[0],
            3_200 * WAD,
            pair.a.market.vol,
        )
        await after.remark()
        assert after.portfolio.marked_at == before.marked_at + 12
        assert after.portfolio.spot(FEED) == pair.a.market.spot


async def test_simultaneous_proposals_both_come_to_stand(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        lapsed: list[ProposalLapsed] = []
        rounds = 0
        while not lapsed and rounds < 50:  # on a busy machine they may come one after the other
            rounds += 1
            async with trio.open_nursery() as nursery:
                for desk, price in ((pair.alice, 100), (pair.bob, 90)):
                    nursery.start_soon(desk.channel.propose_trade, [put(desk)], [price * WAD])
            ours, _ = await pair.settled()
            # A bought one put and B another: they cancel, and A paid 10 more than it got.
            assert ours.portfolio.positions == ()
            assert ours.portfolio.net_to_b == 10 * UNIT * rounds
            with suppress(trio.WouldBlock):
                while True:
                    notice = pair.alice.events.receive_nowait().notice
                    if isinstance(notice, ProposalLapsed):
                        lapsed.append(notice)
        assert [each.overtaken for each in lapsed] == [True]


async def test_simultaneous_proposals_one_declined(world: World, tmp_path: Path) -> None:
    """Bob's goes first and is declined; Alice's is made again once no box stands in its way."""

    async def no(trade: Trade, portfolio: Portfolio) -> bool:
        return False

    # Bob's box is the shorter one, so that he has seen it pass when Alice sees her own pass.
    short = {"timing": Timing(box=114)}
    async with trading(world, tmp_path, alice={"accept_trade": no}, bob=short) as pair:
        waited = False
        rounds = 0
        while not waited and rounds < 50:  # on a busy machine they may come one after the other
            rounds += 1
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pair.channel.propose_trade, [put(pair.alice)], [100 * WAD])
                with pytest.raises(RejectedError, match="did not ask"):
                    await pair.bob.channel.propose_trade([put(pair.bob)], [90 * WAD])
                # No void came with the answer: what Bob has signed is in the way of all else.
                waited = pair.bob.channel.phase is Phase.PROPOSED
                if waited:
                    await pair.travel(by=116, in_flight=True)
                    await pair.travel(by=6, in_flight=True)
            ours, _ = await pair.settled()
            assert ours.portfolio.net_to_b == 100 * UNIT * rounds
        assert waited


async def test_many_proposals_at_once_all_come_to_stand(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                for desk in (pair.alice, pair.bob):
                    nursery.start_soon(desk.channel.propose_trade, [put(desk)], [100 * WAD])
        ours, _ = await pair.settled()
        assert ours.portfolio.positions == ()
        assert ours.portfolio.net_to_b == 0


async def test_quote_nobody_waits_for_is_declined(world: World, tmp_path: Path) -> None:
    go = trio.Event()

    async with trading(world, tmp_path) as pair:
        honest = FairMaker(pair.b.market)

        async def late(request: QuoteRequest) -> MakerQuote | None:
            await go.wait()
            return await honest(request)

        pair.bob.peer._quoting._setup = attrs.evolve(pair.bob.peer._quoting._setup, maker=late)
        with trio.move_on_after(0.05):
            await pair.channel.request_quote([put(pair.alice)], ttl=10)
        go.set()
        while pair.channel.state.ledger.nonce == 0:  # the void of what nobody waits for
            await pair.alice.told(ChangeConfirmed)
        ours, _ = await pair.settled()
        assert ours.portfolio.positions == ()
        await trade(pair.alice)


async def test_late_quote_is_a_timeout(world: World, tmp_path: Path) -> None:
    async def never(request: QuoteRequest) -> MakerQuote | None:
        await trio.sleep_forever()
        raise AssertionError

    async with trading(world, tmp_path, bob={"maker": never}) as pair:
        with pytest.raises((PeerTimeoutError, RejectedError)):
            await pair.channel.request_quote([put(pair.alice)], ttl=1)
        await pair.settled()


async def test_quote_accepted_twice_trades_once(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        quote = (await pair.channel.request_quote([put(pair.alice)], ttl=10)).best()
        outcomes: list[str] = []

        async def take() -> None:
            try:
                await quote.accept()
                outcomes.append("taken")
            except IllegalCommandError:
                outcomes.append("refused")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            nursery.start_soon(take)
        assert sorted(outcomes) == ["refused", "taken"]
        ours, _ = await pair.settled()
        assert ours.portfolio.positions[0].quantity == WAD


# -- opening


async def test_peer_declines_to_open(world: World, tmp_path: Path) -> None:
    async def no(request: OpenRequest) -> bool:
        return False

    async with trading(world, tmp_path, opened=False, bob={"accept_opening": no}) as pair:
        with pytest.raises(RejectedError, match="do not open on these terms"):
            await open_channel(pair.alice, pair.b)
        ended = await pair.alice.told(OpeningEnded)
        assert "do not open" in ended.text
        assert pair.channel.phase is Phase.ABANDONED
        assert pair.bob.peer.channels == ()


async def test_without_a_decision_nothing_is_opened(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, opened=False, bob={"accept_opening": None}) as pair:
        with pytest.raises(RejectedError):
            await open_channel(pair.alice, pair.b)


async def test_terms_that_do_not_name_our_wallet(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, opened=False) as pair:
        with pytest.raises(InvalidValueError, match="not our wallet"):
            await open_channel(pair.alice, pair.b, party_a=world.deployment.token)
        assert pair.alice.peer.channels == ()


async def test_terms_that_do_not_name_the_peers_wallet(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, opened=False) as pair:
        with pytest.raises(RejectedError, match="not our wallet"):
            await open_channel(pair.alice, pair.b, party_b=world.deployment.token)
        assert pair.bob.peer.channels == ()


async def test_terms_that_name_another_signer_than_answers(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, opened=False) as pair:
        with pytest.raises(InvalidValueError, match="not as the terms say"):
            await open_channel(pair.alice, pair.b, signer_b=world.deployment.token)


async def test_the_same_terms_twice(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        with pytest.raises(InvalidValueError, match="exists"):
            await pair.alice.peer.open(
                peer=str(pair.b.listen),
                terms=pair.channel.terms,
                risk=RISK,
                deposit=DEPOSIT,
            )
        await trade(pair.alice)


async def test_terms_the_contract_would_refuse(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, opened=False) as pair:
        with pytest.raises(InvalidValueError, match="dispute_window"):
            await open_channel(pair.alice, pair.b, dispute_window=1)


async def test_nobody_listens(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, opened=False) as pair:
        nobody = f"unix:{tmp_path}/nobody"
        with pytest.raises(PeerTimeoutError, match="cannot connect"):
            await pair.alice.peer.connect(nobody, timeout=0.3)
        with pytest.raises(InvalidValueError):
            await pair.alice.peer.connect("nonsense")
        await open_channel(pair.alice, pair.b)


async def test_two_channels_between_two_peers(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        second = await open_channel(pair.alice, pair.b)
        assert len(pair.alice.peer.channels) == 2
        assert len(pair.bob.peer._connections._sessions) == 1
        assert [len(each) for each in pair.bob.peer._connections._sessions.values()] == [1]
        for channel in pair.alice.peer.channels:
            await channel.propose_trade([put(pair.alice)], [100 * WAD])
        assert second.portfolio.net_to_b == 100 * UNIT


# -- the end


async def test_close_pays_to_the_unit(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        bought = await trade(pair.alice, 3)
        sold = await trade(pair.alice, -3)
        net = bought.premium + sold.premium
        assert net > 0
        await pair.channel.close(PATIENCE)
        await pair.bob.channel.wait_closed(PATIENCE)
        token = Token(world.rpc, world.deployment.token)
        assert await token.balance(world.a.address) == FUNDS - net
        assert await token.balance(world.b.address) == FUNDS + net
        assert await token.balance(world.deployment.adjudicator) == 0
        assert (await pair.bob.told(ChannelEnded)).phase is OnChainPhase.CLOSED


async def test_close_with_open_positions_is_refused(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice)
        with pytest.raises(IllegalCommandError, match="positions are open"):
            await pair.channel.close(PATIENCE)
        await trade(pair.alice, -1)


async def test_nothing_is_traded_in_a_closed_channel(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        await pair.channel.close(PATIENCE)
        with pytest.raises(IllegalCommandError, match="CLOSED"):
            await pair.channel.propose_trade([put(pair.alice)], [WAD])
        with pytest.raises(IllegalCommandError, match="CLOSED"):
            await pair.channel.request_quote([put(pair.alice)])


async def test_dispute_by_hand(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice)
        await pair.channel.dispute()
        seen = await pair.bob.told(DisputeSeen)
        ours = pair.channel.state.ledger.full.state
        assert seen.recorded == ours.nonce
        assert not seen.stale
        view = await pair.bob.chain.view(pair.channel.channel_id)
        assert (view.phase, view.nonce) == (OnChainPhase.DISPUTED, ours.nonce)
        for desk in (pair.alice, pair.bob):
            with pytest.raises(IllegalCommandError):
                await desk.channel.propose_trade([put(desk)], [WAD])


async def test_halted_channel_says_why(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        await pair.channel.set_mode(Mode.HALTED, "no feed")
        with pytest.raises(InvalidValueError, match="halted: no feed"):
            await pair.channel.propose_trade([put(pair.alice)], [WAD])
        with pytest.raises(RejectedError, match=r"LIMIT.*no feed"):
            await pair.bob.channel.propose_trade([put(pair.bob)], [WAD])
        await pair.channel.set_mode(Mode.NORMAL, "")
        await trade(pair.alice)


# -- again


async def test_both_restart_with_an_open_position(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice, 2)
        a, b = pair.a, pair.b
        before = (await pair.settled())[0].state.ledger.full
    async with b.running() as bob, a.running() as alice:
        again = Pair(world=world, a=a, b=b, alice=alice, bob=bob)
        assert alice.channel.state.ledger.full == before
        await alice.peer.connect(str(b.listen))
        await trade(alice, 1)
        await trade(bob, 1)
        ours, _ = await again.settled()
        assert ours.portfolio.positions[0].quantity == 2 * WAD
        await trade(alice, -2)
        await alice.channel.close(PATIENCE)


async def test_one_restarts_and_the_other_comes_back(world: World, tmp_path: Path) -> None:
    a, b = traders(world, tmp_path)
    async with a.running() as alice:
        async with b.running():
            await open_channel(alice, b)
            await trade(alice)
        connections = alice.peer._connections
        for _ in range(2):
            before = list(connections._sessions.get(world.signer_b.address, ()))
            async with b.running() as bob:
                with trio.fail_after(PATIENCE):
                    while set(connections._sessions.get(world.signer_b.address, ())) <= set(before):
                        await connections._new_session.wait()
                await trade(alice)
                await Pair(world=world, a=a, b=b, alice=alice, bob=bob).settled()
        assert alice.channel.portfolio.positions[0].quantity == 3 * WAD


async def test_a_proposal_waits_for_the_peer_to_come_back(world: World, tmp_path: Path) -> None:
    a, b = traders(world, tmp_path)
    async with a.running() as alice:
        async with b.running():
            await open_channel(alice, b)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alice.channel.propose_trade, [put(alice)], [100 * WAD])
            await alice.channel._runner.wait_until(lambda state: state.phase is Phase.PROPOSED)
            async with b.running() as bob:
                await Pair(world=world, a=a, b=b, alice=alice, bob=bob).settled()
                await bob.channel._runner.wait_until(lambda state: state.ledger.nonce > 0)
        assert alice.channel.portfolio.net_to_b == 100 * UNIT


async def test_forgotten_proposal_is_declined_after_a_restart(world: World, tmp_path: Path) -> None:
    async def slow(trade: Trade, portfolio: Portfolio) -> bool:
        await trio.sleep_forever()
        raise AssertionError

    a, b = traders(world, tmp_path)
    async with a.running() as alice, trio.open_nursery() as nursery:

        async def propose() -> None:
            with pytest.raises(RejectedError, match="started again"):
                await alice.channel.propose_trade([put(alice)], [100 * WAD])

        async with b.running(accept_trade=slow) as bob:
            await open_channel(alice, b)
            nursery.start_soon(propose)
            await bob.channel._runner.wait_until(lambda state: state.phase is Phase.RECEIVED)
            await bob.channel.set_mode(Mode.REDUCE_ONLY, "stores what was received")
            await bob.channel.set_mode(Mode.NORMAL, "")
        async with b.running() as bob:
            await alice.channel.wait_idle(PATIENCE)
            await trade(alice)


async def test_a_store_of_another_signer_is_refused(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        a = pair.a
    with pytest.raises(InvalidValueError, match="another signer"):
        async with a.running(signer=world.signer_b):
            pass


# -- events


async def test_events_come_in_order_without_gap(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair, pair.alice.peer.events() as events:
        for _ in range(3):
            await trade(pair.alice)
        told = [events.receive_nowait() for _ in range(events.statistics().current_buffer_used)]
    first = told[0].sequence
    assert [each.sequence for each in told] == list(range(first, first + len(told)))
    nonces = [each.notice.nonce for each in told if isinstance(each.notice, ChangeConfirmed)]
    assert len(nonces) == 3
    assert nonces == sorted(nonces)


async def test_a_slow_reader_sees_the_gap(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news_module, "EVENT_BUFFER", 2)
    async with trading(world, tmp_path) as pair, pair.alice.peer.events() as events:
        for _ in range(3):
            await trade(pair.alice)
        assert events.statistics().current_buffer_used == 2
        before = [(await events.receive()).sequence for _ in range(2)]
        await trade(pair.alice)
        after = (await events.receive()).sequence
    assert before[1] == before[0] + 1
    assert after > before[1] + 1


async def test_a_reader_that_left_harms_nobody(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair, pair.alice.peer.events() as events:
        await events.aclose()
        await trade(pair.alice)


# -- places


async def test_unix_socket(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, listen=f"unix:{tmp_path}/bob.sock") as pair:
        await trade(pair.alice)
        await pair.settled()


async def test_both_connect_to_each_other(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, alice={"listen": "127.0.0.1:0"}) as pair:
        await pair.bob.peer.connect(str(pair.alice.peer.listening))
        for desk in (pair.alice, pair.bob, pair.alice):
            await trade(desk)
        ours, _ = await pair.settled()
        assert ours.portfolio.positions[0].quantity == WAD


async def test_what_the_block_raises_comes_out_as_it_is(world: World, tmp_path: Path) -> None:
    a, _ = traders(world, tmp_path)
    with pytest.raises(LookupError, match="the caller's own"):
        async with a.running():
            raise LookupError("the caller's own")


async def test_expiry_and_terms_are_of_the_test_itself(world: World, tmp_path: Path) -> None:
    """The helpers' own promise: full hours, and terms that pass."""
    async with trading(world, tmp_path) as pair:
        assert expiry_of(pair.alice) % 3_600 == 0
        assert terms_of(world) != terms_of(world)
