"""Surface and carry curve: values at the nodes, and no arbitrage made between them."""

from __future__ import annotations

from itertools import pairwise
from math import exp, inf, log, nan

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.errors import InvalidValueError
from channels.pricing import Kind, scalar
from channels.pricing.carry import CarryCurve
from channels.pricing.instruments import Call
from channels.pricing.smiles import fit_surface
from channels.pricing.ssvi import Ssvi
from channels.pricing.surface import Smile, Surface
from channels.pricing.svi import RawSvi
from channels.units import DAY, WAD, YEAR
from tests.pricing.real_data import sample

AT = 1_768_435_200
DAYS = (1, 8, 30, 90, 365)
FORWARDS = (3001.0, 3004.0, 3020.0, 3055.0, 3250.0)
SSVI = Ssvi(rho=-0.3, eta=0.8, gamma=0.45)


def _surface(thetas: tuple[float, ...]) -> Surface:
    return Surface(
        at=AT,
        spot=3000.0,
        smiles=[
            Smile(expiry=AT + day * DAY, forward=forward, svi=SSVI.smile(theta))
            for day, forward, theta in zip(DAYS, FORWARDS, thetas, strict=True)
        ],
    )


SURFACE = _surface((0.001, 0.008, 0.03, 0.085, 0.36))

rising = st.lists(st.floats(1e-4, 0.2), min_size=5, max_size=5).map(
    lambda steps: tuple(float(each) for each in np.cumsum(steps))
)


@given(rising, st.floats(-1.5, 1.5), st.lists(st.integers(1, 800 * DAY), min_size=2, max_size=6))
def test_total_variance_rises_with_time(
    thetas: tuple[float, ...], k: float, times: list[int]
) -> None:
    surface = _surface(thetas)
    variances = [surface.total_variance(k, AT + time) for time in sorted(times)]
    for early, late in pairwise(variances):
        assert late >= early * (1.0 - 1e-12)


@given(rising, st.floats(0.5, 2.0), st.integers(1, 800 * DAY), st.integers(1, 800 * DAY))
def test_no_calendar_spread_is_free(
    thetas: tuple[float, ...], moneyness: float, one: int, other: int
) -> None:
    """In prices, by the forward: at one moneyness the later call is worth no less."""
    surface = _surface(thetas)
    values = []
    for time in sorted((one, other)):
        forward = surface.forward(AT + time)
        vol = surface.volatility(moneyness * forward, AT + time)
        values.append(scalar.price(Kind.CALL, 1.0, moneyness, vol, time / YEAR))
    assert values[1] >= values[0] - 1e-12


def test_at_an_expiry_the_surface_is_its_smile() -> None:
    for smile in SURFACE.smiles:
        years = (smile.expiry - AT) / YEAR
        for moneyness in (0.6, 1.0, 1.5):
            vol = SURFACE.volatility(moneyness * smile.forward, smile.expiry)
            assert vol == pytest.approx(smile.svi.volatility(log(moneyness), years), rel=1e-12)


