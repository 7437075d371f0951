"""What a tower does about channels that need something done: acts, or lets another process act.

`channels.tower.holder` acts: a tower alone, or the one of several processes that holds the lease.
`channels.tower.standby` is what the others do meanwhile.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol

from channels.dispute import Monitor
from channels.protocol.facts import ChannelView, Head
from channels.tower.kept import Kept
from channels.tower.lookout import Concern

__all__ = ["Defence"]


class Defence(Protocol):
    """One of the two. ``role`` says which, in a word.

    ``monitor`` is what defends here; None if another process does.
    """

    @property
    def role(self) -> str:
        """What status pages call it."""

    @property
    def monitor(self) -> Monitor | None:
        """What defends here."""

    @property
    def degraded(self) -> bool:
        """Whether a dispute may have been missed here."""

    @property
    def sure(self) -> bool:
        """Whether every disputed channel is defended, as far as can be known here."""

    @property
    def undefended(self) -> int:
        """Disputed channels that nobody sees to yet."""

    @property
    def disputes(self) -> dict[bytes, ChannelView]:
        """Watched channels that are in their window, as last read."""

    async def start(self) -> None:
        """Take up what an earlier run knew to be disputed."""

    async def ready(self) -> None:
        """Wait until everything has been read that was watched at the start."""

    async def see_to(self, concern: Concern) -> None:
        """A block told of a dispute; the book has it already."""

    async def take(self, kept: Kept, *, urgent: bool) -> None:
        """An appointment is durable, and its receipt comes next. ``urgent``: it may be disputed."""

    async def at_head(self, head: Head, lately: Set[bytes]) -> None:
        """A new head. ``lately``: what the newest blocks told disputes of, watched or not."""

    async def forget(self, channel_id: bytes) -> None:
        """No customer is left of a channel. Raises `StorageError`."""
