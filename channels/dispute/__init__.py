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
    Submit,
    WakeAt,
)
from channels.dispute.decision import Policy, decide
from channels.dispute.engine import Pace
from channels.dispute.evidence import Evidence, Watched, evidence_of
from channels.dispute.monitor import Monitor, open_monitor, watch_channels
from channels.dispute.reports import (
    ChannelFinished,
    DisputeFound,
    DutyDone,
    DutySubmitted,
    Report,
)
from channels.dispute.runoff import PriceFact, PriceStatus

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
    "Level",
    "Monitor",
    "NeedPrice",
    "Pace",
    "Policy",
    "PriceFact",
    "PriceStatus",
    "Report",
    "Submit",
    "WakeAt",
    "Watched",
    "decide",
    "evidence_of",
    "open_monitor",
    "watch_channels",
]
