"""Margin on an EVM: nobody but the monitor calls, waits and closes out.

Alice bought a put of Bob; the market falls, Bob is short, and a dispute stands. The oracle is given
a price only when the monitor brings it.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio

from channels.chain import EthereumChain, SettlementPrice, SpotPrice
from channels.chain.attestations import submission
from channels.chain.jobs import Intent
from channels.dispute import Alert, AlertCode, Duty, Evidence, Monitor, Policy, open_monitor
from channels.pricing import close_out_value
from channels.protocol.calls import Deposit, Dispute
from channels.protocol.eip712 import Address
from channels.protocol.facts import OnChainPhase
from channels.protocol.terms import Terms, channel_id
from channels.protocol.types import Party, Portfolio, Position
from channels.storage import open_store
from tests.chain.test_margin_round_trip import RISK, UNIT, assessment, marked, spots
from tests.chain.world import FEED, FUNDS, HOUR, WAD, World, embedded_world
from tests.dispute.test_end_to_end import PATIENCE, until_done, until_finished

DEPOSIT = 700 * UNIT


@pytest.fixture
async def world() -> World:
    return await embedded_world(finality_depth=2)


def long_put(now: int) -> Portfolio:
    """A is long a put struck at 3,000 for a month, marked at 3,000, margins as peers sign them."""
    put = Position(
        feed=FEED,
        kind=1,
        expiry=(now // HOUR + 30 * 24) * HOUR,
        strike=3_000 * WAD,
        quantity=WAD,
        vol=6 * 10**17,
        carry=0,
    )
    return marked((put,), now)


@attrs.frozen(kw_only=True)
class Offer:
    """An attested spot and its way to the oracle."""

    price: int
    observed_at: int
    intent: Intent


@attrs.define
class Attested:
    """The attesters' endpoint: they sign what the market says whenever they are asked."""

    world: World
    spot_price: int = 3_000
    settlements: dict[int, int] = attrs.field(factory=dict)

    async def spot(self, oracle: Address, feed: bytes, time: int) -> Offer:
        price = SpotPrice(feed=feed, time=time, price=self.spot_price * WAD)
        signed = [each.attest(price) for each in self.world.attesters]
        return Offer(price=price.price, observed_at=time, intent=submission(oracle, signed))

    async def settlement(self, oracle: Address, feed: bytes, time: int) -> Intent | None:
        if time not in self.settlements:
            return None
        told = SettlementPrice(feed=feed, time=time, price=self.settlements[time] * WAD)
        return submission(oracle, [each.attest(told) for each in self.world.attesters])


async def until_alert(monitor: Monitor, code: AlertCode) -> Alert:
    with trio.fail_after(PATIENCE):
        async for alert in monitor.alerts:
            assert alert.code is not AlertCode.BUG, alert.text
            if alert.code is code:
                return alert
    raise AssertionError("the monitor ended")


async def disputed(world: World, chain: EthereumChain) -> tuple[Terms, Portfolio, Evidence]:
    """A channel in its window on the newest state there is."""
    terms = world.terms()
    await chain.submit(await world.opening(terms, DEPOSIT), key=b"open")
    portfolio = long_put(await world.control.time())
    newest = world.cosigned(terms, 3, portfolio)
    with trio.fail_after(PATIENCE):
        await chain.wait_mined(b"open")
        await chain.submit(Dispute(terms=terms, newest=newest), key=b"dispute")
        await chain.wait_mined(b"dispute")
    return terms, portfolio, Evidence(terms=terms, states=(newest,), risk=RISK)


async def check_close_out(
    world: World, terms: Terms, portfolio: Portfolio, *, price: int, at: int
) -> None:
    """Both wallets have what the pricing engine says: B was called, and closed out at ``price``."""
    value = close_out_value(
        portfolio.positions,
        spots(price),
        {each.feed: each for each in RISK},
        UNIT,
        marked_at=portfolio.marked_at,
        at=at,
        called=Party.B.sign,
    )
    penalty = portfolio.margin_b * terms.default_penalty_bps // 10_000
    paid_a = DEPOSIT - portfolio.net_to_b + value + penalty
    assert DEPOSIT < paid_a < 2 * DEPOSIT
    assert await world.token.balance(world.a.address) == FUNDS - DEPOSIT + paid_a
    assert await world.token.balance(world.b.address) == FUNDS + DEPOSIT - paid_a


