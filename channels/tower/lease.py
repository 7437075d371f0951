"""The lease: which of several tower processes on one database may sign, by the database's clock.

Whoever takes the lease gets a higher token than anybody before. What a holder writes carries its
token (`channels.tower.fenced`) and is refused once there is a higher one, so that no clock of ours
and no pause of a process matters: a holder that slept through its lease can store nothing, and what
is not stored is not sent.

Source: design, watchtower.md "Engine" (Nothing is dropped by an exception).
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NoReturn, TypeVar

import attrs
import trio

from channels.errors import LeaseLostError, StorageError
from channels.tower.postgres import Link, PostgresDatabase

__all__ = ["Lease", "LeaseState", "open_lease"]

T = TypeVar("T")

_RENEWALS: Final = 3
"""Within a term, so that one that fails does not lose the lease."""


@attrs.frozen(kw_only=True)
class LeaseState:
    """Who holds it, under which token, and for how many seconds more; below zero it is out."""

    holder: str
    token: int
    left: float

    @property
    def held(self) -> bool:
        """Whether somebody holds it."""
        return self.left > 0


class Lease:
    """A process's part in the lease of its database. Make one with `open_lease`.

    ``term``: seconds that it lasts from each renewal. ``me``: what this process is called in it.
    """

    def __init__(self, link: Link, *, me: str, term: float) -> None:
        self.me = f"{me} {secrets.token_hex(4)}"
        self.term = term
        self._link = link
        self._limiter = trio.CapacityLimiter(1)

    async def acquire(self, able: Callable[[], bool] = lambda: True) -> int:
        """Wait until nobody else holds it; return the token under which this process does now.

        While it is not ``able`` to act it leaves the lease to others.
        """
        while True:
            try:
                token = await self._in_thread(self._take) if able() else None
            except StorageError:  # no database, no lease; whoever runs this says so elsewhere
                token = None
            if token is not None:
                return token
            await trio.sleep(self.term / _RENEWALS / 2)

    async def hold(self, token: int) -> NoReturn:
        """Renew it for ever.

        Raises:
            LeaseLostError: somebody else holds it, or it has not been renewed for a term.
        """
        renewed = trio.current_time()
        while True:
            await trio.sleep(self.term / _RENEWALS)
            asked = trio.current_time()
            try:
                still = await self._in_thread(self._renew, token)
            except StorageError as error:
                if asked - renewed >= self.term:
                    raise LeaseLostError(f"the lease could not be renewed: {error}") from error
                continue
            if not still:
                raise LeaseLostError(f"another process holds the lease now, not {self.me}")
            renewed = asked

    async def release(self, token: int) -> None:
        """Let go of it, so that another process need not wait until it is out."""
        try:
            await self._in_thread(self._let_go, token)
        except StorageError:
            return  # it will be out by itself

    async def state(self) -> LeaseState:
        """Who holds it.

        Raises:
            StorageError: the database does not answer.
        """
        return await self._in_thread(self._state)

    # ---- in a thread

    async def _in_thread(self, work: Callable[..., T], *values: object) -> T:
        return await trio.to_thread.run_sync(work, *values, limiter=self._limiter)

    def _take(self) -> int | None:
        rows = self._link.transact(
            lambda statements: statements.execute(
                "UPDATE lease SET holder = ?, token = token + 1,"
                " until = clock_timestamp() + make_interval(secs => ?)"
                " WHERE until < clock_timestamp() OR holder = ? RETURNING token",
                self.me,
                self.term,
                self.me,
            )
        )
        return int(rows[0][0]) if rows else None

    def _renew(self, token: int) -> bool:
        rows = self._link.transact(
            lambda statements: statements.execute(
                "UPDATE lease SET until = clock_timestamp() + make_interval(secs => ?)"
                " WHERE token = ? RETURNING token",
                self.term,
                token,
            )
        )
        return bool(rows)

    def _let_go(self, token: int) -> None:
        self._link.transact(
            lambda statements: statements.execute(
                "UPDATE lease SET until = '-infinity' WHERE token = ?", token
            )
        )

    def _state(self) -> LeaseState:
        ((holder, token, left),) = self._link.select(
            "SELECT holder, token,"
            " extract(epoch FROM greatest(until, to_timestamp(0)) - clock_timestamp())::float8"
            " FROM lease"
        )
        return LeaseState(holder=holder, token=token, left=left)


@asynccontextmanager
async def open_lease(
    database: PostgresDatabase, *, me: str, term: float = 15.0
) -> AsyncIterator[Lease]:
    """Take part in the lease of a database for the time of an ``async with``.

    Args:
        database: that the processes share.
        me: what operators call this process.
        term: seconds; another process takes over that long after this one's last sign of life.
    """
    await trio.lowlevel.checkpoint()
    link = database.link()
    try:
        yield Lease(link, me=me, term=term)
    finally:
        link.close()
