"""A maker as a desk runs one: marks moved against its inventory, limits, protection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs
import trio

from channels.desk import (
    Exposure,
    Fill,
    Holding,
    Limits,
    Protection,
    ProtectionLimits,
    exposures,
)
from channels.desk.exposure import position_greeks, total
from channels.errors import InvalidValueError, MarginError, PricingDomainError
from channels.peer import MakerQuote, Peer, QuoteRequest
from channels.peer.makers import trade_draft
from channels.pricing import Kind, position_price
from channels.protocol.changes import Marks, Trade, apply
from channels.protocol.channel import OPEN_PHASES, Channel
from channels.protocol.effects import ChangeConfirmed
from channels.protocol.messages import Leg
from channels.protocol.types import Position
from channels.units import WAD, to_wad

__all__ = ["DeskMaker", "Skew", "holdings"]

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


def holdings(peer: Peer, groups: Mapping[bytes, str] | None = None) -> tuple[Holding, ...]:
    """Return every open channel of a peer as its desk counts it, all that may come to stand in it.

    ``groups`` names the group of a counterparty by its signer; one it does not name is a group of
    its own.
    """
    found = []
    for channel in (each.state for each in peer.channels):
        if channel.phase in OPEN_PHASES:
            other = channel.terms.signer(channel.side.other)
            pending = [each.portfolio for each in channel.ledger.entries if not each.declined]
            found.append(
                Holding(
                    channel_id=channel.channel_id,
                    group=(groups or {}).get(other, "0x" + other.hex()),
                    side=channel.side,
                    portfolios=(channel.portfolio, *(each for each in pending if each is not None)),
                )
            )
    return tuple(found)


class DeskMaker:
    """Quotes by Black-76 around its peer's marks, an edge to its own side, skewed by what it holds.

    ``edge`` is annual vol on options and ``spot_edge`` a fraction of the spot on forwards. It names
    no price where the trade would break ``limits``, or while ``protection`` is tripped. Call
    `serve` in a nursery once the peer is open; until then nothing is quoted.
    """

    def __init__(
        self,
        *,
        edge: str = "0.01",
        spot_edge: str = "0.0005",
        skew: Skew | None = None,
        limits: Limits | None = None,
        protection: ProtectionLimits | None = None,
        good_for: int = 10,
    ) -> None:
        """Quote around the peer's own marks; what is not given does not bound or move a quote.

        Raises:
            InvalidValueError: an edge that is no number.
        """
        self._edge = int(to_wad(edge))
        self._spot_edge = int(to_wad(spot_edge))
        self._skew = skew
        self._limits = Limits() if limits is None else limits
        self._protection = None if protection is None else Protection(limits=protection)
        self._good_for = good_for
        self._peer: Peer | None = None
        self.refused: list[str] = []
        """Why no price was named, each time, oldest first."""

    @property
    def protection(self) -> Protection | None:
        """What was filled lately, and whether that tripped the protection."""
        return self._protection

    async def serve(
        self,
        peer: Peer,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Quote for this peer from now on, and count its fills, until cancelled."""
        async with peer.events() as events:
            self._peer = peer
            task_status.started()
            async for event in events:
                match event.notice:
                    case ChangeConfirmed(ours=True, change=Trade() as trade):
                        self._count(peer, peer.channel(event.channel_id).state, trade)

    async def __call__(self, request: QuoteRequest) -> MakerQuote | None:
        """Name a price for each leg, or none; + quantity: the other side buys from us."""
        try:
            quote = self._quote(request)
        except (InvalidValueError, MarginError, PricingDomainError) as error:
            quote = str(error.args[0])
        if isinstance(quote, str):
            self.refused.append(quote)
            return None
        return quote

    def _quote(self, request: QuoteRequest) -> MakerQuote | str:
        """The quote, or why there is none."""
        peer = self._peer
        if peer is None:
            return "not serving yet"
        if self._protection is not None and not self._protection.quoting(peer.now()):
            return f"protection: {self._protection.reason}"
        asked = {(leg.feed, leg.expiry, int(leg.kind), leg.strike) for leg in request.legs}
        channel = peer.channel(request.channel_id).state
        marks = peer.marks_for(channel, asked)
        desk = holdings(peer)
        held = total(exposures(each.portfolios[0], each.side) for each in desk)
        prices = tuple(self._price(leg, marks, held) for leg in request.legs)
        unit = channel.terms.unit
        draft = trade_draft(
            trade_id=bytes(32),
            legs=request.legs,
            prices=prices,
            requester=request.side.other,
            marks=marks,
            unit=unit,
        )
        after = apply(draft.change, channel.portfolio, marks, unit, channel.margin_model)
        broken = self._limits.breaches(desk, channel.channel_id, after)
        if broken:
            return str(broken[0])
        return MakerQuote(prices=prices, marks=marks, good_for=self._good_for)

    def _price(self, leg: Leg, marks: Marks, held: Mapping[bytes, Exposure]) -> int:
        """Price of one unit, WAD; below 0 no leg can be priced, and `trade_draft` refuses it."""
        mark = marks.series[leg.feed, leg.expiry, int(leg.kind), leg.strike]
        side = 1 if leg.quantity > 0 else -1
        vol, spot = mark.vol, marks.spots[leg.feed]
        if self._skew is not None:
            by_vol, by_spot = self._skew.moves(held.get(leg.feed, Exposure()))
            vol, spot = vol + by_vol, spot + spot * by_spot // WAD
        if leg.kind == Kind.FORWARD:
            spot += side * spot * self._spot_edge // WAD
        position = Position(
            feed=leg.feed,
            kind=int(leg.kind),
            expiry=leg.expiry,
            strike=leg.strike,
            quantity=WAD,
            vol=max(vol + side * self._edge, _LEAST_VOL),
            carry=mark.carry,
        )
        return position_price(position, spot, marks.marked_at)

    def _count(self, peer: Peer, channel: Channel, trade: Trade) -> None:
        if self._protection is None:
            return
        marks = peer.marks_for(channel, {each.series for each in trade.legs})
        size, delta, vega = 0.0, 0.0, 0.0
        for leg in trade.legs:
            mark = marks.series.get(leg.series)
            if mark is None:
                continue
            position = Position(
                feed=leg.feed,
                kind=int(leg.kind),
                expiry=leg.expiry,
                strike=leg.strike,
                quantity=leg.quantity,
                vol=mark.vol,
                carry=mark.carry,
            )
            greeks = position_greeks(position, marks.spots[leg.feed], marks.marked_at)
            quantity = channel.side.sign * leg.quantity / WAD
            size += abs(quantity)
            delta += quantity * greeks.delta
            vega += quantity * greeks.vega
        fill = Fill(time=peer.now(), size=size, delta=delta, vega=vega)
        self._protection = self._protection.after(fill)
