"""A margin call from the falling price to the close-out, with attesters and nothing else to help.

Alice bought a put of Bob's; the price falls; her monitor finds the attesters' spot, brings it,
calls Bob, brings the price of the end of his cure, and closes him out.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import httpx
import pytest
import trio

from channels.chain import OracleDomain
from channels.chain.jobs import JobFinal, JobMined
from channels.dispute import Duty, open_monitor
from channels.prices import AttestationSource
from channels.protocol.facts import OnChainPhase
from channels.protocol.terms import channel_id
from channels.protocol.types import Party
from channels.storage import open_store
from tests.chain.world import FEED, World, embedded_world
from tests.dispute.test_end_to_end import PATIENCE, until_done, until_finished
from tests.dispute.test_margin_end_to_end import check_close_out, disputed
from tests.prices.world import Attesters

MINUTE = 60


@pytest.fixture
async def world() -> World:
    return await embedded_world(finality_depth=2)


async def test_the_price_falls_and_who_is_short_is_closed_out(world: World, tmp_path: Path) -> None:
    domain = OracleDomain(chain_id=1337, oracle=world.deployment.oracle)
    attesters = await Attesters.of(
        tuple(each._signer._key.secret for each in world.attesters), domain
    )
    async with (
        httpx.AsyncClient(transport=attesters.hosts) as client,
        world.open(world.a) as alice,
        world.open(world.b) as bob,
        open_store(tmp_path / "alice.db") as store,
        open_monitor(
            alice,
            records=store.records("monitor"),
            prices=AttestationSource(client, attesters.urls, world.rpc, reuse=0),
        ) as monitor,
    ):
        terms, portfolio, evidence = await disputed(world, bob)
        await monitor.watch(attrs.evolve(evidence, side=Party.A))
        identity = channel_id(world.domain, terms)
        await monitor.ready()

        now = await world.control.time()
        await attesters.tick(now - now % MINUTE)
        await world.control.mine(2)
        assert await alice.oracle(terms.oracle).spot(FEED) is None, "nobody is short at 3,000"

        # The next minute is 2,300 to two of them; the third is wrong, and the median not.
        attesters.say(2_300, 9_000, 2_300)
        fell = now - now % MINUTE + MINUTE
        await attesters.tick(fell)
        await world.control.advance_time(to=fell + 1)
        assert (await until_done(monitor, Duty.CALL_MARGIN)).channel_id == identity
        brought = await alice.oracle(terms.oracle).spot(FEED)
        assert brought is not None
        assert (brought.price, brought.observed_at) == (2_300 * 10**18, fell)

        view = await alice.view(identity)
        cure_end = view.cure_end(Party.B)
        attesters.say(2_250)
        for minute in range(31):
            await attesters.tick(cure_end - 1_800 + MINUTE * minute)
        with alice.job_updates() as updates, trio.fail_after(PATIENCE):
            await world.control.advance_time(to=max(cure_end, view.deadline))
            async for each in updates:
                if each.name == "submitSettlement" and isinstance(each, JobMined | JobFinal):
                    break
        await world.control.advance_time(by=61)
        await until_done(monitor, Duty.CLOSE_OUT)
        assert (await alice.view(identity)).phase is OnChainPhase.CLOSED
        await until_finished(world, monitor)
    await check_close_out(world, terms, portfolio, price=2_250, at=cure_end)
