"""Integer Black-76: accuracy against multi-precision arithmetic, the domain, and forwards."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.errors import InvalidValueError, PricingDomainError
from channels.pricing import (
    MAX_CARRY,
    MAX_PRICE,
    MAX_TENOR,
    MAX_VOL,
    Kind,
    forward_price,
    implied_carry,
    price,
)
from channels.pricing.coefficients import SOURCE_SHA256
from channels.units import WAD, YEAR

from . import generate_vectors
from .reference import difference, exact_forward, exact_price, tolerance

FUZZ: Final = os.environ.get("OPTION_CHANNELS_FUZZ") == "1"

VECTORS: dict[str, Any] = json.loads(generate_vectors.TARGET.read_text())


def _columns(table: dict[str, list[str]]) -> list[tuple[int, ...]]:
    return list(zip(*(map(int, column) for column in table.values()), strict=True))


def _options_up_to_200_000(seed: int, count: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Forwards of 0.1 to 200,000.0, the larger more often than a market has them.

    Errors grow with the smaller of forward and strike. Strikes lie within a few deviations, for
    beyond there is no time value to be wrong about.
    """
    rng = random.Random(seed)
    for _ in range(count):
        tau = int(10 ** rng.uniform(0, 8.498))
        largest = 200_000 * WAD
        forward = rng.choice((int(10 ** rng.uniform(17, 23.301)), rng.randrange(WAD, largest + 1)))
        forward = min(forward, largest)
        s = 10 ** rng.uniform(-3, 1)
        vol = min(int(s / math.sqrt(tau / YEAR) * WAD), MAX_VOL)
        strike = int(forward * math.exp(rng.gauss(0, 1.5 * min(s, 1))))
        yield rng.randrange(4), forward, max(strike, 1), vol, tau


def test_prices_up_to_200_000_are_within_two_wei() -> None:
    """2,000 prices; with ``OPTION_CHANNELS_FUZZ=1`` 100,000, of which these are the worst.

    Measured: 1.076 wei for a call or put, 1.000 wei for a digital; climbing on from the worst
    options, 1.084. What docs/explanation/pricing.md derives, and allows, is 2.
    """
    worst = {"option": 0.0, "digital": 0.0}
    for kind, *rest in _options_up_to_200_000(103, 100_000 if FUZZ else 2_000):
        what = "option" if kind in (Kind.CALL, Kind.PUT) else "digital"
        worst[what] = max(worst[what], difference(price(kind, *rest), exact_price(kind, *rest)))
    assert 0.9 < worst["option"] <= 1.2  # as measured; 0 would be a reference that is the engine
    assert 0.9 < worst["digital"] <= 1.1


def test_hostile_prices_are_within_the_published_error() -> None:
    worst_beyond = 0.0
    options = [
        *generate_vectors.hostile(),
        *generate_vectors.near_branches(),
        *generate_vectors.random_options(101, 1_000, wide=False),
        *generate_vectors.random_options(102, 1_500, wide=True),
    ]
    for option in options:
        error = difference(price(*option), exact_price(*option))
        assert error <= tolerance(*option)
        kind, forward, strike, *_ = option
        small = min(forward, strike)
        if kind in (Kind.CALL, Kind.PUT) and small > 200_000 * WAD:
            worst_beyond = max(worst_beyond, error / small)
    assert worst_beyond <= 1e-23


def test_committed_vectors() -> None:
    assert VECTORS["coefficients_sha256"] == SOURCE_SHA256
    assert hashlib.sha256(generate_vectors.COEFFICIENTS.read_bytes()).hexdigest() == SOURCE_SHA256
    for *inputs, exact, allowed in _columns(VECTORS["option"]):
        assert abs(price(*inputs) - exact) <= allowed
    for *inputs, exact in _columns(VECTORS["forward"]):
        assert -1 - exact // 10**25 <= forward_price(*inputs) - exact <= exact // 10**25


def test_vectors_file_is_what_its_script_writes() -> None:
    assert generate_vectors.generate() == generate_vectors.TARGET.read_text()


GOOD = {"kind": 0, "forward": WAD, "strike": WAD, "vol": WAD, "tau": YEAR}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("forward", 0),
        ("forward", -1),
        ("forward", MAX_PRICE + 1),
        ("strike", 0),
        ("strike", MAX_PRICE + 1),
        ("vol", -1),
        ("vol", MAX_VOL + 1),
        ("tau", MAX_TENOR + 1),
        ("kind", 5),
        ("kind", -1),
    ],
)
def test_inputs_out_of_the_domain_are_refused(name: str, value: int) -> None:
    for tau in (YEAR, 0):  # an expired series has the same domain
        arguments = {**GOOD, "tau": tau, name: value}
        with pytest.raises(PricingDomainError, match=str(value)):
            price(**arguments)


def test_domain_errors_are_value_errors() -> None:
    assert issubclass(PricingDomainError, InvalidValueError)
    assert issubclass(PricingDomainError, ValueError)


@pytest.mark.parametrize(
    ("spot", "carry", "tau"),
    [
        (0, 0, 1),
        (MAX_PRICE + 1, 0, 1),
        (WAD, MAX_CARRY + 1, 1),
        (WAD, -MAX_CARRY - 1, 1),
        (WAD, 0, MAX_TENOR + 1),
        (WAD, MAX_CARRY, MAX_TENOR),
        (WAD, -MAX_CARRY, MAX_TENOR),
        (MAX_PRICE, WAD, YEAR),
        (1, -1, 1),
    ],
)
def test_forwards_out_of_the_domain_are_refused(spot: int, carry: int, tau: int) -> None:
    with pytest.raises(PricingDomainError):
        forward_price(spot, carry, tau)


def test_forwards_agree_with_the_exponential_and_round_down() -> None:
    with mpmath.workdps(60):
        for spot, carry, tau in generate_vectors.random_forwards(104, 1_000):
            exact = exact_forward(spot, carry, tau)
            error = forward_price(spot, carry, tau) - exact
            assert -1 - exact * 1e-25 < error < exact * 1e-25


def test_forward_without_carry_or_time_is_the_spot() -> None:
    assert forward_price(123, 0, YEAR) == 123
    assert forward_price(123, WAD, 0) == 123
    assert forward_price(123, WAD, -5) == 123


@given(
    st.integers(WAD, 200_000 * WAD), st.integers(-2 * WAD, 2 * WAD), st.integers(3_600, 3 * YEAR)
)
def test_implied_carry_inverts_the_forward(spot: int, carry: int, tau: int) -> None:
    forward = forward_price(spot, carry, tau)
    again = implied_carry(spot, forward, tau)
    # the forward's last digit weighs 1 / (F tau)
    assert abs(again - carry) <= 2 + 2 * WAD * YEAR // (forward * tau)
    assert abs(forward_price(spot, again, tau) - forward) <= 2 + 2 * forward * tau // (WAD * YEAR)


@pytest.mark.parametrize(
    ("spot", "forward", "tau"),
    [(0, 1, 1), (1, 0, 1), (1, MAX_PRICE + 1, 1), (1, 1, 0), (1, 1, MAX_TENOR + 1), (1, 2, 1)],
)
def test_carries_out_of_the_domain_are_refused(spot: int, forward: int, tau: int) -> None:
    with pytest.raises(PricingDomainError):
        implied_carry(spot, forward, tau)


def test_vectors_cover_the_corners() -> None:
    prices = {int(value) for value in VECTORS["option"]["forward"]}
    assert {1, MAX_PRICE} <= prices
    assert Path(generate_vectors.TARGET).stat().st_size < 500_000
