"""One story on the fake chain and on the embedded one, with the contracts: the same money.

Two channels between the same two. In the first a state is put on chain, nine trades later the
dispute is on that old one; it is refuted, costs its filer the penalty, and the contract settles at
expiry. In the second the parties settle by themselves and close.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final, Protocol

import attrs
import trio
from trio.testing import MockClock

from channels import FlatMarket, Leg, Put, Side, SpreadMaker
from channels.bots import Floor, Trader, open_floor
from channels.dispute import Duty, DutyDone, Monitor
from channels.peer import PeerChannel
from channels.pricing.instruments import Instrument
from channels.protocol.calls import Checkpoint, Dispute
from channels.protocol.facts import ChainEvent, ChannelClosed
from channels.testing import UNIT, FakeChain, LinkedPeers, linked_peers
from channels.units import DAY, HOUR, WAD

FEED: Final = "ETH-USD"
START: Final = 1_767_225_600
FUNDS: Final = 50_000 * UNIT
STAKE: Final = 10_000 * UNIT
TRADES: Final = 9
"""So many that the first state is too old by more than the terms' ``max_in_flight``."""
FALLEN: Final = 2_850
PATIENCE: Final = 30.0


class Venue(Protocol):
    """Where alice, who is defended, trades with bob, who is not and makes prices."""

    @property
    def monitor(self) -> Monitor:
        """Who defends alice."""

    async def open(self) -> PeerChannel:
        """One more channel, with `STAKE` of each; alice's side."""

    def chains(self) -> tuple[Any, Any]:
        """Alice's and bob's way to the chain."""

    async def move_to(self, time: int, spot: int) -> None:
        """Move time and market."""

    async def attest(self, expiry: int, price: int) -> None:
        """Bring a settlement price to the oracle."""

    async def balances(self) -> tuple[int, int, int]:
        """Of alice, bob and the contract."""


@attrs.frozen(kw_only=True)
class InMemory:
    """The venue of `linked_peers`."""

    pair: LinkedPeers

    @property
    def monitor(self) -> Monitor:
        return self.pair.alice.monitor

    async def open(self) -> PeerChannel:
        return await self.pair.open(deposit=STAKE)

    def chains(self) -> tuple[Any, Any]:
        return self.pair.alice.chain, self.pair.bob.chain

    async def move_to(self, time: int, spot: int) -> None:
        await self.pair.move_to(time, spot=spot)

    async def attest(self, expiry: int, price: int) -> None:
        self.pair.chain.publish_settlement(FEED, expiry, price)

    async def balances(self) -> tuple[int, int, int]:
        return self.pair.alice.balance, self.pair.bob.balance, self.pair.chain.locked


@attrs.frozen(kw_only=True)
class WithContracts:
    """The venue of `open_floor`: the contracts on a chain of this process, and sockets."""

    floor: Floor
    market: FlatMarket
    traders: tuple[Trader, Trader]

    @property
    def monitor(self) -> Monitor:
        monitor = self.traders[0].monitor
        assert monitor is not None
        return monitor

    async def open(self) -> PeerChannel:
        return await self.floor.open(*self.traders, deposit=STAKE)

    def chains(self) -> tuple[Any, Any]:
        return self.traders[0].chain, self.traders[1].chain

    async def move_to(self, time: int, spot: int) -> None:
        await self.floor.move_to(time, market=partial(self.market.set_spot, FEED, spot))

    async def attest(self, expiry: int, price: int) -> None:
        await self.floor.attest(expiry, price * WAD)

    async def balances(self) -> tuple[int, int, int]:
        alice, bob = [await self.floor.balance(each) for each in self.traders]
        return alice, bob, await self.floor.left_in_contract()


@asynccontextmanager
async def in_memory() -> AsyncIterator[Venue]:
    chain = FakeChain(genesis_time=START)
    bob = {"monitored": False, "funds": FUNDS}
    async with linked_peers(chain=chain, alice={"funds": FUNDS}, bob=bob) as pair:  # type: ignore[arg-type]
        yield InMemory(pair=pair)


