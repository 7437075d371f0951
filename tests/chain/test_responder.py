"""Several accounts, deadlines, budgets and batches of the transaction manager, on real EVMs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio

from channels.chain import EthereumChain, Finality, LocalAccount, MemoryRecordStore
from channels.chain.fees import GWEI, Urgency
from channels.chain.jobs import (
    Intent,
    JobBroadcast,
    JobFailed,
    JobFinal,
    JobMined,
    JobStalled,
    JobUpdate,
)
from channels.chain.records import Stage
from channels.errors import ContractRevertedError
from channels.protocol.calls import Checkpoint, Deposit
from channels.protocol.terms import Terms, channel_id
from channels.protocol.types import EMPTY_PORTFOLIO, Party
from tests.chain.test_transactions import Crash, CrashingStore, chain_of, mine_until, until
from tests.chain.world import DAY, ETHER, PATIENCE, World, new_key

DEPTH = Finality.depth(2)


async def open_channels(world: World, chain: EthereumChain, count: int) -> list[Terms]:
    terms = [world.terms() for _ in range(count)]
    for each in terms:
        await chain.submit(await world.opening(each), key=b"open" + each.salt)
    for each in terms:
        await chain.wait_mined(b"open" + each.salt)
    return terms


def checkpoint(world: World, terms: Terms, nonce: int = 7) -> Checkpoint:
    return Checkpoint(terms=terms, newest=world.cosigned(terms, nonce, EMPTY_PORTFOLIO))


async def urgency_of(world: World, span: int = DAY, stake: int = 0) -> Urgency:
    now = await world.control.time()
    return Urgency(opened=now, deadline=now + span, stake=stake)


async def nonce_of(world: World, chain: EthereumChain, terms: Terms) -> int:
    view = await chain.reader.view(channel_id(world.domain, terms))
    return view.nonce


def latest(chain: EthereumChain, key: bytes) -> JobUpdate | None:
    return chain.transactions._latest.get(key)


async def seen(chain: EthereumChain, *keys: bytes) -> None:
    """Wait until the manager has seen to these jobs at the newest block of all."""
    tip = await chain.rpc.block()
    assert tip is not None
    manager = chain.transactions
    await until(
        chain,
        lambda: all(
            manager._seen_to.get(each) == tip.hash or not manager._is_open(each) for each in keys
        ),
    )


class Bids:
    """All that is broadcast."""

    def __init__(self) -> None:
        self.seen: list[JobBroadcast] = []
        self.stalls: list[JobStalled] = []

    async def listen(self, chain: EthereumChain, *, task_status: trio.TaskStatus[None]) -> None:
        with chain.job_updates() as updates:
            task_status.started()
            async for each in updates:
                if isinstance(each, JobBroadcast):
                    self.seen.append(each)
                elif isinstance(each, JobStalled):
                    self.stalls.append(each)


# ---------------------------------------------------------------- batches


@pytest.fixture
async def many(embedded: World) -> Sequence[Terms]:
    async with embedded.open(embedded.a) as chain:
        return await open_channels(embedded, chain, 6)


async def submit_quietly(world: World, chain: EthereumChain, terms: Sequence[Terms]) -> list[bytes]:
    """Ask for a checkpoint of each before the manager has seen any."""
    urgency, keys = await urgency_of(world), []
    for each in terms:
        key = b"answer" + each.salt
        await chain.submit(checkpoint(world, each), key=key, urgency=urgency)
        keys.append(key)
    return keys


async def test_many_checkpoints_are_one_transaction(embedded: World, many: Sequence[Terms]) -> None:
    account = LocalAccount(chain_of(embedded).accounts[2]._key.secret)
    with trio.fail_after(PATIENCE):
        async with embedded.open(account, finality=DEPTH) as chain:
            keys = await submit_quietly(embedded, chain, many)
            mined = [await chain.wait_mined(each) for each in keys]
            assert len({each.transaction_hash for each in mined}) == 1
            await embedded.control.mine(2)
            final = [await chain.wait(each) for each in keys]
            assert {each.transaction_hash for each in final} == {mined[0].transaction_hash}
            assert [await nonce_of(embedded, chain, each) for each in many] == [7] * 6
            await until(chain, lambda: chain.transactions.unfinished == ())
            assert await embedded.rpc.nonce(account.address) == 1
            # Alone a first checkpoint takes some 60,000; the batch itself leaves no record.
            assert sum(each.gas_used for each in final) < 6 * 60_000
            assert set(chain.transactions._jobs) == set(keys)


async def test_who_was_overtaken_fails_alone(embedded: World, many: Sequence[Terms]) -> None:
    node = chain_of(embedded)
    with trio.fail_after(PATIENCE):
        async with embedded.open(node.accounts[2], finality=DEPTH) as chain:
            node.auto_mine = False
            keys = await submit_quietly(embedded, chain, many)
            await seen(chain, *[each for each in chain.transactions._open if each not in keys])
            await until(chain, lambda: node._mempool.next_nonce(chain.account, 0) == 1)
            # The other party records the first one itself, newer, and pays more for it.
            node.auto_mine = True
            ours = node._mempool._waiting.pop(chain.account)
            async with embedded.open(embedded.b) as other:
                await other.submit(checkpoint(embedded, many[0], 8), key=b"own")
                await other.wait_mined(b"own")
            node._mempool._waiting.setdefault(chain.account, {}).update(ours)
            await mine_until(embedded, chain, lambda: chain.wait(keys[1]))
            for key in keys[1:]:
                await chain.wait(key)
            with pytest.raises(ContractRevertedError):
                await mine_until(embedded, chain, lambda: chain.wait(keys[0]))
            assert [await nonce_of(embedded, chain, each) for each in many] == [8, 7, 7, 7, 7, 7]


async def test_a_batch_goes_on_after_a_crash_and_after_a_reorganisation(
    embedded: World, many: Sequence[Terms]
) -> None:
    node, store = chain_of(embedded), MemoryRecordStore()
    account = node.accounts[2]
    with trio.fail_after(PATIENCE):
        node.auto_mine = False
        async with embedded.open(account, finality=DEPTH, store=store) as chain:
            keys = await submit_quietly(embedded, chain, many)
            await until(chain, lambda: node._mempool.next_nonce(account.address, 0) == 1)
        node._mempool.clear()
        async with embedded.open(account, finality=DEPTH, store=store) as chain:
            assert set(keys) < set(chain.transactions.unfinished)
            await until(chain, lambda: node._mempool.next_nonce(account.address, 0) == 1)
            node.auto_mine = True
            await node.mine()
            before = await chain.wait_mined(keys[0])
            assert isinstance(before, JobMined)
            await embedded.control.reorg(1, keep=False)

            def again() -> bool:
                update = latest(chain, keys[0])
                return isinstance(update, JobMined) and update.block_hash != before.block_hash

            await until(chain, again)
            await mine_until(embedded, chain, lambda: chain.wait(keys[0]))
            for key in keys:
                assert (await chain.wait(key)).transaction_hash == before.transaction_hash
    assert await embedded.rpc.nonce(account.address) == 1


@pytest.mark.skipif(os.environ.get("OPTION_CHANNELS_FUZZ") != "1", reason="make fuzz")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 22))
async def test_a_batch_survives_a_crash_at_every_write(
    embedded: World, many: Sequence[Terms], at: int, after: bool
) -> None:
    """Six intents, the batch, its transaction, six endings and the batch's own."""
    node, records = chain_of(embedded), dict[bytes, bytes]()
    account, crashed = node.accounts[2], False

    async def work(store: CrashingStore) -> None:
        with trio.fail_after(PATIENCE):
            async with embedded.open(account, finality=DEPTH, store=store) as chain:
                keys = await submit_quietly(embedded, chain, many)
                for key in keys:
                    await mine_until(embedded, chain, lambda key=key: chain.wait(key))  # type: ignore[misc]
                assert [await nonce_of(embedded, chain, each) for each in many] == [7] * 6
                await until(chain, lambda: chain.transactions.unfinished == ())

    try:
        await work(CrashingStore(records, at, after))
    except* Crash:
        crashed = True
    assert crashed or at > 15
    await work(CrashingStore(records, 0, after))
    assert await embedded.rpc.nonce(account.address) <= 3


