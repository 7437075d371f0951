"""Our answers to what a counterparty asks in an open channel: proposals and closings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from channels.errors import ChannelsError, LimitError, RejectedError
from channels.peer.callbacks import ask, ask_now
from channels.peer.handle import PeerChannel
from channels.peer.marks import Disagreement, live_marks, marks_objection
from channels.peer.quoting import Quoting
from channels.peer.runner import Runner
from channels.peer.setup import PeerSetup
from channels.peer.tasks import Tasks, Tell
from channels.peer.waiting import Outcomes
from channels.protocol import messages as m
from channels.protocol.changes import Remark, Settlement, Trade, marks_of
from channels.protocol.channel import Channel, Phase
from channels.protocol.effects import (
    CloseRequested,
    Notice,
    ProposalReceived,
    WithdrawalRequested,
)
from channels.protocol.events import Answer
from channels.protocol.types import Closing, Portfolio, State, Withdrawal

__all__ = ["Decisions"]


class Decisions:
    """What we answer, each in a task of its own; ``handle`` gives the channel to answer in.

    ``disputed`` says what of a channel's marks is in dispute: a re-mark may leave that as it is.
    """

    def __init__(
        self,
        *,
        setup: PeerSetup,
        handle: Callable[[Runner], PeerChannel],
        disputed: Callable[[bytes], Disagreement],
        quoting: Quoting,
        tasks: Tasks,
        tell: Tell,
    ) -> None:
        self._setup = setup
        self._disputed = disputed
        self._handle = handle
        self._tasks = tasks
        self._tell = tell
        self._quoting = quoting

    def on_notice(self, runner: Runner, outcomes: Outcomes, notice: Notice) -> None:
        """Begin to answer, if this notice wants an answer."""
        identity = runner.channel_id
        match notice:
            case ProposalReceived(request_id=None):
                self._tasks.start(identity, partial(self._decide, runner, notice))
            case ProposalReceived(request_id=bytes(request_id)):
                if not outcomes.offer(request_id, notice):
                    work = partial(self._decline_quote, runner, notice.nonce)
                    self._tasks.start(identity, work)
            case WithdrawalRequested():
                work = partial(self._decide_withdrawal, runner, notice)
                self._tasks.start(identity, work)
            case CloseRequested():
                nonce = notice.closing.nonce
                self._tasks.start(identity, partial(self._accept_closing, runner, nonce))

    async def _decline_quote(self, runner: Runner, nonce: int) -> None:
        entry = runner.channel.ledger.entry(nonce)
        if entry is not None and not entry.declined:  # declined with the quote's other side
            await self._handle(runner).decline(nonce, text="not asked for")

    async def _accept_closing(self, runner: Runner, nonce: int) -> None:
        await runner.feed(Answer(nonce=nonce, accept=True, now=self._setup.now()))

    async def _decide_withdrawal(self, runner: Runner, asked: WithdrawalRequested) -> None:
        """Sign what leaves both their margin, at marks that are still ours."""
        portfolio, handle = asked.withdrawal.state.portfolio, self._handle(runner)
        try:
            objection = None
            now = self._setup.now()
            if any(each.expiry <= now for each in portfolio.positions):
                # Nothing says what it will be paid: a withdrawal on its old marks may lose funds.
                objection = m.Reason.MARGIN, "settle what has expired first"
            elif portfolio.positions:
                objection = self.marks_objection(runner.channel, portfolio, at=now)
        except ChannelsError as error:
            self._tell(runner.channel_id, error)
            objection = m.Reason.BUSY, "we cannot decide for now"
        if objection is not None:
            await handle.decline(asked.withdrawal.nonce, *objection)
        else:
            answer = Answer(nonce=asked.withdrawal.nonce, accept=True, now=self._setup.now())
            await runner.feed(answer)

    async def _decide(self, runner: Runner, proposal: ProposalReceived) -> None:
        """Answer a proposal that no request of ours asked for."""
        handle = self._handle(runner)
        try:
            objection = await self._objection(runner.channel, proposal)
        except ChannelsError as error:
            self._tell(runner.channel_id, error)
            objection = m.Reason.BUSY, "we cannot decide for now"
        if objection is not None:
            await handle.decline(proposal.nonce, *objection)
        else:
            # The breaker moved while we decided, or the desk has no room: it is declined.
            with suppress(RejectedError, LimitError):
                await handle.give_acceptance(proposal.nonce)

    def marks_objection(
        self,
        channel: Channel,
        portfolio: Portfolio,
        known: Disagreement | None = None,
        *,
        at: int | None = None,
    ) -> tuple[m.Reason, str] | None:
        """Why the marks of a portfolio are not ours, if they are not.

        What has expired ``at`` that time, or now, keeps the marks it has: the market is not asked
        for it.
        """
        market, theirs = self._setup.market, marks_of(portfolio)
        if market is None:
            return m.Reason.MARKS, "no market data on our side"
        at_time = self._setup.now() if at is None else at

        def judge() -> tuple[m.Reason, str] | None:
            return marks_objection(
                self._setup.policy,
                live_marks(market, channel.portfolio, theirs.series, at_time),
                theirs,
                held=marks_of(channel.portfolio),
                known=known,
            )

        return ask_now("the market", judge)

    async def _objection(
        self, channel: Channel, proposal: ProposalReceived
    ) -> tuple[m.Reason, str] | None:
        known, now = Disagreement(), self._setup.now()
        at, marked_at = now, proposal.portfolio.marked_at
        if isinstance(proposal.change, Remark):
            known = self._disputed(channel.channel_id)
            if now - marked_at <= self._setup.policy.mark_age:
                at = min(now, marked_at)  # an expiry may have passed while it was on its way
        objection = self.marks_objection(channel, proposal.portfolio, known, at=at)
        if objection is not None:
            return objection
        patience = self._setup.timing.confirm_within
        match proposal.change:
            case Remark():
                return None
            case Settlement(feed=feed, expiry=expiry, price=price):
                source = self._setup.settlement_price
                if source is None:
                    return m.Reason.PRICE, "no settlement source on our side"
                own = await ask("settlement_price", lambda: source(feed, expiry), patience)
                if own == price:
                    return None
                return m.Reason.PRICE, f"settlement price {price}, ours {own}"
            case Trade() as trade:
                if self._quoting.allows_part(channel, trade):
                    return None
                decide = self._setup.accept_trade
                if decide is not None and await ask(
                    "accept_trade", lambda: decide(trade, channel.portfolio), patience
                ):
                    return None
                return m.Reason.DECLINED, "we did not ask for this trade"

    async def take_up_forgotten(self, runner: Runner) -> None:
        """Decline the proposal that waited for a decision when we stopped: nobody decides it now.

        A Closing or a Withdrawal is decided on again: no void would free the side that asked, which
        signs nothing else until its box has passed.
        """
        waiting = (
            each
            for each in runner.channel.ledger.entries
            if each.theirs is not None
            and each.mine is None
            and not (each.declined or each.permanent)
        )
        first = next(waiting, None)
        if runner.channel.phase is Phase.RECEIVED and first is not None:
            match first.value:
                case Closing():
                    await self._accept_closing(runner, first.nonce)
                case Withdrawal() as withdrawal:
                    await self._decide_withdrawal(
                        runner, WithdrawalRequested(withdrawal=withdrawal)
                    )
                case State():
                    text = "we started again"
                    await self._handle(runner).decline(first.nonce, m.Reason.BUSY, text)
