"""Margin calls, close-outs and releases on chain: their figures are Python's, to the last digit."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
import trio

from channels.chain import EthereumChain, SettlementPrice, SpotPrice
from channels.chain.attestations import submission
from channels.chain.deploy import send_now
from channels.chain.readers import Marks
from channels.errors import ContractRevertedError, InvalidValueError
from channels.pricing import ScanMargin, close_out_value, run_off_lock, shifted_positions
from channels.protocol.calls import (
    Call,
    CallMargin,
    Checkpoint,
    CloseOut,
    CoSigned,
    Dispute,
    Release,
)
from channels.protocol.facts import (
    ChainEvent,
    ChannelClosed,
    ClosedOut,
    MarginCalled,
    OnChainPhase,
    Released,
)
from channels.protocol.scenarios import ScenarioIndex, worst_scenarios
from channels.protocol.terms import RiskParams, Terms, channel_id
from channels.protocol.types import Party, Portfolio, Position, Spot
from tests.chain.test_round_trip import done, events_since
from tests.chain.world import DAY, FEED, FUNDS, HOUR, PATIENCE, WAD, World, new_key, up_to_date

UNIT = 10**6
DEPOSIT = 800 * UNIT
RISK = (RiskParams(feed=FEED),)
BY_FEED = {each.feed: each for each in RISK}
MODEL = ScanMargin(RISK)


def spots(price: int) -> tuple[Spot, ...]:
    return (Spot(feed=FEED, price=price * WAD),)


def book(now: int) -> Portfolio:
    """A is long a call and a digital, near and far; marked at 3,000, margins as peers sign them."""
    far = Position(
        feed=FEED,
        kind=0,
        expiry=(now // HOUR + 30 * 24) * HOUR,
        strike=3_000 * WAD,
        quantity=WAD,
        vol=6 * 10**17,
        carry=10**16,
    )
    near = attrs.evolve(
        far, kind=2, expiry=(now // HOUR + 40) * HOUR, strike=3_100 * WAD, quantity=50 * WAD
    )
    return marked((near, far), now)


def marked(positions: tuple[Position, ...], now: int) -> Portfolio:
    """These positions, marked at 3,000; nothing was gained yet, and margins are as peers sign."""
    marks = MODEL.requirements(positions, spots(3_000), now, UNIT)
    return Portfolio(
        net_to_b=marks.value_a,
        margin_a=marks.initial_a,
        margin_b=marks.initial_b,
        marked_at=now,
        spots=spots(3_000),
        positions=positions,
    )


async def quote_spot(world: World, price: int) -> None:
    """Bring the oracle a spot of this very second."""
    now = await world.control.time()
    signed = [
        each.attest(SpotPrice(feed=FEED, time=now, price=price * WAD)) for each in world.attesters
    ]
    await send_now(world.rpc, world.a, submission(world.deployment.oracle, signed))


async def settle_price(world: World, time: int, price: int) -> None:
    """Bring the oracle the price of a full hour, past its challenge delay."""
    told = SettlementPrice(feed=FEED, time=time, price=price * WAD)
    signed = [each.attest(told) for each in world.attesters]
    await send_now(world.rpc, world.a, submission(world.deployment.oracle, signed))
    await world.control.advance_time(by=61)


async def disputed(
    world: World, chain: EthereumChain, deposit: int = DEPOSIT
) -> tuple[Terms, Portfolio]:
    """A channel in its window on `book`."""
    terms = world.terms()
    await done(chain, await world.opening(terms, deposit), b"open" + terms.salt)
    portfolio = book(await world.control.time())
    newest = world.cosigned(terms, 3, portfolio)
    await done(chain, Dispute(terms=terms, newest=newest), b"dispute" + terms.salt)
    return terms, portfolio


async def refusal(chain: EthereumChain, call: Call) -> ContractRevertedError:
    key = new_key()
    with pytest.raises(ContractRevertedError) as caught:
        await done(chain, call, key)
    return caught.value


async def time_of(world: World, event: ChainEvent) -> int:
    block = await world.rpc.block(event.block_hash)
    assert block is not None
    return block.timestamp


def assessment(
    portfolio: Portfolio, price: int, at: int, party: Party, scenarios: Sequence[ScenarioIndex]
) -> tuple[int, int]:
    """Value and maintenance margin of a decision, by Python's engine alone."""
    shifted = shifted_positions(
        portfolio.positions,
        spots(price),
        BY_FEED,
        marked_at=portfolio.marked_at,
        at=at,
        favoured=party.sign,
    )
    whole = MODEL.explain_party(shifted, spots(price), at, UNIT, side=party.sign)
    if not scenarios:
        return whole.value, whole.maintenance
    worst = whole.feeds[FEED].worst
    assert worst is not None
    return MODEL.shown(shifted, spots(price), at, UNIT, side=party.sign, scenarios={FEED: worst})


