"""Asking for a price and taking it: the legs of a request, and the firm quotes that answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from channels.errors import IllegalCommandError, InvalidValueError, RejectedError
from channels.peer.quote_book import part_of
from channels.pricing.instruments import Forward, Instrument
from channels.protocol import messages as m
from channels.protocol.changes import Trade
from channels.protocol.effects import ChangeConfirmed, ProposalReceived
from channels.protocol.types import Party, Portfolio, feed_id
from channels.units import WAD, to_wad

if TYPE_CHECKING:
    from channels.peer.trading import Trading

__all__ = ["HedgeLeg", "Leg", "Quote", "Quotes", "side_of"]


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


def HedgeLeg(  # noqa: N802
    feed: str, *, expiry: int, reference: int | float | str, delta: int | float | str
) -> m.Leg:
    """The delta hedge of a structure: a forward struck at the agreed reference price. + = we buy.

    It is dealt at its strike, so its price beside the options is 0 and moves no premium; ``delta``
    is units of the underlying.

    >>> leg = HedgeLeg("ETH-USD", expiry=1774598400, reference=3000, delta="-4.2")
    >>> leg.strike == 3000 * 10**18, leg.quantity
    (True, -4200000000000000000)
    """
    return Leg(Forward(feed, strike=reference, expiry=expiry), quantity=delta)


class Quote:
    """One side of a firm price, to be taken before it expires: whole, or in a part it allows."""

    def __init__(self, channel: Trading, proposal: ProposalReceived, side: m.Side) -> None:
        self._channel = channel
        self.proposal = proposal
        self.side = side
        """Whether we would buy the legs as we asked for them, or sell them."""

    @property
    def trade(self) -> Trade:
        """Legs, prices and premium as they will stand in the state."""
        change = self.proposal.change
        if not isinstance(change, Trade):
            raise IllegalCommandError("this quote is for no trade")
        return change

    @property
    def channel(self) -> Trading:
        """Where it was quoted."""
        return self._channel

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

    @property
    def least(self) -> int:
        """Smallest part that may be taken, WAD; WAD: all or none."""
        return self.proposal.least

    async def accept(self, part: int | float | str = 1) -> ChangeConfirmed:
        """Take it, or a part of it, and wait for the Confirm.

        A part is a trade of its own: the quote is turned down and the part proposed at its prices.
        Its maker keeps to its word, which no signature binds it to.

        Args:
            part: fraction of the size, at least `least`.

        Raises:
            InvalidValueError: a part that the quote does not allow, or that no quantity can hold.
            RejectedError: it has expired, or the circuit breaker forbids it; it was declined.
            LimitError: a limit of our desk forbids it; it was declined.
            PeerTimeoutError: no answer; see `PeerChannel.accept` and `PeerChannel.propose_trade`.
        """
        fraction = int(to_wad(part))
        if fraction == WAD:
            return await self._channel.accept(self.proposal.nonce, good_until=self.expires_at)
        if not self.least <= fraction < WAD:
            raise InvalidValueError(
                f"a part of {part}; this quote allows {self.least / WAD:g} to 1"
            )
        quoter_is_b = self._channel.side is Party.A
        unit = self._channel.terms.unit
        trade = part_of(self.trade, fraction, quoter_is_b=quoter_is_b, unit=unit)
        if trade is None:
            raise InvalidValueError(f"a part of {part} is no whole number of units")
        return await self._channel.take_part(self.proposal, trade)

    async def decline(self) -> None:
        """Turn it down, and the other side of it with it, so that both are free at once."""
        entry = self._channel.state.ledger.entry(self.proposal.nonce)
        if entry is None or entry.declined:
            return
        await self._channel.decline(self.proposal.nonce)

    def __repr__(self) -> str:
        return f"Quote({self.side.name}, premium={self.premium}, expires_at={self.expires_at})"


@attrs.frozen
class Quotes:
    """The answers to one request: one side, or both. ``asked`` is the side that was asked for."""

    all: list[Quote]
    asked: m.Side | None = None

    @property
    def buy(self) -> Quote | None:
        """The price to buy the legs as they were asked for; None if none was named."""
        return self._of(m.Side.BUY)

    @property
    def sell(self) -> Quote | None:
        """The price to sell the legs as they were asked for; None if none was named."""
        return self._of(m.Side.SELL)

    def best(self, side: m.Side | None = None) -> Quote:
        """The one that costs us least on this side; None: the side asked for, or else to buy.

        Raises:
            RejectedError: no price on this side.
        """
        wanted = next(each for each in (side, self.asked, m.Side.BUY) if each is not None)
        found = self._of(wanted)
        if found is None:
            raise RejectedError("no price on this side", next_step="ask for it, or ask elsewhere")
        return found

    def _of(self, side: m.Side) -> Quote | None:
        named = [quote for quote in self.all if quote.side is side]
        return min(named, key=lambda quote: quote.premium, default=None)


def side_of(legs: tuple[m.Leg, ...], trade: Trade, requester: Party) -> m.Side | None:
    """Which side of a request a quoted trade is; None if it is not of the legs asked for."""
    asked = [(leg.feed, leg.kind, leg.expiry, leg.strike) for leg in legs]
    if asked != [(leg.feed, leg.kind, leg.expiry, leg.strike) for leg in trade.legs]:
        return None
    quantities = [requester.sign * leg.quantity for leg in trade.legs]
    if quantities == [leg.quantity for leg in legs]:
        return m.Side.BUY
    return m.Side.SELL if quantities == [-leg.quantity for leg in legs] else None
