"""What the machine and the monitor ask the chain to do: contract calls as values.

The chain package turns each into calldata and sees it through to finality. ``permanent`` states can
be sent at any time; a boxed one is worthless once its box has passed.

Source: design, adjudication.md "Calls".
"""

from __future__ import annotations

import attrs

from channels.protocol.eip712 import Address
from channels.protocol.signing import Signature
from channels.protocol.terms import Opening, Terms
from channels.protocol.types import Closing, Party, Portfolio, State

__all__ = [
    "Call",
    "Checkpoint",
    "Claim",
    "Close",
    "CoSigned",
    "Deposit",
    "Dispute",
    "Open",
    "Settle",
]


@attrs.frozen(kw_only=True)
class CoSigned:
    """A state with both signatures: what the contract accepts."""

    state: State
    signature_a: Signature
    signature_b: Signature


@attrs.frozen(kw_only=True)
class Open:
    """Lock both deposits. Signatures are the parties' own, 65 bytes or an ERC-1271 wallet's."""

    opening: Opening
    signature_a: bytes
    signature_b: bytes


@attrs.frozen(kw_only=True)
class Deposit:
    """Top up ``party`` by ``amount`` base units."""

    terms: Terms
    party: Party
    amount: int


@attrs.frozen(kw_only=True)
class Checkpoint:
    """Record a newer state without a dispute, or within one."""

    terms: Terms
    newest: CoSigned


@attrs.frozen(kw_only=True)
class Dispute:
    """Start the window, with the newest state we hold, or on what is recorded."""

    terms: Terms
    newest: CoSigned | None


@attrs.frozen(kw_only=True)
class Close:
    """End the channel by both signers' Closing."""

    terms: Terms
    closing: Closing
    signature_a: Signature
    signature_b: Signature


@attrs.frozen(kw_only=True)
class Settle:
    """Settle what has expired of the recorded ``portfolio``, and pay out when nothing is left."""

    terms: Terms
    portfolio: Portfolio


@attrs.frozen(kw_only=True)
class Claim:
    """Collect a payout whose push failed, to ``recipient``."""

    token: Address
    recipient: Address


Call = Open | Deposit | Checkpoint | Dispute | Close | Settle | Claim
