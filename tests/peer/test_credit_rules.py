"""When credit does what: one look at a time, on a real machine, with no network and no clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

from channels.errors import InvalidValueError
from channels.peer.credit import Credit
from channels.peer.credit_policy import CreditPolicy
from channels.peer.policy import RiskPolicy
from channels.peer.tasks import Tasks
from channels.protocol import events as e
from channels.protocol.calls import Call, Deposit
from channels.protocol.changes import Marks, SeriesMark, TradeLeg
from channels.protocol.channel import Channel, Phase
from channels.protocol.credit import standing
from channels.protocol.effects import (
    ChangeRejected,
    MarksStale,
    Outcome,
    OwnMarginShort,
    ProposalLapsed,
)
from channels.protocol.machine import Event, run
from channels.protocol.messages import Reason
from channels.protocol.types import Party
from tests.protocol.build import DEPOSIT, ETH, EXPIRY, SIGNERS, WAD, make_leg, make_trade
from tests.protocol.world import opened

A, B = Party.A, Party.B
POLICY = CreditPolicy()
PUTS = 12


@attrs.define
class Line:
    """A runner without store and network: one side of a real channel, and what it was fed."""

    channel: Channel
    fed: list[Event] = attrs.Factory(list)

    @property
    def channel_id(self) -> bytes:
        return self.channel.channel_id

    async def feed(self, event: Event) -> Outcome:
        self.fed.append(event)
        outcome = run(self.channel, event, SIGNERS[self.channel.side])
        self.channel = outcome.channel
        return outcome

    def said(self, kind: type) -> int:
        return sum(isinstance(each, kind) for each in self.fed)


@attrs.define(kw_only=True)
class Scene:
    """One side of a channel with puts open since ``start``, and credit to look after it."""

    line: Line
    credit: Credit
    start: int
    told: list[Any]
    calls: list[Call]
    spot: int = 3_000
    quoting: bool = False

    def marks(self, at: int) -> Marks:
        return Marks(
            marked_at=at,
            spots={ETH: self.spot * WAD},
            series={
                each.series: SeriesMark(vol=WAD * 6 // 10)
                for each in self.line.channel.portfolio.positions
            },
        )

    async def look(
        self, after: int, *, spot: int | None = None, marks: bool = True, ahead: int = 0
    ) -> None:
        """A head ``after`` seconds from the start, and a look at it, with marks ``ahead`` of it."""
        if spot is not None:
            self.spot = spot
        channel, time = self.line.channel, self.start + after
        old = channel.head
        assert old is not None
        head = attrs.evolve(old, number=old.number + 1, timestamp=time, final_timestamp=time)
        self.line.channel = attrs.evolve(channel, head=head)
        line: Any = self.line
        await self.credit.look(line, self.marks(time + ahead) if marks else None)


def scene(
    side: Party, policy: CreditPolicy = POLICY, *, puts: int = PUTS, more: tuple[TradeLeg, ...] = ()
) -> Scene:
    world = opened()
    world.trade(A, make_trade(make_leg(puts), *more))
    peer = world.alice if side is A else world.bob
    line = Line(peer.channel)
    told: list[Any] = []
    calls: list[Call] = []
    made: list[Scene] = []

    async def own_marks(channel: Channel) -> Marks | None:
        assert channel.head is not None
        return made[0].marks(channel.head.timestamp)

    class Now(Tasks):
        """Does nothing by itself: what it would start is counted."""

        def __init__(self) -> None:
            self.started = 0

        def start(self, identity: bytes, work: Callable[[], Awaitable[object]]) -> None:
            self.started += 1

    credit = Credit(
        policy=policy,
        tolerance=RiskPolicy(),
        own_marks=own_marks,
        quoting=lambda _: made[0].quoting,
        submit=lambda _, call, key: calls.append(call),
        tasks=Now(),
        tell=lambda _, notice: told.append(notice),
    )
    start = peer.channel.portfolio.marked_at
    found = Scene(line=line, credit=credit, start=start, told=told, calls=calls)
    made.append(found)
    return found


# -- marks


@pytest.mark.parametrize(("side", "due"), [(A, 60), (B, 90)])
async def test_the_schedule(side: Party, due: int) -> None:
    here = scene(side)
    await here.look(due - 1)
    assert here.line.said(e.ProposeChange) == 0
    await here.look(due)
    assert here.line.said(e.ProposeChange) == 1
    assert here.line.channel.phase is Phase.PROPOSED


@pytest.mark.parametrize(("side", "due"), [(A, 1), (B, 31)])
async def test_a_move(side: Party, due: int) -> None:
    """Half a per cent of 3,000 is 15: beyond that A waits for nothing, B for A."""
    here = scene(side)
    await here.look(1, spot=3_015)
    assert here.line.said(e.ProposeChange) == 0
    await here.look(1, spot=3_016)
    await here.look(due, spot=3_016)
    assert here.line.said(e.ProposeChange) == 1


async def test_a_quote_in_the_making_goes_first_for_a_while() -> None:
    here = scene(A)
    here.quoting = True
    await here.look(119)
    assert here.line.said(e.ProposeChange) == 0
    await here.look(120)
    assert here.line.said(e.ProposeChange) == 1


async def test_marks_further_ahead_of_the_head_than_a_box_wait_for_the_next_head() -> None:
    """The machine would refuse them: a market does not wait for a slow endpoint."""
    here = scene(A)
    await here.look(60, ahead=here.line.channel.timing.box + 1)
    assert here.line.fed == []
    await here.look(61, ahead=here.line.channel.timing.box)
    assert here.line.said(e.ProposeChange) == 1


async def test_without_marks_nothing_is_proposed() -> None:
    here = scene(A)
    await here.look(600, marks=False)
    assert here.line.fed == []


async def test_a_refusal_asks_for_the_peers_marks_once_a_schedule() -> None:
    here = scene(A)
    await here.look(60)
    line: Any = here.line
    tasks: Any = here.credit._tasks
    for reason, asked in ((Reason.BUSY, 0), (Reason.MARKS, 1), (Reason.MARKS, 1)):
        here.credit.on_notice(line, ChangeRejected(nonce=3, reason=reason, text=""))
        assert tasks.started == asked
    here.line.channel = attrs.evolve(here.line.channel, phase=Phase.IDLE)
    await here.look(120)
    here.credit.on_notice(line, ChangeRejected(nonce=5, reason=Reason.MARKS, text=""))
    assert tasks.started == 2


@pytest.mark.parametrize(
    ("answer", "again"),
    [
        (ChangeRejected(nonce=3, reason=Reason.INVALID, text="of the future"), 61),
        (ChangeRejected(nonce=3, reason=Reason.BUSY, text=""), 61),
        (ProposalLapsed(nonces=(3,), overtaken=True), 61),
        (ProposalLapsed(nonces=(3,), overtaken=False), 120),
        (ChangeRejected(nonce=3, reason=Reason.MARKS, text="spot"), 120),
    ],
)
async def test_marks_not_signed_are_proposed_again_when_they_may_be(
    answer: ChangeRejected | ProposalLapsed, again: int
) -> None:
    """At the next head, which the peer may see too; those it does not agree with, on schedule."""
    here = scene(A)
    await here.look(60)
    idle = attrs.evolve(here.line.channel, phase=Phase.IDLE)
    line: Any = here.line
    here.credit.on_notice(line, answer)
    for after in (60, again - 1, again):
        here.line.channel = attrs.evolve(idle, head=here.line.channel.head)
        assert here.line.said(e.ProposeChange) == 1
        await here.look(after)
    assert here.line.said(e.ProposeChange) == 2


async def test_marks_of_what_waits_for_its_settlement_do_not_grow_old() -> None:
    """No market marks an expired series: its marks cannot be renewed, and nobody's fault is it."""
    here = scene(A)
    expired = EXPIRY - here.start
    for after in (0, 86_400, 2 * 86_400, 30 * 86_400):
        await here.look(expired + after, marks=False)
    assert here.told == []
    assert here.line.fed == []


