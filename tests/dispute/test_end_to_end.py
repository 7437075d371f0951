"""The whole defence on an EVM: contract, transaction manager, oracle and store are real.

Bob files an old state; Alice is away, but her monitor is not.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio

from channels.chain import EthereumChain, Finality, SettlementPrice
from channels.chain.attestations import submission
from channels.chain.deploy import send_now
from channels.dispute import (
    AlertCode,
    ChannelFinished,
    Duty,
    DutyDone,
    Evidence,
    Monitor,
    Pace,
    open_monitor,
)
from channels.protocol.calls import Dispute
from channels.protocol.terms import Terms, channel_id
from channels.storage import open_store
from tests.chain.world import FEED, FUNDS, HOUR, WAD, World, embedded_world, option_portfolio

DEPOSIT = 100 * 10**6
PENALTY = 5 * 10**6
PATIENCE = 60.0


@pytest.fixture
async def world() -> World:
    return await embedded_world(finality_depth=2)


async def open_channel(world: World, chain: EthereumChain, terms: Terms) -> bytes:
    with trio.fail_after(PATIENCE):
        await chain.submit(await world.opening(terms, DEPOSIT), key=b"open")
        await chain.wait_mined(b"open")
    return channel_id(world.domain, terms)


async def until_done(monitor: Monitor, duty: Duty) -> DutyDone:
    """Wait until the monitor says that this is on the chain."""
    with trio.fail_after(PATIENCE):
        async for report in monitor.reports:
            if isinstance(report, DutyDone) and report.duty is duty:
                return report
    raise AssertionError("the monitor ended")


async def until_finished(world: World, monitor: Monitor) -> None:
    with trio.fail_after(PATIENCE):
        await world.control.mine(3)
        async for report in monitor.reports:
            if isinstance(report, ChannelFinished):
                return


async def test_an_old_state_is_answered_settled_and_penalised(world: World, tmp_path: Path) -> None:
    terms = world.terms(dispute_window=3 * HOUR, stale_penalty=PENALTY)
    now = await world.control.time()
    old = world.cosigned(terms, 3, option_portfolio(now, expiry=now + HOUR))
    expiry = (now // HOUR + 6) * HOUR
    # At nonce 40 A holds two calls struck at 3,000, for which it has paid B 12.
    newest = world.cosigned(
        terms, 40, option_portfolio(now, expiry=expiry, net_to_b=12 * 10**6, size=2)
    )
    async with (
        world.open(world.a) as alice,
        world.open(world.b) as bob,
        open_store(tmp_path / "alice.db") as store,
    ):
        identity = await open_channel(world, bob, terms)
        async with open_monitor(alice, records=store.records("monitor")) as monitor:
            await monitor.watch(Evidence(terms=terms, states=(newest,)))
            await monitor.ready()
            await bob.submit(Dispute(terms=terms, newest=old), key=b"dispute")
            answered = await until_done(monitor, Duty.REFUTE)
            view = await alice.view(identity)
            assert (view.nonce, view.filed_nonce) == (40, 3)
            assert answered.head_time < view.deadline - 2 * HOUR
            assert (await anext(monitor.alerts)).code is AlertCode.STALE_DISPUTE

        # The monitor is away when the window ends, and knows everything on its own database.
        await world.control.advance_time(to=max(view.deadline, expiry) + 1)
        async with open_monitor(alice, records=store.records("monitor")) as monitor:
            await monitor.ready()
            assert not monitor.degraded
            price = SettlementPrice(feed=FEED, time=expiry, price=3_015 * WAD)
            signed = [each.attest(price) for each in world.attesters[:2]]
            oracle = submission(world.deployment.oracle, signed)
            await send_now(world.rpc, world.b, oracle)
            await world.control.advance_time(by=61)
            settled = await until_done(monitor, Duty.SETTLE)
            assert settled.channel_id == identity
            await until_finished(world, monitor)
            assert monitor.channels == ()
            assert set(await store.records("monitor").load()) == {b"cursor"}

    # A paid 12 for calls that pay 2 x 15 = 30; B filed 37 nonces behind and pays A the penalty.
    gain = 30 * 10**6 - 12 * 10**6 + PENALTY
    assert await world.token.balance(world.a.address) == FUNDS + gain
    assert await world.token.balance(world.b.address) == FUNDS - gain


async def test_filing_within_the_allowance_costs_nothing(world: World, tmp_path: Path) -> None:
    terms = world.terms(stale_penalty=PENALTY)
    now = await world.control.time()
    empty = attrs.evolve(option_portfolio(now, expiry=now + HOUR), positions=(), spots=())
    old = world.cosigned(terms, 24, empty)
    newest = world.cosigned(terms, 40, attrs.evolve(empty, net_to_b=7 * 10**6))
    async with (
        world.open(world.a) as alice,
        world.open(world.b) as bob,
        open_store(tmp_path / "alice.db") as store,
        open_monitor(alice, records=store.records("monitor")) as monitor,
    ):
        identity = await open_channel(world, bob, terms)
        await monitor.watch(Evidence(terms=terms, states=(newest,)))
        await bob.submit(Dispute(terms=terms, newest=old), key=b"dispute")
        await until_done(monitor, Duty.REFUTE)
        deadline = (await alice.view(identity)).deadline
        await world.control.advance_time(to=deadline)
        await until_done(monitor, Duty.SETTLE)
        await until_finished(world, monitor)
    assert await world.token.balance(world.b.address) == FUNDS + 7 * 10**6


@pytest.mark.parametrize("confirmations", [4, 0], ids=["unfinished", "taken for final"])
async def test_a_reorganisation_that_drops_the_answer_is_answered_again(
    world: World, tmp_path: Path, confirmations: int
) -> None:
    """Even where the answer was taken for final: then it is sent under a new key."""
    terms = world.terms()
    now = await world.control.time()
    portfolio = option_portfolio(now, expiry=now + 9 * HOUR)
    old, newest = world.cosigned(terms, 3, portfolio), world.cosigned(terms, 9, portfolio)
    finality = Finality.depth(confirmations)
    async with (
        world.open(world.a, finality=finality) as alice,
        world.open(world.b, finality=finality) as bob,
        open_store(tmp_path / "alice.db") as store,
        open_monitor(
            alice, records=store.records("monitor"), pace=Pace(retry_after=0.1)
        ) as monitor,
    ):
        identity = await open_channel(world, bob, terms)
        await monitor.watch(Evidence(terms=terms, states=(newest,)))
        await bob.submit(Dispute(terms=terms, newest=old), key=b"dispute")
        await until_done(monitor, Duty.REFUTE)
        await world.control.reorg(1, keep=False)
        with trio.fail_after(PATIENCE):
            await until_recorded(world, alice, identity, 9)
            await monitor.ready()


async def until_recorded(world: World, chain: EthereumChain, identity: bytes, nonce: int) -> None:
    """Mine on, whenever the newest block has been seen, until it shows this nonce."""
    while (await chain.reader.view(identity)).nonce != nonce:
        await world.control.mine()
        await chain.wait_until(await world.control.time())
