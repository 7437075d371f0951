"""Peers in one process, linked in memory on a fake chain: what a bot is tested with.

The peers are real: machine, signatures, store, sessions, monitor. What is not: sockets, the EVM and
the clock. Under an autojump clock nothing waits for longer than it computes.

>>> from channels import Leg, Put, Side
>>> from channels.testing.clocks import run
>>> async def main():
...     async with linked_peers() as pair:
...         channel = await pair.open(deposit=10_000 * UNIT)
...         put = Put(pair.feed, strike=3_000, expiry=pair.next_expiry())
...         quotes = await channel.request_quote([Leg(put, quantity=+1)], Side.BUY)
...         await quotes.best().accept()
...         await pair.move_to(put.expiry, spot=2_900)
...         await channel.close()
...         return pair.alice.balance + pair.bob.balance, pair.chain.locked
>>> run(main)
(2000000000000, 0)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Unpack

import trio

from channels.chain.tasks import open_tasks
from channels.errors import InvalidValueError
from channels.peer import CreditPolicy, FlatMarket, PeerChannel, SpreadMaker, default_terms
from channels.protocol.channel import OPEN_PHASES, Phase
from channels.protocol.messages import OpenRequest
from channels.protocol.terms import RiskParams, Terms
from channels.protocol.types import feed_id
from channels.storage import open_store
from channels.testing.clocks import quiet
from channels.testing.fake_chain import UNIT, FakeChain
from channels.testing.linked_peer import LinkedPeer, PeerOptions
from channels.transport.memory import MemoryNetwork
from channels.units import DAY

__all__ = ["LinkedPeers", "linked_peers"]

_DEPOSIT: Final = 10_000 * UNIT
_CREDIT: Final = CreditPolicy(remark_patience=400 * DAY)
"""Marks are always proposed by A: nobody is late where time stands still."""


class LinkedPeers:
    """Peers on one fake chain and one network in memory. Made by `linked_peers`.

    Attributes:
        chain: the fake chain.
        network: what links them.
        market: what everybody's marks are by who brings no market.
        feed: name of the one feed that is traded.
        risk: its margin parameters.
        peers: everybody, alice and bob first.
    """

    def __init__(
        self,
        *,
        chain: FakeChain,
        market: FlatMarket,
        feed: str,
        stores: AsyncExitStack,
        nursery: trio.Nursery,
    ) -> None:
        """Nobody is there yet: see `linked_peers`."""
        self.chain = chain
        self.network = MemoryNetwork()
        self.market = market
        self.feed = feed
        self.risk = (RiskParams(feed=feed_id(feed)),)
        self.peers: list[LinkedPeer] = []
        self._stores = stores
        self._nursery = nursery
        self._opened = 0

    @property
    def alice(self) -> LinkedPeer:
        """The first, who asks for prices."""
        return self.peers[0]

    @property
    def bob(self) -> LinkedPeer:
        """The second, who names them."""
        return self.peers[1]

    # ---- who is there

    async def join(self, name: str, **options: Unpack[PeerOptions]) -> LinkedPeer:
        """Bring one more peer on, which stays until the block ends.

        Raises:
            InvalidValueError: somebody has this name.
        """
        if any(each.name == name for each in self.peers):
            raise InvalidValueError(f"{name} is here")
        defaults: dict[str, Any] = {
            "market": self.market,
            "accept_opening": _accept,
            "settlement_price": self.market.settlement_price,
            "credit": _CREDIT,
        }
        peer = LinkedPeer(
            name,
            chain=self.chain,
            network=self.network,
            nursery=self._nursery,
            store=await self._stores.enter_async_context(open_store(":memory:")),
            options=defaults | dict(options),
        )
        self.peers.append(peer)
        await peer.start()
        return peer

    # ---- channels

    @property
    def terms(self) -> Terms:
        """Terms of a channel between alice, who is A, and bob, always the same."""
        return self.terms_of(self.alice, self.bob, deposit=_DEPOSIT, salt=bytes(32))

    def terms_of(self, a: LinkedPeer, b: LinkedPeer, *, deposit: int, salt: bytes) -> Terms:
        """Terms of a channel of which each brings ``deposit``, by which the penalty is measured."""
        return default_terms(
            party_a=a.wallet.address,
            party_b=b.wallet.address,
            signer_a=a.signer.address,
            signer_b=b.signer.address,
            collateral=self.chain.token,
            unit=UNIT,
            oracle=self.chain.oracle,
            risk=self.risk,
            stale_penalty=deposit // 20,
            salt=salt,
        )

    async def open(
        self,
        a: LinkedPeer | None = None,
        b: LinkedPeer | None = None,
        *,
        deposit: int = _DEPOSIT,
    ) -> PeerChannel:
        """Open one more channel between two, by default alice and bob; the first's side of it.

        Args:
            a: who asks for it.
            b: who is asked.
            deposit: of each, base units.
        """
        self._opened += 1
        a, b = a or self.alice, b or self.bob
        salt = self._opened.to_bytes(32, "big")
        return await a.peer.open(
            peer=b.address,
            terms=self.terms_of(a, b, deposit=deposit, salt=salt),
            risk=self.risk,
            deposit=deposit,
        )

    # ---- time and market

    def next_expiry(self, days: int = 1) -> int:
        """The next eight o'clock UTC that is at least so many days away."""
        hours = 8 * DAY // 24
        return (int(self.chain.clock()) + (days + 1) * DAY - hours) // DAY * DAY + hours

    async def move_to(self, time: int, *, spot: str | int | None = None) -> None:
        """Move the chain's clock to ``time``, and the market's spot; return when all is quiet.

        Waits first until nothing is in flight: a change that is half signed when its box passes
        goes to the chain. By the end everybody has seen the block and signed what follows from it.

        Raises:
            InvalidValueError: a time that is not later than the newest block.
            PeerTimeoutError: something is in flight for a minute, as where a peer is stopped.
        """
        await self._settled()
        # Without a wait between them: nobody sees the new market before the time it is the market
        # of, and what it does about it is not late when it does it.
        if spot is not None:
            self.market.set_spot(self.feed, spot)
        self.chain.advance_time(to=time)
        await quiet()

    async def _settled(self) -> None:
        """Wait until nothing is in flight, and nobody is about to begin anything."""
        await quiet()
        while busy := self._busy():
            await busy[0].wait_idle()
            await quiet()

    def _busy(self) -> list[PeerChannel]:
        channels = self._channels()
        return [
            each for each in channels if each.phase in OPEN_PHASES and each.phase is not Phase.IDLE
        ]

    async def advance(self, seconds: int, *, spot: str | int | None = None) -> None:
        """`move_to` so many seconds from now."""
        await self.move_to(int(self.chain.clock()) + seconds, spot=spot)

    def _channels(self) -> list[PeerChannel]:
        running = [each for each in self.peers if each.running]
        return [channel for each in running for channel in each.peer.channels]


