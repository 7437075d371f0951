"""Kinds that keep what they have encoded or decoded: nothing on the wire tells them from others."""

from __future__ import annotations

import attrs
import pytest

from channels.errors import MalformedMessageError
from channels.pricing import Kind as OptionKind
from channels.protocol.codec import POSITION
from channels.protocol.schema import U8, U64, Kind, fixed, remembered, shared, struct
from channels.protocol.types import Position
from tests.protocol.build import ETH, EXPIRY, STRIKE, WAD


@attrs.frozen(kw_only=True)
class Pair:
    name: bytes
    number: int


def pair(number: int) -> Pair:
    return Pair(name=b"ab", number=number)


PLAIN = struct(Pair, fixed(2), U64)


def counted(kind: Kind, seen: list[object]) -> Kind:
    """``kind``, writing down every value it really encodes."""

    def encode(value: object) -> object:
        seen.append(value)
        return kind.encode(value)

    return Kind(encode, kind.decode)


def test_remembered_encodes_a_value_once_and_an_equal_one_alike() -> None:
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
