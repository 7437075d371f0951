"""What the back-test asks of a margin model, and what the venues' models share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from channels.backtest.market import Snapshot
from channels.backtest.portfolios import Leg
from channels.errors import InvalidValueError
from channels.pricing.scalar import price
from channels.units import DAY, WAD

__all__ = ["Contract", "Model", "Requirement", "Sides", "contract_of", "mark_of", "vol_shock"]


@attrs.frozen
class Sides:
    """Initial margin of the party that holds the legs as they stand, and of its counterparty.

    In the currency of the strikes: the least equity, cash plus value of the positions, with which
    a party may open the portfolio.
    """

    holder: float
    counterparty: float


Requirement = Callable[[Sequence[Leg]], Sides]
"""The requirement of some legs at one snapshot."""


class Model(Protocol):
    """A margin model to be tested."""

    @property
    def name(self) -> str:
        """How tables and plots call it."""

    def at(self, underlying: str, snapshot: Snapshot) -> Requirement:
        """Return the requirement at a snapshot; what portfolios share there is computed once."""


@attrs.frozen(kw_only=True)
class Contract:
    """One series at its marks, in floats: what a venue's model looks at."""

    kind: int
    strike: float
    forward: float
    vol: float
    seconds: int
    years: float

    def price(self, factor: float, vol: float) -> float:
        """Return the price with the forward multiplied by ``factor``, at ``vol``."""
        return price(self.kind, self.forward * factor, self.strike, vol, self.years)

    @property
    def mark(self) -> float:
        """Price at its own marks."""
        return self.price(1.0, self.vol)


def mark_of(leg: Leg, snapshot: Snapshot) -> tuple[int, int]:
    """Return forward and vol of a leg's series in a snapshot, in WAD.

    Raises:
        InvalidValueError: the snapshot has no mark of it.
    """
    mark = snapshot.mark(leg.kind, leg.expiry, leg.strike)
    if mark is None:
        raise InvalidValueError(f"no mark of {leg} at {snapshot.at}")
    return mark


def contract_of(leg: Leg, snapshot: Snapshot) -> Contract:
    """Return the series of a leg at the marks of a snapshot.

    Raises:
        InvalidValueError: the snapshot has no mark of it.
    """
    forward, vol = mark_of(leg, snapshot)
    return Contract(
        kind=leg.kind,
        strike=leg.strike / WAD,
        forward=forward / WAD,
        vol=vol / WAD,
        seconds=leg.expiry - snapshot.at,
        years=snapshot.years(leg.expiry),
    )


def vol_shock(seconds: int, short_power: float, long_power: float) -> float:
    """Return (30 days / time to expiry) to a power that differs below and above 30 days.

    Deribit and Derive scale their relative shocks of the vol with it; a day counts at least.
    """
    power = short_power if seconds <= 30 * DAY else long_power
    return float((30 * DAY / max(seconds, DAY)) ** power)
