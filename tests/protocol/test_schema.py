"""Kinds as bytes: what they pack is what msgpack does, kept or new, written out or called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.errors import InvalidValueError, MalformedMessageError
from channels.pricing import Kind as OptionKind
from channels.protocol.codec import HASH, PORTFOLIO, POSITION, SIGNATURE, SPOT
from channels.protocol.schema import (
    BOOLEAN,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    U256,
    Kind,
    blob,
    enum,
    fixed,
    many,
    optional,
    prefixed,
    remembered,
    remembered_fields,
    shared,
    struct,
    text,
    union,
)
from channels.protocol.signing import Signature
from channels.protocol.types import Portfolio, Position, Spot
from tests.protocol.build import ETH, EXPIRY, STRIKE, WAD


@attrs.frozen(kw_only=True)
class Pair:
    name: bytes
    number: int


def pair(number: int) -> Pair:
    return Pair(name=b"ab", number=number)


PLAIN = struct(Pair, fixed(2), U64)


def counted(kind: Kind, seen: list[object]) -> Kind:
    """``kind``, writing down every value it really packs."""

    def pack_seen(value: object) -> bytes:
        seen.append(value)
        return kind.pack(value)

    return Kind(pack_seen, kind.decode)


def test_remembered_packs_a_value_once_and_an_equal_one_alike() -> None:
    seen: list[object] = []
    kind, value, twin = remembered(counted(PLAIN, seen)), pair(7), pair(7)
    assert kind.encode(value) == kind.encode(value) == [b"ab", 7]
    assert kind.encode(twin) == [b"ab", 7]
    assert seen == [value, twin]


def test_remembered_forgets_the_oldest_and_never_mixes_values_up() -> None:
    seen: list[object] = []
    kind, values = remembered(counted(PLAIN, seen), most=2), [pair(number) for number in range(4)]
    for _ in range(2):
        assert [kind.encode(each) for each in values] == [[b"ab", number] for number in range(4)]
    assert len(seen) == 8
    # Values that die make room for others of the same id.
    assert [kind.encode(pair(number))[1] for number in range(100)] == [*range(100)]


def test_shared_gives_the_same_object_again() -> None:
    kind = shared(PLAIN)
    first = kind.decode([b"ab", 7])
    assert kind.decode([b"ab", 7]) is first
    assert first == pair(7)
    assert kind.decode([b"ab", 8]) == pair(8)


def test_what_equals_a_known_item_but_is_typed_otherwise_is_malformed() -> None:
    kind = shared(PLAIN)
    assert kind.decode([b"ab", 1]) == pair(1)
    for impostor in (True, 1.0, OptionKind.PUT):
        with pytest.raises(MalformedMessageError, match="unsigned 64-bit integer"):
            kind.decode([b"ab", impostor])


@pytest.mark.parametrize("item", [[b"ab", [1]], [[], []], [b"ab"], [b"ab", 1, 1], b"ab", "ab", 1])
def test_shared_refuses_what_the_plain_kind_refuses(item: object) -> None:
    for kind in (PLAIN, shared(PLAIN)):
        with pytest.raises(MalformedMessageError):
            kind.decode(item)


def test_bytes_are_no_array_of_their_numbers() -> None:
    @attrs.frozen(kw_only=True)
    class Two:
        first: int
        second: int

    with pytest.raises(MalformedMessageError, match="Two with 2 fields"):
        shared(struct(Two, U8, U8)).decode(b"\x01\x02")


def test_a_position_comes_back_as_the_object_that_was_decoded_before() -> None:
    position = Position(
        feed=ETH, kind=1, expiry=EXPIRY, strike=STRIKE, quantity=-WAD, vol=WAD // 2, carry=-1
    )
    decoded = POSITION.decode(POSITION.encode(position))
    assert decoded == position
    assert POSITION.decode([*POSITION.encode(position)]) is decoded


unsigned128 = st.integers(0, 2**128 - 1)
signed128 = st.integers(-(2**127), 2**127 - 1)
feeds = st.binary(min_size=32, max_size=32)
positions = st.builds(
    Position,
    feed=feeds,
    kind=st.integers(0, 4),
    expiry=st.integers(0, 2**64 - 1),
    strike=unsigned128,
    quantity=signed128.filter(bool),
    vol=unsigned128,
    carry=signed128,
)


@st.composite
def portfolios(draw: st.DrawFn) -> Portfolio:
    """Of up to 20: beyond 15, msgpack writes an array's length another way."""
    held = draw(st.lists(positions, max_size=20, unique_by=lambda each: each.series))
    marked = draw(st.dictionaries(feeds, unsigned128, max_size=20))
    return Portfolio(
        net_to_b=draw(signed128),
        margin_a=draw(unsigned128),
        margin_b=draw(unsigned128),
        marked_at=draw(st.integers(0, 2**64 - 1)),
        spots=tuple(Spot(feed=feed, price=marked[feed]) for feed in sorted(marked)),
        positions=tuple(sorted(held, key=lambda each: each.series)),
    )


