"""Work for one channel in the background: what fails is told, and ends nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from channels.errors import BugError, ChannelsError
from channels.peer.desk_news import DeskNotice
from channels.protocol.effects import Notice

__all__ = ["NO_CHANNEL", "Tasks", "Tell"]

NO_CHANNEL = bytes(32)
"""Where an event concerns no one channel."""

Tell = Callable[[bytes, Notice | DeskNotice | ChannelsError], None]
"""Takes what happened in the channel of an id."""


class Tasks:
    """The decisions and submissions of all channels, in the peer's nursery."""

    def __init__(self, nursery: trio.Nursery, tell: Tell) -> None:
        self._nursery = nursery
        self._tell = tell

    def start(self, identity: bytes, work: Callable[[], Awaitable[object]]) -> None:
        """Begin `guarded` work, and go on."""
        self._nursery.start_soon(self.guarded, identity, work)

    async def guarded(self, identity: bytes, work: Callable[[], Awaitable[object]]) -> None:
        """A decision that fails is told, and never takes the peer down.

        Not even a bug does: the step that met it changed nothing, and a counterparty that knows how
        to cause it could else end every other channel.
        """
        try:
            await work()
        except ChannelsError as error:
            self._tell(identity, error)
        except Exception as error:
            bug = BugError(f"a decision ended in {error!r}")
            bug.__cause__ = error
            self._tell(identity, bug)
