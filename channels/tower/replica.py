"""One of several processes that are one tower: same keys, same customers, one PostgreSQL.

Each of them is on standby until the lease is out, then holds it and acts until it is lost; then it
begins again. Nothing of one role is carried into the next but the database and the book: a holder
reads everything that the one before it has stored. A process whose endpoints do not answer does
not take the lease, and gives it up.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Final, NoReturn

import attrs
import trio

from channels.chain import EthereumChain
from channels.chain.records import MemoryRecordStore, RecordStore
from channels.chain.tasks import open_tasks
from channels.dispute import Alert, PriceSource
from channels.errors import BugError, ChainError, LeaseLostError
from channels.protocol.signing import Signer
from channels.tower.book import Book
from channels.tower.chain import BudgetedChain
from channels.tower.fenced import open_fenced
from channels.tower.lease import Lease
from channels.tower.policy import TowerPolicy
from channels.tower.postgres import PostgresDatabase
from channels.tower.service import Tower, open_standby, open_tower

__all__ = ["Replica", "ReplicaSetup", "open_replica"]

_LOG: Final = logging.getLogger("channels.tower")

OpenChain = Callable[[RecordStore], AbstractAsyncContextManager[EthereumChain]]
OpenPrices = Callable[[EthereumChain], AbstractAsyncContextManager[PriceSource | None]]


def _no_prices(_: EthereumChain) -> AbstractAsyncContextManager[PriceSource | None]:
    return nullcontext(None)


@attrs.frozen(kw_only=True)
class ReplicaSetup:
    """What a process is made of.

    ``open_chain`` connects to the chain with the store of its transactions, ``open_prices`` to
    where prices come from. ``signer`` signs receipts and heartbeats, and is the same key in all
    processes, as is the gas account's. ``blind_after``: seconds without an answer of any endpoint
    after which a holder lets another process act.
    """

    open_chain: OpenChain
    signer: Signer
    policy: TowerPolicy = attrs.field(factory=TowerPolicy)
    open_prices: OpenPrices = _no_prices
    on_alert: Callable[[Alert], Awaitable[None]] | None = None
    blind_after: float = 60.0


class Replica:
    """A process. Make one with `open_replica`.

    ``tower`` is what it is now; None between two roles. ``changed`` is set at the next change.
    """

    def __init__(
        self, database: PostgresDatabase, book: Book, lease: Lease, setup: ReplicaSetup
    ) -> None:
        self.tower: Tower | None = None
        self.changed = trio.Event()
        self._database = database
        self._book = book
        self._lease = lease
        self._setup = setup

    async def run(self) -> NoReturn:
        """Stand by, act, and begin again, for ever."""
        while True:
            try:
                await self._act(await self._stand_by())
            except* (LeaseLostError, ChainError) as group:
                for error in group.exceptions:
                    _LOG.warning("this process lets another one act: %s", error)
            self._become(None)
            await trio.sleep(self._setup.policy.pace.retry_after)

    def _become(self, tower: Tower | None) -> None:
        self.tower = tower
        self.changed.set()
        self.changed = trio.Event()
        if tower is not None:
            _LOG.info("%s: %s", self._lease.me, tower.defence.role)

    async def _stand_by(self) -> int:
        """Be on standby until this process has the lease; return its token."""
        setup = self._setup
        async with (
            setup.open_chain(MemoryRecordStore()) as chain,
            open_standby(
                BudgetedChain(chain),
                self._book,
                held=self._is_held,
                signer=setup.signer,
                policy=setup.policy,
                on_alert=setup.on_alert,
            ) as tower,
        ):
            self._become(tower)
            sight = self._sight(chain)
            try:
                return await self._lease.acquire(lambda: sight() > 0)
            finally:
                self._become(None)

    async def _act(self, token: int) -> NoReturn:
        """Act under a token, until the lease is lost."""
        setup = self._setup
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._lease.hold, token)
                async with (
                    open_fenced(self._database, token) as store,
                    setup.open_chain(store.transactions) as chain,
                    setup.open_prices(chain) as prices,
                    open_tower(
                        BudgetedChain(chain),
                        self._book,
                        records=store.monitor,
                        signer=setup.signer,
                        policy=setup.policy,
                        prices=prices,
                        on_alert=setup.on_alert,
                    ) as tower,
                ):
                    self._become(tower)
                    sight = self._sight(chain)
                    while (left := sight()) > 0:  # noqa: ASYNC110  # silence is no event
                        await trio.sleep(left)
                    raise LeaseLostError("no endpoint answers this process")
            raise BugError("a lease is held until it is lost")
        finally:
            self._become(None)
            with trio.CancelScope(shield=True), trio.move_on_after(self._lease.term):
                await self._lease.release(token)

    def _sight(self, chain: EthereumChain) -> Callable[[], float]:
        """Tells for how many seconds the endpoints' last answer counts; being opened was one."""
        opened = trio.current_time()
        return lambda: (
            max(chain.last_answer, opened) + self._setup.blind_after - trio.current_time()
        )

    async def _is_held(self) -> bool:
        return (await self._lease.state()).held


@asynccontextmanager
async def open_replica(
    database: PostgresDatabase, book: Book, lease: Lease, setup: ReplicaSetup
) -> AsyncIterator[Replica]:
    """Be one of several processes of a tower, for the time of an ``async with``.

    Args:
        database: what the processes share.
        book: in that database.
        lease: of that database.
        setup: what this process is made of.
    """
    replica = Replica(database, book, lease, setup)
    async with open_tasks() as nursery:
        nursery.start_soon(replica.run)
        yield replica
