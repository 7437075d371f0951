"""Instruments as a trader names them: a call, a put, a digital, a forward on one feed.

>>> Call("ETH-USD", strike=3000, expiry=1774598400).name
'ETH-USD-27MAR26-3000-C'

Names are Deribit's; a venue's own is read by `parse_name`. What an instrument is worth is asked of
it with the verbs of `channels.pricing.verbs.Tradable`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import attrs

from channels.errors import InvalidValueError
from channels.pricing.kinds import Kind
from channels.pricing.verbs import Number, QuantityOf, Tradable
from channels.units import HOUR, from_wad, to_wad

__all__ = [
    "Call",
    "DigitalCall",
    "DigitalPut",
    "Forward",
    "Instrument",
    "Put",
    "date_of",
    "parse_name",
    "strike_of",
]

_MONTHS: Final = (
    *("JAN", "FEB", "MAR", "APR", "MAY", "JUN"),
    *("JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
)
_SUFFIX: Final = {
    Kind.CALL: "C",
    Kind.PUT: "P",
    Kind.DIGITAL_CALL: "DC",
    Kind.DIGITAL_PUT: "DP",
    Kind.FORWARD: "F",
}
_KINDS: Final = {suffix: kind for kind, suffix in _SUFFIX.items()}
_USUAL_HOUR: Final = 8
_SEPARATOR: Final = re.compile("[-_]")
_NAME: Final = re.compile(
    r"(?P<feed>[A-Z0-9]+(?:[-_][A-Z0-9]+)*?)"
    r"-(?P<day>[1-9]|[12]\d|3[01])(?P<month>[A-Z]{3})(?P<year>\d{2})(?:T(?P<hour>[01]\d|2[0-3]))?"
    r"-(?P<strike>\d+(?:d\d+)?)-(?P<kind>[CPF]|D[CP])",
    re.ASCII,
)


@attrs.frozen(kw_only=True)
class Instrument(Tradable):
    """One option series or forward. ``strike`` is WAD; ``expiry`` Unix seconds on a full hour.

    Raises:
        InvalidValueError: an expiry that is no full hour, at which alone oracles settle.
    """

    feed: str
    kind: Kind
    expiry: int
    strike: int

    def __attrs_post_init__(self) -> None:
        if self.expiry % HOUR:
            raise InvalidValueError(f"expiry {self.expiry} is no full hour")

    @property
    def base(self) -> str:
        """The coin: ``ETH`` of the feeds ``ETH``, ``ETH-USD`` and ``ETH_USDC``."""
        return _SEPARATOR.split(self.feed)[0]

    @property
    def quote(self) -> str:
        """The currency of strike and price if the feed names it, as ``ETH_USDC`` does; or empty."""
        return "".join(_SEPARATOR.split(self.feed)[1:])

    @property
    def name(self) -> str:
        """The series as Deribit writes it, such as ``ETH-USD-27MAR26-3000-C``.

        A ``d`` in the strike is its decimal point; digitals end in ``DC`` and ``DP``, forwards in
        ``F``. An hour of expiry other than 8:00 UTC follows the date: ``27MAR26T16``.
        """
        suffix = _SUFFIX[self.kind]
        return f"{self.feed}-{date_of(self.expiry)}-{strike_of(self.strike)}-{suffix}"

    def legs(self, quantity: Number = 1) -> tuple[QuantityOf, ...]:
        """Return itself, ``quantity`` of it; + = long."""
        return (QuantityOf(instrument=self, quantity=Decimal(str(quantity))),)


def date_of(expiry: int) -> str:
    """Return the date of an expiry as it stands in names: ``27MAR26``.

    >>> date_of(1774598400)
    '27MAR26'
    """
    when = datetime.fromtimestamp(expiry, UTC)
    hour = "" if when.hour == _USUAL_HOUR else f"T{when.hour:02}"
    return f"{when.day}{_MONTHS[when.month - 1]}{when:%y}{hour}"


def strike_of(strike: int) -> str:
    """Return a strike in WAD as it stands in names.

    >>> strike_of(550_000_000_000_000_000)
    '0d55'
    """
    return f"{from_wad(strike):f}".replace(".", "d")


def parse_name(name: str) -> Instrument:
    """Read an instrument's name, Deribit's or ours: the inverse of `Instrument.name`.

    Raises:
        InvalidValueError: not the name of an instrument.

    >>> parse_name("ETH_USDC-27MAR26-3000-C").feed
    'ETH_USDC'
    """
    match = _NAME.fullmatch(name)
    if match is None or match["month"] not in _MONTHS:
        raise InvalidValueError(f"{name!r} is no instrument's name such as ETH-USD-27MAR26-3000-C")
    try:
        when = datetime(
            2000 + int(match["year"]),
            _MONTHS.index(match["month"]) + 1,
            int(match["day"]),
            int(match["hour"] or _USUAL_HOUR),
            tzinfo=UTC,
        )
    except ValueError as error:
        raise InvalidValueError(f"{name!r} expires on no day of the calendar") from error
    return Instrument(
        feed=match["feed"],
        kind=_KINDS[match["kind"]],
        expiry=int(when.timestamp()),
        strike=to_wad(match["strike"].replace("d", ".")),
    )


def Call(feed: str, *, strike: Number, expiry: int) -> Instrument:  # noqa: N802 - reads as a type
    """A European call: pays max(S - K, 0) at expiry."""
    return Instrument(feed=feed, kind=Kind.CALL, strike=to_wad(strike), expiry=expiry)


def Put(feed: str, *, strike: Number, expiry: int) -> Instrument:  # noqa: N802
    """A European put: pays max(K - S, 0) at expiry."""
    return Instrument(feed=feed, kind=Kind.PUT, strike=to_wad(strike), expiry=expiry)


def DigitalCall(feed: str, *, strike: Number, expiry: int) -> Instrument:  # noqa: N802
    """Pays 1.0 if the settlement price is at or above the strike."""
    return Instrument(feed=feed, kind=Kind.DIGITAL_CALL, strike=to_wad(strike), expiry=expiry)


def DigitalPut(feed: str, *, strike: Number, expiry: int) -> Instrument:  # noqa: N802
    """Pays 1.0 if the settlement price is below the strike."""
    return Instrument(feed=feed, kind=Kind.DIGITAL_PUT, strike=to_wad(strike), expiry=expiry)


def Forward(feed: str, *, strike: Number, expiry: int) -> Instrument:  # noqa: N802
    """A forward: pays S - K at expiry, of either sign."""
    return Instrument(feed=feed, kind=Kind.FORWARD, strike=to_wad(strike), expiry=expiry)
