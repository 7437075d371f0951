"""What the two parties sign while the channel is open: portfolios, states, and their hashes.

Every value is frozen, checked at construction, and knows its EIP-712 ``struct_hash``, computed
once. The type strings are those of ``contracts/src/libraries/Types.sol``; the two are compared by
test in both directions.

Signs: quantities and ``net_to_b`` are seen from party A (+ quantity = A is long; + net_to_b = A has
paid B). Prices, strikes, quantities, vol and carry are WAD; vol and carry annual. Amounts of
collateral are in the token's base units. Times are Unix seconds of the chain.

Source: design, adjudication.md "Types".
"""

from __future__ import annotations

from enum import IntEnum
from functools import cached_property
from operator import lt
from struct import Struct
from typing import Any, Final

import attrs

from channels.protocol.bounds import fixed_bytes, require, signed128, unsigned
from channels.protocol.eip712 import keccak, signed_word, type_hash, word

__all__ = [
    "EMPTY_PORTFOLIO",
    "MAX_NET",
    "MAX_POSITIONS",
    "Closing",
    "Party",
    "Portfolio",
    "Position",
    "SealedState",
    "Series",
    "Spot",
    "State",
    "Withdrawal",
    "feed_id",
    "feed_name",
    "hash_state",
]

MAX_POSITIONS: Final = 128
MAX_NET: Final = 2**126
"""Peers refuse a state whose |net_to_b| exceeds this; up to here settling order changes nothing."""


class Party(IntEnum):
    """One side of a channel. A signs first on odd nonces, B on even ones."""

    A = 0
    B = 1

    @property
    def other(self) -> Party:
        """The counterparty."""
        return Party.B if self is Party.A else Party.A

    @property
    def sign(self) -> int:
        """+1 for A, -1 for B: turns a figure seen from A into one seen from this party."""
        return 1 if self is Party.A else -1

    def leads(self, nonce: int) -> bool:
        """Whether this party signs first at ``nonce``."""
        return nonce % 2 != self

    def next_nonce(self, above: int) -> int:
        """Least nonce above ``above`` at which this party signs first."""
        return above + 1 if self.leads(above + 1) else above + 2


def feed_id(name: str) -> bytes:
    """Identifier of a price feed: its ASCII name, such as ``ETH-USD``, padded to 32 bytes.

    Raises:
        InvalidValueError: empty, not printable ASCII, or longer than 32 characters.
    """
    valid = name.isascii() and name.isprintable() and 0 < len(name) <= 32
    require(valid, "a feed's name is 1 to 32 printable ASCII characters", name)
    return name.encode().ljust(32, b"\x00")


def feed_name(feed: bytes) -> str:
    """Name of a feed made by `feed_id`; its hexadecimal digits if it was made otherwise."""
    name = feed.rstrip(b"\x00")
    if name and name.isascii() and name.decode().isprintable():
        return name.decode()
    return "0x" + feed.hex()


_POSITION_TYPE: Final = (
    "Position(bytes32 feed,uint8 kind,uint64 expiry,uint128 strike,int128 quantity,"
    "uint128 vol,int128 carry)"
)
_SPOT_TYPE: Final = "Spot(bytes32 feed,uint128 price)"
_PORTFOLIO_TYPE: Final = (
    "Portfolio(int128 netToB,uint128 marginA,uint128 marginB,uint64 markedAt,"
    "Spot[] spots,Position[] positions)"
)
_STATE_TYPE: Final = "State(bytes32 channelId,uint64 nonce,uint64 validUntil,Portfolio portfolio)"

_POSITION_TYPE_HASH: Final = type_hash(_POSITION_TYPE)
_SPOT_TYPE_HASH: Final = type_hash(_SPOT_TYPE)
_PORTFOLIO_TYPE_HASH: Final = type_hash(_PORTFOLIO_TYPE, _POSITION_TYPE, _SPOT_TYPE)
_STATE_TYPE_HASH: Final = type_hash(_STATE_TYPE, _PORTFOLIO_TYPE, _POSITION_TYPE, _SPOT_TYPE)
_TWO_WORDS: Final = Struct(">24xQ24xQ")
_WITHDRAWAL_TYPE_HASH: Final = type_hash(
    "Withdrawal(State state,uint128 amountA,uint128 amountB)",
    _STATE_TYPE,
    _PORTFOLIO_TYPE,
    _POSITION_TYPE,
    _SPOT_TYPE,
)
_CLOSING_TYPE_HASH: Final = type_hash(
    "Closing(bytes32 channelId,uint64 nonce,uint64 validUntil,int128 netToB)"
)

