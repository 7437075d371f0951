"""Wire kinds: how each field of a value becomes a msgpack item and is checked on the way back.

A value's schema is one tuple of kinds, in the order of its attrs fields. Integers of up to 64 bits
travel as msgpack integers, wider ones as big-endian bytes of fixed width, so that each value has
exactly one encoding. Decoding trusts nothing: every length, range and count is checked before the
value is built, and a wrong one is the sender's fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

import attrs

from channels.errors import InvalidValueError, MalformedMessageError

__all__ = [
    "BOOLEAN",
    "I128",
    "U8",
    "U16",
    "U32",
    "U64",
    "U128",
    "U256",
    "Kind",
    "blob",
    "enum",
    "fixed",
    "many",
    "optional",
    "remembered",
    "shared",
    "struct",
    "text",
    "union",
]

Item = Any
"""What msgpack packs: None, bool, int, bytes, str, or a list of these."""


@attrs.frozen
class Kind:
    """One wire kind: ``encode`` makes an item of a value, ``decode`` checks and reads one back."""

    encode: Callable[[Any], Item]
    decode: Callable[[Item], Any]


def _malformed(expected: str, item: Item) -> MalformedMessageError:
    shown = repr(item)
    return MalformedMessageError(
        f"expected {expected}, received {shown if len(shown) <= 40 else shown[:37] + '...'}"
    )


def _identity(value: Any) -> Item:
    return value


def _small_unsigned(bits: int) -> Kind:
    limit = 1 << bits

    def decode(item: Item) -> int:
        if type(item) is not int or not 0 <= item < limit:
            raise _malformed(f"an unsigned {bits}-bit integer", item)
        return item

    return Kind(_identity, decode)


def _wide(bits: int, *, signed: bool) -> Kind:
    width = bits // 8

    def encode(value: int) -> bytes:
        return value.to_bytes(width, "big", signed=signed)

    def decode(item: Item) -> int:
        if type(item) is not bytes or len(item) != width:
            raise _malformed(f"{width} bytes of integer", item)
        return int.from_bytes(item, "big", signed=signed)

    return Kind(encode, decode)


U8: Final = _small_unsigned(8)
U16: Final = _small_unsigned(16)
U32: Final = _small_unsigned(32)
U64: Final = _small_unsigned(64)
U128: Final = _wide(128, signed=False)
U256: Final = _wide(256, signed=False)
I128: Final = _wide(128, signed=True)


def _decode_boolean(item: Item) -> bool:
    if type(item) is not bool:
        raise _malformed("true or false", item)
    return item


BOOLEAN: Final = Kind(_identity, _decode_boolean)


def fixed(width: int) -> Kind:
    """Exactly ``width`` bytes."""

    def decode(item: Item) -> bytes:
        if type(item) is not bytes or len(item) != width:
            raise _malformed(f"{width} bytes", item)
        return item

    return Kind(_identity, decode)


def blob(most: int) -> Kind:
    """Up to ``most`` bytes."""

    def decode(item: Item) -> bytes:
        if type(item) is not bytes or len(item) > most:
            raise _malformed(f"at most {most} bytes", item)
        return item

    return Kind(_identity, decode)


def text(most: int) -> Kind:
    """Up to ``most`` characters."""

    def decode(item: Item) -> str:
        if type(item) is not str or len(item) > most:
            raise _malformed(f"text of at most {most} characters", item)
        return item

    return Kind(lambda value: value[:most], decode)


def enum(cls: Callable[[int], Any]) -> Kind:
    """A member of an integer enumeration."""

    def decode(item: Item) -> Any:
        if type(item) is not int:
            raise _malformed("an integer", item)
        try:
            return cls(item)
        except ValueError:
            raise _malformed(f"a known {getattr(cls, '__name__', 'value')}", item) from None

    return Kind(int, decode)


def optional(kind: Kind) -> Kind:
    """Nil, or what ``kind`` says."""
    return Kind(
        lambda value: None if value is None else kind.encode(value),
        lambda item: None if item is None else kind.decode(item),
    )


def many(kind: Kind, most: int, *, least: int = 0) -> Kind:
    """An array of ``least`` to ``most`` items of one kind; a tuple here."""
    encode_one, decode_one = kind.encode, kind.decode

    def decode(item: Item) -> tuple[Any, ...]:
        if type(item) is not list or not least <= len(item) <= most:
            raise _malformed(f"an array of {least} to {most} items", item)
        return tuple([decode_one(each) for each in item])

    return Kind(lambda values: [encode_one(value) for value in values], decode)


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """All the named attributes of a value, as a tuple however many there are."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def struct(cls: type, *kinds: Kind) -> Kind:
    """An array that holds the fields of an attrs class, in their order."""
    names = [field.name for field in attrs.fields(cls)]
    if len(names) != len(kinds):
        raise TypeError(f"{cls.__name__} has {len(names)} fields and {len(kinds)} kinds")
    values_of = _getter(names)
    encoders = [
        (place, kind.encode) for place, kind in enumerate(kinds) if kind.encode is not _identity
    ]
    decoders = [(name, kind.decode) for name, kind in zip(names, kinds, strict=True)]
    count = len(names)

    def encode(value: Any) -> Item:
        items = [*values_of(value)]
        for place, encode_one in encoders:
            items[place] = encode_one(items[place])
        return items

    def decode(item: Item) -> Any:
        if type(item) is not list or len(item) != count:
            raise _malformed(f"{cls.__name__} with {count} fields", item)
        try:
            fields = {
                name: decoder(each) for (name, decoder), each in zip(decoders, item, strict=True)
            }
            return cls(**fields)
        except InvalidValueError as error:
            raise MalformedMessageError(f"{cls.__name__}: {error}") from error

    return Kind(encode, decode)


