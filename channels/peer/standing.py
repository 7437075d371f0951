"""What stands in a channel, and waiting for it to change: the part of a handle that only looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from channels.desk.exposure import Exposure, exposures
from channels.errors import PeerTimeoutError, RejectedError
from channels.peer.waiting import Outcomes
from channels.protocol.channel import Channel, Phase
from channels.protocol.terms import Terms
from channels.protocol.types import Party, Portfolio, feed_name

if TYPE_CHECKING:
    from channels.peer.peer import Peer
    from channels.peer.runner import Runner

__all__ = ["Standing"]


class Standing:
    """One channel of ours, open or on its way, as it is now."""

    def __init__(self, peer: Peer, runner: Runner, outcomes: Outcomes) -> None:
        self._peer = peer
        self._runner = runner
        self._outcomes = outcomes

    @property
    def state(self) -> Channel:
        """Everything the machine knows, as one frozen value."""
        return self._runner.channel

    @property
    def channel_id(self) -> bytes:
        """The channel's identifier, 32 bytes."""
        return self.state.channel_id

    @property
    def side(self) -> Party:
        """Which party we are."""
        return self.state.side

    @property
    def terms(self) -> Terms:
        """What both agreed at opening."""
        return self.state.terms

    @property
    def phase(self) -> Phase:
        """Where the channel stands."""
        return self.state.phase

    @property
    def portfolio(self) -> Portfolio:
        """The last portfolio that needs nothing more, seen from A."""
        return self.state.portfolio

    @property
    def equity(self) -> int:
        """Our cash plus positions at the portfolio's marks, base units."""
        return self.state.equity(self.side)

    @property
    def margin(self) -> int:
        """Our initial margin, base units."""
        return self.portfolio.margin(self.side)

    def greeks(self) -> dict[str, Exposure]:
        """Our delta, gamma, vega and theta by feed name, at the portfolio's marks.

        + = we gain when it rises; units as `channels.desk.exposure.Exposure` has them.
        """
        found = exposures(self.portfolio, self.side)
        return {feed_name(feed): each for feed, each in found.items()}

    async def wait_open(self, timeout: float = 600.0) -> None:
        """Wait until both deposits are final on chain, and the peer sees it too.

        Raises:
            RejectedError: the peer does not open, or the opening lapsed.
            PeerTimeoutError: neither within ``timeout`` seconds.
        """
        opening = (Phase.ASKED, Phase.GRANTED, Phase.SUBMITTED)
        await self._until(
            lambda channel: (
                channel.phase not in opening
                and (channel.peer_ready or channel.phase is not Phase.IDLE)
            ),
            timeout,
            "open",
        )
        if self.phase is Phase.ABANDONED:
            why = f": {self._outcomes.not_opened}" if self._outcomes.not_opened else ""
            raise RejectedError(f"the channel was not opened{why}", next_step="ask on other terms")

    async def wait_idle(self, timeout: float = 60.0) -> None:
        """Wait until nothing is in flight.

        Raises:
            PeerTimeoutError: something still is after ``timeout`` seconds.
        """
        await self._until(lambda channel: channel.phase is Phase.IDLE, timeout, "become idle")

    async def wait_for_head(self, timestamp: int, timeout: float = 60.0) -> None:
        """Wait until this channel has taken in a block of at least this time.

        Raises:
            PeerTimeoutError: the chain shows none within ``timeout`` seconds.
        """
        await self._until(
            lambda channel: channel.head is not None and channel.head.timestamp >= timestamp,
            timeout,
            f"see a block of {timestamp}",
        )

    async def wait_closed(self, timeout: float = 600.0) -> None:
        """Wait until the chain shows the channel closed.

        Raises:
            PeerTimeoutError: it does not within ``timeout`` seconds.
        """
        await self._until(lambda channel: channel.phase is Phase.CLOSED, timeout, "close")

    async def _until(
        self, condition: Callable[[Channel], bool], timeout: float, doing: str
    ) -> Channel:
        with trio.move_on_after(timeout):
            return await self._runner.wait_until(condition)
        raise PeerTimeoutError(
            f"waited {timeout:g} s to {doing}; the channel is {self.phase.name}",
            next_step="check that the peer and the chain are reachable",
        )
