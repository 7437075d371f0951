"""Whatever happens to chain, endpoint and process: once it is over, the newest state stands.

``OPTION_CHANNELS_FUZZ=1`` plays 20,000 histories in place of 150, different ones each time.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from channels.dispute import AlertCode, Monitor, open_monitor
from channels.protocol.calls import Checkpoint, CoSigned
from channels.protocol.facts import OnChainPhase
from channels.protocol.types import Party
from tests.conftest import FUZZ
from tests.dispute.build import (
    ETH,
    EXPIRY,
    ID,
    TERMS,
    co_signed,
    evidence,
    make_portfolio,
    put,
)
from tests.dispute.conftest import filing
from tests.dispute.fakes import SLOT, FakeChain, FakeRecords, SetPrice, SetSpot

NONCES = st.integers(1, 12)
STEPS = st.one_of(
    st.tuples(st.just("mine"), st.integers(1, 6)),
    st.tuples(st.just("watch"), NONCES),
    st.tuples(st.just("watch boxed"), NONCES),
    st.tuples(st.just("file"), NONCES),
    st.tuples(st.just("they record"), NONCES),
    st.tuples(st.just("reorg"), st.integers(1, 3)),
    st.tuples(st.just("reorg, dropping"), st.integers(1, 3)),
    st.tuples(st.just("finality breaks"), st.just(0)),
    st.tuples(st.just("logs withheld"), st.integers(0, 1)),
    st.tuples(st.just("endpoint down"), st.integers(0, 1)),
    st.tuples(st.just("disk full"), st.integers(0, 1)),
    st.tuples(st.just("ours are not mined"), st.integers(0, 1)),
    st.tuples(st.just("mempool lost"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("time passes"), st.integers(1, 60)),
    st.tuples(st.just("spot"), st.sampled_from((500, 1_200, 3_000))),
    st.tuples(st.just("no spot is read"), st.integers(0, 3)),
)


class History:
    """One run: what was done, and what the monitor has promised.

    In every state A is long so many ``puts``; short of five of them B is called for margin when the
    market falls.
    """

    def __init__(self, puts: int) -> None:
        self.positions = (put(puts),) if puts else ()
        self.chain = FakeChain()
        self.chain.open(TERMS)
        self.chain.mine(blocks=8)
        self.records = FakeRecords()
        self.permanent = 0
        self.known: set[int] = {0}
        self.stack = AsyncExitStack()
        self.monitor: Monitor

    async def start(self) -> None:
        opened = open_monitor(self.chain, records=self.records)
        self.monitor = await self.stack.enter_async_context(opened)

    def state(self, nonce: int, valid_until: int = 0) -> CoSigned:
        portfolio = make_portfolio(nonce, *self.positions)
        return co_signed(nonce, portfolio, valid_until=valid_until)

    async def step(self, what: str, number: int) -> None:
        chain = self.chain
        match what:
            case "mine":
                chain.mine(blocks=number)
            case "watch" if not self.records.broken:
                await self.monitor.watch(evidence(self.state(number), side=Party.A))
                self.permanent = max(self.permanent, number)
                self.known.add(number)
            case "watch boxed" if not self.records.broken:
                # Even nonces are boxed here, so that no nonce has two states.
                boxed = self.state(number + 100, chain.time + 5 * SLOT)
                await self.monitor.watch(evidence(boxed))
            case "file":
                chain.mine(filing(self.state(number)))
            case "they record":
                chain.mine(Checkpoint(terms=TERMS, newest=self.state(number)))
            case "reorg" | "reorg, dropping":
                chain.reorg(number, keep=what == "reorg")
            case "finality breaks":
                chain.break_finality()
            case "logs withheld":
                chain.hide_logs = bool(number)
            case "endpoint down":
                chain.down = bool(number)
            case "disk full":
                self.records.broken = bool(number)
            case "ours are not mined":
                chain.takes = not number
            case "mempool lost":
                chain.evict()
            case "restart":
                await self.stack.aclose()
                self.stack = AsyncExitStack()
                await self.start()
            case "time passes":
                await trio.sleep(number)
            case "spot":
                chain.mine(SetSpot(feed=ETH, price=number))
            case "no spot is read":
                chain.failing["spot"] = number
        await wait_all_tasks_blocked()

    async def end(self) -> None:
        chain = self.chain
        chain.hide_logs = chain.down = self.records.broken = False
        chain.takes = True
        chain.failing.clear()
        await trio.sleep(30)
        for _ in range(3):
            chain.mine()
            await wait_all_tasks_blocked()
        assert not self.monitor.degraded
        view = chain.view_now(ID)
        if view.phase is not OnChainPhase.DISPUTED:
            assert view.phase is OnChainPhase.OPEN
            return
        assert view.nonce >= self.permanent
        chain.mine(time=view.deadline)
        if self.positions:
            await wait_all_tasks_blocked()
            chain.mine(SetPrice(feed=ETH, time=EXPIRY, price=2_000), time=EXPIRY)
        for _ in range(3):
            await wait_all_tasks_blocked()
            chain.mine()
        portfolio = view.nonce - 100 if view.nonce > 100 else view.nonce
        if portfolio in self.known or view.nonce > 100:
            assert chain.view_now(ID).phase is OnChainPhase.CLOSED
        await wait_all_tasks_blocked()
        told = []
        self.monitor.alerts.close()
        async for alert in self.monitor.alerts:
            told.append(alert.code)
        assert AlertCode.BUG not in told
        assert AlertCode.STALE_STANDS not in told


@settings(max_examples=20_000 if FUZZ else 150)
@given(st.lists(STEPS, max_size=14), st.sampled_from((0, 5)))
def test_the_newest_state_stands_whatever_happened(steps: list[tuple[str, int]], puts: int) -> None:
    async def run() -> None:
        history = History(puts)
        await history.start()
        try:
            for what, number in steps:
                await history.step(what, number)
            await history.end()
        finally:
            await history.stack.aclose()

    trio.run(run, clock=MockClock(autojump_threshold=0))
