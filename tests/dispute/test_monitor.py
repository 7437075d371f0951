"""The monitor against a chain in memory: what it does, when, and what it leaves alone."""

from __future__ import annotations

from functools import partial

import attrs
import trio
import trio.testing

from channels.dispute import AlertCode, DutyDone, DutySubmitted, Level, Pace, watch_channels
from channels.dispute.reports import Stream
from channels.protocol.calls import Checkpoint, Claim, CoSigned, Settle
from channels.protocol.facts import OnChainPhase
from channels.protocol.types import Party
from tests.dispute.build import (
    BTC,
    DEPOSIT,
    ETH,
    EXPIRY,
    HOUR,
    ID,
    PENALTY,
    TERMS,
    UNIT,
    WINDOW,
    co_signed,
    evidence,
    make_portfolio,
    make_terms,
    put,
)
from tests.dispute.conftest import Standing, filing, sent
from tests.dispute.fakes import FINALITY, SLOT, FakeChain, FakeRecords, SetPrice


async def test_answers_a_stale_dispute_in_the_block_after_and_sees_it_paid(
    chain: FakeChain, records: FakeRecords, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(40), side=Party.A))
        await stand.mine(filing(co_signed(3)))
        assert sent(chain) == [40]
        assert stand.codes == [AlertCode.STALE_DISPUTE]
        await stand.mine()
        assert chain.view_now(ID).nonce == 40
        await stand.mine(time=chain.view_now(ID).deadline)
        await stand.mine()
        # A has paid B 40; B filed 37 nonces behind and owes A the penalty.
        assert chain.blocks[-1].world.paid[ID] == (
            DEPOSIT - 40 * UNIT + PENALTY,
            DEPOSIT + 40 * UNIT - PENALTY,
        )
        assert sent(chain) == [40, "settle"]
        watched = [stand.monitor.channels]
        await stand.mine(blocks=FINALITY)
        watched.append(stand.monitor.channels)
        assert watched == [(ID,), ()]
        assert set(records.stored) == {b"cursor"}
        assert stand.kinds == [
            "DisputeFound",
            "DutySubmitted",
            "DutyDone",
            "DutySubmitted",
            "DutyDone",
            "ChannelFinished",
        ]
        answered = stand.reports[2]
        assert isinstance(answered, DutyDone)
        assert answered.chain_seconds == SLOT


async def test_an_honest_dispute_needs_no_answer(chain: FakeChain, standing: Standing) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        await stand.mine(filing(co_signed(7)))
        await stand.mine(blocks=3)
        assert sent(chain) == []
        assert stand.alerts == []


async def test_evidence_that_comes_during_the_window_is_used_at_once(
    chain: FakeChain, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        await stand.mine(filing(co_signed(7)))
        await stand.monitor.watch(evidence(co_signed(9)))
        await stand.settle_down()
        assert sent(chain) == [9]


async def test_stale_filings_in_sequence(chain: FakeChain, standing: Standing) -> None:
    """Each newer but stale state of theirs is passed again: nothing we hold is ever worn out."""
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(9)))
        chain.takes = False
        await stand.mine(filing(co_signed(1)))
        for nonce in (2, 3):
            await stand.mine(checkpoint(co_signed(nonce)))
        chain.takes = True
        await stand.mine()
        assert sent(chain) == [9]
        assert chain.view_now(ID).nonce == 9


def checkpoint(newest: CoSigned) -> Checkpoint:
    return Checkpoint(terms=TERMS, newest=newest)


