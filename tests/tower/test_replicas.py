"""Two replicas on one PostgreSQL: what the one on standby takes, the holder defends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import httpx
import pytest
import trio

from channels.chain import EthereumChain, Finality, LocalAccount, RecordStore
from channels.chain.rpc import Provider
from channels.errors import EndpointError, IllegalCommandError
from channels.protocol.signing import Signer
from channels.protocol.types import Party
from channels.tower.book import open_book
from channels.tower.client import TowerClient
from channels.tower.http import tower_app
from channels.tower.kept import watch_key
from channels.tower.lease import Lease, open_lease
from channels.tower.page import status_page
from channels.tower.postgres import PostgresDatabase
from channels.tower.replica import Replica, ReplicaSetup, open_replica
from channels.tower.service import Tower
from tests.chain.world import World
from tests.tower.world import (
    PATIENCE,
    POLICY,
    Channel,
    file_stale,
    fresh_signer,
    open_channel,
    until_recorded,
    world_account,
)


class Blindfold:
    """An endpoint that can be made silent."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.silent = False

    async def make_request(self, method: Any, params: Any) -> Any:
        if self.silent:
            raise EndpointError("no answer")
        return await self._provider.make_request(method, params)


@asynccontextmanager
async def open_eyes(
    world: World, eyes: Provider, store: RecordStore
) -> AsyncIterator[EthereumChain]:
    async with world.open(
        LocalAccount(world_account(world)),
        store=store,
        finality=Finality.depth(2),
        provider=eyes,
    ) as chain:
        yield chain


@attrs.frozen(eq=False)
class Running:
    replica: Replica
    eyes: Blindfold
    lease: Lease

    async def until(self, role: str) -> Tower:
        with trio.fail_after(PATIENCE):
            while True:
                changed, tower = self.replica.changed, self.replica.tower
                if tower is not None and tower.defence.role == role:
                    break
                await changed.wait()
            await tower.ready()
            return tower


@asynccontextmanager
async def running(
    world: World,
    postgres: str,
    signer: Signer,
    name: str,
    *,
    term: float = 60.0,
    blind_after: float = 60.0,
) -> AsyncIterator[Running]:
    """A process; unless said otherwise neither its lease nor its sight ends before the test."""
    database, eyes = PostgresDatabase(postgres), Blindfold(world.provider)
    setup = ReplicaSetup(
        open_chain=partial(open_eyes, world, eyes),
        signer=signer,
        policy=POLICY,
        blind_after=blind_after,
    )
    async with (
        open_book(database) as book,
        open_lease(database, me=name, term=term) as lease,
        open_replica(database, book, lease, setup) as replica,
    ):
        yield Running(replica, eyes, lease)


async def hand_over(tower: Tower, channel: Channel, nonce: int, sequence: int = 1) -> None:
    """Register a state, once the tower has taken in the newest block."""
    with trio.fail_after(PATIENCE):
        while True:
            changed, taken = tower.lookout.changed, tower.lookout.taken
            tip = await channel.world.rpc.block()
            if tip is not None and taken is not None and taken.hash == tip.hash:
                break
            await changed.wait()
    offer = channel.offer(channel.state(nonce), sequence=sequence)
    receipt = await tower.accept(offer.appointment, offer.signature, offer.content)
    assert receipt.receipt.nonce == nonce


@asynccontextmanager
async def client_of(tower: Tower) -> AsyncIterator[TowerClient]:
    app: Any = tower_app(tower)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://tower"
    ) as http:
        yield TowerClient(http, "http://tower", tower.address, tower.chain.domain)


async def mine_until(world: World, tower: Tower, what: Any) -> None:
    with trio.fail_after(PATIENCE):
        while not what():
            changed = tower.lookout.changed
            await world.control.mine()
            await changed.wait()


async def test_what_the_standby_takes_the_holder_defends(world: World, postgres: str) -> None:
    signer = fresh_signer()
    async with world.open(world.b) as bob, running(world, postgres, signer, "left") as left:
        holder = await left.until("holder")
        async with running(world, postgres, signer, "right") as right:
            standby = await right.until("standby")
            with pytest.raises(IllegalCommandError):
                _ = standby.monitor
            # Disputed before anybody had an appointment of it.
            late = await open_channel(world, bob)
            await file_stale(bob, late, 3)
            await hand_over(standby, late, 20)
            assert holder.monitor.channels == ()
            await mine_until(world, holder, lambda: late.id in holder.monitor.channels)
            await until_recorded(bob, late, 20)
            # A newer state, while the holder is at it.
            await hand_over(standby, late, 40, sequence=2)
            await mine_until(
                world,
                holder,
                lambda: (
                    (watched := holder.monitor.watched(late.id)) is not None
                    and watched.newest_nonce == 40
                ),
            )
            # Both know what is watched, and beat, each with numbers of its own.
            await mine_until(world, standby, lambda: standby.beat and holder.beat)
            assert standby.beat is not None
            assert holder.beat is not None
            assert standby.beat.heartbeat.sequence != holder.beat.heartbeat.sequence
            page = status_page(standby, standby.head.timestamp)
            assert "On standby: another process holds the lease and acts." in page
            assert standby.book.root == holder.book.root
            assert standby.book.entries == 1
            # And the customer gets it back from either.
            for tower in (standby, holder):
                async with client_of(tower) as client:
                    found = await client.recover(world.signer_a, late.id)
                assert max(each.state.nonce for each in found.evidence.states) == 40
            await standby.forget(watch_key(late.id, Party.A))
            for tower in (standby, holder):
                await tower.book.refresh()
            assert (holder.book.entries, holder.book.root) == (0, standby.book.root)


async def test_who_ends_in_order_is_followed_at_once_and_who_sees_nothing_makes_room(
    world: World, postgres: str
) -> None:
    signer = fresh_signer()
    async with running(world, postgres, signer, "left", term=600.0, blind_after=6.0) as left:
        await left.until("holder")
        async with running(world, postgres, signer, "right", term=6.0) as right:
            await right.until("standby")
            # Its sight ends long before its lease does.
            left.eyes.silent = True
            tower = await right.until("holder")
            assert tower.defence.sure
            left.lease.term = 6.0
            left.eyes.silent = False
            await left.until("standby")
        # The lease was let go of: nobody waits until it is out.
        await left.until("holder")
