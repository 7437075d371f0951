"""The contract ABI of our few types, word by word.

A general encoder walks the type of every field; a portfolio of 128 positions has a thousand. Here
the words are laid end to end, some thirty times faster, and decoding is strict: what the chain (or
the counterparty through the chain) sends is refused unless it is well formed. Tests compare both
ways with eth-abi.

Source: Solidity, "Contract ABI Specification".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NoReturn, TypeVar

import attrs

from channels.errors import EndpointError, InvalidValueError
from channels.protocol.eip712 import Address, address_word, keccak, signed_word, word
from channels.protocol.scenarios import ScenarioIndex
from channels.protocol.terms import DisputeAuthorisation, RiskParams, Terms
from channels.protocol.types import (
    MAX_POSITIONS,
    Closing,
    Portfolio,
    Position,
    Spot,
    State,
    Withdrawal,
)

__all__ = [
    "TERMS_WORDS",
    "Words",
    "authorisation_words",
    "closing_words",
    "encode_arguments",
    "encode_array",
    "encode_bytes",
    "encode_portfolio",
    "encode_position",
    "encode_spot",
    "encode_state",
    "encode_withdrawal",
    "encode_words",
    "read_portfolio",
    "read_state",
    "read_terms",
    "risk_params_words",
    "scenario_words",
    "selector",
    "terms_words",
]

T = TypeVar("T")

TERMS_WORDS: Final = 18
"""Words of encoded terms."""

_POSITION_TUPLE: Final = "(bytes32,uint8,uint64,uint128,int128,uint128,int128)"
_PORTFOLIO_TUPLE: Final = f"(int128,uint128,uint128,uint64,(bytes32,uint128)[],{_POSITION_TUPLE}[])"
_STATE_TUPLE: Final = f"(bytes32,uint64,uint64,{_PORTFOLIO_TUPLE})"
_SIGNATURE_TUPLE: Final = "(bytes32,bytes32)"
_NAMED_TUPLES: Final = {
    "Terms": "(address,address,address,address,address,uint128,address,uint32,uint32,uint32,uint32,"
    "uint32,uint32,uint16,uint128,uint16,bytes32,bytes32)",
    "State": _STATE_TUPLE,
    "Portfolio": _PORTFOLIO_TUPLE,
    "Position": _POSITION_TUPLE,
    "Spot": "(bytes32,uint128)",
    "Closing": "(bytes32,uint64,uint64,int128)",
    "Signature": _SIGNATURE_TUPLE,
    "Withdrawal": f"({_STATE_TUPLE},uint128,uint128)",
    "DisputeAuthorisation": "(bytes32,address,uint64,uint64)",
    "SignedState": "(address,address,bytes32,uint64,uint64,bytes32,"
    f"{_SIGNATURE_TUPLE},{_SIGNATURE_TUPLE})",
    "Permit": "(uint256,uint256,uint8,bytes32,bytes32)",
    "RiskParams": f"(bytes32{',uint64' * 13})",
    "Scenario": "(uint8,uint8,bool)",
}


def expand(signature: str) -> str:
    """Write out the structs of a signature: ``f(Terms)`` becomes ``f((address,...))``."""
    for name, members in _NAMED_TUPLES.items():
        for before in "(,":
            signature = signature.replace(before + name, before + members)
    return signature


def selector(signature: str) -> bytes:
    """First four bytes of the hash of a function's or error's signature, structs by name.

    >>> selector("claim(address,address)").hex()
    '21c0b342'
    """
    return keccak(expand(signature).encode())[:4]


# ---- encoding


def encode_words(*values: bytes | int) -> bytes:
    """Lay words end to end; numbers become unsigned words, addresses are padded.

    Raises:
        InvalidValueError: bytes that are neither a word nor an address.
    """
    return b"".join(map(_as_word, values))


def _as_word(value: bytes | int) -> bytes:
    if isinstance(value, int):
        return word(value)
    if len(value) == 20:
        return address_word(Address(value))
    if len(value) % 32:
        raise InvalidValueError("words have 32 bytes, addresses 20")
    return value


def encode_arguments(fixed: Sequence[bytes | int], dynamic: dict[int, bytes]) -> bytes:
    """Encode a call's arguments: ``fixed`` words in order, offsets for the dynamic ones.

    ``dynamic`` maps a place in ``fixed`` (which must hold 0 there) to the tail it points to.
    """
    parts = [_as_word(each) for each in fixed]
    size = sum(map(len, parts))
    tails = []
    for place, tail in sorted(dynamic.items()):
        parts[place] = word(size)
        tails.append(tail)
        size += len(tail)
    return b"".join((*parts, *tails))


def encode_bytes(value: bytes) -> bytes:
    """Encode ``bytes``: length, then the bytes padded to whole words."""
    return word(len(value)) + value + bytes(-len(value) % 32)


def encode_array(items: Iterable[T], encode: Callable[[T], bytes]) -> bytes:
    """Encode an array of static items: length, then the items."""
    encoded = [encode(each) for each in items]
    return word(len(encoded)) + b"".join(encoded)


def terms_words(terms: Terms) -> bytes:
    """Encode ``Terms``, a static struct of eighteen words."""
    return encode_words(
        terms.party_a,
        terms.party_b,
        terms.signer_a,
        terms.signer_b,
        terms.collateral,
        terms.unit,
        terms.oracle,
        terms.dispute_window,
        terms.cure_window,
        terms.settlement_grace,
        terms.max_price_age,
        terms.max_mark_age,
        terms.max_tenor,
        terms.max_in_flight,
        terms.stale_penalty,
        terms.default_penalty_bps,
        terms.risk_hash,
        terms.salt,
    )


def encode_position(position: Position) -> bytes:
    """Encode ``Position``, a static struct of seven words."""
    return b"".join(
        (
            position.feed,
            word(position.kind),
            word(position.expiry),
            word(position.strike),
            signed_word(position.quantity),
            word(position.vol),
            signed_word(position.carry),
        )
    )


def encode_spot(spot: Spot) -> bytes:
    """Encode ``Spot``, a static struct of two words."""
    return spot.feed + word(spot.price)


def encode_portfolio(portfolio: Portfolio) -> bytes:
    """Encode ``Portfolio``, a dynamic struct."""
    spots = encode_array(portfolio.spots, encode_spot)
    positions = encode_array(portfolio.positions, encode_position)
    return b"".join(
        (
            signed_word(portfolio.net_to_b),
            word(portfolio.margin_a),
            word(portfolio.margin_b),
            word(portfolio.marked_at),
            word(6 * 32),
            word(6 * 32 + len(spots)),
            spots,
            positions,
        )
    )


def encode_state(state: State) -> bytes:
    """Encode ``State``, a dynamic struct."""
    return (
        state.channel_id
        + word(state.nonce)
        + word(state.valid_until)
        + word(4 * 32)
        + encode_portfolio(state.portfolio)
    )


def closing_words(closing: Closing) -> bytes:
    """Encode ``Closing``, a static struct of four words."""
    return (
        closing.channel_id
        + word(closing.nonce)
        + word(closing.valid_until)
        + signed_word(closing.net_to_b)
    )


def encode_withdrawal(withdrawal: Withdrawal) -> bytes:
    """Encode ``Withdrawal``, a dynamic struct."""
    fixed = (0, withdrawal.amount_a, withdrawal.amount_b)
    return encode_arguments(fixed, {0: encode_state(withdrawal.state)})


def authorisation_words(authorisation: DisputeAuthorisation) -> bytes:
    """Encode ``DisputeAuthorisation``, a static struct of four words."""
    return encode_words(
        authorisation.channel_id,
        authorisation.delegate,
        authorisation.min_nonce,
        authorisation.valid_until,
    )


def risk_params_words(params: RiskParams) -> bytes:
    """Encode ``RiskParams``, a static struct of fourteen words."""
    return encode_words(*attrs.astuple(params))


def scenario_words(scenario: ScenarioIndex) -> bytes:
    """Encode ``Scenario``, a static struct of three words."""
    return encode_words(scenario.node, scenario.number, scenario.outliving)


# ---- decoding


class Words:
    """Encoded words, read one after another, each checked against its type.

    Raises `channels.errors.EndpointError` for what is too short or out of its type's range.
    """

    def __init__(self, data: bytes, start: int = 0) -> None:
        self._data = data
        self._start = self._place = start

    def at(self, offset: int) -> Words:
        """Words ``offset`` bytes after the place at which these began."""
        if offset > len(self._data):
            _malformed("an offset beyond the end")
        return Words(self._data, self._start + offset)

    def word(self) -> bytes:
        """The next word as it is."""
        end = self._place + 32
        if end > len(self._data):
            _malformed("too few words")
        value = self._data[self._place : end]
        self._place = end
        return value

    def unsigned(self, bits: int = 256) -> int:
        """The next word as an unsigned integer of ``bits`` bits."""
        value = int.from_bytes(self.word(), "big")
        if value >> bits:
            _malformed(f"more than {bits} bits")
        return value

    def signed(self, bits: int) -> int:
        """The next word as a signed integer of ``bits`` bits."""
        value = int.from_bytes(self.word(), "big", signed=True)
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            _malformed(f"more than {bits} bits")
        return value

    def address(self) -> Address:
        """The next word as an address."""
        return Address(self.unsigned(160).to_bytes(20, "big"))

    def length(self, item_words: int) -> int:
        """The next word as the length of an array whose items, so many words each, follow."""
        value = self.unsigned()
        if value * item_words * 32 > len(self._data) - self._place:
            _malformed("an array longer than the data")
        return value


def _malformed(why: str) -> NoReturn:
    raise EndpointError(f"malformed contract data: {why}")


def read_terms(words: Words) -> Terms:
    """Read ``Terms``."""
    return Terms(
        party_a=words.address(),
        party_b=words.address(),
        signer_a=words.address(),
        signer_b=words.address(),
        collateral=words.address(),
        unit=words.unsigned(128),
        oracle=words.address(),
        dispute_window=words.unsigned(32),
        cure_window=words.unsigned(32),
        settlement_grace=words.unsigned(32),
        max_price_age=words.unsigned(32),
        max_mark_age=words.unsigned(32),
        max_tenor=words.unsigned(32),
        max_in_flight=words.unsigned(16),
        stale_penalty=words.unsigned(128),
        default_penalty_bps=words.unsigned(16),
        risk_hash=words.word(),
        salt=words.word(),
    )


def read_portfolio(words: Words) -> Portfolio:
    """Read ``Portfolio`` from where ``words`` begin.

    Raises:
        EndpointError: malformed.
        InvalidValueError: well formed, but breaks a portfolio's own rules (order, zero quantity).
    """
    net_to_b = words.signed(128)
    margin_a, margin_b, marked_at = words.unsigned(128), words.unsigned(128), words.unsigned(64)
    at_spots, at_positions = words.at(words.unsigned()), words.at(words.unsigned())
    spot_count, position_count = at_spots.length(2), at_positions.length(7)
    if max(spot_count, position_count) > MAX_POSITIONS:
        raise InvalidValueError(f"more than {MAX_POSITIONS} positions or spots")
    return Portfolio(
        net_to_b=net_to_b,
        margin_a=margin_a,
        margin_b=margin_b,
        marked_at=marked_at,
        spots=tuple(
            Spot(feed=at_spots.word(), price=at_spots.unsigned(128)) for _ in range(spot_count)
        ),
        positions=tuple(_read_position(at_positions) for _ in range(position_count)),
    )


def _read_position(words: Words) -> Position:
    return Position(
        feed=words.word(),
        kind=words.unsigned(8),
        expiry=words.unsigned(64),
        strike=words.unsigned(128),
        quantity=words.signed(128),
        vol=words.unsigned(128),
        carry=words.signed(128),
    )


def read_state(words: Words) -> State:
    """Read ``State`` from where ``words`` begin."""
    return State(
        channel_id=words.word(),
        nonce=words.unsigned(64),
        valid_until=words.unsigned(64),
        portfolio=read_portfolio(words.at(words.unsigned())),
    )
