"""The follower through reorganisations, seen by fast and by slow readers."""

from __future__ import annotations

import random
from typing import cast

import pytest
import trio
import trio.testing

from channels.chain import EmbeddedChain, EthereumChain, Finality
from channels.chain.bindings import encode_call
from channels.chain.control import AnvilControl
from channels.chain.heads import ChainUpdate
from channels.chain.jobs import Intent
from channels.chain.provider import open_provider
from channels.chain.rpc import Provider
from channels.chain.sending import send_now
from channels.chain.subscription import Subscription
from channels.errors import EndpointError, ReorgTooDeepError
from channels.protocol.calls import Deposit
from channels.protocol.facts import ChannelOpened, Deposited
from channels.protocol.types import Party
from tests.chain.world import PATIENCE, World, anvil_world


class Replica:
    """A reader that keeps what it was told, by the rules of `ChainUpdate`."""

    def __init__(self, chain: EthereumChain, since: int | None = None) -> None:
        self.chain = chain
        self.updates: Subscription = chain.updates(since)
        self.blocks: list[ChainUpdate] = []
        self.rewinds: list[int] = []

    def take(self, update: ChainUpdate) -> None:
        if update.rewound_to is not None:
            self.rewinds.append(update.rewound_to)
            self.blocks = [each for each in self.blocks if each.head.number <= update.rewound_to]
            if update.head.number == update.rewound_to:
                assert update.events == ()
                return
        if self.blocks:
            assert update.head.parent_hash == self.blocks[-1].head.hash
            assert update.head.number == self.blocks[-1].head.number + 1
        assert update.head.final_number <= update.head.number
        self.blocks.append(update)

    async def catch_up(self, target: bytes) -> None:
        with trio.fail_after(PATIENCE):
            while not self.blocks or self.blocks[-1].head.hash != target:
                self.take(await self.updates.__anext__())

    @property
    def events(self) -> list[object]:
        return [event for block in self.blocks for event in block.events]


async def tip(world: World) -> bytes:
    block = await world.rpc.block()
    assert block is not None
    return block.hash


@pytest.mark.parametrize("keep", [True, False])
async def test_reorganisations_of_every_depth(world: World, keep: bool) -> None:
    terms = world.terms()
    async with world.open(world.a, finality=Finality.depth(24)) as chain:
        reader = Replica(chain)
        for depth in range(1, 21):
            await world.control.mine(21)
            await reader.catch_up(await tip(world))
            before = reader.blocks[-1].head.number
            await world.control.reorg(depth, keep=keep)
            await reader.catch_up(await tip(world))
            assert reader.rewinds[-1] == before - depth
        assert len(reader.rewinds) == 20
        await chain.submit(await world.opening(terms), key=b"open")
        with trio.fail_after(PATIENCE):
            mined = await chain.wait_mined(b"open")
        await world.control.mine(3)
        await reader.catch_up(await tip(world))
        assert [type(each) for each in reader.events] == [ChannelOpened]
        await world.control.reorg(10, keep=keep)
        await reader.catch_up(await tip(world))
        # The manager sends it again if the chain has dropped it.
        with trio.fail_after(PATIENCE):
            while not reader.events:
                reader.take(await reader.updates.__anext__())
        [event] = reader.events
        assert isinstance(event, ChannelOpened)
        assert event.transaction_hash == mined.transaction_hash
        assert event.block_hash != mined.block_hash  # type: ignore[union-attr]


async def test_rollback_without_new_blocks_is_a_rewind(world: World) -> None:
    async with world.open(world.a, finality=Finality.depth(10)) as chain:
        reader = Replica(chain)
        await world.control.mine(8)
        await reader.catch_up(await tip(world))
        before = reader.blocks[-1].head.number
        await world.control.rollback(3)
        with trio.fail_after(PATIENCE):
            reader.take(await reader.updates.__anext__())
        assert reader.rewinds == [before - 3]
        assert reader.blocks[-1].head.hash == await tip(world)
        await world.control.mine(1)
        await reader.catch_up(await tip(world))
        assert reader.rewinds == [before - 3]


