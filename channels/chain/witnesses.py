"""Asking every endpoint what a single one could hide: a channel's storage, the dispute counter.

The leader's answer stands, unless another endpoint shows a dispute that the leader does not, or one
on an older state: whoever shows one is believed enough to act on. That is safe, because what
follows is simulated before it is sent, and because a newer state on chain harms nobody honest. That
the window is over takes most of them to say: who believed it of one would not answer any more.

Source: design, watchtower.md "Engine".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from channels.chain.endpoints import EndpointPool
from channels.chain.readers import AdjudicatorReader
from channels.errors import ChainError, EndpointError
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChannelView, OnChainPhase

__all__ = ["Witnesses"]

T = TypeVar("T")


class Witnesses:
    """The Adjudicator at ``address`` as all endpoints of a pool tell of it."""

    def __init__(self, pool: EndpointPool, address: Address, patience: float = 2.0) -> None:
        self._pool = pool
        self._address = address
        self._patience = patience

    async def view_at(self, channel_id: bytes, block_hash: bytes, timestamp: int) -> ChannelView:
        """A channel's storage, the one that asks the most of us where there are several."""
        views = await self._ask(lambda each: each.view_at(channel_id, block_hash, timestamp))
        if any(each != views[0] for each in views):
            self._pool.disagree(f"channel 0x{channel_id.hex()}")
        return _most_urgent(views)

    async def dispute_count(self, block_hash: bytes) -> int:
        """Disputes ever filed: the highest count that any of them tells."""
        counts = await self._ask(lambda each: each.dispute_count(block_hash))
        if len(set(counts)) > 1:
            self._pool.disagree("the number of disputes")
        return max(counts)

    async def _ask(self, question: Callable[[AdjudicatorReader], Awaitable[T]]) -> list[T]:
        """Answers in the order of the sources, the leader's first; those that fail are left out.

        Raises:
            ChainError: all of them failed.
        """
        sources = self._pool.sources
        answers: dict[int, T] = {}
        failures: list[ChainError] = []

        async def ask(number: int) -> None:
            try:
                with trio.fail_after(self._patience):
                    reader = AdjudicatorReader(sources[number], self._address)
                    answers[number] = await question(reader)
            except trio.TooSlowError:
                failures.append(EndpointError("an endpoint did not answer in time"))
            except ChainError as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for number in range(len(sources)):
                nursery.start_soon(ask, number)
        if not answers:
            raise failures[0] if failures else EndpointError("no endpoint is to be believed")
        return [answers[number] for number in sorted(answers)]


def _most_urgent(views: list[ChannelView]) -> ChannelView:
    disputed = [each for each in views if each.phase is OnChainPhase.DISPUTED]
    if not disputed:
        return views[0]
    oldest = min(disputed, key=lambda each: each.nonce)
    over = [each for each in views if each.phase in (OnChainPhase.RUN_OFF, OnChainPhase.CLOSED)]
    return over[0] if 2 * len(over) > len(views) else oldest
