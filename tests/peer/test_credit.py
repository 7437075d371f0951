"""Two peers at work on credit: a price falls, marks follow, a margin call is met or is not.

Bob is short sixty puts, so a fall makes him short of margin. Figures that are asserted come from
the margin model asked directly about what both hold, and from the conservation of money.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from channels.errors import InvalidValueError, MarginError
from channels.peer import BreakerPolicy, CreditPolicy
from channels.pricing import Kind, ScanMargin
from channels.protocol.changes import Remark
from channels.protocol.channel import Channel, Mode, Phase
from channels.protocol.effects import (
    ChangeConfirmed,
    DisputeSeen,
    MarginCallCured,
    MarginCallReceived,
    MarginCallSent,
    MarginCallUnmet,
    MarksDisputed,
    MarksStale,
    OwnMarginShort,
)
from channels.protocol.facts import OnChainPhase
from channels.protocol.halts import Cause
from channels.protocol.messages import MarginCall
from channels.protocol.types import Party, Portfolio
from tests.chain.world import World
from tests.peer.world import (
    DAY,
    DEPOSIT,
    FEED,
    PATIENCE,
    RISK,
    UNIT,
    WAD,
    Pair,
    put,
    trade,
    trading,
)

POLICY = CreditPolicy()
QUICK = BreakerPolicy(look_interval=0.05)
PUTS = 60
LOW = 2_500 * WAD
"""A spot at which the seller of sixty puts struck at 3,000 has less than its maintenance margin."""


def both(**changes: Any) -> dict[str, Any]:
    """Options of `trading`: the default policy on both sides, but for ``changes``."""
    policy = attrs.evolve(POLICY, **changes)
    return {"alice": {"credit": policy}, "bob": {"credit": policy}}


async def remarked(pair: Pair, spot: int) -> Portfolio:
    """Both markets move with a block, and both hold new marks."""
    await pair.travel(by=12, spot=spot)

    def holds(channel: Channel) -> bool:
        return channel.portfolio.spot(FEED) == spot

    for desk in (pair.alice, pair.bob):
        await desk.channel._until(holds, PATIENCE, "hold new marks")
    return pair.alice.channel.portfolio


def equity_of(portfolio: Portfolio, side: Party, contribution: int) -> tuple[int, int, int]:
    """Equity, maintenance and initial margin of a side, from the model and the cash alone."""
    needed = ScanMargin(RISK).requirements(
        portfolio.positions, portfolio.spots, portfolio.marked_at, UNIT
    )
    cash = contribution - side.sign * portfolio.net_to_b
    if side is Party.A:
        return cash + needed.value_a, needed.maintenance_a, needed.initial_a
    return cash + needed.value_b, needed.maintenance_b, needed.initial_b


@attrs.frozen(kw_only=True)
class Called:
    """What each side was told of a margin call on Bob."""

    call: MarginCall
    short: OwnMarginShort


async def called(pair: Pair) -> Called:
    """Bob sells the puts, the price falls, both re-mark, and Alice calls Bob."""
    await trade(pair.alice, PUTS)
    await remarked(pair, LOW)
    sent = await pair.alice.told(MarginCallSent)
    heard: dict[type, Any] = {}
    with trio.fail_after(PATIENCE):
        while not {OwnMarginShort, MarginCallReceived} <= heard.keys():
            notice = (await pair.bob.events.receive()).notice
            heard[type(notice)] = notice
    assert heard[MarginCallReceived].call == sent.call
    return Called(call=sent.call, short=heard[OwnMarginShort])


# -- marks


async def test_a_remarks_on_schedule(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, **both()) as pair:
        await trade(pair.alice)
        before = pair.alice.channel.portfolio
        for _ in range(0, POLICY.remark_interval, 12):
            await pair.travel(by=12)
        confirmed = await pair.alice.told(ChangeConfirmed)
        while not isinstance(confirmed.change, Remark):
            confirmed = await pair.alice.told(ChangeConfirmed)
        assert confirmed.portfolio.marked_at >= before.marked_at + POLICY.remark_interval
        assert confirmed.portfolio.net_to_b == before.net_to_b, "marks move no cash"
        assert confirmed.ours, "the schedule is A's"


async def test_b_remarks_when_a_is_silent(world: World, tmp_path: Path) -> None:
    options = both() | {"alice": {"credit": None}}
    async with trading(world, tmp_path, **options) as pair:
        await trade(pair.alice)
        before = pair.bob.channel.portfolio
        await pair.travel(by=POLICY.remark_interval + POLICY.remark_patience)
        confirmed = await pair.bob.told(ChangeConfirmed)
        while not isinstance(confirmed.change, Remark):
            confirmed = await pair.bob.told(ChangeConfirmed)
        assert confirmed.ours
        assert confirmed.portfolio.marked_at > before.marked_at


async def test_a_move_does_not_wait_for_the_schedule(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, **both()) as pair:
        await trade(pair.alice)
        before = pair.alice.channel.portfolio.marked_at
        after = await remarked(pair, 2_980 * WAD)
        assert after.marked_at - before < POLICY.remark_interval


async def test_disputed_marks_reduce_until_they_agree(world: World, tmp_path: Path) -> None:
    """The vols differ by 20 points: the spot is re-marked, the vol is not, nor the marks' time."""
    async with trading(
        world,
        tmp_path,
        alice={"credit": POLICY, "breaker": QUICK},
        bob={"credit": POLICY, "breaker": QUICK},
    ) as pair:
        await trade(pair.alice)
        before = pair.alice.channel.portfolio
        pair.b.market.vol = before.positions[0].vol + WAD * 20 // 100
        await pair.travel(by=12, spot=2_970 * WAD)
        sent = await pair.alice.told(MarksDisputed)
        heard = await pair.bob.told(MarksDisputed)
        assert (sent.ours, heard.ours) == (True, False)
        assert heard.notice == sent.notice
        (position,) = sent.notice.positions
        assert 0 < position.mine < position.yours, "a higher vol is a dearer put"
        for desk in (pair.alice, pair.bob):
            await desk.channel._until(
                lambda channel: channel.portfolio.spot(FEED) == 2_970 * WAD, PATIENCE, "agree"
            )
            await desk.channel._until(
                lambda channel: channel.mode is Mode.REDUCE_ONLY, PATIENCE, "reduce"
            )
            halt = desk.channel.state.halt(Cause.MARKS)
            assert halt is not None
            held = desk.channel.portfolio
            assert held.positions[0].vol == before.positions[0].vol
            assert held.marked_at == before.marked_at, "disputed marks look no fresher"
        pair.b.market.vol = before.positions[0].vol
        await pair.travel(by=POLICY.remark_interval)
        for desk in (pair.alice, pair.bob):
            await desk.channel._until(
                lambda channel: channel.mode is Mode.NORMAL, PATIENCE, "agree again"
            )


