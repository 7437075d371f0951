"""Payoffs: the figures that move money."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.errors import PricingDomainError
from channels.pricing import MAX_PAYOFF, Kind, intrinsic, payoff, settlement_payoff
from channels.units import WAD

U128 = st.integers(0, 2**128 - 1)
I128 = st.integers(-(2**127), 2**127 - 1)
KINDS = st.sampled_from(Kind)
USDC = 10**6


@pytest.mark.parametrize(
    ("kind", "strike", "quantity", "price", "expected"),
    [
        (Kind.CALL, 3000, 2, 3100, 200),
        (Kind.CALL, 3000, -2, 3100, -200),
        (Kind.CALL, 3000, 2, 3000, 0),
        (Kind.PUT, 3000, 2, 2900, 200),
        (Kind.PUT, 3000, 2, 3100, 0),
        (Kind.DIGITAL_CALL, 3000, 5, 3000, 5),
        (Kind.DIGITAL_CALL, 3000, 5, 2999, 0),
        (Kind.DIGITAL_PUT, 3000, 5, 3000, 0),
        (Kind.DIGITAL_PUT, 3000, -5, 2999, -5),
        (Kind.FORWARD, 3000, 2, 2900, -200),
        (Kind.FORWARD, 3000, -2, 2900, 200),
        (Kind.FORWARD, 3000, -2, 3100, -200),
    ],
)
def test_payoffs(kind: Kind, strike: int, quantity: int, price: int, expected: int) -> None:
    paid = payoff(kind, strike * WAD, quantity * WAD, price * WAD, USDC)
    assert paid == expected * USDC


def test_a_digital_flips_at_its_strike_exactly() -> None:
    assert [intrinsic(Kind.DIGITAL_CALL, 7, price) for price in (6, 7, 8)] == [0, WAD, WAD]
    assert [intrinsic(Kind.DIGITAL_PUT, 7, price) for price in (6, 7, 8)] == [WAD, 0, 0]


def test_the_magnitude_is_rounded_down_on_both_sides() -> None:
    # 0.3 of a call that pays 0.00001: 3 units and a fraction
    for quantity, expected in ((333_333_333_333_333_333, 3), (-333_333_333_333_333_333, -3)):
        assert payoff(Kind.CALL, 0, quantity, 10**13, USDC) == expected
    assert payoff(Kind.FORWARD, 10**13, 333_333_333_333_333_333, 0, USDC) == -3


@given(KINDS, U128, I128, U128, U128)
def test_what_one_side_receives_the_other_pays(
    kind: Kind, strike: int, quantity: int, price: int, unit: int
) -> None:
    paid = payoff(kind, strike, quantity, price, unit)
    if quantity > -(2**127):
        assert payoff(kind, strike, -quantity, price, unit) == -paid
    exact = Fraction(quantity * intrinsic(kind, strike, price) * unit, WAD * WAD)
    if abs(exact) >= MAX_PAYOFF:
        assert abs(paid) == MAX_PAYOFF
    else:
        assert 0 <= abs(exact) - abs(paid) < 1
    assert paid == 0 or (paid > 0) == (exact > 0)


def test_extremes_saturate() -> None:
    most = 2**128 - 1
    assert payoff(Kind.CALL, 0, 2**127 - 1, most, most) == MAX_PAYOFF
    assert payoff(Kind.CALL, 0, -(2**127), most, most) == -MAX_PAYOFF
    assert payoff(Kind.CALL, 0, -(2**127), most, 0) == 0
    assert MAX_PAYOFF == 2**119 - 1


@given(U128, I128, U128, st.integers(5, 255))
def test_an_unknown_kind_pays_nothing_in_settlement(
    strike: int, quantity: int, price: int, kind: int
) -> None:
    assert settlement_payoff(kind, strike, quantity, price, USDC) == 0
    with pytest.raises(PricingDomainError, match=f"kind {kind}"):
        payoff(kind, strike, quantity, price, USDC)


@given(KINDS, U128, I128, U128)
def test_settlement_is_the_payoff(kind: Kind, strike: int, quantity: int, price: int) -> None:
    paid = settlement_payoff(kind, strike, quantity, price, USDC)
    assert paid == payoff(kind, strike, quantity, price, USDC)


@pytest.mark.parametrize(
    ("strike", "quantity", "price", "unit"),
    [(-1, 1, 1, 1), (2**128, 1, 1, 1), (1, 2**127, 1, 1), (1, 1, -1, 1), (1, 1, 1, 2**128)],
)
def test_figures_that_fit_no_contract_type_are_refused(
    strike: int, quantity: int, price: int, unit: int
) -> None:
    with pytest.raises(PricingDomainError):
        payoff(Kind.CALL, strike, quantity, price, unit)
