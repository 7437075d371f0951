"""What the two parties agree at opening: domain, terms, margin parameters, and leave to dispute.

Every value is frozen, checked at construction, and knows its EIP-712 ``struct_hash``, as those of
`channels.protocol.types`. Fractions are WAD, amounts base units of the token, times seconds.

Source: design, adjudication.md "Types".
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import Final

import attrs

from channels.protocol.bounds import fixed_bytes, require, unsigned
from channels.protocol.eip712 import (
    Address,
    address_word,
    digest,
    domain_separator,
    keccak,
    type_hash,
    word,
)
from channels.protocol.proofs import SessionProof
from channels.protocol.types import Closing, Party, SealedState, State, Withdrawal
from channels.protocol.watching import (
    Appointment,
    Heartbeat,
    PortfolioKey,
    Receipt,
    TowerRequest,
)

__all__ = [
    "DisputeAuthorisation",
    "Domain",
    "Opening",
    "RiskParams",
    "Signed",
    "Terms",
    "channel_id",
    "hash_risk_params",
]


@attrs.frozen(kw_only=True, cache_hash=True)
class Domain:
    """The EIP-712 domain of one Adjudicator on one chain: what a signature is valid for."""

    chain_id: int
    adjudicator: Address

    def __attrs_post_init__(self) -> None:
        unsigned(256, chain_id=self.chain_id)
        fixed_bytes(20, adjudicator=self.adjudicator)

    @cached_property
    def separator(self) -> bytes:
        """Domain separator, 32 bytes."""
        return domain_separator("OptionChannels", "1", self.chain_id, self.adjudicator)

    def digest(self, value: Signed | SealedState) -> bytes:
        """Hash that a signer signs for ``value`` in this domain."""
        return digest(self.separator, value.struct_hash)


_TERMS_TYPE: Final = (
    "Terms(address partyA,address partyB,address signerA,address signerB,address collateral,"
    "uint128 unit,address oracle,uint32 disputeWindow,uint32 cureWindow,uint32 settlementGrace,"
    "uint32 maxPriceAge,uint32 maxMarkAge,uint32 maxTenor,uint16 maxInFlight,"
    "uint128 stalePenalty,uint16 defaultPenaltyBps,bytes32 riskHash,bytes32 salt)"
)
_TERMS_TYPE_HASH: Final = type_hash(_TERMS_TYPE)


@attrs.frozen(kw_only=True, cache_hash=True)
class Terms:
    """What both agreed once, at opening. Windows and ages in seconds, amounts in base units.

    ``unit`` is the collateral paid per 1.0 of price; a digital pays 1.0, that is ``unit``. The
    allowed ranges of the windows are those of the contract and checked before an Opening is signed
    (`channels.protocol.checks.check_terms`); this type only refuses what cannot be encoded.
    """

    party_a: Address
    party_b: Address
    signer_a: Address
    signer_b: Address
    collateral: Address
    unit: int
    oracle: Address
    dispute_window: int
    cure_window: int
    settlement_grace: int
    max_price_age: int
    max_mark_age: int
    max_tenor: int
    max_in_flight: int
    stale_penalty: int
    default_penalty_bps: int
    risk_hash: bytes
    salt: bytes

    def __attrs_post_init__(self) -> None:
        fixed_bytes(
            20,
            party_a=self.party_a,
            party_b=self.party_b,
            signer_a=self.signer_a,
            signer_b=self.signer_b,
            collateral=self.collateral,
            oracle=self.oracle,
        )
        unsigned(128, unit=self.unit, stale_penalty=self.stale_penalty)
        unsigned(
            32,
            dispute_window=self.dispute_window,
            cure_window=self.cure_window,
            settlement_grace=self.settlement_grace,
            max_price_age=self.max_price_age,
            max_mark_age=self.max_mark_age,
            max_tenor=self.max_tenor,
        )
        unsigned(16, max_in_flight=self.max_in_flight, default_penalty_bps=self.default_penalty_bps)
        fixed_bytes(32, risk_hash=self.risk_hash, salt=self.salt)

    def party(self, side: Party) -> Address:
        """Address that funds and is paid for ``side``."""
        return self.party_a if side is Party.A else self.party_b

    def signer(self, side: Party) -> Address:
        """Session key that signs states for ``side``."""
        return self.signer_a if side is Party.A else self.signer_b

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of these terms."""
        return keccak(
            b"".join(
                (
                    _TERMS_TYPE_HASH,
                    address_word(self.party_a),
                    address_word(self.party_b),
                    address_word(self.signer_a),
                    address_word(self.signer_b),
                    address_word(self.collateral),
                    word(self.unit),
                    address_word(self.oracle),
                    word(self.dispute_window),
                    word(self.cure_window),
                    word(self.settlement_grace),
                    word(self.max_price_age),
                    word(self.max_mark_age),
                    word(self.max_tenor),
                    word(self.max_in_flight),
                    word(self.stale_penalty),
                    word(self.default_penalty_bps),
                    self.risk_hash,
                    self.salt,
                )
            )
        )


