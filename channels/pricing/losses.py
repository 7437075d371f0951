"""The most a bucket can cost each party, over every price the underlying can settle at.

A bucket is all positions of one feed and expiry: they settle at one price, so they offset each
other; positions of different buckets do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from channels.errors import PricingDomainError
from channels.pricing.kinds import Kind
from channels.pricing.portfolio import PositionLike, bucket_name
from channels.units import WAD

__all__ = ["BucketLoss", "largest_losses"]

_SCALE: Final = WAD * WAD
_CALL, _PUT, _DIGITAL_CALL, _DIGITAL_PUT, _FORWARD = map(int, Kind)


@attrs.frozen(kw_only=True)
class BucketLoss:
    """Largest possible loss of each party in one bucket, in collateral units, rounded up.

    None where there is no bound: the party loses more the higher the price. ``net_upside`` is the
    number of units, in WAD and seen from A, that the bucket gains with the price once it is above
    every strike: negative means that A's loss has no bound, positive that B's has none.
    """

    feed: bytes
    expiry: int
    loss_a: int | None
    loss_b: int | None
    net_upside: int

    @property
    def name(self) -> str:
        """The bucket as a trader names it."""
        return bucket_name(self.feed, self.expiry)


def largest_losses(positions: Iterable[PositionLike], unit: int) -> tuple[BucketLoss, ...]:
    """Return the largest loss of every bucket, in order of first appearance.

    No settlement price can cost a party more than this, payoffs being rounded to the collateral
    unit position by position included: where a party both gains and loses in a bucket, every gain
    may be short by less than one unit, so one unit a gaining position is added, less one. (This
    holds while no payoff saturates: see docs/explanation/pricing.md.)

    Raises:
        PricingDomainError: unknown kind.
    """
    buckets: dict[tuple[bytes, int], list[PositionLike]] = {}
    for position in positions:
        buckets.setdefault((position.feed, position.expiry), []).append(position)
    return tuple(_bucket_loss(feed, expiry, held, unit) for (feed, expiry), held in buckets.items())


def _bucket_loss(feed: bytes, expiry: int, held: Sequence[PositionLike], unit: int) -> BucketLoss:
    least, most, net_upside = _extremes(held)
    options = [position.quantity for position in held if position.kind != _FORWARD]
    longs = len([quantity for quantity in options if quantity > 0])
    shorts = len([quantity for quantity in options if quantity < 0])
    forwards = len(held) - len(options)
    return BucketLoss(
        feed=feed,
        expiry=expiry,
        loss_a=None
        if net_upside < 0
        else _rounded_up(-least, unit, gains=longs + forwards, costs=shorts + forwards),
        loss_b=None
        if net_upside > 0
        else _rounded_up(most, unit, gains=shorts + forwards, costs=longs + forwards),
        net_upside=net_upside,
    )


def _rounded_up(loss: int, unit: int, *, gains: int, costs: int) -> int:
    """Return a bound, in collateral units, on what payoffs truncated one by one can cost.

    With exact payments c and gains g the cost is sum floor(c) - sum floor(g) < loss + gains.
    """
    if costs == 0:
        return 0
    return -(-max(loss, 0) * unit // _SCALE) + max(gains - 1, 0)


def _extremes(held: Sequence[PositionLike]) -> tuple[int, int, int]:
    """Return the least and the greatest payoff to A over prices 0, 1, 2, ... and the last slope.

    Between two strikes the payoff is a straight line, so it is enough to look at 0, at each strike
    and at the last price (an integer) below it, where digitals jump. The slope above the highest
    strike decides whether the least or the greatest holds at all.
    """
    value, slope = 0, 0  # the payoff at price 0 as approached by every series, and its slope
    turns: dict[int, int] = {}  # change of slope at each strike
    jumps: dict[int, int] = {}
    for position in held:
        kind, quantity, strike = position.kind, position.quantity, position.strike
        turn = jump = 0
        if kind == _CALL:
            turn = quantity
        elif kind == _PUT:
            turn = quantity
            value += quantity * strike
            slope -= quantity
        elif kind == _DIGITAL_CALL:
            jump = quantity * WAD
        elif kind == _DIGITAL_PUT:
            jump = -quantity * WAD
            value -= jump
        elif kind == _FORWARD:
            value -= quantity * strike
            slope += quantity
        else:
            raise PricingDomainError(f"kind {kind} is none of channels.pricing.Kind")
        turns[strike] = turns.get(strike, 0) + turn
        if jump:
            jumps[strike] = jumps.get(strike, 0) + jump
    at = 0
    seen = [] if 0 in turns else [value]
    for strike in sorted(turns):
        if strike > 0:
            seen.append(value + slope * (strike - 1 - at))
        value += slope * (strike - at) + jumps.get(strike, 0)
        seen.append(value)
        slope += turns[strike]
        at = strike
    return min(seen), max(seen), slope
