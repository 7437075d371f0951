"""A channel as its owner uses it: ask for quotes, trade, re-mark, settle, withdraw, close."""

from __future__ import annotations

import secrets

import trio

from channels.errors import (
    InvalidValueError,
    RejectedError,
    SigningRefusedError,
)
from channels.peer.delegating import Authorisation
from channels.peer.proposer import ANSWER_TIMEOUT
from channels.peer.proposing import changes_nothing, proposed_nonce
from channels.peer.trading import Trading
from channels.protocol import events
from channels.protocol.calls import Deposit
from channels.protocol.changes import Marks, Remark, Settlement
from channels.protocol.channel import Channel, Phase
from channels.protocol.effects import (
    ChangeConfirmed,
    ChangeRejected,
)
from channels.protocol.eip712 import Address
from channels.protocol.halts import Mode
from channels.protocol.terms import DisputeAuthorisation
from channels.protocol.types import feed_id

__all__ = ["PeerChannel"]


class PeerChannel(Trading):
    """One channel of ours, open or on its way."""

    # -- marks and money

    async def remark(
        self, marks: Marks | None = None, *, timeout: float = ANSWER_TIMEOUT
    ) -> ChangeConfirmed:
        """Sign new marks: the peer's own market source decides whether it agrees.

        Marks that stand already, put there by a schedule or the peer, are as good as confirmed.

        Raises:
            RejectedError: the peer's market data disagrees.
        """
        change, chosen = Remark(), marks

        def build(channel: Channel) -> events.Draft:
            nonlocal chosen
            chosen = self._peer.marks_for(channel, ()) if marks is None else marks
            return events.Draft(change=change, marks=chosen)

        try:
            return await self._propose(build, timeout)
        except (SigningRefusedError, InvalidValueError):
            if chosen is None or not self._stands(chosen, any_newer=marks is None):
                raise
            full = self.state.ledger.full.state
            return ChangeConfirmed(
                nonce=full.nonce,
                proposal=0,
                change=change,
                ours=False,
                portfolio=full.portfolio,
            )

    def _stands(self, marks: Marks, *, any_newer: bool) -> bool:
        """Whether the channel is marked so already, or, where that will do, later than that."""
        if any_newer and self.portfolio.marked_at > marks.marked_at:
            return True
        return changes_nothing(self.state, events.Draft(change=Remark(), marks=marks))

    async def settle(
        self, feed: str, expiry: int, price: int, *, timeout: float = ANSWER_TIMEOUT
    ) -> ChangeConfirmed:
        """Settle everything of one (feed, expiry) off chain at ``price``, WAD.

        What a schedule or the peer has settled already at this price is as good as confirmed.

        Raises:
            RejectedError: the peer stands by another price.
            InvalidValueError: nothing of it is open; or it was settled at another price.
        """
        change = Settlement(feed=feed_id(feed), expiry=expiry, price=price)

        def build(channel: Channel) -> events.Draft:
            return events.Draft(change=change, marks=self._peer.marks_for(channel, ()))

        try:
            return await self._propose(build, timeout)
        except InvalidValueError:
            done = self._outcomes.settled.get((change.feed, expiry))
            if done is None or not isinstance(done.change, Settlement):
                raise
            if done.change.price != price:
                raise InvalidValueError(
                    f"settled already, at {done.change.price} and not at {price}"
                ) from None
            return self._confirmed(done, done.nonce, change, ours=False)

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

    async def withdraw(self, ours: int, theirs: int = 0, *, timeout: float = 600.0) -> None:
        """Have these base units paid out of the channel, with the peer's signature, and final.

        What stays covers both initial margins, at new marks where positions are open. The payment
        has the box of a trade to be mined in; until then nothing else is signed.

        Raises:
            InvalidValueError: nothing, or more than there is in cash; or what has expired is not
                settled yet.
            MarginError: a party would not keep its initial margin.
            RejectedError: the peer did not sign, or the payment was not mined within its box.
            PeerTimeoutError: not final within ``timeout`` seconds: **it may still be paid**.
        """
        await self.wait_idle(timeout)
        if any(each.expiry <= self._peer.now() for each in self.portfolio.positions):
            raise InvalidValueError(
                "expired positions wait to be settled", next_step="settle them, then withdraw"
            )
        if self.portfolio.positions:
            await self.remark()
        outcome = await self._runner.feed(events.RequestWithdrawal(ours=ours, theirs=theirs))
        nonce = proposed_nonce(outcome.channel)

        def declined(channel: Channel) -> bool:
            entry = channel.ledger.entry(nonce)
            return entry is not None and entry.declined

        with self._outcomes.change(nonce) as answer:
            await self._until(
                lambda channel: channel.phase is not Phase.CLOSING or declined(channel),
                timeout,
                "withdraw",
            )
            notice = await answer.get(trio.current_time())
        if isinstance(notice, ChangeRejected):
            raise RejectedError(f"not withdrawn: {notice.reason.name} {notice.text}".strip())
        if self.state.ledger.nonce < nonce:
            raise RejectedError(f"not withdrawn; the channel is {self.phase.name}")

    async def authorise(self, delegate: Address, valid_for: int) -> Authorisation:
        """Sign leave for ``delegate`` to dispute this channel in our name, for so many seconds.

        It may show no state older than what stands now. **May lose funds**: the dispute it files
        counts as ours, so that on a state older than our newest one we owe the stale penalty. Give
        a delegate every newer state, and a short time.

        Raises:
            InvalidValueError: a time that is not above 0.
            SignerError: the key cannot or will not sign.
        """
        if valid_for <= 0:
            raise InvalidValueError(f"an authorisation for {valid_for} s")
        value = DisputeAuthorisation(
            channel_id=self.channel_id,
            delegate=delegate,
            min_nonce=self.state.ledger.nonce,
            valid_until=self.state.clock.head_time + valid_for,
        )
        signature = await self._peer.sign(self.state.signable(value))
        return Authorisation(value=value, signature=signature)

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
