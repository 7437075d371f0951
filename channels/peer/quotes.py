"""Asking for a price and taking it: the legs of a request, and the firm quotes that answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from channels.errors import IllegalCommandError
from channels.pricing.instruments import Instrument
from channels.protocol import messages as m
from channels.protocol.changes import Trade
from channels.protocol.effects import ChangeConfirmed, ProposalReceived
from channels.protocol.types import Portfolio, feed_id
from channels.units import to_wad

if TYPE_CHECKING:
    from channels.peer.handle import PeerChannel

__all__ = ["Leg", "Quote", "Quotes"]


def Leg(instrument: Instrument, *, quantity: int | float | str) -> m.Leg:  # noqa: N802
    """One leg of a request: what, and how much of it. + = we buy.

    >>> from channels.pricing.instruments import Call
    >>> Leg(Call("ETH-USD", strike=3000, expiry=1774598400), quantity=+10).quantity
    10000000000000000000
    """
    return m.Leg(
        feed=feed_id(instrument.feed),
        kind=instrument.kind,
        expiry=instrument.expiry,
        strike=instrument.strike,
        quantity=to_wad(quantity),
    )


class Quote:
    """A firm price, to be taken whole before it expires."""

    def __init__(self, channel: PeerChannel, proposal: ProposalReceived) -> None:
        self._channel = channel
        self.proposal = proposal

    @property
    def trade(self) -> Trade:
        """Legs, prices and premium as they will stand in the state."""
        change = self.proposal.change
        if not isinstance(change, Trade):
            raise IllegalCommandError("this quote is for no trade")
        return change

    @property
    def premium(self) -> int:
        """What we would pay, base units; negative: receive."""
        return self._channel.side.sign * self.trade.premium

    @property
    def portfolio(self) -> Portfolio:
        """What the trade would make of the portfolio, margins included."""
        return self.proposal.portfolio

    @property
    def expires_at(self) -> int:
        """Unix time up to which the quoting side means it."""
        return self.proposal.expires_at

    async def accept(self) -> ChangeConfirmed:
        """Take it, and wait for the Confirm.

        Raises:
            RejectedError: it has expired, or the circuit breaker forbids it; it was declined.
        """
        return await self._channel.accept(self.proposal.nonce, good_until=self.expires_at)

    async def decline(self) -> None:
        """Turn it down, so that both are free at once."""
        await self._channel.decline(self.proposal.nonce)

    def __repr__(self) -> str:
        return f"Quote(premium={self.premium}, expires_at={self.expires_at})"


@attrs.frozen
class Quotes:
    """The answers to one request."""

    all: list[Quote]

    def best(self) -> Quote:
        """The one that costs us least."""
        return min(self.all, key=lambda quote: quote.premium)
