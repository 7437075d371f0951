"""The monitor in trouble: events withheld, endpoints and disks that fail, evidence that is bad."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from channels.chain.records import Stage
from channels.dispute import AlertCode, Level, Pace
from channels.errors import BadSignatureError, SchemaVersionError, StorageError
from channels.protocol.codec import pack
from channels.protocol.facts import ChannelView
from tests.dispute.build import (
    ID,
    WINDOW,
    co_signed,
    evidence,
    make_terms,
)
from tests.dispute.conftest import Standing, filing, sent
from tests.dispute.fakes import FakeChain, FakeJob, FakeRecords

# ---------------------------------------------------------------- what is withheld, what fails


async def test_a_dispute_that_no_event_told_of_is_found_by_its_number(
    chain: FakeChain, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        chain.hide_logs = True
        await stand.mine(filing(co_signed(3)))
        assert AlertCode.DISPUTES_MISSED in stand.codes
        assert sent(chain) == [7]
        assert not stand.monitor.degraded
        await stand.mine(blocks=3)
        assert stand.codes.count(AlertCode.DISPUTES_MISSED) == 1


async def test_degraded_until_everything_was_read(chain: FakeChain, standing: Standing) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        await stand.mine()
        chain.hide_logs = True
        chain.failing["view"] = 3
        await stand.mine(filing(co_signed(3)))
        degraded = [stand.monitor.degraded]
        for _ in range(3):
            await stand.mine()
            degraded.append(stand.monitor.degraded)
        assert degraded == [True, True, True, False]
        assert sent(chain) == [7]


async def test_one_channel_that_makes_our_code_fail_does_not_expose_the_others(
    chain: FakeChain, standing: Standing
) -> None:
    other = make_terms(1)
    poisoned = chain.open(other)
    chain.poisoned.add(poisoned)
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7, terms=other), terms=other))
        await stand.monitor.watch(evidence(co_signed(7)))
        await stand.mine(filing(co_signed(3)), filing(co_signed(3, terms=other), terms=other))
        assert stand.codes.count(AlertCode.BUG) == 1
        assert sent(chain) == [7]
        chain.poisoned.clear()
        await stand.mine()
        assert sent(chain) == [7, 7]


async def test_a_full_disk_does_not_stop_the_defence(
    chain: FakeChain, records: FakeRecords, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(5)))
        records.broken = True
        with pytest.raises(StorageError):
            await stand.monitor.watch(evidence(co_signed(7)))
        await stand.mine(filing(co_signed(3)))
        assert sent(chain) == [7]
        assert AlertCode.STORE_TROUBLE in stand.codes
        records.broken = False
        await stand.mine()
    async with standing() as stand:
        watched = stand.monitor.watched(ID)
        assert watched is not None
        assert watched.permanent_nonce == 7


async def test_the_chains_own_store_refusing_a_job_leaves_the_duty_pending(
    chain: FakeChain, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        chain.store_broken = True
        await stand.mine(filing(co_signed(3)))
        assert sent(chain) == []
        assert stand.alerts[-1].code is AlertCode.DUTY_DELAYED
        assert stand.alerts[-1].level is Level.CRITICAL
        chain.store_broken = False
        await stand.mine()
        assert sent(chain) == [7]


@pytest.mark.parametrize(
    ("lasts", "left", "told"),
    [
        (12, WINDOW // 2, [Level.WARNING]),
        (120, WINDOW // 2, [Level.WARNING, Level.CRITICAL]),
        (12, WINDOW // 4, [Level.CRITICAL]),
    ],
)
async def test_a_block_that_vanishes_unread_is_no_emergency_until_it_lasts(
    lasts: int,
    left: int,
    told: list[Level],
    chain: FakeChain,
    standing: Standing,
    autojump_clock: MockClock,
) -> None:
    """As in a reorganisation of a block or two; near the deadline it is one at once."""
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        chain.takes = False
        await stand.mine(filing(co_signed(3)))
        await stand.mine(time=chain.view_now(ID).deadline - left)
        chain.failing["view"] = 1_000
        await stand.mine()
        await trio.sleep(lasts)
        await stand.mine()
        delayed = [each.level for each in stand.alerts if each.code is AlertCode.DUTY_DELAYED]
        assert delayed == told
        chain.failing["view"] = 0
        chain.takes = True
        await stand.mine()
        assert sent(chain)[-1] == 7


async def test_tells_when_the_chain_does_not_take_the_answer(
    chain: FakeChain, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        chain.takes = False
        await stand.mine(filing(co_signed(3)))
        chain.stall("insufficient funds")
        await stand.mine()
        [delayed] = [each for each in stand.alerts if each.code is AlertCode.DUTY_DELAYED]
        assert ("reason", "insufficient funds") in delayed.facts
        await stand.mine(blocks=4)
        assert stand.codes.count(AlertCode.DUTY_DELAYED) == 1


async def test_a_used_up_budget_is_an_alert_and_drops_nothing(
    chain: FakeChain, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        chain.takes = False
        await stand.mine(filing(co_signed(3)))
        chain.stall("the fee limit is reached", exhausted=True)
        await stand.mine()
        [told] = [each for each in stand.alerts if each.code is AlertCode.BUDGET_EXHAUSTED]
        assert told.level is Level.CRITICAL
        assert told.channel_id == ID
        assert sent(chain) == [7]
        chain.takes = True
        await stand.mine()
        assert chain.view_now(ID).nonce == 7


async def test_a_final_transaction_without_effect_is_followed_by_another(
    chain: FakeChain, standing: Standing
) -> None:
    """As after a reorganisation that put our checkpoint before the opening."""
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        chain.takes = False
        await stand.mine(filing(co_signed(3)))
        [(key, call)] = chain.sent
        chain.jobs[key] = FakeJob(call, Stage.FINAL)
        chain.takes = True
        await stand.mine()
        await stand.mine()
        assert chain.view_now(ID).nonce == 7
        assert chain.sent[1][0] != key


async def test_a_head_that_stands_still_is_told_of(
    chain: FakeChain, standing: Standing, autojump_clock: MockClock
) -> None:
    async with standing(pace=Pace(stale_after=60)) as stand:
        await trio.sleep(59)
        assert stand.codes == []
        await trio.sleep(30)
        assert stand.codes == [AlertCode.HEAD_STALE]
        await stand.mine()
        await trio.sleep(90)
        assert stand.codes.count(AlertCode.HEAD_STALE) == 2


async def test_a_read_that_hangs_is_given_up_and_tried_again(
    chain: FakeChain, standing: Standing, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    real, hung = chain.view, [True]

    async def view(channel: bytes, block: bytes | None = None) -> ChannelView:
        if hung[0]:
            await trio.sleep_forever()
        return await real(channel, block)

    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        await stand.mine()
        monkeypatch.setattr(chain, "view", view)
        await stand.mine(filing(co_signed(3)))
        await trio.sleep(60)
        assert AlertCode.DUTY_DELAYED in stand.codes
        hung[0] = False
        await trio.sleep(60)
        assert sent(chain) == [7]


# ---------------------------------------------------------------- evidence and its store


async def test_watch_returns_only_when_the_evidence_is_durable(
    records: FakeRecords, standing: Standing
) -> None:
    async with standing() as stand, trio.open_nursery() as nursery:
        records.gate = trio.Event()
        returned = trio.Event()

        async def watch() -> None:
            await stand.monitor.watch(evidence(co_signed(7)))
            returned.set()

        nursery.start_soon(watch)
        await stand.settle_down()
        assert not returned.is_set()
        assert ID not in records.stored
        records.gate.set()
        await returned.wait()
        assert ID in records.stored


async def test_evidence_handed_over_at_once_ends_as_the_newest(
    records: FakeRecords, standing: Standing
) -> None:
    async with standing() as stand, trio.open_nursery() as nursery:
        for nonce in (3, 9, 5, 7, 1):
            nursery.start_soon(stand.monitor.watch, evidence(co_signed(nonce)))
    async with standing() as stand:
        watched = stand.monitor.watched(ID)
        assert watched is not None
        assert watched.permanent == co_signed(9)


async def test_bad_evidence_changes_nothing(records: FakeRecords, standing: Standing) -> None:
    bad = attrs.evolve(co_signed(9), signature_a=co_signed(7).signature_a)
    async with standing() as stand:
        with pytest.raises(BadSignatureError):
            await stand.monitor.watch(evidence(bad))
        assert stand.monitor.channels == ()
        assert ID not in records.stored


async def test_a_damaged_record_is_told_of_and_the_others_defended(
    chain: FakeChain, records: FakeRecords, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
    records.stored[b"x" * 32] = b"damaged"
    async with standing() as stand:
        assert stand.codes == [AlertCode.STORE_TROUBLE]
        await stand.mine(filing(co_signed(3)))
        assert sent(chain) == [7]
    assert records.stored[b"x" * 32] == b"damaged"


async def test_records_of_another_version_stop_the_start(
    records: FakeRecords, standing: Standing
) -> None:
    records.stored[b"x" * 32] = pack([99, []])
    with pytest.raises(SchemaVersionError):
        async with standing():
            pass  # pragma: no cover


async def test_a_channel_can_be_let_go(
    chain: FakeChain, records: FakeRecords, standing: Standing
) -> None:
    async with standing() as stand:
        await stand.monitor.watch(evidence(co_signed(7)))
        await stand.monitor.forget(ID)
        await stand.mine(filing(co_signed(3)))
        assert (sent(chain), stand.monitor.channels) == ([], ())
        assert ID not in records.stored
