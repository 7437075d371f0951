"""What a decision consists of: things to have done, to ask, to say, and times to look again."""

from __future__ import annotations

from enum import IntEnum

import attrs

from channels.dispute.runoff import Bucket
from channels.protocol.calls import Call

__all__ = [
    "Action",
    "Alert",
    "AlertCode",
    "Duty",
    "Fact",
    "Level",
    "NeedPrice",
    "Submit",
    "WakeAt",
]


class Duty(IntEnum):
    """What a monitor does for a channel."""

    REFUTE = 0
    """Answer a dispute that stands on something older than our evidence."""
    CHECKPOINT_BOXED = 1
    """Record a boxed state whose affirmation is overdue."""
    SETTLE = 2
    """Settle what has expired once the window is over, until all is paid out."""


class Level(IntEnum):
    """How loud an alert is."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2
    """Somebody should look now: this **may lose funds**."""


class AlertCode(IntEnum):
    """What an alert is about."""

    STALE_DISPUTE = 0
    DEADLINE_NEAR = 1
    STALE_STANDS = 2
    PORTFOLIO_UNKNOWN = 3
    EVIDENCE_MISSING = 4
    RIVAL_STATES = 5
    BOX_MISSED = 6
    PRICE_OVERDUE = 7
    DUTY_DELAYED = 8
    DISPUTES_MISSED = 9
    CHAIN_TROUBLE = 10
    HEAD_STALE = 11
    STORE_TROUBLE = 12
    BUG = 13


Fact = tuple[str, int | str]
"""A name and a figure that an alert rests on."""


@attrs.frozen(kw_only=True)
class Alert:
    """Something a person, or the bot above, should know. Equal alerts are one and the same."""

    level: Level
    code: AlertCode
    text: str
    channel_id: bytes | None = None
    facts: tuple[Fact, ...] = ()


@attrs.frozen(kw_only=True)
class Submit:
    """Have the chain do this. Asking again under the same ``key`` changes nothing."""

    duty: Duty
    call: Call
    key: bytes


@attrs.frozen(kw_only=True)
class NeedPrice:
    """Ask the channel's oracle for this settlement price and decide again; at every head anew."""

    bucket: Bucket


@attrs.frozen(kw_only=True)
class WakeAt:
    """Look at the channel again at the first head of this chain time or later."""

    time: int


Action = Submit | Alert | NeedPrice | WakeAt
