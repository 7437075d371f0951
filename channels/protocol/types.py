"""What the two parties sign: terms, portfolios, states, and how each is hashed.

Every value is frozen, checked at construction, and knows its EIP-712 ``struct_hash``, computed
once. The type strings are those of ``contracts/src/libraries/Types.sol``; the two are compared by
test in both directions.

Signs: quantities and ``net_to_b`` are seen from party A (+ quantity = A is long; + net_to_b = A has
paid B). Prices, strikes, quantities, vol and carry are WAD; vol and carry annual. Amounts of
collateral are in the token's base units. Times are Unix seconds of the chain.

Source: design, adjudication.md "Types".
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Final

import attrs

from channels.errors import InvalidValueError
from channels.protocol.eip712 import (
    Address,
    address_word,
    digest,
    domain_separator,
    keccak,
    signed_word,
    type_hash,
    word,
)

__all__ = [
    "EMPTY_PORTFOLIO",
    "MAX_NET",
    "MAX_POSITIONS",
    "Closing",
    "DisputeAuthorisation",
    "Domain",
    "Opening",
    "Party",
    "Portfolio",
    "Position",
    "RiskParams",
    "Spot",
    "State",
    "Terms",
    "Withdrawal",
    "channel_id",
    "feed_id",
    "feed_name",
    "hash_risk_params",
    "hash_state",
]

MAX_POSITIONS: Final = 128
MAX_NET: Final = 2**126
"""Peers refuse a state whose |net_to_b| exceeds this; up to here settling order changes nothing."""

_U128: Final = 2**128
_I128: Final = 2**127


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
        return nonce % 2 == (1 if self is Party.A else 0)

    def next_nonce(self, above: int) -> int:
        """Least nonce above ``above`` at which this party signs first."""
        return above + 1 if self.leads(above + 1) else above + 2


def _require(valid: bool, what: str, value: object) -> None:
    if not valid:
        raise InvalidValueError(f"{what}, not {value!r}")


def _unsigned(bits: int, **values: int) -> None:
    for name, value in values.items():
        _require(
            type(value) is int and 0 <= value < 1 << bits,
            f"{name} is an unsigned {bits}-bit integer",
            value,
        )


def _signed128(**values: int) -> None:
    for name, value in values.items():
        _require(
            type(value) is int and -_I128 <= value < _I128,
            f"{name} is a signed 128-bit integer",
            value,
        )


def _bytes(length: int, **values: bytes) -> None:
    for name, value in values.items():
        _require(type(value) is bytes and len(value) == length, f"{name} has {length} bytes", value)


def feed_id(name: str) -> bytes:
    """Identifier of a price feed: its ASCII name, such as ``ETH-USD``, padded to 32 bytes.

    Raises:
        InvalidValueError: empty, not printable ASCII, or longer than 32 characters.
    """
    valid = name.isascii() and name.isprintable() and 0 < len(name) <= 32
    _require(valid, "a feed's name is 1 to 32 printable ASCII characters", name)
    return name.encode().ljust(32, b"\x00")


def feed_name(feed: bytes) -> str:
    """Name of a feed made by `feed_id`; its hexadecimal digits if it was made otherwise."""
    name = feed.rstrip(b"\x00")
    if name and name.isascii() and name.decode().isprintable():
        return name.decode()
    return "0x" + feed.hex()


@attrs.frozen(kw_only=True, cache_hash=True)
class Domain:
    """The EIP-712 domain of one Adjudicator on one chain: what a signature is valid for."""

    chain_id: int
    adjudicator: Address

    def __attrs_post_init__(self) -> None:
        _unsigned(256, chain_id=self.chain_id)
        _bytes(20, adjudicator=self.adjudicator)

    @cached_property
    def separator(self) -> bytes:
        """Domain separator, 32 bytes."""
        return domain_separator("OptionChannels", "1", self.chain_id, self.adjudicator)

    def digest(self, value: Signed) -> bytes:
        """Hash that a signer signs for ``value`` in this domain."""
        return digest(self.separator, value.struct_hash)


_TERMS_TYPE: Final = (
    "Terms(address partyA,address partyB,address signerA,address signerB,address collateral,"
    "uint128 unit,address oracle,uint32 disputeWindow,uint32 cureWindow,uint32 settlementGrace,"
    "uint32 maxPriceAge,uint32 maxMarkAge,uint32 maxTenor,uint16 maxInFlight,"
    "uint128 stalePenalty,uint16 defaultPenaltyBps,bytes32 riskHash,bytes32 salt)"
)
_TERMS_TYPE_HASH: Final = type_hash(_TERMS_TYPE)


@attrs.frozen(kw_only=True, cache_hash=True)
class Terms:
    """What both agreed once, at opening. Windows and ages in seconds, amounts in base units.

    ``unit`` is the collateral paid per 1.0 of price; a digital pays 1.0, that is ``unit``. The
    allowed ranges of the windows are those of the contract and checked before an Opening is signed
    (`channels.protocol.checks.check_terms`); this type only refuses what cannot be encoded.
    """

    party_a: Address
    party_b: Address
    signer_a: Address
    signer_b: Address
    collateral: Address
    unit: int
    oracle: Address
    dispute_window: int
    cure_window: int
    settlement_grace: int
    max_price_age: int
    max_mark_age: int
    max_tenor: int
    max_in_flight: int
    stale_penalty: int
    default_penalty_bps: int
    risk_hash: bytes
    salt: bytes

    def __attrs_post_init__(self) -> None:
        _bytes(
            20,
            party_a=self.party_a,
            party_b=self.party_b,
            signer_a=self.signer_a,
            signer_b=self.signer_b,
            collateral=self.collateral,
            oracle=self.oracle,
        )
        _unsigned(128, unit=self.unit, stale_penalty=self.stale_penalty)
        _unsigned(
            32,
            dispute_window=self.dispute_window,
            cure_window=self.cure_window,
            settlement_grace=self.settlement_grace,
            max_price_age=self.max_price_age,
            max_mark_age=self.max_mark_age,
            max_tenor=self.max_tenor,
        )
        _unsigned(
            16, max_in_flight=self.max_in_flight, default_penalty_bps=self.default_penalty_bps
        )
        _bytes(32, risk_hash=self.risk_hash, salt=self.salt)

    def party(self, side: Party) -> Address:
        """Address that funds and is paid for ``side``."""
        return self.party_a if side is Party.A else self.party_b

    def signer(self, side: Party) -> Address:
        """Session key that signs states for ``side``."""
        return self.signer_a if side is Party.A else self.signer_b

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of these terms."""
        return keccak(
            b"".join(
                (
                    _TERMS_TYPE_HASH,
                    address_word(self.party_a),
                    address_word(self.party_b),
                    address_word(self.signer_a),
                    address_word(self.signer_b),
                    address_word(self.collateral),
                    word(self.unit),
                    address_word(self.oracle),
                    word(self.dispute_window),
                    word(self.cure_window),
                    word(self.settlement_grace),
                    word(self.max_price_age),
                    word(self.max_mark_age),
                    word(self.max_tenor),
                    word(self.max_in_flight),
                    word(self.stale_penalty),
                    word(self.default_penalty_bps),
                    self.risk_hash,
                    self.salt,
                )
            )
        )


