"""A channel as bytes: what the store keeps, and what the journal records.

Integer tags and a schema version, never module paths, so that a rename cannot lose a channel. What
the chain says (head, views) is not stored: after a start it is read again before a signature.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import attrs

from channels.errors import MessageError, SchemaVersionError, StorageError
from channels.protocol.channel import Channel, Contributed, Phase, Recovery, Timing, Track
from channels.protocol.codec import (
    ADDRESS,
    CHANGE,
    CLOSING,
    MARGIN_CALL,
    MAX_FRAME,
    MAX_TEXT,
    MESSAGES,
    OPENING,
    RISK,
    SIGNATURE,
    STATE,
    WITHDRAWAL,
    pack,
    unpack,
)
from channels.protocol.effects import Deed
from channels.protocol.halts import Cause, Halt, Mode
from channels.protocol.ledger import Entry, Full, Ledger
from channels.protocol.messages import MarginCall, Quote
from channels.protocol.schema import (
    BOOLEAN,
    I128,
    U32,
    U64,
    U256,
    Kind,
    blob,
    enum,
    fixed,
    many,
    optional,
    remembered,
    struct,
    text,
    union,
)
from channels.protocol.terms import Domain
from channels.protocol.types import MAX_POSITIONS, Closing, Party, State, Withdrawal
from channels.units import WAD

__all__ = [
    "JOURNAL_VERSION",
    "RECORD_VERSION",
    "Stands",
    "decode_channel",
    "decode_journal_deposit",
    "decode_journal_entry",
    "decode_journal_stands",
    "encode_channel",
    "encode_journal_entry",
]

RECORD_VERSION: Final = 5
"""Of a channel's record. 1 had one mode and its reason in place of halts, and no margin calls; up
to 2 a quote did not say in what parts it may be taken; up to 3 there was no recovery; up to 4 not
what the journal knows of deposits."""
JOURNAL_VERSION: Final = 3
"""Of a journal entry's body. 1 did not say which halts and margin calls stood after the deed; up to
2 it told of no deposits."""

_VALUE: Final = union({0: (State, STATE), 1: (Closing, CLOSING), 2: (Withdrawal, WITHDRAWAL)})
_ENTRY: Final = remembered(
    struct(
        Entry,
        _VALUE,
        optional(SIGNATURE),
        optional(SIGNATURE),
        optional(CHANGE),
        optional(fixed(16)),
        U64,
        BOOLEAN,
    )
)
_FULL: Final = remembered(struct(Full, STATE, optional(SIGNATURE), optional(SIGNATURE)))
_LEDGER: Final = struct(Ledger, enum(Party), _FULL, many(_ENTRY, 256), U64)
_DOMAIN: Final = struct(Domain, U256, ADDRESS)
_TIMING: Final = struct(Timing, U32, U32, U32, U32)
_RECOVERY: Final = struct(Recovery, BOOLEAN, U64, BOOLEAN, BOOLEAN, U64, U64, U32, U64)
_CONTRIBUTED: Final = struct(Contributed, I128, I128)
_TRACK: Final = struct(Track, OPENING, optional(blob(4_096)), optional(blob(4_096)))
_MESSAGE: Final = union(MESSAGES)

_AGREED_KINDS: Final[dict[str, Kind]] = {
    "domain": _DOMAIN,
    "side": enum(Party),
    "risk": many(RISK, MAX_POSITIONS),
    "track": _TRACK,
    "timing": _TIMING,
}
"""What never changes once the channel is open: encoded once, and kept."""

_HALTS: Final = many(struct(Halt, enum(Cause), enum(Mode), text(MAX_TEXT)), len(Cause))

_MOVING_KINDS: Final[dict[str, Kind]] = {
    "phase": enum(Phase),
    "ledger": _LEDGER,
    "halts": _HALTS,
    "peer_ready": BOOLEAN,
    "dispute_sent": BOOLEAN,
    "disputed_at": U64,
    "outbox": many(_MESSAGE, 256),
    "call_made": optional(MARGIN_CALL),
    "call_received": optional(MARGIN_CALL),
    "recovery": _RECOVERY,
    "contributed": optional(_CONTRIBUTED),
}
_NOT_STORED: Final = {"head", "view", "final_view", "now"}


@attrs.frozen(kw_only=True)
class Stands:
    """Halts and margin calls of a channel: by name as `Channel` has them."""

    halts: tuple[Halt, ...]
    call_made: MarginCall | None
    call_received: MarginCall | None


_STANDS: Final = struct(Stands, _HALTS, optional(MARGIN_CALL), optional(MARGIN_CALL))
_TELLS_WHAT_STANDS: Final = frozenset({Deed.MODE, Deed.MARGIN_CALL})

if {field.name for field in attrs.fields(Channel)} != {
    *_AGREED_KINDS,
    *_MOVING_KINDS,
    *_NOT_STORED,
}:
    raise TypeError("every field of Channel is either stored, or read from chain and clock")


@lru_cache(maxsize=4_096)
def _encode_agreed(*values: object) -> bytes:
    kinds = _AGREED_KINDS.values()
    return pack([kind.encode(value) for kind, value in zip(kinds, values, strict=True)])


def encode_channel(channel: Channel) -> bytes:
    """Bytes of a channel for the store."""
    agreed = _encode_agreed(*[getattr(channel, name) for name in _AGREED_KINDS])
    moving = [kind.encode(getattr(channel, name)) for name, kind in _MOVING_KINDS.items()]
    return pack([RECORD_VERSION, agreed, *moving])


def decode_channel(record: bytes) -> Channel:
    """A channel from the store; nothing of the chain is known of it yet.

    Raises:
        SchemaVersionError: written by another version.
        StorageError: the record is damaged.
    """
    version, fields = _open_record(record, range(1, RECORD_VERSION + 1))
    try:
        if version == 1:
            fields = _from_version_1(fields)
        if version <= 2:
            fields = _from_version_2(fields)
        if version <= 3:
            fields = _from_version_3(fields)
        if version <= 4:
            fields = [*fields, None]
        agreed, *moving = fields
        return Channel(
            **_decode_fields(_AGREED_KINDS, unpack(blob(MAX_FRAME).decode(agreed))),
            **_decode_fields(_MOVING_KINDS, moving),
        )
    except (MessageError, ValueError, TypeError, IndexError) as error:
        raise StorageError(f"damaged channel record: {error}") from error


def _from_version_1(fields: list[Any]) -> list[Any]:
    """Fields of a version 1 record as version 2 has them.

    Who set its mode it does not say; an operator's word is the one that no rule lifts.
    """
    agreed, phase, ledger, mode, reason, ready, sent, disputed_at, outbox = fields
    halts = [] if mode == Mode.NORMAL else [[int(Cause.OPERATOR), mode, reason]]
    return [agreed, phase, ledger, halts, ready, sent, disputed_at, outbox, None, None]


def _from_version_2(fields: list[Any]) -> list[Any]:
    """Fields of a version 2 record as version 3 has them: its quotes are all or none."""
    place = list(_MOVING_KINDS).index("outbox") + 1
    quote_tag = next(tag for tag, (cls, _) in MESSAGES.items() if cls is Quote)
    outbox = [
        [*each, WAD] if isinstance(each, list) and each[:1] == [quote_tag] else each
        for each in fields[place]
    ]
    return [*fields[:place], outbox, *fields[place + 1 :]]


def _from_version_3(fields: list[Any]) -> list[Any]:
    """Fields of a version 3 record as version 4 has them.

    Nobody is recovering, or a channel that was has nobody asked yet; the time for it is the usual.
    """
    agreed, phase, *moving = fields
    *before, timing = unpack(blob(MAX_FRAME).decode(agreed))
    recovery = Recovery(leads=phase == Phase.RECOVERING)
    timed = pack([*before, [*timing, Timing().recovery_time]])
    return [timed, phase, *moving, _RECOVERY.encode(recovery)]


def _decode_fields(kinds: dict[str, Kind], items: list[Any]) -> dict[str, Any]:
    return {
        name: kind.decode(item) for (name, kind), item in zip(kinds.items(), items, strict=True)
    }


def encode_journal_entry(
    deed: Deed,
    entries: tuple[Entry, ...],
    channel: Channel,
    *,
    paid_in: Contributed | None = None,
) -> bytes:
    """Body of a journal entry: the deed, the phase after it, and all that was signed.

    For a mode or a margin call also what stands after it, for a deposit how much.
    """
    items = [_ENTRY.encode(entry) for entry in entries]
    stands = _STANDS.encode(channel) if deed in _TELLS_WHAT_STANDS else None
    paid = optional(_CONTRIBUTED).encode(paid_in)
    return pack([JOURNAL_VERSION, int(deed), int(channel.phase), items, stands, paid])


def decode_journal_entry(body: bytes) -> tuple[Deed, Phase, tuple[Entry, ...]]:
    """Read back what `encode_journal_entry` wrote.

    Raises:
        SchemaVersionError: written by another version.
        StorageError: the entry is damaged.
    """
    deed, phase, entries, _, _ = _read_journal_entry(body)
    return deed, phase, entries


def decode_journal_stands(body: bytes) -> Stands | None:
    """Read what stood after a deed that set a mode, or made or ended a margin call; else None.

    Raises:
        SchemaVersionError, StorageError: as `decode_journal_entry`.
    """
    return _read_journal_entry(body)[3]


def decode_journal_deposit(body: bytes) -> Contributed | None:
    """Read what a `Deed.DEPOSITED` brought in, base units of each party; else None.

    Raises:
        SchemaVersionError, StorageError: as `decode_journal_entry`.
    """
    return _read_journal_entry(body)[4]


def _read_journal_entry(
    body: bytes,
) -> tuple[Deed, Phase, tuple[Entry, ...], Stands | None, Contributed | None]:
    version, fields = _open_record(body, range(1, JOURNAL_VERSION + 1))
    try:
        later: list[Any] = [None] * (JOURNAL_VERSION - version)
        deed, phase, items, stands, paid = [*fields, *later]
        return (
            Deed(deed),
            Phase(phase),
            many(_ENTRY, 256).decode(items),
            optional(_STANDS).decode(stands),
            optional(_CONTRIBUTED).decode(paid),
        )
    except (MessageError, ValueError) as error:
        raise StorageError(f"damaged journal entry: {error}") from error


def _open_record(record: bytes, versions: range) -> tuple[int, list[Any]]:
    try:
        item = unpack(record)
    except MessageError as error:
        raise StorageError(f"damaged record: {error}") from error
    if not isinstance(item, list) or not item:
        raise StorageError("damaged record: not an array")
    version, *fields = item
    if type(version) is not int or version not in versions:
        raise SchemaVersionError(f"a record of version {version!r}, known are up to {versions[-1]}")
    return version, fields