async def test_slow_reader_misses_nothing_and_keeps_little(embedded: World) -> None:
    chain_control = embedded.provider
    assert isinstance(chain_control, EmbeddedChain)
    terms = embedded.terms()
    generator = random.Random(7)
    async with embedded.open(embedded.a, finality=Finality.depth(8)) as chain:
        slow, fast = Replica(chain), Replica(chain)
        await chain.submit(await embedded.opening(terms), key=b"open")
        await chain.wait_mined(b"open")
        for number in range(40):
            call = Deposit(terms=terms, party=Party.A, amount=number + 1)
            await chain.submit(call, key=b"deposit %d" % number)
            await chain.wait_mined(b"deposit %d" % number)
            await fast.catch_up(await tip(embedded))
            if number % 5 == 0:
                await chain_control.reorg(generator.randint(1, 6))
            await fast.catch_up(await tip(embedded))
        await chain_control.mine(100)
        await fast.catch_up(await tip(embedded))
        await slow.catch_up(await tip(embedded))
        assert slow.events == fast.events
        amounts = [each.amount for each in slow.events if isinstance(each, Deposited)]
        assert sorted(amounts) == list(range(1, 41))
        assert len(fast.rewinds) == 8
        assert len(slow.updates._path) <= 10
        assert len(chain._follower.window.blocks) <= 9


async def test_reader_from_an_old_block(embedded: World) -> None:
    async with embedded.open(embedded.a, finality=Finality.depth(3)) as chain:
        await chain.submit(await embedded.opening(embedded.terms()), key=b"open")
        await chain.wait_mined(b"open")
        await embedded.control.mine(90)
        reader = Replica(chain, since=0)
        await reader.catch_up(await tip(embedded))
        assert reader.blocks[0].head.number == 0
        assert [type(each) for each in reader.events] == [ChannelOpened]


async def test_gap_longer_than_the_window(embedded: World) -> None:
    assert isinstance(embedded.provider, EmbeddedChain)
    async with embedded.open(embedded.a, finality=Finality.depth(3)) as chain:
        reader = Replica(chain)
        await reader.catch_up(await tip(embedded))
        for _ in range(200):
            embedded.provider._mine()  # no checkpoint: the follower sees them all at once
        await reader.catch_up(await tip(embedded))
        assert len(reader.blocks) == 201


async def test_reorganisation_below_finality_is_an_error_once(embedded: World) -> None:
    async with embedded.open(embedded.a, finality=Finality.depth(2)) as chain:
        reader = Replica(chain)
        await embedded.control.mine(10)
        await reader.catch_up(await tip(embedded))
        await embedded.control.reorg(5)
        with pytest.raises(ReorgTooDeepError), trio.fail_after(PATIENCE):
            await reader.catch_up(await tip(embedded))
        trouble = chain.trouble
        assert isinstance(trouble, ReorgTooDeepError)
        fresh = Replica(chain)
        await embedded.control.mine()
        await fresh.catch_up(await tip(embedded))
        assert chain.trouble is None
        with pytest.raises(ReorgTooDeepError):
            await reader.updates.__anext__()


async def test_finality_by_tag(embedded: World) -> None:
    assert isinstance(embedded.provider, EmbeddedChain)
    embedded.provider.finality_depth = 5
    async with embedded.open(embedded.a, finality=Finality.tag()) as chain:
        await embedded.control.mine(7)
        with trio.fail_after(PATIENCE):
            reader = Replica(chain)
            await reader.catch_up(await tip(embedded))
        assert chain.head.final_number == chain.head.number - 5
        assert chain.head.final_timestamp == chain.head.timestamp - 5 * 12


@pytest.mark.anvil
async def test_finality_by_tag_on_anvil(other_anvil_url: str) -> None:
    async with (
        anvil_world(other_anvil_url) as world,
        world.open(world.a, finality=Finality.tag()) as chain,
    ):
        await chain.submit(await world.opening(world.terms()), key=b"open")
        with trio.fail_after(PATIENCE):
            mined = await chain.wait_mined(b"open")
            await world.control.mine(3)
            final = await chain.wait(b"open")
        assert final.block_number == mined.block_number
        assert chain.head.final_number == chain.head.number - 2


