"""SSVI: one smile for all expiries, free of arbitrage by construction.

    w(k, theta) = theta / 2 (1 + rho phi k + sqrt((phi k + rho)**2 + 1 - rho**2))
    phi(theta) = eta / (theta**gamma (1 + theta)**(1 - gamma))

with theta the at-the-money total variance of an expiry. With theta rising in time, 0 <= gamma <=
1/2 and eta**2 (1 + |rho|) <= 4 there is neither a butterfly nor a calendar arbitrage:
docs/explanation/surface.md derives it.

Source: Gatheral and Jacquier, "Arbitrage-free SVI volatility surfaces", Quantitative Finance 14
(2014), theorems 4.1 and 4.2 and equation 4.5.
"""

from __future__ import annotations

from math import inf, sqrt
from typing import Any

import attrs

from channels.errors import InvalidValueError
from channels.pricing.svi import RawSvi

__all__ = ["Ssvi"]


@attrs.frozen(kw_only=True)
class Ssvi:
    """The three parameters that all expiries share.

    Raises:
        InvalidValueError: outside of -1 < rho < 1, eta > 0, 0 <= gamma <= 1/2 and
            eta**2 (1 + |rho|) <= 4, where no arbitrage is sure.

    >>> round(Ssvi(rho=-0.4, eta=1.0, gamma=0.4).smile(0.04).total_variance(0.0), 12)
    0.04
    """

    rho: float
    eta: float
    gamma: float

    def __attrs_post_init__(self) -> None:
        if not (-1.0 < self.rho < 1.0 and self.eta > 0.0 and 0.0 <= self.gamma <= 0.5):
            raise InvalidValueError(f"-1 < rho < 1, eta > 0 and 0 <= gamma <= 1/2, not {self}")
        if self.eta * self.eta * (1.0 + abs(self.rho)) > 4.0 * (1.0 + 1e-12):
            raise InvalidValueError(f"eta**2 (1 + |rho|) is at most 4, not with {self}")

    # theta may be a float or an array, and so is what comes back: hence Any.

    def curvature(self, theta: Any) -> Any:
        """Return phi at an at-the-money total variance."""
        return self.eta / (theta**self.gamma * (1.0 + theta) ** (1.0 - self.gamma))

    def total_variance(self, k: Any, theta: Any) -> Any:
        """Return w at log-moneyness ``k`` of the expiry with at-the-money variance ``theta``."""
        scaled, rho = self.curvature(theta) * k, self.rho
        root = ((scaled + rho) ** 2 + 1.0 - rho * rho) ** 0.5
        return 0.5 * theta * (1.0 + rho * scaled + root)

    def smile(self, theta: float) -> RawSvi:
        """Return an expiry's smile in raw parameters.

        Raises:
            InvalidValueError: ``theta`` is not positive and finite.
        """
        if not 0.0 < theta < inf:
            raise InvalidValueError(f"an at-the-money total variance of {theta}")
        phi, across = self.curvature(theta), sqrt(1.0 - self.rho * self.rho)
        return RawSvi(
            a=0.5 * theta * across * across,
            b=0.5 * theta * phi,
            rho=self.rho,
            m=-self.rho / phi,
            sigma=across / phi,
        )
