"""What a position pays at its settlement price, in collateral units: the figure that moves money.

The contract (contracts/src/libraries/Payoff.sol) computes the same integers.
"""

from __future__ import annotations

from typing import Final

from channels.errors import PricingDomainError
from channels.pricing.kinds import Kind
from channels.units import WAD

__all__ = ["MAX_PAYOFF", "intrinsic", "payoff", "settlement_payoff"]

MAX_PAYOFF: Final = 2**119 - 1
"""Largest payoff of one position, in collateral units; a larger one saturates here."""

_U128: Final = 2**128
_I128: Final = 2**127


def intrinsic(kind: int, strike: int, price: int) -> int:
    """Return what one unit pays at ``price``, in WAD; negative for a forward below its strike.

    At ``price == strike`` the digital call pays 1.0 and the digital put nothing.

    Raises:
        PricingDomainError: unknown kind.

    >>> intrinsic(Kind.PUT, 100 * 10**18, 90 * 10**18)
    10000000000000000000
    """
    if kind == Kind.CALL:
        return max(price - strike, 0)
    if kind == Kind.PUT:
        return max(strike - price, 0)
    if kind == Kind.DIGITAL_CALL:
        return WAD if price >= strike else 0
    if kind == Kind.DIGITAL_PUT:
        return WAD if price < strike else 0
    if kind == Kind.FORWARD:
        return price - strike
    raise PricingDomainError(f"kind {kind} is none of the five of channels.pricing.Kind")


def payoff(kind: int, strike: int, quantity: int, settlement_price: int, unit: int) -> int:
    """Return what party A receives (+) or pays (-) at the settlement price, in collateral units.

    ``quantity`` is A's side (+ = A is long); strike, quantity and price in WAD; ``unit`` is the
    collateral per 1.0 of price. The magnitude |quantity| * intrinsic * unit / 1e36 is rounded down
    and saturates at `MAX_PAYOFF`, then it gets its sign: what A receives, B pays, to the unit.

    Raises:
        PricingDomainError: unknown kind, or a figure that does not fit its contract type
            (128 bits; quantity signed).

    >>> payoff(Kind.CALL, 3000 * 10**18, -2 * 10**18, 3100 * 10**18, 10**6)
    -200000000
    """
    if not (
        0 <= strike < _U128
        and -_I128 <= quantity < _I128
        and 0 <= settlement_price < _U128
        and 0 <= unit < _U128
    ):
        raise PricingDomainError(
            f"strike {strike}, price {settlement_price} and unit {unit} are 0 to 2**128 - 1, "
            f"quantity {quantity} is a signed 128-bit integer"
        )
    exact = quantity * intrinsic(kind, strike, settlement_price)
    magnitude = min(abs(exact) * unit // (WAD * WAD), MAX_PAYOFF)
    return magnitude if exact >= 0 else -magnitude


def settlement_payoff(
    kind: int, strike: int, quantity: int, settlement_price: int, unit: int
) -> int:
    """Return `payoff` as the contract settles it: an unknown kind pays 0 instead of an error.

    Raises:
        PricingDomainError: a figure that does not fit its contract type.
    """
    if kind not in _KINDS:
        return 0
    return payoff(kind, strike, quantity, settlement_price, unit)


_KINDS: Final = frozenset(int(kind) for kind in Kind)
