"""The calls that rest on both parties' word: they move collateral and record states.

Source: design, adjudication.md "Calls"; `IAdjudicator.sol`.
"""

from __future__ import annotations

from contextlib import suppress

import attrs

from channels.protocol.calls import (
    Checkpoint,
    CheckpointMany,
    Close,
    Deposit,
    Open,
    OpenWithPermit,
    Permit,
    Withdraw,
)
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChannelOpened, Deposited, OnChainPhase, Withdrawn
from channels.protocol.types import Party
from channels.testing.authority import (
    check_box,
    check_limit,
    check_signers,
    is_boxed_out,
    recovered,
)
from channels.testing.opening import check_terms
from channels.testing.record import ChannelRecord
from channels.testing.refusals import Refusals, RefusedError
from channels.testing.storage import Storage
from channels.testing.token import read_signature

__all__ = ["AgreedCalls"]

_RECORDING = (OnChainPhase.OPEN, OnChainPhase.DISPUTED)
_LIVE = (*_RECORDING, OnChainPhase.RUN_OFF)


class AgreedCalls(Storage):
    """Calls on what both parties signed; anyone may send them."""

    def open(self, call: Open, *, now: int) -> bytes:
        """Lock both deposits and return the channel's id.

        Signatures are the parties' own, of 64 or 65 bytes; the model knows no ERC-1271 wallet.

        Raises:
            RefusedError: the contract would revert.
        """
        return self._open(call, (None, None), now=now)

    def open_with_permit(self, call: OpenWithPermit, *, now: int) -> bytes:
        """`open`, with permits in place of approvals made beforehand.

        Raises:
            RefusedError: the contract would revert; a permit that fails is no reason.
        """
        return self._open(call, (call.permit_a, call.permit_b), now=now)

    def _open(
        self,
        call: Open | OpenWithPermit,
        permits: tuple[Permit | None, Permit | None],
        *,
        now: int,
    ) -> bytes:
        refusals, opening, terms = Refusals(), call.opening, call.opening.terms
        check_terms(refusals, terms, self._oracles.get(terms.oracle))
        check_box(refusals, opening.valid_until, now)
        used = self.channel(terms).phase is not OnChainPhase.NONE
        refusals.when(used, "ChannelExists", id=self.channel_id(terms))
        message = self._digest(opening.struct_hash)
        for party, signature in zip(Party, (call.signature_a, call.signature_b), strict=True):
            expected = terms.party(party)
            signer = recovered(read_signature(signature), message)
            refusals.when(signer != expected, "InvalidSignature", expected=expected)
        deposits = opening.deposit_a, opening.deposit_b
        record = ChannelRecord(phase=OnChainPhase.OPEN, contributions=deposits)
        refusals.when(not record.fits, "PotTooLarge")
        with self._vault.all_or_nothing(terms.collateral):
            for party, permit in zip(Party, permits, strict=True):
                if permit is not None:
                    self._vault.permit(terms.collateral, terms.party(party), permit, now=now)
            for party, amount in zip(Party, deposits, strict=True):
                self._vault.pull(refusals, terms.collateral, terms.party(party), amount)
            refusals.stop()
        self._store(terms, record)
        self._emit_of(
            ChannelOpened,
            terms,
            signer_a=terms.signer_a,
            signer_b=terms.signer_b,
            deposit_a=opening.deposit_a,
            deposit_b=opening.deposit_b,
        )
        return self.channel_id(terms)

    def deposit(self, call: Deposit, *, sender: Address, now: int) -> None:
        """Top a party up by an amount of the sender's tokens.

        Raises:
            RefusedError: the contract would revert.
        """
        refusals, terms, party, amount = Refusals(), call.terms, call.party, call.amount
        record = self.channel(terms)
        self._check_phase(refusals, terms, now, *_LIVE)
        refusals.when(amount == 0, "ZeroAmount")
        cure_end = record.cure_ends[party]
        cured = now >= cure_end and record.is_undecided(party, terms, now)
        refusals.when(cured, "CureEnded", cureEnd=cure_end)
        record = record.with_money(*(amount * (each is party) for each in Party))
        refusals.when(not record.fits, "PotTooLarge")
        with self._vault.all_or_nothing(terms.collateral):
            self._vault.pull(refusals, terms.collateral, sender, amount)
            refusals.stop()
        self._store(terms, record)
        self._emit_of(Deposited, terms, party=party, amount=amount)

    def checkpoint(self, call: Checkpoint, *, now: int) -> bool:
        """Record a newer state, and tell whether that was done.

        Raises:
            RefusedError: a signature is not its signer's; not looked at where the answer is False.
        """
        terms, state = call.terms, call.newest.state
        record = self.channel(terms)
        if (
            record.phase_at(now) not in _RECORDING
            or state.nonce <= record.nonce
            or is_boxed_out(state.valid_until, now)
        ):
            return False
        refusals = Refusals()
        signed_here = attrs.evolve(state, channel_id=self.channel_id(terms))
        signatures = call.newest.signature_a, call.newest.signature_b
        check_signers(refusals, terms, self._digest(signed_here.struct_hash), signatures)
        refusals.stop()
        self._record(terms, state)
        return True

    def checkpoint_many(self, call: CheckpointMany, *, now: int) -> int:
        """`checkpoint` each, skip what is refused, and tell how many were recorded."""
        recorded = 0
        for each in call.checkpoints:
            with suppress(RefusedError):
                recorded += self.checkpoint(each, now=now)
        return recorded

    def withdraw(self, call: Withdraw, *, now: int) -> None:
        """Record the withdrawal's state and pay the two amounts.

        Raises:
            RefusedError: the contract would revert.
        """
        refusals, terms, withdrawal = Refusals(), call.terms, call.withdrawal
        record, state = self.channel(terms), withdrawal.state
        self._check_id(refusals, terms, state.channel_id)
        self._check_phase(refusals, terms, now, OnChainPhase.OPEN)
        refusals.when(
            state.nonce <= record.nonce, "NonceNotNewer", recorded=record.nonce, given=state.nonce
        )
        check_limit(refusals, state.valid_until, now)
        message = self._digest(withdrawal.struct_hash)
        check_signers(refusals, terms, message, (call.signature_a, call.signature_b))
        amounts = withdrawal.amount_a, withdrawal.amount_b
        cash = record.cash(state.portfolio.net_to_b)
        for party, amount, most in zip(Party, amounts, cash, strict=True):
            refusals.when(amount > most, "AmountAboveCash", party=party, amount=amount, cash=most)
        paid = record.with_money(-amounts[0], -amounts[1])
        refusals.when(not paid.fits, "PotTooLarge")
        refusals.stop()
        self._store(terms, paid)
        self._show(state.portfolio)
        self._record(terms, state, state.portfolio)
        self._emit_of(Withdrawn, terms, paid_a=amounts[0], paid_b=amounts[1])
        self._pay(terms, amounts)

    def close(self, call: Close, *, now: int) -> None:
        """End the channel and pay everything by cash under the closing's ``net_to_b``.

        Raises:
            RefusedError: the contract would revert.
        """
        refusals, terms, closing = Refusals(), call.terms, call.closing
        record = self.channel(terms)
        self._check_id(refusals, terms, closing.channel_id)
        self._check_phase(refusals, terms, now, *_LIVE)
        refusals.when(
            closing.nonce <= record.nonce,
            "NonceNotNewer",
            recorded=record.nonce,
            given=closing.nonce,
        )
        check_limit(refusals, closing.valid_until, now)
        message = self._digest(closing.struct_hash)
        check_signers(refusals, terms, message, (call.signature_a, call.signature_b))
        cash_a = record.equity(Party.A, closing.net_to_b)
        clamped = not 0 <= cash_a <= record.pot
        refusals.when(clamped, "ClosingNeedsClamp", cashA=cash_a, pot=record.pot)
        refusals.stop()
        self._end(terms, (cash_a, record.pot - cash_a))