@lru_cache(maxsize=4_096)
def channel_id(domain: Domain, terms: Terms) -> bytes:
    """Identifier of the channel that ``terms`` open: used once, ever.

    Hash of the chain id at deployment, the Adjudicator, both signers and the hash of the terms.
    """
    return keccak(
        word(domain.chain_id)
        + address_word(domain.adjudicator)
        + address_word(terms.signer_a)
        + address_word(terms.signer_b)
        + terms.struct_hash
    )


_RISK_TYPE_HASH: Final = type_hash(
    "RiskParams(bytes32 feed,uint64 priceRange,uint64 volUp,uint64 volDown,uint64 lookAhead,"
    "uint64 calendar,uint64 strike,uint64 carryBase,uint64 carrySlope,uint64 shortMinimum,"
    "uint64 imFactor,uint64 shiftBase,uint64 shiftPerRootHour,uint64 runOffFactor)"
)


@attrs.frozen(kw_only=True, cache_hash=True)
class RiskParams:
    """Margin parameters of one feed; fractions in WAD, times in seconds. Defaults are risk.md's."""

    feed: bytes
    price_range: int = 20 * 10**16
    vol_up: int = 45 * 10**16
    vol_down: int = 30 * 10**16
    look_ahead: int = 2 * 86_400
    calendar: int = 25 * 10**16
    strike: int = 10 * 10**16
    carry_base: int = 5 * 10**15
    carry_slope: int = 3 * 10**16
    short_minimum: int = 10**16
    im_factor: int = 125 * 10**16
    shift_base: int = 12 * 10**15
    shift_per_root_hour: int = 25 * 10**15
    run_off_factor: int = 2 * 10**18

    def __attrs_post_init__(self) -> None:
        _bytes(32, feed=self.feed)
        _unsigned(64, **dict(zip(_RISK_NUMBERS, self._numbers, strict=True)))

    @property
    def _numbers(self) -> tuple[int, ...]:
        return attrs.astuple(self)[1:]

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this feed's parameters."""
        return keccak(_RISK_TYPE_HASH + self.feed + b"".join(map(word, self._numbers)))


