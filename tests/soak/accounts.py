"""Every unit of a soak accounted for: what the contract paid, against journals and market alone.

Neither the contract's storage nor a peer's figures are asked. A channel's last agreed portfolio
comes out of the journals, by the nonce that the chain recorded; what has expired since is paid at
the market's averages with exact fractions; a close-out is worked out by the pricing engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from channels.audit import audit
from channels.cli.demo.market import Market, settlement_average
from channels.cli.demo.reconcile import payoff_to_a
from channels.pricing import Kind, ScanMargin, close_out_value, portfolio_value, shifted_positions
from channels.protocol import records
from channels.protocol.changes import Trade, TradeLeg
from channels.protocol.channel import Channel
from channels.protocol.facts import (
    ChainEvent,
    ChannelClosed,
    ChannelOpened,
    Checkpointed,
    ClosedOut,
    Deposited,
    DisputeStarted,
    MarginCalled,
)
from channels.protocol.ledger import Entry
from channels.protocol.types import EMPTY_PORTFOLIO, Closing, Party, Portfolio, Spot, State, feed_id
from channels.storage import verify_journal
from channels.storage.offline import stored_channels

__all__ = ["Account", "Journals", "check_journals", "read_journals", "reconcile"]


@attrs.frozen
class Journals:
    """What both sides' journals hold of each channel: everything signed, by nonce."""

    channels: Mapping[bytes, Channel]
    signed: Mapping[bytes, Mapping[int, tuple[Entry, ...]]]

    def state(self, identity: bytes, nonce: int) -> Portfolio:
        """The portfolio signed at a nonce."""
        if nonce == 0:
            return EMPTY_PORTFOLIO
        portfolios = {
            each.value.portfolio
            for each in self.signed[identity][nonce]
            if isinstance(each.value, State)
        }
        assert len(portfolios) == 1, f"{len(portfolios)} portfolios at nonce {nonce}"
        return portfolios.pop()

    def closing(self, identity: bytes) -> Closing:
        """The newest Closing that both signed."""
        found = [
            each.value
            for entries in self.signed[identity].values()
            for each in entries
            if isinstance(each.value, Closing) and each.co_signed
        ]
        return max(found, key=lambda each: each.nonce)


def read_journals(stores: Iterable[Path]) -> Journals:
    """Read and verify the journals."""
    channels: dict[bytes, Channel] = {}
    signed: dict[bytes, dict[int, tuple[Entry, ...]]] = {}
    for path in stores:
        for identity, record in stored_channels(path).items():
            channels[identity] = records.decode_channel(record)
        for written in verify_journal(path):
            by_nonce = signed.setdefault(written.channel_id, {})
            for each in records.decode_journal_entry(written.body)[2]:
                by_nonce[each.nonce] = (*by_nonce.get(each.nonce, ()), each)
    return Journals(channels, signed)


def check_journals(stores: Mapping[str, Path], journals: Journals) -> int:
    """No signing rule broken in either journal, and no nonce with two digests in both together.

    How many signatures there were.
    """
    signatures = 0
    for name, path in stores.items():
        report = audit(path)
        assert report.findings == (), f"{name}: {report.findings}"
        signatures += sum(each.signatures for each in report.histories)
    for identity, by_nonce in journals.signed.items():
        for nonce, entries in by_nonce.items():
            digests = {each.value.struct_hash for each in entries}
            assert len(digests) == 1, f"{len(digests)} signed at {nonce} of {identity.hex()}"
    return signatures


