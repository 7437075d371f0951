"""What the takers want: option trades as clients ask for them, drawn from a seed.

A draw depends on the seed, the taker and the frame alone, never on what came of earlier ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

import attrs

from channels.cli.replaying.tape import Frame
from channels.peer import Leg
from channels.pricing.instruments import Call, DigitalPut, Forward, Put
from channels.protocol import messages as m
from channels.units import DAY, HOUR, WAD, from_wad

__all__ = ["STYLES", "Wish", "wish"]

_SHORTEST: Final = 36 * HOUR
_LONGEST: Final = 40 * DAY
_TRADES: Final = 0.75
_UNWINDS: Final = 0.2


@attrs.frozen(kw_only=True)
class Wish:
    """What one taker does at one frame: open ``legs`` (none: nothing), or ``unwind`` something.

    ``unwind`` is a number from 0 to 1 that picks a channel; None: nothing.
    """

    title: str = ""
    legs: tuple[m.Leg, ...] = ()
    unwind: float | None = None


@attrs.frozen(kw_only=True)
class _Board:
    """One expiry to choose from; ``size`` is how much of the underlying a trade is about."""

    feed: str
    expiry: int
    forward: float
    strikes: Sequence[int]
    size: str

    def strike(self, moneyness: float) -> str:
        """The listed strike nearest to this part of the forward."""
        wanted = self.forward * moneyness
        nearest = min(self.strikes, key=lambda each: abs(each / WAD - wanted))
        return str(from_wad(nearest))


Recipe = Callable[[_Board], tuple[m.Leg, ...]]


def _buy_put(board: _Board) -> tuple[m.Leg, ...]:
    put = Put(board.feed, strike=board.strike(0.92), expiry=board.expiry)
    return (Leg(put, quantity=board.size),)


def _buy_put_spread(board: _Board) -> tuple[m.Leg, ...]:
    near = Put(board.feed, strike=board.strike(0.97), expiry=board.expiry)
    far = Put(board.feed, strike=board.strike(0.85), expiry=board.expiry)
    return (Leg(near, quantity=board.size), Leg(far, quantity=f"-{board.size}"))


def _buy_digital_put(board: _Board) -> tuple[m.Leg, ...]:
    pays = DigitalPut(board.feed, strike=board.strike(0.9), expiry=board.expiry)
    return (Leg(pays, quantity=5_000),)


def _sell_strangle(board: _Board) -> tuple[m.Leg, ...]:
    put = Put(board.feed, strike=board.strike(0.9), expiry=board.expiry)
    call = Call(board.feed, strike=board.strike(1.1), expiry=board.expiry)
    return (Leg(put, quantity=f"-{board.size}"), Leg(call, quantity=f"-{board.size}"))


def _sell_put(board: _Board) -> tuple[m.Leg, ...]:
    put = Put(board.feed, strike=board.strike(0.95), expiry=board.expiry)
    return (Leg(put, quantity=f"-{board.size}"),)


def _buy_write(board: _Board) -> tuple[m.Leg, ...]:
    # A leg's price is never below 0: far below the market a forward stays worth something.
    forward = Forward(board.feed, strike=round(board.forward * 0.3), expiry=board.expiry)
    call = Call(board.feed, strike=board.strike(1.05), expiry=board.expiry)
    return (Leg(forward, quantity=board.size), Leg(call, quantity=f"-{board.size}"))


def _buy_call(board: _Board) -> tuple[m.Leg, ...]:
    call = Call(board.feed, strike=board.strike(1.04), expiry=board.expiry)
    return (Leg(call, quantity=board.size),)


STYLES: Final[dict[str, tuple[tuple[str, Recipe], ...]]] = {
    "hedger": (
        ("buys a put", _buy_put),
        ("buys a put spread", _buy_put_spread),
        ("buys a digital put", _buy_digital_put),
    ),
    "yield": (
        ("sells a strangle", _sell_strangle),
        ("sells a put", _sell_put),
        ("writes a covered call", _buy_write),
    ),
    "punter": (("buys a call", _buy_call), ("buys a put", _buy_put), ("sells a put", _sell_put)),
}
"""Style of a taker -> what it may want, each by name."""


def wish(style: str, frame: Frame, *, feed: str, draw: str, notional: float) -> Wish:
    """Draw what a taker of this style wants at a frame.

    Args:
        style: one of `STYLES`.
        frame: the market.
        feed: what is traded.
        draw: seed, taker and frame, in one text.
        notional: about how much one trade is about, in the feed's currency.
    """
    random = Random(draw)
    chance, place = random.random(), random.random()
    if chance > _TRADES + _UNWINDS:
        return Wish()
    if chance > _TRADES:
        return Wish(unwind=place)
    open_for = [each for each in frame.strikes if _SHORTEST <= each - frame.at <= _LONGEST]
    if not open_for:
        return Wish()
    expiry = random.choice(sorted(open_for))
    title, recipe = random.choice(STYLES[style])
    size = notional * random.uniform(0.5, 1.5) / frame.surface.spot
    board = _Board(
        feed=feed,
        expiry=expiry,
        forward=frame.surface.forward(expiry),
        strikes=frame.strikes[expiry],
        size=f"{size:.2f}",
    )
    return Wish(title=title, legs=recipe(board))
