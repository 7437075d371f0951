"""A channel as its owner uses it: ask for quotes, trade, re-mark, settle, close.

Every wait has a deadline. A proposal that another change overtakes is made again on the new
portfolio; its caller notices nothing but latency.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from channels.errors import (
    InvalidValueError,
    MarginError,
    OurError,
    PeerTimeoutError,
    RejectedError,
    SignerError,
    SigningRefusedError,
)
from channels.peer.makers import trade_draft
from channels.peer.proposer import Proposer
from channels.peer.proposing import changes_nothing
from channels.peer.quotes import Quote, Quotes
from channels.protocol import events
from channels.protocol import messages as m
from channels.protocol.calls import Deposit
from channels.protocol.changes import Marks, Remark, Settlement
from channels.protocol.channel import Channel, Phase
from channels.protocol.effects import (
    ChangeConfirmed,
    QuoteDeclined,
)
from channels.protocol.halts import Mode
from channels.protocol.types import feed_id

if TYPE_CHECKING:
    pass

__all__ = ["PeerChannel"]

ANSWER_TIMEOUT = 30.0
"""Seconds to wait for a peer's answer, beyond which its box will end the matter."""


class PeerChannel(Proposer):
    """One channel of ours, open or on its way."""

    # -- trading

    async def request_quote(self, legs: Sequence[m.Leg], *, ttl: int = 10) -> Quotes:
        """Ask the peer for a firm price for all legs together.

        Args:
            legs: at most 20; + = we buy.
            ttl: seconds the quote should stand.

        Raises:
            InvalidValueError: a leg or a ``ttl`` that no request can hold.
            RejectedError: the peer names no price.
            PeerTimeoutError: no answer within ``ttl`` seconds.
        """
        if not 0 < ttl < 1 << 32:
            raise InvalidValueError(f"a quote that stands for {ttl} s")
        request_id = secrets.token_bytes(16)
        with self._outcomes.quote(request_id) as answer:
            await self._runner.feed(
                events.RequestQuote(request_id=request_id, legs=tuple(legs), time_to_live=ttl)
            )
            notice = await answer.get(trio.current_time() + ttl)
        if notice is None:
            raise PeerTimeoutError(f"no quote within {ttl} s")
        if isinstance(notice, QuoteDeclined):
            reason = notice.answer.reason
            raise RejectedError(f"no quote: {reason.name} {notice.answer.text}".strip())
        return Quotes([Quote(self, each) for each in notice])

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
            series = {(leg.feed, leg.expiry, int(leg.kind), leg.strike) for leg in legs}
            return trade_draft(
                trade_id=trade_id,
                legs=tuple(legs),
                prices=tuple(prices),
                requester=self.side,
                marks=self._peer.marks_for(channel, series),
                unit=channel.terms.unit,
            )

        return await self._propose(build, timeout)

    async def remark(
        self, marks: Marks | None = None, *, timeout: float = ANSWER_TIMEOUT
    ) -> ChangeConfirmed:
        """Sign new marks: the peer's own market source decides whether it agrees.

        Marks that stand already, put there by a schedule or the peer, are as good as confirmed.

        Raises:
            RejectedError: the peer's market data disagrees.
        """

        def build(channel: Channel) -> events.Draft:
            chosen = self._peer.marks_for(channel, ()) if marks is None else marks
            return events.Draft(change=Remark(), marks=chosen)

        try:
            return await self._propose(build, timeout)
        except SigningRefusedError:
            full, draft = self.state.ledger.full.state, build(self.state)
            if not changes_nothing(self.state, draft):
                raise
            return ChangeConfirmed(
                nonce=full.nonce,
                proposal=0,
                change=draft.change,
                ours=False,
                portfolio=full.portfolio,
            )

    async def settle(
        self, feed: str, expiry: int, price: int, *, timeout: float = ANSWER_TIMEOUT
    ) -> ChangeConfirmed:
        """Settle everything of one (feed, expiry) off chain at ``price``, WAD.

        Raises:
            RejectedError: the peer stands by another price.
        """
        change = Settlement(feed=feed_id(feed), expiry=expiry, price=price)

        def build(channel: Channel) -> events.Draft:
            return events.Draft(change=change, marks=self._peer.marks_for(channel, ()))

        return await self._propose(build, timeout)

    async def accept(
        self, nonce: int, timeout: float = ANSWER_TIMEOUT, *, good_until: int = 0
    ) -> ChangeConfirmed:
        """Accept what the peer proposed at ``nonce``, and wait for its Confirm.

        ``good_until``: Unix time up to which the peer means it; 0 if it named none.

        Raises:
            RejectedError: it is past ``good_until``, or the circuit breaker does not let it pass;
                it was declined.
            SigningRefusedError, MarginError, SignerError, InvalidValueError: our own rules or our
                key forbid it; it was declined.
            PeerTimeoutError: no Confirm in time; the boxed state goes to the chain by itself.
        """
        entry = self.state.ledger.entry(nonce)
        change = None if entry is None else entry.change
        if good_until and not self._peer.takes_late_quotes and self._peer.now() > good_until:
            await self.decline(nonce, m.Reason.LATE, "past its time to live")
            raise RejectedError("the quote has expired; declined", next_step="ask for another")
        with self._outcomes.change(nonce) as answer:
            try:
                await self._runner.feed(
                    events.Answer(nonce=nonce, accept=True, now=self._peer.now())
                )
            except (SigningRefusedError, InvalidValueError, MarginError, SignerError) as error:
                if isinstance(error, InvalidValueError) and self.state.mode is not Mode.NORMAL:
                    await self.decline(nonce, m.Reason.LIMIT, str(error.args[0]))
                    raise RejectedError(f"declined: {error.args[0]}") from error
                with suppress(OurError):  # the same key signs the void
                    await self.decline(nonce, m.Reason.BUSY, type(error).__name__)
                raise
            notice = await answer.get(trio.current_time() + timeout)
        if notice is None:
            raise PeerTimeoutError(
                f"no Confirm within {timeout:g} s",
                next_step="the co-signed state goes on chain by itself",
            )
        return self._confirmed(notice, nonce, change, ours=False)

    async def decline(
        self, nonce: int, reason: m.Reason = m.Reason.DECLINED, text: str = ""
    ) -> None:
        """Decline what the peer proposed at ``nonce``."""
        await self._runner.feed(
            events.Answer(nonce=nonce, accept=False, now=self._peer.now(), reason=reason, text=text)
        )

    async def deposit(self, amount: int, *, timeout: float = 600.0) -> None:
        """Top up our side by ``amount`` base units, and wait until it counts: until it is final.

        The Adjudicator must be allowed to take it from the account that pays for our transactions.
        A timeout takes nothing back: **to deposit again then may deposit twice**.

        Raises:
            InvalidValueError: not an amount above 0.
            PeerTimeoutError: not final within ``timeout`` seconds.
        """
        if amount <= 0:
            raise InvalidValueError(f"a deposit of {amount}")
        before = self.state.contribution(self.side)
        call = Deposit(terms=self.terms, party=self.side, amount=amount)
        await self._peer.submit(call, b"deposit" + self.channel_id + secrets.token_bytes(16))
        await self._until(
            lambda channel: channel.contribution(self.side) >= before + amount,
            timeout,
            "see the deposit final",
        )

    # -- the end

    async def close(self, timeout: float = 600.0) -> None:
        """End the channel with the peer's signature, and wait until the chain has paid.

        Raises:
            IllegalCommandError: positions are open.
            RejectedError: the peer did not sign.
            PeerTimeoutError: no answer, or the transaction is not mined yet.
        """
        await self.wait_idle(timeout)
        await self._runner.feed(events.RequestClose(now=self._peer.now()))
        done = (Phase.CLOSED, Phase.IDLE, Phase.DISPUTED)
        await self._until(lambda channel: channel.phase in done, timeout, "close")
        if self.phase is not Phase.CLOSED:
            raise RejectedError(f"not closed; the channel is {self.phase.name}")

    async def dispute(self) -> None:
        """Start the window on chain with the newest state we hold, and sign nothing any more."""
        await self._runner.feed(events.StartDispute())

    async def set_mode(self, mode: Mode, reason: str) -> None:
        """Set the circuit breaker by hand; NORMAL lifts every cause but the kill switch.

        A cause that still holds comes back when the breaker looks again.
        """
        await self._runner.feed(events.SetMode(mode=mode, reason=reason))