@attrs.define
class Account:
    """One channel: what was put in, and what should have come out."""

    journals: Journals
    market: Market
    channel: Channel
    events: list[ChainEvent]

    @property
    def _identity(self) -> bytes:
        return self.channel.channel_id

    def deposits(self) -> dict[Party, int]:
        """What each side put in."""
        found = dict.fromkeys(Party, 0)
        for each in self.events:
            if isinstance(each, ChannelOpened):
                found[Party.A] += each.deposit_a
                found[Party.B] += each.deposit_b
            elif isinstance(each, Deposited):
                found[each.party] += each.amount
        return found

    def recorded(self) -> Portfolio:
        """The portfolio that the chain recorded last, out of the journals."""
        told = [each for each in self.events if isinstance(each, Checkpointed | DisputeStarted)]
        nonce = max((each.nonce for each in told), default=0)
        return self.journals.state(self._identity, nonce)

    def _settled(self, portfolio: Portfolio, until: int) -> Portfolio:
        """With all that expires up to a time as cash, at the market's average."""
        net, kept = portfolio.net_to_b, []
        for each in portfolio.positions:
            if each.expiry > until:
                kept.append(each)
                continue
            leg = TradeLeg(
                feed=each.feed,
                kind=Kind(each.kind),
                expiry=each.expiry,
                strike=each.strike,
                quantity=each.quantity,
                price=0,
            )
            trade = Trade(trade_id=bytes(32), premium=0, legs=(leg,))
            price = settlement_average(self.market, each.expiry)
            net -= payoff_to_a(trade, price, self.channel.terms.unit)
        return attrs.evolve(portfolio, net_to_b=net, positions=tuple(kept))

    def expected(self) -> tuple[int, int]:
        """What A and B should have been paid."""
        closed_out = [each for each in self.events if isinstance(each, ClosedOut)]
        if not any(isinstance(each, DisputeStarted) for each in self.events):
            return self._paid(self.journals.closing(self._identity).net_to_b)
        if not closed_out:
            ends = [each.expiry for each in self.recorded().positions]
            return self._paid(self._settled(self.recorded(), max(ends, default=0)).net_to_b)
        party = closed_out[0].party
        cure_end = max(each.cure_end for each in self._calls(party))
        remaining = self._settled(self.recorded(), cure_end)
        spot = Spot(feed=feed_id(self.market.feed), price=settlement_average(self.market, cure_end))
        if self._together():
            worth = portfolio_value(remaining.positions, (spot,), cure_end, self.channel.terms.unit)
            value = worth.value_rounded_down_a if worth.exact >= 0 else -worth.value_rounded_down_b
            return self._paid(remaining.net_to_b - value)
        value = close_out_value(
            remaining.positions,
            (spot,),
            {each.feed: each for each in self.channel.risk},
            self.channel.terms.unit,
            marked_at=remaining.marked_at,
            at=cure_end,
            called=party.sign,
        )
        owed = remaining.margin(party) * self.channel.terms.default_penalty_bps // 10_000
        paid = dict(zip(Party, self._paid(remaining.net_to_b - value), strict=True))
        penalty = min(owed, paid[party])
        paid[party] -= penalty
        paid[party.other] += penalty
        return paid[Party.A], paid[Party.B]

    def _calls(self, party: Party) -> list[MarginCalled]:
        called = [each for each in self.events if isinstance(each, MarginCalled)]
        return [each for each in called if each.party is party]

    def _together(self) -> bool:
        """Whether the last calls on both count as one."""
        ends = [max((each.cure_end for each in self._calls(side)), default=0) for side in Party]
        return all(ends) and abs(ends[0] - ends[1]) <= self.channel.terms.cure_window

    def _paid(self, net_to_b: int) -> tuple[int, int]:
        deposits = self.deposits()
        pot = sum(deposits.values())
        cash_a = min(max(deposits[Party.A] - net_to_b, 0), pot)
        return cash_a, pot - cash_a

    def check(self) -> tuple[int, int]:
        """Hold what was paid against what should have been; what was."""
        (closed,) = (each for each in self.events if isinstance(each, ChannelClosed))
        paid = closed.paid_a, closed.paid_b
        assert paid == self.expected(), f"{self._identity.hex()}: {paid}, not {self.expected()}"
        assert sum(paid) == sum(self.deposits().values())
        self._check_calls()
        return paid

    def _check_calls(self) -> None:
        """Every margin call cured or closed out."""
        for call in (each for each in self.events if isinstance(each, MarginCalled)):
            if any(isinstance(each, ClosedOut) for each in self.events):
                continue
            short = self._shortfall(call.party, call.cure_end)
            assert short <= 0, f"{self._identity.hex()}: {call} neither cured nor closed out"

    def _shortfall(self, party: Party, cure_end: int) -> int:
        """What a party lacked of maintenance margin at a cure's end; above 0: short."""
        remaining = self._settled(self.recorded(), cure_end)
        if not remaining.positions:
            return 0
        price = settlement_average(self.market, cure_end)
        spots = (Spot(feed=feed_id(self.market.feed), price=price),)
        shifted = shifted_positions(
            remaining.positions,
            spots,
            {each.feed: each for each in self.channel.risk},
            marked_at=remaining.marked_at,
            at=cure_end,
            favoured=party.sign,
        )
        unit, model = self.channel.terms.unit, ScanMargin(self.channel.risk)
        whole = model.explain_party(shifted, spots, cure_end, unit, side=party.sign)
        cash = self.deposits()[party] - party.sign * remaining.net_to_b
        return whole.maintenance - cash - whole.value


def reconcile(
    journals: Journals, market: Market, events: Iterable[ChainEvent]
) -> tuple[dict[Party, int], dict[bytes, Account]]:
    """Check every channel; what each side won or lost over all of them, base units."""
    by_channel: dict[bytes, list[ChainEvent]] = {}
    for each in events:
        identity = getattr(each, "channel_id", None)
        assert identity is not None, f"a payout was deferred: {each}"
        by_channel.setdefault(identity, []).append(each)
    assert by_channel.keys() == journals.channels.keys()
    won, accounts = dict.fromkeys(Party, 0), {}
    for identity, found in by_channel.items():
        account = Account(journals, market, journals.channels[identity], found)
        for party, paid in zip(Party, account.check(), strict=True):
            won[party] += paid - account.deposits()[party]
        accounts[identity] = account
    return won, accounts
