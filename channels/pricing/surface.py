"""A volatility surface: a smile for each expiry, and a vol for every strike and time.

Between two expiries total variance is interpolated linearly in time at the same log-moneyness
k = ln(strike / forward); before the first it falls to 0 in proportion to time, and beyond the last
it grows so: there the vol at k is constant. So if no smile is below the one before it, total
variance rises with time at every k, and no calendar spread is free. Butterflies are only checked
where smiles are.

Source: Gatheral, "The Volatility Surface" (2006), chapter 3; Gatheral and Jacquier,
"Arbitrage-free SVI volatility surfaces", Quantitative Finance 14 (2014), lemma 2.1.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from functools import cached_property
from math import log
from typing import TYPE_CHECKING, Any

import attrs

from channels.errors import InvalidValueError
from channels.pricing.carry import CarryCurve
from channels.pricing.svi import RawSvi, Slack, butterfly_slack, calendar_slack
from channels.units import YEAR

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

__all__ = ["Smile", "Surface"]


@attrs.frozen(kw_only=True)
class Smile:
    """The smile of one expiry, Unix seconds, around its forward.

    Raises:
        InvalidValueError: a forward that is not positive.
    """

    expiry: int
    forward: float
    svi: RawSvi

    def __attrs_post_init__(self) -> None:
        if not self.forward > 0.0:
            raise InvalidValueError(f"a forward of {self.forward}")


def _smiles(smiles: Iterable[Smile]) -> tuple[Smile, ...]:
    return tuple(smiles)


@attrs.frozen(kw_only=True)
class Surface:
    """Smiles of one feed at one time ``at``, the earliest expiry first: a market to price in.

    Raises:
        InvalidValueError: no smile, an expiry that is not later than the one before (or than
            ``at``), or a spot that is not positive.

    >>> svi = RawSvi(a=0.01, b=0.1, rho=-0.3, m=0.0, sigma=0.2)
    >>> surface = Surface(at=0, spot=100.0, smiles=[Smile(expiry=YEAR, forward=100.0, svi=svi)])
    >>> round(surface.volatility(100.0, YEAR), 6)
    0.173205
    """

    at: int
    spot: float
    smiles: tuple[Smile, ...] = attrs.field(converter=_smiles)

    def __attrs_post_init__(self) -> None:
        if not self.smiles:
            raise InvalidValueError("a surface has at least one smile")
        _ = self.carry  # which wants expiries in order

    @cached_property
    def carry(self) -> CarryCurve:
        """The carry curve through the smiles' forwards."""
        return CarryCurve(
            at=self.at,
            spot=self.spot,
            forwards=[(smile.expiry, smile.forward) for smile in self.smiles],
        )

    def forward(self, expiry: int) -> float:
        """Return the forward of any expiry; the spot once it has passed."""
        return self.carry.forward(expiry)

    def total_variance(self, log_moneyness: Any, expiry: int) -> Any:
        """Return vol squared times years at ln(strike / forward), a number or an array; 0 expired.

        Raises:
            InvalidValueError: a log-moneyness that is not a number.
        """
        if expiry <= self.at:
            return 0.0 * log_moneyness
        index = bisect_left(self.smiles, expiry, key=lambda smile: smile.expiry)
        if index in (0, len(self.smiles)):
            smile = self.smiles[min(index, len(self.smiles) - 1)]
            part = (expiry - self.at) / (smile.expiry - self.at)
            return part * smile.svi.total_variance(log_moneyness)
        before, after = self.smiles[index - 1 : index + 1]
        part = (expiry - before.expiry) / (after.expiry - before.expiry)
        low, high = (each.svi.total_variance(log_moneyness) for each in (before, after))
        return low + part * (high - low)

    def volatility(self, strike: float, expiry: int) -> float:
        """Return the annual implied vol of a strike; 0 once expired.

        Raises:
            InvalidValueError: a strike that is not positive.
        """
        if not strike > 0.0:
            raise InvalidValueError(f"a strike of {strike}")
        if expiry <= self.at:
            return 0.0
        variance = self.total_variance(log(strike / self.forward(expiry)), expiry)
        return float((variance * YEAR / (expiry - self.at)) ** 0.5)

    def butterflies(self) -> Mapping[int, Slack]:
        """Return each expiry's least g(k): negative is butterfly arbitrage."""
        return {smile.expiry: butterfly_slack(smile.svi) for smile in self.smiles}

    def calendars(self, *, within: float | None = None) -> Mapping[int, Slack]:
        """Return each expiry's least total variance over the one before: negative is arbitrage.

        The first expiry has none. ``within`` bounds the log-moneyness on both sides; without it
        smiles whose wings cross somewhere, however far out, have a slack of -inf.
        """
        bounds = {} if within is None else {"low": -within, "high": within}
        return {
            later.expiry: calendar_slack(earlier.svi, later.svi, **bounds)
            for earlier, later in zip(self.smiles, self.smiles[1:], strict=False)
        }

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the surface; see `channels.pricing.plots.plot_surface`. Needs the extra ``plot``."""
        from channels.pricing.plots import plot_surface

        return plot_surface(self, path=path)
