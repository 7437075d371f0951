"""How long to wait before connecting again."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from channels.errors import InvalidValueError

__all__ = ["Backoff"]


class Backoff:
    """Exponential backoff with jitter: many peers that lost one host do not come back as one.

    The n-th delay lies between half and the whole of ``first * factor**n``, or of ``longest``.

    Args:
        first: seconds, upper end of the first delay.
        longest: seconds, upper end of any delay.
        factor: from one delay's upper end to the next.
        uniform: a random number from 0 up to 1.

    Raises:
        InvalidValueError: not ``0 < first <= longest`` and ``factor >= 1``, all finite.

    >>> backoff = Backoff(first=1, longest=5, uniform=lambda: 0.5)
    >>> [backoff.next_delay() for _ in range(4)]
    [0.75, 1.5, 3.0, 3.75]
    """

    def __init__(
        self,
        *,
        first: float = 0.25,
        longest: float = 60.0,
        factor: float = 2.0,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        if not (0 < first <= longest < math.inf and 1 <= factor < math.inf):
            raise InvalidValueError(f"no backoff from {first} to {longest} s by {factor}")
        self._first = first
        self._longest = longest
        self._factor = factor
        self._uniform = uniform
        self._ceiling = first

    def next_delay(self) -> float:
        """Seconds to wait before the next attempt, which is taken to fail."""
        ceiling = self._ceiling
        self._ceiling = min(ceiling * self._factor, self._longest)
        return ceiling * (1 + self._uniform()) / 2

    def reset(self) -> None:
        """Begin anew: the connection held long enough to be called good."""
        self._ceiling = self._first
