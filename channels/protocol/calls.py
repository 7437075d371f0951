"""What the machine and the monitor ask the chain to do: contract calls as values.

The chain package turns each into calldata and sees it through to finality. ``permanent`` states can
be sent at any time; a boxed one is worthless once its box has passed. Amounts are collateral base
units. Who may send a call stands in its docstring where it is not anyone.

Source: design, adjudication.md "Calls".
"""

from __future__ import annotations

from itertools import pairwise

import attrs

from channels.protocol.bounds import require, unsigned
from channels.protocol.eip712 import Address
from channels.protocol.scenarios import ScenarioIndex
from channels.protocol.signing import Signature
from channels.protocol.terms import (
    DisputeAuthorisation,
    Opening,
    RiskParams,
    Terms,
    hash_risk_params,
)
from channels.protocol.types import Closing, Party, Portfolio, SealedState, State, Withdrawal

__all__ = [
    "Abandon",
    "Call",
    "CallMargin",
    "Checkpoint",
    "CheckpointMany",
    "Claim",
    "Close",
    "CloseOut",
    "CoSigned",
    "CoSignedHash",
    "Deposit",
    "Dispute",
    "DisputeFor",
    "Open",
    "OpenWithPermit",
    "Permit",
    "Release",
    "Settle",
    "Withdraw",
]


@attrs.frozen(kw_only=True)
class CoSigned:
    """A state with both signatures: what the contract accepts."""

    state: State
    signature_a: Signature
    signature_b: Signature


@attrs.frozen(kw_only=True)
class CoSignedHash:
    """A state with both signatures, its portfolio known by hash alone: `Checkpoint` takes it."""

    state: SealedState
    signature_a: Signature
    signature_b: Signature


@attrs.frozen(kw_only=True)
class Open:
    """Lock both deposits. Signatures are the parties' own, 65 bytes or an ERC-1271 wallet's."""

    opening: Opening
    signature_a: bytes
    signature_b: bytes


@attrs.frozen(kw_only=True)
class Permit:
    """A party's ERC-2612 permit for the Adjudicator to take ``value``, until ``deadline``.

    `channels.chain.permits.sign_permit` makes one. The token has to know ERC-2612.
    """

    value: int
    deadline: int
    signature: Signature

    def __attrs_post_init__(self) -> None:
        unsigned(256, value=self.value, deadline=self.deadline)
        require(self.deadline > 0, "a permit's deadline is not 0, which stands for none", 0)


@attrs.frozen(kw_only=True)
class OpenWithPermit:
    """`Open`, with permits in place of approvals made beforehand, of either party or of both.

    A permit that fails is ignored: what decides is whether the deposits can be pulled.
    """

    opening: Opening
    signature_a: bytes
    signature_b: bytes
    permit_a: Permit | None = None
    permit_b: Permit | None = None


@attrs.frozen(kw_only=True)
class Deposit:
    """Top up ``party`` by ``amount`` base units, from the sender's tokens."""

    terms: Terms
    party: Party
    amount: int

    def __attrs_post_init__(self) -> None:
        unsigned(128, amount=self.amount)


@attrs.frozen(kw_only=True)
class Checkpoint:
    """Record a newer state without a dispute, or within one; its portfolio is not shown."""

    terms: Terms
    newest: CoSigned | CoSignedHash


@attrs.frozen(kw_only=True)
class CheckpointMany:
    """Record newer states, of one channel or of several, in one transaction.

    What is not newer, out of its box or badly signed is skipped and keeps no other from being
    recorded, so success says nothing of any one of them: the chain's `Checkpointed` events and
    views do. States of one channel stand oldest first, or only the newest counts.
    """

    checkpoints: tuple[Checkpoint, ...]

    def __attrs_post_init__(self) -> None:
        require(len(self.checkpoints) > 0, "at least one checkpoint", self.checkpoints)


@attrs.frozen(kw_only=True)
class Withdraw:
    """Record a Withdrawal's state and pay its two amounts; only while the channel is open."""

    terms: Terms
    withdrawal: Withdrawal
    signature_a: Signature
    signature_b: Signature


@attrs.frozen(kw_only=True)
class Dispute:
    """Start the window, with the newest state we hold, or on what is recorded.

    For a party or a signer.
    """

    terms: Terms
    newest: CoSigned | None


@attrs.frozen(kw_only=True)
class DisputeFor:
    """`Dispute` in the name of the signer of ``authorisation``, whose ``signature`` is on it.

    For the delegate it names. **May lose funds** of that signer: it owes any stale penalty.
    """

    terms: Terms
    newest: CoSigned | None
    authorisation: DisputeAuthorisation
    signature: Signature


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


def _require_agreed(terms: Terms, risk: tuple[RiskParams, ...]) -> None:
    ordered = all(before.feed < after.feed for before, after in pairwise(risk))
    require(ordered, "margin parameters in the order of their feeds", risk)
    given = hash_risk_params(risk)
    require(given == terms.risk_hash, "the margin parameters of the terms' risk_hash", risk)


@attrs.frozen(kw_only=True)
class _MarginDecision:
    """What a margin call and its close-out rest on.

    ``risk`` are the parameters of the terms, sorted by feed; ``portfolio`` the recorded one,
    complete. ``scenarios`` stand for the feeds with open positions, in their order, and show part
    of the margin (`channels.protocol.scenarios.worst_scenarios`); none: all of it, for more gas.
    """

    terms: Terms
    risk: tuple[RiskParams, ...]
    portfolio: Portfolio
    party: Party
    scenarios: tuple[ScenarioIndex, ...] = ()

    def __attrs_post_init__(self) -> None:
        _require_agreed(self.terms, self.risk)


@attrs.frozen(kw_only=True)
class CallMargin(_MarginDecision):
    """Show that ``party`` is short at the oracle's spot, and give it until the cure's end."""


@attrs.frozen(kw_only=True)
class CloseOut(_MarginDecision):
    """End the channel, as the called ``party`` is still short at the price of its cure's end."""


@attrs.frozen(kw_only=True)
class Release:
    """In run-off, have our cash above the run-off lock paid. For a party, for itself, once."""

    terms: Terms
    risk: tuple[RiskParams, ...]
    portfolio: Portfolio

    def __attrs_post_init__(self) -> None:
        _require_agreed(self.terms, self.risk)


@attrs.frozen(kw_only=True)
class Abandon:
    """End a channel whose portfolio nobody has shown, half a year after the last settlement."""

    terms: Terms


@attrs.frozen(kw_only=True)
class Claim:
    """Collect a payout of the sender's whose push failed, to ``recipient``."""

    token: Address
    recipient: Address


Call = (
    Open
    | OpenWithPermit
    | Deposit
    | Checkpoint
    | CheckpointMany
    | Withdraw
    | Dispute
    | DisputeFor
    | Close
    | Settle
    | CallMargin
    | CloseOut
    | Release
    | Abandon
    | Claim
)
