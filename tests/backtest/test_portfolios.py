"""The same portfolios every time, where they should be."""

from __future__ import annotations

import math

from channels.backtest.portfolios import Leg, merge_legs, portfolios_of
from channels.pricing.kinds import Kind
from channels.units import DAY, WAD

from .values import EXPIRY, snapshot

AT = EXPIRY - 30 * DAY
EXPIRIES = {AT + days * DAY: 100.0 for days in (1, 2, 7, 30, 90, 200)}


def test_the_same_snapshot_gives_the_same_portfolios() -> None:
    first, again, other = (
        portfolios_of(snapshot(AT, 100, expiries=EXPIRIES), seed=seed) for seed in "aab"
    )
    assert first == again
    differs = {one.family for one, two in zip(first, other, strict=True) if one != two}
    assert differs == {"random"}


def test_strikes_are_placed_by_deviations_and_expiries_by_tenor() -> None:
    strikes = [float(strike) for strike in range(40, 200)]
    placed = {
        each.name: each
        for each in portfolios_of(snapshot(AT, 100, expiries=EXPIRIES, strikes=strikes), seed="1")
    }
    deviation = 0.6 * math.sqrt(30 / 365)
    (call,) = placed["call +1, month"].legs
    assert call == Leg(Kind.CALL, AT + 30 * DAY, round(100 * math.exp(deviation)) * WAD, WAD)
    (put,) = placed["put -2, month"].legs
    assert put == Leg(Kind.PUT, AT + 30 * DAY, round(100 * math.exp(-2 * deviation)) * WAD, WAD)
    assert [leg.expiry for leg in placed["call calendar, month to quarter"].legs] == [
        AT + 30 * DAY,
        AT + 90 * DAY,
    ]
    assert [
        (leg.strike // WAD, leg.quantity // WAD) for leg in placed["tight butterfly, eve"].legs
    ] == [
        (99, 1),
        (100, -2),
        (101, 1),
    ]
    assert placed["forward, week"].legs == (
        Leg(Kind.CALL, AT + 7 * DAY, 100 * WAD, WAD),
        Leg(Kind.PUT, AT + 7 * DAY, 100 * WAD, -WAD),
    )


def test_what_cannot_be_told_apart_is_left_out() -> None:
    names = {
        each.name for each in portfolios_of(snapshot(AT, 100, strikes=(60, 100, 140)), seed="1")
    }
    assert "straddle, week" in names
    assert not any("calendar" in name for name in names)  # one expiry only
    assert "call spread, week" not in names  # the strike one deviation up is the one at the money


def test_nothing_is_opened_hours_before_expiry() -> None:
    assert portfolios_of(snapshot(EXPIRY - 3600, 100), seed="1") == []


def test_legs_of_one_series_are_one() -> None:
    leg = Leg(Kind.CALL, EXPIRY, 100 * WAD, WAD)
    back = Leg(Kind.CALL, EXPIRY, 100 * WAD, -WAD)
    assert merge_legs([leg, leg]) == (Leg(Kind.CALL, EXPIRY, 100 * WAD, 2 * WAD),)
    assert merge_legs([leg, back]) == ()
