"""From the chain's heads to what each channel sees: its storage at the head and at finality.

The machine is level-triggered: it is shown the channel's storage, not a history of events, so that
a reorganisation needs no undoing. Storage is read again only where an event, a rewind or a running
window may have changed it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final, Protocol

import trio

from channels.chain.heads import ChainUpdate
from channels.errors import ChannelsError, EndpointError
from channels.protocol.calls import Call
from channels.protocol.channel import Phase
from channels.protocol.events import ChainSeen
from channels.protocol.facts import ChannelView, Head, OnChainPhase
from channels.protocol.terms import Domain

__all__ = ["Chain", "watch_chain"]

_ENDED: Final = frozenset({Phase.ABANDONED})


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

    def updates(self) -> AsyncIterator[ChainUpdate]:
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


async def watch_chain(
    chain: Chain,
    watched: Callable[[], Mapping[bytes, Phase]],
    tell: Callable[[bytes, ChainSeen], Awaitable[None]],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Tell every watched channel of every head; runs until cancelled.

    Started once the first head was told. An endpoint that fails costs nothing but time: what could
    not be read is read at the next head.
    """
    histories: dict[bytes, _ViewHistory] = {}
    started = False
    async for update in chain.updates():
        for channel_id, phase in watched().items():
            if phase in _ENDED:
                continue
            history = histories.setdefault(channel_id, _ViewHistory())
            if update.rewound_to is not None:
                history.rewind(update.rewound_to)
            if any(getattr(each, "channel_id", None) == channel_id for each in update.events):
                history.stale = True
            try:
                if history.stale:
                    await history.read(chain, channel_id, update.head)
            except EndpointError:
                history.stale = True
                await trio.lowlevel.checkpoint()
                continue
            view, final_view = history.at(update.head)
            await tell(channel_id, ChainSeen(head=update.head, view=view, final_view=final_view))
        if not started:
            task_status.started()
            started = True