Series = tuple[bytes, int, int, int]
"""(feed, expiry, kind, strike): identifies an option series and gives the canonical order."""


@attrs.frozen(kw_only=True)
class Position:
    """One option series, a signed quantity and the marks it is valued at.

    ``kind``: 0 call, 1 put, 2 digital call, 3 digital put, 4 forward (`channels.pricing.Kind`).
    """

    feed: bytes
    kind: int
    expiry: int
    strike: int
    quantity: int
    vol: int
    carry: int

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, feed=self.feed)
        unsigned(8, kind=self.kind)
        unsigned(64, expiry=self.expiry)
        unsigned(128, strike=self.strike, vol=self.vol)
        signed128(quantity=self.quantity, carry=self.carry)

    @cached_property
    def series(self) -> Series:
        """What is held, without how much and at what marks."""
        return (self.feed, self.expiry, self.kind, self.strike)

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this position."""
        return keccak(
            b"".join(
                (
                    _POSITION_TYPE_HASH,
                    self.feed,
                    word(self.kind),
                    word(self.expiry),
                    word(self.strike),
                    signed_word(self.quantity),
                    word(self.vol),
                    signed_word(self.carry),
                )
            )
        )


@attrs.frozen(kw_only=True)
class Spot:
    """The mark of one feed: its spot price, WAD."""

    feed: bytes
    price: int

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, feed=self.feed)
        unsigned(128, price=self.price)

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this spot."""
        return keccak(_SPOT_TYPE_HASH + self.feed + word(self.price))


def _rising(keys: list[Any]) -> bool:
    """Whether each key is above the one before."""
    return len(keys) < 2 or all(map(lt, keys, keys[1:]))


@attrs.frozen(kw_only=True)
class Portfolio:
    """Cash moved, both initial margins, and the open positions with the marks they imply.

    Positions stand in canonical order (feed, expiry, kind, strike), one a series, none of zero
    quantity, at most 128; spots by feed, one each. Two portfolios are equal if all that they hold
    is, which is what both parties sign: whatever differs is found sooner than it is hashed.
    """

    net_to_b: int = 0
    margin_a: int = 0
    margin_b: int = 0
    marked_at: int = 0
    spots: tuple[Spot, ...] = ()
    positions: tuple[Position, ...] = ()

    def __attrs_post_init__(self) -> None:
        signed128(net_to_b=self.net_to_b)
        unsigned(128, margin_a=self.margin_a, margin_b=self.margin_b)
        unsigned(64, marked_at=self.marked_at)
        positions, spots = self.positions, self.spots
        require(len(positions) <= MAX_POSITIONS, "at most 128 positions", len(positions))
        require(len(spots) <= MAX_POSITIONS, "at most 128 spots", len(spots))
        quantities = [each.quantity for each in positions]
        require(0 not in quantities, "a position has a quantity other than zero", positions)
        require(
            _rising([each.series for each in positions]), "positions in canonical order", positions
        )
        require(_rising([each.feed for each in spots]), "spots in the order of their feeds", spots)

    def __hash__(self) -> int:
        return hash(self.struct_hash)

    def margin(self, side: Party) -> int:
        """Initial margin of ``side`` in this portfolio, base units."""
        return self.margin_a if side is Party.A else self.margin_b

    def spot(self, feed: bytes) -> int | None:
        """Marked spot price of ``feed``, WAD; None if it has none."""
        return next((each.price for each in self.spots if each.feed == feed), None)

    @cached_property
    def worked_out(self) -> dict[object, Any]:
        """What others have worked out of it, each under a key of its own; kept as long as it is."""
        return {}

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this portfolio: what the contract stores of it."""
        return keccak(
            b"".join(
                (
                    _PORTFOLIO_TYPE_HASH,
                    signed_word(self.net_to_b),
                    word(self.margin_a),
                    word(self.margin_b),
                    word(self.marked_at),
                    keccak(b"".join([each.struct_hash for each in self.spots])),
                    keccak(b"".join([each.struct_hash for each in self.positions])),
                )
            )
        )


EMPTY_PORTFOLIO: Final = Portfolio()
"""What both hold at nonce 0: nothing moved, nothing open."""


def hash_state(channel_id: bytes, nonce: int, valid_until: int, portfolio_hash: bytes) -> bytes:
    """EIP-712 hash of a state of which only the portfolio's hash is known."""
    words = _TWO_WORDS.pack(nonce, valid_until)
    return keccak(_STATE_TYPE_HASH + channel_id + words + portfolio_hash)


