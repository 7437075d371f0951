"""Black-76 in integers: the prices that enter signed states and decide money.

Units: prices, strikes, vol and carry in WAD, time in seconds, a year has 365 days. Undiscounted.
The contract computes the same numbers with the same algorithm, to the last digit.

Domain, outside of which `PricingDomainError` is raised, never a wrong number returned: forward,
strike and spot from 1 to 2**128 - 1; vol from 0 to 100.0; carry from -100.0 to 100.0; at most ten
years to expiry. Zero or negative time to expiry means expired: the price is the payoff.

Source: Black, "The pricing of commodity contracts", J. Financial Economics 3 (1976); the
arrangement by Mills ratios is design, risk.md "Integer engine".
"""

from __future__ import annotations

from typing import Final

from channels.errors import PricingDomainError
from channels.pricing.fixed import (
    SIXTEEN,
    density,
    exp_negative,
    ln_ratio,
    mills,
    sqrt_years,
)
from channels.units import WAD, YEAR

__all__ = [
    "MAX_CARRY",
    "MAX_PRICE",
    "MAX_TENOR",
    "MAX_VOL",
    "forward_price",
    "implied_carry",
    "price",
]

MAX_PRICE: Final = 2**128 - 1
"""Greatest forward, strike and spot, in WAD; the least is 1."""

MAX_VOL: Final = 100 * WAD
"""Greatest annual volatility: 10,000 %."""

MAX_CARRY: Final = 100 * WAD
"""Greatest magnitude of the annual carry."""

MAX_TENOR: Final = 10 * YEAR
"""Longest time to expiry, in seconds."""

_Q192: Final = 1 << 192

_CALL: Final = 0
_PUT: Final = 1
_DIGITAL_CALL: Final = 2
_DIGITAL_PUT: Final = 3
_FORWARD: Final = 4


