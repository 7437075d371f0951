"""Strategies: several instruments in fixed proportion, with one set of verbs.

>>> from channels.pricing.markets import FlatVol
>>> strangle = Strangle("ETH-USD", strikes=(2800, 3200), expiry=1774598400)
>>> strangle.name
'ETH-USD-STRG-27MAR26-2800_3200'
>>> round(strangle.price(FlatVol(at=1774598400 - 30 * 86_400, spot=3000, vol=0.6)), 2)
241.71
>>> [(str(leg.quantity), leg.instrument.name) for leg in strangle.legs(5)]
[('5', 'ETH-USD-27MAR26-2800-P'), ('5', 'ETH-USD-27MAR26-3200-C')]

In a request for a quote each leg is a leg:
``[Leg(leg.instrument, quantity=leg.quantity) for leg in strangle.legs(5)]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise

import attrs

from channels.errors import InvalidValueError
from channels.pricing.instruments import Call, Instrument, Put, date_of, strike_of
from channels.pricing.kinds import Kind
from channels.pricing.verbs import Number, QuantityOf, Tradable

__all__ = [
    "Butterfly",
    "Calendar",
    "CallSpread",
    "PutSpread",
    "RiskReversal",
    "Straddle",
    "Strangle",
    "Strategy",
]


def _parts(parts: Iterable[tuple[Instrument, Number]]) -> tuple[tuple[Instrument, Decimal], ...]:
    return tuple((instrument, Decimal(str(quantity))) for instrument, quantity in parts)


@attrs.frozen(kw_only=True)
class Strategy(Tradable):
    """Any instruments of one feed: ``parts`` are ``(instrument, quantity of it in one unit)``.

    Raises:
        InvalidValueError: no part, two feeds, the same instrument twice, or a quantity of 0 or that
            is not finite.
    """

    name: str
    parts: tuple[tuple[Instrument, Decimal], ...] = attrs.field(converter=_parts)

    def __attrs_post_init__(self) -> None:
        instruments = [instrument for instrument, _ in self.parts]
        if len({instrument.feed for instrument in instruments}) != 1:
            raise InvalidValueError("a strategy has parts, all of one feed")
        if len(set(instruments)) != len(instruments):
            raise InvalidValueError(f"{self.name} has an instrument twice")
        if not all(quantity.is_finite() and quantity for _, quantity in self.parts):
            raise InvalidValueError(f"{self.name} has a quantity of 0, or none at all")

    def legs(self, quantity: Number = 1) -> tuple[QuantityOf, ...]:
        """Return the instruments of ``quantity`` units; + = long the strategy."""
        factor = Decimal(str(quantity))
        return tuple(
            QuantityOf(instrument=instrument, quantity=factor * part)
            for instrument, part in self.parts
        )


def CallSpread(feed: str, *, long: Number, short: Number, expiry: int) -> Strategy:  # noqa: N802 - reads as a type
    """A call bought at one strike, one sold at another: a bull spread if ``long`` is the lower."""
    return _vertical(
        "CS", Call(feed, strike=long, expiry=expiry), Call(feed, strike=short, expiry=expiry)
    )


def PutSpread(feed: str, *, long: Number, short: Number, expiry: int) -> Strategy:  # noqa: N802
    """A put bought at one strike, one sold at another: a bear spread if ``long`` is the higher."""
    return _vertical(
        "PS", Put(feed, strike=long, expiry=expiry), Put(feed, strike=short, expiry=expiry)
    )


def Straddle(feed: str, *, strike: Number, expiry: int) -> Strategy:  # noqa: N802
    """A put and a call of one strike, both bought."""
    put, call = Put(feed, strike=strike, expiry=expiry), Call(feed, strike=strike, expiry=expiry)
    return Strategy(name=_name("STRD", [put]), parts=[(put, 1), (call, 1)])


def Strangle(feed: str, *, strikes: tuple[Number, Number], expiry: int) -> Strategy:  # noqa: N802
    """A put of the lower strike and a call of the higher, both bought."""
    put, call = _put_and_call(feed, strikes, expiry)
    return Strategy(name=_name("STRG", [put, call]), parts=[(put, 1), (call, 1)])


def RiskReversal(feed: str, *, strikes: tuple[Number, Number], expiry: int) -> Strategy:  # noqa: N802
    """A put of the lower strike sold, a call of the higher bought."""
    put, call = _put_and_call(feed, strikes, expiry)
    return Strategy(name=_name("RR", [put, call]), parts=[(put, -1), (call, 1)])


def Butterfly(  # noqa: N802
    feed: str, *, strikes: tuple[Number, Number, Number], expiry: int, kind: Kind = Kind.CALL
) -> Strategy:
    """One option bought at each outer strike, two sold at the middle: calls, or puts."""
    low, middle, high = (_option(kind, feed, strike, expiry) for strike in strikes)
    _ascending(low, middle, high)
    code = "CBUT" if kind is Kind.CALL else "PBUT"
    return Strategy(
        name=_name(code, [low, middle, high]), parts=[(low, 1), (middle, -2), (high, 1)]
    )


def Calendar(  # noqa: N802
    feed: str, *, strike: Number, expiries: tuple[int, int], kind: Kind = Kind.CALL
) -> Strategy:
    """An option of the earlier expiry sold, one of the later bought, at one strike."""
    near, far = (_option(kind, feed, strike, expiry) for expiry in expiries)
    if near.expiry >= far.expiry:
        raise InvalidValueError("the expiries of a calendar ascend")
    code = "CCAL" if kind is Kind.CALL else "PCAL"
    dates = f"{date_of(near.expiry)}_{date_of(far.expiry)}"
    return Strategy(
        name=f"{feed}-{code}-{dates}-{strike_of(near.strike)}", parts=[(near, -1), (far, 1)]
    )


def _vertical(code: str, long: Instrument, short: Instrument) -> Strategy:
    return Strategy(name=_name(code, [long, short]), parts=[(long, 1), (short, -1)])


def _put_and_call(
    feed: str, strikes: tuple[Number, Number], expiry: int
) -> tuple[Instrument, Instrument]:
    put = Put(feed, strike=strikes[0], expiry=expiry)
    call = Call(feed, strike=strikes[1], expiry=expiry)
    _ascending(put, call)
    return put, call


def _ascending(*instruments: Instrument) -> None:
    strikes = [instrument.strike for instrument in instruments]
    if any(high <= low for low, high in pairwise(strikes)):
        raise InvalidValueError("the strikes of a strategy ascend")


def _option(kind: Kind, feed: str, strike: Number, expiry: int) -> Instrument:
    if kind not in (Kind.CALL, Kind.PUT):
        raise InvalidValueError("a butterfly or calendar is of calls or of puts")
    return (Call if kind is Kind.CALL else Put)(feed, strike=strike, expiry=expiry)


def _name(code: str, instruments: Sequence[Instrument]) -> str:
    """Name a strategy of one expiry as Deribit names its combos, strikes in the order of legs."""
    first = instruments[0]
    strikes = "_".join(strike_of(instrument.strike) for instrument in instruments)
    return f"{first.feed}-{code}-{date_of(first.expiry)}-{strikes}"