@attrs.frozen(kw_only=True)
class State:
    """What both sign: a portfolio at a nonce. ``valid_until`` 0 is permanent, else boxed."""

    channel_id: bytes
    nonce: int
    valid_until: int = 0
    portfolio: Portfolio = EMPTY_PORTFOLIO

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, channel_id=self.channel_id)
        unsigned(64, nonce=self.nonce, valid_until=self.valid_until)

    @property
    def permanent(self) -> bool:
        """Whether the contract accepts it at any time."""
        return self.valid_until == 0

    @property
    def portfolio_hash(self) -> bytes:
        """What the contract stores of the portfolio."""
        return self.portfolio.struct_hash

    @property
    def sealed(self) -> SealedState:
        """The same state with the portfolio left out: it has the same signatures."""
        return SealedState(
            channel_id=self.channel_id,
            nonce=self.nonce,
            valid_until=self.valid_until,
            portfolio_hash=self.portfolio_hash,
        )

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this state."""
        return hash_state(self.channel_id, self.nonce, self.valid_until, self.portfolio.struct_hash)


@attrs.frozen(kw_only=True)
class SealedState:
    """A `State` of which only the portfolio's hash is known: enough to have it recorded.

    It has the hash, and so the signatures, of the state it stands for. Who holds no more than this
    can defend a channel without knowing what is in it; to settle or to dispute takes the portfolio.
    """

    channel_id: bytes
    nonce: int
    valid_until: int = 0
    portfolio_hash: bytes

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, channel_id=self.channel_id, portfolio_hash=self.portfolio_hash)
        unsigned(64, nonce=self.nonce, valid_until=self.valid_until)

    @property
    def permanent(self) -> bool:
        """Whether the contract accepts it at any time."""
        return self.valid_until == 0

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this state."""
        return hash_state(self.channel_id, self.nonce, self.valid_until, self.portfolio_hash)


@attrs.frozen(kw_only=True)
class Withdrawal:
    """A boxed state together with amounts to pay out of the channel when it is recorded."""

    state: State
    amount_a: int
    amount_b: int

    def __attrs_post_init__(self) -> None:
        unsigned(128, amount_a=self.amount_a, amount_b=self.amount_b)

    @property
    def channel_id(self) -> bytes:
        """Channel of its state."""
        return self.state.channel_id

    @property
    def nonce(self) -> int:
        """Nonce of its state."""
        return self.state.nonce

    @property
    def valid_until(self) -> int:
        """End of its state's box."""
        return self.state.valid_until

    def amount(self, side: Party) -> int:
        """What it pays ``side``, base units."""
        return self.amount_a if side is Party.A else self.amount_b

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this withdrawal."""
        return keccak(
            _WITHDRAWAL_TYPE_HASH
            + self.state.struct_hash
            + word(self.amount_a)
            + word(self.amount_b)
        )


@attrs.frozen(kw_only=True)
class Closing:
    """Both signers' word to end the channel and pay everything under ``net_to_b``."""

    channel_id: bytes
    nonce: int
    valid_until: int
    net_to_b: int

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, channel_id=self.channel_id)
        unsigned(64, nonce=self.nonce, valid_until=self.valid_until)
        signed128(net_to_b=self.net_to_b)

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this closing."""
        return keccak(
            _CLOSING_TYPE_HASH
            + self.channel_id
            + word(self.nonce)
            + word(self.valid_until)
            + signed_word(self.net_to_b)
        )
