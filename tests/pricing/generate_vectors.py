"""Write ``tests/vectors/pricing.json``: prices from multi-precision arithmetic, not the engine's.

Usage, from the root of the checkout: ``python -m tests.pricing.generate_vectors``. Columns of
decimal strings, so that a Solidity test can read them as arrays too. ``tolerance`` is the greatest
difference in wei from ``price`` that an engine may show.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

from .reference import WAD, YEAR, exact_forward, exact_price, nearest, tolerance

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "tests" / "vectors" / "pricing.json"
COEFFICIENTS = ROOT / "channels" / "pricing" / "coefficients.json"

MAX_PRICE = 2**128 - 1
MAX_VOL = 100 * WAD
MAX_TENOR = 10 * YEAR

Option = tuple[int, int, int, int, int]


def hostile() -> Iterator[Option]:
    """Corners of the domain: least and greatest inputs, at the money and far from it."""
    prices = (1, 2, WAD, 3_000 * WAD, 200_000 * WAD, 2**127, MAX_PRICE)
    for kind in range(5):
        for forward in prices:
            for strike in (forward, 1, MAX_PRICE, forward + 1, 3 * forward, forward // 5):
                for vol, tau in ((1, 1), (MAX_VOL, MAX_TENOR), (6 * 10**17, 86_400)):
                    if 1 <= strike <= MAX_PRICE:
                        yield kind, forward, strike, vol, tau


def near_branches() -> Iterator[Option]:
    """Inputs beside the engine's branches: F/K at 99/70 and its kin, h = t, h + t = 16."""
    for kind in range(4):
        for numerator, denominator in ((99, 70), (140, 99), (2, 1), (198, 70), (4, 1)):
            for nudge in (-1, 0, 1):
                forward = 1_000 * WAD
                strike = forward * numerator // denominator + nudge
                yield kind, forward, strike, 8 * 10**17, 30 * 86_400
                yield kind, strike, forward, 8 * 10**17, 30 * 86_400
        for vol in (WAD * 177 // 100, WAD * 178 // 100, 31 * WAD, 32 * WAD, 33 * WAD):
            for ratio in (1, 2, 5, 100, 10**9):
                yield kind, 1_000 * WAD * ratio, 1_000 * WAD, vol, YEAR
                yield kind, 1_000 * WAD, 1_000 * WAD * ratio, vol, YEAR


def random_options(seed: int, count: int, *, wide: bool) -> Iterator[Option]:
    """Options as markets have them, or (``wide``) from all over the domain."""
    rng = random.Random(seed)
    for _ in range(count):
        if wide:
            forward = int(10 ** rng.uniform(0, 38.53))
            strike = int(10 ** rng.uniform(0, 38.53))
            if rng.random() < 0.5:
                strike = int(forward * 10 ** rng.uniform(-3, 3))
            vol = int(10 ** rng.uniform(0, 20))
        else:
            forward = int(10 ** rng.uniform(17, 23.301))
            strike = int(forward * 10 ** rng.gauss(0, 0.15))
            vol = int(10 ** rng.uniform(16.5, 18.7))
        tau = int(10 ** rng.uniform(0, 8.498))
        strike = min(max(strike, 1), MAX_PRICE)
        yield rng.randrange(4), forward, strike, vol, tau


def random_forwards(seed: int, count: int) -> Iterator[tuple[int, int, int]]:
    """(spot, carry, tau) with a forward in the domain."""
    rng = random.Random(seed)
    while count:
        spot = int(10 ** rng.uniform(0, 38.5))
        carry = rng.choice((-1, 1)) * int(10 ** rng.uniform(0, 20))
        tau = int(10 ** rng.uniform(0, 8.498))
        if 2 <= exact_forward(spot, carry, tau) <= MAX_PRICE - 2:
            count -= 1
            yield spot, carry, tau


def generate() -> str:
    """Text of the vectors file."""
    options = [
        *hostile(),
        *near_branches(),
        *random_options(1, 500, wide=False),
        *random_options(2, 300, wide=True),
    ]
    forwards = list(random_forwards(3, 200))
    option_columns = zip(
        *((*each, nearest(exact_price(*each)), tolerance(*each)) for each in options), strict=True
    )
    forward_columns = zip(
        *((*each, nearest(exact_forward(*each))) for each in forwards), strict=True
    )
    names = ("kind", "forward", "strike", "vol", "tau", "price", "tolerance")
    table = {
        "about": "Black-76 in WAD from multi-precision arithmetic; forward: rounded to nearest, "
        "the engines round it down",
        "coefficients_sha256": hashlib.sha256(COEFFICIENTS.read_bytes()).hexdigest(),
        "option": _strings(names, option_columns),
        "forward": _strings(("spot", "carry", "tau", "forward"), forward_columns),
    }
    return json.dumps(table, indent=0) + "\n"


def _strings(names: tuple[str, ...], columns: Iterator[tuple[int, ...]]) -> dict[str, list[str]]:
    return {
        name: [str(value) for value in column] for name, column in zip(names, columns, strict=True)
    }


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(generate())
