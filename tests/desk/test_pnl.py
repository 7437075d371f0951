"""Profit and loss, explained: the parts add up, and each is what a formula elsewhere says."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.desk import Explained, explain, explain_all
from channels.pricing import Kind
from channels.protocol.changes import Remark, Settlement, equity
from channels.protocol.types import Party, Portfolio
from channels.units import DAY, WAD
from tests.desk.build import after
from tests.protocol.build import ETH, EXPIRY, T0, UNIT, make_leg, make_trade

LONG_PUT = after(make_trade())
CONTRIBUTION = 10_000 * UNIT

spots = st.integers(min_value=1_500, max_value=6_000)
vols = st.integers(min_value=20, max_value=200)


def equity_change(before: Portfolio, now: Portfolio, side: Party) -> int:
    first, second = (equity(each, CONTRIBUTION, side, UNIT) for each in (before, now))
    return second - first


@given(spot=spots, vol=vols, age=st.integers(0, 40 * DAY), side=st.sampled_from(Party))
def test_the_parts_add_up_to_the_change_of_equity(
    spot: int, vol: int, age: int, side: Party
) -> None:
    now = after(Remark(), LONG_PUT, at=T0 + age, spot=spot, vol=vol)
    explained = explain(LONG_PUT, now, side=side, unit=UNIT)
    # Each equity is rounded down, the explanation's values to the nearest.
    assert abs(explained.total - equity_change(LONG_PUT, now, side)) <= 2
    assert explained.trades == 0


@given(spot=spots, vol=vols, age=st.integers(0, 40 * DAY))
def test_what_one_side_gains_the_other_loses_part_by_part(spot: int, vol: int, age: int) -> None:
    now = after(make_trade(make_leg(-3)), LONG_PUT, at=T0 + age, spot=spot, vol=vol)
    ours, theirs = (explain(LONG_PUT, now, side=side, unit=UNIT) for side in Party)
    assert ours + theirs == Explained()


def test_a_small_move_leaves_nothing_but_what_third_order_terms_can_leave() -> None:
    spot, wider = 3_000, 3_003
    now = after(Remark(), LONG_PUT, spot=wider)
    explained = explain(LONG_PUT, now, side=Party.A, unit=UNIT)
    assert explained.delta < 0 < explained.gamma
    assert explained.vega == explained.theta == explained.carry == 0
    # |speed| of an at-the-money option is below gamma / spot * (1 + 1 / s); the cubic term's bound:
    s = 0.6 * (30 / 365) ** 0.5
    cubic = explained.gamma / 3 * (wider - spot) / spot * (1 + 1 / s)
    assert abs(explained.residual) <= abs(cubic) + 2


def test_each_cause_alone_is_called_by_its_name() -> None:
    vol_only = explain(LONG_PUT, after(Remark(), LONG_PUT, vol=61), side=Party.A, unit=UNIT)
    time_only = explain(LONG_PUT, after(Remark(), LONG_PUT, at=T0 + DAY), side=Party.A, unit=UNIT)
    # At the money: vega is S n(d1) sqrt(tau), theta -S n(d1) vol / (2 sqrt(tau)) (Haug, ch. 2).
    root, density = (30 / 365) ** 0.5, 0.3989422804 * 2.718281828 ** (-((0.3 * 0.2867) ** 2) / 2)
    assert vol_only.vega == pytest.approx(3_000 * density * root * 0.01 * UNIT, rel=1e-4)
    assert time_only.theta == pytest.approx(
        -3_000 * density * 0.6 / (2 * root) / 365 * UNIT, rel=1e-4
    )
    assert vol_only.delta == vol_only.theta == time_only.vega == time_only.delta == 0


def test_a_forward_moves_one_for_one() -> None:
    held = after(make_trade(make_leg(2, kind=Kind.FORWARD, price=0)))
    now = after(Remark(), held, spot=3_100)
    assert explain(held, now, side=Party.B, unit=UNIT) == Explained(delta=-200 * UNIT)


def test_a_trade_earns_its_value_less_its_premium() -> None:
    trade = make_trade(make_leg(price=150))
    bought = after(trade, LONG_PUT)
    explained = explain(LONG_PUT, bought, side=Party.A, unit=UNIT)
    worth = equity(LONG_PUT, 0, Party.A, UNIT) + 100 * UNIT  # LONG_PUT cost 100 and is one put
    assert explained == Explained(trades=explained.trades)
    assert abs(explained.trades - (worth - 150 * UNIT)) <= 1


def test_a_settlement_earns_the_payoff_less_the_last_value() -> None:
    last = after(Remark(), LONG_PUT, at=EXPIRY, spot=2_900)
    settled = after(Settlement(feed=ETH, expiry=EXPIRY, price=2_850 * WAD), last, at=EXPIRY)
    assert explain(last, settled, side=Party.A, unit=UNIT) == Explained(trades=50 * UNIT)


@given(path=st.lists(st.tuples(spots, vols), min_size=1, max_size=5))
def test_a_path_earns_the_sum_of_its_steps(path: list[tuple[int, int]]) -> None:
    states = [LONG_PUT]
    for day, (spot, vol) in enumerate(path, start=1):
        states.append(after(Remark(), states[-1], at=T0 + day * DAY, spot=spot, vol=vol))
    whole = explain_all(states, side=Party.A, unit=UNIT)
    assert whole.total == explain(states[0], states[-1], side=Party.A, unit=UNIT).total


def test_a_position_without_spot_where_it_was_cannot_hide_a_move() -> None:
    unmarked = attrs.evolve(LONG_PUT, positions=(), spots=())
    bought = explain(unmarked, LONG_PUT, side=Party.A, unit=UNIT)
    assert bought.total == bought.trades
