"""What the chain says, as values: heads, a channel's storage, and its events.

The chain package produces these; the machine and the dispute monitor consume them. Nothing here
reads a chain.
"""

from __future__ import annotations

from enum import IntEnum

import attrs

from channels.protocol.eip712 import Address
from channels.protocol.types import Party, Portfolio

__all__ = [
    "ChainEvent",
    "ChannelClosed",
    "ChannelOpened",
    "ChannelView",
    "Checkpointed",
    "Deposited",
    "DisputeStarted",
    "Head",
    "OnChainPhase",
    "PayoutDeferred",
    "PositionsSettled",
]


class OnChainPhase(IntEnum):
    """Phase of a channel in the contract, by its stored number."""

    NONE = 0
    OPEN = 1
    DISPUTED = 2
    RUN_OFF = 3
    CLOSED = 4


@attrs.frozen(kw_only=True)
class Head:
    """The newest block, and the newest one that is final, as one endpoint shows them."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    final_number: int
    final_timestamp: int


@attrs.frozen(kw_only=True)
class ChannelView:
    """A channel's storage at one block.

    ``phase`` is the phase at that block's timestamp: RUN_OFF from the deadline on, whatever is
    stored. Contributions are deposits less payments, in base units, and may be negative.
    """

    phase: OnChainPhase
    nonce: int = 0
    filed_nonce: int = 0
    filer: Party | None = None
    deadline: int = 0
    cure_end_a: int = 0
    cure_end_b: int = 0
    portfolio_hash: bytes = bytes(32)
    contribution_a: int = 0
    contribution_b: int = 0

    @property
    def pot(self) -> int:
        """All the collateral the channel holds, base units."""
        return self.contribution_a + self.contribution_b

    def contribution(self, side: Party) -> int:
        """Deposits less payments of ``side``, base units."""
        return self.contribution_a if side is Party.A else self.contribution_b

    def cash(self, side: Party, net_to_b: int) -> int:
        """What ``side`` would be paid of the pot under ``net_to_b``: clamped, base units."""
        cash_a = min(max(self.contribution_a - net_to_b, 0), self.pot)
        return cash_a if side is Party.A else self.pot - cash_a


@attrs.frozen(kw_only=True)
class _Event:
    """Where an event stands on the chain, and whose it is."""

    channel_id: bytes
    block_number: int
    block_hash: bytes
    transaction_hash: bytes
    log_index: int


@attrs.frozen(kw_only=True)
class ChannelOpened(_Event):
    """Both deposits arrived."""

    signer_a: Address
    signer_b: Address
    deposit_a: int
    deposit_b: int


@attrs.frozen(kw_only=True)
class Deposited(_Event):
    """A top-up arrived for ``party``."""

    party: Party
    amount: int


@attrs.frozen(kw_only=True)
class Checkpointed(_Event):
    """A newer state was recorded."""

    nonce: int
    portfolio_hash: bytes


@attrs.frozen(kw_only=True)
class DisputeStarted(_Event):
    """A window started. ``count`` is the global dispute counter after this one."""

    filer: Party
    nonce: int
    deadline: int
    count: int
    portfolio: Portfolio | None


@attrs.frozen(kw_only=True)
class PositionsSettled(_Event):
    """Expired positions were settled; ``portfolio`` is what remains."""

    portfolio: Portfolio


@attrs.frozen(kw_only=True)
class ChannelClosed(_Event):
    """The channel ended and paid these amounts, pushed or deferred."""

    paid_a: int
    paid_b: int


@attrs.frozen(kw_only=True)
class PayoutDeferred:
    """A push payment failed; ``payee`` can claim ``amount`` of ``token``."""

    token: Address
    payee: Address
    amount: int
    block_number: int
    block_hash: bytes
    transaction_hash: bytes
    log_index: int


ChainEvent = (
    ChannelOpened
    | Deposited
    | Checkpointed
    | DisputeStarted
    | PositionsSettled
    | ChannelClosed
    | PayoutDeferred
)
