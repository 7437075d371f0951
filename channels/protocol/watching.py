"""What a watchtower and its customer sign: appointments, requests, receipts and heartbeats.

They are EIP-712 structs of the Adjudicator's domain, so that whatever holds a channel's key can
sign them, and so that a receipt that was broken can one day be shown to a contract.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from functools import cached_property
from typing import Final

import attrs

from channels.protocol.bounds import fixed_bytes, unsigned
from channels.protocol.eip712 import Address, address_word, keccak, type_hash, word

__all__ = [
    "Appointment",
    "Duties",
    "Heartbeat",
    "PortfolioKey",
    "Receipt",
    "TowerRequest",
    "TowerVerb",
]


class Duties(IntFlag):
    """What a tower shall do besides refuting stale disputes, which it always does."""

    REFUTE = 0
    """Put the newest state on chain when an older one is filed."""
    CHECKPOINT_BOXED = 1
    """Put a boxed state on chain whose affirmation is overdue."""
    SETTLE = 2
    """Bring prices and settle after the window and at each expiry. Needs the portfolio in clear."""
    MARGIN = 4
    """Call margin on the counterparty and close it out. Needs the portfolio in clear."""
    DISPUTE = 8
    """File a dispute at the customer's word. Needs a DisputeAuthorisation."""


_APPOINTMENT_TYPE_HASH: Final = type_hash(
    "Appointment(bytes32 channelId,uint64 nonce,uint64 validUntil,bytes32 portfolioHash,"
    "uint8 duties,uint128 gasBudget,uint64 sequence,bytes32 contentHash)"
)


@attrs.frozen(kw_only=True)
class Appointment:
    """A customer's word that a tower shall defend a channel with this state.

    ``gas_budget`` is the most to spend on the channel, wei. ``sequence`` is the customer's own
    count, by which the newer of two appointments is known. ``content_hash`` commits to all that is
    handed over beside it: terms, margin parameters, both signatures, portfolio, authorisation.
    """

    channel_id: bytes
    nonce: int
    valid_until: int
    portfolio_hash: bytes
    duties: int
    gas_budget: int
    sequence: int
    content_hash: bytes

    def __attrs_post_init__(self) -> None:
        fixed_bytes(
            32,
            channel_id=self.channel_id,
            portfolio_hash=self.portfolio_hash,
            content_hash=self.content_hash,
        )
        unsigned(64, nonce=self.nonce, valid_until=self.valid_until, sequence=self.sequence)
        unsigned(8, duties=self.duties)
        unsigned(128, gas_budget=self.gas_budget)

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this appointment."""
        return keccak(
            b"".join(
                (
                    _APPOINTMENT_TYPE_HASH,
                    self.channel_id,
                    word(self.nonce),
                    word(self.valid_until),
                    self.portfolio_hash,
                    word(self.duties),
                    word(self.gas_budget),
                    word(self.sequence),
                    self.content_hash,
                )
            )
        )


_RECEIPT_TYPE_HASH: Final = type_hash(
    "Receipt(bytes32 appointmentHash,bytes32 channelId,uint64 nonce,uint64 validFrom,"
    "uint64 validTo,uint64 acceptedAt,uint32 longestResponse,uint64 sequence)"
)


@attrs.frozen(kw_only=True)
class Receipt:
    """A tower's word, given after its own durable commit, that it defends a channel.

    From ``valid_from`` to ``valid_to`` (chain time) the channel shall not be finalised below
    ``nonce``; the tower's answer is broadcast within ``longest_response`` seconds of the head that
    shows the need. ``accepted_at`` is the block it was accepted at; ``sequence`` the tower's count.
    """

    appointment_hash: bytes
    channel_id: bytes
    nonce: int
    valid_from: int
    valid_to: int
    accepted_at: int
    longest_response: int
    sequence: int

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, appointment_hash=self.appointment_hash, channel_id=self.channel_id)
        unsigned(
            64,
            nonce=self.nonce,
            valid_from=self.valid_from,
            valid_to=self.valid_to,
            accepted_at=self.accepted_at,
            sequence=self.sequence,
        )
        unsigned(32, longest_response=self.longest_response)

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this receipt."""
        return keccak(
            b"".join(
                (
                    _RECEIPT_TYPE_HASH,
                    self.appointment_hash,
                    self.channel_id,
                    word(self.nonce),
                    word(self.valid_from),
                    word(self.valid_to),
                    word(self.accepted_at),
                    word(self.longest_response),
                    word(self.sequence),
                )
            )
        )


