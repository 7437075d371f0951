"""A chain on which nothing happens but slots: every channel is open with the same deposits.

Benchmarks of what happens off chain need heads, and nothing else, of a chain.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from channels.chain.heads import ChainUpdate
from channels.protocol.calls import Call
from channels.protocol.eip712 import address
from channels.protocol.facts import ChannelView, Head, OnChainPhase
from channels.protocol.terms import Domain

__all__ = ["DEPOSIT", "StillChain"]

DEPOSIT = 10**12
_GENESIS = 1_800_000_000
_QUICK = 40
"""Heads of the first four seconds."""


class StillChain:
    """Heads ten times a second while channels open, then every second.

    Time stands still, so that no box passes.
    """

    domain = Domain(chain_id=31_337, adjudicator=address(b"\x0c" * 20))

    def __init__(self) -> None:
        self._number = 1

    @property
    def head(self) -> Head:
        """The newest head: always final."""
        return Head(
            number=self._number,
            hash=self._number.to_bytes(32, "big"),
            parent_hash=(self._number - 1).to_bytes(32, "big"),
            timestamp=_GENESIS,
            final_number=self._number,
            final_timestamp=_GENESIS,
        )

    @property
    def trouble(self) -> None:
        """Nothing is ever wrong here."""

    async def updates(self) -> AsyncIterator[ChainUpdate]:
        """A new head, again and again."""
        while True:
            yield ChainUpdate(head=self.head)
            await trio.sleep(0.1 if self._number < _QUICK else 1.0)
            self._number += 1

    async def view(self, channel_id: bytes, block: int) -> ChannelView:
        """Open, with both deposits."""
        del channel_id, block
        return ChannelView(phase=OnChainPhase.OPEN, contribution_a=DEPOSIT, contribution_b=DEPOSIT)

    async def submit(self, call: Call, *, key: bytes) -> None:
        """Nothing is ever mined here."""
        del call, key
