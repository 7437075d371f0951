"""Records that only the holder of the lease can write: what is signed, and what is defended.

Every transaction looks at the lease first, in a way that keeps anybody from taking it before the
transaction has ended. So whoever takes the lease finds everything that was stored before, and
nothing is stored under an older token after. Nonce and signed bytes of a transaction are one record
and, with the token, one row of the ledger ``signed``: a lane that is taken over goes on with the
same nonces and the same bytes.

Source: design, watchtower.md "Engine"; protocol.md "Durability".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import attrs
import trio

from channels.chain.records import decode_record
from channels.chain.tasks import open_tasks
from channels.errors import LeaseLostError, StorageError
from channels.tower.commits import Asked, Commits
from channels.tower.database import Statements
from channels.tower.postgres import Link, PostgresDatabase

__all__ = ["FencedRecords", "FencedStore", "open_fenced"]

_TRANSACTIONS: Final = "transactions"
_MONITOR: Final = "monitor"


@attrs.frozen
class _Fenced:
    """An open transaction under the newest token."""

    statements: Statements
    token: int


class _Write(Protocol):
    def write(self, fenced: _Fenced) -> None:
        """Carry it out."""


@attrs.frozen
class _Put:
    namespace: str
    key: bytes
    record: bytes

    def write(self, fenced: _Fenced) -> None:
        """Carry it out."""
        fenced.statements.execute(
            "INSERT INTO fenced (namespace, key, record) VALUES (?, ?, ?)"
            " ON CONFLICT (namespace, key) DO UPDATE SET record = excluded.record",
            self.namespace,
            self.key,
            self.record,
        )


@attrs.frozen
class _PutJob(_Put):
    """A transaction, with a row in the ledger for everything that was signed for it."""

    def write(self, fenced: _Fenced) -> None:
        """Carry it out."""
        super().write(fenced)
        job = decode_record(self.key, self.record)
        fenced.statements.each(
            "INSERT INTO signed (account, nonce, hash, job, token) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            [
                (attempt.account, attempt.nonce, variant.hash, self.key, fenced.token)
                for attempt in job.attempts
                for variant in attempt.variants
            ],
        )


@attrs.frozen
class _Delete:
    namespace: str
    key: bytes

    def write(self, fenced: _Fenced) -> None:
        """Carry it out."""
        fenced.statements.execute(
            "DELETE FROM fenced WHERE namespace = ? AND key = ?", self.namespace, self.key
        )


class FencedStore:
    """What the holder of a token stores. Make one with `open_fenced`."""

    def __init__(self, link: Link, token: int) -> None:
        self.token = token
        self._link = link
        self._commits: Commits[_Write] = Commits(self._transact)
        self._readers = trio.CapacityLimiter(1)

    @property
    def transactions(self) -> FencedRecords:
        """Where a `TransactionManager` keeps its jobs."""
        return FencedRecords(self, _TRANSACTIONS, _PutJob)

    @property
    def monitor(self) -> FencedRecords:
        """Where a monitor keeps what it defends."""
        return FencedRecords(self, _MONITOR, _Put)

    async def write(self, write: _Write) -> None:
        """Write; durable on return, and under the newest token.

        Raises:
            LeaseLostError: the token is not the newest, or the database does not say. Nothing may
                be signed any more: **may lose funds**, as another process may use the same nonces.
        """
        await self._commits.write(write)

    async def load(self, namespace: str) -> dict[bytes, bytes]:
        """All records of a namespace, by key. Raises `StorageError`."""
        rows = await trio.to_thread.run_sync(
            self._link.select,
            "SELECT key, record FROM fenced WHERE namespace = ?",
            namespace,
            limiter=self._readers,
        )
        return dict(rows)

    async def run(self) -> None:
        """Write what is asked for, for ever."""
        await self._commits.run()

    def close(self) -> None:
        """Tell those who wait that nothing will be written."""
        self._commits.close("the lease was given up")

    def _transact(self, group: Sequence[Asked[_Write]]) -> None:
        def work(statements: Statements) -> None:
            _fence(statements, self.token)
            for each in group:
                each.write.write(_Fenced(statements, self.token))

        try:
            self._link.transact(work)
        except StorageError as error:
            lost = error if isinstance(error, LeaseLostError) else _cannot_tell(error)
            for each in group:
                each.error = lost


def _fence(statements: Statements, token: int) -> None:
    """Refuse a transaction under an old token, and keep the token new until it has ended."""
    if not statements.execute("SELECT token FROM lease WHERE token = ? FOR SHARE", token):
        raise LeaseLostError(f"there is a newer token than {token}: another process signs now")


def _cannot_tell(error: StorageError) -> LeaseLostError:
    lost = LeaseLostError(f"nobody knows whether the lease still holds: {error}")
    lost.__cause__ = error
    return lost


class FencedRecords:
    """One namespace, as a `TransactionManager` and a monitor want their store."""

    def __init__(self, store: FencedStore, namespace: str, put: type[_Put]) -> None:
        self._store = store
        self._namespace = namespace
        self._put = put

    async def put(self, key: bytes, record: bytes) -> None:
        """Store in place of what was there; durable on return. Raises as `FencedStore.write`."""
        await self._store.write(self._put(self._namespace, key, record))

    async def delete(self, key: bytes) -> None:
        """Delete, if there is anything. Raises as `FencedStore.write`."""
        await self._store.write(_Delete(self._namespace, key))

    async def load(self) -> dict[bytes, bytes]:
        """All of them. Raises `StorageError`."""
        return await self._store.load(self._namespace)


@asynccontextmanager
async def open_fenced(database: PostgresDatabase, token: int) -> AsyncIterator[FencedStore]:
    """Store under a token of the lease for the time of an ``async with``."""
    link = database.link()
    store = FencedStore(link, token)
    try:
        async with open_tasks() as nursery:
            nursery.start_soon(store.run)
            yield store
    finally:
        store.close()
        link.close()