def remembered(kind: Kind, most: int = 512) -> Kind:
    """The same kind, for values that are encoded again and again: the newest items are kept.

    Known by identity: a frozen value is handed on as it is, and to compare it takes as long as to
    encode it.
    """
    encode_one = kind.encode
    known: dict[int, tuple[Any, Item]] = {}  # holds each value, so that its id stays its own

    def encode(value: Any) -> Item:
        found = known.get(id(value))
        if found is not None:
            return found[1]
        item = encode_one(value)
        known[id(value)] = value, item
        if len(known) > most:
            del known[next(iter(known))]
        return item

    return Kind(encode, kind.decode)


def shared(kind: Kind, most: int = 8_192) -> Kind:
    """`remembered`; and what was decoded before is that same object, which knows its hash by then.

    For flat values: an item with an array in it is not kept.
    """

    @lru_cache(maxsize=most, typed=True)  # typed: True is no 1 on the wire
    def decode_fields(*fields: Item) -> Any:
        return kind.decode([*fields])

    def decode(item: Item) -> Any:
        if type(item) is not list:
            return kind.decode(item)
        try:
            return decode_fields(*item)
        except TypeError:  # it has an array in it, and no hash
            return kind.decode(item)

    return remembered(Kind(kind.encode, decode), most)


def union(members: Mapping[int, tuple[type, Kind]]) -> Kind:
    """One of several structs, told apart by an integer tag in front."""
    tags = {cls: (tag, kind) for tag, (cls, kind) in members.items()}

    def encode(value: Any) -> Item:
        tag, kind = tags[type(value)]
        return [tag, *kind.encode(value)]

    def decode(item: Item) -> Any:
        if type(item) is not list or not item or type(item[0]) is not int:
            raise _malformed("an array that begins with a tag", item)
        if item[0] not in members:
            raise _malformed(f"one of the tags {sorted(members)}", item[0])
        return members[item[0]][1].decode(item[1:])

    return Kind(encode, decode)
