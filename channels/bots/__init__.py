"""Parts of trading programs: a market read from a surface, makers, takers, hedges, a trading floor.

The programs in ``examples/`` and ``option-channels replay`` are made of these. A maker quotes from
its marks, moved against its inventory and within a desk's limits; a taker asks several makers and
takes the best; the floor is a chain in this process with any number of traders on it.
"""

from __future__ import annotations

from channels.bots.floor import Floor, Trader, open_floor
from channels.bots.hedging import delta_of, forward_hedge
from channels.bots.maker import DeskMaker, Skew, holdings
from channels.bots.surface_market import SurfaceMarket, TimedMarket
from channels.bots.taking import Offer, best_quote, unwind_legs

__all__ = [
    "DeskMaker",
    "Floor",
    "Offer",
    "Skew",
    "SurfaceMarket",
    "TimedMarket",
    "Trader",
    "best_quote",
    "delta_of",
    "forward_hedge",
    "holdings",
    "open_floor",
    "unwind_legs",
]
