"""Prices that share what scenarios share: the logarithm and the root are taken once a series.

A scenario moves the forward by a factor, which only adds to ln(F/K); the vol scenarios of a series
have one deviation each. With an exact logarithm the result is that of `channels.pricing.price`.
"""

from __future__ import annotations

from math import isqrt
from typing import Final

from channels.errors import PricingDomainError
from channels.pricing.black76 import MAX_PRICE, MAX_VOL
from channels.pricing.fixed import SIXTEEN, density, ln_ratio, mills
from channels.units import DAY, WAD

__all__ = ["log_ratio", "moved_forward", "root_of_month", "scenario_price", "vol_down", "vol_up"]

_MONTH: Final = 30 * DAY
_SCALE: Final = WAD * WAD

_CALL: Final = 0
_PUT: Final = 1
_DIGITAL_CALL: Final = 2
_DIGITAL_PUT: Final = 3
_FORWARD: Final = 4


def log_ratio(numerator: int, denominator: int) -> int:
    """Return ln(numerator / denominator) in Q96, signed, for 1 <= both < 2**128."""
    if numerator >= denominator:
        return ln_ratio(numerator, denominator)
    return -ln_ratio(denominator, numerator)


def root_of_month(tau: int) -> int:
    """Return sqrt(30 days / tau) in WAD, rounded down, for tau >= 1 second: below 2**71."""
    return isqrt(_MONTH * _SCALE // tau)  # < 2**142


def vol_up(vol: int, rise: int, tau: int) -> int:
    """Return the vol of the rising scenario: vol (1 + rise sqrt(30 d / max(tau, 1 d))).

    Rounded down; at most `MAX_VOL`.
    """
    factor = WAD + rise * root_of_month(max(tau, DAY)) // WAD  # < 2**66
    return min(vol * factor // WAD, MAX_VOL)


def vol_down(vol: int, fall: int, tau: int) -> int:
    """Return the vol of the falling scenario: vol / (1 + fall sqrt(30 d / max(tau, 1 d))).

    Rounded down.
    """
    return vol * WAD // (WAD + fall * root_of_month(max(tau, DAY)) // WAD)


def moved_forward(forward: int, numerator: int, denominator: int) -> int:
    """Return ``forward`` times a ratio below 2**128, rounded down.

    Raises:
        PricingDomainError: the result is no price of the domain.
    """
    moved = forward * numerator // denominator  # product < 2**256
    if not 1 <= moved <= MAX_PRICE:
        raise PricingDomainError(f"a scenario moves the forward {forward} out of the domain")
    return moved


def scenario_price(kind: int, forward: int, strike: int, log: int, s: int) -> int:
    """Return the price of one unit in WAD, like `channels.pricing.price`.

    ``log`` is ln(forward / strike) in Q96, signed; ``s`` = vol sqrt(years) in Q96. Both may carry
    small errors: what is intrinsic follows from the two prices, and a ``log`` of the other sign
    counts as 0. For arguments of the domain, and a kind of `channels.pricing.Kind`.
    """
    if kind <= _PUT:
        above = forward > strike
        value = _time_value(log, strike, s) if above else _time_value(-log, forward, s)
        return value + abs(forward - strike) if above == (kind == _CALL) else value
    if kind == _FORWARD:
        return forward - strike
    pays = _digital_call(forward >= strike, log, s)
    return pays if kind == _DIGITAL_CALL else WAD - pays


def _time_value(log: int, low: int, s: int) -> int:
    """Return the out-of-the-money option's price, 0 to ``low``; see `black76` for the formula."""
    if s == 0:
        return 0
    h = (log << 96) // s if log > 0 else 0  # numerator < 2**200
    t = s >> 1  # < 2**105
    far = h + t  # < 2**201
    if far >= SIXTEEN:
        return 0 if h >= t else low
    if h >= t:
        near = h - t
        g, k = density(near)  # < 2**95
        upper, lower = mills(near), mills(far)  # < 2**97
        weight = g * (upper - lower) >> 96 if upper > lower else 0  # < 2**96
        return low * weight >> 96 + k  # product < 2**224
    near = t - h
    g, k = density(near)
    weight = g * (mills(near) + mills(far)) >> 96  # product < 2**193
    missing = low * weight >> 96 + k  # product < 2**225
    return low - missing if missing < low else 0


def _digital_call(above: bool, log: int, s: int) -> int:
    """Return N(d2) in WAD: the smaller tail rounded down, the larger is its complement."""
    if s == 0:
        return WAD if above else 0
    t = s >> 1
    if not above:
        return _tail((-log << 96) // s + t if log < 0 else t)
    h = (log << 96) // s if log > 0 else 0
    return WAD - _tail(h - t) if h >= t else _tail(t - h)


def _tail(u: int) -> int:
    """Return N(-u) in WAD, rounded down, for any u >= 0 in Q96."""
    if u >= SIXTEEN:
        return 0
    g, k = density(u)
    return (g * mills(u) >> 96) * WAD >> 96 + k  # products < 2**192 and < 2**156
