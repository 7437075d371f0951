"""After a default or in run-off: the shift of the vols, the close-out value, the run-off lock.

Positions that have expired by the time of the decision take no part in any of these: they count at
their settlement price, as cash.

Source: design, risk.md "Close-out shift" and "Run-off lock"; adjudication.md rule 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isqrt
from typing import Final

import attrs

from channels.errors import InvalidValueError, PricingDomainError
from channels.pricing.black76 import MAX_VOL
from channels.pricing.feed_margin import (
    FeedRisk,
    HeldSeries,
    check_quantity,
    divided_up,
)
from channels.pricing.kinds import Kind
from channels.pricing.losses import largest_losses
from channels.pricing.portfolio import (
    PositionLike,
    SpotLike,
    bucket_name,
    portfolio_value,
    position_price,
)
from channels.pricing.risk_params import RiskParamsLike
from channels.pricing.scan_margin import ScanMargin
from channels.pricing.scenario_price import root_of_month
from channels.units import HOUR, WAD

__all__ = [
    "MAX_SHIFT",
    "ShiftedPosition",
    "close_out_shift",
    "close_out_value",
    "run_off_lock",
    "shifted_positions",
]

_SCALE: Final = WAD * WAD

MAX_SHIFT: Final = 9 * WAD // 10
"""Greatest close-out shift of a vol, relative to it."""


@attrs.frozen(kw_only=True)
class ShiftedPosition:
    """A position whose signed vol has given way to the shifted one."""

    feed: bytes
    kind: int
    expiry: int
    strike: int
    quantity: int
    vol: int
    carry: int


def close_out_shift(risk: RiskParamsLike, age: int, tau: int) -> int:
    """Return by how much vols are shifted, relative to them, in WAD: rounded down.

    (shift_base + shift_per_root_hour sqrt(hours)) sqrt(30 d / tau), at most `MAX_SHIFT`. ``age`` of
    the marks and ``tau``, 1 or more, in seconds; a negative age counts as none.
    """
    root_hours = isqrt(max(age, 0) * _SCALE // HOUR)  # < 2**87 for an age below 2**64
    at_a_month = risk.shift_base + risk.shift_per_root_hour * root_hours // WAD
    return min(at_a_month * root_of_month(tau) // WAD, MAX_SHIFT)


def shifted_positions(
    positions: Iterable[PositionLike],
    spots: Iterable[SpotLike],
    risk: Mapping[bytes, RiskParamsLike],
    *,
    marked_at: int,
    at: int,
    favoured: int,
) -> list[ShiftedPosition]:
    """Return the open positions with the vols that a decision at time ``at`` uses.

    Expiry by expiry all vols are shifted the one way, the way that gives the larger value to A
    (``favoured`` +1) or to B (-1). For calls and puts of one side that is known without a price: no
    option loses value as its vol rises, so upwards for a party that has bought them all, downwards
    for one that has sold them all. Else prices decide, upwards if both ways give the same; forwards
    alone go upwards. Vols stay at most `MAX_VOL`. Margins of the result, from `ScanMargin`, are
    those of the decision.

    Raises:
        InvalidValueError: a feed without spot or without parameters.
        PricingDomainError: a vol or quantity out of the domain, or any input where prices decide.
    """
    prices = {spot.feed: spot.price for spot in spots}
    buckets: dict[tuple[bytes, int], list[PositionLike]] = {}
    order: list[tuple[tuple[bytes, int], int]] = []
    for position in positions:
        if position.expiry <= at:
            continue
        key = (position.feed, position.expiry)
        for what, table in (("spot", prices), ("margin parameters", risk)):
            if position.feed not in table:
                raise InvalidValueError(f"no {what} for {bucket_name(*key)}")
        check_quantity(position.quantity)
        if position.vol > MAX_VOL:
            raise PricingDomainError(f"a vol of {position.vol} is beyond 100.0")
        bucket = buckets.setdefault(key, [])
        order.append((key, len(bucket)))
        bucket.append(position)
    chosen = {}
    for (feed, expiry), held in buckets.items():
        shift = close_out_shift(risk[feed], at - marked_at, expiry - at)
        up, down = _with_vols(held, WAD + shift), _with_vols(held, WAD - shift)
        way = _way(held, favoured)
        if way == 0:
            spot = prices[feed]
            worth_up, worth_down = (
                favoured * sum(each.quantity * position_price(each, spot, at) for each in shifted)
                for shifted in (up, down)
            )
            way = 1 if worth_up >= worth_down else -1
        chosen[feed, expiry] = up if way > 0 else down
    return [chosen[key][place] for key, place in order]


def close_out_value(
    positions: Iterable[PositionLike],
    spots: Sequence[SpotLike],
    risk: Mapping[bytes, RiskParamsLike],
    unit: int,
    *,
    marked_at: int,
    at: int,
    called: int,
) -> int:
    """Return what A receives (+) or pays (-) for the open positions when ``called`` has defaulted.

    In collateral units, before any clamp or penalty; the magnitude is rounded down, as all that is
    paid. Vols are shifted against the called party, A (+1) or B (-1).

    Raises:
        InvalidValueError: a feed without spot or without parameters, or with two spots.
        PricingDomainError: an input out of the pricing domain.
    """
    shifted = shifted_positions(
        positions, spots, risk, marked_at=marked_at, at=at, favoured=-called
    )
    value = portfolio_value(shifted, spots, at, unit)
    return value.value_rounded_down_a if value.exact >= 0 else -value.value_rounded_down_b


def run_off_lock(
    positions: Iterable[PositionLike],
    spots: Sequence[SpotLike],
    model: ScanMargin,
    unit: int,
    *,
    at: int,
    side: int,
) -> int:
    """Return the cash A (``side`` +1) or B (-1) must leave in at time ``at``, rounded up.

    In collateral units: for each feed and expiry what the party would owe for its positions at the
    vols signed and the spots given, plus ``run_off_factor`` initial margins of these positions
    alone, with the nodes of their own strikes, but no more than they can cost.

    Raises:
        InvalidValueError: a feed without spot or without parameters, or with two spots.
        PricingDomainError: an input out of the pricing domain, or moved out of it.
    """
    held = [position for position in positions if position.expiry > at]
    most: dict[tuple[bytes, int], int | None] = {
        (bucket.feed, bucket.expiry): bucket.loss_a if side > 0 else bucket.loss_b
        for bucket in largest_losses(held, unit)
    }
    total = 0
    for feed, book in model.books(held, spots, at).items():
        buckets: dict[int, list[HeldSeries]] = {}
        for each in book.held:
            buckets.setdefault(each.expiry, []).append(each)
        for expiry, bucket in buckets.items():
            owed = -side * sum(each.quantity * each.series.value for each in bucket)
            initial = FeedRisk(bucket, book.spot, book.risk).margin(side).initial
            need = max(0, owed) + divided_up(book.risk.run_off_factor * initial, WAD)
            lock = divided_up(need * unit, _SCALE)
            loss = most[feed, expiry]
            total += lock if loss is None else min(lock, loss)
    if total >= 1 << 128:
        raise PricingDomainError("a run-off lock does not fit 128 bits")
    return total


def _way(held: Iterable[PositionLike], favoured: int) -> int:
    """Return 1 if the party's value rises with vol for certain, -1 if it falls, 0 if unknown.

    Digitals move either way.
    """
    bought = sold = False
    for each in held:
        if each.kind == Kind.FORWARD:
            continue
        if each.kind not in (Kind.CALL, Kind.PUT):
            return 0
        bought |= favoured * each.quantity > 0
        sold |= favoured * each.quantity < 0
    if bought and sold:
        return 0
    return -1 if sold else 1


def _with_vols(held: Iterable[PositionLike], factor: int) -> list[ShiftedPosition]:
    return [
        ShiftedPosition(
            feed=each.feed,
            kind=each.kind,
            expiry=each.expiry,
            strike=each.strike,
            quantity=each.quantity,
            vol=min(each.vol * factor // WAD, MAX_VOL),
            carry=each.carry,
        )
        for each in held
    ]
