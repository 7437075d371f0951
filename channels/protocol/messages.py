"""What the two peers say to each other.

Every message but those of the session names its channel. States are announced in three messages
(Propose or Quote, Accept, Confirm); a Void kills what was half signed; a CloseRequest is answered
by an Accept without affirmation. A MarkReport, a MarginCall and a DisputeNotice change no state:
they say what their sender thinks, and what it will do. A party that lost its data has messages of
its own, in `channels.protocol.recovery_messages`.

Source: design, protocol.md "Messages".
"""

from __future__ import annotations

from enum import IntEnum

import attrs

from channels.pricing import Kind
from channels.protocol.bounds import fixed_bytes, require, signed128, unsigned
from channels.protocol.changes import Change
from channels.protocol.eip712 import Address
from channels.protocol.recovery_messages import (
    Recover,
    RecoverAccept,
    RecoverOffer,
    RecoverRequest,
)
from channels.protocol.risk_messages import (
    DisputedPosition,
    DisputeNotice,
    MarginCall,
    MarkReport,
    SeriesReport,
)
from channels.protocol.signing import Signature
from channels.protocol.terms import Opening, RiskParams
from channels.protocol.types import Closing, Party, Portfolio, Series, Withdrawal
from channels.units import WAD

__all__ = [
    "Accept",
    "Cancel",
    "Challenge",
    "CloseRequest",
    "Confirm",
    "DisputeNotice",
    "DisputedPosition",
    "Error",
    "HalfSigned",
    "Hello",
    "Leg",
    "MarginCall",
    "MarkReport",
    "Message",
    "OpenAccept",
    "OpenReject",
    "OpenRequest",
    "Opened",
    "Ping",
    "Pong",
    "Propose",
    "Quote",
    "QuoteReject",
    "Reason",
    "Recover",
    "RecoverAccept",
    "RecoverOffer",
    "RecoverRequest",
    "Reestablish",
    "Reject",
    "RequestForQuote",
    "SeriesReport",
    "Side",
    "Void",
    "WithdrawRequest",
]


class Reason(IntEnum):
    """Why a request, a proposal or a message was refused."""

    DECLINED = 0
    """The decision of the trader or the quoting strategy."""
    PRICE = 1
    MARKS = 2
    """Marks beyond the tolerance to our own market data."""
    MARGIN = 3
    LIMIT = 4
    """Beyond a limit of our risk policy."""
    LATE = 5
    """Too little of the box, or of the quote's time, was left."""
    BUSY = 6
    """A signing rule forbids our signature for now."""
    INVALID = 7
    """The proposal is not the change it announces."""
    NOT_OPEN = 8
    """No such channel, or not in a phase to trade."""
    PROTOCOL = 9
    """Bytes or a message that this protocol does not have here."""


class Side(IntEnum):
    """What the requester of a quote would do with the legs as it wrote them."""

    BUY = 0
    SELL = 1


@attrs.frozen(kw_only=True)
class Hello:
    """Whose key, which contract, which software; the client's first, answered with the server's.

    ``challenge`` is the sender's own, ``proof`` the named signer's signature on the `SessionProof`
    of this connection.
    """

    signer: Address
    chain_id: int
    adjudicator: Address
    software: str
    challenge: bytes
    proof: Signature


@attrs.frozen(kw_only=True)
class Challenge:
    """The server's first message: random bytes that the client's proof has to cover."""

    challenge: bytes


@attrs.frozen(kw_only=True)
class Reestablish:
    """Where we stand in one channel, after a reconnect: the state that is F for us.

    ``proof`` is the *recipient's own* signature on it, which shows a party that lost its data so.
    The state's parts travel, not its digest: a digest would let an old signature pass for one on a
    newer nonce.
    """

    channel_id: bytes
    nonce: int
    valid_until: int
    portfolio_hash: bytes
    proof: Signature | None


@attrs.frozen(kw_only=True)
class Ping:
    """Answer me."""

    token: int


@attrs.frozen(kw_only=True)
class Pong:
    """The answer to the Ping with this token."""

    token: int


@attrs.frozen(kw_only=True)
class Error:
    """We could not use what you sent; nothing changed."""

    channel_id: bytes
    reason: Reason
    text: str


@attrs.frozen(kw_only=True)
class OpenRequest:
    """Open a channel with me on these terms; ``requester`` is my side of it."""

    requester: Party
    opening: Opening
    risk: tuple[RiskParams, ...]


@attrs.frozen(kw_only=True)
class OpenAccept:
    """My party's signature on the Opening: 65 bytes, or what its ERC-1271 wallet made."""

    channel_id: bytes
    signature: bytes


