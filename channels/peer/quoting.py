"""Answering requests for quotes, and what becomes of the quotes: taken, taken late, or run out."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

import attrs
import trio

from channels.errors import (
    ChannelsError,
    IllegalCommandError,
    InvalidValueError,
    LimitError,
    MarginError,
    SignerError,
    SigningRefusedError,
    StorageError,
)
from channels.peer.callbacks import ask
from channels.peer.desk import Desk
from channels.peer.desk_news import QuoteTakenLate
from channels.peer.makers import MakerQuote, QuoteRequest, reversed_legs, trade_draft
from channels.peer.marks import marks_to_book_at
from channels.peer.proposing import may_propose
from channels.peer.quote_book import QuoteBook
from channels.peer.runner import Runner
from channels.peer.setup import PeerSetup
from channels.peer.tasks import Tasks, Tell
from channels.protocol import messages as m
from channels.protocol.changes import Marks, Trade, marks_of
from channels.protocol.channel import Channel
from channels.protocol.checks import check_legs, told_of_halt
from channels.protocol.effects import (
    ChangeConfirmed,
    Notice,
    QuoteRequested,
    RecordedOnChain,
)
from channels.protocol.eip712 import keccak
from channels.protocol.events import CancelProposals, Draft, RefuseQuote, SendQuote
from channels.protocol.halts import Mode

__all__ = ["Quoting"]

MAX_QUOTING: Final = 16
"""Requests for quotes in one channel that may wait for the owner's code."""
MOST_HEARD: Final = 64
"""Newest requests of one channel that are known again: over two connections each comes twice."""


class Quoting:
    """What our maker answers, each request in a task of its own, and what is known of the answers.

    ``desk`` None: no limits beyond the channel's own.
    """

    hears: Final = (QuoteRequested, ChangeConfirmed, RecordedOnChain)

    def __init__(
        self,
        *,
        setup: PeerSetup,
        runners: Mapping[bytes, Runner],
        desk: Desk | None,
        tasks: Tasks,
        tell: Tell,
    ) -> None:
        self._setup = setup
        self._runners = runners
        self._desk = desk
        self._tasks = tasks
        self._tell = tell
        self._book = QuoteBook()
        self._asked: dict[bytes, set[bytes]] = {}
        self._heard: dict[bytes, deque[bytes]] = {}

    def quoting(self, identity: bytes) -> bool:
        """Whether a request for a quote waits for the owner's code in a channel."""
        return bool(self._asked.get(identity))

    def resume(self, runner: Runner) -> None:
        """After a start: what we quoted before may still be taken."""
        self._book.resume(runner)

    def on_notice(self, runner: Runner, notice: Notice) -> None:
        """Begin to answer a request; count a quote that was taken."""
        if isinstance(notice, QuoteRequested):
            self._on_request(runner, notice.request)
            return
        offered = self._book.taken(runner.channel_id, notice)
        if offered is None:
            return
        now = self._setup.now()
        if 0 < offered.expires_at < now:
            late = QuoteTakenLate(
                trade_id=offered.trade.trade_id, expired_at=offered.expires_at, taken_at=now
            )
            self._tell(runner.channel_id, late)
        if self._desk is not None and self._desk.filled(runner, offered):
            for each in list(self._runners.values()):
                self._tasks.start(each.channel_id, partial(self.cancel, each))

    def allows_part(self, channel: Channel, trade: Trade) -> bool:
        """Whether a proposed trade is a part of a live quote of ours, as that allows."""
        if self._desk is not None and not self._desk.quoting:
            return False
        return self._book.allows_part(channel, trade, self._setup.now())

    async def cancel(self, runner: Runner, nonce: int | None = None) -> None:
        """Ask for what of ours waits for an answer to be turned down; parts are off at once.

        ``nonce``: that proposal, with the other side of its quote; None: everything.

        Raises:
            IllegalCommandError: nothing of ours waits at ``nonce``.
        """
        if nonce is None:
            self._book.withdraw(runner.channel_id)
            with suppress(IllegalCommandError):  # not open: nothing waits for an answer
                await runner.feed(CancelProposals())
            return
        entry = runner.channel.ledger.entry(nonce)
        if entry is not None and isinstance(entry.change, Trade):
            self._book.withdraw(runner.channel_id, entry.change.trade_id)
        await runner.feed(CancelProposals(nonce=nonce))

    # -- answering

    def _on_request(self, runner: Runner, request: m.RequestForQuote) -> None:
        identity = runner.channel_id
        heard = self._heard.setdefault(identity, deque(maxlen=MOST_HEARD))
        if request.request_id in heard:
            return
        heard.append(request.request_id)
        asked = self._asked.setdefault(identity, set())
        work: Callable[[], Awaitable[object]] = partial(self._quote, runner, request)
        if len(asked) >= MAX_QUOTING:
            refuse = RefuseQuote(request_id=request.request_id, reason=m.Reason.BUSY)
            work = partial(runner.feed, refuse)
        else:
            asked.add(request.request_id)
        self._tasks.start(identity, work)

    async def _quote(self, runner: Runner, request: m.RequestForQuote) -> None:
        refuse = RefuseQuote(request_id=request.request_id, reason=m.Reason.DECLINED)
        try:
            objection = _objection(runner.channel, request, self._setup.now())
            if objection is not None:
                reason, text = objection
                await runner.feed(attrs.evolve(refuse, reason=reason, text=text))
                return
            quote = await self._priced_and_sent(runner, request)
            if quote is None:
                await runner.feed(refuse)
            else:
                work = partial(self._expire, runner, request.request_id, quote.expires_at)
                self._tasks.start(runner.channel_id, work)
        except Exception as error:
            reason, text = _why_not(runner.channel, error)
            await runner.feed(attrs.evolve(refuse, reason=reason, text=text))
            if not isinstance(error, LimitError):  # that the desk has told the owner
                raise
        finally:
            self._asked[runner.channel_id].discard(request.request_id)

    async def _priced_and_sent(
        self, runner: Runner, request: m.RequestForQuote
    ) -> SendQuote | None:
        """Quote on a channel in which nothing is in flight; None for no price.

        New marks under way would make a quote on the old ones worthless, before it is priced and
        while it is. Half of the time is left to name a price in, or to say that there is none.
        """
        patience = min(request.time_to_live / 2, self._setup.timing.confirm_within)
        until = trio.current_time() + patience
        while True:
            with trio.move_on_at(until):
                await runner.wait_until(may_propose)
            quote = await self._price(runner.channel, request)
            if quote is None:
                return None
            try:
                await self._send(runner, quote)
            except IllegalCommandError:
                if may_propose(runner.channel) or trio.current_time() >= until:
                    raise
            else:
                return quote

    async def _price(self, channel: Channel, request: m.RequestForQuote) -> SendQuote | None:
        """What the maker makes of a request; None for no price."""
        maker = self._setup.maker
        if maker is None or (self._desk is not None and not self._desk.quoting):
            return None
        sells = request.side is m.Side.SELL
        legs = reversed_legs(request.legs) if sells else request.legs
        question = QuoteRequest(
            channel_id=channel.channel_id,
            legs=legs,
            time_to_live=request.time_to_live,
            side=channel.side,
            portfolio=channel.portfolio,
            both_sides=request.side is None,
        )

        async def quote() -> SendQuote | None:
            answer = await maker(question)
            if answer is None:
                return None
            now, held = self._setup.now(), marks_of(channel.portfolio)
            marks = marks_to_book_at(self._setup.policy, held, answer.marks)
            return SendQuote(
                request_id=request.request_id,
                sides=tuple(_drafts(channel, question, request.request_id, answer, marks)),
                expires_at=now + min(answer.good_for, request.time_to_live),
                now=now,
                least=answer.least,
            )

        patience = min(request.time_to_live, self._setup.timing.confirm_within)
        return await ask("the maker", quote, patience)

    async def _send(self, runner: Runner, quote: SendQuote) -> None:
        """Send both sides, or the one of them that margin and limits allow."""
        first: ChannelsError | None = None
        choices = [quote.sides, *([each] for each in quote.sides if len(quote.sides) > 1)]
        for sides in choices:
            for draft in sides:
                self._book.add(
                    runner.channel, draft, expires_at=quote.expires_at, least=quote.least
                )
            try:
                await runner.feed(attrs.evolve(quote, sides=tuple(sides)))
            except ChannelsError as error:
                self._book.forget(runner.channel_id, sides)
                if not isinstance(error, LimitError | MarginError | InvalidValueError):
                    raise
                first = first or error
            else:
                return
        if first is not None:
            raise first

    async def _expire(self, runner: Runner, request_id: bytes, expires_at: int) -> None:
        """Take a quote back that nobody took in its time: both are free before its box ends."""
        await trio.sleep(max(expires_at - self._setup.clock(), 0))
        for each in runner.channel.ledger.entries:
            if each.quote == request_id and runner.channel.side.leads(each.nonce):
                with suppress(IllegalCommandError):  # answered already
                    await runner.feed(CancelProposals(nonce=each.nonce))
                return