def as_items(portfolio: Portfolio) -> list[Any]:
    """A portfolio as the protocol's document has it: wide integers big-endian, 16 bytes."""

    def wide(value: int) -> bytes:
        return value.to_bytes(16, "big", signed=value < 0)

    return [
        wide(portfolio.net_to_b),
        wide(portfolio.margin_a),
        wide(portfolio.margin_b),
        portfolio.marked_at,
        [[spot.feed, wide(spot.price)] for spot in portfolio.spots],
        [
            [at.feed, at.kind, at.expiry, *map(wide, (at.strike, at.quantity, at.vol, at.carry))]
            for at in portfolio.positions
        ],
    ]


ANEW = struct(
    *(Portfolio, I128, U128, U128, U64, many(struct(Spot, HASH, U128), 128)),
    many(struct(Position, HASH, U8, U64, U128, I128, U128, I128), 128),
)
"""A portfolio of which nothing is kept."""


@settings(max_examples=200, deadline=None, derandomize=True)
@given(portfolios())
def test_a_portfolio_kept_and_packed_anew_are_the_same_bytes(portfolio: Portfolio) -> None:
    expected = msgpack.packb(as_items(portfolio))
    assert PORTFOLIO.pack(portfolio) == PORTFOLIO.pack(portfolio) == expected
    assert ANEW.pack(portfolio) == expected
    twin = PORTFOLIO.decode(msgpack.unpackb(expected))
    assert twin == portfolio
    assert PORTFOLIO.pack(twin) == expected
    assert PORTFOLIO.encode(portfolio) == as_items(portfolio)


SIMPLE: dict[str, tuple[Kind, list[Any]]] = {
    "U8": (U8, [0, 255]),
    "U16": (U16, [0, 65_535]),
    "U32": (U32, [0, 2**32 - 1]),
    "U64": (U64, [0, 2**64 - 1]),
    "U128": (U128, [0, 2**128 - 1]),
    "U256": (U256, [0, 2**256 - 1]),
    "I128": (I128, [-(2**127), -1, 0, 2**127 - 1]),
    "BOOLEAN": (BOOLEAN, [True, False]),
    "fixed": (fixed(2), [b"ab"]),
    "blob": (blob(3), [b"", b"abc"]),
    "text": (text(3), ["", "abc"]),
    "enum": (enum(OptionKind), [*OptionKind]),
    "many": (many(U8, 20, least=1), [(1,), tuple(range(20))]),
    "signature": (SIGNATURE, [Signature(bytes(range(64)))]),
    "struct": (SPOT, [Spot(feed=ETH, price=1)]),
    "union": (union({7: (Spot, SPOT)}), [Spot(feed=ETH, price=2**128 - 1)]),
}
"""Kinds with values at the ends of what they hold."""

WRONG: list[Any] = [
    *(None, True, -1, 256, 2**16, 2**32, 2**63, 1.0, "", "abcd", b"", b"abc", b"abcd", bytes(16)),
    *(bytes(17), bytes(32), bytes(64), [], [0], [256], [7], [7, ETH], [8, ETH, bytes(16)], 99, {}),
]


@attrs.frozen
class One:
    """A struct of one field, whatever it is."""

    field: Any


def outcome(decode: Callable[[Any], Any], item: Any) -> tuple[bool, Any]:
    """Whether an item is read; what it reads as, or why it does not."""
    try:
        return True, decode(item)
    except MalformedMessageError as error:
        return False, str(error)


@pytest.mark.parametrize("nullable", [False, True])
@pytest.mark.parametrize("name", SIMPLE)
def test_what_a_struct_has_written_out_does_what_the_kind_does(name: str, nullable: bool) -> None:
    kind, values = SIMPLE[name]
    if nullable:
        kind, values = optional(kind), [*values, None]
    written = struct(One, kind)
    for value in values:
        packed = kind.pack(value)
        assert msgpack.packb(msgpack.unpackb(packed)) == packed
        assert written.pack(One(value)) == b"\x91" + packed
        assert kind.decode(msgpack.unpackb(packed)) == value
        assert written.decode([msgpack.unpackb(packed)]) == One(value)
    refused = 0
    for item in WRONG:
        read, expected = outcome(kind.decode, item)
        assert outcome(written.decode, [item]) == (read, One(expected) if read else expected)
        refused += not read
    assert refused >= len(WRONG) // 2


def test_a_value_that_its_class_refuses_is_malformed() -> None:
    @attrs.frozen
    class Even:
        number: int

        def __attrs_post_init__(self) -> None:
            if self.number % 2:
                raise InvalidValueError("not even")

    kind = struct(Even, U8)
    assert kind.decode([2]) == Even(2)
    with pytest.raises(MalformedMessageError, match="Even: not even"):
        kind.decode([3])


def test_fields_are_packed_anew_when_one_of_them_is_another() -> None:
    seen: list[object] = []
    pack_pair = remembered_fields({"name": fixed(2), "number": counted(U64, seen)})
    first = pair(2**40)
    for value in (first, attrs.evolve(first), attrs.evolve(first, number=5), first):
        assert pack_pair(value) == msgpack.packb(value.name) + msgpack.packb(value.number)
    assert seen == [2**40, 5]


def test_an_array_with_more_in_front() -> None:
    for length in range(14):
        array = msgpack.packb([*range(length)])
        assert prefixed(b"\x07\x01", 2, array) == msgpack.packb([7, 1, *range(length)])
    with pytest.raises(IndexError):
        prefixed(b"\x07\x01", 2, msgpack.packb([*range(14)]))
