"""What a desk of the soak trades: mostly what makes one side short of puts while the market falls.

All choices come from one seeded generator; only their order hangs on the timing of the processes.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final, Protocol

import attrs
import trio

from channels.cli.demo.market import Market, settlement_average
from channels.errors import BugError, ChannelsError
from channels.peer import Peer, PeerChannel
from channels.pricing import position_price
from channels.pricing.kinds import Kind
from channels.protocol.channel import OPEN_PHASES
from channels.protocol.messages import Leg
from channels.protocol.types import Position, Series, feed_id, feed_name
from channels.units import WAD

__all__ = ["Strategy", "described"]

MOST_SERIES: Final = 8
MOST_UNITS: Final = 3
BIASED: Final = 0.85
"""How often a trade goes the channel's own way."""
PUTS: Final = 0.8
QUOTED_FOR: Final = 30
PAUSES: Final = (0.2, 1.0)
"""Least and most seconds between two actions in a channel."""


class Writer(Protocol):
    """Writes a line to the log."""

    def __call__(self, kind: str, **values: Any) -> None: ...


def described(error: ChannelsError) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {error}"


@attrs.frozen(kw_only=True)
class Strategy:
    """One desk's. ``last`` is the latest expiry it trades."""

    market: Market
    clock: Callable[[], float]
    rng: Random
    last: int
    log: Writer

    async def run(self, peer: Peer) -> None:
        """Trade in every open channel until cancelled."""
        async with trio.open_nursery() as nursery:
            for channel in peer.channels:
                nursery.start_soon(self._trade, channel)

    async def _trade(self, channel: PeerChannel) -> None:
        while True:
            await trio.sleep(self.rng.uniform(*PAUSES))
            if channel.phase not in OPEN_PHASES:
                continue
            action = self._next_action(channel)
            try:
                done = await action(channel)
            except BugError:
                raise
            except ChannelsError as error:
                self.log(
                    "refused",
                    action=action.__name__,
                    channel=channel.channel_id.hex(),
                    error=described(error),
                )
            else:
                self.log("done", action=action.__name__, channel=channel.channel_id.hex(), of=done)

    def _next_action(self, channel: PeerChannel) -> Any:
        if any(each.expiry <= self.clock() for each in channel.portfolio.positions):
            return self.settle_expired
        return self.rng.choices((self.quote, self.propose, self.remark), weights=(0.65, 0.25, 0.1))[
            0
        ]

    async def settle_expired(self, channel: PeerChannel) -> int:
        """Settle everything that has expired off chain."""
        settled = 0
        while True:
            now = self.clock()
            held = channel.portfolio.positions
            due = sorted({(each.expiry, each.feed) for each in held if each.expiry <= now})
            if not due:
                return settled
            expiry, feed = due[0]
            price = settlement_average(self.market, expiry)
            await channel.settle(feed_name(feed), expiry, price)
            settled += 1

    async def quote(self, channel: PeerChannel) -> str:
        """Ask for a quote and take it."""
        leg = self._leg(channel)
        quotes = await channel.request_quote([leg], ttl=QUOTED_FOR)
        await quotes.best().accept()
        return f"{leg.quantity // WAD} {Kind(leg.kind).name} {leg.strike // WAD}"

    async def propose(self, channel: PeerChannel) -> str:
        """Offer a trade at our own mark."""
        leg = self._leg(channel)
        now = int(self.clock())
        mark = self.market.mark((leg.feed, leg.expiry, int(leg.kind), leg.strike), now)
        position = Position(
            feed=leg.feed,
            kind=int(leg.kind),
            expiry=leg.expiry,
            strike=leg.strike,
            quantity=WAD,
            vol=mark.vol,
            carry=mark.carry,
        )
        price = position_price(position, self.market.spot(now), now)
        await channel.propose_trade([leg], [price])
        return f"{leg.quantity // WAD} {Kind(leg.kind).name} {leg.strike // WAD}"

    async def remark(self, channel: PeerChannel) -> int:
        """Sign new marks; how many positions are open."""
        await channel.remark()
        return len(channel.portfolio.positions)

    def _leg(self, channel: PeerChannel) -> Leg:
        """Mostly puts, bought by A where the channel's id is even and by B where it is odd."""
        rng, now = self.rng, int(self.clock())
        held = channel.portfolio.positions
        way = channel.side.sign * (1 if channel.channel_id[-1] % 2 == 0 else -1)
        if rng.random() > BIASED:
            way = -way
        quantity = way * rng.randint(1, MOST_UNITS) * WAD
        if len(held) >= MOST_SERIES:
            feed, expiry, kind, strike = rng.choice(held).series
        else:
            feed, expiry, kind, strike = self._new_series(now)
        return Leg(
            feed=feed,
            kind=Kind(kind),
            expiry=expiry,
            strike=strike,
            quantity=quantity if kind == Kind.PUT else -quantity,
        )

    def _new_series(self, now: int) -> Series:
        """One that is listed, mostly a put, from a fifth below the spot to a tenth above."""
        expiry = self.rng.choice([each for each in self.market.expiries(now) if each <= self.last])
        spot = self.market.spot(now)
        strikes = [
            each
            for each in self.market.strikes(expiry, now)
            if spot * 8 // 10 <= each <= spot * 11 // 10
        ]
        kind = Kind.PUT if self.rng.random() < PUTS else Kind.CALL
        return feed_id(self.market.feed), expiry, int(kind), self.rng.choice(strikes)