@pytest.mark.parametrize("shown", [True, False], ids=["scenarios", "whole"])
async def test_margin_is_called_and_the_channel_closed_out(embedded: World, shown: bool) -> None:
    world = embedded
    async with world.open(world.a) as chain:
        first = chain.head.number
        terms, portfolio = await disputed(world, chain)
        identity = channel_id(world.domain, terms)
        await quote_spot(world, 3_600)
        await up_to_date(chain)

        now = chain.head.timestamp
        scenarios = (
            worst_scenarios(portfolio, spots(3_600), RISK, at=now, party=Party.B) if shown else ()
        )
        call = CallMargin(
            terms=terms, risk=RISK, portfolio=portfolio, party=Party.B, scenarios=scenarios
        )
        rich = await refusal(chain, attrs.evolve(call, party=Party.A, scenarios=()))
        assert rich.reason == "NotShort"
        assert isinstance(rich.arguments["equity"], int)
        assert rich.arguments["equity"] >= int(str(rich.arguments["maintenance"]))
        await done(chain, call, b"call")
        view = await chain.view(identity)
        assert view.cure_end(Party.A) == 0
        again = await refusal(chain, call)
        assert (again.reason, again.arguments) == (
            "CallUndecided",
            {"party": Party.B, "cureEnd": view.cure_end(Party.B)},
        )

        close = CloseOut(
            terms=terms, risk=RISK, portfolio=portfolio, party=Party.B, scenarios=scenarios
        )
        cure_end = view.cure_end(Party.B)
        await world.control.advance_time(to=max(cure_end, view.deadline))
        blind = await refusal(chain, close)
        assert (blind.reason, blind.arguments) == ("PriceUnknown", {"feed": FEED, "time": cure_end})
        await settle_price(world, cure_end, 3_620)
        with trio.fail_after(PATIENCE):
            await chain.wait_until(cure_end + 61)
        at_end = worst_scenarios(portfolio, spots(3_620), RISK, at=cure_end, party=Party.B)
        await done(chain, attrs.evolve(close, scenarios=at_end if shown else ()), b"close out")
        assert (await chain.view(identity)).phase is OnChainPhase.CLOSED
        events = await events_since(chain, first)
        value_on_chain = await chain.risk_engine.close_out_value(
            Marks(
                positions=portfolio.positions,
                spots=spots(3_620),
                risk=RISK,
                unit=UNIT,
                time=cure_end,
            ),
            marked_at=portfolio.marked_at,
            called=Party.B,
        )

    called = events[2]
    assert isinstance(called, MarginCalled)
    at = await time_of(world, called)
    assert (called.party, called.cure_end) == (Party.B, -(-(at + HOUR) // HOUR) * HOUR)
    value, maintenance = assessment(portfolio, 3_600, at, Party.B, scenarios)
    assert called.equity == DEPOSIT + portfolio.net_to_b + value
    assert called.maintenance == maintenance
    assert called.equity < called.maintenance

    closed_out, closed = events[3:]
    assert isinstance(closed_out, ClosedOut)
    value = close_out_value(
        portfolio.positions,
        spots(3_620),
        BY_FEED,
        UNIT,
        marked_at=portfolio.marked_at,
        at=cure_end,
        called=Party.B.sign,
    )
    assert (closed_out.party, closed_out.value) == (Party.B, value)
    assert value_on_chain == value
    assert closed_out.penalty == portfolio.margin_b * 500 // 10_000 > 0
    assert isinstance(closed, ChannelClosed)
    paid_a = DEPOSIT - portfolio.net_to_b + value + closed_out.penalty
    assert (closed.paid_a, closed.paid_b) == (paid_a, 2 * DEPOSIT - paid_a)
    assert await world.token.balance(world.a.address) == FUNDS - DEPOSIT + paid_a


async def test_both_parties_release_what_they_do_not_need(embedded: World) -> None:
    world = embedded
    async with world.open(world.a) as chain, world.open(world.b) as chain_b:
        first = chain.head.number
        terms, portfolio = await disputed(world, chain, 3 * DEPOSIT)
        identity = channel_id(world.domain, terms)
        release = Release(terms=terms, risk=RISK, portfolio=portfolio)
        early = await refusal(chain, release)
        assert (early.reason, early.arguments) == ("WrongPhase", {"phase": OnChainPhase.DISPUTED})

        deadline = (await chain.view(identity)).deadline
        await world.control.advance_time(to=deadline)
        unpriced = await refusal(chain_b, release)
        assert (unpriced.reason, unpriced.arguments) == (
            "SpotTooOld",
            {"feed": FEED, "updatedAt": 0},
        )
        await quote_spot(world, 2_900)
        await done(chain, release, b"release a")
        await done(chain_b, release, b"release b")
        twice = await refusal(chain_b, release)
        assert (twice.reason, twice.arguments) == ("AlreadyReleased", {"party": Party.B})
        await up_to_date(chain)
        view = await chain.view(identity)
        assert (view.released_a, view.released_b, view.settled) == (True, True, False)
        assert all(view.released(party) for party in Party)
        events = await events_since(chain, first)

    expected = {
        Party.A: 3 * DEPOSIT - portfolio.net_to_b,
        Party.B: 3 * DEPOSIT + portfolio.net_to_b,
    }
    for released, party in zip(events[2:], Party, strict=True):
        assert isinstance(released, Released)
        lock = run_off_lock(
            portfolio.positions,
            spots(2_900),
            MODEL,
            UNIT,
            at=await time_of(world, released),
            side=party.sign,
        )
        assert (lock > 0) is (party is Party.B)
        assert (released.party, released.amount) == (party, expected[party] - lock)
        assert view.contribution(party) == 3 * DEPOSIT - released.amount


async def test_the_risk_engine_answers_as_python_does(embedded: World) -> None:
    async with embedded.open(embedded.a) as chain:
        engine, now = chain.risk_engine, chain.head.timestamp
        portfolio = book(now)
        at = now + 5 * HOUR
        marks = Marks(
            positions=portfolio.positions, spots=spots(3_300), risk=RISK, unit=UNIT, time=at
        )
        assert await engine.risk_hash(RISK) == embedded.terms().risk_hash
        assert await engine.margins(marks) == MODEL.requirements(
            portfolio.positions, spots(3_300), at, UNIT
        )
        for party in Party:
            worst = worst_scenarios(portfolio, spots(3_300), RISK, at=at, party=party)
            for scenarios in ((), worst):
                told = await engine.assess(marks, marked_at=now, party=party, scenarios=scenarios)
                expected = assessment(portfolio, 3_300, at, party, scenarios)
                assert (told.value, told.maintenance) == expected
            lock = run_off_lock(
                portfolio.positions, spots(3_300), MODEL, UNIT, at=at, side=party.sign
            )
            assert await engine.run_off_lock(marks, party=party) == lock
            value = close_out_value(
                portfolio.positions,
                spots(3_300),
                BY_FEED,
                UNIT,
                marked_at=now,
                at=at,
                called=party.sign,
            )
            assert await engine.close_out_value(marks, marked_at=now, called=party) == value
        unshifted = MODEL.requirements(portfolio.positions, spots(3_300), at, UNIT).value_a
        both = await engine.close_out_value(marks, marked_at=now, called=None)
        assert both == unshifted
        with pytest.raises(ContractRevertedError) as caught:
            await engine.margins(attrs.evolve(marks, spots=()))
        assert (caught.value.reason, caught.value.arguments) == ("NoSpot", {"feed": FEED})


def test_the_worst_scenario_may_be_a_nodes() -> None:
    """A straddle near expiry is worth least where the price stops at its strike, vol falling."""
    now = 1_750_000_000 // HOUR * HOUR
    call = Position(
        feed=FEED,
        kind=0,
        expiry=now + DAY,
        strike=3_100 * WAD,
        quantity=WAD,
        vol=6 * 10**17,
        carry=0,
    )
    straddle = (call, attrs.evolve(call, kind=1))
    portfolio = Portfolio(marked_at=now, spots=spots(3_000), positions=straddle)
    [worst] = worst_scenarios(portfolio, spots(3_000), RISK, at=now, party=Party.A)
    assert worst == ScenarioIndex(node=1, number=1)
    [worst] = worst_scenarios(portfolio, spots(3_000), RISK, at=now, party=Party.B)
    assert worst.node == 0
    none_left = worst_scenarios(portfolio, spots(3_000), RISK, at=now + DAY, party=Party.A)
    assert none_left == ()
    with pytest.raises(InvalidValueError):
        worst_scenarios(portfolio, (), RISK, at=now, party=Party.A)


def test_where_nothing_costs_any_scenario_will_do() -> None:
    now = 1_750_000_000 // HOUR * HOUR
    worthless = Position(
        feed=FEED,
        kind=2,
        expiry=now + 1,
        strike=30_000 * WAD,
        quantity=WAD,
        vol=10**16,
        carry=0,
    )
    portfolio = Portfolio(marked_at=now, spots=spots(3_000), positions=(worthless,))
    [worst] = worst_scenarios(portfolio, spots(3_000), RISK, at=now, party=Party.A)
    assert worst == ScenarioIndex(number=0)


async def test_checkpoint_in_the_window_moves_what_is_called_on(embedded: World) -> None:
    world = embedded
    async with world.open(world.a) as chain:
        terms, portfolio = await disputed(world, chain)
        newer: CoSigned = world.cosigned(terms, 5, attrs.evolve(portfolio, net_to_b=7))
        await done(chain, Checkpoint(terms=terms, newest=newer), b"newer")
        await quote_spot(world, 3_600)
        stale = CallMargin(terms=terms, risk=RISK, portfolio=portfolio, party=Party.B)
        error = await refusal(chain, stale)
        assert error.reason == "PortfolioMismatch"
        assert error.arguments == {
            "recorded": newer.state.portfolio.struct_hash,
            "given": portfolio.struct_hash,
        }
