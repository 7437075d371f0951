"""SSVI: the theorems' conditions, the smiles they promise, and calibration."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.errors import InvalidValueError
from channels.pricing.smiles import fit_surface
from channels.pricing.ssvi import Ssvi
from channels.pricing.ssvi_fit import fit_ssvi
from channels.pricing.svi import butterfly_slack, calendar_slack
from tests.pricing.real_data import sample

K = np.linspace(-0.8, 0.8, 25)
THETAS = (0.004, 0.01, 0.03, 0.09, 0.2)
TRUE = Ssvi(rho=-0.35, eta=0.9, gamma=0.4)

allowed = st.builds(
    lambda rho, part, gamma: Ssvi(rho=rho, eta=part * 2.0 / (1.0 + abs(rho)) ** 0.5, gamma=gamma),
    rho=st.floats(-0.99, 0.99),
    part=st.floats(0.01, 1.0),
    gamma=st.floats(0.0, 0.5),
)


@given(allowed, st.floats(1e-4, 3.0))
def test_whatever_is_allowed_has_no_butterfly(ssvi: Ssvi, theta: float) -> None:
    assert butterfly_slack(ssvi.smile(theta)).slack >= -1e-9


@given(allowed, st.floats(1e-4, 3.0), st.floats(1e-3, 3.0))
def test_whatever_is_allowed_has_no_calendar(ssvi: Ssvi, theta: float, more: float) -> None:
    slack = calendar_slack(ssvi.smile(theta), ssvi.smile(theta + more), low=-20.0, high=20.0)
    assert slack.slack >= -1e-12


@given(allowed, st.floats(1e-4, 3.0))
def test_both_parametrisations_are_one_smile(ssvi: Ssvi, theta: float) -> None:
    np.testing.assert_allclose(
        ssvi.smile(theta).total_variance(K), ssvi.total_variance(K, theta), rtol=1e-9
    )
    assert ssvi.total_variance(0.0, theta) == pytest.approx(theta, rel=1e-14)


@given(allowed, st.floats(1e-4, 3.0))
def test_the_skew_at_the_money_is_the_papers(ssvi: Ssvi, theta: float) -> None:
    """Gatheral and Jacquier (2014), section 4: the slope of w at k = 0 is rho theta phi."""
    slope = ssvi.smile(theta).derivatives(0.0)[1]
    assert slope == pytest.approx(ssvi.rho * theta * ssvi.curvature(theta), abs=1e-12)


@pytest.mark.parametrize(
    ("rho", "eta", "gamma"),
    [(-1.0, 1.0, 0.5), (0.0, 0.0, 0.5), (0.0, 1.0, 0.6), (0.0, 1.0, -0.1), (0.5, 1.7, 0.5)],
)
def test_other_parameters_are_refused(rho: float, eta: float, gamma: float) -> None:
    with pytest.raises(InvalidValueError):
        Ssvi(rho=rho, eta=eta, gamma=gamma)


def test_a_smile_has_a_variance() -> None:
    with pytest.raises(InvalidValueError):
        TRUE.smile(0.0)


def test_a_surface_comes_back_from_its_quotes() -> None:
    ws = [TRUE.total_variance(K, theta) for theta in THETAS]
    fit = fit_ssvi([K] * 5, ws, [0.01 * w for w in ws])
    assert fit.rms < 1e-5
    assert fit.inside == 1.0
    for name in ("rho", "eta", "gamma"):
        assert getattr(fit.ssvi, name) == pytest.approx(getattr(TRUE, name), rel=1e-4)
    assert fit.thetas == pytest.approx(THETAS, rel=1e-6)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_whatever_the_quotes_no_arbitrage_comes_out(seed: int) -> None:
    chance = np.random.default_rng(seed)
    ks = [np.sort(chance.uniform(-1.0, 1.0, 12)) for _ in THETAS]
    ws = [chance.uniform(0.01, 0.3, 12) for _ in THETAS]
    fit = fit_ssvi(ks, ws, [0.05 * w for w in ws])
    smiles = [fit.ssvi.smile(theta) for theta in fit.thetas]
    assert all(butterfly_slack(smile).slack >= -1e-9 for smile in smiles)
    for earlier, later in pairwise(smiles):
        assert calendar_slack(earlier, later, low=-20.0, high=20.0).slack >= -1e-9


def test_unusable_quotes_are_refused() -> None:
    w = TRUE.total_variance(K, 0.04)
    with pytest.raises(InvalidValueError):
        fit_ssvi([], [], [])
    with pytest.raises(InvalidValueError):
        fit_ssvi([K], [w[:-1]], [w])
    with pytest.raises(InvalidValueError):
        fit_ssvi([K], [w], [0.0 * w])


@pytest.mark.parametrize("asset", ["btc", "eth"])
def test_real_surfaces_in_three_parameters(asset: str) -> None:
    for snapshot in sample(asset, every=40):
        fitted = fit_surface(snapshot, asset.upper(), shared=True)
        assert fitted.ssvi is not None
        assert fitted.ssvi.converged
        assert fitted.ssvi.rms < 5.0  # half-spreads; raw SVI, five an expiry, is inside of one
        assert all(slack.slack >= -1e-9 for slack in fitted.surface.butterflies().values())
        within = fitted.surface.calendars(within=5.0)
        assert all(slack.slack >= -1e-9 for slack in within.values())
        # the at-the-money vol of the surface is the market's
        for quoted in fitted.quotes:
            index = int(np.argmin(np.abs(quoted.log_moneyness)))
            ours = fitted.surface.volatility(float(quoted.strikes[index]), quoted.expiry)
            assert ours == pytest.approx(quoted.marks[index], rel=0.1)