_HEARTBEAT_TYPE_HASH: Final = type_hash(
    "Heartbeat(uint64 headNumber,bytes32 headHash,uint64 headTime,uint64 finalNumber,"
    "uint64 disputeCount,bytes32 storeRoot,uint64 channels,uint128 gasReserve,uint64 sequence)"
)


@attrs.frozen(kw_only=True)
class Heartbeat:
    """A tower's word that it is alive: what it sees of the chain, and what it holds.

    ``store_root`` is the Merkle root over all channels it watches, ``channels`` how many they are;
    ``gas_reserve`` the balance of its gas key, wei.
    """

    head_number: int
    head_hash: bytes
    head_time: int
    final_number: int
    dispute_count: int
    store_root: bytes
    channels: int
    gas_reserve: int
    sequence: int

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, head_hash=self.head_hash, store_root=self.store_root)
        unsigned(
            64,
            head_number=self.head_number,
            head_time=self.head_time,
            final_number=self.final_number,
            dispute_count=self.dispute_count,
            channels=self.channels,
            sequence=self.sequence,
        )
        unsigned(128, gas_reserve=self.gas_reserve)

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this heartbeat."""
        return keccak(
            b"".join(
                (
                    _HEARTBEAT_TYPE_HASH,
                    word(self.head_number),
                    self.head_hash,
                    word(self.head_time),
                    word(self.final_number),
                    word(self.dispute_count),
                    self.store_root,
                    word(self.channels),
                    word(self.gas_reserve),
                    word(self.sequence),
                )
            )
        )


class TowerVerb(IntEnum):
    """What a customer asks of a tower about its channel, besides watching it."""

    READ = 0
    """Give back the newest state held, with the portfolio as it was handed over."""
    FORGET = 1
    """Stop watching."""
    DISPUTE = 2
    """File a dispute now, under the authorisation held."""


_REQUEST_TYPE_HASH: Final = type_hash(
    "TowerRequest(bytes32 channelId,uint8 verb,address tower,bytes32 subject,uint64 time)"
)


@attrs.frozen(kw_only=True)
class TowerRequest:
    """A customer's request; ``time`` is the customer's clock, and an old one is refused.

    ``tower`` is the tower's signing key, so that one tower cannot pass a request on to another.
    ``subject`` is what the request is about: the hash of the newest appointment for FORGET and
    DISPUTE, so that neither can be used again after another one was made; zero for READ. A
    ``channel_id`` of zero stands for all channels of the signer.
    """

    channel_id: bytes
    verb: int
    tower: Address
    subject: bytes
    time: int

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, channel_id=self.channel_id, subject=self.subject)
        fixed_bytes(20, tower=self.tower)
        unsigned(8, verb=self.verb)
        unsigned(64, time=self.time)

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this request."""
        return keccak(
            b"".join(
                (
                    _REQUEST_TYPE_HASH,
                    self.channel_id,
                    word(self.verb),
                    address_word(self.tower),
                    self.subject,
                    word(self.time),
                )
            )
        )


_PORTFOLIO_KEY_TYPE_HASH: Final = type_hash("PortfolioKey(bytes32 channelId)")


@attrs.frozen(kw_only=True)
class PortfolioKey:
    """What a customer signs to derive the key that its portfolios of one channel are sealed with.

    The signature is the secret: it is never sent anywhere, and **whoever asks for it elsewhere
    wants to read the portfolio**.
    """

    channel_id: bytes

    def __attrs_post_init__(self) -> None:
        fixed_bytes(32, channel_id=self.channel_id)

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this struct."""
        return keccak(_PORTFOLIO_KEY_TYPE_HASH + self.channel_id)
