"""The quotes of ours that may still be taken: what they were for, and how long we mean them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from channels.peer.marks import overlaid
from channels.peer.runner import Runner
from channels.protocol.changes import Marks, Trade, marks_of
from channels.protocol.channel import Channel
from channels.protocol.effects import ChangeConfirmed, Notice, RecordedOnChain
from channels.protocol.eip712 import keccak
from channels.protocol.events import Draft
from channels.protocol.types import State
from channels.units import WAD

__all__ = ["Offered", "QuoteBook", "part_id", "part_of"]

MOST_KEPT: Final = 256
"""Quotes remembered in one channel; a box's end makes the older ones worthless anyhow."""


@attrs.frozen(kw_only=True)
class Offered:
    """One side of a quote of ours.

    ``marks`` price every leg, what the trade closes included. ``expires_at`` is Unix time, 0 if the
    quote is from before a restart. ``least`` is the smallest part we deal in, WAD; WAD: all or
    none.
    """

    trade: Trade
    marks: Marks
    expires_at: int = 0
    least: int = WAD


def part_id(trade_id: bytes) -> bytes:
    """UTI of a part of the quote whose whole would have this one."""
    return keccak(b"part of " + trade_id)


def part_of(whole: Trade, part: int, *, quoter_is_b: bool, unit: int) -> Trade | None:
    """The fraction ``part``, WAD, of a quoted trade; None where a quantity is no whole number.

    The premium is rounded in the quoting side's favour, as that of the whole is.
    """
    if any(leg.quantity * part % WAD for leg in whole.legs):
        return None
    legs = tuple(attrs.evolve(leg, quantity=leg.quantity * part // WAD) for leg in whole.legs)
    exact = sum(leg.quantity * leg.price for leg in legs) * unit
    premium = -(-exact // WAD**2) if quoter_is_b else exact // WAD**2
    return Trade(trade_id=part_id(whole.trade_id), premium=premium, legs=legs)


class QuoteBook:
    """All our quotes that are neither taken nor long gone, by channel and by the trade's UTI."""

    def __init__(self) -> None:
        self._offers: dict[bytes, dict[bytes, Offered]] = {}

    def add(self, channel: Channel, draft: Draft, *, expires_at: int = 0, least: int = WAD) -> None:
        """Remember one side of a quote that is about to leave."""
        if not isinstance(draft.change, Trade):
            return
        marks = overlaid(marks_of(channel.portfolio), draft.marks)
        offers = self._offers.setdefault(channel.channel_id, {})
        offers[draft.change.trade_id] = Offered(
            trade=draft.change, marks=marks, expires_at=expires_at, least=least
        )
        while len(offers) > MOST_KEPT:
            del offers[next(iter(offers))]

    def resume(self, runner: Runner) -> None:
        """After a start: what waits for an answer may still be taken."""
        for each in runner.channel.ledger.entries:
            quoted = each.quote is not None and each.mine is not None and each.change is not None
            if quoted and isinstance(each.value, State) and isinstance(each.change, Trade):
                draft = Draft(change=each.change, marks=marks_of(each.value.portfolio))
                self.add(runner.channel, draft)

    def taken(self, identity: bytes, notice: Notice) -> Offered | None:
        """The quote of ours that a notice shows taken, whole or in part; it is taken once."""
        if not isinstance(notice, ChangeConfirmed | RecordedOnChain):
            return None
        change = notice.change
        if not isinstance(change, Trade):
            return None
        offers = self._offers.get(identity, {})
        for key, offered in list(offers.items()):
            if change.trade_id in (key, part_id(key)):
                del offers[key]
                return attrs.evolve(offered, trade=change)
        return None

    def forget(self, identity: bytes, drafts: Iterable[Draft]) -> None:
        """Forget sides that did not leave."""
        offers = self._offers.get(identity, {})
        for each in drafts:
            if isinstance(each.change, Trade):
                offers.pop(each.change.trade_id, None)

    def withdraw(self, identity: bytes, trade_id: bytes | None = None) -> None:
        """No part of this quote, or of any in the channel, may be taken any more.

        The whole may: it is signed.
        """
        offers = self._offers.get(identity, {})
        for key, offered in offers.items():
            if trade_id in (None, key):
                offers[key] = attrs.evolve(offered, least=WAD)

    def allows_part(self, channel: Channel, part: Trade, now: int) -> bool:
        """Whether a trade is part of a live quote of ours, at its prices and of a size we named."""
        return any(
            offered.expires_at >= now and self._is_part(channel, offered, part)
            for offered in self._with_parts(channel.channel_id)
        )

    def _with_parts(self, identity: bytes) -> Iterator[Offered]:
        return (each for each in self._offers.get(identity, {}).values() if each.least < WAD)

    def _is_part(self, channel: Channel, offered: Offered, part: Trade) -> bool:
        whole = offered.trade
        if part.trade_id != part_id(whole.trade_id):
            return False
        fraction, rest = divmod(part.legs[0].quantity * WAD, whole.legs[0].quantity)
        if rest or not offered.least <= fraction <= WAD:
            return False
        quoter_is_b = channel.side.sign < 0
        return part == part_of(whole, fraction, quoter_is_b=quoter_is_b, unit=channel.terms.unit)
