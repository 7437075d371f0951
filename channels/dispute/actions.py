"""What a decision consists of: things to have done, to ask, to say, and times to look again."""

from __future__ import annotations

from enum import IntEnum

import attrs

from channels.chain.fees import Urgency
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
    "NeedSpot",
    "Submit",
    "SubmitPrice",
    "SubmitSpot",
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
    CALL_MARGIN = 3
    """Call a party that is short of margin at the oracle's spot."""
    CLOSE_OUT = 4
    """End the channel, as a party that was called is short at the end of its cure."""
    SUBMIT_PRICE = 5
    """Bring the oracle a price that another duty waits for."""
    RELEASE = 6
    """Have our own cash above the run-off lock paid."""
    DISPUTE = 7
    """File a dispute in the name of a signer that has authorised it."""


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
    MARGIN_CALLED = 14
    MARGIN_UNWATCHED = 15
    MARGIN_CURED = 16
    SPOT_MISSING = 17
    BUDGET_EXHAUSTED = 18
    DISPUTE_NOT_FILED = 19


Fact = tuple[str, int | str]
"""A name and a figure that an alert rests on."""


@attrs.frozen(kw_only=True)
class Alert:
    """Something a person, or the bot above, should know. Equal alerts are one and the same.

    ``figures`` are of the moment: an alert that differs in them alone is the same one.
    """

    level: Level
    code: AlertCode
    text: str
    channel_id: bytes | None = None
    facts: tuple[Fact, ...] = ()
    figures: tuple[Fact, ...] = attrs.field(default=(), eq=False)


@attrs.frozen(kw_only=True)
class Submit:
    """Have the chain do this. Asking again under the same ``key`` changes nothing.

    ``urgency``: by when it must be mined; None: there is time.
    """

    duty: Duty
    call: Call
    key: bytes
    urgency: Urgency | None = None


@attrs.frozen(kw_only=True)
class NeedPrice:
    """Ask the channel's oracle for this settlement price and decide again; at every head anew."""

    bucket: Bucket


@attrs.frozen(kw_only=True)
class NeedSpot:
    """Ask the channel's oracle for this feed's spot and decide again; at every head anew."""

    feed: bytes


@attrs.frozen(kw_only=True)
class SubmitPrice:
    """Have the oracle given this settlement price, if anybody offers one."""

    bucket: Bucket


@attrs.frozen(kw_only=True)
class SubmitSpot:
    """Have the oracle given the spot that was offered: a party is short at it."""

    feed: bytes


@attrs.frozen(kw_only=True)
class WakeAt:
    """Look at the channel again at the first head of this chain time or later."""

    time: int


Action = Submit | Alert | NeedPrice | NeedSpot | SubmitPrice | SubmitSpot | WakeAt
