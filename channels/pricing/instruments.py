"""Instruments as a trader names them: a call, a put, a digital, a forward on one feed.

>>> Call("ETH-USD", strike=3000, expiry=1774598400).name
'ETH-USD-27MAR26-3000-C'
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import attrs

from channels.errors import InvalidValueError
from channels.pricing.kinds import Kind
from channels.units import HOUR, from_wad, to_wad

__all__ = ["Call", "DigitalCall", "DigitalPut", "Forward", "Instrument", "Put"]

_SUFFIX = {
    Kind.CALL: "C",
    Kind.PUT: "P",
    Kind.DIGITAL_CALL: "DC",
    Kind.DIGITAL_PUT: "DP",
    Kind.FORWARD: "F",
}


@attrs.frozen(kw_only=True)
class Instrument:
    """One option series or forward. ``strike`` is WAD; ``expiry`` Unix seconds on a full hour.

    Raises:
        InvalidValueError: an expiry that is no full hour, at which alone oracles settle.
    """

    feed: str
    kind: Kind
    expiry: int
    strike: int

    def __attrs_post_init__(self) -> None:
        if self.expiry % HOUR:
            raise InvalidValueError(f"expiry {self.expiry} is no full hour")

    @property
    def name(self) -> str:
        """The series as venues write it, such as ``ETH-USD-27MAR26-3000-C``."""
        day = datetime.fromtimestamp(self.expiry, UTC)
        date = f"{day.day}{day:%b%y}".upper()
        return f"{self.feed}-{date}-{from_wad(self.strike):f}-{_SUFFIX[self.kind]}"


Number = int | float | str | Decimal


def Call(feed: str, *, strike: Number, expiry: int) -> Instrument:  # noqa: N802 - reads as a type
    """A European call: pays max(S - K, 0) at expiry."""
    return Instrument(feed=feed, kind=Kind.CALL, strike=to_wad(strike), expiry=expiry)


def Put(feed: str, *, strike: Number, expiry: int) -> Instrument:  # noqa: N802
    """A European put: pays max(K - S, 0) at expiry."""
    return Instrument(feed=feed, kind=Kind.PUT, strike=to_wad(strike), expiry=expiry)


def DigitalCall(feed: str, *, strike: Number, expiry: int) -> Instrument:  # noqa: N802
    """Pays 1.0 if the settlement price is at or above the strike."""
    return Instrument(feed=feed, kind=Kind.DIGITAL_CALL, strike=to_wad(strike), expiry=expiry)


def DigitalPut(feed: str, *, strike: Number, expiry: int) -> Instrument:  # noqa: N802
    """Pays 1.0 if the settlement price is below the strike."""
    return Instrument(feed=feed, kind=Kind.DIGITAL_PUT, strike=to_wad(strike), expiry=expiry)


def Forward(feed: str, *, strike: Number, expiry: int) -> Instrument:  # noqa: N802
    """A forward: pays S - K at expiry, of either sign."""
    return Instrument(feed=feed, kind=Kind.FORWARD, strike=to_wad(strike), expiry=expiry)
