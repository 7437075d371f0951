"""Margin calls, marks in dispute and cancelled proposals, between two real machines."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from channels.errors import IllegalCommandError, InvalidValueError, MalformedMessageError
from channels.pricing import Kind, forward_price, price
from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.changes import Marks, Remark, SeriesMark, Settlement
from channels.protocol.channel import Mode, Phase
from channels.protocol.codec import decode, encode, pack, unpack
from channels.protocol.credit import (
    Standing,
    disputed_positions,
    marks_of_report,
    standing,
)
from channels.protocol.effects import (
    ChangeConfirmed,
    ChangeRejected,
    MarginCallCured,
    MarginCallReceived,
    MarginCallSent,
    MarksDisputed,
    MarksReported,
    ModeChanged,
    ProposalCancelled,
)
from channels.protocol.halts import Cause, Halt, strictest
from channels.protocol.types import Party, Spot
from tests.protocol.build import (
    BTC,
    DEPOSIT,
    ETH,
    EXPIRY,
    ID,
    MODEL,
    STRIKE,
    UNIT,
    WAD,
    make_draft,
    make_leg,
    make_marks,
    make_trade,
)
from tests.protocol.world import World, opened

A, B = Party.A, Party.B


def traded(quantity: int = 1) -> World:
    world = opened()
    world.trade(A, make_trade(make_leg(quantity)))
    return world


def call(world: World, amount: int = 5 * UNIT) -> m.MarginCall:
    """Alice calls Bob, and he hears it."""
    world.alice.handle(e.IssueMarginCall(amount=amount, due_by=world.chain.time + 86_400))
    world.deliver_all()
    found = world.alice.channel.call_made
    assert found is not None
    return found


# -- margin calls


def test_a_call_stands_with_both_until_each_sees_it_met() -> None:
    world = traded()
    made = call(world)
    assert (made.nonce, made.amount) == (world.alice.channel.ledger.nonce, 5 * UNIT)
    assert world.alice.told(MarginCallSent) == [MarginCallSent(call=made)]
    assert world.bob.told(MarginCallReceived) == [MarginCallReceived(call=made)]
    for peer in world.peers:
        assert peer.channel.margin_call(B) == made
        assert peer.channel.margin_call(A) is None
        peer.handle(e.EndMarginCall(called=B))
        assert peer.channel.margin_call(B) is None
        assert peer.told(MarginCallCured) == [MarginCallCured(called=B, call=made)]


def test_a_call_changes_no_state_and_no_phase() -> None:
    world = traded()
    before = [(peer.channel.ledger, peer.phase) for peer in world.peers]
    call(world)
    assert [(peer.channel.ledger, peer.phase) for peer in world.peers] == before


def test_one_call_at_a_time() -> None:
    world = traded()
    call(world)
    with pytest.raises(IllegalCommandError, match="stands"):
        world.alice.handle(e.IssueMarginCall(amount=1, due_by=1))
    world.alice.handle(e.EndMarginCall(called=B))
    again = call(world, 9)
    assert world.bob.channel.call_received == again
    assert len(world.bob.told(MarginCallReceived)) == 2


def test_a_call_survives_a_restart_and_is_told_again() -> None:
    """Bob heard nothing: the connection went first. Alice starts again, and says it again."""
    world = traded()
    world.disconnect()
    world.alice.handle(e.IssueMarginCall(amount=7, due_by=world.chain.time + 60))
    made = world.alice.channel.call_made
    world.alice.restart()
    world.see()
    assert world.alice.channel.call_made == made
    assert world.bob.channel.call_received is None
    world.reconnect()
    world.deliver_all()
    assert world.bob.channel.call_received == made
    world.disconnect()
    world.reconnect()
    world.deliver_all()
    assert len(world.bob.told(MarginCallReceived)) == 1, "told once, however often it is said"


def test_the_end_of_no_call_is_nothing() -> None:
    world = traded()
    before = world.alice.channel
    for party in Party:
        world.alice.handle(e.EndMarginCall(called=party))
    assert world.alice.channel == before


@pytest.mark.parametrize(
    "wrong",
    [{"amount": 0}, {"amount": -1}, {"amount": 2**128}, {"due_by": 0}, {"due_by": 2**64}],
)
def test_a_call_holds_what_the_codec_can(wrong: dict[str, Any]) -> None:
    made = m.MarginCall(channel_id=ID, nonce=1, amount=1, due_by=1)
    with pytest.raises(InvalidValueError):
        attrs.evolve(made, **wrong)


def test_standing_is_cash_and_value_against_the_models_margins() -> None:
    """Twelve short puts at 3,000 and one dollar down in cash each: by the model and by hand."""
    world = traded(12)
    portfolio = world.alice.channel.portfolio
    needed = MODEL.requirements(portfolio.positions, portfolio.spots, portfolio.marked_at, UNIT)
    a, b = (standing(world.alice.channel, side) for side in Party)
    paid = 12 * 100 * UNIT
    assert a == Standing(
        equity=DEPOSIT - paid + needed.value_a,
        maintenance=needed.maintenance_a,
        initial=needed.initial_a,
    )
    assert b == Standing(
        equity=DEPOSIT + paid + needed.value_b,
        maintenance=needed.maintenance_b,
        initial=needed.initial_b,
    )
    assert not a.short
    assert not b.short


def test_standing_names_what_is_missing() -> None:
    short = Standing(equity=-5, maintenance=10, initial=12)
    assert (short.short, short.to_maintenance, short.to_initial) == (True, 15, 17)
    exact = Standing(equity=10, maintenance=10, initial=12)
    assert (exact.short, exact.to_maintenance, exact.to_initial) == (False, 0, 2)
    assert Standing(equity=20, maintenance=10, initial=12).to_initial == 0


# -- marks


def test_a_report_tells_forward_and_comes_back_as_marks() -> None:
    world = traded()
    tau = EXPIRY - world.chain.time
    marks = Marks(
        marked_at=world.chain.time,
        spots={ETH: 2_900 * WAD, BTC: WAD},
        series={
            each.series: SeriesMark(vol=WAD // 2, carry=WAD // 20)
            for each in world.alice.channel.portfolio.positions
        },
    )
    world.alice.handle(e.ReportMarks(marks=marks, wants_answer=True))
    world.deliver_all()
    (heard,) = world.bob.told(MarksReported)
    assert isinstance(heard, MarksReported)
    (series,) = heard.report.series
    assert series.forward == forward_price(2_900 * WAD, WAD // 20, tau) > 2_900 * WAD
    assert heard.report.wants_answer
    assert heard.report.spots == (Spot(feed=ETH, price=2_900 * WAD),), "only feeds that are open"
    assert marks_of_report(heard.report) == attrs.evolve(marks, spots={ETH: 2_900 * WAD})


def test_nothing_to_report_of_a_flat_book_or_without_a_mark() -> None:
    world = opened()
    marks = make_marks(world.alice.channel.portfolio, Remark(), world.chain.time)
    with pytest.raises(IllegalCommandError, match="nothing is open"):
        world.alice.handle(e.ReportMarks(marks=marks, wants_answer=True))
    world.trade(A)
    for missing in (marks, attrs.evolve(marks, spots={}, series={})):
        with pytest.raises(InvalidValueError, match=r"no (spot|mark) for"):
            world.alice.handle(e.ReportMarks(marks=missing, wants_answer=True))


def test_a_notice_values_each_position_at_both_sides_marks() -> None:
    world = traded(3)
    channel = world.alice.channel
    now, (position,) = world.chain.time, channel.portfolio.positions
    tau = EXPIRY - now

    def at(vol: int) -> Marks:
        return Marks(
            marked_at=now,
            spots={ETH: 3_000 * WAD},
            series={position.series: SeriesMark(vol=vol)},
        )

    def worth(vol: int) -> int:
        return 3 * price(Kind.PUT, 3_000 * WAD, STRIKE, vol, tau) * UNIT // WAD

    low, high = WAD // 2, WAD * 8 // 10
    (disputed,) = disputed_positions(channel, frozenset([position.series]), at(low), at(high))
    assert (disputed.mine, disputed.yours) == (worth(low), worth(high))
    assert disputed_positions(channel, frozenset(), at(low), at(high)) == ()
    world.alice.handle(e.DisputeMarks(positions=(disputed,)))
    world.deliver_all()
    (ours,), (theirs,) = world.alice.told(MarksDisputed), world.bob.told(MarksDisputed)
    assert isinstance(ours, MarksDisputed)
    assert isinstance(theirs, MarksDisputed)
    assert ours.notice == theirs.notice
    assert (ours.ours, theirs.ours) == (True, False)
    with pytest.raises(IllegalCommandError, match="no position"):
        world.alice.handle(e.DisputeMarks(positions=()))


def _report() -> m.MarkReport:
    series = m.SeriesReport(
        feed=ETH, kind=Kind.PUT, expiry=EXPIRY, strike=STRIKE, forward=WAD, vol=WAD, carry=0
    )
    return m.MarkReport(
        channel_id=ID,
        wants_answer=True,
        marked_at=1,
        spots=(Spot(feed=ETH, price=WAD),),
        series=(series,),
    )


def test_a_report_has_one_spot_for_each_of_its_feeds() -> None:
    report = _report()
    spot = Spot(feed=BTC, price=WAD)
    for spots in ((), (spot,), (*report.spots, *report.spots), (*report.spots, spot)):
        with pytest.raises(InvalidValueError, match="spot"):
            attrs.evolve(report, spots=spots)


def test_a_report_of_nothing_is_malformed() -> None:
    item = unpack(encode(_report()))
    for index in (5, 6):
        empty = [*item]
        empty[index] = []
        with pytest.raises(MalformedMessageError):
            decode(pack(empty))


# -- a proposal taken back


def test_a_cancelled_proposal_is_voided() -> None:
    world = traded()
    nonce = world.propose(A)
    world.deliver_all()
    assert world.bob.phase is Phase.RECEIVED
    world.alice.handle(e.CancelProposals())
    world.deliver_all()
    assert world.bob.told(ProposalCancelled) == [ProposalCancelled(nonce=nonce)]
    (rejected,) = world.alice.told(ChangeRejected)
    assert isinstance(rejected, ChangeRejected)
    assert rejected.nonce == nonce
    assert (world.alice.phase, world.bob.phase) == (Phase.IDLE, Phase.IDLE)
    assert world.alice.channel.ledger.full.state == world.bob.channel.ledger.full.state
    assert world.alice.channel.ledger.nonce > nonce


def test_one_cancel_kills_both_sides_of_a_quote() -> None:
    world = traded()
    sides = tuple(
        make_draft(world.alice.channel.portfolio, make_trade(make_leg(sign)), world.chain.time)
        for sign in (1, -1)
    )
    world.alice.handle(
        e.SendQuote(request_id=bytes(16), sides=sides, expires_at=9, now=world.chain.time)
    )
    world.deliver_all()
    world.alice.handle(e.CancelProposals())
    world.deliver_all()
    assert len(world.bob.told(ProposalCancelled)) == 1
    assert (world.alice.phase, world.bob.phase) == (Phase.IDLE, Phase.IDLE)


def test_a_cancel_after_the_accept_takes_nothing_back() -> None:
    """The Accept was on its way: the trade stands, on both sides."""
    world = traded()
    nonce = world.propose(A)
    world.deliver_all()
    world.answer(B)
    world.alice.handle(e.CancelProposals())
    world.deliver_all()
    assert world.bob.told(ProposalCancelled) == []
    told = world.alice.told(ChangeConfirmed)
    assert any(each.proposal == nonce for each in told)
    assert world.alice.channel.ledger.full.state == world.bob.channel.ledger.full.state
    assert [each.quantity for each in world.bob.channel.portfolio.positions] == [2 * WAD]


def test_nobody_cancels_the_others_proposal() -> None:
    world = traded()
    nonce = world.propose(A)
    world.deliver_all()
    world.alice.handle(m.Cancel(channel_id=ID, nonce=nonce))
    world.bob.handle(m.Cancel(channel_id=ID, nonce=nonce + 2))
    assert (world.alice.phase, world.bob.phase) == (Phase.PROPOSED, Phase.RECEIVED)


# -- halts


def halted(world: World, mode: Mode, cause: Cause, reason: str = "why") -> None:
    world.alice.handle(e.SetMode(mode=mode, reason=reason, cause=cause))


def test_the_strictest_cause_stands_and_each_is_lifted_for_itself() -> None:
    world = traded()
    halted(world, Mode.REDUCE_ONLY, Cause.MARKS, "marks")
    halted(world, Mode.HALTED, Cause.PRICE, "no price")
    halted(world, Mode.REDUCE_ONLY, Cause.OPERATOR, "lunch")
    channel = world.alice.channel
    assert (channel.mode, channel.mode_reason) == (Mode.HALTED, "no price")
    assert [each.cause for each in channel.halts] == [Cause.OPERATOR, Cause.PRICE, Cause.MARKS]
    halted(world, Mode.NORMAL, Cause.PRICE)
    assert world.alice.channel.mode_reason == "lunch"
    halted(world, Mode.NORMAL, Cause.MARKS)
    assert world.alice.channel.mode is Mode.REDUCE_ONLY, "no rule lifts an operator's word"
    (*_, last) = world.alice.told(ModeChanged)
    assert last == ModeChanged(
        mode=Mode.NORMAL, reason="why", cause=Cause.MARKS, stands=Mode.REDUCE_ONLY
    )


def test_the_operator_lifts_all_but_the_kill_switch() -> None:
    world = traded()
    for cause in Cause:
        halted(world, Mode.HALTED, cause)
    halted(world, Mode.NORMAL, Cause.OPERATOR)
    kill = Halt(cause=Cause.KILL_SWITCH, mode=Mode.HALTED, reason="why")
    assert list(world.alice.channel.halts) == [kill]
    halted(world, Mode.NORMAL, Cause.KILL_SWITCH)
    assert not world.alice.channel.halts
    assert strictest(()) is None


def test_a_halt_told_twice_is_told_once() -> None:
    world = traded()
    for _ in range(2):
        halted(world, Mode.HALTED, Cause.PRICE)
    halted(world, Mode.NORMAL, Cause.JUMP)
    assert len(world.alice.told(ModeChanged)) == 1


@pytest.mark.parametrize("side", Party)
@pytest.mark.parametrize("cause", Cause)
def test_no_halt_keeps_marks_from_being_signed(side: Party, cause: Cause) -> None:
    """Proposed by either side, with the other or itself halted, new marks come to stand."""
    world = traded()
    halted(world, Mode.HALTED, cause)
    world.mine(60)
    peer = world.alice if side is A else world.bob
    draft = make_draft(peer.channel.portfolio, Remark(), world.chain.time, spot=2_700)
    peer.handle(e.ProposeChange(draft=draft, now=world.chain.time))
    world.deliver_all()
    world.answer(side.other)
    world.deliver_all()
    for each in world.peers:
        assert each.channel.portfolio.spot(ETH) == 2_700 * WAD
        assert each.phase is Phase.IDLE


# -- valid by construction


@pytest.mark.parametrize(
    "wrong",
    [
        {"feed": b"x"},
        {"expiry": -1},
        {"expiry": 2**64},
        {"strike": -1},
        {"strike": 2**128},
        {"price": -1},
        {"price": 2**128},
        {"quantity": 2**127},
        {"quantity": -(2**127) - 1},
    ],
)
def test_a_leg_holds_what_the_codec_can(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError):
        attrs.evolve(make_leg(), **wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"trade_id": bytes(31)}, {"premium": 2**127}, {"legs": ()}, {"legs": (make_leg(),) * 21}],
)
def test_a_trade_holds_what_the_codec_can(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError):
        attrs.evolve(make_trade(), **wrong)


@pytest.mark.parametrize("wrong", [{"feed": b""}, {"expiry": -1}, {"price": 2**128}])
def test_a_settlement_holds_what_the_codec_can(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError):
        attrs.evolve(Settlement(feed=ETH, expiry=EXPIRY, price=WAD), **wrong)
