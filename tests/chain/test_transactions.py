"""The transaction manager where things go wrong: full blocks, reorganisations, crashes, thieves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import attrs
import msgpack
import pytest
import trio

from channels.chain import EmbeddedChain, EthereumChain, FeePolicy, Finality, MemoryRecordStore
from channels.chain.accounts import UnsignedTransaction
from channels.chain.board import KEEPS_FAILING
from channels.chain.jobs import (
    Intent,
    JobBroadcast,
    JobFailed,
    JobFinal,
    JobMined,
    JobRearmed,
    JobStalled,
    JobUpdate,
)
from channels.chain.lanes import Lanes
from channels.chain.records import (
    Attempt,
    JobRecord,
    Stage,
    Variant,
    decode_record,
    encode_record,
)
from channels.errors import (
    ChainError,
    ContractRevertedError,
    InvalidValueError,
    SchemaVersionError,
    StorageError,
    TransactionFailedError,
)
from channels.protocol.calls import Checkpoint, Deposit, Dispute
from channels.protocol.facts import OnChainPhase
from channels.protocol.terms import channel_id
from channels.protocol.types import EMPTY_PORTFOLIO, Party, Portfolio
from tests.chain.world import FUNDS, PATIENCE, World, embedded_world

DEPTH = Finality.depth(3)


def chain_of(world: World) -> EmbeddedChain:
    assert isinstance(world.provider, EmbeddedChain)
    return world.provider


@asynccontextmanager
async def limited(world: World, **options: object) -> AsyncIterator[EthereumChain]:
    with trio.fail_after(PATIENCE):
        async with world.open(world.a, finality=DEPTH, **options) as chain:  # type: ignore[arg-type]
            yield chain


async def until(chain: EthereumChain, condition: Callable[[], bool]) -> None:
    """Wait for a condition that a job's update or a head brings about."""
    while not condition():
        board = chain.transactions
        with trio.move_on_after(0.005):
            await board._changed.wait()


async def mine_until(
    world: World, chain: EthereumChain, wait: Callable[[], Awaitable[object]]
) -> None:
    """Mine a block whenever all is quiet, until ``wait`` returns."""
    failures: list[ChainError] = []
    async with trio.open_nursery() as nursery:

        async def finish() -> None:
            try:
                await wait()
            except ChainError as error:
                failures.append(error)
            nursery.cancel_scope.cancel()

        async def mine() -> None:
            while True:
                await trio.sleep(0.01)
                await world.control.mine()

        nursery.start_soon(finish)
        nursery.start_soon(mine)
    for failure in failures:
        raise failure


def transfer(world: World, amount: int) -> Intent:
    return world.token.transfer(world.b.address, amount)


def _is_filler(update: JobUpdate) -> bool:
    return isinstance(update, JobBroadcast) and update.filler


async def test_same_bytes_are_sent_again_until_mined(embedded: World) -> None:
    node = chain_of(embedded)
    node.auto_mine = False
    async with limited(embedded) as chain:
        await chain.transact(transfer(embedded, 5), key=b"pay")
        with chain.job_updates() as updates:
            first = await updates.__anext__()
            assert isinstance(first, JobBroadcast)
            assert node._mempool.find(first.transaction_hash)
            node._mempool.clear()
            node.auto_mine = True  # the node restarts, forgets, and mines what it is sent
            await node.mine()
            mined = await chain.wait_mined(b"pay")
        assert mined.transaction_hash == first.transaction_hash
        await node.mine(3)
        assert (await chain.wait(b"pay")).transaction_hash == first.transaction_hash
    assert await embedded.token.balance(embedded.b.address) == FUNDS + 5


