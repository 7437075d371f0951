"""Black-76 and its derivatives in 60 digits: what the float engine is held against."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import mpmath

DIGITS = 60
EPS = 2.0**-52


def _normal(x: Any) -> Any:
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def exact_price(kind: int, forward: Any, strike: Any, vol: Any, years: Any) -> Any:
    """Price from the textbook formula, for positive vol and years."""
    with mpmath.workdps(DIGITS):
        f, k = mpmath.mpf(forward), mpmath.mpf(strike)
        s = mpmath.mpf(vol) * mpmath.sqrt(mpmath.mpf(years))
        d1 = mpmath.log(f / k) / s + s / 2
        d2 = d1 - s
        match kind:
            case 0:
                return f * _normal(d1) - k * _normal(d2)
            case 1:
                return k * _normal(-d2) - f * _normal(-d1)
            case 2:
                return _normal(d2)
            case 3:
                return _normal(-d2)
            case 4:
                return f - k
    raise ValueError(kind)


def exact_from_spot(kind: int, spot: Any, strike: Any, vol: Any, years: Any, carry: Any) -> Any:
    """Price on the forward spot * exp(carry * years)."""
    with mpmath.workdps(DIGITS):
        return exact_price(kind, spot * mpmath.exp(carry * years), strike, vol, years)


def exact_greeks(
    kind: int, spot: float, strike: float, vol: float, years: float, carry: float
) -> dict[str, Any]:
    """The price and its derivatives, differentiated numerically in 60 digits, by name."""
    with mpmath.workdps(DIGITS):
        point = (mpmath.mpf(spot), mpmath.mpf(vol), mpmath.mpf(years), mpmath.mpf(carry))

        def value(s: Any, v: Any, t: Any, c: Any) -> Any:
            return exact_from_spot(kind, s, strike, v, t, c)

        def derivative(orders: tuple[int, int, int, int]) -> Any:
            return mpmath.diff(value, point, orders, h=mpmath.mpf(10) ** -18)

        return {
            "price": value(*point),
            "delta": derivative((1, 0, 0, 0)),
            "gamma": derivative((2, 0, 0, 0)),
            "vega": derivative((0, 1, 0, 0)),
            "theta": -derivative((0, 0, 1, 0)),
            "rho": derivative((0, 0, 0, 1)),
            "vanna": derivative((1, 1, 0, 0)),
            "volga": derivative((0, 2, 0, 0)),
            "charm": -derivative((1, 0, 1, 0)),
        }


def exact_vol(
    kind: int, price: float, forward: float, strike: float, near: float
) -> tuple[Any, Any]:
    """The s = vol * sqrt(years) of this very price, and d ln s / d ln price; ``near`` starts it."""
    with mpmath.workdps(DIGITS):
        f, k, s = mpmath.mpf(forward), mpmath.mpf(strike), mpmath.mpf(near)
        for _ in range(4):
            vega = f * mpmath.npdf(mpmath.log(f / k) / s + s / 2)
            s -= (exact_price(kind, f, k, s, 1) - mpmath.mpf(price)) / vega
        return s, mpmath.mpf(price) / (vega * s)


def hard_options(seed: int, count: int) -> Iterator[tuple[int, float, float, float, float]]:
    """Out-of-the-money options: ln(F/K) from -3 to 3, vol sqrt(T) from 1e-3 to 5, above 1e-300."""
    chance = random.Random(seed)
    while count:
        x = chance.choice(
            (
                0.0,
                chance.uniform(-3, 3),
                chance.uniform(-0.1, 0.1),
                10 ** chance.uniform(-9, 0) * chance.choice((-1, 1)),
            )
        )
        s = 10 ** chance.uniform(-3, math.log10(5))
        years = chance.uniform(0.003, 3.0)
        forward, strike = 100.0 * math.exp(x), 100.0
        kind = 0 if forward <= strike else 1
        vol = s / math.sqrt(years)
        if abs(x) / s < 37 and exact_price(kind, forward, strike, vol, years) > 1e-300:
            count -= 1
            yield kind, forward, strike, vol, years
