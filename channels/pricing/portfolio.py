"""The value of a portfolio at the marks it carries, to the collateral unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol

import attrs

from channels.errors import InvalidValueError, PricingDomainError
from channels.pricing.black76 import forward_price, price
from channels.pricing.payoff import intrinsic
from channels.units import WAD

__all__ = [
    "PortfolioValue",
    "PositionLike",
    "SpotLike",
    "bucket_name",
    "portfolio_value",
    "position_price",
]

_SCALE: Final = WAD * WAD
_MAX_EXPOSURE: Final = 1 << 248
"""|quantity * price| of one position stays below: 128 of them fit a signed 256-bit sum."""
_MAX_VALUE: Final = 1 << 127


class PositionLike(Protocol):
    """A series, a quantity seen from party A (+ = A is long), and the marks it is valued at."""

    @property
    def feed(self) -> bytes:
        """Identifier of the underlying's price feed."""

    @property
    def kind(self) -> int:
        """One of `channels.pricing.Kind`."""

    @property
    def expiry(self) -> int:
        """Chain time at which it is settled, seconds."""

    @property
    def strike(self) -> int:
        """WAD."""

    @property
    def quantity(self) -> int:
        """WAD, signed."""

    @property
    def vol(self) -> int:
        """Annual, WAD."""

    @property
    def carry(self) -> int:
        """Annual, WAD, signed."""


class SpotLike(Protocol):
    """The price of one feed."""

    @property
    def feed(self) -> bytes:
        """Identifier of the price feed."""

    @property
    def price(self) -> int:
        """WAD."""


@attrs.frozen(kw_only=True)
class PortfolioValue:
    """What the positions are worth, once for each party, in collateral units.

    ``exact`` is the sum of quantity * price from A's side in WAD * WAD: nothing is rounded before
    the sum is complete. Each party's figure is rounded down, so both together are 0 or -1.
    """

    exact: int
    value_rounded_down_a: int
    value_rounded_down_b: int


def bucket_name(feed: bytes, expiry: int) -> str:
    """Return a bucket as a trader names it: feed and expiry, UTC.

    >>> bucket_name(b"ETH-USD".ljust(32, bytes(1)), 1_774_598_400)
    'ETH-USD 27MAR26 08:00'
    """
    name = feed.rstrip(b"\0")
    shown = name.decode() if name.isascii() and name.decode().isprintable() else "0x" + feed.hex()
    try:
        when = datetime.fromtimestamp(expiry, UTC).strftime("%d%b%y %H:%M").upper()
    except (OverflowError, ValueError, OSError):
        when = f"@{expiry}"
    return f"{shown} {when}"


def position_price(position: PositionLike, spot: int, at: int) -> int:
    """Return the price of one unit of ``position``, in WAD, with the spot given, at time ``at``.

    From its expiry on a position is worth its intrinsic value at ``spot``.

    Raises:
        PricingDomainError: an input out of the domain of `channels.pricing.price`.
    """
    tau = position.expiry - at
    if tau <= 0:
        return intrinsic(position.kind, position.strike, spot)
    forward = forward_price(spot, position.carry, tau)
    return price(position.kind, forward, position.strike, position.vol, tau)


def portfolio_value(
    positions: Iterable[PositionLike], spots: Iterable[SpotLike], at: int, unit: int
) -> PortfolioValue:
    """Return the value of ``positions`` for both parties at time ``at``.

    The sum of quantity * price is exact; then one rounding for each party, downwards:
    floor(sum * unit / 1e36) for A, floor(-sum * unit / 1e36) for B.

    Raises:
        InvalidValueError: a feed without spot, or with two.
        PricingDomainError: an input out of the pricing domain, or a value too large to be paid.
    """
    by_feed = _spot_table(spots)
    forwards: dict[tuple[bytes, int, int], int] = {}
    exact = 0
    for position in positions:
        feed, expiry, carry = position.feed, position.expiry, position.carry
        try:
            spot = by_feed[feed]
        except KeyError:
            raise InvalidValueError(
                f"no spot for {bucket_name(feed, expiry)}",
                next_step="add the feed's price to the spots of the portfolio",
            ) from None
        tau = expiry - at
        if tau <= 0:
            worth = intrinsic(position.kind, position.strike, spot)
        else:
            key = (feed, expiry, carry)
            forward = forwards.get(key)
            if forward is None:
                forward = forwards[key] = forward_price(spot, carry, tau)
            worth = price(position.kind, forward, position.strike, position.vol, tau)
        exposure = position.quantity * worth
        if not -_MAX_EXPOSURE < exposure < _MAX_EXPOSURE:
            raise PricingDomainError(
                f"{position.quantity} of {bucket_name(feed, expiry)} at {worth} is too large"
            )
        exact += exposure
    value_a = exact * unit // _SCALE
    value_b = -exact * unit // _SCALE
    if not (-_MAX_VALUE < value_a < _MAX_VALUE and -_MAX_VALUE < value_b < _MAX_VALUE):
        raise PricingDomainError(f"the portfolio's value of {value_a} does not fit 128 bits")
    return PortfolioValue(exact=exact, value_rounded_down_a=value_a, value_rounded_down_b=value_b)


def _spot_table(spots: Iterable[SpotLike]) -> Mapping[bytes, int]:
    table: dict[bytes, int] = {}
    for spot in spots:
        if spot.feed in table:
            raise InvalidValueError(f"two spots for feed 0x{spot.feed.hex()}")
        table[spot.feed] = spot.price
    return table
