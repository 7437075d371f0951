"""The calls of one party alone: it disputes, settles what expires, and gets paid.

Source: design, adjudication.md "Calls" and rules 2 to 4; `IAdjudicator.sol`.
"""

from __future__ import annotations

import attrs

from channels.protocol.calls import Abandon, Claim, CoSigned, Dispute, DisputeFor, Settle
from channels.protocol.eip712 import Address
from channels.protocol.facts import (
    DisputeStarted,
    OnChainPhase,
    PayoutClaimed,
    PositionsSettled,
)
from channels.protocol.terms import Terms
from channels.protocol.types import EMPTY_PORTFOLIO, Party
from channels.testing.authority import (
    check_box,
    check_signers,
    is_boxed_out,
    recovered,
    side_of,
)
from channels.testing.refusals import Refusals
from channels.testing.settling import settle_expired
from channels.testing.storage import Storage, check_time
from channels.units import DAY

__all__ = ["ABANDONED_AFTER", "DisputeCalls"]

ABANDONED_AFTER = 180 * DAY
"""How long after its last possible settlement a portfolio must be unseen."""


class DisputeCalls(Storage):
    """Calls that need nobody else's consent."""

    def dispute(self, call: Dispute, *, sender: Address, now: int) -> bool:
        """Start the window on a state, or on what is recorded if there is none or it is not newer.

        Returns whether the state was recorded.

        Raises:
            RefusedError: the contract would revert.
        """
        refusals = Refusals()
        side = side_of(call.terms, sender)
        refusals.when(side is None, "NotAMember", caller=sender)
        return self._dispute(refusals, call, side, now)

    def dispute_for(self, call: DisputeFor, *, sender: Address, now: int) -> bool:
        """`dispute` by the delegate of a signer, who answers for it.

        Raises:
            RefusedError: the contract would revert.
        """
        refusals, terms, given = Refusals(), call.terms, call.authorisation
        self._check_id(refusals, terms, given.channel_id)
        delegate, least = given.delegate, given.min_nonce
        refusals.when(delegate != sender, "NotTheDelegate", delegate=delegate, caller=sender)
        check_box(refusals, given.valid_until, now)
        signer = recovered(call.signature, self._digest(given.struct_hash))
        signers = {terms.signer(party): party for party in Party}
        refusals.when(signer not in signers, "NotASigner", recovered=signer)
        nonce = self.channel(terms).nonce
        if call.newest is not None and not is_boxed_out(call.newest.state.valid_until, now):
            nonce = max(nonce, call.newest.state.nonce)
        refusals.when(nonce < least, "NonceBelowMinimum", minNonce=least, nonce=nonce)
        return self._dispute(refusals, call, signers.get(signer), now)

    def _dispute(
        self, refusals: Refusals, call: Dispute | DisputeFor, side: Party | None, now: int
    ) -> bool:
        terms, newest = call.terms, call.newest
        phase = self._check_phase(refusals, terms, now, OnChainPhase.OPEN, OnChainPhase.DISPUTED)
        recorded = newest is not None and self._check_newest(refusals, terms, newest, phase, now)
        deadline = now + terms.dispute_window
        if phase is OnChainPhase.OPEN:
            check_time(refusals, deadline)
        refusals.stop()
        shown = None if newest is None else newest.state.portfolio
        if recorded and newest is not None:
            self._show(newest.state.portfolio)
            if phase is OnChainPhase.OPEN:
                self._write(terms, newest.state)
            else:
                self._record(terms, newest.state, shown)
        if phase is OnChainPhase.OPEN:
            record = self.channel(terms)
            filed = attrs.evolve(
                record,
                phase=OnChainPhase.DISPUTED,
                filer=side,
                filed_nonce=record.nonce,
                deadline=deadline,
            )
            self._store(terms, filed)
            self.dispute_count += 1
            if record.expected_hash == EMPTY_PORTFOLIO.struct_hash:
                shown = EMPTY_PORTFOLIO
            elif shown is not None and shown.struct_hash != record.portfolio_hash:
                shown = None
            self._emit_of(
                DisputeStarted,
                terms,
                filer=side,
                nonce=record.nonce,
                deadline=deadline,
                count=self.dispute_count,
                portfolio=shown,
            )
        return recorded

    def _check_newest(
        self,
        refusals: Refusals,
        terms: Terms,
        newest: CoSigned,
        phase: OnChainPhase,
        now: int,
    ) -> bool:
        """Whether a state is to be recorded; one out of its box does not start a window."""
        state = newest.state
        self._check_id(refusals, terms, state.channel_id)
        if state.nonce <= self.channel(terms).nonce:
            return False
        boxed_out = is_boxed_out(state.valid_until, now)
        if boxed_out and phase is OnChainPhase.DISPUTED:
            return False
        refusals.when(boxed_out, "Expired", validUntil=state.valid_until)
        signatures = newest.signature_a, newest.signature_b
        check_signers(refusals, terms, self._digest(state.struct_hash), signatures)
        return True

    def settle(self, call: Settle, *, now: int) -> int:
        """Settle what has expired of the recorded portfolio; pay out when nothing is left.

        Returns how many positions were settled; `recorded_portfolio` has what remains.

        Raises:
            RefusedError: the contract would revert.
        """
        refusals, terms, portfolio = Refusals(), call.terms, call.portfolio
        record = self.channel(terms)
        self._check_phase(refusals, terms, now, OnChainPhase.RUN_OFF)
        self._check_portfolio(refusals, terms, portfolio)
        refusals.stop()
        oracle = self._oracles[terms.oracle]
        until = record.horizon(terms, now)
        done = settle_expired(portfolio, terms, oracle, until=until, now=now)
        remaining = done.remaining
        if not remaining.positions:
            cash = record.cash(remaining.net_to_b)
            self._end(terms, record.after_stale_penalty(cash, terms))
            return done.settled
        self._show(remaining)
        if done.settled:
            self._emit_of(PositionsSettled, terms, portfolio=remaining)
        self._store(
            terms,
            attrs.evolve(
                record,
                phase=OnChainPhase.RUN_OFF,
                portfolio_hash=remaining.struct_hash,
                settled=True,
            ),
        )
        return done.settled

    def abandon(self, call: Abandon, *, now: int) -> None:
        """End a channel whose portfolio nobody shows, as if nothing had been traded.

        Raises:
            RefusedError: the contract would revert.
        """
        refusals, terms = Refusals(), call.terms
        record = self.channel(terms)
        self._check_phase(refusals, terms, now, OnChainPhase.RUN_OFF)
        refusals.when(record.settled, "PortfolioShown")
        last = record.deadline + terms.max_tenor + terms.settlement_grace
        starts = last + ABANDONED_AFTER
        refusals.when(now < starts, "TooEarlyToAbandon", **{"from": starts})
        refusals.stop()
        self._end(terms, record.after_stale_penalty(record.cash(0), terms))

    def claim(self, call: Claim, *, sender: Address) -> int:
        """Pay the sender its payouts of one token whose push failed, to any address.

        Raises:
            RefusedError: the contract would revert.
        """
        amount = self._vault.claim(call.token, call.recipient, sender=sender)
        self._emit(
            PayoutClaimed, token=call.token, payee=sender, recipient=call.recipient, amount=amount
        )
        return amount
