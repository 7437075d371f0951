"""Compare the two integer engines, Python's and the contract's, on as many inputs as wished.

Usage, from the root of the checkout, after ``forge build``::

    python -m tests.pricing.compare_engines --count 1000000 --seed 7

Prints every mismatch and the number of them; the exit status says whether there was one.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from channels.errors import PricingDomainError
from channels.pricing import (
    MAX_CARRY,
    MAX_PRICE,
    MAX_TENOR,
    MAX_VOL,
    forward_price,
    price,
    settlement_payoff,
)
from channels.pricing.fixed import exp_negative, ln_ratio, mills, sqrt_years
from channels.pricing.scenario_price import scenario_price
from channels.units import WAD, YEAR
from tests.conftest import start_anvil, stop

from . import branches
from .engine import DOMAIN_ERROR, Harness
from .generate_vectors import hostile, near_branches

Row = tuple[int, ...]

EXTREMES = (0, 1, 2, 2**96, 2**127, MAX_PRICE, MAX_PRICE + 1, 2**160, 2**255, 2**256 - 1)


def outside_and_at_the_edge() -> Iterator[Row]:
    """Every argument of a price at its extremes, inside the domain and out, the others ordinary."""
    usual = (0, 3_000 * WAD, 3_100 * WAD, 6 * 10**17, 30 * 86_400)
    vols = (0, 1, MAX_VOL, MAX_VOL + 1, 2**128, 2**256 - 1)
    taus = (0, 1, 2, MAX_TENOR, MAX_TENOR + 1, 2**64, 2**256 - 1)
    for kind in (*range(8), 255, 2**256 - 1):
        for place, values in enumerate((EXTREMES, EXTREMES, vols, taus), 1):
            for value in values:
                yield (kind, *usual[1:place], value, *usual[place + 1 :])
        for distance in (10**6, 10**12, 10**18, 10**36):
            for vol in (0, 1, WAD // 2, MAX_VOL):
                for tau in (1, 86_400, MAX_TENOR):
                    yield kind, distance, 1, vol, tau
                    yield kind, WAD, WAD * distance % 2**128, vol, tau
                    yield kind, WAD * distance % 2**128, WAD, vol, tau


def forwards_at_the_edge() -> Iterator[Row]:
    """Every argument of a forward price at its extremes."""
    carries = (0, 1, WAD, 30 * WAD, MAX_CARRY, MAX_CARRY + 1, 2**127, 2**255 - 1)
    for spot in EXTREMES:
        for carry in (*carries, *(-carry for carry in carries), -(2**255)):
            for tau in (0, 1, 86_400, YEAR, MAX_TENOR, MAX_TENOR + 1, 2**256 - 1):
                yield spot, carry, tau


def random_prices(rng: random.Random) -> Iterator[Row]:
    """Options like a market's, from the whole domain, and beside the engine's branches."""
    while True:
        tau = int(10 ** rng.uniform(0, 8.498))
        draw = rng.random()
        if draw < 0.5:  # a market's
            forward = int(10 ** rng.uniform(17, 23.301))
            strike = int(forward * 10 ** rng.gauss(0, 0.15))
            vol = int(10 ** rng.uniform(16.5, 18.7))
        elif draw < 0.75:  # the whole domain's
            forward = int(10 ** rng.uniform(0, 38.53))
            strike = int(forward * 10 ** rng.choice((rng.uniform(-38, 38), rng.uniform(-3, 3))))
            vol = int(10 ** rng.uniform(0, 20))
        else:
            forward, strike, vol = _near_a_branch(rng, tau)
        strike, forward = (min(max(value, 1), MAX_PRICE) for value in (strike, forward))
        yield rng.randrange(5), forward, strike, min(vol, MAX_VOL), tau


def _near_a_branch(rng: random.Random, tau: int) -> Row:
    """Ratios where the logarithm branches, or vols where h = t or h + t = 16, and neighbours."""
    low = int(10 ** rng.uniform(3, 30))
    numerator, denominator = rng.choice(((99, 70), (140, 99), (1, 1), (2, 1)))
    high = (low * numerator << rng.choice((0, 0, 1, 2, 20))) // denominator + rng.randint(-2, 2)
    log = max(math.log(max(high, 1) / low), 1e-12)
    # h = t: s^2 = 2 log; h + t = 16: s = 16 -+ sqrt(256 - 2 log)
    root = math.sqrt(max(256 - 2 * log, 0))
    s = rng.choice((math.sqrt(2 * log), 16 + root, 2 * log / (16 + root)))
    vol = int(s / math.sqrt(tau / YEAR) * WAD * rng.choice((1, 1 + 1e-9, 1 - 1e-9, 1.01)))
    return (high, low, vol) if rng.random() < 0.5 else (low, high, vol)


def random_forwards(rng: random.Random) -> Iterator[Row]:
    """Spots, carries and times from the whole domain; many forwards leave it."""
    while True:
        spot, carry = int(10 ** rng.uniform(0, 38.53)), int(10 ** rng.uniform(10, 20))
        yield spot, rng.choice((-carry, carry)), int(10 ** rng.uniform(0, 8.498))


def fixed_prices() -> Iterator[Row]:
    """Hostile prices that are always compared, ten thousand."""
    yield from hostile()
    yield from near_branches()
    yield from branches.prices()
    yield from outside_and_at_the_edge()


def _exponential(y: int) -> int:
    m, k = exp_negative(y)
    return k << 128 | m


PARTS: Final[dict[str, tuple[Callable[..., int], Callable[[], Iterable[Row]]]]] = {
    "scenarioPrices": (scenario_price, branches.scenario_prices),
    "payoffs": (settlement_payoff, lambda: branches.payoffs(1, 5_000)),
    "lnRatios": (ln_ratio, branches.ratios),
    "expNegatives": (_exponential, branches.exponents),
    "millsRatios": (mills, lambda: branches.deviates(1, 2_000)),
    "rootsOfYears": (sqrt_years, branches.times),
}
"""What prices are made of, and payoffs: the harness's function, Python's, rows at every branch."""


def mismatches(
    harness: Harness, function: str, ours: Callable[..., int], rows: Iterable[Row]
) -> list[str]:
    """Return a line for every row on which the contract and ``ours`` differ, errors included."""
    inputs = list(rows)
    found = []
    for row, (success, word) in zip(inputs, harness.each(function, inputs), strict=True):
        try:
            expected = (True, ours(*row) % 2**256)
        except PricingDomainError:
            expected = (False, DOMAIN_ERROR)
        if (success, word) != expected:
            found.append(f"{function}{row}: contract {success, word}, Python {expected}")
    return found


def main() -> int:
    """Run the comparison; 1 if any figure differs."""
    parser = argparse.ArgumentParser(description="Compare Python's engine with the contract's.")
    parser.add_argument("--count", type=int, default=1_000_000, help="how many random prices")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    node, url = start_anvil()
    started = time.monotonic()
    found = []
    try:
        harness = Harness("PricingHarness", url)
        prices, forwards = random_prices(rng), random_forwards(rng)
        found += mismatches(harness, "prices", price, fixed_prices())
        found += mismatches(harness, "forwardPrices", forward_price, forwards_at_the_edge())
        for function, (ours, rows) in PARTS.items():
            found += mismatches(harness, function, ours, rows())
        for done in range(0, options.count, 30_000):
            size = min(30_000, options.count - done)
            found += mismatches(harness, "prices", price, islice(prices, size))
            found += mismatches(
                harness, "forwardPrices", forward_price, islice(forwards, size // 10)
            )
    finally:
        stop(node)
    for line in found[:100]:
        print(line)
    seconds = time.monotonic() - started
    print(
        f"{options.count} random prices, {options.count // 10} random forwards, all edges: ", end=""
    )
    print(f"{len(found)} mismatches in {seconds:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
