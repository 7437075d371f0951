"""A chain with one open channel, and a watch over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from channels.dispute import (
    Alert,
    AlertCode,
    Monitor,
    Pace,
    PriceSource,
    Report,
    open_monitor,
)
from channels.protocol.calls import Checkpoint, CoSigned, Dispute, Settle
from channels.protocol.terms import Terms
from channels.protocol.types import Party
from tests.dispute.build import TERMS
from tests.dispute.fakes import FakeChain, FakeRecords, Filing


def filing(
    newest: CoSigned | None = None, *, terms: Terms = TERMS, filer: Party = Party.B
) -> Filing:
    """A dispute by B, on ``newest`` or on what is recorded."""
    return Filing(filer=filer, call=Dispute(terms=terms, newest=newest))


@attrs.define(eq=False)
class Stand:
    """A monitor at work, and all it said."""

    chain: FakeChain
    records: FakeRecords
    monitor: Monitor
    alerts: list[Alert] = attrs.field(factory=list)
    reports: list[Report] = attrs.field(factory=list)

    async def settle_down(self) -> None:
        """Let it work until it waits for the chain."""
        await trio.testing.wait_all_tasks_blocked()

    async def mine(self, *transactions: Any, **how: Any) -> None:
        """Mine, and let it work."""
        self.chain.mine(*transactions, **how)
        await self.settle_down()

    @property
    def codes(self) -> list[AlertCode]:
        return [each.code for each in self.alerts]

    @property
    def kinds(self) -> list[str]:
        return [type(each).__name__ for each in self.reports]


def sent(chain: FakeChain) -> list[int | str]:
    """What was submitted, in order: the nonce of a checkpoint, or "settle"."""
    found: list[int | str] = []
    for _, call in chain.sent:
        if isinstance(call, Checkpoint):
            found.append(call.newest.state.nonce)
        elif isinstance(call, Settle):
            found.append("settle")
    return found


Standing = Callable[..., AbstractAsyncContextManager[Stand]]


@pytest.fixture
async def chain() -> FakeChain:
    made = FakeChain()
    made.open(TERMS)
    made.mine(blocks=8)
    return made


@pytest.fixture
def records() -> FakeRecords:
    return FakeRecords()


@pytest.fixture
def standing(chain: FakeChain, records: FakeRecords) -> Standing:
    """Open a monitor over ``chain`` and ``records`` that writes down all it says."""

    @asynccontextmanager
    async def opened(
        pace: Pace | None = None, prices: PriceSource | None = None
    ) -> AsyncIterator[Stand]:
        async with (
            open_monitor(chain, records=records, pace=pace, prices=prices) as monitor,
            trio.open_nursery() as nursery,
        ):
            stand = Stand(chain, records, monitor)

            async def write_down(stream: Any, into: list[Any]) -> None:
                async for each in stream:
                    into.append(each)

            nursery.start_soon(write_down, monitor.alerts, stand.alerts)
            nursery.start_soon(write_down, monitor.reports, stand.reports)
            await stand.settle_down()
            yield stand
            nursery.cancel_scope.cancel()

    return opened
