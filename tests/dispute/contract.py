"""The contract's rules over blocks in memory.

Written after adjudication.md, not after the monitor: what settles, who pays and what a checkpoint
does is worked out here once more.
"""

from __future__ import annotations

from typing import Any

import attrs

from channels.chain.contracts import SpotReading
from channels.chain.jobs import Intent
from channels.protocol.calls import Call, CallMargin, Checkpoint, Claim, Close, Dispute, Settle
from channels.protocol.eip712 import keccak
from channels.protocol.facts import (
    ChainEvent,
    ChannelClosed,
    ChannelView,
    Checkpointed,
    DisputeStarted,
    MarginCalled,
    OnChainPhase,
    PayoutClaimed,
    PositionsSettled,
)
from channels.protocol.terms import Domain, Terms, channel_id
from channels.protocol.types import EMPTY_PORTFOLIO, Party, Portfolio, State
from tests.dispute.build import GRACE, HOUR, WAD


class RevertError(Exception):
    """The contract refuses."""


@attrs.define
class World:
    """Everything the contracts store, at one block."""

    views: dict[bytes, ChannelView] = attrs.field(factory=dict)
    paid: dict[bytes, tuple[int, int]] = attrs.field(factory=dict)
    disputes: int = 0
    prices: dict[tuple[bytes, int], tuple[int, int]] = attrs.field(factory=dict)
    spots: dict[bytes, SpotReading] = attrs.field(factory=dict)

    def copy(self) -> World:
        return World(
            dict(self.views), dict(self.paid), self.disputes, dict(self.prices), dict(self.spots)
        )


@attrs.frozen(kw_only=True)
class Filing:
    """A dispute as ``filer`` sends it."""

    filer: Party
    call: Dispute


@attrs.frozen(kw_only=True)
class SetPrice:
    """Somebody brings a settlement price to the oracle."""

    feed: bytes
    time: int
    price: int
    status: int = 1


@attrs.frozen(kw_only=True)
class SetSpot:
    """Somebody brings a spot of this very block to the oracle."""

    feed: bytes
    price: int


Transaction = Call | Filing | SetPrice | SetSpot | Intent


@attrs.define(eq=False)
class Block:
    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    world: World
    events: list[ChainEvent] = attrs.field(factory=list)
    transactions: list[tuple[bytes, Transaction]] = attrs.field(factory=list)
    hidden: bool = False