async def test_a_short_counterparty_is_called_and_closed_out(world: World, tmp_path: Path) -> None:
    attested = Attested(world)
    async with (
        world.open(world.a) as alice,
        world.open(world.b) as bob,
        open_store(tmp_path / "alice.db") as store,
        open_monitor(alice, records=store.records("monitor"), prices=attested) as monitor,
    ):
        terms, portfolio, evidence = await disputed(world, bob)
        await monitor.watch(attrs.evolve(evidence, side=Party.A))
        identity = channel_id(world.domain, terms)
        await monitor.ready()
        # At 3,000 nobody is short, and the oracle is brought nothing.
        await world.control.mine(2)
        assert await alice.oracle(terms.oracle).spot(FEED) is None

        attested.spot_price = 2_300
        await world.control.mine()
        called = await until_done(monitor, Duty.CALL_MARGIN)
        assert called.channel_id == identity
        view = await alice.view(identity)
        assert view.cure_end(Party.A) == 0
        cure_end = view.cure_end(Party.B)
        attested.settlements[cure_end] = 2_250
        await world.control.advance_time(to=max(cure_end, view.deadline))
        await until_alert(monitor, AlertCode.PRICE_OVERDUE)
        with trio.fail_after(PATIENCE):
            await alice.wait_mined(b"price" + terms.oracle + FEED + cure_end.to_bytes(8, "big"))
        await world.control.advance_time(by=61)
        await until_done(monitor, Duty.CLOSE_OUT)
        assert (await alice.view(identity)).phase is OnChainPhase.CLOSED
        await until_finished(world, monitor)
    await check_close_out(world, terms, portfolio, price=2_250, at=cure_end)


async def test_the_deposit_that_the_called_side_is_told_of_cures(
    world: World, tmp_path: Path
) -> None:
    attested = Attested(world, spot_price=2_300)
    async with (
        world.open(world.a) as alice,
        world.open(world.b) as bob,
        open_store(tmp_path / "alice.db") as store,
        open_store(tmp_path / "bob.db") as bobs,
        open_monitor(alice, records=store.records("monitor"), prices=attested) as monitor,
        open_monitor(bob, records=bobs.records("monitor")) as bobs_monitor,
    ):
        terms, portfolio, evidence = await disputed(world, bob)
        await monitor.watch(attrs.evolve(evidence, side=Party.A))
        await bobs_monitor.watch(attrs.evolve(evidence, side=Party.B))
        identity = channel_id(world.domain, terms)
        await until_done(monitor, Duty.CALL_MARGIN)
        told = await until_alert(bobs_monitor, AlertCode.MARGIN_CALLED)
        view = await bob.view(identity)
        cure_end = view.cure_end(Party.B)
        assert told.facts == (("party", "B"), ("cure_end", cure_end))
        top_up = dict(told.figures)["top_up"]
        assert top_up == shortfall(portfolio, 2_300, cure_end)
        assert isinstance(top_up, int)
        with trio.fail_after(PATIENCE):
            await bob.submit(Deposit(terms=terms, party=Party.B, amount=top_up), key=b"cure")
            await bob.wait_mined(b"cure")

        attested.settlements[cure_end] = 2_300
        await world.control.advance_time(to=max(cure_end, view.deadline))
        await until_alert(monitor, AlertCode.PRICE_OVERDUE)
        with trio.fail_after(PATIENCE):
            await alice.wait_mined(b"price" + terms.oracle + FEED + cure_end.to_bytes(8, "big"))
        await world.control.advance_time(by=61)
        cured = await until_alert(monitor, AlertCode.MARGIN_CURED)
        assert ("cure_end", cure_end) in cured.facts
        await world.control.mine(3)
        view = await alice.view(identity)
        assert view.phase is OnChainPhase.RUN_OFF
        assert view.contribution(Party.B) == DEPOSIT + top_up


async def test_our_own_party_has_what_it_does_not_need_released(
    world: World, tmp_path: Path
) -> None:
    async with (
        world.open(world.a) as alice,
        world.open(world.b) as bob,
        open_store(tmp_path / "alice.db") as store,
        open_monitor(
            alice,
            records=store.records("monitor"),
            policy=Policy(least_release=100 * UNIT),
            prices=Attested(world),
        ) as monitor,
    ):
        terms, portfolio, evidence = await disputed(world, bob)
        await monitor.watch(attrs.evolve(evidence, side=Party.A))
        deadline = (await bob.view(channel_id(world.domain, terms))).deadline
        await world.control.advance_time(to=deadline)
        released = await until_done(monitor, Duty.RELEASE)
        assert released.channel_id == channel_id(world.domain, terms)
    # Alice bought her put and paid for it: it can cost her nothing more, and all her cash is free.
    assert await world.token.balance(world.a.address) == FUNDS - portfolio.net_to_b


def shortfall(portfolio: Portfolio, price: int, at: int) -> int:
    """What B lacks of its maintenance margin, by the margin model alone."""
    value, maintenance = assessment(portfolio, price, at, Party.B, ())
    return maintenance - (DEPOSIT + portfolio.net_to_b + value)
