"""Wire kinds: how each field of a value becomes msgpack bytes and is checked on the way back.

A value's schema is one tuple of kinds, in the order of its attrs fields. Integers of up to 64 bits
travel as msgpack integers, wider ones as big-endian bytes of fixed width, so that each value has
exactly one encoding. Decoding trusts nothing: every length, range and count is checked before the
value is built, and a wrong one is the sender's fault.

Packing joins bytes, so that what was packed before is not packed again: a message's portfolio is
that of the record and of the journal too. And one change has hundreds of fields, where to call a
function costs more than what it does: `struct` writes its functions as Python text, as attrs does,
and what a simple field takes is part of that text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import attrgetter, call
from typing import Any, Final

import attrs
import msgpack

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
    "array_header",
    "blob",
    "enum",
    "fixed",
    "many",
    "optional",
    "pack",
    "prefixed",
    "remembered",
    "remembered_fields",
    "shared",
    "struct",
    "text",
    "union",
    "versioned",
]

Item = Any
"""What msgpack packs: None, bool, int, bytes, str, or a list of these."""


_packer: Final = msgpack.Packer(use_bin_type=True, autoreset=True)

pack: Final[Callable[[Item], bytes]] = _packer.pack
"""Canonical msgpack of an item."""

array_header: Final[Callable[[int], bytes]] = _packer.pack_array_header
"""What stands before the items of an array of so many."""

_NIL: Final = pack(None)
_SMALL_ARRAYS: Final = [array_header(count) for count in range(16)]
"""Headers of the arrays whose header is one byte."""


def versioned(version: int, packed: bytes) -> bytes:
    """An array of a version and of what is packed already."""
    return _SMALL_ARRAYS[2] + pack(version) + packed


_CALL: Final = "{1}({0})"
_PLAIN: Final = "pack({0})"


@attrs.frozen
class Kind:
    """One wire kind: ``pack`` makes bytes of a value, ``decode`` checks an item and reads it.

    ``packed`` and ``read`` do the same as Python text, for `struct`: expressions of the field,
    which is ``{0}``; ``{1}`` is the function itself, to be called where it must say what is wrong.
    """

    pack: Callable[[Any], bytes]
    decode: Callable[[Item], Any]
    packed: str = _CALL
    read: str = _CALL

    def encode(self, value: Any) -> Item:
        """The item that is packed, for what is put among other items by hand."""
        return msgpack.unpackb(self.pack(value))


def _malformed(expected: str, item: Item) -> MalformedMessageError:
    shown = repr(item)
    return MalformedMessageError(
        f"expected {expected}, received {shown if len(shown) <= 40 else shown[:37] + '...'}"
    )


def _small_unsigned(bits: int) -> Kind:
    limit = 1 << bits

    def decode(item: Item) -> int:
        if type(item) is not int or not 0 <= item < limit:
            raise _malformed(f"an unsigned {bits}-bit integer", item)
        return item

    read = f"{{0}} if type({{0}}) is int and 0 <= {{0}} < {limit} else {_CALL}"
    return Kind(pack, decode, packed=_PLAIN, read=read)


def _wide(bits: int, *, signed: bool) -> Kind:
    width = bits // 8
    header = pack(bytes(width))[:-width]

    def pack_wide(value: int) -> bytes:
        return header + value.to_bytes(width, "big", signed=signed)

    def decode(item: Item) -> int:
        if type(item) is not bytes or len(item) != width:
            raise _malformed(f"{width} bytes of integer", item)
        return int.from_bytes(item, "big", signed=signed)

    return Kind(
        pack_wide,
        decode,
        packed=f"{header!r} + {{0}}.to_bytes({width}, 'big', signed={signed})",
        read=f"int.from_bytes({{0}}, 'big', signed={signed})"
        f" if type({{0}}) is bytes and len({{0}}) == {width} else {_CALL}",
    )


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


BOOLEAN: Final = Kind(pack, _decode_boolean)


def fixed(width: int) -> Kind:
    """Exactly ``width`` bytes."""

    def decode(item: Item) -> bytes:
        if type(item) is not bytes or len(item) != width:
            raise _malformed(f"{width} bytes", item)
        return item

    read = f"{{0}} if type({{0}}) is bytes and len({{0}}) == {width} else {_CALL}"
    return Kind(pack, decode, packed=_PLAIN, read=read)


def blob(most: int) -> Kind:
    """Up to ``most`` bytes."""

    def decode(item: Item) -> bytes:
        if type(item) is not bytes or len(item) > most:
            raise _malformed(f"at most {most} bytes", item)
        return item

    return Kind(pack, decode)


def text(most: int) -> Kind:
    """Up to ``most`` characters."""

    def decode(item: Item) -> str:
        if type(item) is not str or len(item) > most:
            raise _malformed(f"text of at most {most} characters", item)
        return item

    return Kind(lambda value: pack(value[:most]), decode)


def enum(cls: Callable[[int], Any]) -> Kind:
    """A member of an integer enumeration."""

    def decode(item: Item) -> Any:
        if type(item) is not int:
            raise _malformed("an integer", item)
        try:
            return cls(item)
        except ValueError:
            raise _malformed(f"a known {getattr(cls, '__name__', 'value')}", item) from None

    return Kind(pack, decode)


def optional(kind: Kind) -> Kind:
    """Nil, or what ``kind`` says."""
    pack_one, decode_one = kind.pack, kind.decode
    return Kind(
        lambda value: _NIL if value is None else pack_one(value),
        lambda item: None if item is None else decode_one(item),
        packed=f"{_NIL!r} if {{0}} is None else {kind.packed}",
        read=f"None if {{0}} is None else {kind.read}",
    )


def many(kind: Kind, most: int, *, least: int = 0) -> Kind:
    """An array of ``least`` to ``most`` items of one kind; a tuple here."""
    pack_one, decode_one = kind.pack, kind.decode

    def pack_all(values: tuple[Any, ...]) -> bytes:
        return array_header(len(values)) + b"".join(map(pack_one, values))

    def decode(item: Item) -> tuple[Any, ...]:
        if type(item) is not list or not least <= len(item) <= most:
            raise _malformed(f"an array of {least} to {most} items", item)
        return tuple(map(decode_one, item))

    return Kind(pack_all, decode)


_STRUCT: Final = """
def pack_fields(value):
    return join(({header!r}, {packed}))

