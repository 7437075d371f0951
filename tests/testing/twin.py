"""Every call on the contracts and on the model, and everything they hold compared after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import attrs

from channels.chain.bindings import encode_call
from channels.protocol.calls import Call, CheckpointMany, Dispute
from channels.protocol.eip712 import Address
from channels.protocol.facts import OnChainPhase
from channels.protocol.terms import Terms
from channels.testing import (
    UNLIMITED,
    ModelAdjudicator,
    ModelOracle,
    ModelToken,
    Refusal,
    RefusedError,
    Status,
)

from .evm import TOKEN_NAME, Contracts, RevertedError

_ENGINE: Final = frozenset({"NoRiskParams", "NoSuchScenario", "PricingDomainError"})
"""Refusals of the RiskEngine: where several apply, it names the one it comes across first."""

ORACLE_GRACE: Final = 3 * 86_400


@attrs.frozen
class Outcome:
    """What came of a call: its answer, or the reasons against it."""

    answer: int | None
    refusals: tuple[Refusal, ...] = ()

    @property
    def accepted(self) -> bool:
        return not self.refusals


class Twin:
    """A chain with the contracts, and the model beside it, under the same clock.

    ``plain`` and ``picky`` are the model's tokens, ``oracle`` its oracle; what is done to them is
    to be done through this class.
    """

    def __init__(self, fakes: Mapping[str, Mapping[str, Any]], people: tuple[Address, ...]) -> None:
        self.contracts = Contracts(fakes)
        self.people = people
        domain = self.contracts.domain
        self.plain = ModelToken(self.contracts.plain, name=TOKEN_NAME, chain_id=domain.chain_id)
        self.picky = ModelToken(self.contracts.picky)
        self.oracle = ModelOracle(self.contracts.oracle, grace=ORACLE_GRACE)
        self.model = ModelAdjudicator(
            domain, tokens=[self.plain, self.picky], oracles=[self.oracle]
        )
        self.now = 0
        self.log: list[str] = []
        self.tried: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.effective: Counter[str] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()
        self._terms: dict[bytes, Terms] = {}

    # ---- the world around

    def set_time(self, now: int) -> None:
        self.now = now
        self.contracts.set_time(now)
        self.log.append(f"now {now}")

    def fund(self, token: ModelToken, owner: Address, amount: int, allowance: int) -> None:
        token.mint(owner, amount)
        self.contracts.mint(token.address, owner, amount)
        self.approve(token, owner, allowance)

    def approve(self, token: ModelToken, owner: Address, allowance: int = UNLIMITED) -> None:
        token.approve(self.contracts.domain.adjudicator, allowance, sender=owner)
        self.contracts.approve(token.address, owner, allowance)

    def refuse_payments(self, payee: Address | None) -> None:
        """Let the picky token refuse this payee only, or nobody."""
        for each in self.people:
            self.picky.allow_payments(each)
        if payee is not None:
            self.picky.refuse_payments(payee)
        self.contracts.refuse_payments(payee)
        self.log.append(f"refuse {payee!r}")

    def set_price(self, feed: bytes, time: int, status: Status, price: int) -> None:
        self.oracle.set_price(feed, time, price, status)
        self.contracts.set_price(feed, time, status, price)
        self.log.append(f"price {feed.hex()[:8]} {time} {status.name} {price}")

    def set_spot(self, feed: bytes, price: int, updated_at: int) -> None:
        self.oracle.set_spot(feed, price, updated_at)
        self.contracts.set_spot(feed, price, updated_at)
        self.log.append(f"spot {feed.hex()[:8]} {price} of {updated_at}")

    def set_dead(self, dead: bool) -> None:
        self.oracle.fails = dead
        self.contracts.set_dead(dead)
        self.log.append(f"oracle dead {dead}")

    # ---- calls

    def send(self, call: Call, *, sender: Address) -> Outcome:
        """Send a call to both and compare what comes of it, and what everybody then has."""
        kind = type(call).__name__
        expected = self._expected(call, sender)
        found = self._found(call, sender)
        self.log.append(f"{self.now} {kind} {call} -> {found}")
        self.tried[kind] += 1
        if expected.accepted:
            assert found.accepted, f"{kind}: accepted by the model, {found.refusals[0]}"
            assert found.answer == expected.answer, f"{kind}: {found} {expected}"
            assert self.model.take_events() == self.contracts.events, kind
            self.accepted[kind] += 1
            self.effective[kind] += found.answer != 0
        else:
            assert not found.accepted, f"{kind}: the contract took it, {expected.refusals}"
            reason = found.refusals[0]
            self.refused[kind, reason.reason] += 1
            matches = [each for each in expected.refusals if _is(each, reason)]
            assert matches, f"{kind}: {reason}, expected one of {list(map(str, expected.refusals))}"
        terms = (
            [each.terms for each in call.checkpoints] if isinstance(call, CheckpointMany) else []
        )
        self.compare(*terms)
        return found

    def know(self, terms: Terms) -> None:
        """Compare this channel too from now on."""
        self._terms[self.model.channel_id(terms)] = terms

    def _expected(self, call: Call, sender: Address) -> Outcome:
        try:
            answer = self.model.send(call, sender=sender, now=self.now)
        except RefusedError as error:
            return Outcome(None, error.refusals)
        if isinstance(call, Dispute) and call.newest is None:
            return Outcome(None)  # the contract's `dispute(terms)` has no answer
        return Outcome(int.from_bytes(answer, "big") if isinstance(answer, bytes) else answer)

    def _found(self, call: Call, sender: Address) -> Outcome:
        try:
            answer = self.contracts.send(encode_call(call).data, sender=sender)
        except RevertedError as error:
            return Outcome(None, (Refusal(error.revert.name, error.revert.arguments),))
        return Outcome(int.from_bytes(answer, "big") if answer else None)

    def compare(self, *more: Terms) -> None:
        """Compare storage of every channel known, all balances, and what is left to claim."""
        for terms in (*self._terms.values(), *more):
            channel_id = self.model.channel_id(terms)
            ours, theirs = self.model.channel(terms), self.contracts.channel(channel_id)
            phase = self.contracts.phase(channel_id)
            assert phase == self.model.phase(terms, now=self.now)
            same = attrs.evolve(ours, phase=OnChainPhase.NONE)
            assert attrs.evolve(theirs, phase=OnChainPhase.NONE) == same
            assert (theirs.phase is OnChainPhase.CLOSED) == (ours.phase is OnChainPhase.CLOSED)
        assert self.contracts.dispute_count() == self.model.dispute_count
        adjudicator = self.contracts.domain.adjudicator
        for token in (self.plain, self.picky):
            for owner in (adjudicator, *self.people):
                balance = self.contracts.balance(token.address, owner)
                assert balance == token.balance(owner), f"{owner.hex()} has {balance}"
            for payee in self.people:
                claimable = self.contracts.claimable(token.address, payee)
                assert claimable == self.model.claimable(token.address, payee)


def _is(expected: Refusal, found: Refusal) -> bool:
    """Whether a refusal is the one expected, with what the model knows of its arguments."""
    if {expected.reason, found.reason} <= _ENGINE:
        return True
    return expected.reason == found.reason and all(
        found.arguments.get(name) == value for name, value in expected.arguments.items()
    )
