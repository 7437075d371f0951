"""The changes a state may announce, and what each makes of a portfolio.

A proposed state is the last permanent portfolio with one announced change. The responder computes
the change again from its own copy, and what it was sent must be that to the digit: quantities, cash
and order from the change, both margins from the marks. Only the marks are the proposer's to choose,
within the responder's tolerance.

Source: design, protocol.md "What a peer checks before it signs".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from channels.errors import InvalidValueError
from channels.pricing import (
    Kind,
    MarginModel,
    settlement_payoff,
)
from channels.protocol.bounds import fixed_bytes, require, signed128, unsigned
from channels.protocol.margins import remember_margins, values_of
from channels.protocol.types import MAX_NET, Party, Portfolio, Position, Series, Spot, feed_name
from channels.units import WAD

__all__ = [
    "MAX_LEGS",
    "Change",
    "Marks",
    "Remark",
    "SeriesMark",
    "Settlement",
    "Trade",
    "TradeLeg",
    "apply",
    "equity",
    "marks_of",
    "meets_initial_margin",
    "reduces_risk",
]

MAX_LEGS: Final = 20


@attrs.frozen(kw_only=True)
class SeriesMark:
    """The vol and carry that one series is marked at; both WAD, annual."""

    vol: int
    carry: int = 0


@attrs.frozen(kw_only=True)
class Marks:
    """All that a portfolio is valued with: spots by feed, vol and carry by series, and their time.

    Prices, vols and carries are WAD.
    """

    marked_at: int
    spots: Mapping[bytes, int]
    series: Mapping[Series, SeriesMark]


@attrs.frozen(kw_only=True)
class TradeLeg:
    """One leg of a trade; quantity seen from A (+ = A buys), price per unit in WAD."""

    feed: bytes
    kind: Kind
    expiry: int
    strike: int
    quantity: int
    price: int

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, feed=self.feed)
        unsigned(64, expiry=self.expiry)
        unsigned(128, strike=self.strike, price=self.price)
        signed128(quantity=self.quantity)

    @property
    def series(self) -> Series:
        """The series dealt in."""
        return (self.feed, self.expiry, int(self.kind), self.strike)


@attrs.frozen(kw_only=True)
class Trade:
    """All legs or none, at one net premium, which moves in the same state.

    ``premium`` is what A pays B, in base units; the legs' prices are on record beside it and add up
    to it within one base unit a leg. ``trade_id`` is the trade's UTI.
    """

    trade_id: bytes
    premium: int
    legs: tuple[TradeLeg, ...]

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, trade_id=self.trade_id)
        signed128(premium=self.premium)
        require(1 <= len(self.legs) <= MAX_LEGS, f"a trade has 1 to {MAX_LEGS} legs", self.legs)


@attrs.frozen(kw_only=True)
class Remark:
    """New marks; no cash and no quantity moves."""


@attrs.frozen(kw_only=True)
class Settlement:
    """Settle every position of one (feed, expiry) at ``price``, WAD, agreed off chain."""

    feed: bytes
    expiry: int
    price: int

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, feed=self.feed)
        unsigned(64, expiry=self.expiry)
        unsigned(128, price=self.price)


Change = Trade | Remark | Settlement


_MARKS: Final = "marks"


def marks_of(portfolio: Portfolio) -> Marks:
    """The marks a portfolio carries; worked out once, and kept as long as it is."""
    kept: Marks | None = portfolio.worked_out.get(_MARKS)
    if kept is None:
        kept = portfolio.worked_out[_MARKS] = Marks(
            marked_at=portfolio.marked_at,
            spots={spot.feed: spot.price for spot in portfolio.spots},
            series={
                position.series: SeriesMark(vol=position.vol, carry=position.carry)
                for position in portfolio.positions
            },
        )
    return kept


def equity(portfolio: Portfolio, contribution: int, side: Party, unit: int) -> int:
    """Cash plus the value of the positions of ``side`` at the portfolio's own marks, base units.

    Cash is unclamped: what the side contributed less what it has paid. The value is rounded down.
    """
    return contribution - side.sign * portfolio.net_to_b + values_of(portfolio, unit)[side]


def meets_initial_margin(portfolio: Portfolio, contribution: int, side: Party, unit: int) -> bool:
    """Whether the equity of ``side`` covers its initial margin in ``portfolio``."""
    return equity(portfolio, contribution, side, unit) >= portfolio.margin(side)


def reduces_risk(
    before: Portfolio, after: Portfolio, contribution: int, side: Party, unit: int
) -> bool:
    """Whether ``after`` asks no more margin of ``side`` and leaves it no worse covered."""

    def excess(portfolio: Portfolio) -> int:
        return equity(portfolio, contribution, side, unit) - portfolio.margin(side)

    return after.margin(side) <= before.margin(side) and excess(after) >= excess(before)


def apply(
    change: Change, portfolio: Portfolio, marks: Marks, unit: int, model: MarginModel
) -> Portfolio:
    """The portfolio that ``change`` makes of ``portfolio`` under ``marks``, margins by ``model``.

    Raises:
        InvalidValueError: the change does not fit: no such position to settle, premium at odds with
            the legs' prices, too many positions, cash beyond its bound, or a mark that is missing.
        PricingDomainError: figures that the pricing engine refuses.
        MarginError: the model has no finite margin for the result.
    """
    if isinstance(change, Trade):
        quantities, net_to_b = _trade(change, portfolio, unit)
    elif isinstance(change, Settlement):
        quantities, net_to_b = _settle(change, portfolio, unit)
    else:
        quantities = {each.series: each.quantity for each in portfolio.positions}
        net_to_b = portfolio.net_to_b
    if abs(net_to_b) > MAX_NET:
        raise InvalidValueError(f"net_to_b would be {net_to_b}, beyond 2**126")
    return _build(portfolio, quantities, net_to_b, marks, unit, model)


def _trade(change: Trade, portfolio: Portfolio, unit: int) -> tuple[dict[Series, int], int]:
    total = sum(leg.quantity * leg.price for leg in change.legs)
    tolerance = len(change.legs) * WAD * WAD
    if abs(change.premium * WAD * WAD - total * unit) > tolerance:
        raise InvalidValueError("the premium differs from the legs' prices by over a unit a leg")
    quantities = {each.series: each.quantity for each in portfolio.positions}
    for leg in change.legs:
        if leg.quantity == 0:
            raise InvalidValueError("a leg of zero quantity")
        quantities[leg.series] = quantities.get(leg.series, 0) + leg.quantity
    return quantities, portfolio.net_to_b + change.premium


def _settle(change: Settlement, portfolio: Portfolio, unit: int) -> tuple[dict[Series, int], int]:
    quantities: dict[Series, int] = {}
    paid_to_a = 0
    for each in portfolio.positions:
        if (each.feed, each.expiry) == (change.feed, change.expiry):
            paid_to_a += settlement_payoff(
                each.kind, each.strike, each.quantity, change.price, unit
            )
        else:
            quantities[each.series] = each.quantity
    if len(quantities) == len(portfolio.positions):
        raise InvalidValueError(
            f"no position of {feed_name(change.feed)} expires at {change.expiry}"
        )
    return quantities, portfolio.net_to_b - paid_to_a


def _build(
    before: Portfolio,
    quantities: Mapping[Series, int],
    net_to_b: int,
    marks: Marks,
    unit: int,
    model: MarginModel,
) -> Portfolio:
    held = {each.series: each for each in before.positions}
    positions = tuple(
        _position(series, quantity, marks.series, held.get(series))
        for series, quantity in sorted(quantities.items())
        if quantity
    )
    spots = _spots(sorted({each.feed for each in positions}), marks.spots, before.spots)
    required = model.requirements(positions, spots, marks.marked_at, unit)
    built = Portfolio(
        net_to_b=net_to_b,
        margin_a=required.initial_a,
        margin_b=required.initial_b,
        marked_at=marks.marked_at,
        spots=spots,
        positions=positions,
    )
    remember_margins(built, unit, model, required)
    return built


def _position(
    series: Series, quantity: int, marks: Mapping[Series, SeriesMark], held: Position | None
) -> Position:
    """The position in ``series``: the one held where nothing of it changes, for it is hashed."""
    mark = marks.get(series)
    if mark is None:
        _, expiry, kind, strike = series
        raise InvalidValueError(f"no mark for kind {kind}, strike {strike}, expiry {expiry}")
    if (
        held is not None
        and held.quantity == quantity
        and held.vol == mark.vol
        and held.carry == mark.carry
    ):
        return held
    feed, expiry, kind, strike = series
    return Position(
        feed=feed,
        kind=kind,
        expiry=expiry,
        strike=strike,
        quantity=quantity,
        vol=mark.vol,
        carry=mark.carry,
    )


def _spots(
    feeds: Iterable[bytes], marks: Mapping[bytes, int], before: Iterable[Spot]
) -> tuple[Spot, ...]:
    """The spots of these feeds, in order: the one held where it has not moved, for it is hashed."""
    held = {each.feed: each for each in before}
    spots = []
    for feed in feeds:
        if feed not in marks:
            raise InvalidValueError(f"no spot for {feed_name(feed)}")
        spot = held.get(feed)
        if spot is None or spot.price != marks[feed]:
            spot = Spot(feed=feed, price=marks[feed])
        spots.append(spot)
    return tuple(spots)
