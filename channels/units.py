"""The units of money, price and time, kept apart by type.

Money is always an integer. ``WAD`` is the fixed point of prices, strikes, quantities, volatility
and carry: 1.0 is 10**18. Amounts of collateral are counted in the token's own base units.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final, NewType

from channels.errors import InvalidValueError

__all__ = [
    "DAY",
    "HOUR",
    "WAD",
    "YEAR",
    "BlockNumber",
    "ChainTime",
    "Nonce",
    "TokenUnits",
    "Wad",
    "Wei",
    "from_wad",
    "to_wad",
]

WAD: Final = 10**18
"""1.0 in fixed point."""

HOUR: Final = 3_600
DAY: Final = 86_400
YEAR: Final = 31_536_000
"""Seconds in the year of every annual figure: 365 days."""

Wad = NewType("Wad", int)
TokenUnits = NewType("TokenUnits", int)
Wei = NewType("Wei", int)
Nonce = NewType("Nonce", int)
BlockNumber = NewType("BlockNumber", int)
ChainTime = NewType("ChainTime", int)


def to_wad(value: str | int | float | Decimal) -> Wad:
    """Turn a decimal number into fixed point, exactly.

    A float is read as the shortest decimal that prints like it, so ``to_wad(0.1)`` is 10**17.

    Raises:
        InvalidValueError: not a finite number, or finer than 18 decimals.

    >>> to_wad("0.65")
    650000000000000000
    """
    try:
        scaled = Decimal(str(value)).scaleb(18)
        whole = scaled.to_integral_value() if scaled.is_finite() else None
    except InvalidOperation:
        whole = None
    if whole is None:
        raise InvalidValueError(
            f"{value!r} is no finite decimal number", next_step="write it as 3000 or -0.25"
        )
    if whole != scaled:
        raise InvalidValueError(f"{value!r} is finer than 18 decimals")
    return Wad(int(whole))


def from_wad(value: int) -> Decimal:
    """Turn fixed point into the decimal it stands for, exactly.

    >>> from_wad(650000000000000000)
    Decimal('0.65')
    """
    return Decimal(value).scaleb(-18).normalize() + 0
