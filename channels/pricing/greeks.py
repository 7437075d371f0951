"""Greeks: the sensitivities of a price, their one set of units, and the formulas behind them.

Libraries disagree about these units by factors of 100 and 365, so here they are fixed, and other
conventions are one explicit conversion away (`per_day`, `per_vol_point`):

| Greek | derivative of the price V(spot, vol, carry, time) | unit |
|---|---|---|
| delta | dV / d spot | per 1.00 of the underlying's price |
| gamma | d2V / d spot2 | per 1.00, twice |
| vega | dV / d vol | per 1.00 of vol (100 vol points) |
| theta | dV / d time: negative for what decays | per year |
| rho | dV / d carry | per 1.00 of annual carry |
| vanna | d2V / d spot d vol | per 1.00 of each |
| volga | d2V / d vol2 | per 1.00 of vol, twice |
| charm | d delta / d time | per year |

Spot, vol and carry are held when time passes, and the forward is spot * exp(carry * years): delta
and gamma are of the spot. At zero carry spot and forward are one, and these are the forward's.

Source: Haug, "The Complete Guide to Option Pricing Formulas", 2nd edition (2007), chapter 2, on
the forward.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, Self, TypeVar

import attrs

__all__ = ["Greeks", "per_day", "per_vol_point"]

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Greeks(Generic[T]):
    """A price and its eight sensitivities, of one unit or one book: floats, or arrays of them."""

    price: T
    delta: T
    gamma: T
    vega: T
    theta: T
    rho: T
    vanna: T
    volga: T
    charm: T


class _Scalable(Protocol):
    def __truediv__(self, divisor: int, /) -> Self: ...


Figure = TypeVar("Figure", bound=_Scalable)


def per_day(annual: Figure) -> Figure:
    """Turn theta or charm, which are per year, into figures per day.

    >>> per_day(-730.0)
    -2.0
    """
    return annual / 365


def per_vol_point(per_unit: Figure) -> Figure:
    """Turn vega or vanna, which are per 1.00 of vol, into figures per point (0.01); volga twice.

    >>> per_vol_point(250.0)
    2.5
    """
    return per_unit / 100


# The formulas take floats and arrays alike, which no one type says: hence Any.


def option_greeks(
    *,
    price: Any,
    delta: Any,
    density: Any,
    d1: Any,
    d2: Any,
    s: Any,
    spot: Any,
    vol: Any,
    years: Any,
    carry: Any,
) -> Greeks[Any]:
    """Return the Greeks of a call or put from its price, its delta and F n(d1) = ``density``.

    ``s`` is vol times the square root of ``years``. Time to expiry and vol are positive.
    """
    per_spot = density / spot
    vega = density * s / vol
    slope = d2 / vol
    theta = -0.5 * density * s / years
    charm = 0.5 * per_spot * d2 / years
    exposure = spot * delta
    if isinstance(carry, float) and carry == 0.0:
        drift, drag = 0.0, 0.0
    else:
        drift, drag = carry * exposure, carry * (per_spot / s + delta)
    return Greeks(
        price=price,
        delta=delta,
        gamma=per_spot / (spot * s),
        vega=vega,
        theta=theta - drift,
        rho=years * exposure,
        vanna=-per_spot * slope,
        volga=vega * d1 * slope,
        charm=charm - drag,
    )


def digital_greeks(
    *,
    price: Any,
    sign: Any,
    density: Any,
    d1: Any,
    d2: Any,
    s: Any,
    spot: Any,
    vol: Any,
    years: Any,
    carry: Any,
) -> Greeks[Any]:
    """Return the Greeks of a digital from its price and n(d2) = ``density``.

    ``sign`` is 1 for a digital call, -1 for a digital put. Time to expiry and vol are positive.
    """
    signed = sign * density
    delta = signed / (spot * s)
    drift = carry / s - 0.5 * d1 / years  # of d2, with time to expiry
    return Greeks(
        price=price,
        delta=delta,
        gamma=-delta * d1 / (spot * s),
        vega=-signed * d1 / vol,
        theta=-signed * drift,
        rho=years * spot * delta,
        vanna=delta * (d1 * d2 - 1.0) / vol,
        volga=signed * (d1 + d2 - d1 * d1 * d2) / (vol * vol),
        charm=delta * (d2 * drift + 0.5 / years),
    )


def linear_greeks(
    *, price: Any, slope: Any, spot: Any, forward: Any, years: Any, carry: Any
) -> Greeks[Any]:
    """Return the Greeks of what moves with the forward by ``slope``, whatever the vol.

    That is a forward (1), and an option without time value: 1 or -1 in the money, else 0. Expired,
    ``years`` and ``carry`` are 0 and the forward is the spot.
    """
    exposure = slope * forward
    delta = exposure / spot
    zero = 0.0 * delta
    return Greeks(
        price=price,
        delta=delta,
        gamma=zero,
        vega=zero,
        theta=-carry * exposure,
        rho=years * exposure,
        vanna=zero,
        volga=zero,
        charm=-carry * delta,
    )