@asynccontextmanager
async def with_contracts() -> AsyncIterator[Venue]:
    async with open_floor(FEED, start=START, patience=60) as floor:
        market = FlatMarket({FEED: 3_000}, clock=floor.clock)
        price = market.settlement_price
        alice = await floor.join(
            "Alice", market=market, funds=FUNDS, monitored=True, settlement_price=price
        )
        bob = await floor.join(
            "Bob", market=market, funds=FUNDS, maker=SpreadMaker(market), settlement_price=price
        )
        yield WithContracts(floor=floor, market=market, traders=(alice, bob))


async def buy(channel: PeerChannel, put: Instrument) -> None:
    quotes = await channel.request_quote([Leg(put, quantity="0.5")], Side.BUY)
    await quotes.best().accept()


async def follow(chain: Any, told: list[ChainEvent]) -> None:
    """Keep what the contract emits, until both channels are closed."""
    async for update in chain.updates():
        told += update.events
        if sum(isinstance(each, ChannelClosed) for each in told) == 2:
            return


async def shown(channel: PeerChannel, nonce: int) -> None:
    """Wait until the chain has recorded this state."""
    with trio.fail_after(PATIENCE):
        await channel._runner.wait_until(
            lambda state: state.view is not None and state.view.nonce == nonce
        )


HIDDEN: Final = frozenset(
    {"block_number", "block_hash", "transaction_hash", "log_index"}  # where it stands
    | {"channel_id", "signer_a", "signer_b"}  # whose keys are others
    | {"nonce"}  # who crossed with whom on the way, is chance where there are sockets
)


def essence(event: ChainEvent) -> tuple[str, dict[str, object]]:
    """What an event says of money, time and portfolios."""
    told = attrs.asdict(event, recurse=False)
    return type(event).__name__, {name: told[name] for name in told if name not in HIDDEN}


@attrs.frozen
class Ending:
    """What the story comes to, and what the contract said on the way."""

    balances: tuple[int, int, int]
    events: list[tuple[str, dict[str, object]]]


async def story(venue: Venue) -> Ending:
    told: list[ChainEvent] = []
    alice, bob = venue.chains()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, alice, told)
        disputed, friendly = await venue.open(), await venue.open()
        expiry = START + 3 * DAY + 8 * HOUR
        put = Put(FEED, strike=3_000, expiry=expiry)
        await venue.move_to(START + HOUR, 3_000)
        await buy(disputed, put)
        await buy(friendly, put)
        early = disputed.state.newest_evidence()
        assert early is not None
        await alice.submit(Checkpoint(terms=disputed.terms, newest=early), key=b"checkpoint")
        await shown(disputed, early.state.nonce)  # before time goes on: it takes a block
        await venue.move_to(START + 2 * HOUR, 3_050)
        for _ in range(TRADES):
            await buy(disputed, put)
        await venue.move_to(START + 3 * HOUR, 2_950)
        await bob.submit(Dispute(terms=disputed.terms, newest=None), key=b"dispute")
        async for report in venue.monitor.reports:
            if isinstance(report, DutyDone) and report.duty is Duty.REFUTE:
                break
        await venue.move_to(expiry, FALLEN)
        await friendly.settle(FEED, expiry, FALLEN * WAD)
        await friendly.close()
        await venue.attest(expiry, FALLEN)
        await disputed.wait_closed()
        nursery.cancel_scope.deadline = trio.current_time() + PATIENCE
    return Ending(await venue.balances(), [essence(each) for each in told])


async def told_by(venue: Callable[[], AbstractAsyncContextManager[Venue]]) -> Ending:
    async with venue() as where:
        return await story(where)


async def test_the_same_story_ends_the_same_on_both() -> None:
    real = await told_by(with_contracts)
    fake = await trio.to_thread.run_sync(in_a_run_of_its_own)
    assert fake.balances == real.balances
    assert sum(fake.balances) == 2 * FUNDS
    assert fake.balances[2] == 0
    assert fake.events == real.events


def in_a_run_of_its_own() -> Ending:
    """The clock that jumps is for what has no sockets."""
    return trio.run(told_by, in_memory, clock=MockClock(autojump_threshold=0))
