"""What a step asks for: effects, in the order in which they must be performed.

`Persist` always comes first: **a signature that leaves before the state it covers is durably stored
may lose funds.** Then `Send`, `Submit` and `Notify`, in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import attrs

from channels.protocol.calls import Call
from channels.protocol.changes import Change
from channels.protocol.channel import Channel, Contributed
from channels.protocol.credit_notices import (
    MarginCallCured,
    MarginCallReceived,
    MarginCallSent,
    MarginCallUnmet,
    MarksDisputed,
    MarksReported,
    MarksStale,
    OwnMarginShort,
)
from channels.protocol.facts import OnChainPhase
from channels.protocol.halts import Cause, Mode
from channels.protocol.ledger import Entry
from channels.protocol.messages import (
    Message,
    QuoteReject,
    Reason,
    RequestForQuote,
)
from channels.protocol.recovery_notices import (
    PeerRecovering,
    Recovered,
    RecoveryFailed,
    RecoveryNeeded,
)
from channels.protocol.signing import Signable, Signature
from channels.protocol.types import Closing, Party, Portfolio, Withdrawal
from channels.units import WAD

__all__ = [
    "ChangeConfirmed",
    "ChangeRejected",
    "ChannelEnded",
    "CloseRequested",
    "Deed",
    "DisputeSeen",
    "Effect",
    "MarginCallCured",
    "MarginCallReceived",
    "MarginCallSeen",
    "MarginCallSent",
    "MarginCallUnmet",
    "MarksDisputed",
    "MarksReported",
    "MarksStale",
    "ModeChanged",
    "Notice",
    "Notify",
    "OpeningEnded",
    "OpeningSucceeded",
    "Outcome",
    "OwnMarginShort",
    "PeerComplained",
    "PeerRecovering",
    "Persist",
    "ProposalCancelled",
    "ProposalLapsed",
    "ProposalReceived",
    "QuoteDeclined",
    "QuoteRequested",
    "RecordedOnChain",
    "Recovered",
    "RecoveryFailed",
    "RecoveryNeeded",
    "ReleaseSeen",
    "Send",
    "Step",
    "Submit",
    "WithdrawalPaid",
    "WithdrawalRequested",
    "done",
]


class Deed(IntEnum):
    """What a journal entry records. Numbers are stored: never reuse one."""

    OPENING = 0
    PROPOSED = 1
    ACCEPTED = 2
    CONFIRMED = 3
    VOIDED = 4
    REJECTED = 5
    CLOSING = 6
    FULL = 7
    CHAIN = 8
    MODE = 9
    DISPUTE = 10
    RECOVERING = 11
    MARGIN_CALL = 12
    RECOVERED = 13
    """F was found again: signed before, by both, and forgotten."""
    DEPOSITED = 14
    """Top-ups of either party are final."""


@attrs.frozen
class Persist:
    """Store the channel as it is after this step, and append to the journal, before all else.

    ``entries`` is all that was signed or came signed in this step; for `Deed.FULL`,
    `Deed.CONFIRMED` and `Deed.RECOVERED` the last of them is what became F. ``paid_in`` is what a
    `Deed.DEPOSITED` is about.
    """

    deed: Deed
    entries: tuple[Entry, ...] = ()
    paid_in: Contributed | None = None


@attrs.frozen
class Send:
    """Send this message, byte for byte as it will be sent again after a reconnect."""

    message: Message


@attrs.frozen
class Submit:
    """Have the chain do this; ``key`` makes asking twice the same as asking once."""

    call: Call
    key: bytes


@attrs.frozen(kw_only=True)
class OpeningSucceeded:
    """Both deposits are final on chain: the channel is open."""


@attrs.frozen(kw_only=True)
class OpeningEnded:
    """The opening was refused or lapsed; nothing was locked."""

    reason: Reason
    text: str


@attrs.frozen(kw_only=True)
class QuoteRequested:
    """The peer asks for a price."""

    request: RequestForQuote


@attrs.frozen(kw_only=True)
class QuoteDeclined:
    """The peer names no price."""

    answer: QuoteReject


@attrs.frozen(kw_only=True)
class ProposalReceived:
    """A checked proposal waits for our decision.

    ``request_id`` and ``expires_at`` are set where it is one side of a quote we asked for;
    ``least`` is the smallest part of it that may be taken, WAD.
    """

    nonce: int
    change: Change
    portfolio: Portfolio
    request_id: bytes | None = None
    expires_at: int = 0
    least: int = WAD


@attrs.frozen(kw_only=True)
class ChangeConfirmed:
    """A change needs nothing more: its portfolio is permanent.

    ``nonce`` is that of the permanent state, ``proposal`` of the boxed one it affirms. For a void
    ``change`` is None and ``proposal`` 0.
    """

    nonce: int
    proposal: int
    change: Change | None
    ours: bool
    portfolio: Portfolio


@attrs.frozen(kw_only=True)
class ChangeRejected:
    """The peer declined our proposal."""

    nonce: int
    reason: Reason
    text: str


@attrs.frozen(kw_only=True)
class ProposalLapsed:
    """Proposals at these nonces came to nothing: their box passed, or another change went first."""

    nonces: tuple[int, ...]
    overtaken: bool


@attrs.frozen(kw_only=True)
class CloseRequested:
    """The peer proposes to end the channel under this Closing."""

    closing: Closing


@attrs.frozen(kw_only=True)
class WithdrawalRequested:
    """The peer proposes to pay these amounts out of the channel."""

    withdrawal: Withdrawal


@attrs.frozen(kw_only=True)
class WithdrawalPaid:
    """The chain has paid a withdrawal, and that is final."""

    withdrawal: Withdrawal


@attrs.frozen(kw_only=True)
class ModeChanged:
    """The circuit breaker moved.

    ``cause``, ``mode`` and ``reason`` are of what was set or lifted (NORMAL); ``stands`` is what
    may be traded now, by the strictest of all causes.
    """

    mode: Mode
    reason: str
    cause: Cause = Cause.OPERATOR
    stands: Mode = Mode.NORMAL


@attrs.frozen(kw_only=True)
class ProposalCancelled:
    """The peer asked to turn its proposal at ``nonce`` down, and we did."""

    nonce: int


@attrs.frozen(kw_only=True)
class RecordedOnChain:
    """The chain has recorded a state as final, and it is F now; ``change`` is what it announced."""

    nonce: int
    change: Change | None = None


@attrs.frozen(kw_only=True)
class DisputeSeen:
    """The chain shows a dispute; ``stale`` if what it records is older than our newest evidence."""

    recorded: int
    deadline: int
    stale: bool


@attrs.frozen(kw_only=True)
class MarginCallSeen:
    """The chain shows ``party`` called for margin: it is closed out if still short at ``cure_end``.

    Told of each call once, and again after a start while the channel lasts. A top-up before the
    cure's end cures it; a called party that does nothing **may lose funds**.
    """

    party: Party
    cure_end: int


@attrs.frozen(kw_only=True)
class ReleaseSeen:
    """The chain shows that ``party`` has had its release: cash it did not need in run-off."""

    party: Party


@attrs.frozen(kw_only=True)
class ChannelEnded:
    """The chain shows the channel closed, by a close-out too, or in run-off."""

    phase: OnChainPhase


@attrs.frozen(kw_only=True)
class PeerComplained:
    """The peer could not use what we sent."""

    reason: Reason
    text: str


Notice = (
    OpeningSucceeded
    | OpeningEnded
    | QuoteRequested
    | QuoteDeclined
    | ProposalReceived
    | ChangeConfirmed
    | ChangeRejected
    | ProposalLapsed
    | CloseRequested
    | WithdrawalRequested
    | WithdrawalPaid
    | ModeChanged
    | ProposalCancelled
    | MarksReported
    | MarksDisputed
    | MarginCallSent
    | MarginCallReceived
    | MarginCallCured
    | MarginCallUnmet
    | OwnMarginShort
    | MarksStale
    | RecordedOnChain
    | DisputeSeen
    | MarginCallSeen
    | ReleaseSeen
    | ChannelEnded
    | RecoveryNeeded
    | PeerRecovering
    | Recovered
    | RecoveryFailed
    | PeerComplained
)


@attrs.frozen
class Notify:
    """Tell whoever embeds the peer."""

    notice: Notice


Effect = Persist | Send | Submit | Notify


@attrs.frozen
class Outcome:
    """The channel after a step, and what is to be done about it."""

    channel: Channel
    effects: tuple[Effect, ...] = ()


@attrs.frozen
class Step:
    """A step worked out but for the signatures it needs.

    Have each of ``sign`` signed, in order, and pass the signatures to ``finish``. A key that
    refuses leaves everything as it was: the channel changes only with the outcome.
    """

    sign: tuple[Signable, ...]
    finish: Callable[[tuple[Signature, ...]], Outcome]


def done(channel: Channel, *effects: Effect) -> Step:
    """A step that needs no signature."""
    outcome = Outcome(channel, effects)
    return Step((), lambda _signatures: outcome)
