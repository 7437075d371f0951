"""A chain and a store in memory for the monitor, and every way they can fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import trio

from channels.chain.contracts import SpotReading
from channels.chain.fees import Urgency
from channels.chain.jobs import Intent, JobFailed, JobStalled, JobUpdate
from channels.chain.records import Stage
from channels.errors import (
    ContractRevertedError,
    EndpointError,
    InvalidValueError,
    ReorgTooDeepError,
    StorageError,
)
from channels.protocol.calls import Call
from channels.protocol.eip712 import Address, keccak
from channels.protocol.facts import (
    ChainEvent,
    ChannelView,
    Head,
    OnChainPhase,
)
from channels.protocol.terms import Domain, Terms, channel_id
from tests.dispute.build import DEPOSIT, DOMAIN, T0, place
from tests.dispute.contract import (
    Block,
    FakeContract,
    Filing,
    RevertError,
    SetPrice,
    SetSpot,
    Transaction,
    World,
)

__all__ = [
    "FINALITY",
    "SLOT",
    "FakeChain",
    "FakeJob",
    "FakeRecords",
    "Filing",
    "SetPrice",
    "SetSpot",
]

SLOT = 12
FINALITY = 4
"""Blocks after which one is final."""


@attrs.define
class FakeJob:
    call: Call | Intent
    stage: int = Stage.INTENT


@attrs.frozen
class Answer:
    status: int
    price: int


class FakeChain:
    """A chain whose every block the test mines.

    ``hide_logs`` mines blocks whose events nobody is told of. ``down`` fails every read;
    ``failing`` counts reads of a name still to fail. With ``takes`` False no job of ours is mined,
    with ``refuses`` True every one reverts.
    With ``lagging`` True nobody is told of blocks, though the head moves.
    """

    def __init__(self, domain: Domain = DOMAIN, *, time: int = T0) -> None:
        self.domain = domain
        self.account = place("monitor")
        self._contract = FakeContract(domain)
        self.transactions = self
        self.trouble: Exception | None = None
        self.hide_logs = self.down = self.lagging = False
        self.takes = True
        self.refuses = False
        self.store_broken = False
        self.failing: Counter[str] = Counter()
        self.poisoned: set[bytes] = set()
        self.reads: Counter[str] = Counter()
        self.sent: list[tuple[bytes, Call | Intent]] = []
        self.jobs: dict[bytes, FakeJob] = {}
        self.generation = 0
        self._fork = 0
        self._streams: list[_JobStream] = []
        self._changed = trio.Event()
        self.blocks = [Block(0, keccak(b"genesis"), bytes(32), time, World())]

    # ---- what a test does

    @property
    def time(self) -> int:
        return self.blocks[-1].timestamp

    def open(self, terms: Terms, deposit: int = DEPOSIT) -> bytes:
        """Open a channel in the present block, quietly."""
        channel = channel_id(self.domain, terms)
        self.blocks[-1].world.views[channel] = ChannelView(
            phase=OnChainPhase.OPEN, contribution_a=deposit, contribution_b=deposit
        )
        return channel

    def mine(self, *transactions: Transaction, time: int | None = None, blocks: int = 1) -> None:
        """Mine blocks, the first with these transactions and all of our jobs that are waiting."""
        for count in range(blocks):
            self._mine(transactions if count == 0 else (), time if count == 0 else None)
        self._announce()

    def reorg(self, depth: int, *, keep: bool = True) -> None:
        """Replace the newest blocks by one more; ``keep`` what strangers sent.

        Our own transactions come back as the chain's manager would have it: if it still knows them.
        """
        dropped = self.blocks[-depth:]
        del self.blocks[-depth:]
        self._fork += 1
        for key, _ in [each for block in dropped for each in block.transactions]:
            if key in self.jobs:
                self.jobs[key].stage = Stage.SIGNED
        again = [each for block in dropped for key, each in block.transactions if not key]
        self._mine(tuple(again) if keep else (), None)
        for _ in range(depth):
            self._mine((), None)
        self._announce()

    def break_finality(self) -> None:
        """What was final no longer is: every reader has to begin again."""
        self.generation += 1
        self._announce()

    def view_now(self, channel: bytes) -> ChannelView:
        return FakeContract.view(self.blocks[-1], channel)

    def evict(self) -> None:
        """Forget every job that is not mined, as if nobody had ever asked."""
        self.jobs = {key: job for key, job in self.jobs.items() if job.stage == Stage.FINAL}

    def stall(self, reason: str, *, exhausted: bool = False) -> None:
        """Tell that the endpoint does not take our jobs, or not for what they may cost."""
        for key in self.jobs:
            self._tell(JobStalled(key=key, name="job", reason=reason, exhausted=exhausted))

    # ---- what the monitor uses

    @property
    def head(self) -> Head:
        return self._head(self.blocks[-1])

    def updates(self, since: int | None = None) -> _Updates:
        return _Updates(self, since)

    async def view(self, channel: bytes, block: bytes | None = None) -> ChannelView:
        await self._read("view")
        if channel in self.poisoned:
            raise RuntimeError("this channel's storage makes our code fail")
        return FakeContract.view(self._at(block), channel)

    async def dispute_count(self, block: bytes | None = None) -> int:
        await self._read("dispute_count")
        return self._at(block).world.disputes

    def oracle(self, address: Address) -> FakeChain:
        return self

    async def settlement_price(self, feed: bytes, time: int, block: bytes) -> Answer:
        await self._read("price")
        if self.failing["oracle"]:
            raise ContractRevertedError("the oracle fails", reason="Reverted")
        return Answer(*self._at(block).world.prices.get((feed, time), (0, 0)))

    async def spot(self, feed: bytes, block: bytes) -> SpotReading | None:
        await self._read("spot")
        if self.failing["oracle"]:
            raise ContractRevertedError("the oracle fails", reason="Reverted")
        return self._at(block).world.spots.get(feed)

    async def transact(self, intent: Intent, *, key: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.store_broken:
            raise StorageError("disk full")
        if key not in self.jobs:
            self.jobs[key] = FakeJob(intent)
            self.sent.append((key, intent))

    async def forget(self, key: bytes) -> None:
        await trio.lowlevel.checkpoint()
        assert self.jobs.pop(key).stage in (Stage.FINAL, Stage.FAILED)

    async def submit(
        self,
        call: Call,
        *,
        key: bytes,
        urgency: Urgency | None = None,
    ) -> None:
        await trio.lowlevel.checkpoint()
        self.reads["submit"] += 1
        if self.store_broken:
            raise StorageError("disk full")
        known = self.jobs.get(key)
        if known is not None and known.call != call:
            raise InvalidValueError("another job has this key")
        if known is None or known.stage == Stage.FAILED:
            self.jobs[key] = FakeJob(call)
            self.sent.append((key, call))

    def job(self, key: bytes) -> FakeJob | None:
        return self.jobs.get(key)

    @contextmanager
    def job_updates(self) -> Iterator[_JobStream]:
        stream = _JobStream()
        self._streams.append(stream)
        yield stream
        self._streams.remove(stream)

    # ---- inside

    async def _read(self, name: str) -> None:
        await trio.lowlevel.checkpoint()
        self.reads[name] += 1
        if self.down:
            raise EndpointError("the endpoint is down")
        if self.failing[name]:
            self.failing[name] -= 1
            raise EndpointError(f"{name} failed")

    def _at(self, block_hash: bytes | None) -> Block:
        if block_hash is None:
            return self.blocks[-1]
        for block in reversed(self.blocks):
            if block.hash == block_hash:
                return block
        raise EndpointError("no such block")

    def _head(self, block: Block) -> Head:
        final = self.blocks[max(len(self.blocks) - 1 - FINALITY, 0)]
        if final.number > block.number:
            final = block
        return Head(
            number=block.number,
            hash=block.hash,
            parent_hash=block.parent_hash,
            timestamp=block.timestamp,
            final_number=final.number,
            final_timestamp=final.timestamp,
        )

    def _announce(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _tell(self, update: JobUpdate) -> None:
        for stream in self._streams:
            stream.put(update)

    def _mine(self, transactions: tuple[Transaction, ...], time: int | None) -> None:
        parent = self.blocks[-1]
        number = parent.number + 1
        block = Block(
            number=number,
            hash=keccak(b"%d %d" % (number, self._fork) + parent.hash),
            parent_hash=parent.hash,
            timestamp=time if time is not None else parent.timestamp + SLOT,
            world=parent.world.copy(),
            hidden=self.hide_logs,
        )
        # Strangers bid more: what is not ours comes first.
        for each in transactions:
            self._execute(block, b"", each)
        if self.takes:
            for key, job in self.jobs.items():
                if job.stage in (Stage.INTENT, Stage.SIGNED) and not self._mined(key):
                    job.stage = Stage.SIGNED
                    self._execute(block, key, job.call)
        self.blocks.append(block)
        for key, job in self.jobs.items():
            where = self._mined(key)
            if where is not None and where.number <= self.head.final_number:
                job.stage = Stage.FINAL

    def _mined(self, key: bytes) -> Block | None:
        for block in self.blocks:
            if any(each == key for each, _ in block.transactions):
                return block
        return None

    def _execute(self, block: Block, key: bytes, transaction: Transaction) -> None:
        before, events = block.world.copy(), len(block.events)
        try:
            if key and self.refuses:
                raise RevertError("refused")
            self._contract.apply(block, transaction)
        except RevertError as error:
            block.world = before
            del block.events[events:]
            if key:
                self.jobs[key].stage = Stage.FAILED
                refused = ContractRevertedError(str(error), reason="Reverted")
                self._tell(JobFailed(key=key, name="job", error=refused))
            return
        block.transactions.append((key, transaction))


@attrs.frozen(kw_only=True)
class FakeUpdate:
    head: Head
    events: tuple[ChainEvent, ...] = ()
    rewound_to: int | None = None


class _Updates:
    """Every block once, in order, and back where the chain reorganised."""

    def __init__(self, chain: FakeChain, since: int | None) -> None:
        self._chain = chain
        self._generation = chain.generation
        tip = chain.blocks[-1].number
        first = tip if since is None else min(since, tip + 1)
        self._path = chain.blocks[:first]

    def __aiter__(self) -> _Updates:
        return self

    async def __anext__(self) -> FakeUpdate:
        await trio.lowlevel.checkpoint()
        chain = self._chain
        while True:
            if chain.generation != self._generation:
                raise ReorgTooDeepError("what was final is gone")
            if chain.lagging:
                await chain._changed.wait()
                continue
            rewound = False
            while self._path and self._path[-1] not in chain.blocks:
                self._path.pop()
                rewound = True
            ancestor = self._path[-1].number if self._path else -1
            if ancestor + 1 < len(chain.blocks):
                block = chain.blocks[ancestor + 1]
                self._path.append(block)
                return FakeUpdate(
                    head=chain._head(block),
                    events=() if block.hidden else tuple(block.events),
                    rewound_to=ancestor if rewound else None,
                )
            if rewound:
                return FakeUpdate(head=chain._head(self._path[-1]), rewound_to=ancestor)
            await chain._changed.wait()


class _JobStream:
    def __init__(self) -> None:
        self._waiting: list[JobUpdate] = []
        self._arrived = trio.Event()

    def __aiter__(self) -> _JobStream:
        return self

    async def __anext__(self) -> JobUpdate:
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            await self._arrived.wait()
        return self._waiting.pop(0)

    def put(self, update: JobUpdate) -> None:
        self._waiting.append(update)
        self._arrived.set()
        self._arrived = trio.Event()


class FakeRecords:
    """Records in memory that survive a monitor, but for those not yet on the disk.

    ``broken`` refuses to write; ``slow`` is set by a test to hold a write back.
    """

    def __init__(self) -> None:
        self.stored: dict[bytes, bytes] = {}
        self.broken = False
        self.gate: trio.Event | None = None
        self.puts = 0

    async def put(self, key: bytes, record: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        if self.broken:
            raise StorageError("disk full")
        self.puts += 1
        self.stored[key] = record

    async def delete(self, key: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise StorageError("disk full")
        self.stored.pop(key, None)

    async def load(self) -> dict[bytes, bytes]:
        await trio.lowlevel.checkpoint()
        return dict(self.stored)