@attrs.frozen(kw_only=True)
class OpenReject:
    """I do not open on these terms."""

    channel_id: bytes
    reason: Reason
    text: str


@attrs.frozen(kw_only=True)
class Opened:
    """I see the channel open, its deposits final: trade with me."""

    channel_id: bytes


@attrs.frozen(kw_only=True)
class HalfSigned:
    """A complete next state with the proposer's signature, and the change it announces."""

    nonce: int
    valid_until: int
    change: Change
    portfolio: Portfolio
    signature: Signature


@attrs.frozen(kw_only=True)
class Propose:
    """A half-signed boxed state."""

    channel_id: bytes
    proposal: HalfSigned


@attrs.frozen(kw_only=True)
class Accept:
    """The second signature on a boxed state, and the first on its affirmation.

    For a CloseRequest and a WithdrawRequest there is no affirmation: nonce 0 and no signature.
    """

    channel_id: bytes
    nonce: int
    signature: Signature
    affirmation_nonce: int
    affirmation: Signature | None


@attrs.frozen(kw_only=True)
class Confirm:
    """The second signature on an affirmation or a void."""

    channel_id: bytes
    nonce: int
    signature: Signature


@attrs.frozen(kw_only=True)
class Void:
    """The first signature on the last permanent portfolio again, at a higher nonce."""

    channel_id: bytes
    nonce: int
    signature: Signature


@attrs.frozen(kw_only=True)
class Reject:
    """No to a proposal, with the reason and, where the rules allow, the void that kills it."""

    channel_id: bytes
    nonce: int
    reason: Reason
    text: str
    void_nonce: int
    void: Signature | None


@attrs.frozen(kw_only=True)
class Leg:
    """One leg of a request; quantity seen from the requester (+ = it buys), WAD."""

    feed: bytes
    kind: Kind
    expiry: int
    strike: int
    quantity: int

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, feed=self.feed)
        unsigned(64, expiry=self.expiry)
        unsigned(128, strike=self.strike)
        signed128(quantity=self.quantity)

    @property
    def series(self) -> Series:
        """The series asked for."""
        return (self.feed, self.expiry, int(self.kind), self.strike)


@attrs.frozen(kw_only=True)
class RequestForQuote:
    """Name your price for all these legs together, good for ``time_to_live`` seconds.

    ``side`` None asks for both: to buy the legs as they stand, and to sell them.
    """

    channel_id: bytes
    request_id: bytes
    legs: tuple[Leg, ...]
    time_to_live: int
    side: Side | None = None


@attrs.frozen(kw_only=True)
class Quote:
    """A firm price: a half-signed state for each side of it, to be taken by ``expires_at``.

    ``least`` is the smallest part of the size that its maker deals in at these prices, WAD; WAD:
    all or none. A part needs a state of its own: the taker turns the quote down and proposes it.
    """

    channel_id: bytes
    request_id: bytes
    expires_at: int
    sides: tuple[HalfSigned, ...]
    least: int = WAD

    def __attrs_post_init__(self) -> None:
        require(0 < self.least <= WAD, "the least part is above 0 and up to 1", self.least)


@attrs.frozen(kw_only=True)
class QuoteReject:
    """No price for this request."""

    channel_id: bytes
    request_id: bytes
    reason: Reason
    text: str


@attrs.frozen(kw_only=True)
class CloseRequest:
    """A Closing with the first signature; answered by an Accept with the second."""

    channel_id: bytes
    closing: Closing
    signature: Signature


@attrs.frozen(kw_only=True)
class WithdrawRequest:
    """A Withdrawal with the first signature; answered by an Accept with the second."""

    channel_id: bytes
    withdrawal: Withdrawal
    signature: Signature


@attrs.frozen(kw_only=True)
class Cancel:
    """Turn down my proposal at this nonce, and any other side of its quote: I take it back.

    A request: it takes effect with the Reject and the void that answer it. Until then, **to take
    the proposal for dead may lose funds**: an Accept may be on its way.
    """

    channel_id: bytes
    nonce: int


Message = (
    Hello
    | Challenge
    | Reestablish
    | Ping
    | Pong
    | Error
    | OpenRequest
    | OpenAccept
    | OpenReject
    | Opened
    | Propose
    | Accept
    | Confirm
    | Reject
    | Void
    | RequestForQuote
    | Quote
    | QuoteReject
    | CloseRequest
    | WithdrawRequest
    | Cancel
    | MarkReport
    | MarginCall
    | DisputeNotice
    | RecoverRequest
    | RecoverOffer
    | Recover
    | RecoverAccept
)
