"""A margin call nobody meets, from the falling price to the payout, without a human.

Peer and monitor of one side do all of it: the re-mark, the call, the dispute at its due time, the
margin call on chain, the price of the cure's end, the close-out. What is paid is worked out from
the last state both signed by the pricing engine's close-out, and by the conservation of money.
"""

from __future__ import annotations

from pathlib import Path

import trio

from channels.dispute import Duty, DutySubmitted, Monitor
from channels.peer import CreditPolicy
from channels.pricing import close_out_value
from channels.protocol.channel import Phase
from channels.protocol.effects import MarginCallSent, MarginCallUnmet
from channels.protocol.facts import OnChainPhase
from channels.protocol.types import Party, Spot
from tests.chain.world import FUNDS, World
from tests.dispute.test_end_to_end import until_done
from tests.dispute.test_margin_end_to_end import Attested
from tests.peer.world import DEPOSIT, FEED, PATIENCE, RISK, SLOT, UNIT, WAD, trade, trading

POLICY = CreditPolicy(margin_due=600)
PUTS = 60
FALLEN = 2_400


async def price_key(monitor: Monitor) -> bytes:
    """The job that brings the oracle the price of the cure's end."""
    with trio.fail_after(PATIENCE):
        async for report in monitor.reports:
            if isinstance(report, DutySubmitted) and report.key.startswith(b"price"):
                return report.key
    raise AssertionError("the monitor ended")


async def test_an_unmet_call_is_closed_out(world: World, tmp_path: Path) -> None:
    attested = Attested(world, spot_price=FALLEN)
    async with trading(
        world,
        tmp_path,
        alice={"credit": POLICY, "monitored": True, "prices": attested},
        bob={"credit": POLICY},
    ) as pair:
        monitor, channel = pair.alice.monitor, pair.alice.channel
        assert monitor is not None
        await trade(pair.alice, PUTS)
        await pair.travel(by=12, spot=FALLEN * WAD)
        sent = await pair.alice.told(MarginCallSent)
        await pair.settled()
        fresh = sent.call.due_by - 3 * SLOT
        await pair.travel(to=sent.call.due_by - SLOT)
        await channel._until(lambda state: state.portfolio.marked_at >= fresh, PATIENCE, "mark")
        await pair.travel(to=sent.call.due_by)
        await pair.alice.told(MarginCallUnmet)
        await channel._until(lambda state: state.phase is Phase.DISPUTED, PATIENCE, "dispute")

        called = await until_done(monitor, Duty.CALL_MARGIN)
        assert called.channel_id == channel.channel_id
        portfolio = channel.portfolio
        view = await pair.alice.chain.view(channel.channel_id)
        assert view.portfolio_hash == portfolio.struct_hash, "the newest marks were filed"
        assert (view.cure_end(Party.A), view.filer) == (0, Party.A)
        cure_end = view.cure_end(Party.B)
        attested.settlements[cure_end] = FALLEN
        await world.control.advance_time(to=max(cure_end, view.deadline))
        await pair.alice.chain.wait_mined(await price_key(monitor))
        await world.control.advance_time(by=61)
        await until_done(monitor, Duty.CLOSE_OUT)
        await channel.wait_closed(PATIENCE)
        ended = await pair.alice.chain.view(channel.channel_id)
        assert ended.phase is OnChainPhase.CLOSED

    value = close_out_value(
        portfolio.positions,
        (Spot(feed=FEED, price=FALLEN * WAD),),
        {each.feed: each for each in RISK},
        UNIT,
        marked_at=portfolio.marked_at,
        at=cure_end,
        called=Party.B.sign,
    )
    penalty = portfolio.margin_b * channel.terms.default_penalty_bps // 10_000
    paid_a = min(DEPOSIT - portfolio.net_to_b + value + penalty, 2 * DEPOSIT)
    assert paid_a > DEPOSIT
    assert await world.token.balance(world.a.address) == FUNDS - DEPOSIT + paid_a
    assert await world.token.balance(world.b.address) == FUNDS + DEPOSIT - paid_a
