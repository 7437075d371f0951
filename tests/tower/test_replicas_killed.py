"""Two processes on one PostgreSQL, one of them killed in the middle of its answer to disputes.

Whatever the moment, the other finishes with the same nonces and the same bytes, and on chain no
nonce of the lane is used twice or left out.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import attrs
import pytest
import trio

from channels.chain import LocalAccount
from channels.dispute import Evidence
from channels.protocol.eip712 import Address
from channels.protocol.signing import LocalSigner
from channels.tower.book import open_book
from channels.tower.client import open_tower_client
from channels.tower.lease import Lease, open_lease
from channels.tower.postgres import PostgresDatabase
from channels.tower.replicas import open_protection
from tests.chain.world import ETHER, World, anvil_world, new_key
from tests.conftest import ROOT
from tests.tower.world import Channel, file_stale, open_channel

pytestmark = pytest.mark.anvil

PATIENCE: Final = 120.0
CHANNELS: Final = 3
LONG: Final = os.environ.get("OPTION_CHANNELS_FUZZ") == "1"


@attrs.define(eq=False)
class Process:
    """A replica, and what it has said so far."""

    process: trio.Process
    said: list[dict[str, Any]] = attrs.field(factory=list)
    more: trio.Event = attrs.field(factory=trio.Event)
    ended: bool = False

    async def listen(self) -> None:
        assert self.process.stdout is not None
        line = b""
        async for part in self.process.stdout:
            *lines, line = (line + part).split(b"\n")
            self.said += map(json.loads, lines)
            self.more.set()
            self.more = trio.Event()
        self.ended = True
        self.more.set()

    async def told(self, what: str, value: object = None) -> Any:
        """Wait until it has told something, or until the last that it told of it is ``value``."""
        with trio.fail_after(PATIENCE):
            while True:
                more, told = self.more, [each[what] for each in self.said if what in each]
                if told and value in (None, told[-1]):
                    return told[-1]
                assert not self.ended
                await more.wait()


@asynccontextmanager
async def replica(config: dict[str, Any], name: str) -> AsyncIterator[Process]:
    """Run a replica until the block ends."""
    command = [sys.executable, "-m", "tests.tower.replica_process"]
    async with trio.open_nursery() as nursery:
        started = await trio.lowlevel.open_process(
            [*command, json.dumps({**config, "name": name})],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        process = Process(started)
        nursery.start_soon(process.listen)
        try:
            yield process
        finally:
            started.send_signal(signal.SIGCONT)
            started.kill()
            await started.wait()
        nursery.cancel_scope.cancel()


async def hand_over(world: World, url: str, tower: Address, channel: Channel) -> None:
    async with (
        open_tower_client(url, tower, world.domain) as client,
        open_protection([client], signer=world.signer_a, domain=world.domain) as protection,
    ):
        evidence = Evidence(terms=channel.terms, states=(channel.state(40),))
        with trio.fail_after(PATIENCE):
            (receipt,) = await protection.protected(evidence)
    assert receipt.receipt.nonce == 40


async def until_answered(world: World, channels: list[Channel]) -> None:
    """Mine blocks until every channel has the newest state recorded."""
    async with world.open(world.b) as bob:
        with trio.fail_after(PATIENCE):
            for channel in channels:
                while (await bob.reader.view(channel.id)).nonce != 40:
                    head = bob.head.number
                    await world.control.mine()
                    async for update in bob.updates():
                        if update.head.number > head:
                            break


@asynccontextmanager
async def lease_of(database: str) -> AsyncIterator[Lease]:
    """The processes' lease, to look at it, and to have a dead holder's be out at once."""
    shared = await trio.to_thread.run_sync(PostgresDatabase, database)
    try:
        async with open_lease(shared, me="the clock") as lease:
            yield lease
    finally:
        shared.close()


async def mined_of(world: World, account: Address) -> list[tuple[int, bytes]]:
    """Nonce and hash of every transaction of an account, in the order of the chain."""
    request = world.rpc.request
    found = []
    for number in range(int(await request("eth_blockNumber"), 16) + 1):
        block: Any = await request("eth_getBlockByNumber", hex(number), True)
        for each in block["transactions"]:
            if bytes.fromhex(each["from"][2:]) == account:
                found.append((int(each["nonce"], 16), bytes.fromhex(each["hash"][2:])))
    return found


async def tokens(database: str) -> dict[int, list[tuple[int, bytes]]]:
    """Of every nonce the tokens it was signed under and the hashes, in that order."""
    found: dict[int, list[tuple[int, bytes]]] = {}
    async with open_book(database) as book:
        for nonce, token, hashed in book.select(
            "SELECT nonce, token, hash FROM signed ORDER BY token, time"
        ):
            found.setdefault(nonce, []).append((token, hashed))
    return found


Fate = tuple[str, int]
ALWAYS: Final[list[list[Fate]]] = [[("before", 2), ("after", 2)]]
AT_LENGTH: Final[list[list[Fate]]] = [
    *([(fate, number)] for fate in ("before", "after") for number in (1, 2, 3)),
    [("sleep", 1)],
    [("sleep", 2)],
    [("after", 1), ("before", 1), ("sleep", 1), ("after", 2)],
]


@pytest.mark.parametrize("fates", ALWAYS + AT_LENGTH * LONG, ids=str)
async def test_the_next_process_finishes(
    fates: list[Fate], postgres: str, fresh_anvil_url: str
) -> None:
    gas, signer = LocalAccount(key := new_key()), LocalSigner(tower_key := new_key())
    async with anvil_world(fresh_anvil_url) as world:
        await world.rpc.request("anvil_setBalance", "0x" + gas.address.hex(), hex(ETHER))
        config = {
            "rpc": fresh_anvil_url,
            "database": postgres,
            "adjudicator": world.deployment.adjudicator.hex(),
            "gas": key.hex(),
            "signer": tower_key.hex(),
        }
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            bob = await enter(world.open(world.b))
            lease = await enter(lease_of(postgres))
            channels = [await open_channel(world, bob) for _ in range(CHANNELS)]
            lives = iter([*fates, ("", 0)])

            async def begin() -> Process:
                fate, fatal = next(lives)
                life = {**config, "fate": fate, "fatal": fatal}
                return await enter(replica(life, f"the one to {fate or 'live'}"))

            holder = await begin()
            await holder.told("ready", "holder")
            standby = await begin()
            await standby.told("ready", "standby")
            token = (await lease.state()).token
            for channel in channels:
                await hand_over(world, await standby.told("url"), signer.address, channel)
            async with trio.open_nursery() as nursery:
                for channel in channels:
                    nursery.start_soon(file_stale, bob, channel, 3)
            asleep = []
            for number, (fate, _) in enumerate(fates, 1):
                if fate == "sleep":
                    await holder.told("sleeping")
                    asleep.append(holder)
                else:
                    with trio.fail_after(PATIENCE):
                        assert await holder.process.wait() == -signal.SIGKILL
                await lease.release(token)
                holder = standby
                await holder.told("acts")  # before another one is there that could be faster
                token = (await lease.state()).token
                if number < len(fates):
                    standby = await begin()
            await until_answered(world, channels)
            for each in asleep:
                each.process.send_signal(signal.SIGCONT)
                await each.told("role", "standby")
                await world.control.mine(3)
        mined = await mined_of(world, gas.address)
    signed = await tokens(postgres)
    # Every nonce once, none left out, and nothing waits that could still be mined.
    assert [nonce for nonce, _ in mined] == list(range(len(mined)))
    assert set(signed) == {nonce for nonce, _ in mined}
    # What was signed first for a nonce is what was mined, whoever sent it.
    assert {nonce: each[0][1] for nonce, each in signed.items()} == dict(mined)
    assert len({each[0][0] for each in signed.values()}) > 1 or len(fates) == 1
