"""The news of a peer: what happened in its channels, in order, for any number of readers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from channels.errors import ChannelsError
from channels.peer.desk_news import DeskNotice
from channels.protocol.effects import Notice

__all__ = ["News", "PeerEvent"]

EVENT_BUFFER: Final = 4_096


@attrs.frozen(kw_only=True)
class PeerEvent:
    """Something that happened in one channel.

    ``sequence`` counts up by one; a gap shows that this reader was too slow.
    """

    sequence: int
    channel_id: bytes
    notice: Notice | DeskNotice | ChannelsError


class News:
    """Numbers events and hands each to every reader; one that is too slow misses some."""

    def __init__(self) -> None:
        self._readers: set[trio.MemorySendChannel[PeerEvent]] = set()
        self._sequence = 0

    def tell(self, channel_id: bytes, notice: Notice | DeskNotice | ChannelsError) -> None:
        """Tell all readers; never blocks."""
        self._sequence += 1
        if not self._readers:
            return
        event = PeerEvent(sequence=self._sequence, channel_id=channel_id, notice=notice)
        for reader in self._readers:
            try:
                reader.send_nowait(event)
            except (trio.WouldBlock, trio.BrokenResourceError):
                continue

    @asynccontextmanager
    async def read(self) -> AsyncIterator[trio.MemoryReceiveChannel[PeerEvent]]:
        """Everything that is told from here on; up to `EVENT_BUFFER` events may wait."""
        send, receive = trio.open_memory_channel[PeerEvent](EVENT_BUFFER)
        self._readers.add(send)
        try:
            async with receive:
                yield receive
        finally:
            self._readers.discard(send)
            send.close()
