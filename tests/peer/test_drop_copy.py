"""The drop copy: every business event once, from any place, before and after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from channels.peer.drop_copy import BusinessEvent, DropCopy, EventKind, Pulse
from channels.protocol.changes import Remark, Settlement
from channels.protocol.channel import Channel, Mode
from channels.protocol.effects import Deed
from channels.protocol.halts import Cause
from channels.protocol.ledger import Entry
from channels.protocol.records import encode_channel, encode_journal_entry
from channels.protocol.types import Party, State
from channels.storage import AppendJournal, PutChannel, Store, open_store
from tests.chain.world import World
from tests.peer.world import (
    FEED_NAME,
    PATIENCE,
    UNIT,
    WAD,
    Pair,
    open_channel,
    trade,
    traders,
    trading,
)
from tests.protocol.build import make_leg, make_trade
from tests.protocol.world import opened


async def read(copy: DropCopy, count: int) -> list[BusinessEvent]:
    with trio.fail_after(PATIENCE):
        return [await anext(copy) for _ in range(count)]


async def nothing_more(copy: DropCopy) -> bool:
    with trio.move_on_after(0.05):
        await anext(copy)
        return False
    return True


LIFE = [
    EventKind.OPENED,
    EventKind.TRADE,
    EventKind.REMARK,
    EventKind.MODE,
    EventKind.MODE,
    EventKind.SETTLEMENT,
    EventKind.CLOSED,
]


@asynccontextmanager
async def whole_life(world: World, folder: Path) -> AsyncIterator[tuple[Pair, list[BusinessEvent]]]:
    """A trade, new marks, a halt and its end, a settlement, the close; read while it happens."""
    async with trading(world, folder, opened=False) as pair:
        copy = pair.alice.peer.drop_copy()
        seen: list[BusinessEvent] = []

        async def reader() -> None:
            async for event in copy:
                seen.append(event)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            channel = await open_channel(pair.alice, pair.b)
            await pair.bob.peer.channel(channel.channel_id).wait_open(PATIENCE)
            done = await trade(pair.alice)
            await pair.travel(by=60)
            await pair.channel.remark()
            await pair.channel.set_mode(Mode.HALTED, "lunch")
            await pair.channel.set_mode(Mode.NORMAL, "back")
            expiry = done.legs[0].expiry
            await pair.travel(to=expiry + 60)
            pair.a.market.spot = pair.b.market.spot = 2_900 * WAD
            await pair.channel.settle(FEED_NAME, expiry, 2_900 * WAD)
            await pair.channel.close(PATIENCE)
            nursery.cancel_scope.cancel()
        seen += await read(copy, len(LIFE) - len(seen))
        yield pair, seen


async def test_a_whole_life_once_and_in_order(world: World, tmp_path: Path) -> None:
    async with whole_life(world, tmp_path) as (pair, seen):
        assert [each.kind for each in seen] == LIFE
        numbers = [each.sequence for each in seen]
        assert numbers == sorted(set(numbers))
        opened_, bought, marked, halted, back, paid, closed = seen
        assert {each.channel_id for each in seen} == {pair.channel.channel_id}
        assert bought.portfolio is not None
        assert bought.portfolio.positions[0].quantity == WAD
        assert isinstance(marked.change, Remark)
        assert [(each.cause, each.mode) for each in halted.halts] == [(Cause.OPERATOR, Mode.HALTED)]
        assert (back.halts, opened_.change, closed.change) == ((), None, None)
        assert isinstance(paid.change, Settlement)
        assert paid.change.price == 2_900 * WAD
        # Bob's own journal tells the same business, under numbers of its own.
        theirs = await read(pair.bob.peer.drop_copy(), len(LIFE) - 2)
        assert [each.change for each in theirs if each.change] == [
            each.change for each in seen if each.change
        ]


async def test_from_any_place_the_rest_follows(world: World, tmp_path: Path) -> None:
    async with whole_life(world, tmp_path) as (pair, seen):
        for place, event in enumerate(seen):
            copy = pair.alice.peer.drop_copy(since=event.sequence)
            assert await read(copy, len(seen) - place - 1) == seen[place + 1 :]
            assert await nothing_more(copy)
        for number in range(seen[-1].sequence + 1):
            copy = pair.alice.peer.drop_copy(since=number)
            rest = [each for each in seen if each.sequence > number]
            assert await read(copy, len(rest)) == rest
        assert await nothing_more(pair.alice.peer.drop_copy(since=None))


async def test_a_restart_loses_and_repeats_nothing(world: World, tmp_path: Path) -> None:
    async with whole_life(world, tmp_path) as (_, seen):
        pass
    a, _ = traders(world, tmp_path)
    async with a.running() as alice:
        assert await read(alice.peer.drop_copy(), len(seen)) == seen
        assert await nothing_more(alice.peer.drop_copy(since=seen[-1].sequence))


async def test_what_is_paid_in_and_out_is_told_once_final(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        copies = [desk.peer.drop_copy(since=None) for desk in (pair.alice, pair.bob)]
        starts = [copy.sequence for copy in copies]
        await pair.channel.deposit(7 * UNIT, timeout=PATIENCE)
        await pair.travel(by=1)
        await pair.channel.withdraw(5 * UNIT, 3 * UNIT, timeout=PATIENCE)
        await pair.travel(by=1)
        await pair.bob.channel.deposit(11 * UNIT, timeout=PATIENCE)
        await pair.travel(by=1)
        told = [
            (EventKind.DEPOSIT, (7 * UNIT, 0)),
            (EventKind.WITHDRAWAL, (5 * UNIT, 3 * UNIT)),
            (EventKind.DEPOSIT, (0, 11 * UNIT)),
        ]
        for copy in copies:
            assert [(each.kind, each.amounts) for each in await read(copy, 3)] == told
            assert await nothing_more(copy)
        whole = await read(pair.alice.peer.drop_copy(since=starts[0]), 3)
        for since in range(starts[0], whole[-1].sequence):
            rest = [each for each in whole if each.sequence > since]
            assert await read(pair.alice.peer.drop_copy(since=since), len(rest)) == rest


async def test_a_deposit_that_came_while_we_were_away(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        a, b, channel = pair.a, pair.b, pair.channel.channel_id
        since = pair.alice.peer.drop_copy(since=None).sequence
    async with b.running() as bob:
        await bob.peer.channel(channel).deposit(11 * UNIT, timeout=PATIENCE)
    async with a.running() as alice:
        (event,) = await read(alice.peer.drop_copy(since=since), 1)
        assert (event.kind, event.amounts) == (EventKind.DEPOSIT, (0, 11 * UNIT))


async def test_two_readers_and_a_slow_one(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        slow, quick = pair.alice.peer.drop_copy(since=None), pair.alice.peer.drop_copy(since=None)
        for _ in range(3):
            await trade(pair.alice)
            (event,) = await read(quick, 1)
            assert event.kind is EventKind.TRADE
        assert [each.kind for each in await read(slow, 3)] == [EventKind.TRADE] * 3
        assert slow.sequence == quick.sequence


# -- a journal written by hand


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "journal.db") as made:
        yield made


async def write(store: Store, channel: Channel, deed: Deed, *entries: Entry) -> None:
    body = encode_journal_entry(deed, entries, channel)
    await store.commit(
        [
            PutChannel(channel_id=channel.channel_id, record=encode_channel(channel)),
            AppendJournal(channel_id=channel.channel_id, kind=int(deed), body=body),
        ]
    )


async def test_what_the_chain_recorded_first_is_one_trade(store: Store) -> None:
    """The boxed state final on chain, then the Confirm of its affirmation: one trade, not two."""
    world, change = opened(), make_trade(make_leg(1))
    world.trade(Party.A, change)
    channel = world.alice.channel
    portfolio = channel.portfolio
    boxed = Entry(
        value=State(channel_id=channel.channel_id, nonce=1, valid_until=9, portfolio=portfolio),
        change=change,
    )
    affirmed = Entry(
        value=State(channel_id=channel.channel_id, nonce=2, portfolio=portfolio), change=change
    )
    await write(store, channel, Deed.FULL, boxed)
    await write(store, channel, Deed.CONFIRMED, affirmed)
    await write(store, channel, Deed.VOIDED)
    for since, expected in ((0, [EventKind.TRADE]), (1, []), (2, [])):
        copy = DropCopy(store=store, appended=Pulse(), after=since)
        assert [each.kind for each in await read(copy, len(expected))] == expected
        assert await nothing_more(copy)
