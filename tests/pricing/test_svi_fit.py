"""Calibration of a smile: round trips, weights, arbitrage taken out, and real quotes."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from channels.errors import InvalidValueError
from channels.pricing.least_squares import least_squares
from channels.pricing.smiles import fit_surface, quoted_smiles
from channels.pricing.svi import RawSvi, butterfly_slack, calendar_slack
from channels.pricing.svi_fit import fit_svi
from tests.pricing.real_data import sample
from tests.pricing.test_svi import VOGT

K = np.linspace(-0.6, 0.6, 21)
SMILE = RawSvi(a=0.01, b=0.1, rho=-0.3, m=0.05, sigma=0.2)

# Smiles that the strikes of K can tell apart.
told_apart = st.builds(
    lambda least, b, rho, m, sigma: RawSvi(
        a=least - b * sigma * (1.0 - rho * rho) ** 0.5, b=b, rho=rho, m=m, sigma=sigma
    ),
    least=st.floats(0.005, 0.2),
    b=st.floats(0.02, 0.5),
    rho=st.floats(-0.8, 0.8),
    m=st.floats(-0.25, 0.25),
    sigma=st.floats(0.05, 0.4),
)


@given(told_apart)
@settings(deadline=None)
def test_a_smile_comes_back_from_its_quotes(svi: RawSvi) -> None:
    fit = fit_svi(K, svi.total_variance(K), arbitrage_free=False)
    assert fit.rms < 1e-7
    np.testing.assert_allclose(fit.svi.total_variance(K), svi.total_variance(K), rtol=1e-6)
    assert fit.svi.sigma == pytest.approx(svi.sigma, rel=1e-3)
    assert fit.svi.m == pytest.approx(svi.m, abs=1e-3)


def test_vogts_smile_comes_back_as_published() -> None:
    fit = fit_svi(K, VOGT.total_variance(K), arbitrage_free=False)
    for name in ("a", "b", "rho", "m", "sigma"):
        assert getattr(fit.svi, name) == pytest.approx(getattr(VOGT, name), abs=1e-8)
    assert fit.butterfly == butterfly_slack(fit.svi)
    assert fit.butterfly.slack < -0.03


def test_butterflies_are_taken_out_at_a_price() -> None:
    free = fit_svi(K, VOGT.total_variance(K))
    assert free.butterfly.slack >= 0.0
    assert 0.0 < free.rms < 0.02  # of the mean variance
    assert np.all(free.svi.density_factor(np.linspace(-5, 5, 10_001)) >= 0.0)


def test_a_start_near_by_ends_in_the_same_smile() -> None:
    chance = np.random.default_rng(1)
    w = SMILE.total_variance(K) * chance.normal(1.0, 0.01, len(K))
    cold = fit_svi(K, w, 0.01 * w)
    warm = fit_svi(K, w, 0.01 * w, start=SMILE)
    np.testing.assert_allclose(
        warm.svi.total_variance(K), cold.svi.total_variance(K), rtol=0, atol=1e-9
    )
    assert warm.iterations <= cold.iterations


def test_it_is_the_minimum_of_what_it_minimises() -> None:
    """No smile next to it misses the quotes by less."""
    chance = np.random.default_rng(2)
    w = SMILE.total_variance(K) * chance.normal(1.0, 0.02, len(K))
    half = 0.01 * w * chance.uniform(0.5, 2.0, len(K))
    fit = fit_svi(K, w, half, arbitrage_free=False)

    def missed(svi: RawSvi) -> float:
        return float(np.sum(((svi.total_variance(K) - w) / half) ** 2))

    least = missed(fit.svi)
    assert fit.rms == pytest.approx((least / len(K)) ** 0.5)
    assert fit.inside == np.mean(np.abs(fit.svi.total_variance(K) - w) <= half)
    names = ("a", "b", "rho", "m", "sigma")
    for _ in range(200):
        moved = {name: getattr(fit.svi, name) + 1e-4 * chance.normal(0.0, 1.0) for name in names}
        assert missed(RawSvi(**moved)) >= least - 1e-9 * least


def test_wide_quotes_count_less() -> None:
    w = SMILE.total_variance(K)
    half = 0.01 * w
    w[3] *= 1.5
    half[3] *= 1e4
    fit = fit_svi(K, w, half)
    np.testing.assert_allclose(fit.svi.total_variance(K), SMILE.total_variance(K), rtol=1e-4)


def test_a_smile_keeps_between_its_neighbours() -> None:
    w = SMILE.total_variance(K)
    above = RawSvi(a=0.012, b=0.1, rho=-0.3, m=0.05, sigma=0.2)
    below = RawSvi(a=0.008, b=0.1, rho=-0.3, m=0.05, sigma=0.2)
    pushed_up = fit_svi(K, w, 0.01 * w, earlier=above)
    pushed_down = fit_svi(K, w, 0.01 * w, later=below)
    assert calendar_slack(above, pushed_up.svi).slack >= 0.0
    assert calendar_slack(pushed_down.svi, below).slack >= 0.0
    for fit in (pushed_up, pushed_down):
        assert fit.calendar is not None
        assert fit.calendar.slack >= 0.0
        assert fit.butterfly.slack >= 0.0
    free = fit_svi(K, w, 0.01 * w, earlier=below, later=above)
    np.testing.assert_allclose(free.svi.total_variance(K), w, rtol=1e-9)


Column = NDArray[np.float64]


@pytest.mark.parametrize(
    ("k", "w", "half"),
    [
        (K[:4], K[:4] ** 2 + 0.1, None),
        (np.zeros(9), np.full(9, 0.1), None),
        (K, K[:-1] ** 2 + 0.1, None),
        (K, K**2, None),
        (K, np.where(K > 0.5, nan, 0.1), None),
        (K, np.full(21, inf), None),
        (K, np.full(21, 0.1), np.zeros(21)),
        (np.where(K > 0.5, inf, K), np.full(21, 0.1), None),
        (K, np.full(21, 0.1), np.full(20, 0.1)),
    ],
)
def test_unusable_quotes_are_refused(k: Column, w: Column, half: Column | None) -> None:
    with pytest.raises(InvalidValueError):
        fit_svi(k, w, half)


def test_least_squares_finds_rosenbrocks_valley_and_keeps_to_bounds() -> None:
    """Moré, Garbow and Hillstrom (1981), problem 1: the minimum is 0 at (1, 1)."""

    def rosenbrock(x: Column) -> tuple[Column, Column]:
        return (
            np.array([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]]),
            np.array([[-20.0 * x[0], 10.0], [-1.0, 0.0]]),
        )

    start, ends = np.array([-1.2, 1.0]), np.array([5.0, 5.0])
    free = least_squares(rosenbrock, start, -ends, ends)
    assert free.converged
    np.testing.assert_allclose(free.parameters, [1.0, 1.0], rtol=1e-10)
    # held at x <= 1/2 the minimum is (1/2, 1/4), the sum of squares there 1/4
    held = least_squares(rosenbrock, start, -ends, np.array([0.5, 5.0]))
    np.testing.assert_allclose(held.parameters, [0.5, 0.25], rtol=1e-8)
    assert held.cost == pytest.approx(0.25, rel=1e-10)
    assert not least_squares(rosenbrock, start, -ends, ends, limit=3).converged


@pytest.mark.parametrize("asset", ["btc", "eth"])
def test_real_smiles_run_between_bid_and_ask(asset: str) -> None:
    inside, rms, slacks = [], [], []
    for snapshot in sample(asset, every=25):
        for quoted in quoted_smiles(snapshot, asset.upper()):
            assert np.all(np.diff(quoted.strikes) > 0.0)
            assert np.all(quoted.bids <= quoted.asks)
            free = fit_svi(
                quoted.log_moneyness,
                quoted.total_variance,
                quoted.half_spread,
                arbitrage_free=False,
            )
            assert free.converged
            assert free.inside is not None
            inside.append(free.inside)
            rms.append(free.rms)
        fitted = fit_surface(snapshot, asset.upper())
        slacks += [fit.butterfly.slack for fit in fitted.fits.values()]
        assert [smile.expiry for smile in fitted.surface.smiles] == sorted(fitted.fits)
    assert len(rms) > 40
    assert np.median(rms) < 0.5  # half-spreads
    assert np.max(rms) < 1.5
    assert np.mean(inside) > 0.9
    assert min(slacks) >= 0.0
