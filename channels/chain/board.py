"""The jobs of one account: accepted, stored, looked up, waited for.

Source: design, protocol.md "Durability".
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

import attrs
import trio

from channels.chain.jobs import (
    Intent,
    JobFailed,
    JobFinal,
    JobMined,
    JobStalled,
    JobStream,
    JobUpdate,
)
from channels.chain.records import (
    JobRecord,
    RecordStore,
    Stage,
    decode_record,
    encode_record,
)
from channels.chain.reverts import Revert, decode_revert, refused
from channels.errors import (
    ContractRevertedError,
    InvalidValueError,
    LeaseLostError,
    StorageError,
    TransactionFailedError,
)

__all__ = ["KEEPS_FAILING", "JobBoard", "ending"]

_LOG: Final = logging.getLogger("channels.chain")

KEEPS_FAILING = "KeepsFailing"
"""Reason of a job that simulations pass and blocks fail, again and again."""

KEPT: Final = 1_024
"""Jobs that have ended and are known by their keys still; of more, the oldest are forgotten."""


class JobBoard:
    """Jobs by key, durable, and those who wait for them.

    What a job's record says is stored before it counts; `_save` is the only way to change one.
    Where the store fails, a job that may be mined twice goes on in memory: a disk that is full
    stops signing, not defending. After a crash whoever wanted it asks again.
    """

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._jobs: dict[bytes, JobRecord] = {}
        self._open: dict[bytes, JobRecord] = {}
        self._sequence = 0
        self._latest: dict[bytes, JobUpdate] = {}
        self._streams: set[JobStream] = set()
        self._seen_to: dict[bytes, bytes] = {}
        self.unstored: set[bytes] = set()
        self._changed = trio.Event()
        self._wake = trio.Event()

    # ---- asking

    async def start(self) -> None:
        """Read the records of an earlier run.

        Raises:
            SchemaVersionError: written by another version.
            StorageError: a record is damaged, or the store cannot be read.
        """
        for key, record in (await self._store.load()).items():
            self._note(decode_record(key, record))

    async def submit(self, key: bytes, intent: Intent) -> None:
        """Accept a job; on return it is stored and will be seen through.

        A key names a job for ever: given again, nothing happens but that its urgency and its budget
        are what was said last; unless the job had failed: then it starts over. Only one that ended
        so long ago that `KEPT` others have ended since is known no more.

        Raises:
            InvalidValueError: the key names a job with other contents.
            StorageError: not stored, and must not be done twice: not accepted.
        """
        job = JobRecord(
            key=key,
            sequence=self._sequence + 1,
            name=intent.name,
            to=intent.to,
            data=intent.data,
            value=intent.value,
            answer=intent.answer,
            repeatable=intent.repeatable,
            gas=intent.gas,
            fee_limit=intent.fee_limit,
            anyone=intent.anyone,
            urgency=intent.urgency,
            channel=intent.channel,
            budget=intent.budget,
        )
        known = self._jobs.get(key)
        if known is not None:
            if (known.to, known.data, known.value) != (job.to, job.data, job.value):
                raise InvalidValueError(f"job {key.hex()} has other contents: use another key")
            if known.stage is not Stage.FAILED:
                await self._adjust(known, intent)
                return
            job = attrs.evolve(job, spent=known.spent)
        await self._save(job)
        self._latest.pop(key, None)
        self._wake.set()
        await self._let_go()

    async def _let_go(self) -> None:
        """Forget the oldest jobs that have ended; what they did is on the chain.

        What a channel with a budget has cost is known from its jobs alone: these stay.
        """
        ended = [job for key, job in self._jobs.items() if not self._is_open(key)]
        if len(ended) <= KEPT:
            return
        counted = {job.channel for job in self._jobs.values() if job.channel and job.budget}
        ended.sort(key=lambda job: job.sequence)
        for job in ended[:-KEPT]:
            if job.channel not in counted:
                with suppress(StorageError):  # at the next one, then
                    await self.forget(job.key)

    async def _adjust(self, known: JobRecord, intent: Intent) -> None:
        """Take over what is said anew of a job that has not ended."""
        changed = attrs.evolve(
            known, urgency=intent.urgency or known.urgency, budget=intent.budget or known.budget
        )
        if self._is_open(known.key) and changed != known:
            await self._save(changed)
            self._seen_to.pop(known.key, None)
            self._wake.set()

    def job(self, key: bytes) -> JobRecord | None:
        """A job's record."""
        return self._jobs.get(key)

    @property
    def unfinished(self) -> tuple[bytes, ...]:
        """Keys of the jobs that have not ended."""
        return tuple(job.key for job in self._open_jobs())

    def updates(self) -> JobStream:
        """A stream of all updates from now on; close it by leaving its ``with`` block."""
        stream = JobStream(self._streams.discard)
        self._streams.add(stream)
        return stream

    async def wait_mined(self, key: bytes) -> JobMined | JobFinal:
        """Wait until a job is mined, final or not.

        Raises:
            ContractRevertedError: it ended as failed: a contract refuses it.
            TransactionFailedError: it ended as failed for another cause.
            InvalidValueError: no such job.
        """
        while True:
            changed = self._changed
            update = self._latest.get(key) or self._remembered(key)
            if isinstance(update, JobFailed):
                raise update.error
            if isinstance(update, JobMined | JobFinal):
                return update
            await changed.wait()

    async def wait(self, key: bytes) -> JobFinal:
        """Wait until a job is final. Raises as `wait_mined`."""
        while True:
            changed = self._changed
            if isinstance(update := await self.wait_mined(key), JobFinal):
                return update
            await changed.wait()

    async def forget(self, key: bytes) -> None:
        """Delete the record of a job that has ended, so that its key means nothing any more.

        Raises:
            InvalidValueError: it has not ended.
        """
        job = self._jobs.get(key)
        if job is None:
            return
        if job.stage not in (Stage.FINAL, Stage.FAILED):
            raise InvalidValueError(f"job {key.hex()} has not ended")
        await self._store.delete(key)
        self.unstored.discard(key)
        self._jobs.pop(key, None)
        self._latest.pop(key, None)

    # ---- for the manager

    def _is_open(self, key: bytes) -> bool:
        return key in self._open

    def _open_jobs(self) -> list[JobRecord]:
        return sorted(self._open.values(), key=lambda job: job.sequence)

    def _note(self, job: JobRecord) -> None:
        """Know a job as it is now."""
        self._sequence = max(self._sequence, job.sequence)
        self._jobs[job.key] = job
        if job.stage in (Stage.FINAL, Stage.FAILED):
            self._open.pop(job.key, None)
        else:
            self._open[job.key] = job

    async def _save(self, job: JobRecord) -> None:
        try:
            await self._store.put(job.key, encode_record(job))
        except LeaseLostError:  # whoever has the lease now may be signing for the same nonces
            raise
        except StorageError as error:
            if not job.repeatable:
                raise
            if job.key not in self.unstored:
                _LOG.critical("%s goes on without being stored: %s", job.name, error)
            self.unstored.add(job.key)
        else:
            self.unstored.discard(job.key)
        self._note(job)

    def _remembered(self, key: bytes) -> JobUpdate | None:
        job = self._jobs.get(key)
        if job is None:
            raise InvalidValueError(f"no job has the key {key.hex()}")
        return ending(job) if job.stage in (Stage.FINAL, Stage.FAILED) else None

    def _stall(self, job: JobRecord, reason: str, *, exhausted: bool = False) -> None:
        latest = self._latest.get(job.key)
        if not isinstance(latest, JobStalled) or latest.reason != reason:
            stalled = JobStalled(key=job.key, name=job.name, reason=reason, exhausted=exhausted)
            self._tell(stalled)

    def _tell(self, update: JobUpdate) -> None:
        self._latest[update.key] = update
        self._changed.set()
        self._changed = trio.Event()
        for stream in self._streams:
            stream.put(update)


def ending(job: JobRecord) -> JobFinal | JobFailed:
    """The update that tells how an ended job ended."""
    if job.stage is Stage.FINAL:
        return JobFinal(
            key=job.key,
            name=job.name,
            transaction_hash=job.mined_hash,
            block_number=job.mined_block,
            gas_used=job.gas_used,
        )
    error: ContractRevertedError | TransactionFailedError
    if job.reason == KEEPS_FAILING:
        error = TransactionFailedError(f"{job.name}: {job.message}")
    else:
        told = decode_revert(job.output) if job.output else None
        error = refused(job.name, told or Revert(name=job.reason, text=job.message))
    return JobFailed(key=job.key, name=job.name, error=error)