# ---------------------------------------------------------------- several accounts


async def test_what_one_party_alone_may_send_comes_from_the_first_account(
    embedded: World,
) -> None:
    node = chain_of(embedded)
    second = node.accounts[2]
    with trio.fail_after(PATIENCE):
        async with embedded.open([embedded.a, second], finality=DEPTH) as chain:
            terms = await open_channels(embedded, chain, 3)
            assert await embedded.rpc.nonce(second.address) == 0
            node.auto_mine = False
            for each in terms:
                await chain.submit(checkpoint(embedded, each), key=b"c" + each.salt)
            await chain.submit(Deposit(terms=terms[0], party=Party.A, amount=5), key=b"d")
            await until(chain, lambda: isinstance(latest(chain, b"d"), JobBroadcast))
            # The emptier account first: two checkpoints here, one there, and the deposit.
            assert node._mempool.next_nonce(second.address, 0) >= 1
            await node.mine()
            for each in terms:
                await chain.wait_mined(b"c" + each.salt)
            assert isinstance(await chain.wait_mined(b"d"), JobMined)
            assert [await nonce_of(embedded, chain, each) for each in terms] == [7] * 3


# ---------------------------------------------------------------- who goes first


async def test_an_urgent_job_takes_the_nonce_of_one_that_can_wait(embedded: World) -> None:
    node = chain_of(embedded)
    account = node.accounts[2]
    async with embedded.open(embedded.a) as chain:
        (terms,) = await open_channels(embedded, chain, 1)
    with trio.fail_after(PATIENCE):
        async with embedded.open(account, finality=DEPTH) as chain:
            chain.transactions._depth = 1
            node.auto_mine = False
            pay = Intent(name="pay", to=embedded.b.address, data=b"", value=5, repeatable=True)
            await chain.transact(pay, key=b"pay")
            await until(chain, lambda: isinstance(latest(chain, b"pay"), JobBroadcast))
            waiting, node._mempool._waiting = node._mempool._waiting, {}
            await node.mine()  # a block without it
            node._mempool._waiting = waiting
            await chain.submit(
                checkpoint(embedded, terms), key=b"c", urgency=await urgency_of(embedded)
            )
            await until(chain, lambda: isinstance(latest(chain, b"c"), JobBroadcast))
            urgent, patient = latest(chain, b"c"), latest(chain, b"pay")
            assert isinstance(urgent, JobBroadcast)
            assert isinstance(patient, JobBroadcast)
            assert urgent.nonce == patient.nonce == 0
            assert urgent.bid.max_fee * 8 >= patient.bid.max_fee * 9
            before = await embedded.rpc.balance(embedded.b.address)
            await node.mine()
            assert await nonce_of(embedded, chain, terms) == 7
            # The other goes under the next nonce, and is done once.
            await mine_until(embedded, chain, lambda: chain.wait(b"pay"))
            assert await embedded.rpc.balance(embedded.b.address) == before + 5
            assert await embedded.rpc.nonce(account.address) == 2


