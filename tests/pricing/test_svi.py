"""Raw SVI and its arbitrage conditions: published smiles, and prices differentiated by hand."""

from __future__ import annotations

from math import copysign, exp, inf, log, pi, sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from channels.errors import InvalidValueError
from channels.pricing import Kind, scalar
from channels.pricing.svi import RawSvi, Slack, butterfly_slack, calendar_slack

# Axel Vogt's example: Gatheral and Jacquier (2014), example 3.1, and 5.1 in SVI-JW for one year.
VOGT = RawSvi(a=-0.0410, b=0.1331, rho=0.3060, m=0.3586, sigma=0.4153)
VOGT_JUMP_WINGS = (0.01742625, -0.1752111, 0.6997381, 1.316798, 0.0116249)
# The last two replaced so that no butterfly is left, as that section does.
MENDED = (0.01742625, -0.1752111, 0.6997381, 0.3493158, 0.01548182)

smiles = st.builds(
    lambda least, b, rho, m, sigma: RawSvi(
        a=least - b * sigma * sqrt(1.0 - rho * rho), b=b, rho=rho, m=m, sigma=sigma
    ),
    least=st.floats(0.001, 0.5),
    b=st.floats(0.0, 1.5),
    rho=st.floats(-0.95, 0.95),
    m=st.floats(-0.5, 0.5),
    sigma=st.floats(0.02, 1.0),
)


def _from_jump_wings(v: float, psi: float, p: float, c: float, least: float) -> RawSvi:
    """Gatheral and Jacquier (2014), lemma 3.2, at one year."""
    root = sqrt(v)
    b = 0.5 * root * (c + p)
    rho = 1.0 - p * root / b
    beta = rho - 2.0 * psi * root / b
    alpha = copysign(sqrt(1.0 / (beta * beta) - 1.0), beta)
    across = sqrt(1.0 - rho * rho)
    m = (v - least) / (b * (-rho + copysign(sqrt(1.0 + alpha * alpha), alpha) - alpha * across))
    sigma = alpha * m
    return RawSvi(a=least - b * sigma * across, b=b, rho=rho, m=m, sigma=sigma)


def _density_factor(svi: RawSvi, k: float) -> float:
    """g(k) from second differences of call prices: no formula of SVI in it but w itself."""

    def call(strike: float) -> float:
        vol = sqrt(svi.total_variance(log(strike)))
        return scalar.price(Kind.CALL, 1.0, strike, vol, 1.0)

    strike, w = exp(k), svi.total_variance(k)
    step = 1e-4 * strike
    density = (call(strike + step) - 2.0 * call(strike) + call(strike - step)) / step**2
    d2 = -k / sqrt(w) - 0.5 * sqrt(w)
    return density * strike * sqrt(2.0 * pi * w) * exp(0.5 * d2 * d2)


def test_vogts_smile_in_the_published_jump_wings() -> None:
    w, slope, _ = VOGT.derivatives(0.0)
    left, right = VOGT.wings
    found = (w, slope / (2.0 * sqrt(w)), left / sqrt(w), right / sqrt(w), VOGT.minimum)
    assert found == pytest.approx(VOGT_JUMP_WINGS, rel=1e-5)
    back = _from_jump_wings(*VOGT_JUMP_WINGS)
    for name in ("a", "b", "rho", "m", "sigma"):
        assert getattr(back, name) == pytest.approx(getattr(VOGT, name), rel=1e-3)


def test_vogts_smile_has_butterflies_and_the_mended_one_none() -> None:
    slack = butterfly_slack(VOGT)
    assert slack.slack < -0.03
    assert 0.7 < slack.at < 1.1  # where the paper's figure dips
    assert butterfly_slack(_from_jump_wings(*MENDED)).slack > 0.0


def test_a_butterfly_really_costs_less_than_nothing_there() -> None:
    at = butterfly_slack(VOGT).at
    calls = [
        scalar.price(Kind.CALL, 1.0, exp(k), sqrt(VOGT.total_variance(k)), 1.0)
        for k in (log(exp(at) - 0.05), at, log(exp(at) + 0.05))
    ]
    assert calls[0] - 2.0 * calls[1] + calls[2] < 0.0


