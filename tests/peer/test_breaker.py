"""The circuit breaker: each cause sets its halt, and lifts it when it is over; the kill switch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from channels.errors import (
    EndpointError,
    IllegalCommandError,
    InvalidValueError,
    PeerTimeoutError,
    RejectedError,
)
from channels.peer import BreakerPolicy, RiskPolicy
from channels.peer.breaker import Breaker, Seen, decide, jumped
from channels.peer.runner import Runner
from channels.protocol import events as e
from channels.protocol import machine
from channels.protocol.changes import Marks, Trade
from channels.protocol.channel import Channel, Mode, Phase
from channels.protocol.effects import ModeChanged, Outcome, ProposalCancelled
from channels.protocol.eip712 import Address
from channels.protocol.facts import Head
from channels.protocol.halts import Cause
from channels.protocol.types import Party, Portfolio
from tests.chain.world import World
from tests.peer.world import (
    FEED,
    PATIENCE,
    WAD,
    Desk,
    open_channel,
    put,
    trade,
    traders,
    trading,
)
from tests.protocol.build import SIGNERS
from tests.protocol.world import opened

POLICY = BreakerPolicy()
QUICK = BreakerPolicy(look_interval=0.02)
NOW = 1_000_000


def idle() -> Channel:
    return opened().alice.channel


def seen(**changes: Any) -> Seen:
    return attrs.evolve(Seen(now=NOW, head_time=NOW), **changes)


CAUSES: list[tuple[Cause, Mode, dict[str, Any], str]] = [
    (Cause.PRICE, Mode.HALTED, {"no_price": "the feed is down"}, "the feed is down"),
    (Cause.PRICE, Mode.HALTED, {"marked_at": NOW - 61}, "61 s old"),
    (Cause.JUMP, Mode.HALTED, {"jump": "ETH-USD jumped"}, "jumped"),
    (Cause.LIMIT, Mode.REDUCE_ONLY, {"limit": "vega 12 of 10"}, "vega"),
    (Cause.CHAIN, Mode.HALTED, {"head_time": NOW - 37}, "37 s old"),
    (Cause.ENDPOINT, Mode.HALTED, {"trouble": "two endpoints disagree"}, "disagree"),
    (Cause.DISPUTE, Mode.REDUCE_ONLY, {"disputed_elsewhere": "channel 0xab"}, "0xab"),
    (Cause.MARKS, Mode.REDUCE_ONLY, {"marks_disputed": "2 positions"}, "2 positions"),
]


@pytest.mark.parametrize(("cause", "mode", "changes", "said"), CAUSES)
def test_each_cause_says_why(cause: Cause, mode: Mode, changes: dict[str, Any], said: str) -> None:
    (halt,) = decide(POLICY, idle(), seen(**changes))
    assert (halt.cause, halt.mode) == (cause, mode)
    assert said in halt.reason


def test_nothing_wrong_is_no_halt() -> None:
    within = seen(marked_at=NOW - 60, head_time=NOW - 36)
    assert decide(POLICY, idle(), seen()) == decide(POLICY, idle(), within) == ()


def test_causes_stand_side_by_side() -> None:
    every: dict[str, Any] = {}
    for _, _, changes, _ in CAUSES:
        every |= changes
    halts = decide(POLICY, idle(), seen(**every))
    assert [each.cause for each in halts] == [
        Cause.PRICE,
        Cause.JUMP,
        Cause.LIMIT,
        Cause.CHAIN,
        Cause.ENDPOINT,
        Cause.DISPUTE,
        Cause.MARKS,
    ]


def test_a_jump_is_beyond_the_band_either_way() -> None:
    band = {FEED: 110 * WAD}
    assert jumped(POLICY, {FEED: 100 * WAD}, band) == ""
    assert "from 100 to 110" in jumped(POLICY, {FEED: 100 * WAD}, {FEED: 110 * WAD + 1})
    assert jumped(POLICY, {FEED: 100 * WAD}, {FEED: 90 * WAD}) == ""
    assert "to 89" in jumped(POLICY, {FEED: 100 * WAD}, {FEED: 89 * WAD})
    assert jumped(POLICY, {}, band) == "", "the first look has nothing to compare with"


@pytest.mark.parametrize(
    "wrong", [{"price_age": 0}, {"jump": -1}, {"calm": 0}, {"head_slots": 0}, {"look_interval": 0}]
)
def test_a_policy_is_valid_by_construction(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match=next(iter(wrong))):
        BreakerPolicy(**wrong)


# -- the task, with a machine but no network


@attrs.define
class Stub:
    """What `Breaker` sees of a runner: a channel, stepped by the real machine."""

    channel: Channel
    counterparty: Address = SIGNERS[Party.B].address
    identity: bytes = b""

    @property
    def channel_id(self) -> bytes:
        return self.identity or self.channel.channel_id

    async def feed(self, event: machine.Event) -> Outcome:
        outcome = machine.run(self.channel, event, SIGNERS[self.channel.side])
        self.channel = outcome.channel
        return outcome


@attrs.define
class Surroundings:
    """Chain, clock and marks as the breaker sees them."""

    now: int = NOW
    trouble: EndpointError | None = None
    lag: int = 0
    disputed: str = ""

    @property
    def head(self) -> Head:
        time = self.now - self.lag
        return Head(
            number=1,
            hash=b"",
            parent_hash=b"",
            timestamp=time,
            final_number=1,
            final_timestamp=time,
        )


def watched(
    stubs: list[Stub], around: Surroundings, policy: BreakerPolicy = POLICY
) -> tuple[Breaker, list[Runner]]:
    runners: list[Any] = list(stubs)
    chain: Any = around
    breaker = Breaker(
        policy=policy,
        chain=chain,
        runners={each.channel_id: each for each in runners},
        now=lambda: around.now,
        disputed_marks=lambda _: around.disputed,
    )
    return breaker, runners


def at(spot: int, time: int = NOW) -> Marks:
    return Marks(marked_at=time, spots={FEED: spot * WAD}, series={})


async def test_causes_come_and_go_and_an_operators_word_stays() -> None:
    stub, around = Stub(idle()), Surroundings()
    breaker, (runner,) = watched([stub], around)
    await stub.feed(e.SetMode(mode=Mode.REDUCE_ONLY, reason="lunch"))
    around.trouble, around.lag, around.disputed = EndpointError("down"), 100, "marks"
    await breaker.look(runner, None, "no price")
    assert [each.cause for each in stub.channel.halts] == [
        Cause.OPERATOR,
        Cause.PRICE,
        Cause.CHAIN,
        Cause.ENDPOINT,
        Cause.MARKS,
    ]
    assert stub.channel.mode is Mode.HALTED
    around.trouble, around.lag = None, 0
    await breaker.look(runner, None, "no price")
    assert {each.cause for each in stub.channel.halts} == {
        Cause.OPERATOR,
        Cause.PRICE,
        Cause.MARKS,
    }
    around.disputed = ""
    await breaker.look(runner, None, "")
    assert [each.cause for each in stub.channel.halts] == [Cause.OPERATOR]
    assert stub.channel.mode_reason == "lunch"


async def test_a_jump_is_believed_once_it_is_calm() -> None:
    stub, around = Stub(idle()), Surroundings()
    breaker, (runner,) = watched([stub], around)
    for spot, after, mode in (
        (3_000, 0, Mode.NORMAL),
        (3_400, 1, Mode.HALTED),
        (3_400, 59, Mode.HALTED),
        (2_900, 59, Mode.HALTED),
        (2_900, 1, Mode.HALTED),
        (2_900, 59, Mode.NORMAL),
    ):
        around.now += after
        await breaker.look(runner, at(spot, around.now), "")
        assert stub.channel.mode is mode, (spot, around.now - NOW)


async def test_a_confirm_that_came_late_lifts_its_halt() -> None:
    stub = Stub(idle())
    breaker, (runner,) = watched([stub], Surroundings())
    await stub.feed(e.SetMode(mode=Mode.REDUCE_ONLY, reason="no Confirm", cause=Cause.NO_CONFIRM))
    stub.channel = attrs.evolve(stub.channel, phase=Phase.ACCEPTED)
    await breaker.look(runner, None, "")
    assert stub.channel.mode is Mode.REDUCE_ONLY
    stub.channel = attrs.evolve(stub.channel, phase=Phase.IDLE)
    await breaker.look(runner, None, "")
    assert stub.channel.mode is Mode.NORMAL


async def test_a_dispute_reduces_the_counterpartys_other_channels_only() -> None:
    disputed = attrs.evolve(idle(), phase=Phase.DISPUTED)
    same, stranger = Stub(idle(), identity=b"same"), Stub(idle(), identity=b"other")
    stranger.counterparty = SIGNERS[Party.A].address
    stubs = [Stub(disputed, identity=b"disputed"), same, stranger]
    breaker, runners = watched(stubs, Surroundings())
    for runner in runners:
        await breaker.look(runner, None, "")
    assert [each.channel.mode for each in stubs] == [
        Mode.REDUCE_ONLY,
        Mode.REDUCE_ONLY,
        Mode.NORMAL,
    ]


async def test_a_limit_of_the_owners_own() -> None:
    breached: list[str] = ["vega"]
    policy = BreakerPolicy(limit=lambda _: next(iter(breached), None))
    stub = Stub(idle())
    breaker, (runner,) = watched([stub], Surroundings(), policy)
    await breaker.look(runner, None, "")
    assert (stub.channel.mode, stub.channel.mode_reason) == (Mode.REDUCE_ONLY, "vega")
    breached.clear()
    await breaker.look(runner, None, "")
    assert stub.channel.mode is Mode.NORMAL


# -- peers at work


async def stands(desk: Desk, mode: Mode) -> None:
    await desk.channel._until(lambda channel: channel.mode is mode, PATIENCE, mode.name)


async def test_a_market_without_price_halts_until_it_has_one(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, alice={"breaker": QUICK}) as pair:
        await trade(pair.alice)
        pair.a.market.broken = InvalidValueError("no fresh price")
        await stands(pair.alice, Mode.HALTED)
        assert "no fresh price" in pair.alice.channel.state.mode_reason
        with pytest.raises(IllegalCommandError, match="no fresh price"):
            await pair.alice.channel.request_quote([put(pair.alice)])
        pair.a.market.broken = None
        await stands(pair.alice, Mode.NORMAL)
        await trade(pair.alice)


async def test_a_lagging_chain_halts_until_a_block_comes(world: World, tmp_path: Path) -> None:
    a, b = traders(world, tmp_path)
    skew = [0]
    async with b.running() as bob:
        async with a.running(breaker=QUICK, clock=lambda: a.market.clock() + skew[0]) as alice:
            await open_channel(alice, b)
            skew[0] = 37
            await stands(alice, Mode.HALTED)
            halt = alice.channel.state.halt(Cause.CHAIN)
            assert halt is not None
            assert "37 s old" in halt.reason
            skew[0] = 0
            await stands(alice, Mode.NORMAL)
        assert bob.channel.state.mode is Mode.NORMAL


async def test_kill_halts_all_and_stands_over_a_restart(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice)
        await pair.alice.peer.kill("enough")
        assert pair.alice.peer.killed == "enough"
        assert (await pair.alice.told(ModeChanged)).cause is Cause.KILL_SWITCH
        with pytest.raises(RejectedError, match=r"LIMIT.*enough"):
            await pair.bob.channel.propose_trade([put(pair.bob)], [WAD])
        await open_channel(pair.alice, pair.b)
        assert {each.state.mode for each in pair.alice.peer.channels} == {Mode.HALTED}
        for channel in pair.alice.peer.channels:
            await channel.set_mode(Mode.NORMAL, "")
            assert channel.state.mode is Mode.HALTED, "only revive lifts it"
        a = pair.a
    async with a.running(breaker=QUICK) as alice:
        assert alice.peer.killed == "enough"
        await alice.peer.revive()
        assert {each.state.mode for each in alice.peer.channels} == {Mode.NORMAL}


async def test_kill_takes_quotes_back(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        quotes = await pair.alice.channel.request_quote([put(pair.alice)], ttl=10)
        await pair.bob.peer.kill("feed looks wrong")
        await pair.alice.told(ProposalCancelled)
        ours, _ = await pair.settled()
        with pytest.raises(IllegalCommandError):
            await quotes.best().accept()
        assert ours.portfolio.positions == ()


async def test_a_remark_passes_a_killed_peer(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice)
        await pair.bob.peer.kill("enough")
        await pair.travel(by=12)
        pair.a.market.spot = pair.b.market.spot = 2_990 * WAD
        await pair.alice.channel.remark()
        ours, _ = await pair.settled()
        assert ours.portfolio.spot(FEED) == 2_990 * WAD


# -- what is taken, and when


async def test_a_quote_past_its_time_is_declined(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        quotes = await pair.alice.channel.request_quote([put(pair.alice)], ttl=10)
        await pair.travel(by=11, in_flight=True)
        with pytest.raises(RejectedError, match="expired"):
            await quotes.best().accept()
        ours, _ = await pair.settled()
        assert ours.portfolio.positions == ()


async def test_a_policy_may_take_late_quotes(world: World, tmp_path: Path) -> None:
    policy = RiskPolicy(take_late_quotes=True)
    async with trading(world, tmp_path, alice={"policy": policy}) as pair:
        quotes = await pair.alice.channel.request_quote([put(pair.alice)], ttl=10)
        await pair.travel(by=11, in_flight=True)
        await quotes.best().accept()
        ours, _ = await pair.settled()
        assert len(ours.portfolio.positions) == 1


async def test_a_quote_taken_while_halted_is_declined(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        quotes = await pair.alice.channel.request_quote([put(pair.alice)], ttl=10)
        await pair.alice.channel.set_mode(Mode.HALTED, "lunch")
        with pytest.raises(RejectedError, match="halted: lunch"):
            await quotes.best().accept()
        ours, _ = await pair.settled()
        assert ours.portfolio.positions == ()


async def test_a_halt_while_we_decide_declines(world: World, tmp_path: Path) -> None:
    asked, halted = trio.Event(), trio.Event()

    async def slow(offered: Trade, portfolio: Portfolio) -> bool:
        asked.set()
        await halted.wait()
        return True

    async with (
        trading(world, tmp_path, bob={"accept_trade": slow}) as pair,
        trio.open_nursery() as nursery,
    ):

        async def halt() -> None:
            await asked.wait()
            await pair.bob.channel.set_mode(Mode.HALTED, "lunch")
            halted.set()

        nursery.start_soon(halt)
        with pytest.raises(RejectedError, match=r"LIMIT.*lunch"):
            await pair.alice.channel.propose_trade([put(pair.alice)], [100 * WAD])
        await pair.settled()


async def test_a_deposit_that_is_not_mined_times_out(world: World, tmp_path: Path) -> None:
    """More than the party has: the transaction cannot be sent, so nothing ever counts."""
    async with trading(world, tmp_path) as pair:
        with pytest.raises(PeerTimeoutError, match="deposit"):
            await pair.channel.deposit(2**100, timeout=0.2)
