"""The fixed-point core against multi-precision arithmetic, and its bounds by watching integers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import mpmath
import pytest

from channels.pricing import fixed
from channels.pricing.black76 import MAX_PRICE, forward_price, price

from .generate_vectors import hostile, near_branches, random_forwards, random_options

Q96 = 2**96


@pytest.fixture(autouse=True)
def _precision() -> Any:
    with mpmath.workdps(80):
        yield


def test_logarithm() -> None:
    rng = random.Random(1)
    pairs = [(1, 1), (MAX_PRICE, 1), (MAX_PRICE, MAX_PRICE), (MAX_PRICE, MAX_PRICE - 1), (2, 1)]
    pairs += [(99, 70), (140, 99), (3, 2), (4, 3), (2**127, 2**126 + 1), (2**127, 2**126 - 1)]
    for bits in range(2_000):
        high, low = rng.randrange(1, MAX_PRICE), rng.getrandbits(bits % 128 + 1) + 1
        pairs.append((max(high, low), min(high, low)))
    worst = max(
        abs(fixed.ln_ratio(high, low) - mpmath.log(mpmath.mpf(high) / low) * Q96)
        for high, low in pairs
    )
    # LN2's own rounding counts up to 128 times, half a unit each
    assert worst < 70
    near = max(
        abs(fixed.ln_ratio(high, low) - mpmath.log(mpmath.mpf(high) / low) * Q96)
        for high, low in pairs
        if 70 * high <= 99 * low
    )
    assert near < 10


def test_exponential() -> None:
    rng = random.Random(2)
    for y in [0, 1, fixed.ONE, 128 * fixed.ONE, *(rng.getrandbits(103) for _ in range(2000))]:
        m, k = fixed.exp_negative(y)
        exact = mpmath.exp(-mpmath.mpf(y) / Q96)
        assert abs(mpmath.mpf(m) / 2 ** (96 + k) / exact - 1) < 1e-26


def test_mills_ratio_and_density() -> None:
    rng = random.Random(3)
    for u in [0, 1, fixed.SIXTEEN, *(rng.randrange(fixed.SIXTEEN) for _ in range(2000))]:
        x = mpmath.mpf(u) / Q96
        density = mpmath.npdf(x)
        g, k = fixed.density(u)
        assert abs(mpmath.mpf(g) / 2 ** (96 + k) / density - 1) < 1e-26
        ratio = mpmath.erfc(x / mpmath.sqrt(2)) / 2 / density
        assert abs(mpmath.mpf(fixed.mills(u)) / Q96 - ratio) < 5e-24


def test_mills_ratio_falls() -> None:
    """Time values stay positive because of this, down to the least s of the domain, 1.4e7 / 2**96.

    Further out roundings may win; there the engine takes the difference for 0.
    """
    rng = random.Random(4)
    for _ in range(2000):
        u = rng.randrange(10 * fixed.ONE)
        assert fixed.mills(u) > fixed.mills(u + 10**7)


def test_root() -> None:
    for seconds in (0, 1, 59, 86_400, 31_536_000, 315_360_000):
        exact = mpmath.sqrt(mpmath.mpf(seconds) / 31_536_000) * Q96
        assert -1 < fixed.sqrt_years(seconds) - exact <= 0


def test_arguments_out_of_range_are_caught() -> None:
    with pytest.raises(AssertionError):
        fixed.ln_ratio(1, 2)
    with pytest.raises(AssertionError):
        fixed.mills(fixed.SIXTEEN + 1)


class Watched(int):
    """An integer that fails when its arithmetic leaves what 256 unsigned bits can hold."""

    @staticmethod
    def _kept(value: int) -> Watched:
        assert 0 <= value < 1 << 256, f"{value.bit_length()} bits, sign {value < 0}"
        return Watched(value)


def _watch(name: str) -> Callable[[Watched, int], Watched]:
    plain = getattr(int, name)

    def method(self: Watched, other: int) -> Watched:
        return Watched._kept(plain(int(self), int(other)))

    return method


for _name in ("add", "sub", "mul", "floordiv", "lshift", "rshift"):
    setattr(Watched, f"__{_name}__", _watch(f"__{_name}__"))
    setattr(Watched, f"__r{_name}__", _watch(f"__r{_name}__"))


def test_watched_integers_watch() -> None:
    with pytest.raises(AssertionError):
        Watched(1) - 2
    with pytest.raises(AssertionError):
        1 << Watched(256)


def test_every_intermediate_is_unsigned_and_below_256_bits() -> None:
    options = [
        *hostile(),
        *near_branches(),
        *random_options(11, 300, wide=False),
        *random_options(12, 700, wide=True),
    ]
    for kind, *rest in options:
        if kind != 4:  # a forward's price is signed
            watched = price(kind, *map(Watched, rest))
            assert watched == price(kind, *rest)
    for spot, carry, tau in random_forwards(13, 300):
        if carry >= 0:  # the sign is taken off before any arithmetic
            assert forward_price(*map(Watched, (spot, carry, tau))) == forward_price(
                spot, carry, tau
            )
