"""What credit tells whoever embeds the peer: marks and margin."""

from __future__ import annotations

import attrs

from channels.protocol.risk_messages import DisputeNotice, MarginCall, MarkReport
from channels.protocol.types import Party

__all__ = [
    "MarginCallCured",
    "MarginCallReceived",
    "MarginCallSent",
    "MarginCallUnmet",
    "MarksDisputed",
    "MarksReported",
    "MarksStale",
    "OwnMarginShort",
]


@attrs.frozen(kw_only=True)
class MarksReported:
    """The peer told us its own marks."""

    report: MarkReport


@attrs.frozen(kw_only=True)
class MarksDisputed:
    """Marks are in dispute: ``ours`` if we said so; the notice's ``mine`` is its sender's value."""

    notice: DisputeNotice
    ours: bool


@attrs.frozen(kw_only=True)
class MarginCallSent:
    """We called the peer for margin."""

    call: MarginCall


@attrs.frozen(kw_only=True)
class MarginCallReceived:
    """The peer calls us for margin: a call not met at its ``due_by`` ends in a dispute."""

    call: MarginCall


@attrs.frozen(kw_only=True)
class MarginCallCured:
    """``called`` is at or above its maintenance margin again: its margin call is met."""

    called: Party
    call: MarginCall


@attrs.frozen(kw_only=True)
class MarginCallUnmet:
    """Our margin call is past its ``due_by`` and the peer still short: a reason to dispute."""

    call: MarginCall


@attrs.frozen(kw_only=True)
class OwnMarginShort:
    """We are below our maintenance margin; ``amount`` base units bring us to initial margin.

    Top up, unwind or hedge: the peer is about to call, and to dispute.
    """

    equity: int
    maintenance: int
    amount: int


@attrs.frozen(kw_only=True)
class MarksStale:
    """The marks of open positions, of ``marked_at``, are too old: a reason to dispute."""

    marked_at: int