async def test_stale_marks_end_in_a_dispute(world: World, tmp_path: Path) -> None:
    """Bob takes no marks at all: at half of max_mark_age Alice disputes by herself."""
    async with trading(world, tmp_path, **(both() | {"bob": {"market": None}})) as pair:
        channel = pair.alice.channel
        await trade(pair.alice)
        half = channel.terms.max_mark_age // 2
        await pair.travel(by=half)
        await pair.travel(by=POLICY.remark_interval + POLICY.remark_patience)
        stale = await pair.alice.told(MarksStale)
        assert stale.marked_at == channel.portfolio.marked_at
        await pair.bob.told(DisputeSeen)
        assert channel.phase is Phase.DISPUTED


# -- margin calls


async def test_a_margin_call_asks_for_initial_margin(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, **both()) as pair:
        sent = await called(pair)
        short = sent.short
        portfolio = pair.alice.channel.portfolio
        equity, maintenance, initial = equity_of(portfolio, Party.B, DEPOSIT)
        assert equity < maintenance < initial
        assert (short.equity, short.maintenance) == (equity, maintenance)
        assert sent.call.amount == short.amount == initial - equity
        assert sent.call.due_by == portfolio.marked_at + DAY
        assert pair.alice.channel.state.call_made == sent.call
        assert pair.bob.channel.state.call_received == sent.call


async def test_a_top_up_cures(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, **both()) as pair:
        sent = await called(pair)
        await pair.bob.channel.deposit(sent.call.amount, timeout=PATIENCE)
        cured = await pair.alice.told(MarginCallCured)
        assert (cured.called, cured.call) == (Party.B, sent.call)
        assert pair.alice.channel.state.call_made is None
        held = await world.token.balance(world.deployment.adjudicator)
        assert held == 2 * DEPOSIT + sent.call.amount
        await pair.travel(by=POLICY.remark_interval)
        assert (await pair.bob.told(MarginCallCured)).call == sent.call