def decode(item):
    if type(item) is not list or len(item) != {count}:
        raise malformed("{name} with {count} fields", item)
    try:
        [{items}] = item
        return cls({read})
    except InvalidValueError as error:
        raise MalformedMessageError(f"{name}: {{error}}") from error
"""


def struct(cls: type, *kinds: Kind) -> Kind:
    """An array that holds the fields of an attrs class, in their order."""
    names = [field.name for field in attrs.fields(cls)]
    if len(names) != len(kinds):
        raise TypeError(f"{cls.__name__} has {len(names)} fields and {len(kinds)} kinds")
    fields = [*enumerate(zip(names, kinds, strict=True))]
    text = _STRUCT.format(
        name=cls.__name__,
        count=len(names),
        header=array_header(len(names)),
        packed=" ".join(
            f"{kind.packed.format(f'value.{name}', f'pack_{at}')}," for at, (name, kind) in fields
        ),
        items=", ".join(f"item_{at}" for at, _ in fields),
        read=", ".join(
            f"{name}={kind.read.format(f'item_{at}', f'read_{at}')}" for at, (name, kind) in fields
        ),
    )
    made: dict[str, Any] = {
        "cls": cls,
        "pack": pack,
        "join": b"".join,
        "malformed": _malformed,
        "InvalidValueError": InvalidValueError,
        "MalformedMessageError": MalformedMessageError,
        **{f"pack_{at}": kind.pack for at, (_, kind) in fields},
        **{f"read_{at}": kind.decode for at, (_, kind) in fields},
    }
    code = compile(text, f"<struct {cls.__name__}>", "exec")
    exec(code, made)  # noqa: S102  # of names and kinds of this package alone
    return Kind(made["pack_fields"], made["decode"])


def _kept(
    pack_new: Callable[[Any], bytes], key_of: Callable[[Any], object], most: int
) -> Callable[[Any], bytes]:
    """``pack_new``, keeping the bytes of up to ``most`` values.

    With ``most`` of them all are forgotten: to pack those in use once more costs less than to look
    for the oldest whenever a new one comes.
    """
    known: dict[object, tuple[Any, bytes]] = {}  # holds each value, so that its id stays its own

    def pack_once(value: Any) -> bytes:
        key = key_of(value)
        found = known.get(key)
        if found is not None:
            return found[1]
        packed = pack_new(value)
        if len(known) >= most:
            known.clear()
        known[key] = value, packed
        return packed

    return pack_once


def remembered(kind: Kind, most: int = 512) -> Kind:
    """The same kind, for values that are packed again and again: their bytes are kept.

    Known by identity: a frozen value is handed on as it is, and to compare it takes as long as to
    pack it.
    """
    return Kind(_kept(kind.pack, id, most), kind.decode)


def remembered_fields(kinds: Mapping[str, Kind], most: int = 4_096) -> Callable[[Any], bytes]:
    """Pack these attributes of a value one after another; their bytes are kept while none changes.

    For what seldom changes in a value that itself is made anew all the time.
    """
    packers = [kind.pack for kind in kinds.values()]
    pack_once = _kept(
        lambda values: b"".join(map(call, packers, values)),
        lambda values: tuple(map(id, values)),
        most,
    )
    values_of = attrgetter(*kinds)
    return lambda value: pack_once(values_of(value))


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

    return remembered(Kind(kind.pack, decode), most)


def prefixed(items: bytes, count: int, array: bytes) -> bytes:
    """A packed ``array`` with ``count`` packed ``items`` more in front, of 15 together at most."""
    return _SMALL_ARRAYS[array[0] - _SMALL_ARRAYS[0][0] + count] + items + array[1:]


def union(members: Mapping[int, tuple[type, Kind]]) -> Kind:
    """One of several structs, told apart by an integer tag in front."""
    tags = {cls: (pack(tag), kind.pack) for tag, (cls, kind) in members.items()}

    def pack_tagged(value: Any) -> bytes:
        tag, pack_fields = tags[type(value)]
        return prefixed(tag, 1, pack_fields(value))

    def decode(item: Item) -> Any:
        if type(item) is not list or not item or type(item[0]) is not int:
            raise _malformed("an array that begins with a tag", item)
        if item[0] not in members:
            raise _malformed(f"one of the tags {sorted(members)}", item[0])
        return members[item[0]][1].decode(item[1:])

    return Kind(pack_tagged, decode)
