"""The monitor when the chain reorganises, or shows blocks it was not told of."""

from __future__ import annotations

import trio
import trio.testing
from trio.testing import MockClock

from channels.dispute import AlertCode
from channels.protocol.facts import OnChainPhase
from tests.dispute.build import (
    ID,
    co_signed,
    evidence,
    make_terms,
)
from tests.dispute.conftest import Standing, filing, sent
from tests.dispute.fakes import FINALITY, FakeChain

# ---------------------------------------------------------------- reorganisations


async def test_answers_again_when_its_answer_is_reorganised_away(
    chain: FakeChain, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        await stand.mine(filing(co_signed(3)))
        await stand.mine(blocks=2)
        assert chain.view_now(ID).nonce == 7
        chain.evict()
        chain.takes = False
        chain.reorg(2, keep=True)
        await stand.settle_down()
        assert chain.view_now(ID).nonce == 3
        chain.takes = True
        await stand.mine()
        assert chain.view_now(ID).nonce == 7


async def test_a_dispute_that_vanishes_and_returns_with_another_nonce(
    chain: FakeChain, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        await stand.mine(filing(co_signed(3)))
        chain.reorg(1, keep=False)
        await stand.settle_down()
        await stand.mine(blocks=2)
        chain.takes = False
        await stand.mine(filing(co_signed(5)))
        chain.takes = True
        await stand.mine()
        assert chain.view_now(ID).nonce == 7
        assert not stand.monitor.degraded
        assert AlertCode.DISPUTES_MISSED not in stand.codes


async def test_a_closed_channel_is_kept_until_its_end_is_final(
    chain: FakeChain, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        await stand.mine(filing(co_signed(7)))
        await stand.mine(time=chain.view_now(ID).deadline)
        await stand.mine(blocks=2)
        assert chain.view_now(ID).phase is OnChainPhase.CLOSED
        chain.evict()
        chain.takes = False
        chain.reorg(2, keep=False)
        await stand.settle_down()
        assert stand.monitor.channels == (ID,)
        assert chain.view_now(ID).phase is OnChainPhase.RUN_OFF
        chain.takes = True
        await stand.mine(blocks=2)
        assert chain.view_now(ID).phase is OnChainPhase.CLOSED


async def test_when_finality_breaks_everything_is_read_again(
    chain: FakeChain, standing: Standing, autojump_clock: MockClock
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        chain.hide_logs = True
        chain.mine(filing(co_signed(3)))
        chain.break_finality()
        await trio.sleep(30)
        await stand.settle_down()
        assert AlertCode.CHAIN_TROUBLE in stand.codes
        assert sent(chain) == [7]
        assert not stand.monitor.degraded


async def test_an_end_read_ahead_of_the_followed_chain_is_not_believed(
    chain: FakeChain, standing: Standing, autojump_clock: MockClock
) -> None:
    """Nobody tells of the reorganisation of a block that was never told of."""
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        await stand.mine(filing(co_signed(7)))
        await stand.mine(time=chain.view_now(ID).deadline)
        chain.lagging = True
        await stand.mine()
        assert chain.view_now(ID).phase is OnChainPhase.CLOSED
        await trio.sleep(15)
        chain.evict()
        chain.takes = False
        chain.reorg(1, keep=False)
        chain.lagging = False
        await stand.mine(blocks=FINALITY + 2)
        assert stand.monitor.channels == (ID,)
        chain.takes = True
        await stand.mine()
        await stand.mine()
        assert chain.view_now(ID).phase is OnChainPhase.CLOSED


async def test_a_count_read_ahead_of_the_followed_chain_raises_no_false_alarm(
    chain: FakeChain, standing: Standing, autojump_clock: MockClock
) -> None:
    stranger = make_terms(1)
    chain.open(stranger)
    chain.lagging = True
    async with standing() as stand:
        chain.mine(filing(terms=stranger))
        await stand.monitor.watch(evidence(co_signed(7)))
        await trio.sleep(15)
        chain.reorg(1, keep=False)
        chain.lagging = False
        await stand.mine()
        await stand.mine(filing(co_signed(3)))
        assert sent(chain) == [7]
        assert AlertCode.DISPUTES_MISSED not in stand.codes