def test_between_expiries_variance_is_a_straight_line_in_time() -> None:
    low, high = SURFACE.smiles[2:4]
    for k in (-0.5, 0.0, 0.4):
        ends = [smile.svi.total_variance(k) for smile in (low, high)]
        third = SURFACE.total_variance(k, low.expiry + (high.expiry - low.expiry) // 3)
        assert third == pytest.approx((2.0 * ends[0] + ends[1]) / 3.0, rel=1e-12)


def test_before_the_first_and_beyond_the_last_expiry_the_vol_is_theirs() -> None:
    first, last = SURFACE.smiles[0], SURFACE.smiles[-1]
    for smile, expiry in ((first, AT + DAY // 4), (last, AT + 700 * DAY)):
        forward = SURFACE.forward(expiry)
        years = (smile.expiry - AT) / YEAR
        for k in (-0.2, 0.0, 0.3):
            vol = SURFACE.volatility(forward * exp(k), expiry)
            assert vol == pytest.approx(smile.svi.volatility(k, years), rel=1e-12)


def test_once_expired_there_is_neither_vol_nor_carry() -> None:
    assert SURFACE.volatility(3000.0, AT) == SURFACE.volatility(3000.0, AT - DAY) == 0.0
    assert SURFACE.total_variance(0.1, AT) == 0.0
    assert SURFACE.forward(AT) == 3000.0
    call = Call("ETH", strike=2900, expiry=AT)
    assert call.price(SURFACE) == 100.0


def test_an_instrument_is_priced_at_the_vol_of_its_strike() -> None:
    call = Call("ETH", strike=3300, expiry=AT + 60 * DAY)
    forward = SURFACE.forward(call.expiry)
    vol = SURFACE.volatility(3300.0, call.expiry)
    expected = scalar.price(Kind.CALL, forward, 3300.0, vol, 60 / 365)
    assert call.price(SURFACE) == pytest.approx(expected, rel=1e-14)
    assert call.greeks(SURFACE).price == pytest.approx(expected, rel=1e-12)


def test_slacks_name_the_expiry() -> None:
    assert all(slack.slack > 0.0 for slack in SURFACE.butterflies().values())
    assert all(slack.slack > 0.0 for slack in SURFACE.calendars(within=5.0).values())
    crossed = attrs.evolve(
        SURFACE,
        smiles=[
            *SURFACE.smiles[:3],
            attrs.evolve(SURFACE.smiles[3], svi=SSVI.smile(0.02)),
            SURFACE.smiles[4],
        ],
    )
    bad = [expiry for expiry, slack in crossed.calendars(within=1.0).items() if slack.slack < 0.0]
    assert bad == [AT + 90 * DAY]
    # theta falls from 0.03 to 0.02 there, and at the money by as much
    assert crossed.calendars(within=0.0)[AT + 90 * DAY].slack == pytest.approx(-0.01)


@pytest.mark.parametrize("strike", [0.0, -1.0, nan])
def test_a_strike_is_positive(strike: float) -> None:
    with pytest.raises(InvalidValueError):
        SURFACE.volatility(strike, AT + DAY)


def test_what_is_no_surface() -> None:
    with pytest.raises(InvalidValueError):
        attrs.evolve(SURFACE, smiles=[])
    with pytest.raises(InvalidValueError):
        attrs.evolve(SURFACE, smiles=SURFACE.smiles[::-1])
    with pytest.raises(InvalidValueError):
        attrs.evolve(SURFACE, at=AT + DAY)
    with pytest.raises(InvalidValueError):
        attrs.evolve(SURFACE, spot=0.0)
    with pytest.raises(InvalidValueError):
        Smile(expiry=AT, forward=nan, svi=RawSvi(a=0.1, b=0.1, rho=0.0, m=0.0, sigma=0.1))


@given(st.lists(st.floats(50.0, 200.0), min_size=1, max_size=6), st.integers(-DAY, 900 * DAY))
def test_a_curve_goes_through_its_forwards(forwards: list[float], time: int) -> None:
    nodes = [(AT + 100 * DAY * (i + 1), each) for i, each in enumerate(forwards)]
    curve = CarryCurve(at=AT, spot=100.0, forwards=nodes)
    for expiry, forward in nodes:
        assert curve.forward(expiry) == pytest.approx(forward, rel=1e-13)
    forward = curve.forward(AT + time)
    years = max(time, 0) / YEAR
    assert forward == pytest.approx(100.0 * exp(curve.carry(AT + time) * years), rel=1e-12)
    if time <= 0:
        assert forward == 100.0
    elif AT + time <= nodes[-1][0]:
        around = [100.0, *forwards]
        assert min(around) * (1 - 1e-12) <= forward <= max(around) * (1 + 1e-12)


def test_between_forwards_the_forward_carry_is_constant() -> None:
    curve = CarryCurve(at=0, spot=100.0, forwards=[(YEAR, 104.0), (2 * YEAR, 110.0)])
    middle = curve.forward(YEAR * 3 // 2)
    assert middle == pytest.approx((104.0 * 110.0) ** 0.5, rel=1e-14)
    assert curve.forward(4 * YEAR) == pytest.approx(100.0 * 1.1**2, rel=1e-14)
    assert CarryCurve(at=0, spot=100.0).forward(YEAR) == 100.0


@pytest.mark.parametrize(
    ("spot", "nodes"),
    [
        (0.0, []),
        (inf, []),
        (100.0, [(YEAR, nan)]),
        (100.0, [(0, 101.0)]),
        (100.0, [(2, 101.0), (1, 101.0)]),
        (100.0, [(1, 101.0), (1, 101.0)]),
    ],
)
def test_what_is_no_curve(spot: float, nodes: list[tuple[int, float]]) -> None:
    with pytest.raises(InvalidValueError):
        CarryCurve(at=0, spot=spot, forwards=nodes)


@pytest.mark.parametrize("asset", ["btc", "eth"])
def test_real_marks_come_back_from_a_surface_fitted_to_bids_and_asks(asset: str) -> None:
    """The venue's mark vols are not what was fitted: they are near, within what is quoted."""
    differences = []
    for snapshot in sample(asset, every=40):
        fitted = fit_surface(snapshot, asset.upper())
        surface = fitted.surface
        assert surface.spot == snapshot.spot / WAD
        for quoted in fitted.quotes:
            ours = [surface.volatility(float(strike), quoted.expiry) for strike in quoted.strikes]
            differences += list(np.abs(np.array(ours) - quoted.marks))
    assert len(differences) > 500
    assert np.median(differences) < 0.005
    assert np.percentile(differences, 95) < 0.04


def test_a_feed_that_is_not_there_has_no_surface() -> None:
    snapshot = next(sample("eth"))
    with pytest.raises(InvalidValueError, match="DOGE"):
        fit_surface(snapshot, "DOGE")
