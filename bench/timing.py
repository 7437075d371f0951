"""How benchmarks time: best of many runs, in processor time, on one thread.

Import this before NumPy or a peer: it limits their thread pools.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

__all__ = ["be_quick", "best", "best_of_one", "peer", "seconds"]

for _variable in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
):
    os.environ.setdefault(_variable, "1")

_BEST_OF: Final = 0.5
_speed_up = 1.0


def be_quick() -> None:
    """Make every measurement a tenth as long from here on: good to see that all work."""
    global _speed_up
    _speed_up = 10.0


def seconds(usual: float) -> float:
    """Return how long to measure what usually takes ``usual`` seconds."""
    return usual / _speed_up


def best(work: Callable[[], Any]) -> float:
    """Return the seconds of the best of three runs at least, and of half a second of them.

    Processor time: everything runs on one thread, and shared machines stretch the clock's.
    """
    work()
    least, began, runs = float("inf"), time.process_time(), 0
    while runs < 3 or time.process_time() - began < seconds(_BEST_OF):
        start = time.process_time()
        work()
        least = min(least, time.process_time() - start)
        runs += 1
    return least


def best_of_one(work: Callable[[], Any], times: int = 2_000) -> float:
    """Return the seconds of one call of something short, from runs of ``times`` calls."""

    def run() -> None:
        for _ in range(times):
            work()

    return best(run) / times


def peer(name: str) -> ModuleType | None:
    """Return a peer of the extra ``bench``, or None if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
