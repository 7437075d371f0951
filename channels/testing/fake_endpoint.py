"""One account's view of a `FakeChain`: what a peer and a monitor need of a chain.

`channels.chain.EthereumChain` is the real one. This one can be told to fail.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from channels.chain.fees import Urgency
from channels.chain.jobs import (
    Intent,
    JobFailed,
    JobFinal,
    JobMined,
    JobRearmed,
    JobStream,
    JobUpdate,
)
from channels.chain.records import Stage
from channels.errors import ContractRevertedError, EndpointError, InvalidValueError
from channels.protocol.calls import Call, Checkpoint
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChainEvent, ChannelView, Head
from channels.protocol.terms import Domain
from channels.protocol.types import Party
from channels.testing.adjudicator import ModelAdjudicator
from channels.testing.fake_chain import Block, FakeChain, FakeTransaction
from channels.testing.oracle import Answer, ModelOracle
from channels.testing.record import ChannelRecord

__all__ = ["FakeEndpoint", "FakeJob", "FakeOracleReader", "FakeUpdate", "SpotObservation"]


@attrs.frozen(kw_only=True)
class FakeUpdate:
    """One block, as a reader should take it in; see `channels.chain.heads.ChainUpdate`."""

    head: Head
    events: tuple[ChainEvent, ...] = ()
    rewound_to: int | None = None


@attrs.frozen(kw_only=True)
class SpotObservation:
    """The newest price of a feed, WAD, and when it was observed."""

    price: int
    observed_at: int


@attrs.define(kw_only=True, eq=False)
class FakeJob:
    """A call that was asked for, and how far it has come."""

    key: bytes
    call: Call
    transaction: FakeTransaction
    stage: Stage = Stage.INTENT
    sent: bool = False
    told: bytes | None = None
    """Hash of the block that it was last told to be in."""

    @property
    def name(self) -> str:
        """The call's kind."""
        return type(self.call).__name__