async def test_what_there_is_no_room_for_waits_and_the_most_urgent_goes_first(
    embedded: World,
) -> None:
    node = chain_of(embedded)
    async with embedded.open(embedded.a) as chain:
        terms = await open_channels(embedded, chain, 3)
    with trio.fail_after(PATIENCE):
        async with embedded.open(node.accounts[2], finality=DEPTH) as chain:
            chain.transactions._depth = 1
            node.auto_mine = False
            for each, span in zip(terms, (3 * DAY, 2 * DAY, DAY), strict=True):
                urgency = await urgency_of(embedded, span)
                await chain.submit(
                    checkpoint(embedded, each), key=b"c" + each.salt, urgency=urgency
                )
            order = []
            for _ in terms:
                await seen(chain, *chain.transactions.unfinished)
                await node.mine()
                await seen(chain, *chain.transactions.unfinished)
                recorded = [await nonce_of(embedded, chain, each) for each in terms]
                order.append(recorded)
            assert order[-1] == [7, 7, 7]
            assert order[1][2] == 7
            assert sum(order[0]) == 7


async def test_a_budget_is_for_all_that_a_channel_costs_together(embedded: World) -> None:
    node, budget = chain_of(embedded), 400_000 * GWEI
    async with embedded.open(embedded.a) as chain:
        (terms,) = await open_channels(embedded, chain, 1)
    identity = channel_id(embedded.domain, terms)
    with trio.fail_after(PATIENCE):
        async with embedded.open(node.accounts[2], finality=DEPTH) as chain:
            node.auto_mine = False
            wealth = await embedded.rpc.balance(chain.account)
            urgency, manager = await urgency_of(embedded), chain.transactions
            for nonce in (7, 8):
                key = b"c%d" % nonce
                call = checkpoint(embedded, terms, nonce)
                await chain.submit(call, key=key, urgency=urgency, budget=budget)
                await until(chain, lambda key=key: latest(chain, key) is not None)  # type: ignore[misc]
            jobs = [each for each in map(manager.job, (b"c7", b"c8")) if each is not None]
            last = [each.variants[-1] for job in jobs for each in job.attempts]
            assert 0 < sum(each.gas * each.max_fee for each in last) <= budget
            node.auto_mine = True
            await node.mine()
            for key in (b"c7", b"c8"):
                await mine_until(embedded, chain, lambda key=key: chain.wait(key))  # type: ignore[misc]
            assert await nonce_of(embedded, chain, terms) == 8
            paid = await embedded.rpc.balance(node.accounts[2].address)
            assert manager.spent(identity) == wealth - paid