@asynccontextmanager
async def linked_peers(
    *,
    feed: str = "ETH-USD",
    spot: str | int = 3_000,
    vol: str = "0.60",
    chain: FakeChain | None = None,
    alice: PeerOptions | None = None,
    bob: PeerOptions | None = None,
) -> AsyncIterator[LinkedPeers]:
    """Run alice and bob on a fake chain for the time of an ``async with``.

    Bob makes prices around the common market unless he is given another maker.

    Args:
        feed: name of the one feed that is traded.
        spot: of the common market, at the start.
        vol: of the common market, annual.
        chain: to trade on; a new one unless given. Make it first where a market of your own needs
            its clock.
        alice: what alice is opened with in place of the defaults.
        bob: what bob is opened with in place of the defaults.
    """
    chain = FakeChain() if chain is None else chain
    market = FlatMarket({feed: spot}, vol=vol, clock=chain.clock)
    async with AsyncExitStack() as stores, open_tasks() as nursery:
        nursery.start_soon(chain.run)
        linked = LinkedPeers(chain=chain, market=market, feed=feed, stores=stores, nursery=nursery)
        await linked.join("alice", **(alice or {}))
        makers: PeerOptions = {"maker": SpreadMaker(market)}
        await linked.join("bob", **(makers | (bob or {})))
        yield linked


async def _accept(_: OpenRequest) -> bool:
    return True