class FakeEndpoint:
    """One account on a fake chain, and its way there. It outlives the peers that use it.

    Attributes:
        account: who sends what is submitted.
        domain: the Adjudicator and its chain.
        jobs: all that was submitted, by key.
    """

    def __init__(self, chain: FakeChain, account: Address) -> None:
        self.account = account
        self.domain: Domain = chain.domain
        self.jobs: dict[bytes, FakeJob] = {}
        self._chain = chain
        self._head = chain.head
        self._trouble: EndpointError | None = None
        self._changed = trio.Event()
        self._streams: set[JobStream] = set()
        chain.follow(self._take_in)

    # ---- trouble

    @property
    def trouble(self) -> EndpointError | None:
        """What is wrong right now; None if nothing is."""
        return self._trouble

    def fail(self, why: str = "the endpoint is down") -> None:
        """Answer nothing and send nothing from now on."""
        self._trouble = EndpointError(why)

    def mend(self) -> None:
        """Answer again, and send what was submitted meanwhile."""
        self._trouble = None
        self._take_in()

    # ---- reading

    @property
    def head(self) -> Head:
        """The newest block that this endpoint has shown."""
        return self._head

    @property
    def transactions(self) -> FakeEndpoint:
        """The jobs: this endpoint keeps them itself."""
        return self

    def updates(self, since: int | None = None) -> _Reader:
        """Every block from ``since`` on; without it, from the present head on."""
        return _Reader(self, self._chain, since)

    async def view(self, channel_id: bytes, block: int | bytes | None = None) -> ChannelView:
        """A channel's storage at a block, by number or hash; None: at the head.

        Raises:
            EndpointError: down, or no such block.
        """
        found = await self._block(block)
        return _view(found.state.record(channel_id), found.timestamp)

    async def dispute_count(self, block: bytes | None = None) -> int:
        """Disputes ever filed, at a block.

        Raises:
            EndpointError: down, or no such block.
        """
        return (await self._block(block)).state.dispute_count

    def oracle(self, address: Address) -> FakeOracleReader:
        """An oracle."""
        return FakeOracleReader(address, self._block)

    async def _block(self, block: int | bytes | None) -> Block:
        await trio.lowlevel.checkpoint()
        if self._trouble is not None:
            raise self._trouble
        wanted = self._head.number if block is None else block
        if isinstance(wanted, int) and 0 <= wanted <= self._chain.height:
            return self._chain.block(wanted)
        found = self._chain.find(wanted) if isinstance(wanted, bytes) else None
        if found is None:
            raise EndpointError(f"the endpoint has no block {wanted!r}")
        return found

    # ---- sending

    async def submit(
        self,
        call: Call,
        *,
        key: bytes,
        urgency: Urgency | None = None,  # noqa: ARG002
    ) -> None:
        """See a call through to finality; asking twice with one key is asking once.

        One that has failed starts over. ``urgency`` changes nothing: there are no fees.

        Raises:
            InvalidValueError: the key names another call.
        """
        await trio.lowlevel.checkpoint()
        known = self.jobs.get(key)
        if known is not None:
            if known.call != call:
                raise InvalidValueError(f"job {key.hex()} has other contents: use another key")
            if known.stage is not Stage.FAILED:
                return
        self.jobs[key] = FakeJob(key=key, call=call, transaction=FakeTransaction(self._act(call)))
        self._take_in()

    def _act(self, call: Call) -> Callable[[ModelAdjudicator, int], None]:
        def act(model: ModelAdjudicator, now: int) -> None:
            answer = model.send(call, sender=self.account, now=now)
            if isinstance(call, Checkpoint) and not answer:
                raise ContractRevertedError("NoEffect", reason="NoEffect")

        return act

    async def transact(self, intent: Intent, *, key: bytes) -> None:  # noqa: ARG002
        """Refuse: what is no call of the Adjudicator, a fake chain does not know.

        Raises:
            InvalidValueError: always.
        """
        await trio.lowlevel.checkpoint()
        raise InvalidValueError(
            f"a fake chain does not know the transaction {intent.name}",
            next_step="bring prices by FakeChain.publish_spot and publish_settlement",
        )

    def job(self, key: bytes) -> FakeJob | None:
        """What was asked for under ``key``."""
        return self.jobs.get(key)

    async def forget(self, key: bytes) -> None:
        """Forget a job that has ended, so that its key means nothing any more.

        Raises:
            InvalidValueError: it has not ended.
        """
        await trio.lowlevel.checkpoint()
        job = self.jobs.get(key)
        if job is not None and job.stage not in (Stage.FINAL, Stage.FAILED):
            raise InvalidValueError(f"job {key.hex()} has not ended")
        self.jobs.pop(key, None)

    def job_updates(self) -> JobStream:
        """What becomes of all jobs, from now on; use it in a ``with`` block."""
        stream = JobStream(self._streams.discard)
        self._streams.add(stream)
        return stream

    # ---- following

    @property
    def changed(self) -> trio.Event:
        """Set at the next change that this endpoint shows."""
        return self._changed

    def _take_in(self) -> None:
        """Show the chain's head, send what waits, and tell what became of the jobs."""
        if self._trouble is not None:
            return
        self._head = self._chain.head
        for job in self.jobs.values():
            self._look_at(job)
        self._changed.set()
        self._changed = trio.Event()
        unsent = [each for each in self.jobs.values() if not each.sent]
        for job in unsent:
            job.sent, job.stage = True, Stage.SIGNED
        if unsent:
            self._chain.send(*(each.transaction for each in unsent))

    def _look_at(self, job: FakeJob) -> None:
        mined = job.transaction.block
        if job.stage is not Stage.SIGNED:
            return
        if mined is None and job.transaction.error is not None:
            job.stage = Stage.FAILED
            self._tell(JobFailed(key=job.key, name=job.name, error=job.transaction.error))
        elif mined is None and job.told is not None:
            job.told = None
            self._tell(JobRearmed(key=job.key, name=job.name, reason="reorganised"))
        elif mined is not None:
            block = self._chain.find(mined)
            if block is not None:
                self._tell_mined(job, block)

    def _tell_mined(self, job: FakeJob, block: Block) -> None:
        if job.told != block.hash:
            job.told = block.hash
            self._tell(
                JobMined(
                    key=job.key,
                    name=job.name,
                    transaction_hash=bytes(32),
                    block_number=block.number,
                    block_hash=block.hash,
                    gas_used=0,
                    gas_price=0,
                )
            )
        if block.number <= self._head.final_number:
            job.stage = Stage.FINAL
            self._tell(
                JobFinal(
                    key=job.key,
                    name=job.name,
                    transaction_hash=bytes(32),
                    block_number=block.number,
                    gas_used=0,
                )
            )

    def _tell(self, update: JobUpdate) -> None:
        for stream in self._streams:
            stream.put(update)


