"""Attack: words about marks and margin, which nobody signs and which run out of nothing."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio.testing

from channels.errors import BadProposalError, UnexpectedMessageError
from channels.peer.inbox import MOST_TALK, TALK_TIME, Inbox
from channels.pricing import Kind
from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.changes import marks_of
from channels.protocol.channel import Channel, Phase
from channels.protocol.credit import report_marks
from channels.protocol.effects import ChangeRejected, MarksDisputed, Send
from channels.protocol.messages import Reason
from channels.protocol.types import Party
from tests.peer.test_credit_rules import scene
from tests.protocol.build import ETH, ID, WAD, make_leg, make_trade
from tests.protocol.world import World, opened

A, B = Party.A, Party.B


def notice_of(world: World, *positions: m.DisputedPosition) -> m.DisputeNotice:
    nonce = world.alice.channel.ledger.nonce
    return m.DisputeNotice(channel_id=ID, nonce=nonce, positions=positions)


STRANGE = m.DisputedPosition(feed=ETH, kind=Kind.CALL, expiry=3_600, strike=WAD, mine=1, yours=2)


@attrs.define
class Ear:
    """A runner that counts what reaches the channel, each of which may cost a durable write."""

    channel: Channel
    counterparty: bytes = b"\x66" * 20
    heard: int = 0

    async def wait_until(self, condition: Any) -> None:
        assert condition(self.channel)

    async def feed(self, message: m.Message, *, reply: Any = None) -> None:
        del message, reply
        self.heard += 1


@attrs.define
class Caller:
    signer: bytes = b"\x66" * 20


async def test_a_thousand_margin_calls(autojump_clock: trio.testing.MockClock) -> None:
    """Each another one, so each would be stored and journalled."""
    del autojump_clock
    ear = Ear(opened().bob.channel)
    runners: Any = {ID: ear}
    nobody: Any = None
    caller: Any = Caller()
    inbox = Inbox(runners=runners, openings=nobody, tell=nobody)

    async def flood() -> int:
        refused = 0
        for number in range(1, 1_001):
            try:
                await inbox.take(
                    caller, m.MarginCall(channel_id=ID, nonce=0, amount=number, due_by=number)
                )
            except UnexpectedMessageError:
                refused += 1
        return refused

    assert await flood() == 1_000 - MOST_TALK
    assert ear.heard == MOST_TALK
    await inbox.take(caller, m.Cancel(channel_id=ID, nonce=1))
    assert ear.heard == MOST_TALK + 1, "all else is heard as before"
    await trio.sleep(TALK_TIME)
    await flood()
    assert ear.heard == 2 * MOST_TALK + 1


def test_a_call_in_a_state_of_the_far_future() -> None:
    """No newer state would ever end it."""
    world = opened()
    world.trade(A, make_trade(make_leg()))
    bob = world.bob.channel
    call = m.MarginCall(channel_id=ID, nonce=2**64 - 1, amount=1, due_by=1)
    with pytest.raises(BadProposalError, match="nobody signed"):
        world.bob.handle(call)
    assert world.bob.channel == bob
    world.bob.handle(attrs.evolve(call, nonce=bob.ledger.highest_seen))
    assert world.bob.channel.call_received is not None


def test_marks_in_dispute_of_what_is_not_open() -> None:
    """They would reduce a channel in which then nothing could ever end the dispute."""
    for world in (opened(), traded()):
        for positions in ((), (STRANGE,)):
            world.bob.handle(notice_of(world, *positions))
        assert world.bob.told(MarksDisputed) == []


def traded() -> World:
    world = opened()
    world.trade(A, make_trade(make_leg()))
    return world


def test_marks_in_dispute_of_what_is_open_are_told() -> None:
    world = traded()
    (held,) = world.bob.channel.portfolio.positions
    named = attrs.evolve(
        STRANGE, feed=held.feed, kind=Kind(held.kind), expiry=held.expiry, strike=held.strike
    )
    world.bob.handle(notice_of(world, STRANGE, named))
    assert len(world.bob.told(MarksDisputed)) == 1


async def test_reject_answer_reject_answer() -> None:
    """Each refusal of our marks costs us one round of questions a schedule, whatever is answered.

    A round ends in a proposal of ours: three durable writes, as fast as the peer refuses.
    """
    here = scene(A)
    line: Any = here.line
    tasks: Any = here.credit._tasks
    await here.look(60)
    book = here.credit._books[here.line.channel_id]
    for _ in range(3):
        here.credit.on_notice(line, ChangeRejected(nonce=3, reason=Reason.MARKS, text=""))
        here.line.channel = attrs.evolve(here.line.channel, phase=Phase.IDLE)
        held = marks_of(here.line.channel.portfolio)
        said = report_marks(here.line.channel, e.ReportMarks(marks=held, wants_answer=False))
        (report,) = (each.message for each in said.finish(()).effects if isinstance(each, Send))
        assert isinstance(report, m.MarkReport)
        await here.credit._compare(line, book, report)
    assert tasks.started == 1, "asked once"
    assert here.line.said(e.ProposeChange) <= 2, "on schedule, and one answer"
