"""Python's engine and the contract's give the same integers, and refuse the same inputs.

About 90,000 vectors: 10,000 random prices and 2,000 random forwards, the rest at the branches and
the edges of the domain. `compare_engines` runs as many more as wished.
"""

from __future__ import annotations

import random
from itertools import islice

import pytest

from channels.pricing import coefficients, forward_price, price

from .compare_engines import (
    PARTS,
    fixed_prices,
    forwards_at_the_edge,
    mismatches,
    random_forwards,
    random_prices,
)
from .engine import Harness


@pytest.fixture(scope="module")
def harness(anvil_url: str) -> Harness:
    try:
        return Harness("PricingHarness", anvil_url)
    except FileNotFoundError:
        pytest.skip("forge has not compiled the contracts: `make forge-test` does")


def test_same_source(harness: Harness) -> None:
    assert harness.call("source").hex() == coefficients.SOURCE_SHA256


def test_prices_at_branches_and_extremes(harness: Harness) -> None:
    assert mismatches(harness, "prices", price, fixed_prices()) == []


@pytest.mark.parametrize("function", PARTS)
def test_what_prices_are_made_of_at_branches(harness: Harness, function: str) -> None:
    ours, rows = PARTS[function]
    assert mismatches(harness, function, ours, rows()) == []


def test_random_prices(harness: Harness) -> None:
    rows = islice(random_prices(random.Random(1)), 10_000)
    assert mismatches(harness, "prices", price, rows) == []


def test_forwards(harness: Harness) -> None:
    rows = [*forwards_at_the_edge(), *islice(random_forwards(random.Random(2)), 2_000)]
    assert mismatches(harness, "forwardPrices", forward_price, rows) == []


def test_the_comparison_notices_a_difference(harness: Harness) -> None:
    def wrong(*row: int) -> int:
        return price(*row) + (row[0] == 3)

    rows = [(kind, 10**18, 10**18, 10**18, 86_400) for kind in range(5)]
    assert len(mismatches(harness, "prices", wrong, rows)) == 1
