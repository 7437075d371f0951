"""From a market's option quotes to smiles: vols of bid and ask, and surfaces fitted to them.

Of each strike the out-of-the-money option is taken (the put below the forward, the call from it
on), if it has both a bid and an ask that a vol explains.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs
import numpy as np

from channels.errors import InvalidValueError
from channels.pricing import arrays
from channels.pricing.kinds import Kind
from channels.pricing.least_squares import Floats
from channels.pricing.marketdata import MarketSnapshot, OptionQuote
from channels.pricing.ssvi_fit import SsviFit, fit_ssvi
from channels.pricing.surface import Smile, Surface
from channels.pricing.svi_fit import LEAST_QUOTES, SviFit, fit_svi
from channels.units import HOUR, WAD, YEAR

__all__ = ["FittedSurface", "QuotedSmile", "fit_surface", "quoted_smiles"]

_LEAST_TENOR: Final = 12 * HOUR
_LEAST_SPREAD: Final = 1e-3
"""Half-spreads count as this part of the vol at least: nearer to each other, quotes are noise."""


@attrs.frozen(kw_only=True, eq=False)
class QuotedSmile:
    """What the market shows of one expiry: columns, one element a strike, strikes ascending.

    ``strikes`` in the quotes' currency; ``bids``, ``asks`` and ``marks`` are annual vols.
    """

    at: int
    expiry: int
    forward: float
    strikes: Floats
    bids: Floats
    asks: Floats
    marks: Floats

    @property
    def years(self) -> float:
        """Time to expiry."""
        return (self.expiry - self.at) / YEAR

    @property
    def log_moneyness(self) -> Floats:
        """Return ln(strike / forward)."""
        k: Floats = np.log(self.strikes / self.forward)
        return k

    @property
    def total_variance(self) -> Floats:
        """The middle of bid and ask, in total variance."""
        middle: Floats = 0.5 * self.years * (self.bids**2 + self.asks**2)
        return middle

    @property
    def half_spread(self) -> Floats:
        """Half of ask less bid, in total variance, floored at a thousandth of the vol."""
        half: Floats = 0.5 * self.years * (self.asks**2 - self.bids**2)
        return np.maximum(half, 2.0 * _LEAST_SPREAD * self.total_variance)


@attrs.frozen(kw_only=True)
class FittedSurface:
    """A surface, the quotes it was fitted to, and how each fit went.

    ``fits`` has an entry for each expiry; ``ssvi`` is None unless the surface is an SSVI one, and
    then ``fits`` is empty.
    """

    surface: Surface
    quotes: tuple[QuotedSmile, ...]
    fits: Mapping[int, SviFit]
    ssvi: SsviFit | None = None


def quoted_smiles(
    snapshot: MarketSnapshot, feed: str, *, least_tenor: int = _LEAST_TENOR
) -> tuple[QuotedSmile, ...]:
    """Return the smiles that a snapshot shows of one feed, the earliest expiry first.

    Expiries with fewer than five usable strikes, or less than ``least_tenor`` seconds to run, are
    left out.
    """
    by_expiry: dict[int, list[OptionQuote]] = {}
    for quote in snapshot.quotes:
        series = quote.instrument
        out = (series.kind == Kind.CALL) == (series.strike >= quote.forward)
        if series.feed == feed and out and quote.bid and quote.ask and quote.tau >= least_tenor:
            by_expiry.setdefault(series.expiry, []).append(quote)
    smiles = (_smile(snapshot.at, expiry, by_expiry[expiry]) for expiry in sorted(by_expiry))
    return tuple(smile for smile in smiles if len(smile.strikes) >= LEAST_QUOTES)


def _smile(at: int, expiry: int, quotes: Iterable[OptionQuote]) -> QuotedSmile:
    chosen = sorted(quotes, key=lambda quote: quote.instrument.strike)
    kinds = np.array([int(quote.instrument.kind) for quote in chosen])
    columns = np.array(
        [
            [quote.instrument.strike, quote.forward, quote.bid, quote.ask, quote.vol]
            for quote in chosen
        ],
        dtype=np.float64,
    )
    strikes, forwards, bids, asks, marks = columns.T / WAD
    years = (expiry - at) / YEAR
    low = arrays.implied_vol(kinds, bids, forwards, strikes, years).vol
    high = arrays.implied_vol(kinds, asks, forwards, strikes, years).vol
    usable = low <= high  # NaN is neither
    return QuotedSmile(
        at=at,
        expiry=expiry,
        forward=float(np.median(forwards)),
        strikes=strikes[usable],
        bids=low[usable],
        asks=high[usable],
        marks=marks[usable],
    )


def fit_surface(
    snapshot: MarketSnapshot,
    feed: str,
    *,
    shared: bool = False,
    arbitrage_free: bool = True,
    least_tenor: int = _LEAST_TENOR,
) -> FittedSurface:
    """Fit a surface to the bids and asks of a snapshot.

    Args:
        snapshot: the market at one time.
        feed: as in the instruments' names: ``ETH``, or ``ETH_USDC``.
        shared: SSVI, three parameters for all expiries and one for each; otherwise raw SVI, five
            for each expiry, from the last to the first: the first has the fewest quotes, and gives
            way.
        arbitrage_free: penalise arbitrage in raw SVI; SSVI has none. The slacks in ``fits`` and
            those of the surface say what is left.
        least_tenor: seconds to run, below which an expiry is left out.

    Raises:
        InvalidValueError: no expiry with quotes of five strikes.
    """
    quotes = quoted_smiles(snapshot, feed, least_tenor=least_tenor)
    if not quotes:
        raise InvalidValueError(f"no smile of {feed!r} in this snapshot")
    fits: dict[int, SviFit] = {}
    ssvi: SsviFit | None = None
    if shared:
        ssvi = fit_ssvi(
            [each.log_moneyness for each in quotes],
            [each.total_variance for each in quotes],
            [each.half_spread for each in quotes],
        )
        smiles = [ssvi.ssvi.smile(theta) for theta in ssvi.thetas]
    else:
        later = None
        for each in reversed(quotes):
            fits[each.expiry] = fit_svi(
                each.log_moneyness,
                each.total_variance,
                each.half_spread,
                later=later if arbitrage_free else None,
                arbitrage_free=arbitrage_free,
            )
            later = fits[each.expiry].svi
        smiles = [fits[each.expiry].svi for each in quotes]
    surface = Surface(
        at=snapshot.at,
        spot=snapshot.spot / WAD,
        smiles=[
            Smile(expiry=each.expiry, forward=each.forward, svi=svi)
            for each, svi in zip(quotes, smiles, strict=True)
        ],
    )
    return FittedSurface(surface=surface, quotes=quotes, fits=dict(sorted(fits.items())), ssvi=ssvi)