class FakeContract:
    """Applies transactions to blocks."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain

    @staticmethod
    def view(block: Block, channel: bytes) -> ChannelView:
        view = block.world.views.get(channel, ChannelView(phase=OnChainPhase.NONE))
        if view.phase is OnChainPhase.DISPUTED and block.timestamp >= view.deadline:
            return attrs.evolve(view, phase=OnChainPhase.RUN_OFF)
        return view

    def apply(self, block: Block, transaction: Transaction) -> None:
        match transaction:
            case SetPrice():
                known = (transaction.status, transaction.price * WAD)
                block.world.prices[transaction.feed, transaction.time] = known
            case SetSpot():
                reading = SpotReading(price=transaction.price * WAD, observed_at=block.timestamp)
                block.world.spots[transaction.feed] = reading
            case Intent():
                pass  # whoever offered a price says what it does
            case CallMargin():
                self._call_margin(block, transaction)
            case Checkpoint():
                self._checkpoint(block, transaction)
            case Filing():
                self._dispute(block, transaction)
            case Settle():
                self._settle(block, transaction)
            case Close():
                self._end(block, transaction.terms, transaction.closing.net_to_b)
            case Claim():
                self._claim(block, transaction)
            case _:
                raise RevertError("not modelled")

    def _event(self, block: Block, terms: Terms, kind: Any, **fields: Any) -> None:
        place = {
            "channel_id": channel_id(self.domain, terms),
            "block_number": block.number,
            "block_hash": block.hash,
            "transaction_hash": keccak(b"tx" + block.hash),
            "log_index": len(block.events),
        }
        block.events.append(kind(**place, **fields))

    def _checkpoint(self, block: Block, call: Checkpoint, *, shown: bool = False) -> None:
        channel, state = channel_id(self.domain, call.terms), call.newest.state
        view = self.view(block, channel)
        in_box = state.valid_until == 0 or block.timestamp <= state.valid_until
        open_ = view.phase in (OnChainPhase.OPEN, OnChainPhase.DISPUTED)
        if not open_ or state.nonce <= view.nonce or not in_box:
            return  # returns false
        portfolio_hash = state.portfolio_hash
        block.world.views[channel] = attrs.evolve(
            view, nonce=state.nonce, portfolio_hash=portfolio_hash
        )
        self._event(
            block,
            call.terms,
            Checkpointed,
            nonce=state.nonce,
            portfolio_hash=portfolio_hash,
            portfolio=state.portfolio if shown and isinstance(state, State) else None,
        )

    def _dispute(self, block: Block, filing: Filing) -> None:
        call, newest = filing.call, filing.call.newest
        channel = channel_id(self.domain, call.terms)
        view = self.view(block, channel)
        if view.phase is OnChainPhase.DISPUTED:
            if newest is not None:
                self._checkpoint(block, Checkpoint(terms=call.terms, newest=newest), shown=True)
            return
        if view.phase is not OnChainPhase.OPEN:
            raise RevertError("WrongPhase")
        portfolio: Portfolio | None = None if view.nonce else EMPTY_PORTFOLIO
        if newest is not None and newest.state.nonce > view.nonce:
            portfolio = newest.state.portfolio
            view = attrs.evolve(
                view, nonce=newest.state.nonce, portfolio_hash=portfolio.struct_hash
            )
        block.world.disputes += 1
        deadline = block.timestamp + call.terms.dispute_window
        block.world.views[channel] = attrs.evolve(
            view,
            phase=OnChainPhase.DISPUTED,
            filer=filing.filer,
            filed_nonce=view.nonce,
            deadline=deadline,
        )
        self._event(
            block,
            call.terms,
            DisputeStarted,
            filer=filing.filer,
            nonce=view.nonce,
            deadline=deadline,
            count=block.world.disputes,
            portfolio=portfolio,
        )

    def _call_margin(self, block: Block, call: CallMargin) -> None:
        """Take any call for granted but for its channel, its portfolio and its time."""
        channel = channel_id(self.domain, call.terms)
        view = self.view(block, channel)
        if view.portfolio_hash != call.portfolio.struct_hash:
            raise RevertError("PortfolioMismatch")
        if view.cure_end(call.party):
            raise RevertError("CallUndecided")
        cure_end = -(-(block.timestamp + call.terms.cure_window) // HOUR) * HOUR
        block.world.views[channel] = (
            attrs.evolve(view, cure_end_a=cure_end)
            if call.party is Party.A
            else attrs.evolve(view, cure_end_b=cure_end)
        )
        self._event(
            block,
            call.terms,
            MarginCalled,
            party=call.party,
            cure_end=cure_end,
            equity=0,
            maintenance=1,
        )

    @staticmethod
    def _claim(block: Block, call: Claim) -> None:
        block.events.append(
            PayoutClaimed(
                token=call.token,
                payee=call.recipient,
                recipient=call.recipient,
                amount=1,
                block_number=block.number,
                block_hash=block.hash,
                transaction_hash=keccak(b"tx" + block.hash),
                log_index=len(block.events),
            )
        )

    def _settle(self, block: Block, call: Settle) -> None:
        channel, portfolio = channel_id(self.domain, call.terms), call.portfolio
        view = self.view(block, channel)
        if view.phase is not OnChainPhase.RUN_OFF:
            raise RevertError("WrongPhase")
        wanted = view.portfolio_hash if view.nonce else EMPTY_PORTFOLIO.struct_hash
        if portfolio.struct_hash != wanted:
            raise RevertError("PortfolioMismatch")
        net, kept = portfolio.net_to_b, []
        for each in portfolio.positions:
            status, price = block.world.prices.get((each.feed, each.expiry), (0, 0))
            late = block.timestamp >= each.expiry + GRACE
            if each.expiry > block.timestamp or not (status == 1 or (status and late)):
                kept.append(each)
                continue
            if each.kind != 1:
                raise NotImplementedError("only puts are modelled")
            value = max(each.strike - price, 0) * abs(each.quantity) * call.terms.unit // WAD**2
            net -= value if each.quantity > 0 else -value
        if not kept:
            self._end(block, call.terms, net)
        elif len(kept) < len(portfolio.positions):
            left = attrs.evolve(portfolio, net_to_b=net, positions=tuple(kept))
            block.world.views[channel] = attrs.evolve(view, portfolio_hash=left.struct_hash)
            self._event(block, call.terms, PositionsSettled, portfolio=left)

    def _end(self, block: Block, terms: Terms, net_to_b: int) -> None:
        channel = channel_id(self.domain, terms)
        view = block.world.views[channel]
        paid_a = min(max(view.contribution_a - net_to_b, 0), view.pot)
        paid = [paid_a, view.pot - paid_a]
        if view.filer is not None and view.nonce - view.filed_nonce > terms.max_in_flight:
            owed = min(terms.stale_penalty, paid[view.filer])
            paid[view.filer] -= owed
            paid[view.filer.other] += owed
        block.world.views[channel] = ChannelView(phase=OnChainPhase.CLOSED)
        block.world.paid[channel] = (paid[0], paid[1])
        self._event(block, terms, ChannelClosed, paid_a=paid[0], paid_b=paid[1])
