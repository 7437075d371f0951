"""Two traders on one chain, each with a store, a market and a maker of its own.

The chain is the embedded one unless a test brings another; sockets, stores and signatures are real.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import attrs
import trio

from channels.chain.client import EthereumChain
from channels.dispute import Monitor, PriceSource, open_monitor
from channels.errors import ChannelsError
from channels.peer import (
    Leg,
    MakerQuote,
    Peer,
    PeerChannel,
    PeerEvent,
    QuoteRequest,
    default_terms,
    open_peer,
)
from channels.peer.proposing import may_propose
from channels.pricing import forward_price, price
from channels.pricing.instruments import Put
from channels.protocol.changes import Marks, SeriesMark, Trade
from channels.protocol.channel import Channel, Phase
from channels.protocol.messages import OpenRequest
from channels.protocol.signing import LocalSigner
from channels.protocol.terms import RiskParams, Terms
from channels.protocol.types import Party, Portfolio, Series, feed_id
from channels.storage import Store, open_store
from tests.chain.world import World

FEED_NAME = "ETH-USD"
FEED = feed_id(FEED_NAME)
RISK = (RiskParams(feed=FEED),)
WAD = 10**18
UNIT = 10**6
HOUR = 3_600
DAY = 86_400
SLOT = 12
DEPOSIT = 50_000 * UNIT
STALE_PENALTY = 2_500 * UNIT
PATIENCE = 30.0

N = TypeVar("N")


@attrs.define
class Market:
    """One side's marks: the same vol and carry for every series."""

    clock: Callable[[], float] = lambda: 0.0
    spot: int = 3_000 * WAD
    vol: int = WAD * 6 // 10
    carry: int = 0
    broken: Exception | None = None

    def marks(self, series: Iterable[Series]) -> Marks:
        if self.broken is not None:
            raise self.broken
        return Marks(
            marked_at=int(self.clock()),
            spots={FEED: self.spot},
            series={each: SeriesMark(vol=self.vol, carry=self.carry) for each in series},
        )


@attrs.frozen
class FairMaker:
    """Quotes every leg at Black-76 on its own marks, and a dollar more."""

    market: Market

    async def __call__(self, request: QuoteRequest) -> MakerQuote | None:
        held = {each.series for each in request.portfolio.positions}
        asked = [(leg.feed, leg.expiry, int(leg.kind), leg.strike) for leg in request.legs]
        marks = self.market.marks({*held, *asked})
        prices = []
        for leg, series in zip(request.legs, asked, strict=True):
            mark, tau = marks.series[series], leg.expiry - marks.marked_at
            forward = forward_price(marks.spots[leg.feed], mark.carry, tau)
            prices.append(price(leg.kind, forward, leg.strike, mark.vol, tau) + WAD)
        return MakerQuote(prices=tuple(prices), marks=marks)


@attrs.frozen(kw_only=True)
class Desk:
    """A trader at work."""

    peer: Peer
    chain: EthereumChain
    store: Store
    events: trio.MemoryReceiveChannel[PeerEvent]
    monitor: Monitor | None = None

    @property
    def channel(self) -> PeerChannel:
        (channel,) = self.peer.channels
        return channel

    async def told(self, kind: type[N], *, patience: float = PATIENCE) -> N:
        """Read events up to the first of a kind."""
        with trio.fail_after(patience):
            while True:
                event = await self.events.receive()
                if isinstance(event.notice, kind):
                    return event.notice


@attrs.define(kw_only=True)
class Trader:
    """One side: keys, a store on disk, a market. `running` it makes a `Desk` of it."""

    side: Party
    world: World
    folder: Path
    listen: str | None = None
    market: Market = attrs.Factory(Market)

    @property
    def name(self) -> str:
        return "alice" if self.side is Party.A else "bob"

    @property
    def store_path(self) -> Path:
        return self.folder / f"{self.name}.db"

    @property
    def signer(self) -> LocalSigner:
        return self.world.signer_a if self.side is Party.A else self.world.signer_b

    @asynccontextmanager
    async def running(
        self, *, monitored: bool = False, prices: PriceSource | None = None, **options: Any
    ) -> AsyncIterator[Desk]:
        account = self.world.a if self.side is Party.A else self.world.b
        async with (
            open_store(self.store_path) as store,
            self.world.open(account, store.records("transactions")) as chain,
            AsyncExitStack() as stack,
        ):
            monitor = None
            if monitored:
                watching = open_monitor(chain, records=store.records("monitor"), prices=prices)
                monitor = await stack.enter_async_context(watching)

            def clock() -> float:
                return chain.head.timestamp

            self.market.clock = clock
            settings: dict[str, Any] = {
                "signer": self.signer,
                "wallet": account,
                "chain": chain,
                "store": store,
                "listen": self.listen,
                "market": self.market,
                "maker": FairMaker(self.market),
                "accept_opening": accept_opening,
                "accept_trade": accept_trade,
                "settlement_price": self._settlement_price,
                "clock": clock,
                "monitor": monitor,
                "credit": None,
                "breaker": None,
                "settlement": None,
            }
            async with (
                open_peer(**(settings | options)) as peer,
                peer.events() as events,
            ):
                if peer.listening is not None:
                    self.listen = peer.listening
                yield Desk(peer=peer, chain=chain, store=store, events=events, monitor=monitor)

    async def _settlement_price(self, feed: bytes, expiry: int) -> int | None:
        return self.market.spot if expiry <= self.market.clock() else None


async def accept_opening(request: OpenRequest) -> bool:
    return request.opening.deposit_a == request.opening.deposit_b


async def accept_trade(trade: Trade, portfolio: Portfolio) -> bool:
    return True


