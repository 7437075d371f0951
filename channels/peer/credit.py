"""Credit: marks on schedule, margin calls and their cures, and a dispute where neither helps.

`Credit.look` is level-triggered like the machine: it is shown a channel and our own marks and does
what is due, so nothing has to be set again after a restart. What must survive one, the margin
calls, is in the channel. Chain heads are its clock.

A party is judged at the newest marks there are: those of F, or our own once a re-mark to them is
due. What follows is a message first and a dispute at its end, where the contract decides everything
again at the oracle's price. **Without `automatic` a short counterparty may lose us funds.**

Source: design, protocol.md "Margin in every state".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

import attrs

from channels.errors import (
    IllegalCommandError,
    InvalidValueError,
    MarginError,
    SigningRefusedError,
)
from channels.peer.credit_policy import CreditPolicy
from channels.peer.marks import Disagreement, agreed_marks, disagreement, moved
from channels.peer.policy import RiskPolicy
from channels.peer.runner import Runner
from channels.peer.tasks import Tasks, Tell
from channels.protocol.calls import Call, Deposit
from channels.protocol.changes import Marks, Remark, apply, marks_of
from channels.protocol.channel import OPEN_PHASES, Channel, Phase
from channels.protocol.credit import Standing, disputed_positions, marks_of_report, standing
from channels.protocol.effects import (
    ChangeConfirmed,
    ChangeRejected,
    MarginCallUnmet,
    MarksDisputed,
    MarksReported,
    MarksStale,
    Notice,
    OwnMarginShort,
    ProposalLapsed,
    RecordedOnChain,
)
from channels.protocol.events import (
    DisputeMarks,
    Draft,
    EndMarginCall,
    IssueMarginCall,
    ProposeChange,
    ReportMarks,
    StartDispute,
)
from channels.protocol.messages import MarginCall, MarkReport, Reason
from channels.protocol.types import Party, Portfolio
from channels.units import WAD

__all__ = ["Credit"]

_NO_DISPUTE: Final = Disagreement()


@attrs.define(kw_only=True)
class _Book:
    """What one channel's earlier looks left; all of it may be lost with the process."""

    looked_at: tuple[object, ...] = ()
    looked_marks: Marks | None = None
    news_since: int | None = None
    again_at: int = 0
    tried_marks: Marks | None = None
    asked_at: int | None = None
    awaiting: bool = False
    comparing: bool = False
    dispute: Disagreement = _NO_DISPUTE
    dispute_text: str = ""
    disputed_at: int = 0
    told_short: bool = False
    told_unmet: MarginCall | None = None
    stale_since: int | None = None
    told_stale: bool = False
    topped_up_at: int | None = None


