"""Integer Black-76: accuracy, published values, and what no price may ever violate."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import mpmath
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from channels.errors import InvalidValueError, PricingDomainError
from channels.pricing import (
    MAX_CARRY,
    MAX_PRICE,
    MAX_TENOR,
    MAX_VOL,
    Kind,
    forward_price,
    implied_carry,
    price,
)
from channels.pricing.coefficients import SOURCE_SHA256
from channels.units import WAD, YEAR, to_wad

from . import generate_vectors
from .reference import difference, exact_forward, exact_price, tolerance

VECTORS: dict[str, Any] = json.loads(generate_vectors.TARGET.read_text())


def _columns(table: dict[str, list[str]]) -> list[tuple[int, ...]]:
    return list(zip(*(map(int, column) for column in table.values()), strict=True))


def test_random_and_hostile_prices_are_within_two_wei() -> None:
    worst = {"option": 0.0, "large": 0.0, "digital": 0.0}
    options = [
        *generate_vectors.hostile(),
        *generate_vectors.near_branches(),
        *generate_vectors.random_options(101, 3_000, wide=False),
        *generate_vectors.random_options(102, 1_500, wide=True),
    ]
    for kind, forward, strike, vol, tau in options:
        error = difference(
            price(kind, forward, strike, vol, tau), exact_price(kind, forward, strike, vol, tau)
        )
        assert error <= tolerance(kind, forward, strike, vol, tau)
        small = min(forward, strike)
        if kind in (Kind.CALL, Kind.PUT):
            if small <= 200_000 * WAD:
                worst["option"] = max(worst["option"], error)
            else:
                worst["large"] = max(worst["large"], error / small)
        elif kind != Kind.FORWARD and vol * math.sqrt(tau / YEAR) >= 1e-10 * WAD:
            worst["digital"] = max(worst["digital"], error)
    assert worst["option"] <= 1.5
    assert worst["digital"] <= 1.1
    assert worst["large"] <= 1e-23


def test_committed_vectors() -> None:
    assert VECTORS["coefficients_sha256"] == SOURCE_SHA256
    assert hashlib.sha256(generate_vectors.COEFFICIENTS.read_bytes()).hexdigest() == SOURCE_SHA256
    for *inputs, exact, allowed in _columns(VECTORS["option"]):
        assert abs(price(*inputs) - exact) <= allowed
    for *inputs, exact in _columns(VECTORS["forward"]):
        assert -1 - exact // 10**25 <= forward_price(*inputs) - exact <= exact // 10**25


def test_vectors_file_is_what_its_script_writes() -> None:
    assert generate_vectors.generate() == generate_vectors.TARGET.read_text()


@pytest.mark.parametrize(
    ("source", "kind", "forward", "strike", "vol", "months", "rate", "published"),
    [
        ("Haug, 2nd ed., 1.1.3, Brent futures", 0, 19, 19, "0.28", 9, 0.10, "1.7011"),
        ("Haug, 2nd ed., 1.1.3, Brent futures", 1, 19, 19, "0.28", 9, 0.10, "1.7011"),
        ("Hull, Black's model, crude oil put", 1, 60, 60, "0.25", 4, 0.09, "3.35"),
        ("Haug, 2nd ed., cash-or-nothing put paying 10", 3, 100, 80, "0.35", 9, 0.06, "0.26710"),
    ],
)
def test_published_futures_options(
    source: str,
    kind: int,
    forward: int,
    strike: int,
    vol: str,
    months: int,
    rate: float,
    published: str,
) -> None:
    tau = YEAR * months // 12
    value = price(kind, to_wad(forward), to_wad(strike), to_wad(vol), tau)
    _agrees(value, rate * tau / YEAR, published)


@pytest.mark.parametrize(
    ("source", "kind", "spot", "strike", "vol", "months", "rate", "carry", "published"),
    [
        ("Haug, 2nd ed., 1.1.1", 0, 60, 65, "0.3", 3, 0.08, "0.08", "2.1334"),
        ("Haug, 2nd ed., 1.1.2, dividend yield", 1, 100, 95, "0.2", 6, 0.10, "0.05", "2.4648"),
        ("Hull, Black-Scholes-Merton call", 0, 42, 40, "0.2", 6, 0.10, "0.1", "4.76"),
        ("Hull, Black-Scholes-Merton put", 1, 42, 40, "0.2", 6, 0.10, "0.1", "0.81"),
    ],
)
def test_published_spot_options(
    source: str,
    kind: int,
    spot: int,
    strike: int,
    vol: str,
    months: int,
    rate: float,
    carry: str,
    published: str,
) -> None:
    tau = YEAR * months // 12
    forward = forward_price(to_wad(spot), to_wad(carry), tau)
    value = price(kind, forward, to_wad(strike), to_wad(vol), tau)
    _agrees(value, rate * tau / YEAR, published)


def _agrees(value: int, discount: float, published: str) -> None:
    decimals = len(published.partition(".")[2])
    discounted = value / WAD * math.exp(-discount)
    assert abs(discounted - float(published)) <= 0.5000001 * 10**-decimals


PRICES = st.one_of(
    st.integers(1, MAX_PRICE),
    st.integers(1, 200_000 * WAD),
    st.floats(0, math.log(MAX_PRICE)).map(lambda x: min(max(int(math.exp(x)), 1), MAX_PRICE)),
)
VOLS = st.one_of(st.integers(0, MAX_VOL), st.integers(0, 3 * WAD))
TENORS = st.one_of(st.integers(1, MAX_TENOR), st.integers(1, 90 * 86_400))
SERIES = st.tuples(PRICES, PRICES, VOLS, TENORS)


def _slack(*prices: int) -> int:
    """Twice the documented error of an option, in wei, at these forwards and strikes."""
    return 4 + 2 * max(prices) // 10**23


@given(SERIES)
@example((MAX_PRICE, 1, MAX_VOL, MAX_TENOR))
@example((1, MAX_PRICE, 1, 1))
def test_parity_holds_to_the_wei(series: tuple[int, int, int, int]) -> None:
    forward, strike, *_ = series
    assert price(Kind.CALL, *series) - price(Kind.PUT, *series) == forward - strike
    assert price(Kind.FORWARD, *series) == forward - strike


@given(SERIES)
def test_digitals_add_up_to_one(series: tuple[int, int, int, int]) -> None:
    call, put = price(Kind.DIGITAL_CALL, *series), price(Kind.DIGITAL_PUT, *series)
    assert call + put == WAD
    assert 0 <= call <= WAD


@given(SERIES)
def test_options_stay_between_intrinsic_and_forward_or_strike(
    series: tuple[int, int, int, int],
) -> None:
    forward, strike, *_ = series
    assert max(forward - strike, 0) <= price(Kind.CALL, *series) <= forward
    assert max(strike - forward, 0) <= price(Kind.PUT, *series) <= strike


@given(SERIES)
def test_call_and_put_swap_with_forward_and_strike(series: tuple[int, int, int, int]) -> None:
    forward, strike, vol, tau = series
    assert price(Kind.CALL, forward, strike, vol, tau) == price(Kind.PUT, strike, forward, vol, tau)


@given(SERIES, PRICES)
def test_calls_rise_with_the_forward_and_fall_with_the_strike(
    series: tuple[int, int, int, int], other: int
) -> None:
    forward, strike, vol, tau = series
    slack = _slack(forward, strike, other)
    low, high = sorted((forward, other))
    rise = price(Kind.CALL, high, strike, vol, tau) - price(Kind.CALL, low, strike, vol, tau)
    assert -slack <= rise <= high - low + slack
    low, high = sorted((strike, other))
    fall = price(Kind.CALL, forward, low, vol, tau) - price(Kind.CALL, forward, high, vol, tau)
    assert -slack <= fall <= high - low + slack


@given(SERIES, PRICES, PRICES)
def test_calls_are_convex_in_the_strike(
    series: tuple[int, int, int, int], second: int, third: int
) -> None:
    forward, first, vol, tau = series
    low, middle, high = sorted((first, second, third))
    a, b, c = (price(Kind.CALL, forward, strike, vol, tau) for strike in (low, middle, high))
    # (high - low) b <= (high - middle) a + (middle - low) c, each price with its error
    slack = _slack(forward, high) * (high - low)
    assert (high - low) * b <= (high - middle) * a + (middle - low) * c + slack


@given(SERIES, TENORS, VOLS)
def test_options_rise_with_time_and_with_vol(
    series: tuple[int, int, int, int], other_tau: int, other_vol: int
) -> None:
    forward, strike, vol, tau = series
    slack = _slack(forward, strike)
    early, late = sorted((tau, other_tau))
    calm, wild = sorted((vol, other_vol))
    before, after = (price(Kind.PUT, forward, strike, vol, each) for each in (early, late))
    assert before <= after + slack
    before, after = (price(Kind.PUT, forward, strike, each, tau) for each in (calm, wild))
    assert before <= after + slack


@given(PRICES, PRICES, VOLS, st.integers(-(10**9), 0))
def test_expired_options_are_worth_their_payoff(
    forward: int, strike: int, vol: int, tau: int
) -> None:
    above = forward >= strike
    expected = (
        max(forward - strike, 0),
        max(strike - forward, 0),
        WAD if above else 0,
        0 if above else WAD,
        forward - strike,
    )
    for kind in Kind:
        assert price(kind, forward, strike, vol, tau) == expected[kind]
        assert price(kind, forward, strike, 0, MAX_TENOR) == expected[kind]


GOOD = {"kind": 0, "forward": WAD, "strike": WAD, "vol": WAD, "tau": YEAR}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("forward", 0),
        ("forward", -1),
        ("forward", MAX_PRICE + 1),
        ("strike", 0),
        ("strike", MAX_PRICE + 1),
        ("vol", -1),
        ("vol", MAX_VOL + 1),
        ("tau", MAX_TENOR + 1),
        ("kind", 5),
        ("kind", -1),
    ],
)
def test_inputs_out_of_the_domain_are_refused(name: str, value: int) -> None:
    for tau in (YEAR, 0):  # an expired series has the same domain
        arguments = {**GOOD, "tau": tau, name: value}
        with pytest.raises(PricingDomainError, match=str(value)):
            price(**arguments)


def test_domain_errors_are_value_errors() -> None:
    assert issubclass(PricingDomainError, InvalidValueError)
    assert issubclass(PricingDomainError, ValueError)


@pytest.mark.parametrize(
    ("spot", "carry", "tau"),
    [
        (0, 0, 1),
        (MAX_PRICE + 1, 0, 1),
        (WAD, MAX_CARRY + 1, 1),
        (WAD, -MAX_CARRY - 1, 1),
        (WAD, 0, MAX_TENOR + 1),
        (WAD, MAX_CARRY, MAX_TENOR),
        (WAD, -MAX_CARRY, MAX_TENOR),
        (MAX_PRICE, WAD, YEAR),
        (1, -1, 1),
    ],
)
def test_forwards_out_of_the_domain_are_refused(spot: int, carry: int, tau: int) -> None:
    with pytest.raises(PricingDomainError):
        forward_price(spot, carry, tau)


def test_forwards_agree_with_the_exponential_and_round_down() -> None:
    with mpmath.workdps(60):
        for spot, carry, tau in generate_vectors.random_forwards(104, 1_000):
            exact = exact_forward(spot, carry, tau)
            error = forward_price(spot, carry, tau) - exact
            assert -1 - exact * 1e-25 < error < exact * 1e-25


def test_forward_without_carry_or_time_is_the_spot() -> None:
    assert forward_price(123, 0, YEAR) == 123
    assert forward_price(123, WAD, 0) == 123
    assert forward_price(123, WAD, -5) == 123


@given(
    st.integers(WAD, 200_000 * WAD), st.integers(-2 * WAD, 2 * WAD), st.integers(3_600, 3 * YEAR)
)
def test_implied_carry_inverts_the_forward(spot: int, carry: int, tau: int) -> None:
    forward = forward_price(spot, carry, tau)
    again = implied_carry(spot, forward, tau)
    # the forward's last digit weighs 1 / (F tau)
    assert abs(again - carry) <= 2 + 2 * WAD * YEAR // (forward * tau)
    assert abs(forward_price(spot, again, tau) - forward) <= 2 + 2 * forward * tau // (WAD * YEAR)


@pytest.mark.parametrize(
    ("spot", "forward", "tau"),
    [(0, 1, 1), (1, 0, 1), (1, MAX_PRICE + 1, 1), (1, 1, 0), (1, 1, MAX_TENOR + 1), (1, 2, 1)],
)
def test_carries_out_of_the_domain_are_refused(spot: int, forward: int, tau: int) -> None:
    with pytest.raises(PricingDomainError):
        implied_carry(spot, forward, tau)


def test_vectors_cover_the_corners() -> None:
    prices = {int(value) for value in VECTORS["option"]["forward"]}
    assert {1, MAX_PRICE} <= prices
    assert Path(generate_vectors.TARGET).stat().st_size < 500_000