async def test_marks_grow_old_while_anything_lives_beside_what_expired() -> None:
    later = make_leg(expiry=EXPIRY + 30 * 86_400)
    here = scene(A, puts=2, more=(later,))
    expired = EXPIRY - here.start
    await here.look(expired, marks=False)
    await here.look(expired + 90, marks=False)
    assert [type(each) for each in here.told] == [MarksStale]
    assert here.line.said(e.StartDispute) == 1


async def test_old_marks_are_told_once_and_disputed_after_a_schedule() -> None:
    """48 hours is max_mark_age; half of it, and 90 s for whoever was away."""
    for policy, disputes in ((POLICY, 1), (attrs.evolve(POLICY, automatic=False), 0)):
        here = scene(A, policy)
        half = 24 * 3_600
        await here.look(half - 1, marks=False)
        await here.look(half, marks=False)
        await here.look(half + 89, marks=False)
        assert here.told == []
        await here.look(half + 90, marks=False)
        await here.look(half + 91, marks=False)
        assert here.told == [MarksStale(marked_at=here.start)]
        assert here.line.said(e.StartDispute) == disputes


# -- margin


async def test_a_short_peer_is_called_once_at_our_own_newer_marks() -> None:
    """No re-mark stands yet: the figures are those of our own marks at that head."""
    here = scene(A)
    await here.look(12, spot=2_200)
    (call,) = [each for each in here.line.fed if isinstance(each, e.IssueMarginCall)]
    assert call.due_by == here.start + 12 + POLICY.margin_due
    assert call.amount > 0
    assert not standing(here.line.channel, B).short, "at the marks that both signed it is whole"
    await here.look(24, spot=2_200)
    assert here.line.said(e.IssueMarginCall) == 1
    await here.look(36, spot=3_000)
    assert here.line.said(e.EndMarginCall) == 1
    assert here.line.channel.call_made is None


