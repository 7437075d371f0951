"""Lots: each trade followed through netting, first in, first out.

A state nets what was bought and sold of a series into one position. For taxes and for confirmations
each trade must stay known: a lot is what is left of one, with its UTI, its price and its time.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from channels.audit.replay import Settled
from channels.protocol.changes import Settlement, Trade, TradeLeg
from channels.protocol.types import Series

__all__ = ["Lot", "LotClosed", "lots"]


@attrs.frozen(kw_only=True)
class Lot:
    """What is left of one leg of a trade: quantity seen from A and price, WAD; time in ns."""

    trade_id: bytes
    series: Series
    quantity: int
    price: int
    time: int


@attrs.frozen(kw_only=True)
class LotClosed:
    """A lot, or a part of it, that ended: by an opposite trade, or by its settlement.

    ``closed_by`` is the other trade's UTI; None for a settlement, whose ``price`` is the settlement
    price of the underlying, not the payoff.
    """

    lot: Lot
    closed_by: bytes | None
    price: int
    time: int


def lots(settled: Iterable[Settled]) -> tuple[tuple[Lot, ...], tuple[LotClosed, ...]]:
    """Follow every trade of a history; the lots that stand, and those that ended.

    Positions that the chain settled, or that came without a trade (after a recovery), have no lots:
    the lots of a series add up to its position where every trade is in the history.
    """
    standing: dict[Series, list[Lot]] = {}
    ended: list[LotClosed] = []
    for each in settled:
        match each.change:
            case Trade(trade_id=trade_id, legs=legs):
                for leg in legs:
                    _deal(standing, ended, trade_id, leg, each.time)
            case Settlement(feed=feed, expiry=expiry, price=price):
                for series in [held for held in standing if held[:2] == (feed, expiry)]:
                    ended.extend(
                        LotClosed(lot=lot, closed_by=None, price=price, time=each.time)
                        for lot in standing.pop(series)
                    )
            case _:
                pass
    return tuple(lot for held in standing.values() for lot in held), tuple(ended)


def _deal(
    standing: dict[Series, list[Lot]],
    ended: list[LotClosed],
    trade_id: bytes,
    leg: TradeLeg,
    time: int,
) -> None:
    held, left = standing.setdefault(leg.series, []), leg.quantity
    while left and held and (held[0].quantity > 0) != (left > 0):
        lot = held[0]
        part = min(abs(left), abs(lot.quantity)) * (1 if lot.quantity > 0 else -1)
        closed = attrs.evolve(lot, quantity=part)
        ended.append(LotClosed(lot=closed, closed_by=trade_id, price=leg.price, time=time))
        left += part
        if part == lot.quantity:
            del held[0]
        else:
            held[0] = attrs.evolve(lot, quantity=lot.quantity - part)
    if left:
        held.append(
            Lot(trade_id=trade_id, series=leg.series, quantity=left, price=leg.price, time=time)
        )
    if not held:
        del standing[leg.series]
