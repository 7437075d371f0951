"""One channel as one peer holds it: all that the machine knows, as one frozen value."""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

import attrs

from channels.errors import SigningRefusedError
from channels.pricing import MarginModel, ScanMargin
from channels.protocol.calls import CoSigned
from channels.protocol.changes import equity, meets_initial_margin
from channels.protocol.facts import ChannelView, Head
from channels.protocol.halts import Cause, Halt, Mode, strictest
from channels.protocol.ledger import BoxClock, Full, Ledger
from channels.protocol.messages import MarginCall, Message
from channels.protocol.rules import Circumstances
from channels.protocol.signing import Signable
from channels.protocol.terms import Domain, Opening, RiskParams, Signed, Terms, channel_id
from channels.protocol.types import Party, Portfolio, State

__all__ = [
    "OPEN_PHASES",
    "Channel",
    "Contributed",
    "Mode",
    "Phase",
    "Recovery",
    "Timing",
    "Track",
    "new_channel",
]


class Phase(IntEnum):
    """Where a channel stands in the life one peer sees."""

    ASKED = 0
    """We asked to open, and wait for the other party's signature."""
    GRANTED = 1
    """We signed the Opening, and wait for the chain to show it."""
    SUBMITTED = 2
    """We hold both signatures and sent them to the chain."""
    IDLE = 3
    """Open, nothing in flight."""
    PROPOSED = 4
    """Our half-signed states wait for an answer, or for their box to pass."""
    RECEIVED = 5
    """A proposal waits for our decision."""
    ACCEPTED = 6
    """We accepted, and wait for the Confirm."""
    VOIDING = 7
    """We sent a void, and wait for the Confirm."""
    CLOSING = 8
    """A Closing with our signature is on its way; nothing else is signed."""
    RECOVERING = 9
    """Our data or the peer's is old: nothing is signed but the newest state again."""
    DISPUTED = 10
    """A dispute is on the chain, or ours may still be mined: no signing but a Closing."""
    RUN_OFF = 11
    """The window is over; positions settle as they expire."""
    CLOSED = 12
    """Paid out."""
    ABANDONED = 13
    """The opening was refused or lapsed; nothing was ever locked."""


OPEN_PHASES = frozenset(
    {Phase.IDLE, Phase.PROPOSED, Phase.RECEIVED, Phase.ACCEPTED, Phase.VOIDING, Phase.CLOSING}
)
"""Phases in which the chain shows the channel open and both may talk about states."""

_UNDISPUTED = OPEN_PHASES | {Phase.RECOVERING}


@attrs.frozen(kw_only=True, cache_hash=True)
class Timing:
    """Box and slot of the chain, in seconds of chain time.

    ``box``: how long a half-signed state stays acceptable, ten slots by default. ``void_grace``:
    how long after an unrecorded box a void is waited for before disputing, two finality periods.
    ``recovery_time``: how long after its first attempt a recovery ends in a dispute.
    """

    slot: int = 12
    box: int = 120
    void_grace: int = 1_800
    recovery_time: int = 21_600

    @property
    def least_to_accept(self) -> int:
        """Seconds of a box that must remain for us to accept."""
        return self.box * 2 // 3

    @property
    def oldest_head(self) -> int:
        """Seconds that a head may be old for us to accept on it, or to countersign for good."""
        return 3 * self.slot

    @property
    def confirm_within(self) -> int:
        """Seconds after our Accept within which the Confirm must come."""
        return self.box // 3


@attrs.frozen(kw_only=True, cache_hash=True)
class Track:
    """The opening under way: what is to be signed, and the parties' signatures so far."""

    opening: Opening
    mine: bytes | None = None
    theirs: bytes | None = None


@attrs.frozen(kw_only=True)
class Recovery:
    """Where a recovery stands; all times are chain time.

    ``leads``: we ask, and sign first, since our data is in doubt or our last recovery state lapsed;
    else we wait for the peer's, until a final block of ``until``. ``since``: the first attempt; 0
    if there was none, or its time is not known yet. ``heard_peer`` and ``heard_sources``: both have
    said what they hold. ``seen``: the highest nonce that either side is said to have signed.
    ``stays`` counts the peer's recoveries that we took part in since ``window``.
    """

    leads: bool = False
    since: int = 0
    heard_peer: bool = False
    heard_sources: bool = False
    seen: int = 0
    until: int = 0
    stays: int = 0
    window: int = 0


@attrs.frozen(kw_only=True)
class Contributed:
    """Deposits less payments of each party, base units, as of a final block."""

    a: int
    b: int


