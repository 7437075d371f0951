"""Our answers to what a counterparty asks in an open channel: proposals and closings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

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
    Notify,
    Outcome,
    ProposalReceived,
    WithdrawalRequested,
)
from channels.protocol.events import Answer
from channels.protocol.signing import LocalSigner
from channels.protocol.types import Closing, Portfolio, State, Withdrawal

__all__ = ["Decisions"]

_Asking = ProposalReceived | WithdrawalRequested | CloseRequested
_ASKING: Final = (ProposalReceived, WithdrawalRequested, CloseRequested)


class Decisions:
    """What we answer; ``handle`` gives the channel to answer in.

    A re-mark is decided on at once where nothing has to be waited for, all else in a task each.
    ``disputed`` says what of a channel's marks is in dispute: a re-mark may leave that as it is.
    """

    def __init__(
        self,
        *,
        setup: PeerSetup,
        runners: Mapping[bytes, Runner],
        outcomes: Mapping[bytes, Outcomes],
        handle: Callable[[Runner], PeerChannel],
        disputed: Callable[[bytes], Disagreement],
        quoting: Quoting,
        tasks: Tasks,
        tell: Tell,
    ) -> None:
        self._setup = setup
        self._runners = runners
        self._outcomes = outcomes
        self._disputed = disputed
        self._handle = handle
        self._tasks = tasks
        self._tell = tell
        self._quoting = quoting

    async def answer(self, outcome: Outcome, *, at_once: bool) -> None:
        """Answer what a message asked for, or begin to.

        ``at_once``: a decision that needs no waiting may be made here, before the next message.
        """
        for effect in outcome.effects:
            if isinstance(effect, Notify) and isinstance(effect.notice, _ASKING):
                runner = self._runners[outcome.channel.channel_id]
                work = self._work(runner, effect.notice)
                if work is None:
                    continue
                if at_once and self._waits_for_nothing(runner, effect.notice):
                    await self._tasks.guarded(runner.channel_id, work)
                else:
                    self._tasks.start(runner.channel_id, work)

    def _work(self, runner: Runner, notice: _Asking) -> Callable[[], Awaitable[object]] | None:
        """What there is to do; None where whoever asked for the quote has it now."""
        match notice:
            case ProposalReceived(request_id=request_id):
                if request_id is None:
                    return partial(self._decide, runner, notice)
                if self._outcomes[runner.channel_id].offer(request_id, notice):
                    return None
                return partial(self._decline_quote, runner, notice.nonce)
            case WithdrawalRequested():
                return partial(self._decide_withdrawal, runner, notice)
            case CloseRequested():
                return partial(self._accept_closing, runner, notice.closing.nonce)

    def _waits_for_nothing(self, runner: Runner, notice: _Asking) -> bool:
        """Whether a decision is one pass without a cancellation point.

        The task that reads may end with its connection: what it begins it must be sure to finish.
        A key elsewhere may take seconds, in which other channels have to be heard.
        """
        return (
            isinstance(notice, ProposalReceived)
            and isinstance(notice.change, Remark)
            and isinstance(self._setup.signer, LocalSigner)
            and not runner.busy
        )

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
