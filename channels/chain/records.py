"""What the transaction manager must not forget, as records of bytes.

A record is written before anything it describes leaves the process. It is msgpack: a schema
version, then fields in a fixed order, enumerations as integers, so that a later version can read
what this one wrote.

Source: design, protocol.md "Durability".
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final, Protocol

import attrs
import msgpack

from channels.chain.fees import Urgency
from channels.errors import SchemaVersionError, StorageError
from channels.protocol.eip712 import Address

__all__ = [
    "Attempt",
    "JobRecord",
    "MemoryRecordStore",
    "RecordStore",
    "Stage",
    "Variant",
    "decode_record",
    "encode_record",
]

SCHEMA: Final = 3
_ONE_ACCOUNT: Final = 2
"""The schema before several accounts, deadlines, budgets and batches."""
_WITHOUT_OUTPUT: Final = 1
"""The schema before failed jobs kept what the contract had answered."""


class RecordStore(Protocol):
    """Where records survive the process. One account's manager has one to itself."""

    async def put(self, key: bytes, record: bytes) -> None:
        """Store durably, in place of any record of this key, before returning."""

    async def delete(self, key: bytes) -> None:
        """Forget; no error if there is none."""

    async def load(self) -> dict[bytes, bytes]:
        """Every record by its key."""


