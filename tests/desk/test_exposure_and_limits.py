"""Exposure of portfolios, and the limits a desk puts on it."""

from __future__ import annotations

import attrs
import pytest

from channels.desk import Breach, Holding, Limits, Measure, SensitivityLimits, exposures
from channels.desk.exposure import total
from channels.errors import InvalidValueError
from channels.pricing import Kind
from channels.protocol.types import EMPTY_PORTFOLIO, Party, Portfolio
from tests.desk.build import after
from tests.protocol.build import BTC, ETH, make_leg, make_trade

ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))


def forwards(quantity: int, *, feed: bytes = ETH) -> Portfolio:
    """Forwards at the spot: delta of exactly ``quantity`` at zero carry, and nothing else."""
    return after(make_trade(make_leg(quantity, kind=Kind.FORWARD, price=0, feed=feed)))


def holding(
    identity: bytes, *portfolios: Portfolio, group: str = "acme", side: Party = Party.A
) -> Holding:
    return Holding(channel_id=identity, group=group, side=side, portfolios=portfolios)


def test_exposure_is_seen_from_our_side_and_adds_up_by_feed() -> None:
    ours = exposures(forwards(4), Party.A)[ETH]
    theirs = exposures(forwards(4), Party.B)[ETH]
    assert (ours.delta, theirs.delta) == (4.0, -4.0)
    assert ours.notional == theirs.notional == 12_000.0
    both = total([{ETH: ours}, {ETH: theirs, BTC: ours}])
    assert (both[ETH].delta, both[ETH].notional, both[BTC].delta) == (0.0, 24_000.0, 4.0)


def test_a_straddle_has_gamma_and_vega_and_loses_time() -> None:
    straddle = after(make_trade(make_leg(1), make_leg(1, kind=Kind.CALL)))
    exposure = exposures(straddle, Party.A)[ETH]
    assert abs(exposure.delta) < 0.1
    assert exposure.gamma > 0
    assert exposure.vega > 0
    # Black-Scholes with zero carry: theta = -gamma S^2 vol^2 / 2 (Hull, "Options", ch. 19).
    assert exposure.theta == pytest.approx(-exposure.gamma * 3_000**2 * 0.6**2 / 2, rel=1e-9)


def test_a_portfolio_without_spot_has_no_exposure_to_tell() -> None:
    with pytest.raises(InvalidValueError, match="no marked spot for ETH-USD"):
        exposures(attrs.evolve(forwards(1), spots=()), Party.A)


def test_the_desk_counts_all_channels_and_the_group_only_its_own() -> None:
    limits = Limits(desk=SensitivityLimits(delta=5), group=SensitivityLimits(delta=4))
    held = [holding(ONE, forwards(3)), holding(TWO, EMPTY_PORTFOLIO, group="other")]
    assert limits.breaches(held, TWO, forwards(2)) == ()
    over = limits.breaches(held, TWO, forwards(3))
    assert over == (Breach(group=None, feed=ETH, measure=Measure.DELTA, value=6, limit=5),)
    assert str(over[0]) == "delta in ETH-USD of the desk: 6, limit 5"
    alike = [held[0], holding(TWO, EMPTY_PORTFOLIO)]
    assert [each.group for each in limits.breaches(alike, TWO, forwards(2))] == ["acme"]


def test_a_hedge_elsewhere_makes_room() -> None:
    limits = Limits(desk=SensitivityLimits(delta=2))
    held = [holding(ONE, forwards(3), side=Party.B), holding(TWO, EMPTY_PORTFOLIO)]
    assert limits.breaches(held, TWO, forwards(5)) == ()


def test_what_reduces_a_breach_passes() -> None:
    limits = Limits(desk=SensitivityLimits(delta=2, notional=1_000))
    held = [holding(ONE, forwards(10))]
    assert limits.breaches(held, ONE, forwards(9)) == ()
    assert len(limits.breaches(held, ONE, forwards(11))) == 2


def test_what_is_in_flight_counts_as_if_it_stood() -> None:
    limits = Limits(desk=SensitivityLimits(delta=5))
    held = [holding(ONE, EMPTY_PORTFOLIO, forwards(4)), holding(TWO, EMPTY_PORTFOLIO)]
    assert limits.breaches(held, TWO, forwards(2)) != ()


def test_a_feed_may_have_limits_of_its_own() -> None:
    limits = Limits(desk=SensitivityLimits(delta=1), feeds={BTC: SensitivityLimits(delta=10)})
    held = [holding(ONE, EMPTY_PORTFOLIO)]
    assert limits.breaches(held, ONE, forwards(9, feed=BTC)) == ()
    assert limits.breaches(held, ONE, forwards(9)) != ()


def test_credit_is_the_margin_a_group_owes_us_over_all_its_channels() -> None:
    first, second = forwards(3), forwards(2)
    room = first.margin_b + second.margin_b
    held = [holding(ONE, first), holding(TWO, EMPTY_PORTFOLIO), holding(THREE, first, group="x")]
    assert Limits(credit={"acme": room}).breaches(held, TWO, second) == ()
    (over,) = Limits(default_credit=room - 1).breaches(held, TWO, second)
    assert (over.measure, over.value, over.feed) == (Measure.CREDIT, room, None)
    assert Limits(credit={"x": 0}).breaches(held, TWO, second) == ()


def test_limits_and_channels_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="a vega limit of -1"):
        SensitivityLimits(vega=-1)
    with pytest.raises(InvalidValueError, match="delta limit of nan"):
        SensitivityLimits(delta=float("nan"))
    with pytest.raises(InvalidValueError, match="on this desk"):
        Limits().breaches([], ONE, EMPTY_PORTFOLIO)


def test_what_is_in_flight_hedges_nothing_elsewhere() -> None:
    """A quote may come to nothing: what it would take off is no room for another channel."""
    limits = Limits(desk=SensitivityLimits(delta=20))
    held = [holding(ONE, forwards(5), forwards(-20)), holding(TWO, EMPTY_PORTFOLIO)]
    (over,) = limits.breaches(held, TWO, forwards(20))
    assert over.value == 25
    (under,) = limits.breaches(held, TWO, forwards(-1))
    assert under.value == 21
    assert limits.breaches(held, TWO, forwards(15)) == ()


def test_both_sides_of_a_quote_count_by_the_worse_one() -> None:
    limits = Limits(desk=SensitivityLimits(delta=10))
    two_way = holding(ONE, EMPTY_PORTFOLIO, forwards(8), forwards(-8))
    held = [two_way, holding(TWO, EMPTY_PORTFOLIO)]
    for quantity in (3, -3):
        (over,) = limits.breaches(held, TWO, forwards(quantity))
        assert over.value == 11
    assert limits.breaches(held, TWO, forwards(2)) == ()


def test_the_limits_that_are_passed_already_are_told() -> None:
    limits = Limits(
        desk=SensitivityLimits(notional=8_000), group=SensitivityLimits(delta=2), default_credit=1
    )
    held = [holding(ONE, forwards(3)), holding(TWO, forwards(1, feed=BTC), group="x")]
    told = {(each.group, each.feed, each.measure) for each in limits.standing(held)}
    assert told == {
        (None, ETH, Measure.NOTIONAL),
        ("acme", ETH, Measure.DELTA),
        ("acme", None, Measure.CREDIT),
        ("x", None, Measure.CREDIT),
    }
    assert Limits().standing(held) == ()
