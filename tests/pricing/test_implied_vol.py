"""Implied vol of one option: exact where there is one, a status where there is none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.pricing import Kind
from channels.pricing.implied_vol import VolStatus, implied_vol
from channels.pricing.scalar import price

from .float_reference import EPS, exact_vol, hard_options


def test_hard_cases_are_within_four_eps_of_the_exact_vol() -> None:
    worst = 0.0
    for kind, forward, strike, vol, years in hard_options(23, 3_000):
        value = price(kind, forward, strike, vol, years)
        found = implied_vol(kind, value, forward, strike, 1.0)
        if found.status is not VolStatus.OK:  # nothing between the price and its maximum
            assert found.status is VolStatus.UNRESOLVABLE
            bound = forward if kind == Kind.CALL else strike
            assert bound - value <= 4 * EPS * bound
            continue
        exact, condition = exact_vol(kind, value, forward, strike, vol * math.sqrt(years))
        error = float(abs(found.vol / exact - 1))
        worst = max(worst, error / (EPS * (1 + float(condition))))
    assert worst <= 4.0


def test_tiny_time_values_keep_their_digits() -> None:
    for s in (1e-9, 1e-7, 1e-5):
        for x in (0.0, 0.5 * s, 5 * s, 30 * s):
            forward = 100.0 * math.exp(-x)
            value = price(Kind.CALL, forward, 100.0, s, 1.0)
            exact, condition = exact_vol(Kind.CALL, value, forward, 100.0, s)
            found = implied_vol(Kind.CALL, value, forward, 100.0, 1.0)
            assert float(abs(found.vol / exact - 1)) <= 4 * EPS * (1 + float(condition))


@given(
    kind=st.sampled_from((Kind.CALL, Kind.PUT)),
    x=st.floats(-3, 3),
    vol=st.floats(0.02, 4.0),
    years=st.floats(0.003, 3.0),
)
def test_the_price_of_the_implied_vol_is_the_price(
    kind: Kind, x: float, vol: float, years: float
) -> None:
    forward, strike = 100.0 * math.exp(x), 100.0
    value = price(kind, forward, strike, vol, years)
    found = implied_vol(kind, value, forward, strike, years)
    if found.status is VolStatus.OK:
        assert price(kind, forward, strike, found.vol, years) == pytest.approx(
            value, rel=1e-12, abs=2e-15 * max(forward, strike)
        )
    else:
        assert found.status is VolStatus.UNRESOLVABLE


@pytest.mark.parametrize(
    ("kind", "value", "forward", "strike", "years", "status"),
    [
        (Kind.CALL, 19.999, 120.0, 100.0, 1.0, VolStatus.BELOW_INTRINSIC),
        (Kind.PUT, -1e-300, 120.0, 100.0, 1.0, VolStatus.BELOW_INTRINSIC),
        (Kind.CALL, 120.1, 120.0, 100.0, 1.0, VolStatus.ABOVE_MAXIMUM),
        (Kind.PUT, 100.1, 120.0, 100.0, 1.0, VolStatus.ABOVE_MAXIMUM),
        (Kind.CALL, 20.0, 120.0, 100.0, 1.0, VolStatus.UNRESOLVABLE),
        (Kind.CALL, math.nextafter(20.0, 21.0), 120.0, 100.0, 1.0, VolStatus.UNRESOLVABLE),
        (Kind.CALL, 120.0, 120.0, 100.0, 1.0, VolStatus.UNRESOLVABLE),
        (Kind.PUT, 0.0, 120.0, 100.0, 1.0, VolStatus.UNRESOLVABLE),
        (Kind.PUT, 1e-310, 120.0, 100.0, 1.0, VolStatus.UNRESOLVABLE),
        (Kind.PUT, 1e-10, 1e150, 1e-10, 1.0, VolStatus.UNRESOLVABLE),
        (Kind.CALL, math.nan, 120.0, 100.0, 1.0, VolStatus.INVALID),
        (Kind.CALL, math.inf, 120.0, 100.0, 1.0, VolStatus.INVALID),
        (Kind.CALL, 25.0, math.nan, 100.0, 1.0, VolStatus.INVALID),
        (Kind.CALL, 25.0, 120.0, math.inf, 1.0, VolStatus.INVALID),
        (Kind.CALL, 25.0, -120.0, -100.0, 1.0, VolStatus.INVALID),
        (Kind.CALL, 25.0, 120.0, 100.0, 0.0, VolStatus.INVALID),
        (Kind.CALL, 25.0, 120.0, 100.0, math.nan, VolStatus.INVALID),
        (Kind.DIGITAL_CALL, 0.5, 120.0, 100.0, 1.0, VolStatus.INVALID),
        (Kind.FORWARD, 20.0, 120.0, 100.0, 1.0, VolStatus.INVALID),
        (7, 20.0, 120.0, 100.0, 1.0, VolStatus.INVALID),
    ],
)
def test_what_has_no_vol_says_why(
    kind: int, value: float, forward: float, strike: float, years: float, status: VolStatus
) -> None:
    found = implied_vol(kind, value, forward, strike, years)
    assert found.status is status
    assert math.isnan(found.vol)


def test_a_vol_published_by_hull() -> None:
    # Hull, 9th edition, section 15.11: call 1.875, S 21, K 20, r 10 %, three months: 23.5 %
    growth = math.exp(0.1 * 0.25)
    found = implied_vol(Kind.CALL, 1.875 * growth, 21.0 * growth, 20.0, 0.25)
    assert found.vol == pytest.approx(0.235, abs=5e-4)


def test_hardly_any_time_value_at_the_money_is_unresolvable() -> None:
    # the squares of the start underflow: without its status this is a division by zero
    found = implied_vol(Kind.CALL, 1e-200, 100.0, 100.0, 1.0)
    assert found.status is VolStatus.UNRESOLVABLE
    assert math.isnan(found.vol)
    resolved = implied_vol(Kind.CALL, 1e-70, 100.0, 100.0, 1.0)
    assert resolved.vol == pytest.approx(1e-72 * math.sqrt(2 * math.pi), rel=1e-14)
