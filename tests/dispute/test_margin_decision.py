"""What is decided about margin: who is called, what is told, and what keeps it from being done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

import channels.dispute.decision
from channels.dispute import (
    Action,
    AlertCode,
    Duty,
    Level,
    NeedSpot,
    Policy,
    SpotFact,
    Submit,
    WakeAt,
    decide,
)
from channels.dispute.case import Case
from channels.protocol.calls import CoSigned
from channels.protocol.facts import ChannelView, OnChainPhase
from channels.protocol.types import Party
from tests.dispute.build import (
    DAY,
    ETH,
    HOUR,
    T0,
    TERMS,
    WAD,
    co_signed,
    evidence,
    make_head,
    make_portfolio,
    make_view,
    put,
)
from tests.dispute.margin_build import (
    CALM,
    CRASH,
    CURE,
    DISPUTED,
    PUTS,
    SHORT_B,
    alerts,
    at_spot,
    calls,
    watching,
)


@pytest.mark.parametrize(
    ("side", "price", "expected"),
    [
        (Party.A, CRASH, SHORT_B),
        (None, CRASH, SHORT_B),
        (Party.B, CRASH, []),
        (Party.A, CALM, []),
    ],
)
def test_who_is_called(side: Party | None, price: int, expected: list[tuple[Duty, Party]]) -> None:
    actions = decide(watching(PUTS, side=side), DISPUTED, make_head(), spots=at_spot(price))
    assert calls(actions) == expected
    assert alerts(actions) == {}


def test_a_call_has_one_key_at_every_price_and_another_after_it_lapsed() -> None:
    def key(price: int, view: ChannelView, time: int = T0) -> bytes:
        actions = decide(watching(PUTS), view, make_head(time), spots=at_spot(price, time=time))
        [submit] = [each for each in actions if isinstance(each, Submit)]
        return submit.key

    assert key(CRASH, DISPUTED) == key(900, DISPUTED) == key(900, DISPUTED, T0 + HOUR)
    lapsed = CURE + TERMS.settlement_grace
    view = attrs.evolve(DISPUTED, phase=OnChainPhase.RUN_OFF)
    again = attrs.evolve(view, cure_end_b=CURE)
    assert key(CRASH, view, lapsed) == key(CRASH, DISPUTED) != key(CRASH, again, lapsed)


def test_nothing_is_asked_where_cash_covers_every_loss() -> None:
    covered = co_signed(7, make_portfolio(0, put(3)))
    actions = decide(watching(covered), make_view(recorded=covered), make_head())
    assert not any(isinstance(each, NeedSpot) for each in actions)
    assert NeedSpot(feed=ETH) in decide(watching(PUTS), DISPUTED, make_head())


def test_a_newer_state_is_recorded_before_anybody_is_called_on_an_old_one() -> None:
    newer = co_signed(9, make_portfolio(0, put(4)))
    watched = watching(PUTS).with_evidence(evidence(newer), recorded=(DISPUTED.portfolio_hash,))
    actions = decide(watched, DISPUTED, make_head(), spots=at_spot(CRASH))
    assert [each.duty for each in actions if isinstance(each, Submit)] == [Duty.REFUTE]
    after = decide(watched, make_view(recorded=newer), make_head(), spots=at_spot(550))
    assert calls(after) == SHORT_B


def test_policy_turns_it_off() -> None:
    policy = Policy(margin=False)
    actions = decide(watching(PUTS), DISPUTED, make_head(), spots=at_spot(CRASH), policy=policy)
    assert calls(actions) == []
    assert not any(isinstance(each, NeedSpot) for each in actions)


OLD_MARKS = attrs.evolve(make_portfolio(0, put(5)), marked_at=T0 - 3 * DAY)
UNKNOWN_FEED = make_portfolio(0, put(5, feed=b"X" * 32))
OFF = [
    ("no parameters", PUTS, {"risk": ()}, at_spot(CRASH), AlertCode.MARGIN_UNWATCHED),
    ("old marks", co_signed(7, OLD_MARKS), {}, at_spot(CRASH), AlertCode.MARGIN_UNWATCHED),
    (
        "a feed without parameters",
        co_signed(7, UNKNOWN_FEED),
        {},
        {b"X" * 32: SpotFact(price=WAD, observed_at=T0)},
        AlertCode.MARGIN_UNWATCHED,
    ),
    ("no spot", PUTS, {}, {ETH: None}, AlertCode.SPOT_MISSING),
    ("an old spot", PUTS, {}, at_spot(CRASH, 3_901), AlertCode.SPOT_MISSING),
    ("a spot of tomorrow", PUTS, {}, at_spot(CRASH, -1), AlertCode.SPOT_MISSING),
]


@pytest.mark.parametrize(
    ("recorded", "fields", "spots", "code"),
    [each[1:] for each in OFF],
    ids=[each[0] for each in OFF],
)
def test_what_keeps_margin_from_being_called_is_told(
    recorded: CoSigned,
    fields: dict[str, Any],
    spots: dict[bytes, SpotFact | None],
    code: AlertCode,
) -> None:
    watched, view = watching(recorded, **fields), make_view(recorded=recorded)
    actions = decide(watched, view, make_head(), spots=spots)
    assert set(alerts(actions)) == {code}
    assert calls(actions) == []


def test_a_spot_of_its_last_second_serves() -> None:
    actions = decide(watching(PUTS), DISPUTED, make_head(), spots=at_spot(CRASH, 3_900))
    assert calls(actions) == SHORT_B


def called_view(**changes: Any) -> ChannelView:
    return attrs.evolve(DISPUTED, cure_end_b=CURE, **changes)


def test_the_called_side_is_told_what_cures_and_again_when_time_runs_out() -> None:
    watched, view = watching(PUTS, side=Party.B), called_view()
    seen = []
    for time in (T0, T0 + HOUR, CURE - 6 * HOUR - 1, CURE - 6 * HOUR, CURE - 1):
        actions = decide(watched, view, make_head(time), spots=at_spot(CRASH, time=time))
        [alert] = alerts(actions).values()
        assert (alert.code, alert.level) == (AlertCode.MARGIN_CALLED, Level.CRITICAL)
        assert alert.facts == (("party", "B"), ("cure_end", CURE))
        seen.append(alert)
    assert len(set(seen)) == 2
    assert seen[0] == seen[2] != seen[3] == seen[4]
    # The deposit told of is what it takes: with it B is no longer short, with one unit less it is.
    top_up = dict(seen[0].figures)["top_up"]
    assert isinstance(top_up, int)
    for amount, left in ((top_up, 0), (top_up - 1, 1)):
        deposited = attrs.evolve(view, contribution_b=view.contribution_b + amount)
        actions = decide(watched, deposited, make_head(), spots=at_spot(CRASH))
        assert dict(alerts(actions)[AlertCode.MARGIN_CALLED].figures)["top_up"] == left
    assert alerts(decide(watched, view, make_head(CURE))) == {}


def test_without_a_spot_the_called_side_is_told_all_the_same() -> None:
    actions = decide(watching(PUTS, side=Party.B), called_view(), make_head(), spots={ETH: None})
    assert alerts(actions)[AlertCode.MARGIN_CALLED].figures == ()


def test_a_fault_in_one_duty_leaves_the_others_to_be_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken_task(case: Case) -> Iterator[Action]:
        yield WakeAt(time=T0 + 77)
        yield WakeAt(time=case.time // (case.time - T0))

    tasks = channels.dispute.decision._TASKS
    before = tasks[OnChainPhase.DISPUTED]
    monkeypatch.setitem(tasks, OnChainPhase.DISPUTED, (broken_task, *before))
    actions = decide(watching(co_signed(9)), DISPUTED, make_head())
    assert [each.duty for each in actions if isinstance(each, Submit)] == [Duty.REFUTE]
    assert WakeAt(time=T0 + 77) in actions
    bug = alerts(actions)[AlertCode.BUG]
    assert bug.level is Level.CRITICAL
    assert "broken task: ZeroDivisionError(" in bug.text