_RISK_NUMBERS: Final = tuple(field.name for field in attrs.fields(RiskParams))[1:]


def hash_risk_params(params: Iterable[RiskParams]) -> bytes:
    """The ``risk_hash`` of terms: EIP-712 hash of the parameters' array, sorted by feed.

    Raises:
        InvalidValueError: two sets of parameters for one feed, or none at all.
    """
    ordered = sorted(params, key=lambda each: each.feed)
    feeds = [each.feed for each in ordered]
    _require(len(set(feeds)) == len(feeds) > 0, "one set of parameters a feed, at least one", feeds)
    return keccak(b"".join(each.struct_hash for each in ordered))


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
_OPENING_TYPE_HASH: Final = type_hash(
    "Opening(Terms terms,uint128 depositA,uint128 depositB,uint64 validUntil)", _TERMS_TYPE
)
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
_AUTHORISATION_TYPE_HASH: Final = type_hash(
    "DisputeAuthorisation(bytes32 channelId,address delegate,uint64 minNonce,uint64 validUntil)"
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
        _bytes(32, feed=self.feed)
        _unsigned(8, kind=self.kind)
        _unsigned(64, expiry=self.expiry)
        _unsigned(128, strike=self.strike, vol=self.vol)
        _signed128(quantity=self.quantity, carry=self.carry)

    @property
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
        _bytes(32, feed=self.feed)
        _unsigned(128, price=self.price)

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this spot."""
        return keccak(_SPOT_TYPE_HASH + self.feed + word(self.price))


@attrs.frozen(kw_only=True, eq=False)
class Portfolio:
    """Cash moved, both initial margins, and the open positions with the marks they imply.

    Positions stand in canonical order (feed, expiry, kind, strike), one a series, none of zero
    quantity, at most 128; spots by feed, one each. Two portfolios are equal if their hashes are,
    which is what both parties sign.
    """

    net_to_b: int = 0
    margin_a: int = 0
    margin_b: int = 0
    marked_at: int = 0
    spots: tuple[Spot, ...] = ()
    positions: tuple[Position, ...] = ()

    def __attrs_post_init__(self) -> None:
        _signed128(net_to_b=self.net_to_b)
        _unsigned(128, margin_a=self.margin_a, margin_b=self.margin_b)
        _unsigned(64, marked_at=self.marked_at)
        _require(len(self.positions) <= MAX_POSITIONS, "at most 128 positions", len(self.positions))
        _require(len(self.spots) <= MAX_POSITIONS, "at most 128 spots", len(self.spots))
        for position in self.positions:
            _require(position.quantity != 0, "a position has a quantity other than zero", position)
        for left, right in pairwise(self.positions):
            _require(left.series < right.series, "positions in canonical order", self.positions)
        for before, after in pairwise(self.spots):
            _require(before.feed < after.feed, "spots in the order of their feeds", self.spots)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Portfolio) and self.struct_hash == other.struct_hash

    def __hash__(self) -> int:
        return hash(self.struct_hash)

    def margin(self, side: Party) -> int:
        """Initial margin of ``side`` in this portfolio, base units."""
        return self.margin_a if side is Party.A else self.margin_b

    def spot(self, feed: bytes) -> int | None:
        """Marked spot price of ``feed``, WAD; None if it has none."""
        return next((each.price for each in self.spots if each.feed == feed), None)

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
    return keccak(_STATE_TYPE_HASH + channel_id + word(nonce) + word(valid_until) + portfolio_hash)


@attrs.frozen(kw_only=True)
class State:
    """What both sign: a portfolio at a nonce. ``valid_until`` 0 is permanent, else boxed."""

    channel_id: bytes
    nonce: int
    valid_until: int = 0
    portfolio: Portfolio = EMPTY_PORTFOLIO

    def __attrs_post_init__(self) -> None:
        _bytes(32, channel_id=self.channel_id)
        _unsigned(64, nonce=self.nonce, valid_until=self.valid_until)

    @property
    def permanent(self) -> bool:
        """Whether the contract accepts it at any time."""
        return self.valid_until == 0

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this state."""
        return hash_state(self.channel_id, self.nonce, self.valid_until, self.portfolio.struct_hash)


@attrs.frozen(kw_only=True, cache_hash=True)
class Opening:
    """Both parties' word to lock their deposits under ``terms``, until ``valid_until``."""

    terms: Terms
    deposit_a: int
    deposit_b: int
    valid_until: int

    def __attrs_post_init__(self) -> None:
        _unsigned(128, deposit_a=self.deposit_a, deposit_b=self.deposit_b)
        _unsigned(64, valid_until=self.valid_until)

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this opening."""
        return keccak(
            _OPENING_TYPE_HASH
            + self.terms.struct_hash
            + word(self.deposit_a)
            + word(self.deposit_b)
            + word(self.valid_until)
        )


@attrs.frozen(kw_only=True)
class Withdrawal:
    """A boxed state together with amounts to pay out of the channel when it is recorded."""

    state: State
    amount_a: int
    amount_b: int

    def __attrs_post_init__(self) -> None:
        _unsigned(128, amount_a=self.amount_a, amount_b=self.amount_b)

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
        _bytes(32, channel_id=self.channel_id)
        _unsigned(64, nonce=self.nonce, valid_until=self.valid_until)
        _signed128(net_to_b=self.net_to_b)

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


@attrs.frozen(kw_only=True)
class DisputeAuthorisation:
    """A signer's leave for ``delegate`` to dispute in its name for a time."""

    channel_id: bytes
    delegate: Address
    min_nonce: int
    valid_until: int

    def __attrs_post_init__(self) -> None:
        _bytes(32, channel_id=self.channel_id)
        _bytes(20, delegate=self.delegate)
        _unsigned(64, min_nonce=self.min_nonce, valid_until=self.valid_until)

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this authorisation."""
        return keccak(
            _AUTHORISATION_TYPE_HASH
            + self.channel_id
            + address_word(self.delegate)
            + word(self.min_nonce)
            + word(self.valid_until)
        )


Signed = State | Opening | Withdrawal | Closing | DisputeAuthorisation
"""Every struct that a key of a channel may sign."""
