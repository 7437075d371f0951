"""Parts of trading programs: a market read from a surface, makers, takers, hedges, a trading floor.

The programs in ``examples/`` and ``option-channels replay`` are made of these. A maker quotes from
its marks, moved against its inventory; a hedger trades forwards against its delta; the floor is a
chain in this process with any number of traders on it.
"""

from __future__ import annotations

from channels.bots.floor import Floor, Trader, open_floor
from channels.bots.hedging import delta_of, forward_hedge
from channels.bots.maker import Skew, SkewMaker
from channels.bots.surface_market import SurfaceMarket, TimedMarket

__all__ = [
    "Floor",
    "Skew",
    "SkewMaker",
    "SurfaceMarket",
    "TimedMarket",
    "Trader",
    "delta_of",
    "forward_hedge",
    "open_floor",
]
