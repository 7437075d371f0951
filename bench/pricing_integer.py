"""The integer engine in Python, and what importing the pricing package costs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from bench.results import Result
from bench.timing import best_of_one
from channels.pricing import Kind, black76
from channels.units import to_wad

__all__ = ["measure"]

_DAY: Final = 86_400
_RUNS: Final = 5


def measure() -> Iterator[Result]:
    """Yield the time of one price, the mean of five markets, and of an import."""
    forward, vol = int(to_wad(3010)), int(to_wad("0.6"))
    options = [
        (Kind.CALL if strike > 3010 else Kind.PUT, int(to_wad(strike)), days * _DAY)
        for strike, days in ((3000, 1), (3150, 7), (2400, 30), (5000, 180), (3000, 365))
    ]

    def price_all() -> None:
        for kind, strike, tau in options:
            black76.price(kind, forward, strike, vol, tau)

    yield Result(
        name="integer price, one option, pure Python",
        value=1e6 * best_of_one(price_all, 200) / len(options),
        unit="us",
        target=7,
    )
    yield Result(
        name="import channels.pricing, fresh interpreter",
        value=min(_import_time("channels.pricing") for _ in range(_RUNS)),
        unit="ms",
        target=20,
        references={
            "vollib": _peer_import_time("vollib.black"),
            "fast-vollib": _peer_import_time("fast_vollib"),
        },
    )


def _peer_import_time(module: str) -> float | None:
    try:
        return _import_time(module)
    except subprocess.CalledProcessError:
        return None


def _import_time(module: str) -> float:
    """Return milliseconds of the import alone, without the interpreter's start."""
    script = (
        f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    )
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return 1e3 * float(run.stdout.split()[-1])
