"""Messages to frames and back.

A frame's payload is one canonical msgpack array: an integer tag, the protocol version, then the
fields. Anything else is the peer's error, with a name of its own.
"""

from __future__ import annotations

from typing import Any, Final

import msgpack

from channels.errors import (
    MalformedMessageError,
    NonCanonicalError,
    UnknownMessageError,
    UnsupportedVersionError,
)
from channels.pricing import Kind as OptionKind
from channels.protocol import messages as m
from channels.protocol.changes import MAX_LEGS, Remark, Settlement, Trade, TradeLeg
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
    pack,
    prefixed,
    remembered,
    shared,
    struct,
    text,
    union,
)
from channels.protocol.signing import Signature
from channels.protocol.terms import Opening, RiskParams, Terms
from channels.protocol.types import (
    MAX_POSITIONS,
    Closing,
    Party,
    Portfolio,
    Position,
    Spot,
    State,
    Withdrawal,
)

__all__ = [
    "ADDRESS",
    "CHANGE",
    "CLOSING",
    "HASH",
    "MARGIN_CALL",
    "MAX_FRAME",
    "MAX_TEXT",
    "MESSAGES",
    "OPENING",
    "PORTFOLIO",
    "PROTOCOL_VERSION",
    "RISK",
    "SIGNATURE",
    "STATE",
    "TERMS",
    "WITHDRAWAL",
    "decode",
    "encode",
    "pack",
    "unpack",
]

PROTOCOL_VERSION: Final = 1
MAX_FRAME: Final = 65_536
"""Most bytes in one frame's payload."""

HASH: Final = fixed(32)
ADDRESS: Final = fixed(20)
_COMPACT: Final = fixed(64)
SIGNATURE: Final = Kind(
    lambda value: pack(value.compact),
    lambda item: Signature(_COMPACT.decode(item)),
    packed="pack({0}.compact)",
)
OPTION_KIND: Final = enum(OptionKind)
REASON: Final = enum(m.Reason)
MAX_TEXT: Final = 400
"""Most characters of any text in a message or a record."""
TEXT: Final = text(MAX_TEXT)

POSITION: Final = shared(struct(Position, HASH, U8, U64, U128, I128, U128, I128))
SPOT: Final = struct(Spot, HASH, U128)
PORTFOLIO: Final = remembered(
    struct(
        Portfolio, I128, U128, U128, U64, many(SPOT, MAX_POSITIONS), many(POSITION, MAX_POSITIONS)
    )
)
TERMS: Final = struct(
    Terms,
    *[ADDRESS] * 5,
    U128,
    ADDRESS,
    *[U32] * 6,
    U16,
    U128,
    U16,
    HASH,
    HASH,
)
OPENING: Final = struct(Opening, TERMS, U128, U128, U64)
RISK: Final = struct(RiskParams, HASH, *[U64] * 13)
CLOSING: Final = struct(Closing, HASH, U64, U64, I128)
STATE: Final = struct(State, HASH, U64, U64, PORTFOLIO)
WITHDRAWAL: Final = struct(Withdrawal, STATE, U128, U128)
TRADE_LEG: Final = struct(TradeLeg, HASH, OPTION_KIND, U64, U128, I128, U128)
CHANGE: Final = remembered(
    union(
        {
            0: (Remark, struct(Remark)),
            1: (Trade, struct(Trade, HASH, I128, many(TRADE_LEG, MAX_LEGS, least=1))),
            2: (Settlement, struct(Settlement, HASH, U64, U128)),
        }
    )
)
LEG: Final = struct(m.Leg, HASH, OPTION_KIND, U64, U128, I128)
SERIES_REPORT: Final = struct(m.SeriesReport, HASH, OPTION_KIND, U64, U128, U128, U128, I128)
MARGIN_CALL: Final = struct(m.MarginCall, HASH, U64, U128, U64)
DISPUTED_POSITION: Final = struct(m.DisputedPosition, HASH, OPTION_KIND, U64, U128, I128, I128)
HALF_SIGNED: Final = struct(m.HalfSigned, U64, U64, CHANGE, PORTFOLIO, SIGNATURE)

