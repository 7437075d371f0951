"""Calibration's speed: one SVI slice of 21 quotes, ours beside the peers that are installed.

The quotes are those of a smile with noise of half a half-spread; all fit the same middles of bid
and ask, we with their weights. Peers come with the extra ``bench``; a missing one is a row
that says so. The errors are measured too: a fast wrong fit is none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

from bench.results import Result, as_table
from bench.timing import best, peer  # before NumPy: it limits threads

import numpy as np  # isort: skip

from channels.pricing.least_squares import Floats
from channels.pricing.ssvi import Ssvi
from channels.pricing.ssvi_fit import fit_ssvi
from channels.pricing.svi import RawSvi, butterfly_slack
from channels.pricing.svi_fit import fit_svi

__all__ = ["measure"]

FORWARD: Final = 3_000.0
DAYS: Final = 73
YEARS: Final = DAYS / 365
TRUE: Final = RawSvi(a=0.004, b=0.08, rho=-0.35, m=0.02, sigma=0.12)
PLACES: Final = np.linspace(-0.45, 0.45, 21)
EXPIRIES: Final = 10
_NAMES: Final = ("fast-vollib", "QuantLib (C++)")


def measure() -> Iterator[Result]:
    """Yield everything: microseconds of processor time, and how far each fit is off."""
    w, half = _quotes(TRUE.total_variance(PLACES))
    fit = fit_svi(PLACES, w, half)
    peers = _peers(np.sqrt(w / YEARS))
    times: dict[str, float | None] = dict.fromkeys(_NAMES)
    errors = dict(times)
    for name, run in peers.items():
        times[name] = 1e6 * best(run)
        errors[name] = _error(np.asarray(run()))
    yield Result(
        name="SVI slice, 21 quotes, arbitrage checked",
        value=1e6 * best(lambda: fit_svi(PLACES, w, half)),
        unit="us",
        target=1_000,
        references=times,
    )
    yield Result(
        name="SVI slice, 21 quotes: distance from the smile without noise",
        value=_error(fit.svi.volatility(PLACES, YEARS)),
        unit="vol points",
        references=errors,
    )
    yield Result(
        name="SVI slice, 21 quotes, from the last smile",
        value=1e6 * best(lambda: fit_svi(PLACES, w, half, start=fit.svi)),
        unit="us",
    )
    yield Result(
        name="the least g(k) of a smile, all strikes",
        value=1e6 * best(lambda: butterfly_slack(fit.svi)),
        unit="us",
    )
    ssvi = Ssvi(rho=-0.35, eta=0.9, gamma=0.4)
    surface = [_quotes(ssvi.total_variance(PLACES, 0.01 * (i + 1))) for i in range(EXPIRIES)]
    columns = [PLACES] * EXPIRIES, [w for w, _ in surface], [half for _, half in surface]
    yield Result(
        name="SSVI surface, 10 expiries, 210 quotes",
        value=1e6 * best(lambda: fit_ssvi(*columns)),
        unit="us",
    )


def _quotes(w: Floats) -> tuple[Floats, Floats]:
    """Return middles and half-spreads: 2 % of the variance, and noise within it."""
    half = 0.02 * w
    return w + half * np.random.default_rng(3).uniform(-0.5, 0.5, len(w)), half


def _peers(vols: Floats) -> dict[str, Callable[[], Any]]:
    """Return what fits these vols in each peer, and returns the vols of its fit."""
    found: dict[str, Callable[[], Any]] = {}
    if fast := peer("fast_vollib.surface"):
        seen = fast.SurfaceObservations(k=PLACES, T=np.full(len(vols), YEARS), iv=vols)
        points = fast.SurfacePoints(k=PLACES, T=np.full(len(vols), YEARS))
        algorithm = fast.build_algorithm("svi")
        found["fast-vollib"] = lambda: algorithm.fit(seen).evaluate(points).iv
    if quantlib := peer("QuantLib"):
        today = quantlib.Date(1, 1, 2026)
        quantlib.Settings.instance().evaluationDate = today
        strikes = [float(strike) for strike in FORWARD * np.exp(PLACES)]
        given = [float(vol) for vol in vols]

        def section() -> list[float]:
            fitted = quantlib.SviInterpolatedSmileSection(
                today + DAYS, FORWARD, strikes, False, given[10], given,
                0.004, 0.1, 0.1, -0.2, 0.0, False, False, False, False, False, False,
            )  # fmt: skip
            return [fitted.volatility(strike) for strike in strikes]

        found["QuantLib (C++)"] = section
    return found


def _error(vols: Floats) -> float:
    """Return how far fitted vols are from the smile without its noise, in vol points."""
    right = TRUE.volatility(PLACES, YEARS)
    return 100 * float(np.sqrt(np.mean((vols - right) ** 2)))


if __name__ == "__main__":
    sys.stdout.write(as_table(measure()) + "\n")
