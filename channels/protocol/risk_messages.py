"""What the two peers say to each other about marks and margin.

Nothing here is signed or changes a state: a party says what it thinks, and what it will do.

Source: design, protocol.md "Messages", group risk.
"""

from __future__ import annotations

import attrs

from channels.pricing import Kind
from channels.protocol.bounds import fixed_bytes, require, signed128, unsigned
from channels.protocol.types import Spot

__all__ = ["DisputeNotice", "DisputedPosition", "MarginCall", "MarkReport", "SeriesReport"]


@attrs.frozen(kw_only=True)
class SeriesReport:
    """One side's mark of a series: forward a WAD price, vol and carry WAD and annual.

    Carry is what states carry and what is compared; the forward is what it makes of the spot.
    """

    feed: bytes
    kind: Kind
    expiry: int
    strike: int
    forward: int
    vol: int
    carry: int

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, feed=self.feed)
        unsigned(64, expiry=self.expiry)
        unsigned(128, strike=self.strike, vol=self.vol, forward=self.forward)
        signed128(carry=self.carry)


@attrs.frozen(kw_only=True)
class MarkReport:
    """What I mark at ``marked_at``; with ``wants_answer``: tell me your own.

    Spots by feed in order, one each; a report of no series is of no use.
    """

    channel_id: bytes
    wants_answer: bool
    marked_at: int
    spots: tuple[Spot, ...]
    series: tuple[SeriesReport, ...]

    def __attrs_post_init__(self) -> None:
        feeds = [each.feed for each in self.spots]
        require(feeds == sorted(set(feeds)), "spots in the order of their feeds", feeds)
        named = {each.feed for each in self.series}
        require(named == set(feeds), "a spot for each feed of the series, and no other", feeds)


@attrs.frozen(kw_only=True)
class MarginCall:
    """Your equity is below your maintenance margin in the state at ``nonce``, or at newer marks.

    ``amount``, base units, brings it to your initial margin. Met as soon as equity is at or above
    maintenance margin again. Not met at ``due_by``, chain time: I dispute.
    """

    channel_id: bytes
    nonce: int
    amount: int
    due_by: int

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, channel_id=self.channel_id)
        unsigned(64, nonce=self.nonce, due_by=self.due_by)
        unsigned(128, amount=self.amount)
        require(self.amount > 0 and self.due_by > 0, "a call has an amount and a time", self)


@attrs.frozen(kw_only=True)
class DisputedPosition:
    """A position whose marks we do not agree on; both values in base units, seen from A."""

    feed: bytes
    kind: Kind
    expiry: int
    strike: int
    mine: int
    yours: int

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, feed=self.feed)
        unsigned(64, expiry=self.expiry)
        unsigned(128, strike=self.strike)
        signed128(mine=self.mine, yours=self.yours)


@attrs.frozen(kw_only=True)
class DisputeNotice:
    """I do not take your marks of these positions of the state at ``nonce``: what each is worth."""

    channel_id: bytes
    nonce: int
    positions: tuple[DisputedPosition, ...]
