"""A channel as its owner uses it: ask for quotes, trade, re-mark, settle, close.

Every wait has a deadline. A proposal that another change overtakes is made again on the new
portfolio; its caller notices nothing but latency.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from channels.errors import (
    IllegalCommandError,
    InvalidValueError,
    MarginError,
    OurError,
    PeerTimeoutError,
    RejectedError,
    SignerError,
    SigningRefusedError,
)
from channels.peer.makers import trade_draft
from channels.peer.quotes import Quote, Quotes
from channels.peer.waiting import ChangeOutcome, Outcomes
from channels.protocol import events
from channels.protocol import messages as m
from channels.protocol.changes import Change, Marks, Remark, Settlement
from channels.protocol.channel import Channel, Mode, Phase
from channels.protocol.effects import (
    ChangeConfirmed,
    ChangeRejected,
    ProposalLapsed,
    QuoteDeclined,
    RecordedOnChain,
)
from channels.protocol.ledger import Entry
from channels.protocol.terms import Terms
from channels.protocol.types import Party, Portfolio, feed_id

if TYPE_CHECKING:
    from channels.peer.peer import Peer
    from channels.peer.runner import Runner

__all__ = ["PeerChannel"]

ANSWER_TIMEOUT = 30.0
"""Seconds to wait for a peer's answer, beyond which its box will end the matter."""