@given(smiles, st.floats(-0.6, 0.6))
def test_g_is_the_density_that_prices_have(svi: RawSvi, k: float) -> None:
    w = svi.total_variance(k)
    # farther out second differences of doubles have no digits left
    assume(abs(k) <= 3.0 * sqrt(w) and w <= 2.0)
    # differences see a bend of width sigma as it is only if their step is much smaller
    assert svi.density_factor(k) == pytest.approx(_density_factor(svi, k), rel=2e-3, abs=2e-3)


@given(smiles)
def test_the_slack_is_the_least_g_of_a_dense_search(svi: RawSvi) -> None:
    slack = butterfly_slack(svi)
    k = np.concatenate((np.linspace(-4, 4, 20_001), np.linspace(-60, 60, 2_001)))
    dense = float(np.min(svi.density_factor(k)))
    assert slack.slack <= dense + 1e-6
    if abs(slack.at) < inf:
        assert slack.slack == pytest.approx(svi.density_factor(slack.at), abs=1e-12)


@given(smiles, st.floats(-2.0, 2.0))
def test_derivatives_are_differences(svi: RawSvi, k: float) -> None:
    step = 1e-5
    low, here, high = (svi.total_variance(k + move) for move in (-step, 0.0, step))
    w, slope, curvature = svi.derivatives(k)
    assert w == here
    assert slope == pytest.approx((high - low) / (2.0 * step), abs=1e-6)
    assert curvature == pytest.approx(
        (svi.derivatives(k + step)[1] - svi.derivatives(k - step)[1]) / (2.0 * step), abs=1e-3
    )
    assert w >= svi.minimum - 1e-12


def test_wings_beyond_lees_bound_are_arbitrage_at_the_end() -> None:
    steep = RawSvi(a=1.0, b=1.5, rho=0.5, m=0.0, sigma=1.0)
    limit = (4.0 - 2.25**2) / 16.0
    assert steep.density_factor(1e7) == pytest.approx(limit, rel=1e-6)
    assert butterfly_slack(steep).slack <= limit
    gentle = RawSvi(a=1.0, b=0.5, rho=0.5, m=0.0, sigma=0.1)
    assert butterfly_slack(gentle) == Slack(slack=(4.0 - 0.75**2) / 16.0, at=inf)
    flat = RawSvi(a=0.04, b=0.0, rho=0.0, m=0.0, sigma=1.0)
    assert butterfly_slack(flat).slack == 1.0  # Black: the density is the lognormal one


@given(smiles, smiles, st.floats(0.1, 2.0))
def test_a_calendars_slack_is_the_least_difference(a: RawSvi, b: RawSvi, reach: float) -> None:
    slack = calendar_slack(a, b, low=-reach, high=reach)
    k = np.linspace(-reach, reach, 10_001)
    dense = float(np.min(b.total_variance(k) - a.total_variance(k)))
    assert slack.slack == pytest.approx(dense, abs=1e-4)
    assert slack.slack <= dense + 1e-9
    assert -reach <= slack.at <= reach


def test_wings_that_cross_somewhere() -> None:
    near = RawSvi(a=0.01, b=0.10, rho=0.0, m=0.0, sigma=0.1)
    far = RawSvi(a=0.04, b=0.08, rho=0.0, m=0.0, sigma=0.1)
    assert calendar_slack(near, far).slack == -inf
    within = calendar_slack(near, far, low=-1.0, high=1.0)
    assert within.slack > 0.0
    assert abs(within.at) == 1.0
    parallel = RawSvi(a=0.02, b=0.10, rho=0.0, m=0.0, sigma=0.1)
    assert calendar_slack(near, parallel).slack == pytest.approx(0.01, abs=1e-12)
    with pytest.raises(InvalidValueError):
        calendar_slack(near, far, low=1.0, high=-1.0)


@pytest.mark.parametrize(
    "change",
    [
        {"b": -0.1},
        {"rho": 1.1},
        {"sigma": 0.0},
        {"a": -1.0},
        {"m": float("nan")},
        {"a": inf},
    ],
)
def test_what_is_no_smile(change: dict[str, float]) -> None:
    usual = {"a": 0.01, "b": 0.1, "rho": -0.3, "m": 0.0, "sigma": 0.2}
    with pytest.raises(InvalidValueError, match="no smile"):
        RawSvi(**{**usual, **change})