async def test_an_unwind_cures(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, **both()) as pair:
        sent = await called(pair)
        await pair.settled()
        await trade(pair.alice, -PUTS // 2)
        await pair.travel(by=12)
        cured = await pair.alice.told(MarginCallCured)
        assert cured.call == sent.call
        equity, maintenance, _ = equity_of(pair.alice.channel.portfolio, Party.B, DEPOSIT)
        assert equity >= maintenance


async def test_a_hedge_cures(world: World, tmp_path: Path) -> None:
    """Bob sells the market what his puts are long of it, at the price that both mark: for nothing.

    His equity stays what it is, and it is his margin that falls. While he is short nothing else
    would pass: more of the same puts are declined.
    """
    async with trading(world, tmp_path, **both()) as pair:
        sent = await called(pair)
        await pair.settled()
        before = equity_of(pair.alice.channel.portfolio, Party.B, DEPOSIT)
        forward = attrs.evolve(
            put(pair.bob), kind=Kind.FORWARD, strike=LOW, quantity=-PUTS * WAD * 9 // 10
        )
        with pytest.raises(MarginError):
            await pair.bob.channel.propose_trade([put(pair.bob, -1)], [600 * WAD])
        wrong = attrs.evolve(forward, quantity=-forward.quantity)  # adds to what he is long of
        with pytest.raises(MarginError):
            await pair.bob.channel.propose_trade([wrong], [0])
        await pair.bob.channel.propose_trade([forward], [0])
        await pair.settled()
        equity, maintenance, _ = equity_of(pair.alice.channel.portfolio, Party.B, DEPOSIT)
        assert before[0] < before[1]
        assert abs(equity - before[0]) <= 1
        assert maintenance <= equity
        await pair.travel(by=12)
        assert (await pair.alice.told(MarginCallCured)).call == sent.call
        assert pair.alice.channel.state.call_made is None
        await pair.travel(by=POLICY.remark_interval)
        assert (await pair.bob.told(MarginCallCured)).call == sent.call


async def test_a_recovery_of_the_price_cures(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, **both()) as pair:
        sent = await called(pair)
        await remarked(pair, 3_000 * WAD)
        for desk in (pair.alice, pair.bob):
            assert (await desk.told(MarginCallCured)).call == sent.call


async def test_a_party_tops_up_by_itself(world: World, tmp_path: Path) -> None:
    """Called or not: it may be whole again before the other side has seen it short."""
    options = both() | {"bob": {"credit": attrs.evolve(POLICY, auto_top_up=DEPOSIT)}}
    async with trading(world, tmp_path, **options) as pair:
        await trade(pair.alice, PUTS)
        portfolio = await remarked(pair, LOW)
        short = await pair.bob.told(OwnMarginShort)
        raised = DEPOSIT + short.amount
        for desk in (pair.alice, pair.bob):
            await desk.channel._until(
                lambda channel: channel.contribution(Party.B) == raised, PATIENCE, "see it final"
            )
            await desk.channel._until(
                lambda channel: channel.call_made is None, PATIENCE, "end its call"
            )
        assert await world.token.balance(world.deployment.adjudicator) == DEPOSIT + raised
        equity, _, initial = equity_of(portfolio, Party.B, raised)
        assert 0 <= equity - initial < UNIT, "whole to the cent, and a slot older at most"


async def test_a_top_up_beyond_the_limit_is_the_owners(world: World, tmp_path: Path) -> None:
    options = both() | {"bob": {"credit": attrs.evolve(POLICY, auto_top_up=1)}}
    async with trading(world, tmp_path, **options) as pair:
        assert (await called(pair)).short.amount > 1
        assert await world.token.balance(world.deployment.adjudicator) == 2 * DEPOSIT


async def past_due(pair: Pair, due_by: int) -> None:
    """Bring the chain to ``due_by``; marks go on being signed meanwhile."""
    await pair.travel(to=due_by)


async def test_an_unmet_call_ends_in_a_dispute(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, **both(margin_due=600)) as pair:
        sent = await called(pair)
        await past_due(pair, sent.call.due_by)
        assert (await pair.alice.told(MarginCallUnmet)).call == sent.call
        await pair.bob.told(DisputeSeen)
        view = pair.bob.channel.state.view
        assert view is not None
        assert view.phase is OnChainPhase.DISPUTED
        assert view.filer is Party.A


async def test_without_automatic_an_unmet_call_is_told_and_no_more(
    world: World, tmp_path: Path
) -> None:
    async with trading(world, tmp_path, **both(margin_due=600, automatic=False)) as pair:
        sent = await called(pair)
        await past_due(pair, sent.call.due_by)
        assert (await pair.alice.told(MarginCallUnmet)).call == sent.call
        ours, _ = await pair.settled()
        assert ours.state.call_made == sent.call


async def test_a_restart_goes_on_with_the_same_call(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, **both(margin_due=600)) as pair:
        sent = await called(pair)
        await pair.settled()
        a, b = pair.a, pair.b
    policy = attrs.evolve(POLICY, margin_due=600)
    async with AsyncExitStack() as stack:
        bob = await stack.enter_async_context(b.running(credit=policy))
        alice = await stack.enter_async_context(a.running(credit=policy))
        assert alice.channel.state.call_made == sent.call
        assert bob.channel.state.call_received == sent.call
        await alice.peer.connect(str(b.listen))
        again = Pair(world=world, a=a, b=b, alice=alice, bob=bob)
        await past_due(again, sent.call.due_by)
        assert (await alice.told(MarginCallUnmet)).call == sent.call
        await bob.told(DisputeSeen)


async def test_deposits_are_amounts(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        for amount in (0, -1):
            with pytest.raises(InvalidValueError, match="deposit"):
                await pair.channel.deposit(amount)
        await pair.channel.deposit(7, timeout=PATIENCE)
        assert pair.channel.equity == DEPOSIT + 7
