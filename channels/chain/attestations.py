"""Signed prices for an AttestedOracle: made by attesters, submitted by whoever needs them.

Two EIP-712 types in the oracle's own domain, so that a spot never passes for a settlement price.

Source: design, adjudication.md "Oracles"; `contracts/src/interfaces/IAttestedOracle.sol`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import attrs

from channels.chain.abi import encode_arguments, selector
from channels.chain.jobs import Intent
from channels.errors import InvalidValueError
from channels.protocol.eip712 import Address, digest, domain_separator, keccak, type_hash, word
from channels.protocol.signing import LocalSigner, Signature

__all__ = [
    "Attestation",
    "Attester",
    "OracleDomain",
    "SettlementPrice",
    "SpotPrice",
    "submission",
]

_SPOT_TYPE_HASH: Final = type_hash("Spot(bytes32 feed,uint64 observedAt,uint128 price)")
_SETTLEMENT_TYPE_HASH: Final = type_hash("Settlement(bytes32 feed,uint64 at,uint128 price)")
_SUBMIT_SPOT: Final = selector("submitSpot(bytes32,uint64,uint128[],Signature[])")
_SUBMIT_SETTLEMENT: Final = selector("submitSettlement(bytes32,uint64,uint128[],Signature[])")


@attrs.frozen(kw_only=True)
class _Price:
    feed: bytes
    time: int
    price: int

    def __attrs_post_init__(self) -> None:
        if len(self.feed) != 32 or not 0 <= self.time < 1 << 64 or not 0 < self.price < 1 << 128:
            raise InvalidValueError(f"{self!r} is no price that can be attested")


@attrs.frozen(kw_only=True)
class SpotPrice(_Price):
    """The price of ``feed``, WAD, as observed at ``time``."""

    @property
    def struct_hash(self) -> bytes:
        """EIP-712 hash."""
        return keccak(_SPOT_TYPE_HASH + self.feed + word(self.time) + word(self.price))


@attrs.frozen(kw_only=True)
class SettlementPrice(_Price):
    """The 30-minute time-weighted average price of ``feed``, WAD, into the full hour ``time``."""

    @property
    def struct_hash(self) -> bytes:
        """EIP-712 hash."""
        return keccak(_SETTLEMENT_TYPE_HASH + self.feed + word(self.time) + word(self.price))


@attrs.frozen(kw_only=True)
class OracleDomain:
    """The EIP-712 domain of one AttestedOracle on one chain."""

    chain_id: int
    oracle: Address

    @cached_property
    def separator(self) -> bytes:
        """Domain separator, 32 bytes."""
        return domain_separator("AttestedOracle", "1", self.chain_id, self.oracle)


@attrs.frozen(kw_only=True)
class Attestation:
    """A price and one attester's signature on it."""

    price: SpotPrice | SettlementPrice
    signature: Signature


class Attester:
    """A key whose word on prices an oracle takes."""

    def __init__(self, secret: bytes, domain: OracleDomain) -> None:
        """Take the 32-byte private key and the domain to sign in."""
        self._signer = LocalSigner(secret)
        self.domain = domain

    @property
    def address(self) -> Address:
        """The attester's address."""
        return self._signer.address

    def attest(self, price: SpotPrice | SettlementPrice) -> Attestation:
        """Sign a price. An attester that signs two for one time is dropped from that round."""
        signed = self._signer.sign_digest(digest(self.domain.separator, price.struct_hash))
        return Attestation(price=price, signature=signed)


def submission(oracle: Address, attestations: Sequence[Attestation]) -> Intent:
    """The transaction that brings attestations of one feed, kind and time to the oracle.

    Raises:
        InvalidValueError: none, or of different feeds, kinds or times.
    """
    kinds = {(type(each.price), each.price.feed, each.price.time) for each in attestations}
    if len(kinds) != 1:
        raise InvalidValueError("a submission is of one feed, one kind and one time")
    [(kind, feed, time)] = kinds
    count = word(len(attestations))
    prices = count + b"".join(word(each.price.price) for each in attestations)
    signatures = count + b"".join(each.signature.compact for each in attestations)
    body = encode_arguments((feed, time, 0, 0), {2: prices, 3: signatures})
    if kind is SpotPrice:
        return Intent(name="submitSpot", to=oracle, data=_SUBMIT_SPOT + body)
    return Intent(name="submitSettlement", to=oracle, data=_SUBMIT_SETTLEMENT + body)
