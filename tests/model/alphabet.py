"""The few portfolios, changes and times of which the explored games are made."""

from __future__ import annotations

from typing import Final

from channels.pricing import Kind
from channels.protocol.changes import Change, Marks, Remark, SeriesMark, marks_of
from channels.protocol.channel import Timing
from channels.protocol.events import Draft
from channels.protocol.terms import Opening
from channels.protocol.types import Portfolio, Series
from tests.protocol.build import (
    ETH,
    EXPIRY,
    STRIKE,
    T0,
    TIMING,
    WAD,
    make_leg,
    make_opening,
    make_terms,
    make_trade,
)

__all__ = ["CHANGES", "LONG", "TICK", "TIMES", "draft", "opening_of"]

TICK: Final = 90
"""Seconds between two blocks. A box of 120 s is open at the next block, too far gone to accept and
overdue for its Confirm; it has passed at the head after two, and in a final block after three."""
LONG: Final = 3_690
"""A gap in which a Closing's box passes."""
TIMES: Final = Timing(slot=TIMING.slot, box=TIMING.box, void_grace=150, recovery_time=1_800)
"""A recovery that nothing can end is given up once a quiet chain has come to long gaps."""

_SERIES: Final[Series] = (ETH, EXPIRY, int(Kind.PUT), STRIKE)
_VOL: Final = 60 * WAD // 100

CHANGES: Final[dict[str, Change]] = {
    "buy": make_trade(make_leg(1, price=101), trade_id=bytes(31) + b"\x01"),
    "sell": make_trade(make_leg(-1, price=100), trade_id=bytes(31) + b"\x02"),
    "sell much": make_trade(make_leg(-9, price=100), trade_id=bytes(31) + b"\x03"),
    "mark down": Remark(),
}
"""As A sees them: of "sell much" A can afford one and not two; "mark down" leaves A short of its
initial margin where it has sold much, and back up again."""


def draft(portfolio: Portfolio, name: str) -> Draft:
    """The named change of ``portfolio``, with its marks but for those that the change is about."""
    change = CHANGES[name]
    held = marks_of(portfolio)
    spot, at = held.spots.get(ETH, 3_000 * WAD), max(portfolio.marked_at, T0)
    if isinstance(change, Remark):
        spot, at = (2_400 if spot == 3_000 * WAD else 3_000) * WAD, at + 1
    series = {_SERIES: SeriesMark(vol=_VOL)} | dict(held.series)
    return Draft(change=change, marks=Marks(marked_at=at, spots={ETH: spot}, series=series))


def opening_of(max_in_flight: int) -> Opening:
    """An Opening whose dispute window is two blocks long."""
    return make_opening(terms=make_terms(max_in_flight=max_in_flight, dispute_window=2 * TICK))
