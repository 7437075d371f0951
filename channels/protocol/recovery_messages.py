"""Messages of a recovery: finding the newest state again, and signing it once more.

A RecoverRequest is answered by a RecoverOffer; a Recover, half signed, by a RecoverAccept.

Source: design, protocol.md "Durability" 4.
"""

from __future__ import annotations

import attrs

from channels.protocol.signing import Signature
from channels.protocol.terms import RiskParams
from channels.protocol.types import Portfolio

__all__ = ["Recover", "RecoverAccept", "RecoverOffer", "RecoverRequest"]


@attrs.frozen(kw_only=True)
class RecoverRequest:
    """Our data may be old: show us the newest state. ``wants_risk``: the margin parameters too."""

    channel_id: bytes
    wants_risk: bool


@attrs.frozen(kw_only=True)
class RecoverOffer:
    """The state that is F for us, whole, with both signatures where there are any.

    ``mine`` is the sender's signature, ``yours`` the recipient's own. ``seen`` is the highest nonce
    the sender knows either side to have signed; ``risk`` is empty unless it was asked for.
    """

    channel_id: bytes
    nonce: int
    valid_until: int
    portfolio: Portfolio
    mine: Signature | None
    yours: Signature | None
    seen: int
    risk: tuple[RiskParams, ...]


@attrs.frozen(kw_only=True)
class Recover:
    """F's portfolio again, boxed and far above all else, with the first signature."""

    channel_id: bytes
    nonce: int
    valid_until: int
    portfolio_hash: bytes
    signature: Signature


@attrs.frozen(kw_only=True)
class RecoverAccept:
    """The second signature on a recovery state."""

    channel_id: bytes
    nonce: int
    signature: Signature