@attrs.frozen(kw_only=True)
class Pair:
    """Alice, who connects, and Bob, who listens; with a channel between them unless told not to."""

    world: World
    a: Trader
    b: Trader
    alice: Desk
    bob: Desk

    @property
    def channel(self) -> PeerChannel:
        return self.alice.channel

    async def settled(self) -> tuple[PeerChannel, PeerChannel]:
        """Wait until nothing is in flight on either side, and check that both hold the same."""
        ours, theirs = self.alice.channel, self.bob.channel
        while not ours.phase is theirs.phase is Phase.IDLE:
            await ours.wait_idle(PATIENCE)
            await theirs.wait_idle(PATIENCE)
        assert ours.state.ledger.full.state == theirs.state.ledger.full.state
        return ours, theirs

    async def quiet(self) -> None:
        """Wait until both have seen the newest block, done what it asks for, and nothing is in
        flight; all of which is still so when this returns."""
        with trio.fail_after(PATIENCE):
            while True:
                now = await self.world.control.time()
                busy = [each for each in self._channels() if not _rests(each.state, now)]
                looking = [desk.peer for desk in (self.alice, self.bob) if desk.peer.looking]
                if busy:
                    await busy[0]._runner.wait_until(partial(_rests, now=now))
                elif looking:
                    await looking[0].looked()
                else:
                    return

    async def travel(
        self,
        *,
        to: int | None = None,
        by: int | None = None,
        spot: int | None = None,
        in_flight: bool = False,
    ) -> None:
        """Move the chain's clock, and wait until both have seen it.

        Waits first until nothing is half signed, which a leap of time would put on the chain;
        unless ``in_flight`` is what the test is about. A leap ends a slot before its time: who sees
        a block first would else be further ahead of the other than that takes for honest.

        Args:
            to: chain time of the last block.
            by: seconds from the newest block to the last.
            spot: price in both markets from the last block on.
            in_flight: leap at once, and in one block.
        """
        control = self.world.control
        if not in_flight:
            await self.quiet()
        now = await control.time()
        target = to if to is not None else now + (by or 0)
        if not in_flight and target - SLOT > now:
            await control.advance_time(to=target - SLOT)
            await self.quiet()
            target = max(target, await control.time() + 1)  # what it asked for took blocks too
        # Not earlier: what is done about the new market would be late when time has passed.
        if spot is not None:
            self.a.market.spot = self.b.market.spot = spot
        await control.advance_time(to=target)
        for channel in self._channels():
            await channel.wait_for_head(target, PATIENCE)

    def _channels(self) -> list[PeerChannel]:
        return [channel for desk in (self.alice, self.bob) for channel in desk.peer.channels]


def _rests(channel: Channel, now: int) -> bool:
    """Whether nothing is in flight in a channel that has seen a block of this time."""
    head = channel.head
    return may_propose(channel) and head is not None and head.timestamp >= now


def traders(world: World, folder: Path, *, listen: str = "127.0.0.1:0") -> tuple[Trader, Trader]:
    return (
        Trader(side=Party.A, world=world, folder=folder),
        Trader(side=Party.B, world=world, folder=folder, listen=listen),
    )


def terms_of(world: World, **changes: Any) -> Terms:
    terms = default_terms(
        party_a=world.a.address,
        party_b=world.b.address,
        signer_a=world.signer_a.address,
        signer_b=world.signer_b.address,
        collateral=world.deployment.token,
        unit=UNIT,
        oracle=world.deployment.oracle,
        risk=RISK,
        stale_penalty=STALE_PENALTY,
    )
    return attrs.evolve(terms, **changes)


async def open_channel(alice: Desk, b: Trader, **changes: Any) -> PeerChannel:
    return await alice.peer.open(
        peer=str(b.listen),
        terms=terms_of(b.world, **changes),
        risk=RISK,
        deposit=DEPOSIT,
        timeout=PATIENCE,
    )


@asynccontextmanager
async def trading(
    world: World,
    folder: Path,
    *,
    alice: dict[str, Any] | None = None,
    bob: dict[str, Any] | None = None,
    listen: str = "127.0.0.1:0",
    opened: bool = True,
) -> AsyncIterator[Pair]:
    """Both at work, with an open channel; options of `open_peer` for each."""
    a, b = traders(world, folder, listen=listen)
    async with AsyncExitStack() as stack:
        bobs = await stack.enter_async_context(b.running(**(bob or {})))
        alices = await stack.enter_async_context(a.running(**(alice or {})))
        if opened:
            channel = await open_channel(alices, b)
            await bobs.peer.channel(channel.channel_id).wait_open(PATIENCE)
        pair = Pair(world=world, a=a, b=b, alice=alices, bob=bobs)
        if opened:
            await pair.quiet()  # so that no later block than both know dates the first marks
        yield pair


def expiry_of(desk: Desk, days: int = 10) -> int:
    return (desk.chain.head.timestamp // DAY + days) * DAY + 8 * HOUR


def put(desk: Desk, quantity: int | str = 1, *, strike: int = 3_000, days: int = 10) -> Any:
    """One leg: a put of a round strike; + = we buy."""
    instrument = Put(FEED_NAME, strike=strike, expiry=expiry_of(desk, days))
    return Leg(instrument, quantity=quantity)


async def trade(desk: Desk, quantity: int | str = 1) -> Trade:
    """Ask for a quote and take it."""
    quotes = await desk.channel.request_quote([put(desk, quantity)], ttl=10)
    quote = quotes.best()
    await quote.accept()
    return quote.trade


def unexpected(events: Iterable[PeerEvent]) -> list[ChannelsError]:
    """Errors among events."""
    return [each.notice for each in events if isinstance(each.notice, ChannelsError)]
