"""Laws that no price may break, whatever the inputs: no arbitrage, to the wei where it can be.

Some laws hold exactly, by construction: parity, bounds, symmetry. Of the others each price may be
off by its published error, `reference.tolerance`, and a law is asserted with the sum of the errors
of the prices in it and nothing more. A price that is a function of its inputs to within 2 wei
cannot rise strictly with all of them.
"""

from __future__ import annotations

from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from channels.pricing import MAX_PRICE, MAX_TENOR, MAX_VOL, Kind, forward_price, price
from channels.units import WAD

from .reference import tolerance

Series = tuple[int, int, int, int]
"""Forward, strike, vol and time to expiry."""

ANY_PRICE = st.one_of(
    st.integers(1, MAX_PRICE),
    st.integers(1, 200_000 * WAD),
    st.integers(0, 127).flatmap(lambda bits: st.integers(1 << bits, (2 << bits) - 1)),
)
VOLS = st.one_of(st.integers(0, MAX_VOL), st.integers(0, 3 * WAD), st.integers(0, WAD // 1000))
TENORS = st.one_of(st.integers(1, MAX_TENOR), st.integers(1, 90 * 86_400), st.integers(1, 60))
KINDS = st.sampled_from((Kind.CALL, Kind.PUT))


def _within(value: int) -> int:
    return min(max(value, 1), MAX_PRICE)


@st.composite
def near(draw: st.DrawFn, origin: int) -> int:
    """A price at any distance from another one, from a wei to the whole domain."""
    far = st.integers(-30, 3).map(lambda decade: int(origin * 10.0**decade))
    size = draw(st.one_of(far, st.integers(0, 3)))
    part = draw(st.integers(-1000, 1000))
    return draw(st.one_of(st.just(_within(origin + size * part // 1000)), ANY_PRICE))


@st.composite
def series(draw: st.DrawFn) -> Series:
    """A series with a strike near its forward, or anywhere."""
    forward = draw(ANY_PRICE)
    return forward, draw(near(forward)), draw(VOLS), draw(TENORS)


def error(kind: int, *options: Series) -> int:
    """The sum of the published errors of these prices, in wei."""
    return sum(tolerance(kind, *each) for each in options)


# ---- exact


@given(series())
@example((MAX_PRICE, 1, MAX_VOL, MAX_TENOR))
@example((1, MAX_PRICE, 1, 1))
def test_parity_holds_to_the_wei(option: Series) -> None:
    forward, strike, *_ = option
    assert price(Kind.CALL, *option) - price(Kind.PUT, *option) == forward - strike
    assert price(Kind.FORWARD, *option) == forward - strike


@given(series())
def test_digitals_add_up_to_one(option: Series) -> None:
    call, put = price(Kind.DIGITAL_CALL, *option), price(Kind.DIGITAL_PUT, *option)
    assert call + put == WAD
    assert 0 <= call <= WAD


@given(series())
def test_options_stay_between_intrinsic_and_forward_or_strike(option: Series) -> None:
    forward, strike, *_ = option
    assert max(forward - strike, 0) <= price(Kind.CALL, *option) <= forward
    assert max(strike - forward, 0) <= price(Kind.PUT, *option) <= strike


@given(series())
def test_call_and_put_swap_with_forward_and_strike(option: Series) -> None:
    forward, strike, vol, tau = option
    assert price(Kind.CALL, forward, strike, vol, tau) == price(Kind.PUT, strike, forward, vol, tau)


@given(series(), st.integers(-(10**9), 0))
def test_expired_or_without_vol_an_option_is_its_payoff(option: Series, past: int) -> None:
    forward, strike, vol, tau = option
    above = forward >= strike
    expected = (
        max(forward - strike, 0),
        max(strike - forward, 0),
        WAD if above else 0,
        0 if above else WAD,
        forward - strike,
    )
    for kind in Kind:
        assert price(kind, forward, strike, vol, past) == expected[kind]
        assert price(kind, forward, strike, 0, tau) == expected[kind]


# ---- in the forward and the strike


@given(series(), st.data())
def test_calls_rise_with_the_forward_at_most_as_much(option: Series, data: Any) -> None:
    forward, strike, vol, tau = option
    low, high = sorted((forward, data.draw(near(forward))))
    pair = (low, strike, vol, tau), (high, strike, vol, tau)
    slack = error(Kind.CALL, *pair)
    before, after = (price(Kind.CALL, *each) for each in pair)
    assert -slack <= after - before <= high - low + slack
    before, after = (price(Kind.PUT, *each) for each in pair)
    assert -slack <= before - after <= high - low + slack


@given(series(), st.data())
def test_calls_fall_with_the_strike_at_most_as_much(option: Series, data: Any) -> None:
    forward, strike, vol, tau = option
    low, high = sorted((strike, data.draw(near(strike))))
    pair = (forward, low, vol, tau), (forward, high, vol, tau)
    slack = error(Kind.CALL, *pair)
    before, after = (price(Kind.CALL, *each) for each in pair)
    assert -slack <= before - after <= high - low + slack
    before, after = (price(Kind.PUT, *each) for each in pair)
    assert -slack <= after - before <= high - low + slack


@given(series(), st.data())
def test_digital_calls_rise_with_the_forward_and_fall_with_the_strike(
    option: Series, data: Any
) -> None:
    forward, strike, vol, tau = option
    low, high = sorted((forward, data.draw(near(forward))))
    pair = (low, strike, vol, tau), (high, strike, vol, tau)
    before, after = (price(Kind.DIGITAL_CALL, *each) for each in pair)
    assert before <= after + error(Kind.DIGITAL_CALL, *pair)
    low, high = sorted((strike, data.draw(near(strike))))
    pair = (forward, low, vol, tau), (forward, high, vol, tau)
    before, after = (price(Kind.DIGITAL_CALL, *each) for each in pair)
    assert after <= before + error(Kind.DIGITAL_CALL, *pair)


@given(series(), KINDS, st.data())
def test_no_butterfly_costs_less_than_nothing(option: Series, kind: Kind, data: Any) -> None:
    """Convexity in the strike: (high - low) mid <= (high - mid) low + (mid - low) high."""
    forward, strike, vol, tau = option
    strikes = sorted((strike, data.draw(near(strike)), data.draw(near(strike))))
    wing, body, other = ((forward, each, vol, tau) for each in strikes)
    low, middle, high = strikes
    a, b, c = (price(kind, *each) for each in (wing, body, other))
    slack = (high - low) * error(kind, body)
    slack += (high - middle) * error(kind, wing) + (middle - low) * error(kind, other)
    assert (high - low) * b <= (high - middle) * a + (middle - low) * c + slack


@given(series(), KINDS, st.data())
def test_options_are_convex_in_the_forward(option: Series, kind: Kind, data: Any) -> None:
    forward, strike, vol, tau = option
    forwards = sorted((forward, data.draw(near(forward)), data.draw(near(forward))))
    wing, body, other = ((each, strike, vol, tau) for each in forwards)
    low, middle, high = forwards
    a, b, c = (price(kind, *each) for each in (wing, body, other))
    slack = (high - low) * error(kind, body)
    slack += (high - middle) * error(kind, wing) + (middle - low) * error(kind, other)
    assert (high - low) * b <= (high - middle) * a + (middle - low) * c + slack


@given(series(), st.data())
def test_a_digital_is_the_slope_of_calls(option: Series, data: Any) -> None:
    """A call spread pays between its width in digitals of its upper strike and of its lower."""
    forward, strike, vol, tau = option
    low, high = sorted((strike, data.draw(near(strike))))
    pair = (forward, low, vol, tau), (forward, high, vol, tau)
    spread = price(Kind.CALL, *pair[0]) - price(Kind.CALL, *pair[1])
    lower, upper = (price(Kind.DIGITAL_CALL, *each) for each in pair)
    width = high - low
    slack = WAD * error(Kind.CALL, *pair)
    assert width * (upper - error(Kind.DIGITAL_CALL, pair[1])) <= WAD * spread + slack
    assert WAD * spread - slack <= width * (lower + error(Kind.DIGITAL_CALL, pair[0]))


@given(series(), KINDS, st.integers(2, 10**6))
def test_prices_scale_with_forward_and_strike(option: Series, kind: Kind, factor: int) -> None:
    forward, strike, vol, tau = option
    assume(max(forward, strike) * factor <= MAX_PRICE)
    scaled = forward * factor, strike * factor, vol, tau
    slack = error(kind, scaled) + factor * error(kind, option)
    assert abs(price(kind, *scaled) - factor * price(kind, *option)) <= slack


# ---- in vol and time


@given(series(), KINDS, VOLS)
def test_options_rise_with_vol(option: Series, kind: Kind, other: int) -> None:
    forward, strike, vol, tau = option
    pair = tuple((forward, strike, each, tau) for each in sorted((vol, other)))
    calm, wild = (price(kind, *each) for each in pair)
    assert calm <= wild + error(kind, *pair)


@given(series(), KINDS, st.one_of(st.integers(-5, 0), TENORS))
def test_no_calendar_spread_costs_less_than_nothing(option: Series, kind: Kind, other: int) -> None:
    forward, strike, vol, tau = option
    pair = tuple((forward, strike, vol, each) for each in sorted((tau, other)))
    early, late = (price(kind, *each) for each in pair)
    assert early <= late + error(kind, *pair)


@given(series(), KINDS, VOLS, TENORS)
def test_options_rise_with_total_variance(
    option: Series, kind: Kind, other_vol: int, other_tau: int
) -> None:
    """Whether from vol or from time: vol^2 tau orders the prices of one forward and strike."""
    forward, strike, vol, tau = option
    less, more = sorted(
        ((vol, tau), (other_vol, other_tau)), key=lambda each: each[0] ** 2 * each[1]
    )
    pair = (forward, strike, *less), (forward, strike, *more)
    low, high = (price(kind, *each) for each in pair)
    assert low <= high + error(kind, *pair)


@given(series(), KINDS, st.integers(2, 50))
def test_equal_total_variance_is_an_equal_price(option: Series, kind: Kind, times: int) -> None:
    forward, strike, vol, tau = option
    assume(vol * times <= MAX_VOL and tau * times * times <= MAX_TENOR)
    pair = (forward, strike, vol * times, tau), (forward, strike, vol, tau * times * times)
    steep, long = (price(kind, *each) for each in pair)
    assert abs(steep - long) <= error(kind, *pair)


@given(series(), VOLS, TENORS)
def test_digitals_in_the_money_lose_with_total_variance(
    option: Series, other_vol: int, other_tau: int
) -> None:
    """d2 = h - t falls with s while the forward is at or above the strike."""
    low, high = sorted(option[:2])
    less, more = sorted(
        (option[2:], (other_vol, other_tau)), key=lambda each: each[0] ** 2 * each[1]
    )
    pair = (high, low, *less), (high, low, *more)
    before, after = (price(Kind.DIGITAL_CALL, *each) for each in pair)
    assert after <= before + error(Kind.DIGITAL_CALL, *pair)


# ---- forwards


@given(
    st.integers(1, 10**30),
    st.integers(-3 * WAD, 3 * WAD),
    st.integers(1, MAX_TENOR // 10),
    st.data(),
)
def test_forwards_rise_with_spot_and_carry(spot: int, carry: int, tau: int, data: Any) -> None:
    """At one carry exactly, for rounding down keeps the order; between carries within 1e-25."""
    other = min(data.draw(near(spot)), 10**30)
    low, high = sorted((spot, other))
    assume(low > 100)
    assert forward_price(low, carry, tau) <= forward_price(high, carry, tau)
    less, more = sorted((carry, data.draw(st.integers(-3 * WAD, 3 * WAD))))
    above = forward_price(low, more, tau)
    assert forward_price(low, less, tau) <= above + 1 + 2 * above // 10**25