class MemoryRecordStore:
    """Records in memory, for tests and demos. **May lose funds**: nothing survives the process."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}

    async def put(self, key: bytes, record: bytes) -> None:
        """Keep the record."""
        self.records[key] = record

    async def delete(self, key: bytes) -> None:
        """Forget it."""
        self.records.pop(key, None)

    async def load(self) -> dict[bytes, bytes]:
        """Every record by its key."""
        return dict(self.records)


class Stage(IntEnum):
    """How far a job has come, by its stored number."""

    INTENT = 0
    """Wanted; nothing signed yet."""
    SIGNED = 1
    """Signed at least once, and so possibly broadcast."""
    FINAL = 2
    """Mined, and final."""
    FAILED = 3
    """Ended without effect."""


@attrs.frozen(kw_only=True)
class Variant:
    """One set of signed bytes. Fees in wei per gas; ``gas`` 0: not known, of an older version."""

    hash: bytes
    raw: bytes = attrs.field(repr=False)
    max_fee: int
    priority_fee: int
    gas: int = 0
    filler: bool = False
    """Whether it only uses the nonce up, in place of a transaction that would fail."""


@attrs.frozen(kw_only=True)
class Attempt:
    """All that was signed for one nonce of ``account``; at most one of it can ever be mined.

    An empty ``account``, of an older version, is the manager's first.
    """

    account: bytes = b""
    nonce: int
    variants: tuple[Variant, ...]


@attrs.frozen(kw_only=True)
class JobRecord:
    """A job as it is stored.

    ``sequence`` orders jobs as they were accepted. ``to`` to ``fee_limit`` are those of
    `channels.chain.jobs.Intent`. ``mined_*`` and ``gas_used`` describe a final job; ``reason`` (the
    error's name), ``message`` and ``output`` (what the contract that refused it returned) a failed
    one. ``spent`` is what it has cost, wei, once it has ended.

    A batch is one transaction for several jobs, its ``members``; without any it has been broken up,
    and only what was signed for it is left to see to.
    """

    key: bytes
    sequence: int
    name: str
    to: Address | None
    data: bytes = attrs.field(repr=False)
    value: int
    answer: bytes | None
    repeatable: bool
    gas: int
    fee_limit: int
    stage: Stage = Stage.INTENT
    attempts: tuple[Attempt, ...] = ()
    mined_hash: bytes = b""
    mined_block: int = 0
    gas_used: int = 0
    reason: str = ""
    message: str = ""
    output: bytes = b""
    anyone: bool = False
    urgency: Urgency | None = None
    channel: bytes = b""
    budget: int = 0
    spent: int = 0
    batch: bool = False
    members: tuple[bytes, ...] = ()


def encode_record(job: JobRecord) -> bytes:
    """Bytes of a record, without its key."""
    fields = [
        SCHEMA,
        job.sequence,
        job.name,
        job.to,
        job.data,
        _big(job.value),
        job.answer,
        job.repeatable,
        job.gas,
        _big(job.fee_limit),
        int(job.stage),
        [
            [
                attempt.nonce,
                [
                    [
                        each.hash,
                        each.raw,
                        _big(each.max_fee),
                        _big(each.priority_fee),
                        each.filler,
                        each.gas,
                    ]
                    for each in attempt.variants
                ],
                attempt.account,
            ]
            for attempt in job.attempts
        ],
        job.mined_hash,
        job.mined_block,
        job.gas_used,
        job.reason,
        job.message,
        job.output,
        job.anyone,
        None if job.urgency is None else _pack_urgency(job.urgency),
        job.channel,
        _big(job.budget),
        _big(job.spent),
        job.batch,
        list(job.members),
    ]
    packed: bytes = msgpack.packb(fields)
    return packed


def decode_record(key: bytes, record: bytes) -> JobRecord:
    """Read a record.

    Raises:
        SchemaVersionError: written by another version.
        StorageError: damaged.
    """
    try:
        schema, *fields = msgpack.unpackb(record)
        if schema == _WITHOUT_OUTPUT:
            schema, fields = _ONE_ACCOUNT, [*fields, b""]
        if schema == _ONE_ACCOUNT:
            schema, fields = SCHEMA, _of_one_account(fields)
        if schema != SCHEMA:
            raise SchemaVersionError(f"a transaction record of schema {schema}, not {SCHEMA}")
        return _from_fields(key, fields)
    except (ValueError, TypeError, IndexError, msgpack.UnpackException) as error:
        raise StorageError(f"the transaction record of {key.hex()} is damaged") from error


def _of_one_account(fields: list[Any]) -> list[Any]:
    *before, attempts, mined_hash, mined_block, gas_used, reason, message, output = fields
    longer = [[nonce, [[*variant, 0] for variant in variants], b""] for nonce, variants in attempts]
    after = [mined_hash, mined_block, gas_used, reason, message, output]
    return [*before, longer, *after, False, None, b"", b"", b"", False, []]


def _from_fields(key: bytes, fields: list[Any]) -> JobRecord:
    sequence, name, to, data, value, answer, repeatable, gas, fee_limit, *rest = fields
    stage, attempts, mined_hash, mined_block, gas_used, reason, message, output, *rest = rest
    anyone, urgency, channel, budget, spent, batch, members = rest
    return JobRecord(
        key=key,
        sequence=sequence,
        name=name,
        to=None if to is None else Address(to),
        data=data,
        value=_small(value),
        answer=answer,
        repeatable=repeatable,
        gas=gas,
        fee_limit=_small(fee_limit),
        stage=Stage(stage),
        attempts=tuple(_attempt(each) for each in attempts),
        mined_hash=mined_hash,
        mined_block=mined_block,
        gas_used=gas_used,
        reason=reason,
        message=message,
        output=output,
        anyone=anyone,
        urgency=None if urgency is None else _urgency(urgency),
        channel=channel,
        budget=_small(budget),
        spent=_small(spent),
        batch=batch,
        members=tuple(members),
    )


def _attempt(fields: list[Any]) -> Attempt:
    nonce, variants, account = fields
    return Attempt(
        account=account,
        nonce=nonce,
        variants=tuple(
            Variant(
                hash=hash_,
                raw=raw,
                max_fee=_small(max_fee),
                priority_fee=_small(priority_fee),
                filler=filler,
                gas=gas,
            )
            for hash_, raw, max_fee, priority_fee, filler, gas in variants
        ),
    )


def _pack_urgency(urgency: Urgency) -> list[Any]:
    return [urgency.opened, urgency.deadline, _big(urgency.stake)]


def _urgency(fields: list[Any]) -> Urgency:
    opened, deadline, stake = fields
    return Urgency(opened=opened, deadline=deadline, stake=_small(stake))


def _big(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _small(value: bytes) -> int:
    return int.from_bytes(value, "big")
