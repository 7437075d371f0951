"""Trading in a channel: ask, propose, accept, decline, take back, take off.

Every wait has a deadline. A proposal that another change overtakes is made again on the new
portfolio; its caller notices nothing but latency.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import trio

from channels.errors import (
    InvalidValueError,
    LimitError,
    MarginError,
    OurError,
    PeerTimeoutError,
    RejectedError,
    SignerError,
    SigningRefusedError,
)
from channels.peer.makers import trade_draft
from channels.peer.marks import overlaid
from channels.peer.proposer import ANSWER_TIMEOUT, Proposer
from channels.peer.quotes import Quote, Quotes, side_of
from channels.peer.unwinding import compression_legs, in_trades, unwind_legs
from channels.protocol import events
from channels.protocol import messages as m
from channels.protocol.changes import MAX_LEGS, Trade, marks_of
from channels.protocol.channel import Channel
from channels.protocol.checks import told_of_halt
from channels.protocol.effects import (
    ChangeConfirmed,
    ProposalReceived,
    QuoteDeclined,
)
from channels.protocol.halts import Mode
from channels.protocol.types import Portfolio, Series, State

__all__ = ["Trading"]


class Trading(Proposer):
    """The part of a handle that trades."""

    async def request_quote(
        self, legs: Sequence[m.Leg], side: m.Side | None = None, *, ttl: int = 10
    ) -> Quotes:
        """Ask the peer for a firm price for all legs together.

        Args:
            legs: at most 20; + = we buy.
            side: whether we would buy the legs as they stand or sell them; None: not said, and the
                peer may name both prices.
            ttl: seconds the quote should stand.

        Raises:
            InvalidValueError: a leg or a ``ttl`` that no request can hold.
            RejectedError: the peer names no price, or one for other legs.
            PeerTimeoutError: no answer within ``ttl`` seconds.
        """
        if not 0 < ttl < 1 << 32:
            raise InvalidValueError(f"a quote that stands for {ttl} s")
        if not 1 <= len(legs) <= MAX_LEGS:
            raise InvalidValueError(f"a request has 1 to {MAX_LEGS} legs, not {len(legs)}")
        request_id = secrets.token_bytes(16)
        request = events.RequestQuote(
            request_id=request_id, legs=tuple(legs), time_to_live=ttl, side=side
        )
        with self._outcomes.quote(request_id) as answer:
            await self._runner.feed(request)
            notice = await answer.get(trio.current_time() + ttl)
        if notice is None:
            raise PeerTimeoutError(f"no quote within {ttl} s")
        if isinstance(notice, QuoteDeclined):
            reason = notice.answer.reason
            raise RejectedError(f"no quote: {reason.name} {notice.answer.text}".strip())
        quotes = []
        for each in notice:
            named = each.change
            found = side_of(request.legs, named, self.side) if isinstance(named, Trade) else None
            if found is None or side not in (None, found):
                await self.decline(each.nonce, m.Reason.INVALID, "not what we asked for")
                raise RejectedError("a quote for other legs than asked; declined")
            quotes.append(Quote(self, each, found))
        return Quotes(quotes, side)

    async def propose_trade(
        self, legs: Sequence[m.Leg], prices: Sequence[int], *, timeout: float = ANSWER_TIMEOUT
    ) -> ChangeConfirmed:
        """Offer a trade at prices agreed elsewhere: WAD a unit, one a leg; + quantity = we buy.

        Raises:
            RejectedError: the peer declined.
            PeerTimeoutError: no answer. Until its box has passed **the trade may still come to
                stand**: to take it for lost and trade again **may lose funds**. `wait_idle` first.
        """
        trade_id = secrets.token_bytes(32)

        def build(channel: Channel) -> events.Draft:
            series = {leg.series for leg in legs}
            return trade_draft(
                trade_id=trade_id,
                legs=tuple(legs),
                prices=tuple(prices),
                requester=self.side,
                marks=self._peer.marks_to_book_at(channel, series),
                unit=channel.terms.unit,
            )

        return await self._propose(build, timeout)

    async def accept(
        self, nonce: int, timeout: float = ANSWER_TIMEOUT, *, good_until: int = 0
    ) -> ChangeConfirmed:
        """Accept what the peer proposed at ``nonce``, and wait for its Confirm.

        ``good_until``: Unix time up to which the peer means it; 0 if it named none.

        Raises:
            RejectedError: it is past ``good_until``, its marks are not ours, or the circuit breaker
                does not let it pass; it was declined.
            SigningRefusedError, MarginError, SignerError, InvalidValueError, LimitError: our own
                rules, our key or our desk forbid it; it was declined.
            PeerTimeoutError: no Confirm in time; the boxed state goes to the chain by itself.
        """
        entry = self.state.ledger.entry(nonce)
        change = None if entry is None else entry.change
        if entry is not None and isinstance(entry.value, State):
            await self._decline_strange_marks(nonce, entry.value.portfolio)
        with self._outcomes.change(nonce) as answer:
            await self.give_acceptance(nonce, good_until=good_until)
            notice = await answer.get(trio.current_time() + timeout)
        if notice is None:
            raise PeerTimeoutError(
                f"no Confirm within {timeout:g} s",
                next_step="the co-signed state goes on chain by itself",
            )
        return self._confirmed(notice, nonce, change, ours=False)

    async def give_acceptance(self, nonce: int, *, good_until: int = 0) -> None:
        """Accept as `accept` does, and leave it to the news what comes of it.

        Raises:
            RejectedError, SigningRefusedError, MarginError, SignerError, InvalidValueError,
            LimitError: as for `accept`.
        """
        if good_until and not self._peer.takes_late_quotes and self._peer.now() > good_until:
            await self.decline(nonce, m.Reason.LATE, "past its time to live")
            raise RejectedError("the quote has expired; declined", next_step="ask for another")
        try:
            await self._runner.feed(events.Answer(nonce=nonce, accept=True, now=self._peer.now()))
        except LimitError:
            await self.decline(nonce, m.Reason.LIMIT, "beyond a limit of ours")
            raise
        except (SigningRefusedError, InvalidValueError, MarginError, SignerError) as error:
            if isinstance(error, InvalidValueError) and self.state.mode is not Mode.NORMAL:
                await self.decline(nonce, m.Reason.LIMIT, told_of_halt(self.state))
                raise RejectedError(f"declined: {error.args[0]}") from error
            with suppress(OurError):  # the same key signs the void
                await self.decline(nonce, m.Reason.BUSY, "we cannot sign for now")
            raise

    async def decline(
        self, nonce: int, reason: m.Reason = m.Reason.DECLINED, text: str = ""
    ) -> None:
        """Decline what the peer proposed at ``nonce``."""
        await self._runner.feed(
            events.Answer(nonce=nonce, accept=False, now=self._peer.now(), reason=reason, text=text)
        )

    async def _decline_strange_marks(self, nonce: int, portfolio: Portfolio) -> None:
        """Decline what is marked beyond our tolerance: its margins would not be what we need."""
        objection = self._peer.marks_objection(self.state, portfolio)
        if objection is not None:
            await self.decline(nonce, *objection)
            raise RejectedError(f"declined: {objection[1]}", next_step="ask for another quote")

    async def take_part(self, quote: ProposalReceived, part: Trade) -> ChangeConfirmed:
        """Turn a quote down and propose ``part`` of it, at its prices: see `Quote.accept`.

        Raises:
            RejectedError: the quote has expired, its marks are not ours, or the peer declined.
            PeerTimeoutError: no answer; see `propose_trade`.
        """
        held = marks_of(quote.portfolio)

        def build(channel: Channel) -> events.Draft:
            if self._peer.now() > quote.expires_at:
                raise RejectedError("the quote has expired", next_step="ask for another")
            now = marks_of(channel.portfolio)
            older, newer = sorted((now, held), key=lambda each: each.marked_at)
            return events.Draft(change=part, marks=overlaid(older, newer))

        if self._peer.now() > quote.expires_at:
            await self.decline(quote.nonce, m.Reason.LATE, "past its time to live")
            raise RejectedError("the quote has expired; declined", next_step="ask for another")
        await self._decline_strange_marks(quote.nonce, quote.portfolio)
        await self.decline(quote.nonce, text="a part of it follows")
        return await self._propose(build, ANSWER_TIMEOUT)

    async def cancel(self, nonce: int | None = None) -> None:
        """Ask the peer to turn down our proposal or quote at ``nonce``; None: all that waits.

        It takes effect with the peer's answer: until `wait_idle` returns **the trade may still come
        to stand**. A part of a quote can no longer be taken.

        Raises:
            IllegalCommandError: nothing of ours waits for an answer at ``nonce``.
        """
        await self._peer.cancel_quotes(self.channel_id, nonce)

    async def unwind(
        self,
        series: Iterable[Series] | None = None,
        prices: Mapping[Series, int] | None = None,
        *,
        ttl: int = 10,
        timeout: float = ANSWER_TIMEOUT,
    ) -> list[ChangeConfirmed]:
        """Close positions: all that has not expired, or these series, in trades of 20 legs each.

        A trade that fails leaves those before it closed.

        Args:
            series: what to close; None: everything.
            prices: agreed elsewhere, WAD a unit; None: at the peer's quotes.
            ttl: seconds each quote should stand.
            timeout: seconds to wait for each answer to a proposal.

        Raises:
            InvalidValueError: a series that is not open, has expired, or has no price.
            RejectedError: the peer names no price, or declines.
            PeerTimeoutError: no answer; see `propose_trade`.
        """
        legs = unwind_legs(self.portfolio, self.side, self._peer.now(), series)
        if prices is not None and any(each.series not in prices for each in legs):
            raise InvalidValueError("a price for each series to unwind")
        done = []
        for part in in_trades(legs):
            if prices is None:
                quotes = await self.request_quote(part, m.Side.BUY, ttl=ttl)
                done.append(await quotes.best().accept())
            else:
                agreed = [prices[each.series] for each in part]
                done.append(await self.propose_trade(part, agreed, timeout=timeout))
        return done

    async def compress(self, *, timeout: float = ANSWER_TIMEOUT) -> list[ChangeConfirmed]:
        """Turn calls against puts of one strike and expiry into forwards, for no premium.

        Payoffs stay as they are at every price, and a call and a put make one position of two.
        The peer decides on it as on any trade. Nothing to compress is no error.

        Raises:
            RejectedError: the peer declines.
            PeerTimeoutError: no answer; see `propose_trade`.
        """
        legs = compression_legs(self.portfolio, self.side, self._peer.now())
        whole = MAX_LEGS // 3 * 3  # the three legs of one strike stay in one trade
        return [
            await self.propose_trade(part, [0] * len(part), timeout=timeout)
            for part in in_trades(legs, at_once=whole)
        ]
