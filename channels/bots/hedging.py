"""Keeping delta flat with forwards."""

from __future__ import annotations

from decimal import Decimal

from channels.peer import Leg, Peer
from channels.pricing.instruments import Instrument
from channels.protocol import messages as m
from channels.protocol.types import feed_id

__all__ = ["delta_of", "forward_hedge"]


def delta_of(peer: Peer, feed: str) -> float:
    """Return a peer's delta in a feed over all its channels, at the marks that stand.

    Raises:
        IllegalCommandError: the peer was opened without a desk.
    """
    exposure = peer.desk.exposure.get(feed_id(feed))
    return 0.0 if exposure is None else exposure.delta


def forward_hedge(
    delta: float, forward: Instrument, *, tolerance: float, lot: str = "0.01"
) -> m.Leg | None:
    """Return the leg that takes ``delta`` away, in whole lots; None within the tolerance.

    A forward's delta is about 1 until it expires. Give it a strike well below the market: a leg's
    price is never below 0.
    """
    size = Decimal(lot)
    quantity = (Decimal(str(-delta)) / size).to_integral_value() * size
    return None if abs(delta) <= tolerance or not quantity else Leg(forward, quantity=str(quantity))
