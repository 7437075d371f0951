"""What the traders' peers tell while a replay runs: counted, and a reason to look again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf

import attrs
import trio

from channels.errors import ChannelsError, MarginError, SigningRefusedError
from channels.peer import Peer, PeerEvent
from channels.peer.desk_news import LimitReached, ProtectionTripped
from channels.protocol.changes import Remark, Settlement
from channels.protocol.effects import (
    ChangeConfirmed,
    ChangeRejected,
    DisputeSeen,
    MarginCallCured,
    MarginCallReceived,
    ModeChanged,
    OwnMarginShort,
)
from channels.protocol.halts import Mode
from channels.protocol.messages import Reason

__all__ = ["Tally", "Watch"]


@attrs.define
class Tally:
    """What happened to one trader. ``called``: margin calls on it; ``cured``: of those, met ones.

    ``unquoted``: its requests that nobody answered with a price it could take; ``limited`` and
    ``unmargined``: its quotes that a limit of its desk stopped, or a deposit did not cover;
    ``tripped``: how often its protection stopped all. ``short_use`` is the most of its equity that
    initial margin took when it was short, until somebody clears it.
    """

    called: int = 0
    cured: int = 0
    disputes: int = 0
    halts: int = 0
    remarks: int = 0
    settlements: int = 0
    unquoted: int = 0
    limited: int = 0
    unmargined: int = 0
    tripped: int = 0
    short_use: float = 0.0
    errors: list[str] = attrs.Factory(list)


class Watch:
    """Follows every peer; `wait_until` looks again whenever one tells something."""

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}
        self.refused: set[bytes] = set()
        """Channels in which a settlement price was refused, until somebody clears it."""
        self._news = trio.Event()

    @property
    def calls(self) -> int:
        """Margin calls so far, of all traders."""
        return sum(each.called for each in self.tallies.values())

    def follow(self, name: str) -> Callable[..., Awaitable[None]]:
        """Return the task that follows the peer of this trader; start it in a nursery."""
        tally = self.tallies.setdefault(name, Tally())

        async def run(
            peer: Peer, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
        ) -> None:
            async with peer.events() as events:
                task_status.started()
                async for event in events:
                    _count(tally, peer, event)
                    match event.notice:
                        case ChangeRejected(reason=Reason.PRICE):
                            self.refused.add(event.channel_id)
                    self._news.set()
                    self._news = trio.Event()

        return run

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return once it holds."""
        while True:
            news = self._news
            if condition():
                return
            await news.wait()


def _count(tally: Tally, peer: Peer, event: PeerEvent) -> None:
    match event.notice:
        case MarginCallReceived():
            tally.called += 1
        case MarginCallCured(called=called) if called is peer.channel(event.channel_id).side:
            tally.cured += 1
        case OwnMarginShort(equity=equity, amount=amount):
            use = (equity + amount) / equity if equity > 0 else inf
            tally.short_use = max(tally.short_use, use)
        case DisputeSeen():
            tally.disputes += 1
        case ModeChanged(mode=mode) if mode is not Mode.NORMAL:
            tally.halts += 1
        case ChangeConfirmed(change=Remark()):
            tally.remarks += 1
        case ChangeConfirmed(change=Settlement()):
            tally.settlements += 1
        case LimitReached():
            tally.limited += 1
        case ProtectionTripped():
            tally.tripped += 1
        case MarginError():
            tally.unmargined += 1
        case SigningRefusedError():
            pass  # declined in a leap of time, when one head is older than the other: asked again
        case ChannelsError() as error if any(event.channel_id):
            tally.errors.append(str(error))
