"""A storm: stale disputes on many channels in one block, and one tower to answer them all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import attrs
import trio

from channels.chain import LocalAccount
from channels.chain.accounts import UnsignedTransaction
from channels.chain.bindings import encode_call
from channels.chain.control import AnvilControl
from channels.chain.jobs import JobBroadcast
from channels.chain.readers import AdjudicatorReader
from channels.protocol.calls import Call, Dispute
from channels.protocol.facts import ChannelView
from channels.protocol.signing import LocalSigner
from tests.chain.world import DAY, World, new_key
from tests.tower.world import DEPOSIT, PATIENCE, POLICY, Channel, Stand, fresh_signer, tower_of

T = TypeVar("T")

OLD, NEWEST = 3, 40
BLOCK_GAS: Final = 36_000_000
SLOT: Final = 12
_AT_ONCE: Final = 16
_GWEI: Final = 10**9


@attrs.define
class Storm:
    """What came of a storm. Times in seconds of our clock since the block of the disputes."""

    channels: Sequence[Channel]
    stand: Stand
    broadcasts: list[float] = attrs.field(factory=list)
    fillers: int = 0
    blocks: int = 0
    seconds: float = 0.0

    async def views(self) -> list[ChannelView]:
        """Storage of all channels now."""
        return await in_parallel(self._reader.view, [each.id for each in self.channels])

    async def is_answered(self, channel_id: bytes) -> bool:
        """Whether the newest state is recorded now."""
        return (await self._reader.view(channel_id)).nonce == NEWEST

    @property
    def _reader(self) -> AdjudicatorReader:
        world = self.stand.world
        return AdjudicatorReader(world.rpc, world.deployment.adjudicator)


async def in_parallel(work: Callable[[bytes], Awaitable[T]], items: Iterable[bytes]) -> list[T]:
    """Do something for each, some at once; the answers in order."""
    found: dict[int, T] = {}
    queue = iter(list(enumerate(items)))

    async def worker() -> None:
        for index, item in queue:
            found[index] = await work(item)

    async with trio.open_nursery() as nursery:
        for _ in range(_AT_ONCE):
            nursery.start_soon(worker)
    return [found[index] for index in sorted(found)]


async def send_in_one_block(world: World, account: LocalAccount, calls: Sequence[Call]) -> None:
    """Have all of these mined in one block, however much gas they take."""
    control = _control(world)
    await world.rpc.request("evm_setBlockGasLimit", hex(600_000 * len(calls) + BLOCK_GAS))
    await control.set_auto_mine(False)
    await control.mine()  # the limit counts from the block after this one
    nonce = await world.rpc.nonce(account.address)
    raws = [
        account.sign_transaction_now(
            UnsignedTransaction(
                chain_id=world.domain.chain_id,
                nonce=nonce + index,
                to=world.deployment.adjudicator,
                data=encode_call(call).data,
                value=0,
                gas=500_000,
                max_fee=100 * _GWEI,
                priority_fee=_GWEI,
            )
        )
        for index, call in enumerate(calls)
    ]
    await in_parallel(world.rpc.send, raws)
    before = await world.rpc.block()
    await control.mine()
    await world.rpc.request("evm_setBlockGasLimit", hex(BLOCK_GAS))
    after = await world.rpc.block()
    assert before is not None
    assert after is not None
    assert after.number == before.number + 1
    assert await world.rpc.nonce(account.address) == nonce + len(calls)


def _control(world: World) -> AnvilControl:
    assert isinstance(world.control, AnvilControl)
    return world.control


@asynccontextmanager
async def storm_of(
    world: World, folder: Path, count: int, *, lanes: int = 2
) -> AsyncIterator[Storm]:
    """Open channels, have a tower take an appointment for each; its accounts are its own."""
    accounts = [LocalAccount(new_key()) for _ in range(lanes)]
    for each in accounts:
        await world.rpc.request("anvil_setBalance", "0x" + each.address.hex(), hex(10**19))
    now = await world.control.time()
    channels = [Channel(world, world.terms(dispute_window=DAY), now) for _ in range(count)]
    openings = [await world.opening(each.terms, DEPOSIT) for each in channels]
    await send_in_one_block(world, world.a, openings)
    intake = attrs.evolve(POLICY.intake, quota=2 * count, prepaid=10**30)
    async with tower_of(
        world,
        folder,
        signer=fresh_signer(),
        account=accounts,
        policy=attrs.evolve(POLICY, intake=intake),
    ) as stand:
        stand.patience = PATIENCE * max(1, count // 100)
        await stand.caught_up()
        by_id = {each.id: each for each in channels}

        async def appoint(channel_id: bytes) -> None:
            channel = by_id[channel_id]
            offer = channel.offer(channel.state(NEWEST))
            await stand.tower.accept(offer.appointment, offer.signature, offer.content)

        await in_parallel(appoint, by_id)
        yield Storm(channels=channels, stand=stand)


async def break_out(storm: Storm, *, slot: float = 0.0) -> None:
    """File an old state on every channel in one block, and mine until all are answered.

    ``slot``: seconds of our clock from block to block; without it a block is mined as soon as the
    tower has taken in the one before. Blocks are `SLOT` seconds of chain time apart.
    """
    world, stand = storm.stand.world, storm.stand
    filings = [Dispute(terms=each.terms, newest=each.state(OLD)) for each in storm.channels]
    async with trio.open_nursery() as nursery:
        started = trio.current_time()
        await nursery.start(_count, storm)
        await send_in_one_block(world, world.b, filings)
        started = storm.seconds = trio.current_time()
        waiting = [each.id for each in storm.channels]
        while waiting:
            while waiting and await storm.is_answered(waiting[-1]):
                waiting.pop()
            await trio.sleep(slot)
            await world.control.set_next_time(await world.control.time() + SLOT)
            await stand.head()
            storm.blocks += 1
        storm.seconds = trio.current_time() - started
        storm.broadcasts = [each - started for each in storm.broadcasts]
        nursery.cancel_scope.cancel()


async def _count(storm: Storm, *, task_status: trio.TaskStatus[None]) -> None:
    with storm.stand.chain.job_updates() as updates:
        task_status.started()
        async for update in updates:
            if isinstance(update, JobBroadcast):
                storm.broadcasts.append(trio.current_time())
                storm.fillers += update.filler


__all__ = ["NEWEST", "OLD", "LocalSigner", "Storm", "break_out", "storm_of"]
