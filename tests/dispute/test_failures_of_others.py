"""How other towers lost money, each as a test that this one does not.

Source: design, watchtower.md "Known ways others fail".
"""

from __future__ import annotations

import pytest

from channels.chain.records import Stage
from channels.dispute import AlertCode, open_monitor
from channels.protocol.facts import OnChainPhase
from tests.dispute.build import EXPIRY, ID, WINDOW, co_signed, evidence, make_portfolio, put
from tests.dispute.conftest import Standing, filing, sent
from tests.dispute.fakes import SLOT, FakeChain, FakeRecords, SetPrice


@pytest.mark.parametrize("logs", ["shown", "withheld"])
async def test_lnd_restart_at_the_tip_skipping_downtime(
    chain: FakeChain, standing: Standing, logs: str
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        await stand.mine()
    chain.hide_logs = logs == "withheld"
    chain.mine(filing(co_signed(3)))
    chain.mine(blocks=200)
    async with standing() as stand:
        await stand.monitor.ready()
        assert sent(chain) == [7]
        assert not stand.monitor.degraded
        await stand.mine()
        assert chain.view_now(ID).nonce == 7


async def test_lnd_what_a_dispute_showed_during_downtime_is_found_again(
    chain: FakeChain, standing: Standing
) -> None:
    """The portfolio of a state we never held stands in the dispute alone."""
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        await stand.mine()
    chain.mine(filing(co_signed(9, make_portfolio(3, put()))))
    chain.mine(blocks=200)
    chain.mine(SetPrice(feed=put().feed, time=EXPIRY, price=3_000), time=EXPIRY)
    async with standing() as stand:
        await stand.mine()
        await stand.mine()
        assert chain.view_now(ID).phase is OnChainPhase.CLOSED


async def test_a_boxed_state_does_not_overwrite_the_permanent_one_below_it(
    chain: FakeChain, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(6)))
        boxed = co_signed(8, valid_until=chain.time + 3 * SLOT)
        await stand.monitor.watch(evidence(boxed))
        chain.takes = False
        await stand.mine(filing(co_signed(3)))
        assert sent(chain) == [8]
        await stand.mine()
        await stand.mine()
        assert chain.time == boxed.state.valid_until
        assert sent(chain) == [8, 6]
        chain.takes = True
        await stand.mine()
        assert chain.view_now(ID).nonce == 6


async def test_a_boxed_state_does_not_overwrite_it_across_a_restart_either(
    chain: FakeChain, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(6)))
        await stand.monitor.watch(evidence(co_signed(8, valid_until=chain.time + 3 * SLOT)))
    chain.mine(filing(co_signed(3)), time=chain.time + 4 * SLOT)
    async with standing() as stand:
        await stand.mine()
        assert chain.view_now(ID).nonce == 6


@pytest.mark.parametrize("what", ["view", "dispute_count", "all", "submit"])
async def test_raiden_one_rpc_error_deletes_the_scheduled_response(
    chain: FakeChain, standing: Standing, what: str
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        await stand.mine()
        chain.down, chain.store_broken = what == "all", what == "submit"
        chain.failing[what] = 2
        await stand.mine(filing(co_signed(3)))
        assert (sent(chain) == [7]) is (what == "dispute_count")
        await stand.mine()
        chain.down = chain.store_broken = False
        await stand.mine()
        assert sent(chain) == [7]
        await stand.mine()
        assert chain.view_now(ID).nonce == 7


async def test_raiden_an_rpc_error_does_not_delete_a_settlement_either(
    chain: FakeChain, standing: Standing
) -> None:
    state = co_signed(5, make_portfolio(0, put()))
    async with standing() as stand:
        await stand.monitor.watch(evidence(state))
        await stand.mine(filing(state))
        await stand.mine(time=chain.view_now(ID).deadline)
        chain.down = True
        await stand.mine(SetPrice(feed=put().feed, time=EXPIRY, price=2_500), time=EXPIRY)
        await stand.mine()
        assert stand.codes == [AlertCode.CHAIN_TROUBLE, AlertCode.DUTY_DELAYED]
        chain.down = False
        await stand.mine()
        await stand.mine()
        assert chain.view_now(ID).phase is OnChainPhase.CLOSED


async def test_nitrolite_hash_recorded_as_done_before_inclusion(
    chain: FakeChain, standing: Standing
) -> None:
    """What was sent and then lost by the mempool, the manager and all is sent again."""
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        chain.takes = False
        await stand.mine(filing(co_signed(3)))
        for count in range(1, 4):
            assert sent(chain) == [7] * count
            assert "DutyDone" not in stand.kinds
            chain.evict()
            await stand.mine()
        chain.takes = True
        await stand.mine()
        assert chain.view_now(ID).nonce == 7
        assert stand.kinds[-1] == "DutyDone"


async def test_nitrolite_a_monitor_killed_after_sending_sends_again(
    chain: FakeChain, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        chain.takes = False
        await stand.mine(filing(co_signed(3)))
        assert sent(chain) == [7]
    chain.evict()
    chain.takes = True
    async with standing() as stand:
        assert sent(chain) == [7, 7]
        await stand.mine()
        assert chain.view_now(ID).nonce == 7


async def test_go_nitro_never_responds_at_all(chain: FakeChain, records: FakeRecords) -> None:
    """Defaults, no configuration, nobody who reads alerts: it defends all the same."""
    async with open_monitor(chain, records=records) as monitor:
        await monitor.watch(evidence(co_signed(7)))
        await monitor.ready()
        chain.mine(filing(co_signed(3)))
        while chain.view_now(ID).nonce != 7:
            submitted = await anext(monitor.reports)
            assert submitted is not None
            chain.mine()
        while chain.view_now(ID).phase is not OnChainPhase.CLOSED:
            chain.mine(time=chain.time + WINDOW)
            await anext(monitor.reports)


async def test_teos_a_refused_transaction_does_not_delete_the_evidence(
    chain: FakeChain, records: FakeRecords, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        chain.takes = False
        await stand.mine(filing(co_signed(3)))
        for job in chain.jobs.values():
            job.stage = Stage.FAILED
        await stand.mine()
        assert sent(chain) == [7, 7]
        assert ID in records.stored
        chain.takes = True
        await stand.mine()
        assert chain.view_now(ID).nonce == 7