class FakeOracleReader:
    """An oracle of a fake chain, read at a block. Every method may raise `EndpointError`."""

    def __init__(self, address: Address, block: Callable[[bytes], Awaitable[Block]]) -> None:
        self.address = address
        self._block = block

    async def spot(self, feed: bytes, block: bytes) -> SpotObservation | None:
        """The newest price of ``feed``; None if there is none."""
        found = (await self._oracle(block)).newest_spot(feed)
        return None if found is None else SpotObservation(price=found[0], observed_at=found[1])

    async def settlement_price(self, feed: bytes, time: int, block: bytes) -> Answer:
        """The settlement price of ``feed`` at ``time``."""
        return (await self._oracle(block)).answer(feed, time)

    async def _oracle(self, block: bytes) -> ModelOracle:
        return (await self._block(block)).state.oracle(self.address)


class _Reader:
    """One reader's way along the chain; see `channels.chain.subscription`."""

    def __init__(self, endpoint: FakeEndpoint, chain: FakeChain, since: int | None) -> None:
        self._endpoint = endpoint
        self._chain = chain
        head = endpoint.head.number
        start = head if since is None else min(since, head + 1)
        self._path = [chain.block(number).hash for number in range(start)]

    def __aiter__(self) -> _Reader:
        return self

    async def __anext__(self) -> FakeUpdate:
        """The next block, as soon as there is one. Cancelling a wait loses nothing."""
        await trio.lowlevel.checkpoint()
        while True:
            changed, update = self._endpoint.changed, self._next()
            if update is not None:
                return update
            await changed.wait()

    def _next(self) -> FakeUpdate | None:
        if self._endpoint.trouble is not None:
            return None
        chain, path = self._chain, self._path
        known = len(path)
        while path and not chain.has(len(path) - 1, path[-1]):
            path.pop()
        ancestor = len(path) - 1
        rewound_to = ancestor if len(path) < known else None
        if ancestor < chain.height:
            block = chain.block(ancestor + 1)
            path.append(block.hash)
            return FakeUpdate(head=chain.head_of(block), events=block.events, rewound_to=rewound_to)
        if rewound_to is None:
            return None
        return FakeUpdate(head=chain.head_of(chain.block(ancestor)), rewound_to=rewound_to)


def _view(record: ChannelRecord, time: int) -> ChannelView:
    cure_end_a, cure_end_b = record.cure_ends
    contribution_a, contribution_b = record.contributions
    return ChannelView(
        phase=record.phase_at(time),
        nonce=record.nonce,
        filed_nonce=record.filed_nonce,
        filer=record.filer,
        deadline=record.deadline,
        cure_end_a=cure_end_a,
        cure_end_b=cure_end_b,
        settled=record.settled,
        released_a=Party.A in record.released,
        released_b=Party.B in record.released,
        portfolio_hash=record.portfolio_hash,
        contribution_a=contribution_a,
        contribution_b=contribution_b,
    )
