"""Attestations as JSON: what an attester's endpoint answers, and what a source reads of it.

========================================  ==========================================================
``GET /v1/spot/{feed}?before=TIME``       ``{"attestations": [...]}``: newest first, at or before
``GET /v1/settlement/{feed}/{time}``      ``{"attestations": [...]}``: one, or none yet
========================================  ==========================================================

An attestation is ``{"kind": "spot" | "settlement", "feed": "ETH-USD", "time": 1800000000,
"price": "3000000000000000000000", "signature": "0x…"}``: price WAD in decimal digits, because a
JSON number may lose some; signature EIP-2098 compact, 64 bytes. A feed is named in ASCII, or as
``0x`` and 64 digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from channels.chain.attestations import Attestation, SettlementPrice, SpotPrice
from channels.errors import InvalidValueError
from channels.protocol.signing import Signature
from channels.protocol.types import feed_id, feed_name

__all__ = ["MOST_SPOTS", "attestations_json", "read_attestations", "read_feed"]

MOST_SPOTS: Final = 32
"""Spots in one answer."""

_KINDS: Final[Mapping[str, type[SpotPrice] | type[SettlementPrice]]] = {
    "spot": SpotPrice,
    "settlement": SettlementPrice,
}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}


def read_feed(text: str) -> bytes:
    """Id of the feed of this name.

    Raises:
        InvalidValueError: no name of a feed.
    """
    if text.startswith("0x") and len(text) == 66:
        try:
            return bytes.fromhex(text[2:])
        except ValueError:
            raise InvalidValueError(f"{text!r} is no feed: not hexadecimal") from None
    return feed_id(text)


def attestations_json(attestations: Iterable[Attestation]) -> dict[str, Any]:
    """The answer with these attestations."""
    return {
        "attestations": [
            {
                "kind": _NAMES[type(each.price)],
                "feed": feed_name(each.price.feed),
                "time": each.price.time,
                "price": str(each.price.price),
                "signature": "0x" + each.signature.compact.hex(),
            }
            for each in attestations
        ]
    }


def read_attestations(document: Any) -> tuple[Attestation, ...]:
    """The attestations of an answer; signatures are not checked here.

    Raises:
        InvalidValueError: the document is no such answer.
    """
    try:
        return tuple(_attestation(each) for each in document["attestations"][:MOST_SPOTS])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidValueError(f"no list of attestations: {error!r}") from error


def _attestation(raw: Mapping[str, Any]) -> Attestation:
    time, price = raw["time"], raw["price"]
    if not isinstance(time, int) or not isinstance(price, str) or not price.isdecimal():
        raise InvalidValueError(f"time {time!r} and price {price!r}")
    return Attestation(
        price=_KINDS[raw["kind"]](feed=read_feed(raw["feed"]), time=time, price=int(price)),
        signature=Signature(bytes.fromhex(raw["signature"].removeprefix("0x"))),
    )
