"""What a desk watches over many channels at once: exposure, limits, protection, profit and loss.

All of it is pure: portfolios, prices and times come in as values. The peer asks `Limits` and
`Protection` before it quotes; `explain` reads the states that the journal keeps.
"""

from __future__ import annotations

from channels.desk.exposure import Exposure, Holding, exposures
from channels.desk.limits import Breach, Limits, Measure, SensitivityLimits
from channels.desk.pnl import Explained, explain, explain_all
from channels.desk.protection import Fill, Protection, ProtectionLimits

__all__ = [
    "Breach",
    "Explained",
    "Exposure",
    "Fill",
    "Holding",
    "Limits",
    "Measure",
    "Protection",
    "ProtectionLimits",
    "SensitivityLimits",
    "explain",
    "explain_all",
    "exposures",
]
