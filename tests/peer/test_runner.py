"""One event at a time: whose turn it is in a channel, and that nobody who gave up is given one."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from channels.peer.runner import Runner
from channels.protocol.channel import Channel
from channels.protocol.effects import ModeChanged
from channels.protocol.events import SetMode
from channels.protocol.halts import Mode
from tests.peer.test_breaker import idle


class SlowStore:
    """Commits when it is let to."""

    def __init__(self) -> None:
        self.may = trio.CapacityLimiter(1)
        self.channels: list[bytes] = []

    async def commit(self, batch: list[Any], *, shield: bool) -> None:
        assert shield
        with trio.CancelScope(shield=True):
            async with self.may:
                self.channels.append(batch[0].record)


def runner_of(channel: Channel, store: SlowStore, told: list[str]) -> Runner:
    nothing: Any = None

    def notify(_: Runner, notice: object) -> None:
        assert isinstance(notice, ModeChanged)
        told.append(notice.reason)

    return Runner(
        channel,
        outbound=nothing,
        signer=nothing,
        wallet=nothing,
        store=store,  # type: ignore[arg-type]  # all of it that is used
        submit=nothing,
        notify=notify,
        stored=lambda _: None,
        now=lambda: channel.clock.head_time,
    )


async def test_events_have_their_turns_in_order_and_one_that_gave_up_has_none() -> None:
    store, told = SlowStore(), list[str]()
    runner = runner_of(idle(), store, told)
    gave_up = trio.CancelScope()

    async def halt(reason: str, scope: trio.CancelScope | None = None) -> None:
        with scope or trio.CancelScope():
            await runner.feed(SetMode(mode=Mode.HALTED, reason=reason))

    async with trio.open_nursery() as nursery, store.may:
        for reason in ("first", "second", "third", "fourth"):
            nursery.start_soon(halt, reason, gave_up if reason == "second" else None)
            await trio.testing.wait_all_tasks_blocked()
        assert runner.busy
        assert told == []
        gave_up.cancel()
        await trio.testing.wait_all_tasks_blocked()
    assert told == ["first", "third", "fourth"]
    assert len(set(store.channels)) == 3
    assert not runner.busy


async def test_a_turn_that_is_cancelled_as_it_comes_is_taken_all_the_same() -> None:
    """It was handed over: nobody else would ever have it."""
    store, told = SlowStore(), list[str]()
    runner = runner_of(idle(), store, told)
    second = trio.CancelScope()

    async def first() -> None:
        await runner.feed(SetMode(mode=Mode.HALTED, reason="first"))
        second.cancel()  # after the turn went over, before its task runs

    async def then() -> None:
        with second:
            await runner.feed(SetMode(mode=Mode.REDUCE_ONLY, reason="second"))

    async with trio.open_nursery() as nursery, store.may:
        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(then)
        await trio.testing.wait_all_tasks_blocked()
    assert told == ["first", "second"]
    assert not runner.busy
