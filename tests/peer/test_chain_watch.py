"""Heads to many channels at once: one whose storage cannot be read makes no other wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import attrs
import trio
import trio.testing

from channels.errors import EndpointError
from channels.peer.chain_watch import READ_PATIENCE, READS_AT_ONCE, watch_chain
from channels.protocol.channel import Phase
from channels.protocol.events import ChainSeen
from channels.protocol.facts import ChainEvent, ChannelView, Deposited, Head, OnChainPhase
from channels.protocol.types import Party

ONE, TWO = b"\x01" * 32, b"\x02" * 32
OPEN = ChannelView(phase=OnChainPhase.OPEN)


@attrs.frozen(kw_only=True)
class Update:
    head: Head
    events: tuple[ChainEvent, ...] = ()
    rewound_to: int | None = None


def update(number: int, *, about: bytes | None = None, rewound_to: int | None = None) -> Update:
    block = number.to_bytes(32, "big")
    head = Head(
        number=number,
        hash=block,
        parent_hash=bytes(32),
        timestamp=12 * number,
        final_number=max(0, number - 3),
        final_timestamp=12 * max(0, number - 3),
    )
    seen = () if about is None else (_deposit(about, number, block),)
    return Update(head=head, events=seen, rewound_to=rewound_to)


def _deposit(channel_id: bytes, number: int, block: bytes) -> Deposited:
    return Deposited(
        block_number=number,
        block_hash=block,
        transaction_hash=block,
        log_index=0,
        channel_id=channel_id,
        party=Party.A,
        amount=1,
    )


@attrs.define
class FakeChain:
    """An endpoint that hangs or fails for the channels it is told to."""

    heads: trio.MemoryReceiveChannel[Update]
    hangs: set[bytes] = attrs.Factory(set)
    fails: set[bytes] = attrs.Factory(set)
    views: dict[bytes, ChannelView] = attrs.Factory(dict)
    reading: int = 0
    most: int = 0
    asked: list[tuple[bytes, int]] = attrs.Factory(list)

    async def updates(self) -> AsyncIterator[Update]:
        async for each in self.heads:
            yield each

    async def view(self, channel_id: bytes, block: int) -> ChannelView:
        self.asked.append((channel_id, block))
        self.reading += 1
        self.most = max(self.most, self.reading)
        try:
            await trio.lowlevel.checkpoint()
            if channel_id in self.hangs:
                await trio.sleep_forever()
            if channel_id in self.fails:
                raise EndpointError("no")
            return self.views.get(channel_id, OPEN)
        finally:
            self.reading -= 1


@attrs.define
class Watch:
    """`watch_chain` over a fake chain, and all that it told."""

    chain: FakeChain
    heads: trio.MemorySendChannel[Update]
    watched: dict[bytes, Phase]
    told: list[tuple[bytes, int]] = attrs.Factory(list)
    views: dict[bytes, ChannelView] = attrs.Factory(dict)
    holds: set[bytes] = attrs.Factory(set)

    async def tell(self, channel_id: bytes, seen: ChainSeen) -> None:
        if channel_id in self.holds:
            await trio.sleep_forever()
        self.told.append((channel_id, seen.head.number))
        self.views[channel_id] = seen.view

    async def start(self, nursery: trio.Nursery) -> None:
        chain: Any = self.chain
        await nursery.start(watch_chain, chain, lambda: self.watched, self.tell, nursery)

    async def head(self, number: int, **said: Any) -> None:
        await self.heads.send(update(number, **said))
        await trio.testing.wait_all_tasks_blocked()

    def heads_of(self, channel_id: bytes) -> list[int]:
        return [number for identity, number in self.told if identity == channel_id]


def watch(*identities: bytes) -> Watch:
    send, receive = trio.open_memory_channel[Update](10)
    return Watch(
        chain=FakeChain(receive), heads=send, watched=dict.fromkeys(identities, Phase.IDLE)
    )


async def test_one_that_hangs_holds_up_no_other(autojump_clock: trio.abc.Clock) -> None:
    here = watch(ONE, TWO)
    async with trio.open_nursery() as nursery:
        await here.heads.send(update(1))
        await here.start(nursery)
        here.chain.hangs = {ONE}
        await here.head(2, about=ONE)
        await here.head(3, about=TWO)
        assert here.heads_of(ONE) == [1]
        assert here.heads_of(TWO) == [1, 2, 3]
        here.chain.hangs = set()
        await trio.sleep(READ_PATIENCE + 1)
        assert here.heads_of(ONE) == [1, 3]
        nursery.cancel_scope.cancel()


async def test_what_was_not_read_in_time_is_read_at_the_next_head(
    autojump_clock: trio.abc.Clock,
) -> None:
    here = watch(ONE)
    async with trio.open_nursery() as nursery:
        await here.heads.send(update(1))
        await here.start(nursery)
        for trouble in (here.chain.hangs, here.chain.fails):
            trouble.add(ONE)
            number = here.heads_of(ONE)[-1]
            await here.head(number + 1, about=ONE)
            await trio.sleep(READ_PATIENCE + 1)
            assert here.heads_of(ONE)[-1] == number
            trouble.clear()
            here.chain.views[ONE] = attrs.evolve(OPEN, nonce=number)
            await here.head(number + 2)
            assert here.heads_of(ONE)[-1] == number + 2
            assert here.views[ONE].nonce == number
        nursery.cancel_scope.cancel()


async def test_a_start_waits_for_no_endpoint_longer_than_that(
    autojump_clock: trio.abc.Clock,
) -> None:
    here = watch(ONE, TWO)
    here.chain.hangs = {ONE}
    async with trio.open_nursery() as nursery:
        await here.heads.send(update(1))
        with trio.fail_after(READ_PATIENCE + 1):
            await here.start(nursery)
        assert here.told == [(TWO, 1)]
        nursery.cancel_scope.cancel()


async def test_so_many_are_read_at_once_and_no_more(autojump_clock: trio.abc.Clock) -> None:
    many = [number.to_bytes(32, "big") for number in range(1, 3 * READS_AT_ONCE)]
    here = watch(*many)
    async with trio.open_nursery() as nursery:
        await here.heads.send(update(1))
        await here.start(nursery)
        assert here.chain.most == READS_AT_ONCE
        assert sorted(here.told) == [(each, 1) for each in many]
        nursery.cancel_scope.cancel()


async def test_heads_that_come_while_one_is_worked_on_are_taken_together(
    autojump_clock: trio.abc.Clock,
) -> None:
    """The newest is told; an event or a rewind among the others still has the storage read."""
    here = watch(ONE)
    async with trio.open_nursery() as nursery:
        await here.heads.send(update(1))
        await here.start(nursery)
        here.chain.hangs = {ONE}
        await here.head(2, about=ONE)
        await here.head(3)
        await here.head(3, rewound_to=2)
        await here.head(4)
        here.chain.hangs = set()
        here.chain.views[ONE] = attrs.evolve(OPEN, nonce=9)
        await trio.sleep(READ_PATIENCE + 1)
        assert here.heads_of(ONE) == [1, 4]
        assert here.views[ONE].nonce == 9
        nursery.cancel_scope.cancel()


async def test_a_channel_that_takes_its_time_holds_up_no_other(
    autojump_clock: trio.abc.Clock,
) -> None:
    here = watch(ONE, TWO)
    async with trio.open_nursery() as nursery:
        await here.heads.send(update(1))
        await here.start(nursery)
        here.holds = {ONE}
        await here.head(2)
        await here.head(3)
        assert here.heads_of(TWO) == [1, 2, 3]
        nursery.cancel_scope.cancel()


async def test_what_never_opened_is_not_watched(autojump_clock: trio.abc.Clock) -> None:
    here = watch(ONE, TWO)
    here.watched[ONE] = Phase.ABANDONED
    async with trio.open_nursery() as nursery:
        await here.heads.send(update(1))
        await here.start(nursery)
        assert {identity for identity, _ in here.chain.asked} == {TWO}
        nursery.cancel_scope.cancel()
