"""From the chain's heads to what each channel sees: its storage at the head and at finality.

The machine is level-triggered: it is shown the channel's storage, not a history of events, so that
a reorganisation needs no undoing. Storage is read again only where an event, a rewind or a running
window may have changed it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final, Protocol

import trio

from channels.dispute.ports import UpdateLike
from channels.errors import ChannelsError, EndpointError
from channels.protocol.calls import Call
from channels.protocol.channel import Phase
from channels.protocol.events import ChainSeen
from channels.protocol.facts import ChannelView, Head, OnChainPhase
from channels.protocol.terms import Domain

__all__ = ["READS_AT_ONCE", "READ_PATIENCE", "Chain", "watch_chain"]

READS_AT_ONCE: Final = 16
"""Channels whose storage is read at the same time."""

READ_PATIENCE: Final = 10.0
"""Seconds that an endpoint may take to show one channel's storage."""

_ENDED: Final = frozenset({Phase.ABANDONED})

Tell = Callable[[bytes, ChainSeen], Awaitable[None]]


class Chain(Protocol):
    """What a peer needs of a chain; `channels.chain.EthereumChain` is one."""

    @property
    def domain(self) -> Domain:
        """The Adjudicator and its chain."""

    @property
    def head(self) -> Head:
        """The newest block known, and the newest final one."""

    @property
    def trouble(self) -> ChannelsError | None:
        """What is wrong with the endpoint right now; None if nothing is."""

    def updates(self) -> AsyncIterator[UpdateLike]:
        """Every block from now on with the contract's events, rewinds included."""

    async def view(self, channel_id: bytes, block: int) -> ChannelView:
        """A channel's storage at a block."""

    async def submit(self, call: Call, *, key: bytes) -> None:
        """See a call through to finality; asking twice with one key is asking once."""


class _ViewHistory:
    """What one channel's storage was, from the newest final block on: (block number, view)."""

    def __init__(self) -> None:
        self._views: list[tuple[int, ChannelView]] = []
        self.stale = True

    def rewind(self, number: int) -> None:
        """Forget what blocks above ``number`` showed."""
        self._views = [each for each in self._views if each[0] <= number]
        self.stale = True

    async def read(self, chain: Chain, channel_id: bytes, head: Head) -> None:
        """Read the storage at ``head``, and first of all at finality."""
        if not self._views:
            final = await chain.view(channel_id, head.final_number)
            self._views.append((head.final_number, final))
        view = await chain.view(channel_id, head.number)
        if view != self._views[-1][1]:
            self._views.append((head.number, view))
        self.stale = view.phase is OnChainPhase.DISPUTED

    def at(self, head: Head) -> tuple[ChannelView, ChannelView]:
        """The views at the head and at finality."""
        while len(self._views) > 1 and self._views[1][0] <= head.final_number:
            del self._views[0]
        return self._views[-1][1], self._views[0][1]


class _Watcher:
    """One channel's place in line: takes every head, tells the newest once its storage is read."""

    def __init__(
        self, chain: Chain, channel_id: bytes, tell: Tell, at_once: trio.CapacityLimiter
    ) -> None:
        self._chain = chain
        self._channel_id = channel_id
        self._tell = tell
        self._at_once = at_once
        self._history = _ViewHistory()
        self._waiting: list[UpdateLike] = []
        self._working = False

    def take(self, update: UpdateLike, nursery: trio.Nursery) -> None:
        """Put a head in line."""
        self._waiting.append(update)
        if not self._working:
            self._working = True
            nursery.start_soon(self._work)

    async def _work(self) -> None:
        while self._waiting:
            updates, self._waiting = self._waiting, []
            await self._show(updates)
        self._working = False

    async def _show(self, updates: list[UpdateLike]) -> None:
        history, head = self._history, updates[-1].head
        for update in updates:
            if update.rewound_to is not None:
                history.rewind(update.rewound_to)
            if any(getattr(each, "channel_id", None) == self._channel_id for each in update.events):
                history.stale = True
        if history.stale and not await self._read(head):
            return
        view, final_view = history.at(head)
        seen = ChainSeen(head=head, view=view, final_view=final_view)
        await self._tell(self._channel_id, seen)

    async def _read(self, head: Head) -> bool:
        """Read the storage; False if the endpoint fails, or does not answer in time."""
        try:
            async with self._at_once:
                with trio.fail_after(READ_PATIENCE):
                    await self._history.read(self._chain, self._channel_id, head)
        except (EndpointError, trio.TooSlowError):
            self._history.stale = True
            return False
        return True


async def watch_chain(
    chain: Chain,
    watched: Callable[[], Mapping[bytes, Phase]],
    tell: Tell,
    nursery: trio.Nursery,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Tell every watched channel of every head, each in a task of ``nursery``, until cancelled.

    Started once the first head was told. An endpoint that fails or hangs costs a channel nothing
    but time, and the others not even that: what could not be read is read at the next head. Heads
    that come while a channel is busy are taken together.
    """
    watchers: dict[bytes, _Watcher] = {}
    at_once = trio.CapacityLimiter(READS_AT_ONCE)
    started = False
    async for update in chain.updates():
        async with trio.open_nursery() as first:
            for channel_id, phase in watched().items():
                if phase in _ENDED:
                    continue
                watcher = watchers.get(channel_id)
                if watcher is None:
                    watcher = _Watcher(chain, channel_id, tell, at_once)
                    watchers[channel_id] = watcher
                watcher.take(update, nursery if started else first)
        if not started:
            task_status.started()
            started = True
