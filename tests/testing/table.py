"""Two parties at one channel: their keys, their terms, and everything they ever signed."""

from __future__ import annotations

import random
from typing import Final

import attrs

from channels.protocol.calls import (
    Checkpoint,
    Close,
    CoSigned,
    DisputeFor,
    Open,
    Withdraw,
)
from channels.protocol.eip712 import Address, digest, keccak
from channels.protocol.signing import LocalSigner, Signature
from channels.protocol.terms import (
    DisputeAuthorisation,
    Domain,
    Opening,
    RiskParams,
    Terms,
    channel_id,
)
from channels.protocol.types import Closing, Party, Portfolio, State, Withdrawal


def key(name: str) -> LocalSigner:
    return LocalSigner(keccak(name.encode()))


STRANGER: Final = key("stranger")
DELEGATE: Final = key("delegate")
WALLETS: Final = (key("wallet of A"), key("wallet of B"))
SESSIONS: Final = (key("session of A"), key("session of B"))
PEOPLE: Final = tuple(each.address for each in (*WALLETS, *SESSIONS, STRANGER, DELEGATE))

Signed = State | Withdrawal | Closing | Opening | DisputeAuthorisation


@attrs.define
class Table:
    """A channel as its parties see it. Nonces signed last and every portfolio are remembered."""

    domain: Domain
    terms: Terms
    risk: tuple[RiskParams, ...]
    rng: random.Random
    opening: Open | None = None
    states: list[CoSigned] = attrs.field(factory=list)
    portfolios: dict[bytes, Portfolio] = attrs.field(factory=dict)
    limits: set[int] = attrs.field(factory=set)
    """Every time up to which something was signed to be good."""

    @property
    def channel_id(self) -> bytes:
        return channel_id(self.domain, self.terms)

    def wallet(self, party: Party) -> LocalSigner:
        return _holder(self.terms.party(party))

    def signer(self, party: Party) -> LocalSigner:
        return _holder(self.terms.signer(party))

    def member(self) -> Address:
        party = self.rng.choice(list(Party))
        return self.rng.choice((self.terms.party(party), self.terms.signer(party)))

    # ---- signatures

    def _sign(self, holder: LocalSigner, value: Signed, *, forged: bool) -> Signature:
        """Sign in this domain; a forged signature is wrong in one of five ways."""
        message = digest(self.domain.separator, value.struct_hash)
        if not forged:
            return holder.sign_digest(message)
        match self.rng.randrange(5):
            case 0:
                return STRANGER.sign_digest(message)
            case 1:
                return holder.sign_digest(keccak(message))
            case 2:
                return Signature(self.rng.randbytes(64))
            case 3:
                return Signature(bytes(64))
            case _:
                raw = holder.sign_digest(message).compact
                return Signature(raw[:32] + bytes([raw[32] ^ 0x80]) + raw[33:])

    def _both(self, value: Signed, forged: Party | None) -> dict[str, Signature]:
        return {
            f"signature_{party.name.lower()}": self._sign(
                self.signer(party), value, forged=party is forged
            )
            for party in Party
        }

    def forger(self, chance: float) -> Party | None:
        """Whose signature is to be wrong, mostly nobody's."""
        return self.rng.choice(list(Party)) if self.rng.random() < chance else None

    # ---- what they sign

    def open(self, opening: Opening, *, forged: Party | None) -> Open:
        signatures = {}
        for party in Party:
            signature = self._sign(self.wallet(party), opening, forged=party is forged)
            compact = self.rng.random() < 0.5
            signatures[party] = signature.compact if compact else signature.expanded()
        self.limits.add(opening.valid_until)
        return Open(
            opening=opening, signature_a=signatures[Party.A], signature_b=signatures[Party.B]
        )

    def cosign(
        self,
        nonce: int,
        valid_until: int,
        portfolio: Portfolio,
        *,
        forged: Party | None = None,
        elsewhere: bool = False,
    ) -> CoSigned:
        state = State(
            channel_id=keccak(self.channel_id) if elsewhere else self.channel_id,
            nonce=nonce,
            valid_until=valid_until,
            portfolio=portfolio,
        )
        signed = CoSigned(state=state, **self._both(state, forged))
        self.portfolios[portfolio.struct_hash] = portfolio
        if forged is None and not elsewhere:
            self.states.append(signed)
            self.limits.add(valid_until)
        return signed

    def checkpoint(self, signed: CoSigned) -> Checkpoint:
        return Checkpoint(terms=self.terms, newest=signed)

    def withdraw(self, state: State, amounts: tuple[int, int], *, forged: Party | None) -> Withdraw:
        withdrawal = Withdrawal(state=state, amount_a=amounts[0], amount_b=amounts[1])
        self.portfolios[state.portfolio.struct_hash] = state.portfolio
        self.limits.add(state.valid_until)
        return Withdraw(terms=self.terms, withdrawal=withdrawal, **self._both(withdrawal, forged))

    def close(self, closing: Closing, *, forged: Party | None) -> Close:
        self.limits.add(closing.valid_until)
        return Close(terms=self.terms, closing=closing, **self._both(closing, forged))

    def dispute_for(
        self, newest: CoSigned | None, authorisation: DisputeAuthorisation, *, forged: bool
    ) -> DisputeFor:
        holder = self.signer(self.rng.choice(list(Party)))
        self.limits.add(authorisation.valid_until)
        return DisputeFor(
            terms=self.terms,
            newest=newest,
            authorisation=authorisation,
            signature=self._sign(holder, authorisation, forged=forged),
        )


_HOLDERS: Final = {each.address: each for each in (*WALLETS, *SESSIONS)}


def _holder(address: Address) -> LocalSigner:
    return _HOLDERS.get(address, STRANGER)
