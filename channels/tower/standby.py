"""The defence by a process that does not hold the lease: it writes down, and lets the holder act.

It follows the chain like the holder, takes appointments and answers questions. A dispute that it
sees, or an appointment of a channel that may be disputed, goes into the database, where the holder
finds it at its next head. When the lease is out, the process takes it and becomes the holder.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Set
from typing import Final

import trio

from channels.errors import ChainError, StorageError
from channels.protocol.facts import ChannelView, Head, OnChainPhase
from channels.tower.book import Book
from channels.tower.kept import Kept
from channels.tower.lookout import Concern
from channels.tower.ports import TowerChain
from channels.tower.writes import Progress, Release

__all__ = ["Standby"]

_MOST_READ: Final = 64
"""Disputed channels read for who looks at this process; the holder reads all of them."""


class Standby:
    """``held`` tells whether some process holds the lease."""

    role: Final = "standby"
    monitor: Final = None
    degraded: Final = False
    undefended: Final = 0

    def __init__(
        self, chain: TowerChain, book: Book, *, held: Callable[[], Awaitable[bool]]
    ) -> None:
        self.sure = False
        self.disputes: dict[bytes, ChannelView] = {}
        self._chain = chain
        self._book = book
        self._held = held

    async def start(self) -> None:
        """Nothing is taken up here."""
        await trio.lowlevel.checkpoint()

    async def ready(self) -> None:
        """At once."""
        await trio.lowlevel.checkpoint()

    async def see_to(self, concern: Concern) -> None:  # noqa: ARG002  # it is in the book already
        """The holder finds it in the book."""
        await trio.lowlevel.checkpoint()

    async def take(self, kept: Kept, *, urgent: bool) -> None:
        """Write down that the holder has to see to it, before its receipt."""
        if urgent:
            block = self._chain.head.number
            await self._book.write(Progress(concerned=(kept.channel_id,), block=block))

    async def forget(self, channel_id: bytes) -> None:
        """The holder is not to take it up again; what it has under way it ends."""
        await self._book.write(Release(channel_id))

    async def at_head(self, head: Head, lately: Set[bytes]) -> None:  # noqa: ARG002  # the holder's
        """See whether the lease is held, and how the disputes stand."""
        try:
            self.sure = await self._held()
            listed = await self._book.ask(lambda book: book.disputes()[:_MOST_READ])
            views = [(each, await self._chain.view(each, head.hash)) for each, _ in listed]
        except (ChainError, StorageError):
            return  # asked again at the next head
        self.disputes = {each: view for each, view in views if view.phase is OnChainPhase.DISPUTED}