def forward_price(spot: int, carry: int, tau: int) -> int:
    """Return the forward, spot * exp(carry * tau), in WAD, rounded down.

    ``carry`` is annual and signed, ``tau`` in seconds; expired (tau <= 0) means spot itself.
    Relative error below 1e-25 before the rounding.

    Raises:
        PricingDomainError: an input or the forward itself is out of the domain.

    >>> from channels.units import to_wad
    >>> forward_price(to_wad(3000), to_wad("0.05"), 31_536_000)
    3153813289128072119092
    """
    if not (1 <= spot <= MAX_PRICE and -MAX_CARRY <= carry <= MAX_CARRY and tau <= MAX_TENOR):
        raise PricingDomainError(f"no forward for spot {spot}, carry {carry}, {tau} s: {_LIMITS}")
    if tau <= 0 or carry == 0:
        return spot
    magnitude = carry if carry > 0 else -carry
    m, k = exp_negative(((magnitude * tau) << 96) // (WAD * YEAR))  # numerator < 2**192; < 2**106
    if carry < 0:
        forward = spot * m >> 96 + k  # product < 2**225
    else:
        product = spot * (_Q192 // m)  # 1 / m in Q96; product < 2**225
        if k <= 96:
            forward = product >> 96 - k
        elif k < 224 and product >> 224 - k == 0:
            forward = product << k - 96  # < 2**128
        else:
            forward = 0  # beyond the domain: refused with the rest
    if not 1 <= forward <= MAX_PRICE:
        raise PricingDomainError(
            f"spot {spot} at carry {carry} over {tau} s has no forward in range: {_LIMITS}"
        )
    return forward


def implied_carry(spot: int, forward: int, tau: int) -> int:
    """Return the annual carry that leads from spot to forward, ln(F / S) / tau, to the nearest WAD.

    `forward_price` of the result is the forward again, but for a relative difference of at most
    1e-18 per year of ``tau``.

    Raises:
        PricingDomainError: spot or forward out of range, tau not in 1 second to ten years, or a
            carry beyond 100.0.

    >>> implied_carry(3000 * 10**18, 3030 * 10**18, 31_536_000)
    9950330853168083
    """
    if not (1 <= spot <= MAX_PRICE and 1 <= forward <= MAX_PRICE and 1 <= tau <= MAX_TENOR):
        raise PricingDomainError(f"no carry from {spot} to {forward} in {tau} s: {_LIMITS}")
    log = ln_ratio(forward, spot) if forward >= spot else ln_ratio(spot, forward)
    scaled = tau << 96  # < 2**125
    magnitude = (log * WAD * YEAR + (scaled >> 1)) // scaled  # numerator < 2**189
    if magnitude > MAX_CARRY:
        raise PricingDomainError(f"the carry from {spot} to {forward} in {tau} s: {_LIMITS}")
    return magnitude if forward >= spot else -magnitude


def price(kind: int, forward: int, strike: int, vol: int, tau: int) -> int:
    """Return the undiscounted price of one unit, in WAD: signed for a forward, else not negative.

    Call less put is forward less strike exactly, digital call plus digital put is 1.0 exactly.
    Options are within 2 wei of the true value for prices up to 2e5 (200,000.0), and within 1e-23
    of the smaller of forward and strike above; digitals within 2 wei while vol * sqrt(years) is at
    least 1e-10. ``tau`` is in seconds; at tau <= 0 the price is the payoff at ``forward``.

    Raises:
        PricingDomainError: unknown kind, or an input out of the domain.

    >>> from channels.units import to_wad
    >>> price(0, to_wad(100), to_wad(100), to_wad("0.2"), 31_536_000)
    7965567455405796294
    """
    if not (
        1 <= forward <= MAX_PRICE
        and 1 <= strike <= MAX_PRICE
        and 0 <= vol <= MAX_VOL
        and tau <= MAX_TENOR
    ):
        raise PricingDomainError(
            f"no price for forward {forward}, strike {strike}, vol {vol}, {tau} s: {_LIMITS}"
        )
    if kind == _CALL:
        if forward > strike:
            return forward - strike + _time_value(forward, strike, vol, tau)
        return _time_value(strike, forward, vol, tau)
    if kind == _PUT:
        if strike > forward:
            return strike - forward + _time_value(strike, forward, vol, tau)
        return _time_value(forward, strike, vol, tau)
    if kind == _FORWARD:
        return forward - strike
    if kind == _DIGITAL_CALL:
        return _digital_call(forward, strike, vol, tau)
    if kind == _DIGITAL_PUT:
        return WAD - _digital_call(forward, strike, vol, tau)
    raise PricingDomainError(f"kind {kind} is none of the five of channels.pricing.Kind")


_LIMITS: Final = (
    "prices are 1 to 2**128 - 1, vol 0 to 100.0, carry -100.0 to 100.0, at most ten years"
)


def _deviation(vol: int, tau: int) -> int:
    """Return s = vol * sqrt(tau) in Q96: 0 exactly when the vol is zero or the time is up."""
    return vol * sqrt_years(tau) // WAD if tau > 0 else 0  # product < 2**166; s < 2**106


def _time_value(high: int, low: int, vol: int, tau: int) -> int:
    """Return the out-of-the-money option's price, 0 to ``low``; call and put share it.

    With s = vol sqrt(tau), h = ln(high / low) / s, t = s / 2 and d = |h - t| it is
    low g(d) (R(d) - R(h + t)) for h >= t, else low (1 - g(d) (R(d) + R(h + t))): g the normal
    density, R the Mills ratio. Scaled by ``low``, not ``high``, so is its error.
    """
    s = _deviation(vol, tau)
    if s == 0:
        return 0
    h = (ln_ratio(high, low) << 96) // s  # numerator < 2**199
    t = s >> 1  # < 2**105
    far = h + t  # < 2**200
    if far >= SIXTEEN:  # low g(d) = high g(h + t) < 2**128 exp(-128): nothing is left
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


def _digital_call(forward: int, strike: int, vol: int, tau: int) -> int:
    """Return N(d2) in WAD: the smaller tail rounded down, the larger is its complement."""
    s = _deviation(vol, tau)
    if s == 0:
        return WAD if forward >= strike else 0
    t = s >> 1
    if forward < strike:
        return _tail((ln_ratio(strike, forward) << 96) // s + t)
    h = (ln_ratio(forward, strike) << 96) // s
    return WAD - _tail(h - t) if h >= t else _tail(t - h)


def _tail(u: int) -> int:
    """Return N(-u) in WAD, rounded down, for any u >= 0 in Q96."""
    if u >= SIXTEEN:  # N(-16) is 6e-58
        return 0
    g, k = density(u)
    return (g * mills(u) >> 96) * WAD >> 96 + k  # products < 2**192 and < 2**156