async def test_replacement_raises_both_fees_by_an_eighth(embedded: World) -> None:
    node = chain_of(embedded)
    node.auto_mine = False
    seen: list[JobBroadcast | JobStalled] = []
    fees = FeePolicy(replace_after=2, limit=4 * 10**9)
    async with limited(embedded, fees=fees) as chain:
        with chain.job_updates() as updates:
            await chain.transact(transfer(embedded, 5), key=b"pay")
            update = await updates.__anext__()
            while not isinstance(update, JobStalled):
                assert isinstance(update, JobBroadcast)
                seen.append(update)
                # Blocks without it: what a miner does who ignores it.
                waiting = node._mempool._waiting
                node._mempool._waiting = {}
                await node.mine(2)
                node._mempool._waiting = waiting
                update = await updates.__anext__()
        assert "fee limit" in update.reason
        await node.mine()
        mined = await chain.wait_mined(b"pay")
        assert isinstance(mined, JobMined)
    bids = [each.bid for each in seen if isinstance(each, JobBroadcast)]
    assert len(bids) > 3
    for before, after in pairwise(bids):
        assert after.max_fee * 8 >= before.max_fee * 9
        assert after.priority_fee * 8 >= before.priority_fee * 9
        assert after.max_fee <= fees.limit
    assert {each.nonce for each in seen if isinstance(each, JobBroadcast)} == {
        await embedded.rpc.nonce(embedded.a.address) - 1
    }
    assert mined.transaction_hash == seen[-1].transaction_hash  # type: ignore[union-attr]
    assert await embedded.token.balance(embedded.b.address) == FUNDS + 5


@pytest.mark.parametrize("depth", [1, 2, 5, 20])
@pytest.mark.parametrize("keep", [True, False])
async def test_reorganisation_rearms_a_mined_job(world: World, depth: int, keep: bool) -> None:
    await world.control.mine(25)
    with trio.fail_after(PATIENCE):
        async with world.open(world.a, finality=Finality.depth(25)) as chain:
            await chain.transact(transfer(world, 5), key=b"pay")
            before = await chain.wait_mined(b"pay")
            await world.control.mine(depth - 1)
            await world.control.reorg(depth, keep=keep)
            latest = chain.transactions._latest
            assert isinstance(before, JobMined)

            def mined_again() -> bool:
                update = latest[b"pay"]
                return isinstance(update, JobMined) and update.block_hash != before.block_hash

            await until(chain, mined_again)
            assert isinstance(latest[b"pay"], JobMined)
            assert latest[b"pay"].transaction_hash == before.transaction_hash
            await world.control.mine(26)
            await chain.wait(b"pay")
    assert await world.token.balance(world.b.address) == FUNDS + 5


async def test_job_overtaken_by_the_other_party_fails_and_leaves_no_gap(embedded: World) -> None:
    node = chain_of(embedded)
    terms = embedded.terms()
    async with limited(embedded) as chain, embedded.open(embedded.b) as other:
        opening = await embedded.opening(terms)
        node.auto_mine = False
        await chain.submit(opening, key=b"open")
        await chain.transact(transfer(embedded, 5), key=b"pay")
        await until(chain, lambda: len(chain.transactions._latest) == 2)
        nonce = await embedded.rpc.nonce(embedded.a.address)
        # The other's opening of the same channel gets mined first.
        ours = node._mempool._waiting.pop(embedded.a.address)
        await other.submit(opening, key=b"open")
        await until(other, lambda: b"open" in other.transactions._latest)
        await node.mine()
        await other.wait_mined(b"open")
        await until(chain, lambda: _is_filler(chain.transactions._latest[b"open"]))
        node._mempool._waiting.setdefault(embedded.a.address, {}).update(
            {each: ours[each] for each in ours if each != nonce}
        )
        await node.mine(5)
        with pytest.raises(ContractRevertedError) as caught:
            await chain.wait(b"open")
        assert caught.value.reason == "ChannelExists"
        await chain.wait(b"pay")
        record = chain.transactions.job(b"open")
        assert record is not None
        assert record.stage is Stage.FAILED
        assert record.data  # what was to be sent is kept
    assert await embedded.rpc.nonce(embedded.a.address) == nonce + 2
    assert (await embedded.rpc.balance(embedded.b.address)) > 0