MESSAGES: Final[dict[int, tuple[type[Any], Kind]]] = {
    1: (m.Hello, struct(m.Hello, ADDRESS, U256, ADDRESS, text(64), HASH, SIGNATURE)),
    2: (m.Reestablish, struct(m.Reestablish, HASH, U64, U64, HASH, optional(SIGNATURE))),
    3: (m.Ping, struct(m.Ping, U64)),
    4: (m.Pong, struct(m.Pong, U64)),
    5: (m.Error, struct(m.Error, HASH, REASON, TEXT)),
    6: (m.Challenge, struct(m.Challenge, HASH)),
    10: (
        m.OpenRequest,
        struct(m.OpenRequest, enum(Party), OPENING, many(RISK, MAX_POSITIONS, least=1)),
    ),
    11: (m.OpenAccept, struct(m.OpenAccept, HASH, blob(4_096))),
    12: (m.Opened, struct(m.Opened, HASH)),
    13: (m.OpenReject, struct(m.OpenReject, HASH, REASON, TEXT)),
    20: (m.Propose, remembered(struct(m.Propose, HASH, HALF_SIGNED))),
    21: (m.Accept, remembered(struct(m.Accept, HASH, U64, SIGNATURE, U64, optional(SIGNATURE)))),
    22: (m.Confirm, remembered(struct(m.Confirm, HASH, U64, SIGNATURE))),
    23: (m.Reject, struct(m.Reject, HASH, U64, REASON, TEXT, U64, optional(SIGNATURE))),
    24: (m.Void, struct(m.Void, HASH, U64, SIGNATURE)),
    25: (m.Cancel, struct(m.Cancel, HASH, U64)),
    30: (
        m.RequestForQuote,
        struct(
            *(m.RequestForQuote, HASH, fixed(16), many(LEG, MAX_LEGS, least=1), U32),
            optional(enum(m.Side)),
        ),
    ),
    31: (
        m.Quote,
        remembered(struct(m.Quote, HASH, fixed(16), U64, many(HALF_SIGNED, 2, least=1), U64)),
    ),
    32: (m.QuoteReject, struct(m.QuoteReject, HASH, fixed(16), REASON, TEXT)),
    40: (m.CloseRequest, struct(m.CloseRequest, HASH, CLOSING, SIGNATURE)),
    41: (m.WithdrawRequest, struct(m.WithdrawRequest, HASH, WITHDRAWAL, SIGNATURE)),
    50: (
        m.MarkReport,
        struct(
            *(m.MarkReport, HASH, BOOLEAN, U64),
            many(SPOT, MAX_POSITIONS, least=1),
            many(SERIES_REPORT, MAX_POSITIONS, least=1),
        ),
    ),
    51: (m.MarginCall, MARGIN_CALL),
    52: (
        m.DisputeNotice,
        struct(m.DisputeNotice, HASH, U64, many(DISPUTED_POSITION, MAX_POSITIONS, least=1)),
    ),
    60: (m.RecoverRequest, struct(m.RecoverRequest, HASH, BOOLEAN)),
    61: (
        m.RecoverOffer,
        struct(
            *(m.RecoverOffer, HASH, U64, U64, PORTFOLIO, optional(SIGNATURE), optional(SIGNATURE)),
            U64,
            many(RISK, MAX_POSITIONS),
        ),
    ),
    62: (m.Recover, struct(m.Recover, HASH, U64, U64, HASH, SIGNATURE)),
    63: (m.RecoverAccept, struct(m.RecoverAccept, HASH, U64, SIGNATURE)),
}
_FRONTS: Final = {
    cls: (pack(tag) + pack(PROTOCOL_VERSION), kind.pack) for tag, (cls, kind) in MESSAGES.items()
}
"""By class: what stands before the fields, packed, and what packs the fields."""


def unpack(data: bytes) -> Any:
    """Read one canonical msgpack item that fills ``data``.

    Raises:
        MalformedMessageError: not msgpack, or more than one item.
        NonCanonicalError: another encoding of the same item is the canonical one.
    """
    try:
        item = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            use_list=True,
            max_map_len=0,
            max_ext_len=0,
            max_array_len=256,
        )
        canonical = pack(item)
    except RecursionError as error:
        raise MalformedMessageError("nested too deeply") from error
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise MalformedMessageError(f"not msgpack: {type(error).__name__}") from error
    if canonical != data:
        raise NonCanonicalError("not the canonical msgpack encoding")
    return item


def encode(message: m.Message) -> bytes:
    """Frame payload of a message."""
    front, pack_fields = _FRONTS[type(message)]
    return prefixed(front, 2, pack_fields(message))


def decode(payload: bytes) -> m.Message:
    """Read a frame's payload.

    Raises:
        UnknownMessageError: a tag that is not one of ours.
        UnsupportedVersionError: a version other than `PROTOCOL_VERSION`.
        MalformedMessageError: fields missing, superfluous, mistyped or out of range.
        NonCanonicalError: the same message has another, canonical encoding.
    """
    item = unpack(payload)
    if type(item) is not list or len(item) < 2 or type(item[0]) is not int:
        raise MalformedMessageError("a message is an array of a tag, a version and fields")
    tag, version, *fields = item
    if tag not in MESSAGES:
        raise UnknownMessageError(f"message tag {tag}")
    if type(version) is not int or version != PROTOCOL_VERSION:
        raise UnsupportedVersionError(f"protocol version {version!r}, expected {PROTOCOL_VERSION}")
    return MESSAGES[tag][1].decode(fields)  # type: ignore[no-any-return]
