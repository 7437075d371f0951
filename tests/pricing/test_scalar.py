"""The float engine, one option at a time: accuracy, published values, laws."""

from __future__ import annotations

import math

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.errors import InvalidValueError
from channels.pricing import Kind
from channels.pricing import price as integer_price
from channels.pricing.scalar import greeks, price
from channels.units import WAD, YEAR

from .float_reference import exact_greeks, exact_price, hard_options

prices = st.floats(1e-3, 1e6)
vols = st.floats(1e-3, 8.0)
times = st.floats(1e-4, 10.0)


def _relative(found: float, exact: object) -> float:
    with mpmath.workdps(60):
        return float(abs(mpmath.mpf(found) / exact - 1))


def test_prices_are_exact_to_5e_13_on_the_hard_domain() -> None:
    errors = [_relative(price(*option), exact_price(*option)) for option in hard_options(17, 6_000)]
    assert max(errors) <= 5e-13


def test_prices_near_the_regions_borders_are_exact() -> None:
    # s from far to near the money at x + s = 0.02, and from far to deep at h - t = -1
    worst = 0.0
    for i in range(-40, 41):
        nudge = 1.0 + i * 1e-6
        for x, s in (
            *((0.02 * part * nudge, 0.02 * (1.0 - part)) for part in (0.0, 0.1, 0.5, 0.9)),
            *((0.5 * s * s - s, s * nudge) for s in (2.0, 2.2, 3.0)),
        ):
            option = (0, 100.0 * math.exp(-x), 100.0, s, 1.0)
            worst = max(worst, _relative(price(*option), exact_price(*option)))
    assert worst <= 2e-13


@pytest.mark.parametrize(
    ("source", "kind", "forward", "strike", "vol", "years", "discount", "published", "digits"),
    [
        # Haug, 2nd edition (2007): page 3 (Black-Scholes call: S 60, K 65, three months, r 8 %,
        # vol 30 %), page 4 (Merton put: S 100, K 95, six months, r 10 %, q 5 %, vol 20 %), page 5
        # (Black-76 on Brent: F = K = 19, nine months, r 10 %, vol 28 %), and section 4.19.3 (cash
        # or nothing put: S 100, K 80, pays 10, nine months, r 6 %, q 6 %, vol 35 %)
        ("Haug 1.1.1", 0, 60 * math.exp(0.02), 65.0, 0.3, 0.25, 0.08, 2.1334, 4),
        ("Haug 1.1.2", 1, 100 * math.exp(0.025), 95.0, 0.2, 0.5, 0.10, 2.4648, 4),
        ("Haug 1.1.3 call", 0, 19.0, 19.0, 0.28, 0.75, 0.10, 1.7011, 4),
        ("Haug 1.1.3 put", 1, 19.0, 19.0, 0.28, 0.75, 0.10, 1.7011, 4),
        ("Haug 4.19.3, a tenth", 3, 100.0, 80.0, 0.35, 0.75, 0.06, 0.26710, 4),
        # Hull, 9th edition, example 15.6 (S 42, K 40, r 10 %, vol 20 %, six months), and example
        # 18.6 (put on futures: F 20, K 20, r 9 %, vol 25 %, four months)
        ("Hull 15.6 call", 0, 42 * math.exp(0.05), 40.0, 0.2, 0.5, 0.10, 4.76, 2),
        ("Hull 15.6 put", 1, 42 * math.exp(0.05), 40.0, 0.2, 0.5, 0.10, 0.81, 2),
        ("Hull 18.6", 1, 20.0, 20.0, 0.25, 4 / 12, 0.09, 1.12, 2),
    ],
)
def test_published_prices(
    source: str,
    kind: int,
    forward: float,
    strike: float,
    vol: float,
    years: float,
    discount: float,
    published: float,
    digits: int,
) -> None:
    value = price(kind, forward, strike, vol, years) * math.exp(-discount * years)
    assert round(value, digits) == pytest.approx(published, abs=0.5001 * 10**-digits), source


def test_greeks_are_those_hull_publishes() -> None:
    # Hull, 9th edition, examples 19.1 to 19.6: S 49, K 50, r 5 %, vol 20 %, 20 weeks; he discounts
    years = 0.3846
    found = greeks(Kind.CALL, 49.0, 50.0, 0.2, years, 0.05)
    discount = math.exp(-0.05 * years)
    assert found.delta * discount == pytest.approx(0.522, abs=5e-4)
    assert found.gamma * discount == pytest.approx(0.066, abs=5e-4)
    assert found.vega * discount == pytest.approx(12.1, abs=0.05)
    assert (found.theta + 0.05 * found.price) * discount == pytest.approx(-4.31, abs=5e-3)
    assert (found.rho - years * found.price) * discount == pytest.approx(8.91, abs=5e-3)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(
    ("spot", "strike", "vol", "years", "carry"),
    [
        (100.0, 100.0, 0.5, 0.25, 0.0),
        (100.0, 130.0, 0.8, 0.02, 0.05),
        (100.0, 70.0, 0.35, 1.5, -0.03),
        (3000.0, 2999.0, 0.6, 0.003, 0.1),
        (100.0, 40.0, 2.5, 3.0, 0.02),
        (1.0, 1.5, 0.2, 0.1, 0.0),
    ],
)
def test_greeks_are_the_derivatives_of_the_exact_price(
    kind: int, spot: float, strike: float, vol: float, years: float, carry: float
) -> None:
    found = greeks(kind, spot, strike, vol, years, carry)
    exact = exact_greeks(kind, spot, strike, vol, years, carry)
    scale = {
        "price": spot,
        "delta": 1.0,
        "gamma": 1 / spot,
        "vega": spot,
        "theta": spot,
        "rho": spot,
        "vanna": 1.0,
        "volga": spot,
        "charm": 1.0,
    }
    for name, value in exact.items():
        assert getattr(found, name) == pytest.approx(
            float(value), rel=2e-11, abs=1e-14 * scale[name]
        ), name


