"""Gas of the committed snapshots beside what peers publish: whole transactions, ERC-20 collateral.

Nothing is run: `tools/forge test` writes the snapshots, and fails a build that departs from them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.results import Result

__all__ = ["measure"]

SNAPSHOTS: Final = Path(__file__).resolve().parent.parent / "contracts" / "snapshots"

# name of the snapshot: target, published figures
_PUBLISHED: Final[dict[str, tuple[float, dict[str, float | None]]]] = {
    "one price, mean": (
        3_300,
        {"DeFiMath, dearest": 2_928, "Derive": 4_578, "Lyra": 14_015},
    ),
    "open, infinite allowance": (
        125_000,
        {"go-nitro": 122_644, "statechannels": 125_696, "Raiden": 202_956},
    ),
    "open, finite allowance": (131_000, {}),
    "checkpoint, later": (
        46_500,
        {"go-nitro": 73_936, "Raiden": 90_516, "Perun": 77_401, "Nitrolite": 189_829},
    ),
    "checkpoint, a channel's first": (64_000, {}),
    "dispute, no position": (
        80_000,
        {"go-nitro": 113_146, "statechannels": 94_673, "Raiden": 118_501, "Perun": 109_376},
    ),
    "dispute, 64 positions": (335_000, {}),
    "close, both hold the token": (
        78_000,
        {"go-nitro": 112_690, "Raiden": 112_270, "Perun": 242_691},
    ),
    "close, neither holds the token": (112_000, {"statechannels": 123_510}),
    "unilateral exit, no position": (
        150_000,
        {"go-nitro": 195_172, "statechannels": 204_190, "Raiden": 227_070, "Nitrolite": 248_000},
    ),
    "settle, one more position": (5_000, {"Raiden (unlock)": 38_619, "Vector": 190_000}),
    "callMargin, 64 positions, two scenarios": (
        900_000,
        {"Derive, PMRM reduced check": 3_680_000},
    ),
    "callMargin, 64 positions, the whole margin": (
        5_000_000,
        {"Derive, PMRM full": 14_000_000},
    ),
    "callMargin, 128 positions, the whole margin": (15_000_000, {}),
    "closeOut, 128 positions, the whole margin": (15_000_000, {}),
    "release, 128 positions, by the buyer": (15_000_000, {}),
}


def measure() -> Iterator[Result]:
    """Yield the gas of each published operation; one without a snapshot says so."""
    snapshots: dict[str, str] = {}
    for path in sorted(SNAPSHOTS.glob("*.json")):
        snapshots |= json.loads(path.read_text())
    for name, (target, published) in _PUBLISHED.items():
        ours = snapshots.get(name)
        yield Result(
            name=f"gas: {name}",
            value=None if ours is None else float(ours),
            unit="gas",
            target=target,
            references={f"{peer}, published": gas for peer, gas in published.items()},
        )
