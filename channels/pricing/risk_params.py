"""Margin parameters of one feed: their shape and the bounds the contract enforces.

Source: design, risk.md "Margin".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from channels.errors import InvalidValueError
from channels.units import DAY, HOUR, WAD

__all__ = ["RISK_BOUNDS", "RiskParamsLike", "risk_by_feed"]

RISK_BOUNDS: Final[Mapping[str, tuple[int, int]]] = {
    "price_range": (WAD * 2 // 100, WAD * 30 // 100),
    "vol_up": (0, 3 * WAD),
    "vol_down": (0, 3 * WAD),
    "look_ahead": (HOUR, 14 * DAY),
    "calendar": (0, 3 * WAD),
    "strike": (0, WAD),
    "carry_base": (0, WAD * 20 // 100),
    "carry_slope": (0, WAD),
    "short_minimum": (0, WAD * 20 // 100),
    "im_factor": (WAD, 3 * WAD),
    "shift_base": (0, WAD // 2),
    "shift_per_root_hour": (0, WAD // 2),
    "run_off_factor": (WAD, 5 * WAD),
}
"""Least and greatest value of each parameter. Three price ranges down leave a tenth."""


class RiskParamsLike(Protocol):
    """What both parties agreed for one feed. Fractions in WAD, ``look_ahead`` in seconds."""

    @property
    def feed(self) -> bytes:
        """Identifier of the underlying's price feed."""

    @property
    def price_range(self) -> int:
        """How far the price is moved in the scan, either way."""

    @property
    def vol_up(self) -> int:
        """Rise of a thirty-day vol in the scan, relative to it."""

    @property
    def vol_down(self) -> int:
        """Fall of a thirty-day vol in the scan: it is divided by one plus this."""

    @property
    def look_ahead(self) -> int:
        """Time that passes in the scenarios of falling vol, seconds."""

    @property
    def calendar(self) -> int:
        """Charge on vol risk that offsets between expiries."""

    @property
    def strike(self) -> int:
        """Charge on vol risk that offsets within an expiry."""

    @property
    def carry_base(self) -> int:
        """Move of every forward in the carry charge, relative to it."""

    @property
    def carry_slope(self) -> int:
        """Further move of a forward for each year to its expiry."""

    @property
    def short_minimum(self) -> int:
        """Charge on net short options, as a fraction of the spot."""

    @property
    def im_factor(self) -> int:
        """Initial margin over maintenance margin."""

    @property
    def shift_base(self) -> int:
        """Close-out shift of a thirty-day vol at fresh marks, relative to it."""

    @property
    def shift_per_root_hour(self) -> int:
        """Growth of the close-out shift with the root of the marks' age in hours."""

    @property
    def run_off_factor(self) -> int:
        """Initial margins a party leaves behind while positions run off."""


def risk_by_feed(risk: Iterable[RiskParamsLike]) -> dict[bytes, RiskParamsLike]:
    """Return the parameters by feed, each checked against `RISK_BOUNDS`.

    Raises:
        InvalidValueError: a parameter out of bounds, or two sets for one feed.
    """
    table: dict[bytes, RiskParamsLike] = {}
    for each in risk:
        if each.feed in table:
            raise InvalidValueError(f"two sets of margin parameters for feed 0x{each.feed.hex()}")
        for name, (least, most) in RISK_BOUNDS.items():
            found = getattr(each, name)
            if not least <= found <= most:
                raise InvalidValueError(f"{name} is {found}; allowed are {least} to {most}")
        table[each.feed] = each
    return table
