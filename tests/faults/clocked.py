"""``python -m tests.faults.clocked CLOCK``: `tests.faults.child` under a clock that is wrong."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from random import Random
from typing import Final

HOUR: Final = 3_600


def clocks() -> dict[str, Callable[[], float]]:
    """What each shows, in seconds."""
    real, began, rng = time.time, time.time(), Random(1)
    return {
        "fast": lambda: real() + HOUR,
        "slow": lambda: real() - HOUR,
        "jumping": lambda: real() + rng.uniform(-HOUR, HOUR),
        "frozen": lambda: began,
        "at zero": lambda: 0.0,
    }


def main(name: str) -> None:
    """Set the clock before anything is imported that may look at it."""
    clock = clocks()[name]
    time.time = clock
    time.time_ns = lambda: int(clock() * 10**9)
    from tests.faults import child

    child.main()


if __name__ == "__main__":
    main(sys.argv[1])