async def test_calls_for_help_when_three_quarters_are_gone(
    chain: FakeChain, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        chain.takes = False
        await stand.mine(filing(co_signed(3)))
        await stand.mine(time=chain.view_now(ID).deadline - WINDOW // 4)
        near = [each for each in stand.alerts if each.code is AlertCode.DEADLINE_NEAR]
        assert [each.level for each in near] == [Level.CRITICAL]
        await stand.mine(blocks=3)
        assert stand.codes.count(AlertCode.DEADLINE_NEAR) == 1
        await stand.mine(time=chain.view_now(ID).deadline)
        assert AlertCode.STALE_STANDS in stand.codes


async def test_records_a_boxed_state_where_asked(chain: FakeChain, standing: Standing) -> None:
    async with standing() as stand:
        box = chain.time + 10 * SLOT
        boxed = co_signed(8, valid_until=box)
        due = chain.time + 3 * SLOT
        await stand.monitor.watch(evidence(boxed, affirm_by=due))
        await stand.mine(blocks=2)
        assert sent(chain) == []
        await stand.mine()
        assert sent(chain) == [8]
        await stand.mine(blocks=3)
        assert chain.view_now(ID).nonce == 8
        assert stand.alerts == []
        assert stand.kinds == ["DutySubmitted", "DutyDone"]


async def test_a_boxed_state_affirmed_in_time_is_not_recorded(
    chain: FakeChain, standing: Standing
) -> None:
    async with standing() as stand:
        boxed = co_signed(8, valid_until=chain.time + 10 * SLOT)
        await stand.monitor.watch(evidence(boxed, affirm_by=chain.time + 3 * SLOT))
        await stand.monitor.watch(evidence(co_signed(9)))
        await stand.mine(blocks=12)
        assert sent(chain) == []
        assert stand.alerts == []


async def test_settles_at_each_expiry_once_priced_and_asks_only_then(
    chain: FakeChain, standing: Standing
) -> None:
    later = EXPIRY + 24 * HOUR
    state = co_signed(5, make_portfolio(0, put(2), put(-1, expiry=later)))
    async with standing() as stand:
        await stand.monitor.watch(evidence(state))
        await stand.mine(filing(state))
        await stand.mine(time=chain.view_now(ID).deadline)
        await stand.mine(blocks=20)
        assert (sent(chain), chain.reads["price"]) == ([], 0)
        await stand.mine(time=EXPIRY)
        await stand.mine()
        await stand.mine()
        assert (sent(chain), chain.reads["price"]) == ([], 3)
        await stand.mine(SetPrice(feed=ETH, time=EXPIRY, price=2_500))
        await stand.mine()
        assert sent(chain) == ["settle"]
        asked = chain.reads["price"]
        await stand.mine(blocks=5)
        assert chain.reads["price"] == asked
        await stand.mine(SetPrice(feed=ETH, time=later, price=2_900), time=later)
        await stand.mine()
        # A is paid 2 x 500 of the first, and pays 100 of the second.
        assert chain.blocks[-1].world.paid[ID] == (DEPOSIT + 900 * UNIT, DEPOSIT - 900 * UNIT)
        assert stand.alerts == []


async def test_learns_the_portfolio_from_the_dispute(chain: FakeChain, standing: Standing) -> None:
    theirs = co_signed(9, make_portfolio(7, put()))
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(5)))
        await stand.mine(filing(theirs))
        assert stand.codes == [AlertCode.EVIDENCE_MISSING]
        await stand.mine(SetPrice(feed=ETH, time=EXPIRY, price=3_000), time=EXPIRY)
        await stand.mine()
        assert chain.view_now(ID).phase is OnChainPhase.CLOSED


async def test_learns_the_portfolio_of_a_state_filed_in_the_window(
    chain: FakeChain, standing: Standing
) -> None:
    """Ours was lost, or never reached us: the other side's filing is how we can settle it."""
    theirs = co_signed(9, make_portfolio(7, put()))
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(2)))
        await stand.mine(filing(co_signed(2)))
        await stand.mine(filing(theirs))
        assert chain.view_now(ID).nonce == 9
        await stand.mine(SetPrice(feed=ETH, time=EXPIRY, price=2_900), time=EXPIRY)
        await stand.mine()
        assert sent(chain) == ["settle"]
        assert chain.blocks[-1].world.paid[ID] == (DEPOSIT + 93 * UNIT, DEPOSIT - 93 * UNIT)


async def test_what_its_owner_knows_is_not_missing(chain: FakeChain, standing: Standing) -> None:
    """A withdrawal's state, or our own half that the other recorded: no two signatures are held."""
    known = attrs.evolve(evidence(co_signed(5)), known=9)
    async with standing() as stand:
        await stand.monitor.watch(known)
        await stand.mine(checkpoint(co_signed(9)))
        await stand.mine(blocks=2)
        assert stand.codes == []
        await stand.mine(checkpoint(co_signed(11)))
        assert stand.codes == [AlertCode.EVIDENCE_MISSING]


async def test_after_a_restart_the_owner_has_a_block_to_hand_over_what_it_stored_last(
    chain: FakeChain, standing: Standing
) -> None:
    """Killed between the store of the peer and that of its monitor."""
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(5)))
    chain.mine(checkpoint(co_signed(9)))
    async with standing() as stand:
        await stand.settle_down()
        assert stand.codes == []
        await stand.monitor.watch(evidence(co_signed(9)))
        await stand.mine(blocks=2)
        assert stand.codes == []
    chain.mine(checkpoint(co_signed(11)))
    async with standing() as stand:
        await stand.settle_down()
        await stand.mine()
        assert stand.codes == [AlertCode.EVIDENCE_MISSING]


async def test_a_claim_belongs_to_no_channel(chain: FakeChain, standing: Standing) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(40), side=Party.A))
        claim = Claim(token=TERMS.collateral, recipient=TERMS.party_b)
        await stand.mine(claim, filing(co_signed(3)))
        assert sent(chain) == [40]
        assert stand.codes == [AlertCode.STALE_DISPUTE]


