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
    "ClosedOut",
    "Deposited",
    "DisputeStarted",
    "Head",
    "MarginCalled",
    "OnChainPhase",
    "PayoutClaimed",
    "PayoutDeferred",
    "PositionsSettled",
    "Released",
    "Withdrawn",
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
    stored. Contributions are deposits less payments, in base units, and may be negative. A cure end
    of 0: that party was never called for margin. ``settled``: `settle` ran, so somebody has shown
    the portfolio. ``released_*``: that party has had its release. All but the phase is 0 once the
    channel is closed.
    """

    phase: OnChainPhase
    nonce: int = 0
    filed_nonce: int = 0
    filer: Party | None = None
    deadline: int = 0
    cure_end_a: int = 0
    cure_end_b: int = 0
    settled: bool = False
    released_a: bool = False
    released_b: bool = False
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

    def cure_end(self, side: Party) -> int:
        """When the cure of the last margin call on ``side`` ends; 0 if it was never called."""
        return self.cure_end_a if side is Party.A else self.cure_end_b

    def released(self, side: Party) -> bool:
        """Whether ``side`` has had its release."""
        return self.released_a if side is Party.A else self.released_b

    def cash(self, side: Party, net_to_b: int) -> int:
        """What ``side`` would be paid of the pot under ``net_to_b``: clamped, base units."""
        cash_a = min(max(self.contribution_a - net_to_b, 0), self.pot)
        return cash_a if side is Party.A else self.pot - cash_a


@attrs.frozen(kw_only=True)
class _Logged:
    """Where an event stands on the chain."""

    block_number: int
    block_hash: bytes
    transaction_hash: bytes
    log_index: int


@attrs.frozen(kw_only=True)
class _Event(_Logged):
    """An event of one channel."""

    channel_id: bytes


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
    """A newer state was recorded: by a checkpoint, a withdrawal, or a dispute in its window.

    ``portfolio`` is None where the transaction carries only its hash, as a checkpoint does.
    """

    nonce: int
    portfolio_hash: bytes
    portfolio: Portfolio | None = None


@attrs.frozen(kw_only=True)
class Withdrawn(_Event):
    """A withdrawal paid these amounts, pushed or deferred; `Checkpointed` came just before."""

    paid_a: int
    paid_b: int


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
class MarginCalled(_Event):
    """``party`` was short, and has until ``cure_end``; figures at the oracle's spot of that block.

    ``equity`` is its cash, unclamped, and the value of its open positions; ``maintenance`` what the
    caller has shown of its maintenance margin.
    """

    party: Party
    cure_end: int
    equity: int
    maintenance: int


@attrs.frozen(kw_only=True)
class ClosedOut(_Event):
    """The called ``party`` was still short and every open position is ended; `ChannelClosed` next.

    A receives (+) or owes (-) ``value`` for them, before any clamp; ``party`` pays ``penalty``.
    """

    party: Party
    value: int
    penalty: int


@attrs.frozen(kw_only=True)
class Released(_Event):
    """``party`` was paid ``amount`` of its cash in run-off, pushed or deferred."""

    party: Party
    amount: int


@attrs.frozen(kw_only=True)
class ChannelClosed(_Event):
    """The channel ended and paid these amounts, pushed or deferred."""

    paid_a: int
    paid_b: int


@attrs.frozen(kw_only=True)
class PayoutDeferred(_Logged):
    """A push payment failed; ``payee`` can claim ``amount`` of ``token``. Of no channel."""

    token: Address
    payee: Address
    amount: int


@attrs.frozen(kw_only=True)
class PayoutClaimed(_Logged):
    """``payee`` collected ``amount`` of ``token``, sent to ``recipient``. Of no channel."""

    token: Address
    payee: Address
    recipient: Address
    amount: int


ChainEvent = (
    ChannelOpened
    | Deposited
    | Checkpointed
    | Withdrawn
    | DisputeStarted
    | PositionsSettled
    | MarginCalled
    | ClosedOut
    | Released
    | ChannelClosed
    | PayoutDeferred
    | PayoutClaimed
)
