"""A channel as bytes: what the store keeps, and what the journal records.

Integer tags and a schema version, never module paths, so that a rename cannot lose a channel. What
the chain says (head, views) is not stored: after a start it is read again before a signature.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from channels.errors import MessageError, SchemaVersionError, StorageError
from channels.protocol.channel import Channel, Contributed, Phase, Recovery, Timing, Track
from channels.protocol.codec import (
    ADDRESS,
    MARGIN_CALL,
    MAX_FRAME,
    MAX_TEXT,
    MESSAGES,
    OPENING,
    RISK,
    pack,
    unpack,
)
from channels.protocol.effects import Deed
from channels.protocol.halts import Cause, Halt, Mode
from channels.protocol.ledger import Entry
from channels.protocol.ledger_records import (
    ENTRIES,
    ENTRIES_IN_FULL,
    LEDGER,
    LEDGER_IN_FULL,
    PORTFOLIOS,
    carried_by,
    check_carried,
    place_portfolios,
)
from channels.protocol.messages import MarginCall, Quote
from channels.protocol.schema import (
    BOOLEAN,
    I128,
    U32,
    U64,
    U256,
    Kind,
    array_header,
    blob,
    enum,
    many,
    optional,
    remembered_fields,
    struct,
    text,
    union,
)
from channels.protocol.terms import Domain
from channels.protocol.types import MAX_POSITIONS, Party
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

RECORD_VERSION: Final = 6
"""Of a channel's record. 1 had one mode and its reason in place of halts, and no margin calls; up
to 2 a quote did not say in what parts it may be taken; up to 3 there was no recovery; up to 4 not
what the journal knows of deposits; up to 5 every state had its portfolio in it."""
JOURNAL_VERSION: Final = 4
"""Of a journal entry's body. 1 did not say which halts and margin calls stood after the deed; up to
2 it told of no deposits; up to 3 every state had its portfolio in it."""

_DOMAIN: Final = struct(Domain, U256, ADDRESS)
_TIMING: Final = struct(Timing, U32, U32, U32, U32)
_RECOVERY: Final = struct(Recovery, BOOLEAN, U64, BOOLEAN, BOOLEAN, U64, U64, U32, U64)
_CONTRIBUTED: Final = struct(Contributed, I128, I128)
_TRACK: Final = struct(Track, OPENING, optional(blob(4_096)), optional(blob(4_096)))
_OUTBOX: Final = many(union(MESSAGES), 256)

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
    "ledger": LEDGER,
    "outbox": _OUTBOX,
}
_RESTING_KINDS: Final[dict[str, Kind]] = {
    "halts": _HALTS,
    "peer_ready": BOOLEAN,
    "dispute_sent": BOOLEAN,
    "disputed_at": U64,
    "call_made": optional(MARGIN_CALL),
    "call_received": optional(MARGIN_CALL),
    "recovery": _RECOVERY,
    "contributed": optional(_CONTRIBUTED),
}
"""What changes, but not as a rule while states are signed: encoded when it does."""

_ORDER_TO_VERSION_5: Final = (
    *("phase", "ledger", "halts", "peer_ready", "dispute_sent", "disputed_at", "outbox"),
    *("call_made", "call_received", "recovery", "contributed"),
)
_NOT_STORED: Final = {"head", "view", "final_view", "now"}


@attrs.frozen(kw_only=True)
class Stands:
    """Halts and margin calls of a channel: by name as `Channel` has them."""

    halts: tuple[Halt, ...]
    call_made: MarginCall | None
    call_received: MarginCall | None


_STANDS: Final = optional(struct(Stands, _HALTS, optional(MARGIN_CALL), optional(MARGIN_CALL)))
_PAID_IN: Final = optional(_CONTRIBUTED)
_JOURNAL_HEADER: Final = array_header(7) + pack(JOURNAL_VERSION)
_TELLS_WHAT_STANDS: Final = frozenset({Deed.MODE, Deed.MARGIN_CALL})

if {field.name for field in attrs.fields(Channel)} != {
    *_AGREED_KINDS,
    *_MOVING_KINDS,
    *_RESTING_KINDS,
    *_NOT_STORED,
}:
    raise TypeError("every field of Channel is either stored, or read from chain and clock")


_KINDS: Final = {**_AGREED_KINDS, **_MOVING_KINDS, **_RESTING_KINDS}
_HEADER: Final = array_header(2 + len(_KINDS)) + pack(RECORD_VERSION)
_pack_agreed: Final = remembered_fields(_AGREED_KINDS)
_pack_resting: Final = remembered_fields(_RESTING_KINDS)


def encode_channel(channel: Channel) -> bytes:
    """Bytes of a channel for the store."""
    return b"".join(
        (
            _HEADER,
            PORTFOLIOS.pack(carried_by(channel.ledger.full, *channel.ledger.entries)),
            _pack_agreed(channel),
            pack(channel.phase),
            LEDGER.pack(channel.ledger),
            _OUTBOX.pack(channel.outbox),
            _pack_resting(channel),
        )
    )


def decode_channel(record: bytes) -> Channel:
    """A channel from the store; nothing of the chain is known of it yet.

    Raises:
        SchemaVersionError: written by another version.
        StorageError: the record is damaged.
    """
    version, fields = _open_record(record, range(1, RECORD_VERSION + 1))
    try:
        if version <= 5:
            return _decode_to_version_5(version, fields)
        portfolios, *others = fields
        carried = PORTFOLIOS.decode(portfolios)
        _, full, entries, _ = others[[*_KINDS].index("ledger")]
        place_portfolios(carried, entries, full[0])
        channel = Channel(**_decode_fields(_KINDS, others))
        check_carried(carried, channel.ledger.full, *channel.ledger.entries)
    except (MessageError, ValueError, TypeError, IndexError) as error:
        raise StorageError(f"damaged channel record: {error}") from error
    return channel


def _decode_to_version_5(version: int, fields: list[Any]) -> Channel:
    """What was agreed stood in a blob then, and each state had its portfolio in it."""
    if version == 1:
        fields = _from_version_1(fields)
    if version <= 2:
        fields = _from_version_2(fields)
    if version <= 3:
        fields = _from_version_3(fields)
    if version <= 4:
        fields = [*fields, None]
    agreed, *moving = fields
    kinds = {**_KINDS, "ledger": LEDGER_IN_FULL}
    return Channel(
        **_decode_fields(_AGREED_KINDS, unpack(blob(MAX_FRAME).decode(agreed))),
        **_decode_fields({name: kinds[name] for name in _ORDER_TO_VERSION_5}, moving),
    )


def _from_version_1(fields: list[Any]) -> list[Any]:
    """Fields of a version 1 record as version 2 has them.

    Who set its mode it does not say; an operator's word is the one that no rule lifts.
    """
    agreed, phase, ledger, mode, reason, ready, sent, disputed_at, outbox = fields
    halts = [] if mode == Mode.NORMAL else [[int(Cause.OPERATOR), mode, reason]]
    return [agreed, phase, ledger, halts, ready, sent, disputed_at, outbox, None, None]


def _from_version_2(fields: list[Any]) -> list[Any]:
    """Fields of a version 2 record as version 3 has them: its quotes are all or none."""
    place = _ORDER_TO_VERSION_5.index("outbox") + 1
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
    return b"".join(
        (
            _JOURNAL_HEADER,
            pack(deed),
            pack(channel.phase),
            PORTFOLIOS.pack(carried_by(*entries)),
            ENTRIES.pack(entries),
            _STANDS.pack(channel if deed in _TELLS_WHAT_STANDS else None),
            _PAID_IN.pack(paid_in),
        )
    )


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
        if version <= 3:
            later: list[Any] = [None] * (3 - version)
            deed, phase, items, stands, paid = [*fields, *later]
            entries = ENTRIES_IN_FULL.decode(items)
        else:
            deed, phase, portfolios, items, stands, paid = fields
            carried = PORTFOLIOS.decode(portfolios)
            place_portfolios(carried, items)
            entries = ENTRIES.decode(items)
            check_carried(carried, *entries)
        return Deed(deed), Phase(phase), entries, _STANDS.decode(stands), _PAID_IN.decode(paid)
    except (MessageError, ValueError, TypeError, IndexError) as error:
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
