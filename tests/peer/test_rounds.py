"""Rounds: one look a channel at a time, and none holds up another's."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from channels.errors import InvalidValueError
from channels.peer.rounds import LOOK_GAP, Rounds
from channels.peer.tasks import Tasks
from channels.protocol.changes import Marks, Remark, Settlement
from channels.protocol.channel import Channel
from channels.protocol.effects import ChangeConfirmed
from channels.protocol.types import EMPTY_PORTFOLIO
from tests.peer.test_breaker import Stub, idle
from tests.protocol.build import ETH, EXPIRY, WAD

MARKS = Marks(marked_at=1, spots={}, series={})


class Looks:
    """A breaker that remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[bytes, Marks | None, str]] = []

    async def look(self, runner: Stub, marks: Marks | None, no_price: str) -> None:
        self.shown.append((runner.channel_id, marks, no_price))


def rounds_of(nursery: trio.Nursery, stubs: list[Stub], market: Any) -> tuple[Rounds, Looks]:
    looks: Any = Looks()
    runners: Any = {each.channel_id: each for each in stubs}
    tasks = Tasks(nursery, lambda identity, notice: None)
    rounds = Rounds(
        runners=runners, own_marks=market, credit=None, breaker=looks, tasks=tasks, interval=1e9
    )
    return rounds, looks


async def test_a_market_that_hangs_holds_up_its_own_channel_only() -> None:
    slow, fast = Stub(idle(), identity=b"slow"), Stub(idle(), identity=b"fast")
    free = trio.Event()

    async def market(channel: Channel) -> Marks:
        if channel is slow.channel:
            await free.wait()
        return MARKS

    async with trio.open_nursery() as nursery:
        rounds, looks = rounds_of(nursery, [slow, fast], market)
        for _ in range(3):
            rounds.look_at_all()
            await trio.testing.wait_all_tasks_blocked()
        assert looks.shown == [(b"fast", MARKS, "")] * 3
        free.set()
        await trio.testing.wait_all_tasks_blocked()
        assert looks.shown[3:] == [(b"slow", MARKS, "")] * 2, "the missed looks are one"


async def test_why_there_is_no_price_is_passed_on() -> None:
    async def market(channel: Channel) -> Marks:
        raise InvalidValueError("the feed is down")

    async with trio.open_nursery() as nursery:
        rounds, looks = rounds_of(nursery, [Stub(idle(), identity=b"one")], market)
        rounds.look(b"one")
        await trio.testing.wait_all_tasks_blocked()
    assert looks.shown == [(b"one", None, "the feed is down")]


async def test_new_marks_are_looked_at_and_other_changes_wait_for_a_head() -> None:
    async def market(channel: Channel) -> Marks:
        return MARKS

    stub: Any = Stub(idle(), identity=b"one")
    async with trio.open_nursery() as nursery:
        rounds, looks = rounds_of(nursery, [stub], market)
        for change in (Remark(), Settlement(feed=ETH, expiry=EXPIRY, price=WAD), None):
            notice = ChangeConfirmed(
                nonce=2, proposal=1, change=change, ours=True, portfolio=EMPTY_PORTFOLIO
            )
            rounds.on_notice(stub, notice)
        await trio.testing.wait_all_tasks_blocked()
    assert len(looks.shown) == 1


async def test_a_channel_that_is_re_marked_without_end_is_looked_at_now_and_then(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def market(channel: Channel) -> Marks:
        return MARKS

    stub: Any = Stub(idle(), identity=b"one")
    notice = ChangeConfirmed(
        nonce=2, proposal=1, change=Remark(), ours=True, portfolio=EMPTY_PORTFOLIO
    )
    async with trio.open_nursery() as nursery:
        rounds, looks = rounds_of(nursery, [stub], market)
        for _ in range(1_000):
            rounds.on_notice(stub, notice)
            await trio.sleep(LOOK_GAP / 100)
        await trio.sleep(2 * LOOK_GAP)
        assert 10 <= len(looks.shown) <= 12
        seen = len(looks.shown)
        rounds.on_notice(stub, notice)
        await trio.testing.wait_all_tasks_blocked()
        assert len(looks.shown) == seen + 1, "after a pause at once"
