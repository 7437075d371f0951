"""What the contract keeps and tells, and how a channel ends: common to all of its calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from typing import Any, Final, Self

import attrs

from channels.protocol.eip712 import Address, digest
from channels.protocol.facts import (
    ChainEvent,
    ChannelClosed,
    Checkpointed,
    OnChainPhase,
    PayoutDeferred,
)
from channels.protocol.terms import Domain, Terms, channel_id
from channels.protocol.types import EMPTY_PORTFOLIO, Portfolio, SealedState, State
from channels.testing.oracle import ModelOracle
from channels.testing.record import NOTHING, ChannelRecord
from channels.testing.refusals import Refusals
from channels.testing.token import ModelToken
from channels.testing.vault import Vault

__all__ = ["NOWHERE", "Storage"]

_UINT32 = 2**32

NOWHERE: Final[dict[str, Any]] = {
    "block_number": 0,
    "block_hash": bytes(32),
    "transaction_hash": bytes(32),
    "log_index": 0,
}
"""The place of an event of the model: whoever puts it into blocks knows better."""


class Storage:
    """Channels, tokens and oracles of one Adjudicator."""

    def __init__(
        self, domain: Domain, *, tokens: Iterable[ModelToken], oracles: Iterable[ModelOracle]
    ) -> None:
        """Deploy at ``domain``; terms may name these tokens and oracles only."""
        self.domain = domain
        self.dispute_count = 0
        """Disputes ever filed."""
        self._events: list[ChainEvent] = []
        self._records: dict[bytes, ChannelRecord] = {}
        self._portfolios = {EMPTY_PORTFOLIO.struct_hash: EMPTY_PORTFOLIO}
        self._vault = Vault(domain.adjudicator, tokens)
        self._oracles = {each.address: each for each in oracles}

    # ---- views

    def channel_id(self, terms: Terms) -> bytes:
        """Identifier of the channel of these terms."""
        return channel_id(self.domain, terms)

    def channel(self, terms: Terms) -> ChannelRecord:
        """What is stored of the channel of these terms."""
        return self.record(self.channel_id(terms))

    def record(self, channel_id: bytes) -> ChannelRecord:
        """What is stored of the channel of this id."""
        return self._records.get(channel_id, NOTHING)

    def phase(self, terms: Terms, *, now: int) -> OnChainPhase:
        """The phase that counts at ``now``."""
        return self.channel(terms).phase_at(now)

    def claimable(self, token: Address, payee: Address) -> int:
        """Failed payouts of ``token`` that ``payee`` can claim."""
        return self._vault.claimable(token, payee)

    def recorded_portfolio(self, terms: Terms) -> Portfolio | None:
        """The portfolio recorded, None if it was never shown: then the contract has its hash only.

        What somebody who reads the transactions and the events knows.
        """
        return self._portfolios.get(self.channel(terms).expected_hash)

    def token(self, address: Address) -> ModelToken:
        """The token at this address."""
        return self._vault.token(address)

    def oracle(self, address: Address) -> ModelOracle:
        """The oracle at this address."""
        return self._oracles[address]

    # ---- for chains

    def copy(self) -> Self:
        """All of it as it is now, tokens and oracles included; it goes its own way from here."""
        twin = copy(self)
        twin._records, twin._portfolios = self._records.copy(), self._portfolios.copy()
        twin._vault, twin._events = self._vault.copy(), self._events.copy()
        twin._oracles = {address: each.copy() for address, each in self._oracles.items()}
        return twin

    def take_events(self) -> tuple[ChainEvent, ...]:
        """What the contract has emitted since this was asked last; their place in blocks is 0.

        A portfolio is in an event where whoever reads the transactions finds it there.
        """
        events, self._events = tuple(self._events), []
        return events

    # ---- shared by the calls

    def _digest(self, struct_hash: bytes) -> bytes:
        return digest(self.domain.separator, struct_hash)

    def _store(self, terms: Terms, record: ChannelRecord) -> None:
        self._records[self.channel_id(terms)] = record

    def _emit(self, event: Callable[..., ChainEvent], **fields: object) -> None:
        self._events.append(event(**NOWHERE, **fields))

    def _emit_of(self, event: Callable[..., ChainEvent], terms: Terms, **fields: object) -> None:
        self._emit(event, channel_id=self.channel_id(terms), **fields)

    def _write(self, terms: Terms, state: State | SealedState) -> None:
        record = self.channel(terms)
        hashed = state.portfolio_hash
        self._store(terms, attrs.evolve(record, nonce=state.nonce, portfolio_hash=hashed))

    def _record(
        self, terms: Terms, state: State | SealedState, shown: Portfolio | None = None
    ) -> None:
        """Write a newer state, and tell; ``shown``: its portfolio, if the call has it whole."""
        self._write(terms, state)
        empty = state.portfolio_hash == EMPTY_PORTFOLIO.struct_hash
        self._emit_of(
            Checkpointed,
            terms,
            nonce=state.nonce,
            portfolio_hash=state.portfolio_hash,
            portfolio=EMPTY_PORTFOLIO if empty else shown,
        )

    def _pay(self, terms: Terms, amounts: tuple[int, int]) -> None:
        for payee, amount in self._vault.pay(terms, amounts):
            self._emit(PayoutDeferred, token=terms.collateral, payee=payee, amount=amount)

    def _show(self, portfolio: Portfolio) -> None:
        self._portfolios[portfolio.struct_hash] = portfolio

    def _check_phase(
        self, refusals: Refusals, terms: Terms, now: int, *allowed: OnChainPhase
    ) -> OnChainPhase:
        phase = self.phase(terms, now=now)
        refusals.when(phase not in allowed, "WrongPhase", phase=phase)
        return phase

    def _check_portfolio(self, refusals: Refusals, terms: Terms, portfolio: Portfolio) -> None:
        recorded, given = self.channel(terms).expected_hash, portfolio.struct_hash
        refusals.when(recorded != given, "PortfolioMismatch", recorded=recorded, given=given)

    def _check_id(self, refusals: Refusals, terms: Terms, given: bytes) -> None:
        expected = self.channel_id(terms)
        refusals.when(expected != given, "WrongChannel", expected=expected, given=given)

    def _end(self, terms: Terms, cash: tuple[int, int]) -> None:
        """Pay everything and clear what is stored; a channel once closed stays so."""
        self._store(terms, ChannelRecord(phase=OnChainPhase.CLOSED))
        self._emit_of(ChannelClosed, terms, paid_a=cash[0], paid_b=cash[1])
        self._pay(terms, cash)


def check_time(refusals: Refusals, time: int) -> None:
    """Note a time that the contract cannot store."""
    refusals.when(time >= _UINT32, "TimeOverflow")
