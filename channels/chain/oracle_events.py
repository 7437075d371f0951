"""What oracles emit, from logs to values: who waits for a price need not poll for it.

Source: `contracts/src/interfaces/IAttestedOracle.sol`, ``IChainlinkOracle.sol``,
``IFallbackOracle.sol``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from channels.chain.abi import Words
from channels.chain.artifacts import load_artifact
from channels.chain.rpc import Log
from channels.errors import EndpointError
from channels.protocol.eip712 import Address

__all__ = [
    "AttesterDropped",
    "LastResortRecorded",
    "OracleEvent",
    "RoundVerified",
    "SettlementRecorded",
    "SettlementSubmitted",
    "SpotSubmitted",
    "decode_oracle_event",
]


@attrs.frozen(kw_only=True)
class SpotSubmitted:
    """Attesters' spots of one time: ``count`` count, ``price`` is their median (0: too few)."""

    feed: bytes
    observed_at: int
    count: int
    price: int


@attrs.frozen(kw_only=True)
class SettlementSubmitted:
    """Attesters' settlement prices: known from ``known_at`` on (0, as ``price``: too few)."""

    feed: bytes
    time: int
    count: int
    price: int
    known_at: int


@attrs.frozen(kw_only=True)
class AttesterDropped:
    """An attester signed two prices in one round, whose storage key this is; it counts no more."""

    round: bytes
    attester: Address


@attrs.frozen(kw_only=True)
class SettlementRecorded:
    """The settlement price is known, for ever. ``by_primary``: only a FallbackOracle tells."""

    feed: bytes
    time: int
    price: int
    by_primary: bool | None = None


@attrs.frozen(kw_only=True)
class RoundVerified:
    """The newest Chainlink round verified at or before ``time`` is now this one."""

    feed: bytes
    time: int
    round: int
    observed_at: int
    price: int


@attrs.frozen(kw_only=True)
class LastResortRecorded:
    """A last resort was recorded, ``price`` 0 = never; final from ``final_at`` on.

    ``observed_at``: None where the oracle does not tell, as a FallbackOracle.
    """

    feed: bytes
    time: int
    observed_at: int | None
    price: int
    final_at: int


OracleEvent = (
    SpotSubmitted
    | SettlementSubmitted
    | AttesterDropped
    | SettlementRecorded
    | RoundVerified
    | LastResortRecorded
)


def _time(log: Log) -> int:
    return Words(log.topics[2]).unsigned(64)


def _spot(log: Log, words: Words) -> OracleEvent:
    return SpotSubmitted(
        feed=log.topics[1],
        observed_at=_time(log),
        count=words.unsigned(),
        price=words.unsigned(128),
    )


def _submitted(log: Log, words: Words) -> OracleEvent:
    return SettlementSubmitted(
        feed=log.topics[1],
        time=_time(log),
        count=words.unsigned(),
        price=words.unsigned(128),
        known_at=words.unsigned(),
    )


def _dropped(log: Log, _: Words) -> OracleEvent:
    return AttesterDropped(round=log.topics[1], attester=Words(log.topics[2]).address())


def _recorded(log: Log, words: Words) -> OracleEvent:
    return SettlementRecorded(feed=log.topics[1], time=_time(log), price=words.unsigned(128))


def _recorded_by(log: Log, words: Words) -> OracleEvent:
    return SettlementRecorded(
        feed=log.topics[1],
        time=_time(log),
        price=words.unsigned(128),
        by_primary=bool(words.unsigned(1)),
    )


def _verified(log: Log, words: Words) -> OracleEvent:
    return RoundVerified(
        feed=log.topics[1],
        time=_time(log),
        round=words.unsigned(80),
        observed_at=words.unsigned(64),
        price=words.unsigned(128),
    )


def _last_resort(log: Log, words: Words) -> OracleEvent:
    return LastResortRecorded(
        feed=log.topics[1],
        time=_time(log),
        observed_at=words.unsigned(64),
        price=words.unsigned(128),
        final_at=words.unsigned(),
    )


def _last_resort_unobserved(log: Log, words: Words) -> OracleEvent:
    return LastResortRecorded(
        feed=log.topics[1],
        time=_time(log),
        observed_at=None,
        price=words.unsigned(128),
        final_at=words.unsigned(),
    )


_DECODERS: Final[dict[tuple[str, str], Callable[[Log, Words], OracleEvent]]] = {
    ("AttestedOracle", "SpotSubmitted"): _spot,
    ("AttestedOracle", "SettlementSubmitted"): _submitted,
    ("AttestedOracle", "AttesterDropped"): _dropped,
    ("AttestedOracle", "LastResortRecorded"): _last_resort,
    ("ChainlinkOracle", "SettlementRecorded"): _recorded,
    ("ChainlinkOracle", "RoundVerified"): _verified,
    ("ChainlinkOracle", "LastResortRecorded"): _last_resort,
    ("FallbackOracle", "SettlementRecorded"): _recorded_by,
    ("FallbackOracle", "LastResortRecorded"): _last_resort_unobserved,
}
_BY_TOPIC: Final = {
    load_artifact(contract).topic(event): decoder
    for (contract, event), decoder in _DECODERS.items()
}
_TOPICS: Final = 3


def decode_oracle_event(log: Log) -> OracleEvent | None:
    """Decode a log of any oracle of this package; None for another event.

    Raises:
        EndpointError: the log is not what an oracle would have emitted.
    """
    decoder = _BY_TOPIC.get(log.topics[0]) if log.topics else None
    if decoder is None:
        return None
    if len(log.topics) != _TOPICS:
        raise EndpointError(f"a log with {len(log.topics)} topics where {_TOPICS} belong")
    return decoder(log, Words(log.data))
