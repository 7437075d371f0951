"""An oracle that knows what it was told, and what a channel makes of its answers.

Source: design, adjudication.md "Oracles" and rule 8; `IOracle.sol`.
"""

from __future__ import annotations

from copy import copy
from enum import IntEnum
from typing import Final

import attrs

from channels.protocol.eip712 import Address
from channels.units import DAY

__all__ = ["DEAD_AFTER", "Answer", "ModelOracle", "Status"]

DEAD_AFTER: Final = 30 * DAY
"""How long after its grace an oracle that gives no answer is waited for."""

_PRICES: Final = range(1, 2**128)
"""What counts as a price, WAD."""


class Status(IntEnum):
    """What an oracle knows of the price at one time, by the contract's number."""

    UNSET = 0
    KNOWN = 1
    LAST_RESORT = 2
    NEVER = 3


@attrs.frozen
class Answer:
    """A settlement price, WAD, and how it came about; the price of the last two is 0."""

    status: Status = Status.UNSET
    price: int = 0


class ModelOracle:
    """Spots and settlement prices as values, to be set at will, also to what no oracle says.

    ``grace`` is what it tells of itself at opening, None if it fails to. While ``fails`` it answers
    no question for a price.
    """

    def __init__(self, address: Address, *, grace: int | None = 3 * DAY) -> None:
        """Make an oracle that knows no price yet."""
        self.address = address
        self.grace = grace
        self.fails = False
        self._answers: dict[tuple[bytes, int], Answer] = {}
        self._spots: dict[bytes, tuple[int, int]] = {}

    def set_price(self, feed: bytes, time: int, price: int, status: Status = Status.KNOWN) -> None:
        """Store the answer for ``feed`` at ``time``; the price is WAD, 0 with `Status.NEVER`."""
        self._answers[feed, time] = Answer(status, price)

    def set_spot(self, feed: bytes, price: int, updated_at: int) -> None:
        """Store the spot of ``feed``, WAD, as observed at ``updated_at``."""
        self._spots[feed] = price, updated_at

    def copy(self) -> ModelOracle:
        """An oracle that knows now what this one knows, and goes its own way from here."""
        twin = copy(self)
        twin._answers, twin._spots = self._answers.copy(), self._spots.copy()
        return twin

    def newest_spot(self, feed: bytes) -> tuple[int, int] | None:
        """The newest price of ``feed``, WAD, and when it was observed; None if there is none.

        However old: what a contract makes of it says `spot`.
        """
        return None if self.fails else self._spots.get(feed)

    def answer(self, feed: bytes, time: int) -> Answer:
        """What is known of the price at ``time``; a price that is none counts as not known."""
        found = self._answers.get((feed, time), Answer())
        if self.fails or found.status is Status.UNSET:
            return Answer()
        if found.status is Status.NEVER:
            return Answer(Status.NEVER)
        return found if found.price in _PRICES else Answer()

    def known_price(self, feed: bytes, time: int) -> int | None:
        """The known price at ``time``, WAD: no last resort. None if there is none (yet)."""
        found = self.answer(feed, time)
        return found.price if found.status is Status.KNOWN else None

    def settlement_price(self, feed: bytes, expiry: int, *, grace: int, now: int) -> int | None:
        """The price at which what expired settles at ``now``, WAD (rule 8).

        None: it waits. 0: no price of the oracle's serves, and the spot both signed does.
        ``grace`` is the terms' ``settlement_grace``.
        """
        found = self.answer(feed, expiry)
        if found.status is Status.KNOWN:
            return found.price
        if now < expiry + grace:
            return None
        if found.status is Status.UNSET and now < expiry + grace + DEAD_AFTER:
            return None
        return found.price

    def spot(self, feed: bytes, *, max_age: int, now: int) -> int | None:
        """The newest price of ``feed``, WAD; None if it is older than ``max_age`` or there is none.

        A price observed in the future is none.
        """
        price, updated_at = self._spots.get(feed, (0, 0))
        usable = not self.fails and price in _PRICES and now - max_age <= updated_at <= now
        return price if usable else None
