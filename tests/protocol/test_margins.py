"""Margins and values that are remembered are those worked out from nothing."""

from __future__ import annotations

import attrs
import pytest

from channels.pricing import Kind, MarginModel, Margins, ScanMargin, portfolio_value
from channels.protocol import margins
from channels.protocol.changes import Remark, apply, equity
from channels.protocol.checks import objection_to
from channels.protocol.margins import margins_of, values_of
from channels.protocol.types import EMPTY_PORTFOLIO, Party, Portfolio
from tests.protocol.build import (
    BTC,
    EXPIRY,
    MODEL,
    RISK,
    T0,
    UNIT,
    WAD,
    make_leg,
    make_marks,
    make_trade,
)
from tests.protocol.world import half_signed, opened

LEGS = (
    make_leg(3),
    make_leg(-2, strike=3_100 * WAD, kind=Kind.CALL, expiry=EXPIRY + 7 * 86_400),
    make_leg(1, feed=BTC, kind=Kind.DIGITAL_PUT, price=1),
    make_leg(-1, feed=BTC, kind=Kind.FORWARD, price=0),
)


class Counting(ScanMargin):
    """`ScanMargin` that counts how often it is asked."""

    asked = 0

    def requirements(self, *arguments: object) -> Margins:
        self.asked += 1
        return super().requirements(*arguments)  # type: ignore[arg-type]


def built(model: MarginModel, *, vol: int = 60) -> Portfolio:
    trade = make_trade(*LEGS)
    marks = make_marks(EMPTY_PORTFOLIO, trade, T0, vol=vol)
    return apply(trade, EMPTY_PORTFOLIO, marks, UNIT, model)


@pytest.mark.parametrize("vol", [0, 35, 190])
def test_the_values_behind_the_margins_are_those_of_the_positions(vol: int) -> None:
    portfolio = built(Counting(RISK), vol=vol)
    fresh = portfolio_value(portfolio.positions, portfolio.spots, T0, UNIT)
    assert values_of(portfolio, UNIT) == (fresh.value_rounded_down_a, fresh.value_rounded_down_b)
    assert equity(portfolio, 10, Party.B, UNIT) == (
        10 + portfolio.net_to_b + fresh.value_rounded_down_b
    )


def test_a_value_nobody_has_worked_out_is_worked_out() -> None:
    portfolio = attrs.evolve(built(MODEL), net_to_b=5, margin_a=123_456_789)
    fresh = portfolio_value(portfolio.positions, portfolio.spots, T0, 10 * UNIT)
    expected = (fresh.value_rounded_down_a, fresh.value_rounded_down_b)
    assert values_of(portfolio, 10 * UNIT) == expected != values_of(portfolio, UNIT)


def test_margins_are_worked_out_once_for_a_portfolio_and_a_model() -> None:
    model, other = Counting(RISK), Counting(RISK)
    portfolio = built(model)
    known = margins_of(portfolio, UNIT, model)
    assert (known.initial_a, known.initial_b) == (portfolio.margin_a, portfolio.margin_b)
    assert model.asked == 1
    assert margins_of(portfolio, UNIT, other) == known
    assert other.asked == 1


def test_what_a_proposal_is_worth_is_known_from_having_checked_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = opened()
    sent = half_signed(world, Party.A)
    made = sent.portfolio
    fresh = portfolio_value(made.positions, made.spots, made.marked_at, UNIT)
    proposal = attrs.evolve(sent, portfolio=attrs.evolve(made))
    assert objection_to(world.bob.channel, proposal) is None

    def again(*_: object) -> None:
        raise AssertionError("worked out again")

    monkeypatch.setattr(margins, "portfolio_value", again)
    known = values_of(proposal.portfolio, UNIT)
    assert known == (fresh.value_rounded_down_a, fresh.value_rounded_down_b)
    with pytest.raises(AssertionError, match="worked out again"):
        values_of(attrs.evolve(made), UNIT)


def test_a_change_leaves_the_positions_it_does_not_touch_the_objects_they_were() -> None:
    before = built(MODEL)
    more = make_trade(make_leg(1), trade_id=bytes(31) + b"\x02")
    marks = make_marks(before, more, T0)
    after = apply(more, before, marks, UNIT, MODEL)
    same = [left is right for left, right in zip(before.positions, after.positions, strict=True)]
    assert sorted(same) == [False, True, True, True]
    changed = after.positions[same.index(False)]
    assert changed.quantity == 4 * WAD
    moved = make_marks(after, Remark(), T0, vol=61)
    assert not {*apply(Remark(), after, moved, UNIT, MODEL).positions} & {*after.positions}
