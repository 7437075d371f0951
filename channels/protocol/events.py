"""What can happen to a channel besides a message: commands of its owner, and news of the chain."""

from __future__ import annotations

import attrs

from channels.protocol.calls import CoSigned
from channels.protocol.changes import Change, Marks
from channels.protocol.facts import ChannelView, Head
from channels.protocol.halts import Cause, Mode
from channels.protocol.messages import DisputedPosition, Leg, Reason, Side
from channels.protocol.types import Party
from channels.units import WAD

__all__ = [
    "Answer",
    "CancelProposals",
    "ChainSeen",
    "Command",
    "Connected",
    "DisputeMarks",
    "Draft",
    "EndMarginCall",
    "IssueMarginCall",
    "ProposeChange",
    "RefuseQuote",
    "ReportMarks",
    "RequestClose",
    "RequestQuote",
    "RequestWithdrawal",
    "RestoredFromBackup",
    "Resume",
    "SendQuote",
    "SetMode",
    "StartDispute",
    "StatesFound",
]


@attrs.frozen(kw_only=True)
class Draft:
    """A change and the marks of the portfolio it makes."""

    change: Change
    marks: Marks


@attrs.frozen(kw_only=True)
class ProposeChange:
    """Sign a change first and offer it. ``now`` is our own clock, Unix seconds."""

    draft: Draft
    now: int


@attrs.frozen(kw_only=True)
class RequestQuote:
    """Ask the peer for its price; ``request_id`` is 16 random bytes. ``side`` None: for both."""

    request_id: bytes
    legs: tuple[Leg, ...]
    time_to_live: int
    side: Side | None = None


@attrs.frozen(kw_only=True)
class SendQuote:
    """Answer a request with a firm price: one draft a side, one or two.

    ``least`` is the smallest part of it that may be taken, WAD.
    """

    request_id: bytes
    sides: tuple[Draft, ...]
    expires_at: int
    now: int
    least: int = WAD


@attrs.frozen(kw_only=True)
class RefuseQuote:
    """Answer a request with no price."""

    request_id: bytes
    reason: Reason
    text: str = ""


@attrs.frozen(kw_only=True)
class Answer:
    """Accept or reject what the peer proposed at ``nonce``: a change or a Closing."""

    nonce: int
    accept: bool
    now: int
    reason: Reason = Reason.DECLINED
    text: str = ""


@attrs.frozen(kw_only=True)
class RequestClose:
    """Propose to end the channel under the cash that stands; only with no open positions."""

    now: int


@attrs.frozen(kw_only=True)
class RequestWithdrawal:
    """Propose to pay these amounts, base units, out of the channel: to us, and to the peer."""

    ours: int
    theirs: int


@attrs.frozen(kw_only=True)
class StartDispute:
    """Start the window on chain with the newest state we hold."""


@attrs.frozen(kw_only=True)
class RestoredFromBackup:
    """The store is a copy: newer states of ours than it holds may exist."""


@attrs.frozen(kw_only=True)
class StatesFound:
    """All that our towers and copies have of this channel; what is not co-signed is passed over."""

    states: tuple[CoSigned, ...]


@attrs.frozen(kw_only=True)
class SetMode:
    """The circuit breaker, or its operator, speaks on one cause; NORMAL lifts its halt."""

    mode: Mode
    reason: str
    cause: Cause = Cause.OPERATOR


@attrs.frozen(kw_only=True)
class CancelProposals:
    """Ask the peer to turn down what of ours waits for its answer.

    ``nonce``: that proposal alone, with the other side of its quote; None: everything.
    """

    nonce: int | None = None


@attrs.frozen(kw_only=True)
class ReportMarks:
    """Tell the peer our own marks of everything open; with ``wants_answer`` ask for its own."""

    marks: Marks
    wants_answer: bool


@attrs.frozen(kw_only=True)
class DisputeMarks:
    """Tell the peer which of its marks we do not take, and what each position is worth."""

    positions: tuple[DisputedPosition, ...]


@attrs.frozen(kw_only=True)
class IssueMarginCall:
    """Call the peer for margin: ``amount`` base units by ``due_by``, chain time."""

    amount: int
    due_by: int


@attrs.frozen(kw_only=True)
class EndMarginCall:
    """``called`` has met the margin call that stands on it."""

    called: Party


@attrs.frozen(kw_only=True)
class Connected:
    """The peer is reachable, again or for the first time."""


@attrs.frozen(kw_only=True)
class Resume:
    """This process started again from its store: ask again for what must still be done."""


@attrs.frozen(kw_only=True)
class ChainSeen:
    """A new head, and the channel's storage at it and at the newest final block."""

    head: Head
    view: ChannelView
    final_view: ChannelView


Command = (
    ProposeChange
    | RequestQuote
    | SendQuote
    | RefuseQuote
    | Answer
    | RequestClose
    | RequestWithdrawal
    | StartDispute
    | RestoredFromBackup
    | StatesFound
    | SetMode
    | CancelProposals
    | ReportMarks
    | DisputeMarks
    | IssueMarginCall
    | EndMarginCall
    | Connected
    | Resume
    | ChainSeen
)
