"""Our answers to what a counterparty asks in an open channel: proposals, quotes, closings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

import attrs
import trio

from channels.errors import ChannelsError, RejectedError
from channels.peer.callbacks import ask
from channels.peer.handle import PeerChannel
from channels.peer.makers import QuoteRequest, trade_draft
from channels.peer.marks import Disagreement, live_marks, marks_objection
from channels.peer.runner import Runner
from channels.peer.setup import PeerSetup
from channels.peer.tasks import Tasks, Tell
from channels.peer.waiting import Outcomes
from channels.protocol import messages as m
from channels.protocol.changes import Remark, Settlement, Trade, marks_of
from channels.protocol.channel import Channel, Phase
from channels.protocol.effects import CloseRequested, Notice, ProposalReceived, QuoteRequested
from channels.protocol.eip712 import keccak
from channels.protocol.events import Answer, RefuseQuote, SendQuote

__all__ = ["Decisions"]

MAX_QUOTING: Final = 16
"""Requests for quotes in one channel that may wait for the owner's code."""


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
        tasks: Tasks,
        tell: Tell,
    ) -> None:
        self._setup = setup
        self._disputed = disputed
        self._handle = handle
        self._tasks = tasks
        self._tell = tell
        self._quoting: dict[bytes, set[bytes]] = {}

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
            case QuoteRequested():
                self._on_quote_request(runner, notice.request)
            case CloseRequested():
                nonce = notice.closing.nonce
                self._tasks.start(identity, partial(self._accept_closing, runner, nonce))

    def quoting(self, identity: bytes) -> bool:
        """Whether a request for a quote waits for the owner's code in a channel."""
        return bool(self._quoting.get(identity))

    async def _decline_quote(self, runner: Runner, nonce: int) -> None:
        entry = runner.channel.ledger.entry(nonce)
        if entry is not None and not entry.declined:  # declined with the quote's other side
            await self._handle(runner).decline(nonce, text="not asked for")

    async def _accept_closing(self, runner: Runner, nonce: int) -> None:
        await runner.feed(Answer(nonce=nonce, accept=True, now=self._setup.now()))

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
            with suppress(RejectedError):  # the breaker moved while we decided, and it is declined
                await handle.accept(proposal.nonce)

    async def _objection(
        self, channel: Channel, proposal: ProposalReceived
    ) -> tuple[m.Reason, str] | None:
        market, policy = self._setup.market, self._setup.policy
        if market is None:
            return m.Reason.MARKS, "no market data on our side"
        theirs = marks_of(proposal.portfolio)
        patience = self._setup.timing.confirm_within
        known = self._disputed(channel.channel_id)

        async def judge() -> tuple[m.Reason, str] | None:
            return marks_objection(
                policy,
                live_marks(market, channel.portfolio, theirs.series, self._setup.now()),
                theirs,
                held=marks_of(channel.portfolio),
                known=known if isinstance(proposal.change, Remark) else None,
            )

        objection = await ask("the market", judge, patience)
        if objection is not None:
            return objection
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
                decide = self._setup.accept_trade
                if decide is not None and await ask(
                    "accept_trade", lambda: decide(trade, channel.portfolio), patience
                ):
                    return None
                return m.Reason.DECLINED, "we did not ask for this trade"

    def _on_quote_request(self, runner: Runner, request: m.RequestForQuote) -> None:
        identity = runner.channel_id
        asked = self._quoting.setdefault(identity, set())
        if request.request_id in asked:
            return
        work: Callable[[], Awaitable[object]] = partial(self._quote, runner, request)
        if len(asked) >= MAX_QUOTING:
            refuse = RefuseQuote(request_id=request.request_id, reason=m.Reason.BUSY)
            work = partial(runner.feed, refuse)
        else:
            asked.add(request.request_id)
        self._tasks.start(identity, work)

    async def _quote(self, runner: Runner, request: m.RequestForQuote) -> None:
        identity = runner.channel_id
        refuse = RefuseQuote(request_id=request.request_id, reason=m.Reason.DECLINED)
        try:
            with trio.move_on_after(min(request.time_to_live, self._setup.timing.confirm_within)):
                # New marks under way would make a quote on the old ones worthless.
                await runner.wait_until(lambda channel: channel.phase is not Phase.PROPOSED)
            quote = await self._price(runner.channel, request)
            await runner.feed(refuse if quote is None else quote)
        except ChannelsError:
            await runner.feed(attrs.evolve(refuse, reason=m.Reason.BUSY))
            raise
        finally:
            self._quoting[identity].discard(request.request_id)

    async def _price(self, channel: Channel, request: m.RequestForQuote) -> SendQuote | None:
        """What the maker makes of a request; None for no price."""
        maker = self._setup.maker
        if maker is None:
            return None
        question = QuoteRequest(
            channel_id=channel.channel_id,
            legs=request.legs,
            time_to_live=request.time_to_live,
            side=channel.side,
            portfolio=channel.portfolio,
        )

        async def quote() -> SendQuote | None:
            answer = await maker(question)
            if answer is None:
                return None
            draft = trade_draft(
                trade_id=keccak(channel.channel_id + request.request_id),
                legs=request.legs,
                prices=answer.prices,
                requester=channel.side.other,
                marks=answer.marks,
                unit=channel.terms.unit,
            )
            now = self._setup.now()
            return SendQuote(
                request_id=request.request_id,
                sides=(draft,),
                expires_at=now + min(answer.good_for, request.time_to_live),
                now=now,
            )

        patience = min(request.time_to_live, self._setup.timing.confirm_within)
        return await ask("the maker", quote, patience)

    async def decline_forgotten(self, runner: Runner) -> None:
        """Decline what waited for a decision when we stopped: nobody decides it any more."""
        waiting = (
            each
            for each in runner.channel.ledger.entries
            if each.theirs is not None and each.mine is None and not each.declined
        )
        first = next(waiting, None)
        if runner.channel.phase is Phase.RECEIVED and first is not None:
            await self._handle(runner).decline(first.nonce, m.Reason.BUSY, "we started again")