# ---------------------------------------------------------------- on Anvil: fees that rise


@attrs.define
class Rising:
    """An Anvil whose base fee a test sets block by block, and one job on it."""

    world: World
    chain: EthereumChain
    keys: list[bytes]
    base_fee: int = 10 * GWEI

    async def block(self, *, rise: float = 1.125, take: bool = False) -> None:
        """Mine a block; without ``take`` one that leaves our transactions out."""
        await seen(self.chain, *self.keys)
        self.base_fee = int(self.base_fee * rise)
        if not take:
            await self.world.rpc.request("anvil_dropAllTransactions")
        await self.world.rpc.request("anvil_setNextBlockBaseFeePerGas", hex(self.base_fee))
        await self.world.control.mine()
        await self.world.rpc.request("anvil_setNextBlockBaseFeePerGas", hex(self.base_fee))


async def on_anvil(world: World, work: Callable[..., Any], count: int = 1) -> None:
    """Run ``work`` with a manager of its own account, and channels to checkpoint."""
    async with world.open(world.a) as chain:
        terms = await open_channels(world, chain, count)
    account = LocalAccount(new_key())
    await world.rpc.request("anvil_setBalance", "0x" + account.address.hex(), hex(10 * ETHER))
    await world.rpc.request("evm_setAutomine", False)
    bids = Bids()
    with trio.fail_after(2 * PATIENCE):
        async with world.open(account, finality=DEPTH) as chain, trio.open_nursery() as nursery:
            await nursery.start(bids.listen, chain)
            await work(chain, terms, bids)
            nursery.cancel_scope.cancel()


@pytest.mark.anvil
async def test_forty_blocks_of_rising_fees_are_outlasted(fresh_anvil: World) -> None:
    """No block takes it while the base fee rises by 12.5 % each; the forty-first does."""
    world = fresh_anvil

    async def work(chain: EthereumChain, terms: list[Terms], bids: Bids) -> None:
        budget = 10**18
        await world.rpc.request("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
        await world.control.mine()
        rising = Rising(world, chain, [b"c"], base_fee=GWEI)
        await chain.submit(
            checkpoint(world, terms[0]),
            key=b"c",
            urgency=await urgency_of(world),
            budget=budget,
        )
        for _ in range(40):
            await rising.block()
        assert round(rising.base_fee / GWEI) == 111  # 1.125^40
        await rising.block(take=True)
        mined = await chain.wait_mined(b"c")
        assert isinstance(mined, JobMined)
        assert mined.gas_used * mined.gas_price <= budget
        fees = [each.bid for each in bids.seen]
        assert 2 <= len(fees) <= 4
        for before, after in pairwise(fees):
            assert after.max_fee * 8 >= before.max_fee * 9
            assert after.priority_fee * 8 >= before.priority_fee * 9
        assert not bids.stalls

    await on_anvil(world, work)


@pytest.mark.anvil
async def test_a_used_up_budget_is_told_of_drops_nothing_and_holds_up_nobody(
    fresh_anvil: World,
) -> None:
    world = fresh_anvil

    async def work(chain: EthereumChain, terms: list[Terms], bids: Bids) -> None:
        await world.rpc.request("anvil_setNextBlockBaseFeePerGas", hex(10 * GWEI))
        await world.control.mine()
        rising = Rising(world, chain, [b"poor"])
        budget = 100_000 * 20 * GWEI
        poor, rich = (checkpoint(world, each) for each in terms)
        await chain.submit(poor, key=b"poor", urgency=await urgency_of(world), budget=budget)
        while not bids.stalls:
            await rising.block()
        assert bids.stalls[0].exhausted
        assert rising.base_fee * 64_000 < budget * 2
        # Behind a nonce that its holder cannot pay for, an urgent one gets through.
        rising.keys.append(b"rich")
        await rising.block()
        await chain.submit(rich, key=b"rich", urgency=await urgency_of(world), budget=10**18)
        await rising.block(take=True)
        await chain.wait_mined(b"rich")
        assert await nonce_of(world, chain, terms[1]) == 7
        assert await nonce_of(world, chain, terms[0]) == 0
        job = chain.transactions.job(b"poor")
        assert job is not None
        assert job.stage not in (Stage.FINAL, Stage.FAILED)
        # Fees fall, and what waited is done within its budget.
        while not isinstance(latest(chain, b"poor"), JobMined | JobFinal | JobFailed):
            await rising.block(rise=8 / 9, take=True)
        done = latest(chain, b"poor")
        assert isinstance(done, JobMined)
        assert done.gas_used * done.gas_price <= budget
        assert await nonce_of(world, chain, terms[0]) == 7

    await on_anvil(world, work, 2)