async def test_failed_receipt_is_tried_again_when_it_can_succeed(
    embedded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deposit fails when mined, as the allowance was gone, and succeeds once it is back."""
    node = chain_of(embedded)
    terms = embedded.terms()
    spender = embedded.deployment.adjudicator
    async with limited(embedded) as chain:
        await chain.submit(await embedded.opening(terms), key=b"open")
        await chain.wait_mined(b"open")
        node.auto_mine = False
        # Ours is signed while the allowance stands; the revocation is mined with a lower nonce.
        nonce = await embedded.rpc.nonce(embedded.a.address)
        revoke = embedded.token.approve(spender, 0)
        await embedded.rpc.send(
            embedded.a.sign_transaction_now(
                UnsignedTransaction(
                    chain_id=1337,
                    nonce=nonce,
                    to=revoke.to,
                    data=revoke.data,
                    value=0,
                    gas=100_000,
                    max_fee=10**11,
                    priority_fee=10**10,
                )
            )
        )
        manager = chain.transactions
        monkeypatch.setattr(Lanes, "next_nonce", lambda self, account: nonce + 1)
        await chain.submit(Deposit(terms=terms, party=Party.A, amount=9), key=b"deposit")
        await until(chain, lambda: isinstance(manager._latest.get(b"deposit"), JobBroadcast))
        monkeypatch.undo()
        await node.mine()
        await until(chain, lambda: isinstance(manager._latest.get(b"deposit"), JobRearmed))
        view = await chain.view(channel_id(embedded.domain, terms))
        assert view.contribution_a == 100 * 10**6
        # Before the failure is final the allowance is back, and the deposit is made once.
        node.auto_mine = True
        await chain.transact(embedded.token.approve(spender, FUNDS), key=b"approve")
        await chain.wait_mined(b"approve")
        await mine_until(embedded, chain, lambda: chain.wait(b"deposit"))
        view = await chain.view(channel_id(embedded.domain, terms))
        assert view.contribution_a == 100 * 10**6 + 9


async def test_job_that_keeps_failing_ends(embedded: World) -> None:
    """Simulations pass and blocks fail: after so many times the manager gives up and says so."""
    async with limited(embedded) as chain:
        intent = attrs.evolve(transfer(embedded, 5), gas=30_000, repeatable=True)
        await chain.transact(intent, key=b"starved")
        with pytest.raises(TransactionFailedError, match="mined and failed 8 times"):
            await mine_until(embedded, chain, lambda: chain.wait(b"starved"))
        record = chain.transactions.job(b"starved")
        assert record is not None
        assert record.reason == KEEPS_FAILING


async def test_nonce_used_by_someone_else(embedded: World) -> None:
    """Another process spent our nonce: the job goes out again, once that is final, not before."""
    node = chain_of(embedded)
    node.auto_mine = False
    async with limited(embedded) as chain:
        await chain.transact(transfer(embedded, 5), key=b"pay")
        await until(chain, lambda: b"pay" in chain.transactions._latest)
        nonce = await embedded.rpc.nonce(embedded.a.address)
        node._mempool.clear()
        await embedded.rpc.send(
            embedded.a.sign_transaction_now(
                UnsignedTransaction(
                    chain_id=1337,
                    nonce=nonce,
                    to=embedded.b.address,
                    data=b"",
                    value=1,
                    gas=21_000,
                    max_fee=10**11,
                    priority_fee=10**10,
                )
            )
        )
        await node.mine()
        assert await embedded.token.balance(embedded.b.address) == FUNDS
        await mine_until(embedded, chain, lambda: chain.wait(b"pay"))
    assert await embedded.token.balance(embedded.b.address) == FUNDS + 5
    assert await embedded.rpc.nonce(embedded.a.address) == nonce + 2


async def test_keys_are_idempotent_for_ever(embedded: World) -> None:
    store = MemoryRecordStore()
    async with limited(embedded, store=store) as chain:
        for _ in range(3):
            await chain.transact(transfer(embedded, 5), key=b"pay")
        await embedded.control.mine(4)
        await mine_until(embedded, chain, lambda: chain.wait(b"pay"))
        await chain.transact(transfer(embedded, 5), key=b"pay")
        with pytest.raises(InvalidValueError, match="other contents"):
            await chain.transact(transfer(embedded, 6), key=b"pay")
    async with limited(embedded, store=store) as chain:
        await chain.transact(transfer(embedded, 5), key=b"pay")
        assert isinstance(await chain.wait(b"pay"), JobFinal)
        assert chain.transactions.unfinished == ()
        assert await embedded.token.balance(embedded.b.address) == FUNDS + 5
        await chain.transactions.forget(b"pay")
        await chain.transact(transfer(embedded, 5), key=b"pay")
        with pytest.raises(InvalidValueError, match="not ended"):
            await chain.transactions.forget(b"pay")
        await chain.wait_mined(b"pay")
    assert await embedded.token.balance(embedded.b.address) == FUNDS + 10


async def test_failed_job_can_be_asked_for_again(embedded: World) -> None:
    terms = embedded.terms()
    async with limited(embedded) as chain:
        newest = embedded.cosigned(terms, 1, EMPTY_PORTFOLIO)
        checkpoint = Checkpoint(terms=terms, newest=newest)
        await chain.submit(checkpoint, key=b"c")
        with pytest.raises(ContractRevertedError):
            await chain.wait(b"c")
        await chain.submit(await embedded.opening(terms), key=b"open")
        await chain.wait_mined(b"open")
        await chain.submit(checkpoint, key=b"c")
        await chain.wait_mined(b"c")
        assert (await chain.view(channel_id(embedded.domain, terms))).nonce == 1


async def test_slow_stream_keeps_the_newest_update_of_each_job(embedded: World) -> None:
    async with limited(embedded) as chain:
        with chain.job_updates() as updates:
            for number in range(4):
                await chain.transact(transfer(embedded, number), key=b"%d" % number)
                await chain.wait_mined(b"%d" % number)
            await embedded.control.mine(3)
            for number in range(4):
                await chain.wait(b"%d" % number)
            assert len(updates._waiting) == 4
            got = [await updates.__anext__() for _ in range(4)]
        assert [type(each) for each in got] == [JobFinal] * 4
        assert chain.transactions._streams == set()


async def test_waiting_for_nothing_is_an_error(embedded: World) -> None:
    async with limited(embedded) as chain:
        with pytest.raises(InvalidValueError, match="no job"):
            await chain.wait(b"unknown")


class Crash(BaseException):
    """The process dies here."""


class CrashingStore(MemoryRecordStore):
    """Dies at the n-th operation, before or after it took effect."""

    def __init__(self, records: dict[bytes, bytes], at: int, after: bool) -> None:
        super().__init__()
        self.records = records
        self.left = at
        self.after = after

    async def put(self, key: bytes, record: bytes) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Crash
        await super().put(key, record)
        if self.left == 0:
            raise Crash


class FullStore(MemoryRecordStore):
    """A disk with no room left."""

    async def put(self, key: bytes, record: bytes) -> None:
        raise StorageError("disk full")


class CrashingProvider:
    """Dies at the n-th broadcast, before or after the node got it."""

    def __init__(self, chain: EmbeddedChain, at: int, after: bool) -> None:
        self.chain = chain
        self.left = at
        self.after = after

    async def make_request(self, method: str, params: object) -> object:
        if method == "eth_sendRawTransaction":
            self.left -= 1
            if self.left == 0 and not self.after:
                raise Crash
        answer = await self.chain.make_request(method, params)  # type: ignore[arg-type]
        if method == "eth_sendRawTransaction" and self.left == 0:
            raise Crash
        return answer


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 9))
@pytest.mark.parametrize("place", ["store", "broadcast"])
async def test_crash_at_every_boundary(place: str, at: int, after: bool) -> None:
    """Three payments, the process killed at each step in turn: each is made exactly once."""
    world = await embedded_world()
    node = chain_of(world)
    records: dict[bytes, bytes] = {}
    start = await world.rpc.nonce(world.a.address)

    async def work(chain: EthereumChain) -> None:
        for number in range(3):
            await chain.transact(transfer(world, 10**number), key=b"%d" % number)
        await node.mine()
        for number in range(3):
            await mine_until(world, chain, lambda number=number: chain.wait(b"%d" % number))  # type: ignore[misc]

    store = CrashingStore(records, at if place == "store" else 0, after)
    provider = CrashingProvider(node, at if place == "broadcast" else 0, after)
    crashed = False
    try:
        async with limited(world, store=store, provider=provider) as chain:
            await work(chain)
    except* Crash:
        crashed = True
    assert crashed or at > (9 if place == "store" else 3)
    store = CrashingStore(records, 0, after)
    async with limited(world, store=store) as chain:
        await work(chain)
    assert await world.token.balance(world.b.address) == FUNDS + 111
    assert await world.rpc.nonce(world.a.address) == start + 3


async def test_jobs_of_an_earlier_run_go_on_by_themselves(embedded: World) -> None:
    node = chain_of(embedded)
    node.auto_mine = False
    store = MemoryRecordStore()
    terms = embedded.terms()
    async with limited(embedded, store=store) as chain:
        await chain.submit(await embedded.opening(terms), key=b"open")
        await chain.submit(Dispute(terms=terms, newest=None), key=b"dispute")
        await until(chain, lambda: b"open" in chain.transactions._latest)
    node._mempool.clear()
    node.auto_mine = True
    async with limited(embedded, store=store) as chain:
        assert set(chain.transactions.unfinished) == {b"open", b"dispute"}
        await node.mine()
        await chain.wait_mined(b"dispute")
        view = await chain.view(channel_id(embedded.domain, terms))
        assert view.phase is OnChainPhase.DISPUTED


async def test_store_that_fails_means_not_accepted(embedded: World) -> None:
    async with limited(embedded, store=FullStore()) as chain:
        with pytest.raises(StorageError):
            await chain.transact(attrs.evolve(transfer(embedded, 1), repeatable=False), key=b"pay")
        assert chain.transactions.unfinished == ()
        assert chain.transactions.unstored == set()


async def test_a_full_disk_does_not_stop_the_defence(embedded: World) -> None:
    """The disk fills up, and the answer to a dispute is mined all the same."""
    store, terms = FullStore(), embedded.terms()
    identity = channel_id(embedded.domain, terms)
    async with limited(embedded) as chain:
        await chain.submit(await embedded.opening(terms), key=b"open")
        await chain.submit(Dispute(terms=terms, newest=None), key=b"dispute")
        await chain.wait_mined(b"dispute")
    async with limited(embedded, store=store) as chain:
        newest = embedded.cosigned(terms, 7, EMPTY_PORTFOLIO)
        await chain.submit(Checkpoint(terms=terms, newest=newest), key=b"answer")
        await chain.wait_mined(b"answer")
        await embedded.control.mine(4)
        await chain.wait(b"answer")
        assert (await chain.view(identity)).nonce == 7
        assert chain.transactions.unstored == {b"answer"}
    assert store.records == {}


def test_records_survive_the_round_trip() -> None:
    variant = Variant(hash=b"h" * 32, raw=b"raw", max_fee=2**200, priority_fee=0, filler=True)
    job = JobRecord(
        key=b"k",
        sequence=7,
        name="open",
        to=None,
        data=b"\x00" * 300,
        value=2**255,
        answer=b"",
        repeatable=False,
        gas=5,
        fee_limit=2**130,
        stage=Stage.SIGNED,
        attempts=(Attempt(nonce=3, variants=(variant, variant)), Attempt(nonce=9, variants=())),
        mined_hash=b"m" * 32,
        mined_block=8,
        gas_used=1,
        reason="R",
        message="why",
    )
    assert decode_record(b"k", encode_record(job)) == job
    with pytest.raises(StorageError):
        decode_record(b"k", encode_record(job)[:-3])
    newer = b"\xdc\x00\x02\x63\x00"
    with pytest.raises(SchemaVersionError):
        decode_record(b"k", newer)


def test_records_of_the_schema_before_batches_are_read() -> None:
    variant = Variant(hash=b"h" * 32, raw=b"raw", max_fee=9, priority_fee=3)
    job = JobRecord(
        key=b"k",
        sequence=7,
        name="open",
        to=None,
        data=b"data",
        value=1,
        answer=None,
        repeatable=True,
        gas=5,
        fee_limit=2,
        stage=Stage.SIGNED,
        attempts=(Attempt(nonce=3, variants=(variant,)),),
        output=b"out",
    )
    schema, *fields = msgpack.unpackb(encode_record(job))
    before, attempts, after = fields[:10], fields[10], fields[11:-7]
    older = [[nonce, [each[:-1] for each in variants]] for nonce, variants, _ in attempts]
    assert decode_record(b"k", msgpack.packb([schema - 1, *before, older, *after])) == job


async def test_unaffordable_job_is_stalled_and_visible(embedded: World) -> None:
    node = chain_of(embedded)
    poor = node.accounts[3]
    async with embedded.open(poor) as chain:
        wealth = await embedded.rpc.balance(poor.address)
        with chain.job_updates() as updates, trio.fail_after(PATIENCE):
            too_much = Intent(name="pay", to=embedded.b.address, data=b"", value=wealth + 1)
            await chain.transact(too_much, key=b"pay")
            update = await updates.__anext__()
            assert isinstance(update, JobStalled | JobFailed)


async def test_evidence_is_kept_in_the_record_of_a_failed_checkpoint(embedded: World) -> None:
    terms = embedded.terms()
    newest = embedded.cosigned(terms, 3, Portfolio(net_to_b=4))
    store = MemoryRecordStore()
    async with limited(embedded, store=store) as chain:
        await chain.submit(Checkpoint(terms=terms, newest=newest), key=b"c")
        with pytest.raises(ContractRevertedError):
            await chain.wait(b"c")
    record = decode_record(b"c", store.records[b"c"])
    assert newest.signature_a.compact in record.data
    assert newest.signature_b.compact in record.data