class PeerChannel:
    """One channel of ours, open or on its way."""

    def __init__(self, peer: Peer, runner: Runner, outcomes: Outcomes) -> None:
        self._peer = peer
        self._runner = runner
        self._outcomes = outcomes

    # -- what stands

    @property
    def state(self) -> Channel:
        """Everything the machine knows, as one frozen value."""
        return self._runner.channel

    @property
    def channel_id(self) -> bytes:
        """The channel's identifier, 32 bytes."""
        return self.state.channel_id

    @property
    def side(self) -> Party:
        """Which party we are."""
        return self.state.side

    @property
    def terms(self) -> Terms:
        """What both agreed at opening."""
        return self.state.terms

    @property
    def phase(self) -> Phase:
        """Where the channel stands."""
        return self.state.phase

    @property
    def portfolio(self) -> Portfolio:
        """The last portfolio that needs nothing more, seen from A."""
        return self.state.portfolio

    @property
    def equity(self) -> int:
        """Our cash plus positions at the portfolio's marks, base units."""
        return self.state.equity(self.side)

    @property
    def margin(self) -> int:
        """Our initial margin, base units."""
        return self.portfolio.margin(self.side)

    async def wait_open(self, timeout: float = 600.0) -> None:
        """Wait until both deposits are final on chain, and the peer sees it too.

        Raises:
            RejectedError: the peer does not open, or the opening lapsed.
            PeerTimeoutError: neither within ``timeout`` seconds.
        """
        opening = (Phase.ASKED, Phase.GRANTED, Phase.SUBMITTED)
        await self._until(
            lambda channel: (
                channel.phase not in opening
                and (channel.peer_ready or channel.phase is not Phase.IDLE)
            ),
            timeout,
            "open",
        )
        if self.phase is Phase.ABANDONED:
            why = f": {self._outcomes.not_opened}" if self._outcomes.not_opened else ""
            raise RejectedError(f"the channel was not opened{why}", next_step="ask on other terms")

    async def wait_idle(self, timeout: float = 60.0) -> None:
        """Wait until nothing is in flight.

        Raises:
            PeerTimeoutError: something still is after ``timeout`` seconds.
        """
        await self._until(lambda channel: channel.phase is Phase.IDLE, timeout, "become idle")

    async def wait_for_head(self, timestamp: int, timeout: float = 60.0) -> None:
        """Wait until this channel has taken in a block of at least this time.

        Raises:
            PeerTimeoutError: the chain shows none within ``timeout`` seconds.
        """
        await self._until(
            lambda channel: channel.head is not None and channel.head.timestamp >= timestamp,
            timeout,
            f"see a block of {timestamp}",
        )

    async def wait_closed(self, timeout: float = 600.0) -> None:
        """Wait until the chain shows the channel closed.

        Raises:
            PeerTimeoutError: it does not within ``timeout`` seconds.
        """
        await self._until(lambda channel: channel.phase is Phase.CLOSED, timeout, "close")

    async def _until(
        self, condition: Callable[[Channel], bool], timeout: float, doing: str
    ) -> Channel:
        with trio.move_on_after(timeout):
            return await self._runner.wait_until(condition)
        raise PeerTimeoutError(
            f"waited {timeout:g} s to {doing}; the channel is {self.phase.name}",
            next_step="check that the peer and the chain are reachable",
        )

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

        Raises:
            RejectedError: the peer's market data disagrees.
        """

        def build(channel: Channel) -> events.Draft:
            chosen = self._peer.marks_for(channel, ()) if marks is None else marks
            return events.Draft(change=Remark(), marks=chosen)

        return await self._propose(build, timeout)

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

    async def _propose(
        self, build: Callable[[Channel], events.Draft], timeout: float
    ) -> ChangeConfirmed:
        deadline = trio.current_time() + timeout
        with trio.move_on_at(deadline):
            while True:
                await self._runner.wait_until(lambda channel: channel.phase is not Phase.RECEIVED)
                if self.phase is not Phase.IDLE:
                    await self._runner.wait_until(_may_propose)
                draft = build(self.state)
                try:
                    outcome = await self._runner.feed(
                        events.ProposeChange(draft=draft, now=self._peer.now())
                    )
                except IllegalCommandError:
                    if _may_propose(self.state):
                        raise
                    continue
                nonce = _proposed_nonce(outcome.channel)
                with self._outcomes.change(nonce) as answer:
                    notice = await answer.get(deadline)
                if notice is None:
                    break
                if not isinstance(notice, ProposalLapsed):
                    return self._confirmed(notice, nonce, draft.change, ours=True)
                if not (notice.overtaken or _collided(self.state, nonce)):
                    raise PeerTimeoutError("the peer neither accepted nor rejected in the box")
        raise PeerTimeoutError(
            f"no answer within {timeout:g} s",
            next_step="what was proposed may still come to stand until its box passes: wait_idle",
        )

    def _confirmed(
        self, notice: ChangeOutcome, nonce: int, change: Change | None, *, ours: bool
    ) -> ChangeConfirmed:
        """What a change came to, if it stands.

        Raises:
            RejectedError: it does not.
        """
        match notice:
            case ChangeConfirmed():
                return notice
            case RecordedOnChain():
                return ChangeConfirmed(
                    nonce=nonce,
                    proposal=nonce,
                    change=change,
                    ours=ours,
                    portfolio=self.portfolio,
                )
            case ChangeRejected():
                raise RejectedError(f"{notice.reason.name} {notice.text}".strip())
            case ProposalLapsed():
                raise RejectedError("the proposal was withdrawn")

    async def accept(self, nonce: int, timeout: float = ANSWER_TIMEOUT) -> ChangeConfirmed:
        """Accept what the peer proposed at ``nonce``, and wait for its Confirm.

        Raises:
            SigningRefusedError, MarginError, SignerError, InvalidValueError: our own rules, the
                circuit breaker or our key forbid it; it was declined.
            PeerTimeoutError: no Confirm in time; the boxed state goes to the chain by itself.
        """
        entry = self.state.ledger.entry(nonce)
        change = None if entry is None else entry.change
        with self._outcomes.change(nonce) as answer:
            try:
                await self._runner.feed(
                    events.Answer(nonce=nonce, accept=True, now=self._peer.now())
                )
            except (SigningRefusedError, InvalidValueError, MarginError, SignerError) as error:
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
        """Set the circuit breaker by hand."""
        await self._runner.feed(events.SetMode(mode=mode, reason=reason))


def _may_propose(channel: Channel) -> bool:
    return channel.phase is Phase.IDLE or channel.phase > Phase.CLOSING


def _collided(channel: Channel, nonce: int) -> bool:
    """Whether a proposal of the peer's went before ours, and we declined it."""
    return any(
        each.nonce > nonce and each.declined and not channel.side.leads(each.nonce)
        for each in channel.ledger.entries
    )


def _proposed_nonce(channel: Channel) -> int:
    own: Iterator[Entry] = (
        each for each in channel.ledger.entries if channel.side.leads(each.nonce)
    )
    return max(each.nonce for each in own)