@attrs.frozen(kw_only=True, slots=False)  # for `evolving.evolve`
class Channel:
    """All that the machine knows of one channel; replaced, never changed.

    ``halts`` are the circuit breaker's, one a cause, in the causes' order. ``call_made`` and
    ``call_received`` are the margin calls that stand: ours on the peer, and the peer's on us.
    ``peer_ready``: the peer has said that it sees the channel open. ``contributed`` is what both
    have in it as far as the journal tells; None until the channel is open.
    ``outbox`` holds what was sent and may have been lost, to be sent again byte for byte after a
    reconnect. ``head`` and both views are None until the chain was read after a start; without
    them nothing is signed. ``disputed_at`` is the newest block that showed a dispute or an end.
    ``now`` is our own clock when the last step began that could countersign for good, Unix seconds;
    None: nobody told.
    """

    domain: Domain
    side: Party
    risk: tuple[RiskParams, ...]
    track: Track
    timing: Timing
    phase: Phase
    ledger: Ledger
    halts: tuple[Halt, ...] = ()
    call_made: MarginCall | None = None
    call_received: MarginCall | None = None
    peer_ready: bool = False
    dispute_sent: bool = False
    disputed_at: int = 0
    recovery: Recovery = Recovery()
    contributed: Contributed | None = None
    outbox: tuple[Message, ...] = ()
    head: Head | None = None
    view: ChannelView | None = None
    final_view: ChannelView | None = None
    now: int | None = None

    @property
    def terms(self) -> Terms:
        """What both agreed at opening."""
        return self.track.opening.terms

    @property
    def channel_id(self) -> bytes:
        """The channel's identifier."""
        return self.ledger.full.state.channel_id

    @property
    def mode(self) -> Mode:
        """What may be traded: the strictest of all halts."""
        halt = strictest(self.halts)
        return Mode.NORMAL if halt is None else halt.mode

    @property
    def mode_reason(self) -> str:
        """Why, in the strictest halt's words; empty if there is none."""
        halt = strictest(self.halts)
        return "" if halt is None else halt.reason

    def halt(self, cause: Cause) -> Halt | None:
        """What stands for ``cause``, if anything does."""
        return next((each for each in self.halts if each.cause is cause), None)

    def with_halt(self, halt: Halt) -> Channel:
        """The channel with this halt in place of its cause's own; of mode NORMAL: without any."""
        others = [each for each in self.halts if each.cause is not halt.cause]
        if halt.mode is not Mode.NORMAL:
            others.append(halt)
        return attrs.evolve(self, halts=tuple(sorted(others, key=lambda each: each.cause)))

    def margin_call(self, called: Party) -> MarginCall | None:
        """The margin call that stands on ``called``, if any."""
        return self.call_received if called is self.side else self.call_made

    @property
    def portfolio(self) -> Portfolio:
        """The last portfolio that needs nothing more: F's."""
        return self.ledger.full.state.portfolio

    @property
    def clock(self) -> BoxClock:
        """What the chain says about boxes.

        Raises:
            SigningRefusedError: the chain has not been read since the start.
        """
        head, view, final_view = self.head, self.view, self.final_view
        if head is None or view is None or final_view is None:
            raise SigningRefusedError(
                "the chain has not been read yet", next_step="wait for the first head"
            )
        return BoxClock(
            head_time=head.timestamp,
            final_time=head.final_timestamp,
            recorded=view.nonce,
            final_recorded=final_view.nonce,
        )

    @property
    def head_is_fresh(self) -> bool:
        """Whether the newest head is young enough, by our own clock, to say what governs."""
        now, head = self.now, self.head
        if now is None or head is None:
            return head is not None
        return now - head.timestamp <= self.timing.oldest_head

    def contribution(self, side: Party) -> int:
        """Deposits less payments of ``side``, base units.

        A deposit counts after finality, a payment at once.
        """
        if self.view is None or self.final_view is None:
            return 0
        return min(self.view.contribution(side), self.final_view.contribution(side))

    def equity(self, side: Party, portfolio: Portfolio | None = None) -> int:
        """Cash plus positions of ``side`` at the portfolio's marks, base units."""
        held = self.portfolio if portfolio is None else portfolio
        return equity(held, self.contribution(side), side, self.terms.unit)

    def meets_margin(self, side: Party, portfolio: Portfolio) -> bool:
        """Whether ``side`` covers its initial margin in ``portfolio``."""
        return meets_initial_margin(portfolio, self.contribution(side), side, self.terms.unit)

    @property
    def margin_model(self) -> MarginModel:
        """How margins follow from a state under the parameters both agreed on."""
        return _margin_model(self.risk)

    @property
    def circumstances(self) -> Circumstances:
        """What the signing rules look at."""
        phase = self.phase
        return Circumstances(
            ledger=self.ledger,
            clock=self.clock,
            max_in_flight=self.terms.max_in_flight,
            disputed=self.dispute_sent or phase not in _UNDISPUTED,
            recovering=phase is Phase.RECOVERING,
            within_limits=lambda portfolio: self.meets_margin(self.side, portfolio),
            head_is_fresh=self.head_is_fresh,
        )

    def signable(self, value: Signed) -> Signable:
        """``value`` in this channel's domain."""
        return Signable(self.domain, value)

    def newest_evidence(self) -> CoSigned | None:
        """The newest co-signed state the chain would accept; None if only nonce 0 stands."""
        return self.ledger.newest_evidence(self.clock)


@lru_cache(maxsize=64)
def _margin_model(risk: tuple[RiskParams, ...]) -> MarginModel:
    """One model, and its risk arrays, for all channels of the same parameters."""
    return ScanMargin(risk)


def new_channel(
    *,
    domain: Domain,
    side: Party,
    opening: Opening,
    risk: tuple[RiskParams, ...],
    timing: Timing,
    phase: Phase,
) -> Channel:
    """A channel of which nothing is signed yet."""
    return Channel(
        domain=domain,
        side=side,
        risk=risk,
        track=Track(opening=opening),
        timing=timing,
        phase=phase,
        ledger=Ledger(
            side=side,
            full=Full(state=State(channel_id=channel_id(domain, opening.terms), nonce=0)),
        ),
    )
