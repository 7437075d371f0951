"""A maker that leans against what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from channels.desk import Exposure
from channels.errors import InvalidValueError, PricingDomainError
from channels.peer import MakerQuote, Peer, QuoteRequest
from channels.peer.makers import price_of_one, reversed_legs
from channels.pricing import Kind
from channels.protocol.changes import Marks
from channels.protocol.messages import Leg
from channels.units import WAD, to_wad

__all__ = ["Skew", "SkewMaker"]

_LEAST_VOL: Final = WAD // 100


@attrs.frozen(kw_only=True)
class Skew:
    """How far an inventory moves prices: at ``vega`` long, vols are ``vol`` lower, in proportion.

    ``delta`` and ``spot`` are the same for the underlying, ``spot`` a fraction of it. Neither moves
    further than at twice the size. Units of `channels.desk.Exposure`; ``vol`` and ``spot`` in WAD.

    Raises:
        InvalidValueError: a size that is not above 0, or a move below 0.
    """

    vega: float
    delta: float
    vol: int = WAD // 50
    spot: int = WAD // 1_000

    def __attrs_post_init__(self) -> None:
        if not (self.vega > 0 and self.delta > 0 and self.vol >= 0 and self.spot >= 0):
            raise InvalidValueError("a skew moves by 0 or more, at sizes above 0")

    def moves(self, held: Exposure) -> tuple[int, int]:
        """Return by how much to move the vol, WAD, and the spot, a fraction in WAD."""
        return (
            -round(self.vol * _capped(held.vega / self.vega)),
            -round(self.spot * _capped(held.delta / self.delta)),
        )


def _capped(size: float) -> float:
    return max(-2.0, min(2.0, size))


class SkewMaker:
    """Quotes by Black-76 around its peer's marks, an edge to its own side, skewed by what it holds.

    ``edge`` is annual vol on options and ``spot_edge`` a fraction of the spot on forwards. What its
    peer's desk holds in all channels together is its inventory; limits and protection are the
    desk's own. It names no price before `attend` has told it its peer.
    """

    def __init__(
        self,
        *,
        edge: str = "0.01",
        spot_edge: str = "0.0005",
        skew: Skew | None = None,
        good_for: int = 10,
    ) -> None:
        """Quote around the peer's own marks; without ``skew`` the inventory moves nothing.

        Raises:
            InvalidValueError: an edge that is no number.
        """
        self._edge = int(to_wad(edge))
        self._spot_edge = int(to_wad(spot_edge))
        self._skew = skew
        self._good_for = good_for
        self._peer: Peer | None = None

    def attend(self, peer: Peer) -> None:
        """Quote for this peer, which was opened with this maker, from now on."""
        self._peer = peer

    async def __call__(self, request: QuoteRequest) -> MakerQuote | None:
        """Name a price for each leg, both ways if asked; + quantity: the other side buys."""
        peer = self._peer
        if peer is None:
            return None
        asked = {(leg.feed, leg.expiry, int(leg.kind), leg.strike) for leg in request.legs}
        held = peer.desk.exposure if self._skew is not None else {}
        try:
            marks = peer.marks_for(peer.channel(request.channel_id).state, asked)
            prices = self._prices(request.legs, marks, held)
            reverse = self._prices(reversed_legs(request.legs), marks, held)
        except (InvalidValueError, PricingDomainError):
            return None
        if min(prices) < 0:
            return None
        return MakerQuote(
            prices=prices,
            reverse=reverse if request.both_sides and min(reverse) >= 0 else None,
            marks=marks,
            good_for=self._good_for,
        )

    def _prices(
        self, legs: tuple[Leg, ...], marks: Marks, held: Mapping[bytes, Exposure]
    ) -> tuple[int, ...]:
        return tuple(self._price(leg, marks, held) for leg in legs)

    def _price(self, leg: Leg, marks: Marks, held: Mapping[bytes, Exposure]) -> int:
        """Price of one unit, WAD. A leg cannot be dealt below 0."""
        mark = marks.series[leg.series]
        side = 1 if leg.quantity > 0 else -1
        vol, spot = mark.vol, marks.spots[leg.feed]
        if self._skew is not None:
            by_vol, by_spot = self._skew.moves(held.get(leg.feed, Exposure()))
            vol, spot = vol + by_vol, spot + spot * by_spot // WAD
        if leg.kind == Kind.FORWARD:
            spot += side * spot * self._spot_edge // WAD
        vol = max(vol + side * self._edge, _LEAST_VOL)
        return price_of_one(leg, vol=vol, carry=mark.carry, spot=spot, at=marks.marked_at)