async def test_lagging_endpoint_is_no_reorganisation(embedded: World) -> None:
    assert isinstance(embedded.provider, EmbeddedChain)
    await embedded.control.mine(5)
    async with embedded.open(embedded.a, finality=Finality.depth(4)) as chain:
        reader = Replica(chain)
        await reader.catch_up(await tip(embedded))
        blocks = embedded.provider._blocks
        held = blocks[-2:]
        del blocks[-2:]
        await chain._follower.poll()
        assert reader.chain.head.hash == held[-1].hash
        blocks.extend(held)
        await embedded.control.mine()
        await reader.catch_up(await tip(embedded))
        assert reader.rewinds == []


class Broken:
    """A provider whose endpoint can be switched off."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self.chain = chain
        self.off = False
        self.asked = trio.Event()

    async def make_request(self, method: str, params: object) -> object:
        if self.off:
            self.asked.set()
            raise EndpointError("off")
        return await self.chain.make_request(method, params)  # type: ignore[arg-type]


async def test_endpoint_that_fails_for_a_while(embedded: World) -> None:
    assert isinstance(embedded.provider, EmbeddedChain)
    broken = Broken(embedded.provider)
    async with embedded.open(embedded.a, provider=broken) as chain:  # type: ignore[arg-type]
        reader = Replica(chain)
        await reader.catch_up(await tip(embedded))
        broken.off = True
        with trio.fail_after(PATIENCE):
            await broken.asked.wait()
            await trio.testing.wait_all_tasks_blocked(0.001)
        assert chain.trouble is not None
        await embedded.control.mine(4)
        broken.off = False
        await reader.catch_up(await tip(embedded))
        assert chain.trouble is None


class Unreliable:
    """A provider whose endpoint, once told to, fails one request in ``every``."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self.chain = chain
        self.every = 0
        self.asked = 0

    async def make_request(self, method: str, params: object) -> object:
        self.asked += 1
        if self.every and self.asked % self.every == 0:
            raise EndpointError("not now")
        return await self.chain.make_request(method, params)  # type: ignore[arg-type]


@pytest.mark.parametrize("behind", [12, 70], ids=["backwards", "forwards"])
async def test_an_endpoint_that_fails_often_is_caught_up_with(embedded: World, behind: int) -> None:
    """Each poll gets farther than the one before, though none reads all that is missing."""
    assert isinstance(embedded.provider, EmbeddedChain)
    unreliable = Unreliable(embedded.provider)
    finality, provider = Finality.depth(4), cast(Provider, unreliable)
    call = encode_call(await embedded.opening(embedded.terms()))
    opening = Intent(name=call.name, to=embedded.domain.adjudicator, data=call.data)
    async with embedded.open(embedded.a, provider=provider, finality=finality) as chain:
        reader = Replica(chain)
        await reader.catch_up(await tip(embedded))
        unreliable.every = behind // 2
        await embedded.control.mine(behind)
        await send_now(embedded.rpc, embedded.a, opening)
        await reader.catch_up(await tip(embedded))
        assert [type(each) for each in reader.events] == [ChannelOpened]


@pytest.mark.anvil
async def test_two_clients_of_one_anvil(anvil_url: str) -> None:
    async with anvil_world(anvil_url) as world, open_provider(anvil_url) as provider:
        control = AnvilControl(provider)
        async with (
            world.open(world.a, finality=Finality.depth(5)) as one,
            world.open(world.b, finality=Finality.depth(5), provider=provider) as two,
        ):
            readers = [Replica(one), Replica(two)]
            for depth in (3, 1, 4):
                await control.mine(6)
                for reader in readers:
                    await reader.catch_up(await tip(world))
                await control.reorg(depth)
            for reader in readers:
                await reader.catch_up(await tip(world))
                assert len(reader.rewinds) == 3
            assert readers[0].blocks[-1].head.hash == readers[1].blocks[-1].head.hash
