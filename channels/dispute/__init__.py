"""The defence: decides, from the chain and the evidence held, what must be done, and does it.

`open_monitor` is the library task; `decide` the pure function it rests on.
"""

from __future__ import annotations

from channels.dispute.actions import (
    Action,
    Alert,
    AlertCode,
    Duty,
    Level,
    NeedPrice,
    NeedSpot,
    Submit,
    SubmitPrice,
    SubmitSpot,
    WakeAt,
)
from channels.dispute.case import Policy
from channels.dispute.decision import decide
from channels.dispute.engine import Pace
from channels.dispute.evidence import Evidence, Filing, Watched, evidence_of
from channels.dispute.monitor import Monitor, open_monitor, watch_channels
from channels.dispute.ports import PriceSource, SpotOffer
from channels.dispute.reports import (
    ChannelFinished,
    DisputeFound,
    DutyDone,
    DutySubmitted,
    Report,
)
from channels.dispute.runoff import PriceFact, PriceStatus
from channels.dispute.shortfall import SpotFact

__all__ = [
    "Action",
    "Alert",
    "AlertCode",
    "ChannelFinished",
    "DisputeFound",
    "Duty",
    "DutyDone",
    "DutySubmitted",
    "Evidence",
    "Filing",
    "Level",
    "Monitor",
    "NeedPrice",
    "NeedSpot",
    "Pace",
    "Policy",
    "PriceFact",
    "PriceSource",
    "PriceStatus",
    "Report",
    "SpotFact",
    "SpotOffer",
    "Submit",
    "SubmitPrice",
    "SubmitSpot",
    "WakeAt",
    "Watched",
    "decide",
    "evidence_of",
    "open_monitor",
    "watch_channels",
]