class Credit:
    """Every channel's schedule and calls.

    ``own_marks`` asks our market for what is open; ``quoting`` says whether a quote is being made.
    ``submit`` sends a call of the channel of this id to the chain, once a key.
    """

    hears: Final = (
        ChangeRejected,
        ProposalLapsed,
        MarksReported,
        MarksDisputed,
        ChangeConfirmed,
        RecordedOnChain,
    )

    def __init__(
        self,
        *,
        policy: CreditPolicy,
        tolerance: RiskPolicy,
        own_marks: Callable[[Channel], Awaitable[Marks | None]],
        quoting: Callable[[bytes], bool],
        submit: Callable[[bytes, Call, bytes], None],
        tasks: Tasks,
        tell: Tell,
    ) -> None:
        self.policy = policy
        self._tolerance = tolerance
        self._own_marks = own_marks
        self._quoting = quoting
        self._submit = submit
        self._tasks = tasks
        self._tell = tell
        self._books: dict[bytes, _Book] = {}

    def disputed(self, identity: bytes) -> str:
        """Which marks of a channel are in dispute, in words; empty if none."""
        book = self._books.get(identity)
        return "" if book is None else book.dispute_text

    def disagreement(self, identity: bytes) -> Disagreement:
        """What of a channel's marks the two sides do not agree on, as we see it."""
        book = self._books.get(identity)
        return _NO_DISPUTE if book is None else book.dispute

    # -- looking

    async def look(self, runner: Runner, marks: Marks | None) -> None:
        """Do what is due in a channel; ``marks`` are our own of all that is open, None if none.

        Raises:
            ChannelsError: what was due could not be done; the next look tries again.
        """
        channel = runner.channel
        if channel.phase not in OPEN_PHASES or channel.head is None:
            return
        now = channel.head.timestamp
        book = self._books.setdefault(runner.channel_id, _Book())
        seen = (channel.head.number, channel.ledger.nonce, channel.call_made, channel.call_received)
        if seen == book.looked_at and not self._moved(book.looked_marks, marks):
            return
        book.looked_at, book.looked_marks = seen, marks
        if marks is not None and self._remark_due(channel, book, marks, now):
            await self._remark(runner, book, marks, now)
        if await self._end_of_stale_marks(runner, book, now):
            return
        judged = self._newest(runner.channel, marks, now)
        await self._judge_peer(runner, book, judged, now)
        await self._judge_ourselves(runner, book, judged)

    def _moved(self, before: Marks | None, now: Marks | None) -> bool:
        if before is None or now is None:
            return before is not now
        policy = self.policy
        return moved(before, now, spot=policy.remark_spot_move, vol=policy.remark_vol_move)

    # -- marks

    def _remark_due(self, channel: Channel, book: _Book, marks: Marks, now: int) -> bool:
        """Whether new marks are ours to propose: A's on schedule or a move, B's when A is late."""
        held, policy = channel.portfolio, self.policy
        if not held.positions or marks.marked_at <= held.marked_at:
            book.news_since = None
            return False
        if marks.marked_at > now + channel.timing.box:
            return False  # no state takes marks so far ahead of the head: the next head looks again
        news = now - held.marked_at >= policy.remark_interval
        if not news and not self._moved(marks_of(held), marks):
            book.news_since = None
            return False
        if book.news_since is None:
            book.news_since = held.marked_at + policy.remark_interval if news else now
        patience = 0 if channel.side is Party.A else policy.remark_patience
        return now >= book.news_since + patience

    async def _remark(self, runner: Runner, book: _Book, marks: Marks, now: int) -> None:
        interval = self.policy.remark_interval
        if now < book.again_at and not self._moved(book.tried_marks, marks):
            return
        overdue = now >= runner.channel.portfolio.marked_at + 2 * interval
        if self._quoting(runner.channel_id) and not overdue:
            return  # a quote on the marks that stand is about to come, and brings its own
        if await self._propose(runner, marks):
            book.again_at, book.tried_marks = now + interval, marks

    async def _propose(self, runner: Runner, marks: Marks) -> bool:
        """Propose new marks; False where something else is in flight, which goes first."""
        if runner.channel.phase is not Phase.IDLE:
            return False
        draft = Draft(change=Remark(), marks=marks)
        try:
            await runner.feed(ProposeChange(draft=draft, now=marks.marked_at))
        except (SigningRefusedError, IllegalCommandError):
            return False
        return True

    def _newest(self, channel: Channel, marks: Marks | None, now: int) -> Portfolio:
        """F, or F at our own marks where those are news."""
        held = channel.portfolio
        if marks is None or not held.positions or marks.marked_at <= held.marked_at:
            return held
        fresh = now - held.marked_at < self.policy.remark_interval
        if fresh and not self._moved(marks_of(held), marks):
            return held
        try:
            return apply(Remark(), held, marks, channel.terms.unit, channel.margin_model)
        except (MarginError, InvalidValueError):
            return held

    async def _end_of_stale_marks(self, runner: Runner, book: _Book, now: int) -> bool:
        """Dispute while the contract still takes a margin call on the marks there are.

        What has expired waits for its price, which no newer marks bring: only what lives counts.
        """
        channel, policy = runner.channel, self.policy
        live = any(each.expiry > now for each in channel.portfolio.positions)
        age = now - channel.portfolio.marked_at
        oldest = channel.terms.max_mark_age * policy.stale_marks // WAD
        if not live or age < oldest:
            book.stale_since, book.told_stale = None, False
            return False
        if book.stale_since is None:
            book.stale_since = now
        # Whoever was away, we or the chain, has a schedule's time to get new ones first.
        if now < book.stale_since + policy.remark_interval + policy.remark_patience:
            return False
        if not book.told_stale:
            book.told_stale = True
            self._tell(runner.channel_id, MarksStale(marked_at=channel.portfolio.marked_at))
        if policy.automatic:
            await runner.feed(StartDispute())
        return policy.automatic

    # -- margin

    async def _judge_peer(self, runner: Runner, book: _Book, judged: Portfolio, now: int) -> None:
        channel = runner.channel
        other, call = channel.side.other, channel.call_made
        stands = standing(channel, other, judged)
        if not stands.short:
            if call is not None:
                await runner.feed(EndMarginCall(called=other))
            return
        if call is None:
            await runner.feed(
                IssueMarginCall(amount=stands.to_initial, due_by=now + self.policy.margin_due)
            )
        elif now >= call.due_by:
            if book.told_unmet != call:
                book.told_unmet = call
                self._tell(runner.channel_id, MarginCallUnmet(call=call))
            if self.policy.automatic:
                await runner.feed(StartDispute())

    async def _judge_ourselves(self, runner: Runner, book: _Book, judged: Portfolio) -> None:
        channel = runner.channel
        if channel.phase not in OPEN_PHASES:
            return
        stands, call = standing(channel, channel.side, judged), channel.call_received
        if stands.short:
            if not book.told_short:
                book.told_short = True
                self._tell(runner.channel_id, _own_short(stands))
            self._top_up(runner, book, stands)
            return
        book.told_short = False
        # The peer may have called at marks of its own: only a newer state shows both the same.
        if call is not None and channel.ledger.nonce > call.nonce:
            await runner.feed(EndMarginCall(called=channel.side))

    def _top_up(self, runner: Runner, book: _Book, stands: Standing) -> None:
        """Deposit by ourselves, within the policy's limit, what brings us to initial margin.

        The key is what we had contributed: asked again before that changes, after a restart too,
        the chain does nothing.
        """
        channel = runner.channel
        opening, side = channel.track.opening, channel.side
        deposited = opening.deposit_a if side is Party.A else opening.deposit_b
        contributed = channel.contribution(side)
        most = deposited + self.policy.auto_top_up - contributed
        amount = min(stands.to_initial, most)
        waiting = channel.view is not None and channel.view.contribution(side) > contributed
        if waiting or amount < stands.to_maintenance or book.topped_up_at == contributed:
            return
        book.topped_up_at = contributed
        call = Deposit(terms=channel.terms, party=side, amount=amount)
        key = b"top-up" + channel.channel_id + contributed.to_bytes(17, "big", signed=True)
        self._submit(runner.channel_id, call, key)

    # -- marks in dispute

    def on_notice(self, runner: Runner, notice: Notice) -> None:
        """Take in what happened in a channel, and begin to answer it."""
        book = self._books.get(runner.channel_id)
        if book is None:
            return
        identity = runner.channel_id
        match notice:
            case ChangeRejected(reason=Reason.MARKS):
                if self._may_ask(runner, book):
                    self._tasks.start(identity, partial(self._ask_marks, runner))
            case ChangeRejected() | ProposalLapsed(overtaken=True):
                # Its head is older than ours, or something else was in flight: the next head may do
                # what this one did not.
                book.again_at = runner.channel.clock.head_time + 1
            case MarksReported(report=report) if not book.comparing:
                book.comparing = True
                self._tasks.start(identity, partial(self._compare, runner, book, report))
            case MarksDisputed(notice=disputed):
                book.dispute_text = f"marks of {len(disputed.positions)} positions are in dispute"
                book.disputed_at = runner.channel.portfolio.marked_at
            case ChangeConfirmed() | RecordedOnChain():
                held = runner.channel.portfolio
                if held.marked_at > book.disputed_at or not held.positions:
                    book.dispute, book.dispute_text = _NO_DISPUTE, ""

    def _may_ask(self, runner: Runner, book: _Book) -> bool:
        """Ask for the peer's marks once in a schedule's time."""
        now = runner.channel.clock.head_time
        if book.asked_at is not None and now < book.asked_at + self.policy.remark_interval:
            return False
        book.asked_at, book.awaiting = now, True
        return True

    async def _ask_marks(self, runner: Runner) -> None:
        """The peer does not take our marks: tell them in full, and ask for its own."""
        marks = await self._own_marks(runner.channel)
        if marks is not None:
            with suppress(IllegalCommandError):
                await runner.feed(ReportMarks(marks=marks, wants_answer=True))

    async def _compare(self, runner: Runner, book: _Book, report: MarkReport) -> None:
        """Answer a report if it asks for that; else take it as the answer to ours."""
        try:
            ours = await self._own_marks(runner.channel)
            held = marks_of(runner.channel.portfolio)
            theirs = marks_of_report(report)
            # Of another portfolio: a trade went first, and brought marks that both signed.
            if ours is None or theirs.series.keys() != held.series.keys():
                return
            book.dispute = disagreement(self._tolerance, ours, theirs)
            with suppress(IllegalCommandError):
                if report.wants_answer:
                    await runner.feed(ReportMarks(marks=ours, wants_answer=False))
                elif book.awaiting:
                    book.awaiting = False
                    await self._resolve(runner, book.dispute, held, ours, theirs)
        finally:
            book.comparing = False

    async def _resolve(
        self, runner: Runner, found: Disagreement, held: Marks, ours: Marks, theirs: Marks
    ) -> None:
        """Name what is in dispute, with both values, and sign the peer's marks of the rest."""
        if found.series:
            positions = disputed_positions(runner.channel, found.series, ours, theirs)
            await runner.feed(DisputeMarks(positions=positions))
        agreed = agreed_marks(held, theirs, found)
        if agreed is not None and agreed.marked_at >= held.marked_at:
            await self._propose(runner, agreed)


def _own_short(stands: Standing) -> OwnMarginShort:
    return OwnMarginShort(
        equity=stands.equity, maintenance=stands.maintenance, amount=stands.to_initial
    )
