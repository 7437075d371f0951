"""What instruments are priced in: a spot, forwards, and vols, at one time."""

from __future__ import annotations

from math import exp
from typing import Protocol

import attrs

from channels.errors import InvalidValueError
from channels.units import YEAR

__all__ = ["FlatVol", "Market"]


class Market(Protocol):
    """The market of one feed at one time, in floats: `FlatVol`, or a `Surface`."""

    @property
    def at(self) -> int:
        """The time, Unix seconds."""

    @property
    def spot(self) -> float:
        """The price now."""

    def forward(self, expiry: int) -> float:
        """Return the forward of an expiry, Unix seconds; the spot once it has passed."""

    def volatility(self, strike: float, expiry: int) -> float:
        """Return the annual implied vol of a strike; 0.65 is 65 %."""


@attrs.frozen(kw_only=True)
class FlatVol:
    """One vol for all strikes and expiries; ``carry`` is annual, from spot to forward.

    Raises:
        InvalidValueError: a spot that is not positive, or a negative vol.

    >>> round(FlatVol(at=0, spot=100.0, vol=0.5, carry=0.05).forward(31_536_000), 6)
    105.12711
    """

    at: int
    spot: float = attrs.field(converter=float)
    vol: float = attrs.field(converter=float)
    carry: float = attrs.field(converter=float, default=0.0)

    def __attrs_post_init__(self) -> None:
        if not (self.spot > 0.0 and self.vol >= 0.0):
            raise InvalidValueError(f"a spot of {self.spot}, a vol of {self.vol}")

    def forward(self, expiry: int) -> float:
        """Return the forward of an expiry; the spot once it has passed."""
        return self.spot * exp(self.carry * max(expiry - self.at, 0) / YEAR)

    def volatility(self, strike: float, expiry: int) -> float:
        """Return the vol, whatever the strike and the expiry."""
        del strike, expiry
        return self.vol
