"""What the monitor needs of a chain and of a store; `EthereumChain` and `Records` are such.

Structural types, so that importing the monitor does not import web3, and tests bring their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Protocol

from channels.chain.fees import Urgency
from channels.chain.jobs import Intent, JobUpdate
from channels.protocol.calls import Call
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChainEvent, ChannelView, Head
from channels.protocol.terms import Domain

__all__ = [
    "ChainPort",
    "Job",
    "JobsPort",
    "OraclePort",
    "PriceAnswer",
    "PriceSource",
    "RecordsPort",
    "SpotAnswer",
    "SpotOffer",
    "UpdateLike",
]


class UpdateLike(Protocol):
    """One block. If ``rewound_to`` is set, everything learnt from blocks above it is void."""

    @property
    def head(self) -> Head:
        """The block."""

    @property
    def events(self) -> tuple[ChainEvent, ...]:
        """The contract's events in it."""

    @property
    def rewound_to(self) -> int | None:
        """The common ancestor, after a reorganisation."""


class PriceAnswer(Protocol):
    """What an oracle says of one settlement price."""

    @property
    def status(self) -> int:
        """The contract's number: unset, known, last resort, never."""

    @property
    def price(self) -> int:
        """WAD; 0 if there is none."""


class SpotAnswer(Protocol):
    """What an oracle says of one spot."""

    @property
    def price(self) -> int:
        """WAD."""

    @property
    def observed_at(self) -> int:
        """Chain time of the observation."""


class OraclePort(Protocol):
    """One oracle."""

    async def spot(self, feed: bytes, block: bytes) -> SpotAnswer | None:
        """The newest price of ``feed``, as of a block; None if there is none."""

    async def settlement_price(self, feed: bytes, time: int, block: bytes) -> PriceAnswer:
        """The settlement price of ``feed`` at ``time``, as of a block."""


class Job(Protocol):
    """A transaction that was asked for."""

    @property
    def stage(self) -> int:
        """A `channels.chain.records.Stage`."""


class JobsPort(Protocol):
    """The transaction manager, as far as it is asked here."""

    def job(self, key: bytes) -> Job | None:
        """What was asked for under ``key``."""

    async def forget(self, key: bytes) -> None:
        """Delete the record of a job that has ended, so that its key means nothing any more."""


class ChainPort(Protocol):
    """A chain and its Adjudicator. Reads may raise `channels.errors.ChainError` at any time."""

    @property
    def domain(self) -> Domain:
        """What signatures must be for."""

    @property
    def head(self) -> Head:
        """The newest block."""

    @property
    def account(self) -> Address:
        """Who sends what is submitted."""

    @property
    def trouble(self) -> Exception | None:
        """What is wrong with the endpoint right now."""

    @property
    def transactions(self) -> JobsPort:
        """The jobs."""

    def updates(self, since: int | None = None) -> AsyncIterator[UpdateLike]:
        """Every block from ``since`` on; without it, from the present head on."""

    async def view(self, channel_id: bytes, block: bytes | None = None) -> ChannelView:
        """A channel's storage at the block of this hash."""

    async def dispute_count(self, block: bytes | None = None) -> int:
        """Disputes ever filed, at the block of this hash."""

    def oracle(self, address: Address) -> OraclePort:
        """An oracle."""

    async def submit(self, call: Call, *, key: bytes, urgency: Urgency | None = None) -> None:
        """Accept a call; on return it is stored and will be seen through to finality.

        ``urgency``: by when it must be mined; None: there is time.
        """

    async def transact(self, intent: Intent, *, key: bytes) -> None:
        """Accept any other transaction, in the same way."""

    def job_updates(self) -> AbstractContextManager[AsyncIterator[JobUpdate]]:
        """What becomes of the jobs."""


class SpotOffer(Protocol):
    """A spot that somebody has signed, and the transaction that brings it to the oracle."""

    @property
    def price(self) -> int:
        """WAD, as the oracle would tell it."""

    @property
    def observed_at(self) -> int:
        """Chain time of the observation."""

    @property
    def intent(self) -> Intent:
        """The transaction."""


class PriceSource(Protocol):
    """Where prices come from that an oracle is not given until somebody needs them.

    For an AttestedOracle: signed attestations, as `channels.chain.attestations.submission` puts
    them; for a ChainlinkOracle: the rounds. Whatever fails here raises any exception, and holds up
    nothing but the duty that waits for the price.
    """

    async def spot(self, oracle: Address, feed: bytes, time: int) -> SpotOffer | None:
        """The newest spot of ``feed`` observed at ``time`` or before; None if there is none."""

    async def settlement(self, oracle: Address, feed: bytes, time: int) -> Intent | None:
        """The transaction that brings the settlement price of ``feed`` at ``time``, if any."""


class RecordsPort(Protocol):
    """Records by key, durable on return. A monitor has a namespace to itself."""

    async def put(self, key: bytes, record: bytes) -> None:
        """Store in place of what was there."""

    async def delete(self, key: bytes) -> None:
        """Delete, if there is anything."""

    async def load(self) -> dict[bytes, bytes]:
        """All of them."""
