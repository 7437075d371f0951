"""The verbs that every instrument and every strategy has: price, greeks, payoff, plot.

All figures are floats in units of the collateral per 1.0 of quantity (a dollar, if strikes are in
dollars): for eyes and decisions, never for signing. What is signed is priced in integers, by
`channels.pricing.price`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from math import fsum, log
from typing import TYPE_CHECKING, Any, Final

import attrs

from channels.errors import InvalidValueError
from channels.pricing import scalar
from channels.pricing.greeks import Greeks
from channels.pricing.markets import Market
from channels.pricing.payoff import intrinsic
from channels.units import WAD, YEAR

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from channels.pricing.book import Book
    from channels.pricing.instruments import Instrument

__all__ = ["Number", "QuantityOf", "Tradable"]

Number = int | float | str | Decimal
"""A decimal number as a user writes it; a float counts as the shortest decimal that prints so."""

_GREEKS: Final = tuple(field.name for field in attrs.fields(Greeks))


@attrs.frozen(kw_only=True)
class QuantityOf:
    """So much of an instrument; + = long. What a strategy consists of."""

    instrument: Instrument
    quantity: Decimal


class Tradable(ABC):
    """An instrument, or several in fixed proportion: whatever has `legs`."""

    __slots__ = ()

    @abstractmethod
    def legs(self, quantity: Number = 1) -> tuple[QuantityOf, ...]:
        """Return what ``quantity`` of this consists of; + = long."""

    def price(self, market: Market) -> float:
        """Return what one unit is worth in this market.

        Each leg has the market's forward of its expiry and vol of its strike; one that has expired
        is worth what it pays at the spot. A digital is priced at the vol of its strike, as in the
        integer engine: the slope of a smile is not in it.

        Raises:
            InvalidValueError: a market without price or vol for a leg.
        """
        return fsum(
            float(leg.quantity)
            * scalar.price(
                leg.instrument.kind,
                market.forward(leg.instrument.expiry),
                leg.instrument.strike / WAD,
                market.volatility(leg.instrument.strike / WAD, leg.instrument.expiry),
                _years(leg.instrument, market),
            )
            for leg in self.legs()
        )

    def greeks(self, market: Market) -> Greeks[float]:
        """Return value and Greeks of one unit, in the units of `channels.pricing.greeks`.

        Each leg's vol is held when the spot moves.
        """
        parts = [
            (float(leg.quantity), scalar.greeks(*_columns(leg.instrument, market)))
            for leg in self.legs()
        ]
        return Greeks(
            **{
                name: fsum(quantity * getattr(greeks, name) for quantity, greeks in parts)
                for name in _GREEKS
            }
        )

    def payoff(self, settlement_price: Number | Mapping[int, Number]) -> float:
        """Return what one unit pays at expiry, before any premium.

        ``settlement_price`` is one for all legs, or one for each expiry.

        Raises:
            InvalidValueError: no price for the expiry of a leg.

        >>> from channels.pricing.instruments import Put
        >>> Put("ETH-USD", strike=3000, expiry=1774598400).payoff(2900)
        100.0
        """
        total = Decimal(0)
        for leg in self.legs():
            series, price = leg.instrument, settlement_price
            if isinstance(price, Mapping):
                if series.expiry not in price:
                    raise InvalidValueError(f"no settlement price for {series.name}")
                price = price[series.expiry]
            wad = int(Decimal(str(price)).scaleb(18))
            total += leg.quantity * intrinsic(series.kind, series.strike, wad) / WAD
        return float(total)

    def book(self, market: Market, quantity: Number = 1) -> Book:
        """Return ``quantity`` of this as a `Book`: Greeks by leg, scenario grids. Needs NumPy."""
        from channels.pricing.book import Book

        legs = self.legs(quantity)
        kinds, spots, strikes, vols, years, carries = zip(
            *(_columns(leg.instrument, market) for leg in legs), strict=True
        )
        return Book(
            kinds=kinds,
            spots=spots,
            strikes=strikes,
            vols=vols,
            years=years,
            carries=carries,
            quantities=[float(leg.quantity) for leg in legs],
        )

    def plot(
        self,
        market: Market,
        *,
        quantity: Number = 1,
        premium: float | None = None,
        path: str | Path | None = None,
    ) -> Figure:
        """Draw profit and loss against the spot: now, and at the first expiry.

        See `channels.pricing.plots.plot_profit`. Needs the extra ``plot``.
        """
        from channels.pricing.plots import plot_profit

        return plot_profit(self, market, quantity=quantity, premium=premium, path=path)


def _years(series: Instrument, market: Market) -> float:
    return max(series.expiry - market.at, 0) / YEAR


def _columns(series: Instrument, market: Market) -> tuple[Any, ...]:
    """Return kind, spot, strike, vol, years and carry of a series."""
    years, strike = _years(series, market), series.strike / WAD
    carry = log(market.forward(series.expiry) / market.spot) / years if years else 0.0
    vol = market.volatility(strike, series.expiry)
    return int(series.kind), market.spot, strike, vol, years, carry
