"""Parts of trading programs: a market read from a surface, makers, takers, hedges, a trading floor.

The programs in ``examples/`` and ``option-channels replay`` are made of these. A maker quotes from
its marks, moved against its inventory; a taker asks several makers and
takes the best; the floor is a chain in this process with any number of traders on it.
"""

from __future__ import annotations

from channels.bots.floor import Floor, Trader, open_floor
from channels.bots.hedging import delta_of, forward_hedge
from channels.bots.maker import Skew, SkewMaker
from channels.bots.surface_market import SurfaceMarket, TimedMarket
from channels.bots.taking import Offer, best_quote, unwind_legs

__all__ = [
    "Floor",
    "Offer",
    "Skew",
    "SkewMaker",
    "SurfaceMarket",
    "TimedMarket",
    "Trader",
    "best_quote",
    "delta_of",
    "forward_hedge",
    "open_floor",
    "unwind_legs",
]
