"""What a tower needs of a chain beyond what its monitor does; `channels.tower.chain` is such."""

from __future__ import annotations

from typing import Protocol

from channels.dispute.ports import ChainPort
from channels.protocol.calls import Checkpoint
from channels.protocol.facts import ChainEvent

__all__ = ["TowerChain"]


class TowerChain(ChainPort, Protocol):
    """A chain and its Adjudicator, for one gas account."""

    async def block_hash(self, number: int) -> bytes:
        """Hash of a block of the present chain."""

    async def events_between(self, first: int, last: int) -> tuple[ChainEvent, ...]:
        """The contract's events in these blocks, both included, oldest first."""

    async def would_record(self, call: Checkpoint) -> bool:
        """Whether the contract would record this state now, as of the head."""

    async def gas_balance(self) -> int:
        """What the gas account has, wei."""

    def set_budget(self, channel_id: bytes, wei: int) -> None:
        """The most to pay for one transaction of a channel from now on."""