async def test_due_by_is_the_heads_time_to_the_second() -> None:
    here = scene(A, attrs.evolve(POLICY, margin_due=3_600))
    await here.look(12, spot=2_200)
    call = here.line.channel.call_made
    assert call is not None
    due = call.due_by - here.start
    await here.look(due - 1, spot=2_200)
    assert here.line.said(e.StartDispute) == 0
    await here.look(due, spot=2_200)
    assert here.line.said(e.StartDispute) == 1
    assert here.line.channel.phase is Phase.DISPUTED
    await here.look(due + 12, spot=2_200)
    assert here.line.said(e.StartDispute) == 1


async def test_our_own_shortfall_is_told_once_an_episode() -> None:
    here = scene(B)
    for after, spot in ((12, 2_200), (24, 2_200), (36, 3_000), (48, 2_200)):
        await here.look(after, spot=spot)
    assert [type(each) for each in here.told] == [OwnMarginShort, OwnMarginShort]
    assert here.calls == []


async def test_top_ups_by_ourselves_end_at_the_limit() -> None:
    probe = scene(B)
    await probe.look(12, spot=2_200)
    needed = probe.told[0].amount
    to_maintenance = probe.told[0].maintenance - probe.told[0].equity
    assert 0 < to_maintenance < needed
    for limit, deposited in (
        (to_maintenance * 99 // 100, []),
        (to_maintenance, [to_maintenance]),
        (needed, [needed]),
        (10 * needed, [needed]),
    ):
        here = scene(B, attrs.evolve(POLICY, auto_top_up=limit))
        await here.look(12, spot=2_200)
        await here.look(24, spot=2_200)
        deposits = [each for each in here.calls if isinstance(each, Deposit)]
        assert [each.amount for each in deposits] == deposited
        assert all(each.party is B for each in deposits)


async def test_a_deposit_on_its_way_is_waited_for() -> None:
    """Not final yet: it does not count, and is not made twice, after a restart either."""
    here = scene(B, attrs.evolve(POLICY, auto_top_up=DEPOSIT))
    view = here.line.channel.view
    assert view is not None
    raised = attrs.evolve(view, contribution_b=view.contribution_b + DEPOSIT)
    here.line.channel = attrs.evolve(here.line.channel, view=raised)
    await here.look(12, spot=2_200)
    assert here.calls == []
    assert [type(each) for each in here.told] == [OwnMarginShort]


@pytest.mark.parametrize(
    "wrong",
    [
        {"remark_interval": 0},
        {"remark_spot_move": 0},
        {"remark_vol_move": -1},
        {"margin_due": 0},
        {"remark_patience": -1},
        {"auto_top_up": -1},
        {"stale_marks": 0},
        {"stale_marks": WAD + 1},
    ],
)
def test_a_policy_is_valid_by_construction(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match=next(iter(wrong))):
        CreditPolicy(**wrong)
