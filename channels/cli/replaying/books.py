"""The books of a replay, from its trades and settlement prices alone: who should hold what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from channels.cli.demo.reconcile import Check, Reconciliation, payoff_to_a
from channels.desk import Explained
from channels.pricing import Kind
from channels.protocol.changes import Trade, TradeLeg
from channels.protocol.types import Series

__all__ = ["Books", "Dealt", "SettledExpiry", "TraderEnd", "reconcile"]

_NO_TRADE: Final = bytes(32)


@attrs.frozen(kw_only=True)
class Dealt:
    """A trade in one channel, ``at`` Unix seconds.

    ``premiums`` are what each maker asked would have had the taker pay; None: no price.
    """

    at: int
    channel_id: bytes
    taker: str
    maker: str
    title: str
    trade: Trade
    premiums: tuple[int | None, ...] = ()


@attrs.frozen(kw_only=True)
class SettledExpiry:
    """An expiry settled in one channel at ``price``, WAD; ``attested`` if the oracle said it."""

    channel_id: bytes
    expiry: int
    price: int
    attested: bool


@attrs.define
class Books:
    """Everything that was agreed, as it was agreed. ``parties`` are each channel's, A first."""

    parties: dict[bytes, tuple[str, str]] = attrs.Factory(dict)
    dealt: list[Dealt] = attrs.Factory(list)
    settled: list[SettledExpiry] = attrs.Factory(list)

    def net_to_b(self, channel_id: bytes, unit: int) -> int:
        """What A has paid B in a channel by now, less what it received, base units.

        Premiums as agreed; payoffs of what the trades leave of each series at its settlement.
        """
        trades = [each.trade for each in self.dealt if each.channel_id == channel_id]
        paid = sum(each.premium for each in trades)
        left = self.quantities(channel_id)
        for each in self.settled:
            if each.channel_id == channel_id:
                held = {series: left[series] for series in left if series[1] == each.expiry}
                paid -= payoff_to_a(_as_trade(held), each.price, unit)
        return paid

    def quantities(self, channel_id: bytes) -> dict[Series, int]:
        """What all trades of a channel leave of each series before settlements, seen from A."""
        left: dict[Series, int] = {}
        for each in self.dealt:
            if each.channel_id == channel_id:
                for leg in each.trade.legs:
                    left[leg.series] = left.get(leg.series, 0) + leg.quantity
        return {series: quantity for series, quantity in left.items() if quantity}

    def left_open(self, channel_id: bytes) -> dict[Series, int]:
        """What is neither traded away nor settled."""
        gone = {each.expiry for each in self.settled if each.channel_id == channel_id}
        return {
            series: quantity
            for series, quantity in self.quantities(channel_id).items()
            if series[1] not in gone
        }


def _as_trade(held: Mapping[Series, int]) -> Trade:
    legs = tuple(
        TradeLeg(
            feed=feed, kind=Kind(kind), expiry=expiry, strike=strike, quantity=quantity, price=0
        )
        for (feed, expiry, kind, strike), quantity in held.items()
    )
    return Trade(trade_id=_NO_TRADE, premium=0, legs=legs)


@attrs.frozen(kw_only=True)
class TraderEnd:
    """What one trader ended with: wallet before and after, its journals' word, and its findings."""

    name: str
    funds: int
    balance: int
    explained: Explained
    findings: int


def reconcile(
    books: Books, ends: Iterable[TraderEnd], *, unit: int, left_in_contract: int
) -> Reconciliation:
    """Work out every wallet's change from the trades, and compare.

    Compared are the wallets on chain and the profit that the journals explain; then whether all
    changes add up to nothing, anything stayed open or in the contract, and every journal is sound.
    """
    expected: dict[str, int] = {}
    for channel_id, (a, b) in books.parties.items():
        net = books.net_to_b(channel_id, unit)
        expected[a] = expected.get(a, 0) - net
        expected[b] = expected.get(b, 0) + net
    all_ends = list(ends)
    checks = []
    for each in all_ends:
        due = expected.get(each.name, 0)
        checks += [
            Check(what=f"{each.name}'s wallet", expected=due, found=each.balance - each.funds),
            Check(what=f"{each.name}'s journal", expected=due, found=each.explained.total),
        ]
    changes = sum(each.balance - each.funds for each in all_ends)
    still_open = sum(len(books.left_open(channel_id)) for channel_id in books.parties)
    checks += [
        Check(what="all wallets together", expected=0, found=changes),
        Check(what="left in the contract", expected=0, found=left_in_contract),
        Check(what="positions left open", expected=0, found=still_open),
        Check(what="findings of the audit", expected=0, found=sum(e.findings for e in all_ends)),
    ]
    return Reconciliation(checks=tuple(checks))