@lru_cache(maxsize=4_096)
def channel_id(domain: Domain, terms: Terms) -> bytes:
    """Identifier of the channel that ``terms`` open: used once, ever.

    Hash of the chain id at deployment, the Adjudicator, both signers and the hash of the terms.
    """
    return keccak(
        word(domain.chain_id)
        + address_word(domain.adjudicator)
        + address_word(terms.signer_a)
        + address_word(terms.signer_b)
        + terms.struct_hash
    )


_RISK_TYPE_HASH: Final = type_hash(
    "RiskParams(bytes32 feed,uint64 priceRange,uint64 volUp,uint64 volDown,uint64 lookAhead,"
    "uint64 calendar,uint64 strike,uint64 carryBase,uint64 carrySlope,uint64 shortMinimum,"
    "uint64 imFactor,uint64 shiftBase,uint64 shiftPerRootHour,uint64 runOffFactor)"
)


@attrs.frozen(kw_only=True, cache_hash=True)
class RiskParams:
    """Margin parameters of one feed; fractions in WAD, times in seconds. Defaults are risk.md's."""

    feed: bytes
    price_range: int = 20 * 10**16
    vol_up: int = 45 * 10**16
    vol_down: int = 30 * 10**16
    look_ahead: int = 2 * 86_400
    calendar: int = 25 * 10**16
    strike: int = 10 * 10**16
    carry_base: int = 5 * 10**15
    carry_slope: int = 3 * 10**16
    short_minimum: int = 10**16
    im_factor: int = 125 * 10**16
    shift_base: int = 12 * 10**15
    shift_per_root_hour: int = 25 * 10**15
    run_off_factor: int = 2 * 10**18

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, feed=self.feed)
        unsigned(64, **dict(zip(_RISK_NUMBERS, self._numbers, strict=True)))

    @property
    def _numbers(self) -> tuple[int, ...]:
        return attrs.astuple(self)[1:]

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this feed's parameters."""
        return keccak(_RISK_TYPE_HASH + self.feed + b"".join(map(word, self._numbers)))


_RISK_NUMBERS: Final = tuple(field.name for field in attrs.fields(RiskParams))[1:]


def hash_risk_params(params: Iterable[RiskParams]) -> bytes:
    """The ``risk_hash`` of terms: EIP-712 hash of the parameters' array, sorted by feed.

    Raises:
        InvalidValueError: two sets of parameters for one feed, or none at all.
    """
    ordered = sorted(params, key=lambda each: each.feed)
    feeds = [each.feed for each in ordered]
    require(len(set(feeds)) == len(feeds) > 0, "one set of parameters a feed, at least one", feeds)
    return keccak(b"".join(each.struct_hash for each in ordered))


_OPENING_TYPE_HASH: Final = type_hash(
    "Opening(Terms terms,uint128 depositA,uint128 depositB,uint64 validUntil)", _TERMS_TYPE
)


@attrs.frozen(kw_only=True, cache_hash=True)
class Opening:
    """Both parties' word to lock their deposits under ``terms``, until ``valid_until``."""

    terms: Terms
    deposit_a: int
    deposit_b: int
    valid_until: int

    def __attrs_post_init__(self) -> None:
        unsigned(128, deposit_a=self.deposit_a, deposit_b=self.deposit_b)
        unsigned(64, valid_until=self.valid_until)

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this opening."""
        return keccak(
            _OPENING_TYPE_HASH
            + self.terms.struct_hash
            + word(self.deposit_a)
            + word(self.deposit_b)
            + word(self.valid_until)
        )


_AUTHORISATION_TYPE_HASH: Final = type_hash(
    "DisputeAuthorisation(bytes32 channelId,address delegate,uint64 minNonce,uint64 validUntil)"
)


@attrs.frozen(kw_only=True)
class DisputeAuthorisation:
    """A signer's leave for ``delegate`` to dispute in its name for a time."""

    channel_id: bytes
    delegate: Address
    min_nonce: int
    valid_until: int

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, channel_id=self.channel_id)
        fixed_bytes(20, delegate=self.delegate)
        unsigned(64, min_nonce=self.min_nonce, valid_until=self.valid_until)

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this authorisation."""
        return keccak(
            _AUTHORISATION_TYPE_HASH
            + self.channel_id
            + address_word(self.delegate)
            + word(self.min_nonce)
            + word(self.valid_until)
        )


Signed = (
    State
    | Opening
    | Withdrawal
    | Closing
    | DisputeAuthorisation
    | SessionProof
    | Appointment
    | TowerRequest
    | Receipt
    | Heartbeat
    | PortfolioKey
)
"""Every struct that a key of a channel, or of a tower, may sign."""
