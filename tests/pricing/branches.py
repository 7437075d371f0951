"""Inputs at every comparison in the engine's code, and a step to either side of it.

What a price takes cannot reach all of them: h + t = 16 in Q96, say, lies between two vols. So there
are rows for `channels.pricing.price`, a step of an input about each branch, and rows for the
functions it is made of, which reach each branch exactly.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from channels.pricing import MAX_PRICE, MAX_TENOR, MAX_VOL
from channels.pricing.coefficients import LN2
from channels.pricing.fixed import ONE, SIXTEEN
from channels.units import WAD, YEAR

Row = tuple[int, ...]

STEPS: Final = (-2, -1, 0, 1, 2)

_RATIOS: Final = ((1, 1), (99, 70), (140, 99), (2, 1), (198, 70), (280, 99), (4, 1), (10**6, 1))
"""Where the logarithm takes another power of two or begins to do without one, and 1e6 apart."""


def ratios() -> Iterator[tuple[int, int]]:
    """(high, low) at and beside each ratio where the logarithm branches, of every size."""
    for high in range(1, 200):
        for low in range(1, high + 1):
            yield high, low
    for bits in range(7, 128, 4):
        for low in ((1 << bits) - 1, 1 << bits, (1 << bits) + 1, 3 << bits - 1, 70 << bits - 6):
            for numerator, denominator in _RATIOS:
                for step in STEPS:
                    high = low * numerator // denominator + step
                    if low <= high <= MAX_PRICE:
                        yield high, low
    for high in (MAX_PRICE, MAX_PRICE - 1, 1 << 127, (1 << 127) - 1):
        for low in (1, 2, 3, high >> 1, high - 1, high):
            yield high, low


def prices() -> Iterator[Row]:
    """Rows for `channels.pricing.price`, every kind at each of its branches."""
    for kind in range(5):
        for option in (*_at_ratios(), *_at_sixteen(), *_at_equality(), *_at_limits()):
            if all(1 <= each <= MAX_PRICE for each in option[:2]) and option[2] <= MAX_VOL:
                yield kind, *option


def _at_ratios() -> Iterator[Row]:
    for numerator, denominator in _RATIOS:
        for low in (70 * WAD, 3_000 * WAD + 7, 1):
            for step in STEPS:
                high = low * numerator // denominator + step
                for vol, tau in ((6 * 10**17, 30 * 86_400), (MAX_VOL, 1), (1, MAX_TENOR)):
                    yield high, low, vol, tau
                    yield low, high, vol, tau


def _at_sixteen() -> Iterator[Row]:
    """h + t at 16, from either side: at the money for the greatest s, beside it for the least."""
    for tau in (YEAR, MAX_TENOR, 4 * YEAR + 1):
        for forward in (1, 3_000 * WAD, MAX_PRICE):
            greatest = 32 * WAD * (1 << 48) // _root(tau)  # s = 32
            for step in STEPS:
                yield forward, forward, greatest + step, tau
    # e**16: one unit of vol, so that h = 16 less a little is ln(F/K); and s / 2 less
    for ratio, vol in ((8_886_110, WAD), (6_003_000, WAD), (3_269_017, WAD // 2)):
        for step in STEPS:
            yield WAD * ratio, WAD, vol + step, YEAR
            yield WAD, WAD * ratio, vol + step, YEAR


def _at_equality() -> Iterator[Row]:
    """h = t, where ln(F/K) = s*s/2: F/K = 2 at a vol of sqrt(2 ln 2), and e at sqrt 2."""
    for high, vol in (
        (2 * WAD, 1_177_410_022_515_474_691),
        (2_718_281_828_459_045_235, 1_414_213_562_373_095_048),
        (WAD + 1, 1_414_213_562),
    ):
        for step in STEPS:
            for price_step in (-1, 0, 1):
                yield high + price_step, WAD, vol + step, YEAR
                yield WAD, high + price_step, vol + step, YEAR


def _at_limits() -> Iterator[Row]:
    """Least and greatest vol and time, about the money, where s and rounding are at their worst."""
    for vol in (0, 1, 2, MAX_VOL - 1, MAX_VOL):
        for tau in (0, 1, 2, YEAR, MAX_TENOR - 1, MAX_TENOR):
            for forward in (1, 2, WAD, 200_000 * WAD, MAX_PRICE - 1):
                for step in (-1, 0, 1):
                    yield forward + step, forward, vol, tau
            # the least s of the domain: h from 0 to 16 within so small a distance of the money
            for h in (1, 5, 9, 10, 11, 12, 15, 16):
                yield (1 << 127) + (h << 127) * 178 // 10**24, 1 << 127, vol, tau


def _root(tau: int) -> int:
    """Root of ``tau`` in years, Q48."""
    return int((tau / YEAR) ** 0.5 * (1 << 48))


def scenario_prices() -> Iterator[Row]:
    """Rows for `scenario_price`: h = t and h + t = 16 exactly, and one unit of Q96 to each side."""
    for kind in range(5):
        for s in (1, 2, 3, ONE // 1000, ONE, 2 * ONE, 4 * ONE, 8 * ONE, 32 * ONE, (1 << 106) - 1):
            t = s >> 1
            for h in (0, 1, t, SIXTEEN - t):
                for step in STEPS:
                    # h = log / s: the least logarithm with that quotient, and the one below
                    log = -(-(h + step) * s // ONE)
                    for beside in (-1, 0, 1):
                        if 0 <= log + beside < 1 << 104:
                            yield from _both_sides(kind, log + beside, s)
        for log in (0, 1, 1 << 103):
            yield from _both_sides(kind, log, 0)


def _both_sides(kind: int, log: int, s: int) -> Iterator[Row]:
    for forward, strike in ((WAD, WAD), (WAD + 1, WAD), (3_000 * WAD, WAD), (MAX_PRICE, 1)):
        yield kind, forward, strike, log, s
        yield kind, strike, forward, -log, s
        yield kind, forward, strike, -log, s  # the other sign: counts as 0


def exponents() -> Iterator[Row]:
    """Exponents at the nearest multiples of ln 2, half way between two, and a step to each side."""
    for k in (*range(200), 1_000, 1_442):
        for step in STEPS:
            for y in (k * LN2 + step, k * LN2 - (LN2 >> 1) + step, k * LN2 + (LN2 >> 1) + step):
                if 0 <= y < 1 << 106:
                    yield (y,)
    for y in (128 * ONE - 1, 128 * ONE, (1 << 106) - 1):
        yield (y,)


def payoffs(seed: int, count: int) -> Iterator[Row]:
    """Rows for `settlement_payoff`: about the strike, about the largest payoff, and all sizes."""
    rng = random.Random(seed)
    for kind in (*range(6), 255):
        for quantity in (-(2**127), -WAD, -1, 0, 1, WAD, 2**127 - 1):
            for unit in (0, 1, 10**6, 2**119 - 2, 2**119 - 1, 2**119, MAX_PRICE):
                for step in (-WAD, *STEPS, WAD):
                    yield kind, 3_000 * WAD, quantity, 3_000 * WAD + step, unit
                for settled in (0, 1, MAX_PRICE):
                    yield kind, 0, quantity, settled, unit
                    yield kind, MAX_PRICE, quantity, settled, unit
    for _ in range(count):
        strike, settled, unit = (rng.getrandbits(rng.randrange(129)) for _ in range(3))
        quantity = rng.choice((-1, 1)) * rng.getrandbits(rng.randrange(128))
        yield rng.randrange(5), strike, quantity, settled, unit


def deviates(seed: int, count: int) -> Iterator[Row]:
    """Arguments of the Mills ratio: its ends, and all between."""
    rng = random.Random(seed)
    for u in (0, 1, 2, ONE - 1, ONE, ONE + 1, 10 * ONE, SIXTEEN - 2, SIXTEEN - 1, SIXTEEN):
        yield (u,)
    for _ in range(count):
        yield (rng.randrange(SIXTEEN + 1),)


def times() -> Iterator[Row]:
    """Seconds, among them those whose root is whole."""
    for seconds in (0, 1, 2, 59, 60, 3_600, 86_400, YEAR // 4, YEAR, 4 * YEAR, MAX_TENOR):
        for step in STEPS:
            if 0 <= seconds + step < 1 << 29:
                yield (seconds + step,)
    yield ((1 << 29) - 1,)