@given(forward=prices, strike=prices, vol=vols, years=times)
def test_put_call_parity_and_bounds(
    forward: float, strike: float, vol: float, years: float
) -> None:
    call = price(Kind.CALL, forward, strike, vol, years)
    put = price(Kind.PUT, forward, strike, vol, years)
    rounding = 1.0 + 4e-16  # intrinsic and time value are added: one ulp
    assert max(forward - strike, 0.0) <= call <= forward * rounding
    assert max(strike - forward, 0.0) <= put <= strike * rounding
    assert call - put == pytest.approx(forward - strike, abs=4e-16 * max(forward, strike))
    up = price(Kind.DIGITAL_CALL, forward, strike, vol, years)
    down = price(Kind.DIGITAL_PUT, forward, strike, vol, years)
    assert 0.0 <= up <= 1.0
    assert up + down == pytest.approx(1.0, abs=2e-16)


@given(forward=prices, strike=prices, vol=vols, years=times, more=st.floats(1.001, 2.0))
def test_more_vol_or_time_never_costs_less(
    forward: float, strike: float, vol: float, years: float, more: float
) -> None:
    value = price(Kind.CALL, forward, strike, vol, years)
    assert price(Kind.CALL, forward, strike, vol * more, years) >= value * (1 - 1e-12)
    assert price(Kind.CALL, forward, strike, vol, years * more) >= value * (1 - 1e-12)


@given(
    kind=st.sampled_from(Kind),
    forward=st.integers(10**15, 10**23),
    strike=st.integers(10**15, 10**23),
    vol=st.integers(10**16, 3 * 10**18),
    tau=st.integers(60, 3 * YEAR),
)
def test_the_integer_engine_agrees(
    kind: Kind, forward: int, strike: int, vol: int, tau: int
) -> None:
    exact = integer_price(kind, forward, strike, vol, tau) / WAD
    found = price(kind, forward / WAD, strike / WAD, vol / WAD, tau / YEAR)
    # a float forward and strike are rounded, and d2 of a digital with them
    s = vol / WAD * math.sqrt(tau / YEAR)
    scale = max(forward, strike) / WAD if kind < 2 or kind == 4 else 1.0 + 1.0 / s
    assert found == pytest.approx(exact, rel=1e-12, abs=2e-15 * scale + 3 / WAD)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(("vol", "years"), [(0.0, 1.0), (0.5, 0.0), (0.5, -1.0)])
def test_without_time_value_the_price_is_the_payoff(kind: Kind, vol: float, years: float) -> None:
    payoffs = {
        Kind.CALL: (20.0, 0.0, 0.0),
        Kind.PUT: (0.0, 0.0, 20.0),
        Kind.DIGITAL_CALL: (1.0, 1.0, 0.0),
        Kind.DIGITAL_PUT: (0.0, 0.0, 1.0),
        Kind.FORWARD: (20.0, 0.0, -20.0),
    }[kind]
    slopes = {Kind.CALL: (1, 0, 0), Kind.PUT: (0, 0, -1), Kind.FORWARD: (1, 1, 1)}.get(
        kind, (0, 0, 0)
    )
    for forward, payoff, slope in zip((120.0, 100.0, 80.0), payoffs, slopes, strict=True):
        assert price(kind, forward, 100.0, vol, years) == payoff
        found = greeks(kind, forward, 100.0, vol, years)
        assert (found.price, found.delta) == (payoff, slope)
        assert (found.gamma, found.vega, found.theta, found.vanna, found.volga) == (0.0,) * 5


@pytest.mark.parametrize(
    "arguments",
    [
        (0, 0.0, 100.0, 0.5, 1.0),
        (0, 100.0, -1.0, 0.5, 1.0),
        (0, -100.0, -1.0, 0.5, 1.0),
        (1, math.nan, 100.0, 0.5, 1.0),
        (1, 100.0, math.nan, 0.5, 1.0),
        (2, 100.0, 100.0, -0.5, 1.0),
        (2, 100.0, 100.0, math.nan, 1.0),
        (3, 100.0, 100.0, 0.5, math.nan),
        (4, math.inf, 100.0, 0.5, 1.0),
        (0, 100.0, 100.0, math.inf, 1.0),
        (5, 100.0, 100.0, 0.5, 1.0),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[int, float, float, float, float]) -> None:
    with pytest.raises(InvalidValueError):
        price(*arguments)
    with pytest.raises(InvalidValueError):
        greeks(*arguments)


def test_a_forward_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidValueError):
        greeks(Kind.CALL, 100.0, 100.0, 0.5, 1.0, carry=1000.0)