async def test_says_when_the_recorded_portfolio_is_unknown(
    chain: FakeChain, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(5)))
        await stand.mine(checkpoint(co_signed(9)))
        assert stand.codes == [AlertCode.EVIDENCE_MISSING]
        await stand.mine(filing())
        assert AlertCode.PORTFOLIO_UNKNOWN in stand.codes
        await stand.mine(time=chain.view_now(ID).deadline)
        assert stand.alerts[-1].level is Level.CRITICAL
        await stand.monitor.watch(evidence(co_signed(9)))
        await stand.settle_down()
        assert sent(chain) == ["settle"]


async def test_a_settlement_that_no_event_told_of_is_worked_out(
    chain: FakeChain, standing: Standing
) -> None:
    later = EXPIRY + 24 * HOUR
    state = co_signed(5, make_portfolio(0, put(2), put(feed=BTC), put(expiry=later)))
    async with standing() as stand:
        await stand.monitor.watch(evidence(state))
        await stand.mine(filing(state))
        prices = [SetPrice(feed=each, time=EXPIRY, price=2_500) for each in (ETH, BTC)]
        chain.hide_logs = True
        theirs = Settle(terms=TERMS, portfolio=state.state.portfolio)
        await stand.mine(time=EXPIRY)
        await stand.mine(*prices, theirs)
        assert sent(chain) == []
        chain.hide_logs = False
        await stand.mine(SetPrice(feed=ETH, time=later, price=3_000), time=later)
        await stand.mine()
        assert chain.blocks[-1].world.paid[ID][0] == DEPOSIT + 1_500 * UNIT


# ---------------------------------------------------------------- many channels


async def test_a_head_costs_nothing_for_idle_channels(chain: FakeChain, standing: Standing) -> None:
    count = 300
    terms = [make_terms(each + 1) for each in range(count)]
    for each in terms:
        chain.open(each)
    async with standing() as stand:
        for each in terms:
            await stand.monitor.watch(evidence(terms=each))
        await stand.settle_down()
        assert chain.reads["view"] == count
        chain.reads.clear()
        await stand.mine(blocks=1)
        await stand.mine(blocks=1)
        assert (chain.reads["view"], chain.reads["dispute_count"]) == (0, 2)
        # New evidence for an open channel costs no read and no decision either.
        await stand.monitor.watch(evidence(co_signed(1, terms=terms[5]), terms=terms[5]))
        await stand.settle_down()
        assert (chain.reads["view"], chain.reads["dispute_count"]) == (0, 2)
        await stand.mine(filing(terms=terms[5]))
        assert chain.reads["view"] == 1
        assert sent(chain) == [1]


async def test_a_storm_of_disputes_in_one_block_is_answered_whole(
    chain: FakeChain, standing: Standing
) -> None:
    count = 60
    terms = [make_terms(each + 1) for each in range(count)]
    async with standing() as stand:
        for each in terms:
            chain.open(each)
            await stand.monitor.watch(evidence(co_signed(2, terms=each), terms=each))
        await stand.mine(*(filing(co_signed(1, terms=each), terms=each) for each in terms))
        assert sent(chain) == [2] * count
        await stand.mine()
        assert stand.kinds.count("DutyDone") == count


async def test_settlement_prices_are_asked_once_a_head_for_all_channels(
    chain: FakeChain, standing: Standing
) -> None:
    terms = [make_terms(each + 1) for each in range(10)]
    portfolio = make_portfolio(0, put())
    async with standing(pace=Pace(workers=1)) as stand:
        for each in terms:
            chain.open(each)
            state = co_signed(2, portfolio, terms=each)
            await stand.monitor.watch(evidence(state, terms=each))
        await stand.mine(
            *(filing(co_signed(2, portfolio, terms=each), terms=each) for each in terms)
        )
        await stand.mine(time=EXPIRY)
        chain.reads.clear()
        await stand.mine()
        await stand.mine()
        assert (chain.reads["price"], chain.reads["view"]) == (2, 0)
        await stand.mine(SetPrice(feed=ETH, time=EXPIRY, price=3_100))
        await stand.mine()
        assert len(chain.blocks[-1].world.paid) == 10


async def test_what_nobody_reads_gives_way_and_never_holds_up_a_defence() -> None:
    stream: Stream[int] = Stream(length=3)
    for each in range(5):
        stream.put(each)
    stream.close()
    assert [each async for each in stream] == [2, 3, 4]
    assert stream.lost == 2


async def test_the_command_lines_entry_runs_until_cancelled(
    chain: FakeChain, records: FakeRecords
) -> None:
    told: list[object] = []

    async def tell(each: object) -> None:
        told.append(each)

    watch = partial(
        watch_channels,
        chain,
        records=records,
        evidence=[evidence(co_signed(7))],
        on_alert=tell,
        on_report=tell,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(watch)
        chain.mine(filing(co_signed(3)))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert sent(chain) == [7]
    assert any(isinstance(each, DutySubmitted) for each in told)
