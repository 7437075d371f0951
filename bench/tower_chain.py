"""A watchtower against a chain: blocks a second when it catches up, its answer, and a storm.

An Anvil node on this machine stands for the local node of an operator; contracts, transaction
manager, database and tower are real. Without Anvil there are no figures.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from bench.results import Result
from bench.timing import seconds
from channels.chain import Finality, LocalAccount, open_chain
from channels.chain.jobs import JobBroadcast
from channels.storage import open_store
from channels.tower.book import open_book
from channels.tower.chain import BudgetedChain
from channels.tower.service import open_tower
from channels.tower.writes import Cursor, Progress
from tests.chain.world import DAY, ETHER, World, anvil_world, new_key
from tests.conftest import ANVIL, start_anvil
from tests.tower.storm import SLOT, Storm, break_out, storm_of
from tests.tower.world import POLICY, Stand, file_stale, fresh_signer, open_channel

__all__ = ["measure"]

CAUGHT_UP: Final = 3_000
RESPONSES: Final = 40
STORM: Final = 1_000
WALL_SLOT: Final = 3.0
"""Seconds of the clock from block to block in the storm: four times as fast as the real ones."""
_OLD, _NEW = 3, 40
_AT_ONCE: Final = 100


@asynccontextmanager
async def _anvil(*options: str) -> AsyncIterator[World]:
    node, url = start_anvil("--chain-id", "31337", *options)
    try:
        async with anvil_world(url) as world:
            yield world
    finally:
        node.terminate()
        node.wait(10)


@asynccontextmanager
async def _tower(
    world: World, folder: Path, *, cursor: Cursor | None = None
) -> AsyncIterator[Stand]:
    """A tower as an operator runs one: it polls once a second."""
    account = LocalAccount(new_key())
    await world.rpc.request("anvil_setBalance", "0x" + account.address.hex(), hex(100 * ETHER))
    async with (
        open_store(folder / "jobs.db") as store,
        open_book(folder / "book.db") as book,
        open_chain(
            world.provider,
            adjudicator=world.deployment.adjudicator,
            account=account,
            store=store.records("jobs"),
            finality=Finality.depth(2),
        ) as chain,
    ):
        if cursor is not None:
            await book.write(Progress(cursor=cursor))
        async with open_tower(
            BudgetedChain(chain),
            book,
            records=store.records("monitor"),
            signer=fresh_signer(),
            policy=POLICY,
        ) as tower:
            yield Stand(world=world, chain=chain, book=book, store=store, tower=tower, alerts=[])


async def _catch_up(blocks: int) -> float:
    """Blocks a second from a cursor far behind to everything taken in."""
    with tempfile.TemporaryDirectory() as folder:
        # Old states of the node's are not asked for, and to keep them takes it longer than mining.
        async with _anvil("--prune-history", "50") as world:
            start = await world.rpc.block()
            if start is None:
                raise RuntimeError("the node has no block")
            for done in range(0, blocks, _AT_ONCE):
                await world.control.mine(min(_AT_ONCE, blocks - done))
            cursor = Cursor(number=start.number, hash=start.hash, disputes=0)
            began = time.perf_counter()
            async with _tower(world, Path(folder), cursor=cursor) as stand:
                await stand.tower.lookout.ready.wait()
                return blocks / (time.perf_counter() - began)


async def _responses(count: int) -> list[float]:
    """Seconds from the block of a stale dispute to the broadcast of its answer, sorted."""
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        async with (
            _anvil() as world,
            world.open(world.b) as bob,
            _tower(world, Path(folder)) as stand,
        ):
            await stand.tower.ready()
            for _ in range(count):
                channel = await open_channel(world, bob, dispute_window=DAY)
                await stand.caught_up()
                offer = channel.offer(channel.state(_NEW))
                await stand.tower.accept(offer.appointment, offer.signature, offer.content)
                with stand.chain.job_updates() as updates:
                    await file_stale(bob, channel, _OLD)
                    began = trio.current_time()
                    async for update in updates:
                        if isinstance(update, JobBroadcast):
                            taken.append(trio.current_time() - began)
                            break
    return sorted(taken)


async def _storm(count: int) -> Storm:
    with tempfile.TemporaryDirectory() as folder:
        async with _anvil() as world, storm_of(world, Path(folder), count) as storm:
            await break_out(storm, slot=WALL_SLOT)
            return storm


def measure() -> list[Result]:
    """Catching up, the answer to one dispute, and a thousand disputes in one block."""
    if not ANVIL.exists():
        return []
    blocks = int(seconds(CAUGHT_UP))
    responses = trio.run(_responses, int(seconds(RESPONSES)) or 4)
    storm = trio.run(_storm, int(seconds(STORM)))
    many = f"{len(storm.channels):,} disputes in one block"
    return [
        Result(
            name=f"tower: catch-up over {blocks:,} blocks of a local node",
            value=trio.run(_catch_up, blocks),
            unit="1/s",
            target=2_000.0,
        ),
        Result(
            name="tower: first broadcast after the block that shows a dispute, p99, polling every "
            "second",
            value=responses[len(responses) * 99 // 100],
            unit="s",
            target=2.0,
        ),
        Result(
            name=f"tower: {many}, last broadcast",
            value=storm.broadcasts[-1],
            unit="s",
        ),
        Result(
            name=f"tower: {many}, all recorded in blocks of 36M gas, as a share of a day",
            value=storm.blocks * SLOT / DAY,
            unit="",
            target=0.25,
        ),
        Result(name=f"tower: {many}, blocks until all are recorded", value=storm.blocks, unit=""),
    ]