def _objection(
    channel: Channel, request: m.RequestForQuote, now: int
) -> tuple[m.Reason, str] | None:
    """Why no maker need be asked, if so."""
    if channel.mode is Mode.HALTED:
        return m.Reason.LIMIT, told_of_halt(channel)
    try:
        check_legs(channel, request.legs, now)
    except InvalidValueError as error:
        return m.Reason.INVALID, str(error)
    return None


def _why_not(channel: Channel, error: Exception) -> tuple[m.Reason, str]:
    """What the peer is told where we cannot quote.

    Never our own figures or faults: they would tell of our other counterparties, or how to cause
    them again.
    """
    match error:
        case LimitError():
            return m.Reason.LIMIT, "beyond a limit of ours"
        case InvalidValueError() if channel.mode is not Mode.NORMAL:
            return m.Reason.LIMIT, told_of_halt(channel)
        case MarginError():
            return m.Reason.MARGIN, "a party would not meet its initial margin"
        case IllegalCommandError() | SigningRefusedError():
            return m.Reason.BUSY, "something else is in flight"
        case StorageError() | SignerError():
            return m.Reason.BUSY, ""
        case _:
            return m.Reason.DECLINED, ""


def _drafts(
    channel: Channel,
    question: QuoteRequest,
    request_id: bytes,
    answer: MakerQuote,
    marks: Marks,
) -> Iterator[Draft]:
    """The side that was asked for, or both: buying first, under UTIs of their own."""
    trade_id = keccak(channel.channel_id + request_id)
    ways = [(trade_id, question.legs, answer.prices)]
    if question.both_sides and answer.reverse is not None:
        reverse_id = keccak(b"reverse of " + trade_id)
        ways.append((reverse_id, reversed_legs(question.legs), answer.reverse))
    for identity, legs, prices in ways:
        yield trade_draft(
            trade_id=identity,
            legs=legs,
            prices=prices,
            requester=channel.side.other,
            marks=marks,
            unit=channel.terms.unit,
        )
