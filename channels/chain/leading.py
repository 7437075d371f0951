"""Which of several endpoints is asked first: the furthest ahead; in doubt, each in its turn.

Pure: what the endpoints showed, and the time, come in as values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["Leadership"]

_DOUBT: Final = 4
"""Turns for which a disagreement is remembered: who lies may not be asked all the time."""


class Leadership:
    """Who leads. ``lag``: blocks behind that cost the lead; ``turn``: seconds of one, in doubt.

    Of two endpoints that disagree nobody knows which one lies. Whatever it says, it says for half
    of the time only: **a liar that led for a whole window may lose funds**.
    """

    def __init__(self, *, lag: int, turn: float) -> None:
        self.name = ""
        self._lag = lag
        self._turn = turn
        self._since = 0.0
        self._doubted_at: float | None = None

    def doubt(self, now: float) -> None:
        """Endpoints have given different answers."""
        self._doubted_at = now

    def choose(self, heads: Mapping[str, int], now: float) -> None:
        """Choose among endpoints in good standing, by the newest block of each, in their order."""
        names, furthest = list(heads), max(heads.values())
        leads = self.name in heads
        if leads and self._doubted_at is not None and now < self._doubted_at + _DOUBT * self._turn:
            if now >= self._since + self._turn:
                self._is_now(names[(names.index(self.name) + 1) % len(names)], now)
        elif not leads or heads[self.name] < furthest - self._lag:
            self._is_now(next(each for each in names if heads[each] == furthest), now)

    def _is_now(self, name: str, now: float) -> None:
        self.name, self._since = name, now
