"""Who holds which nonce: no gaps, nobody displaced who must not be, the most urgent first."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from channels.chain.abi import encode_words
from channels.chain.batches import LEAST_MEMBERS, MOST_MEMBERS, batches_of, is_recorded_by, may_join
from channels.chain.bindings import SELECTORS, encode_call
from channels.chain.fees import Urgency
from channels.chain.lanes import Lanes, place
from channels.chain.records import Attempt, JobRecord, Variant
from channels.chain.rpc import Log, Receipt
from channels.protocol.calls import Checkpoint, CheckpointMany
from channels.protocol.eip712 import Address, keccak
from tests.dispute.build import ID, TERMS, co_signed

FIRST, SECOND = Address(b"\x01" * 20), Address(b"\x02" * 20)
BASE_FEE = 100
DEPTH = 4


def job(
    number: int,
    *attempts: Attempt,
    deadline: int | None = None,
    stake: int = 0,
    anyone: bool = True,
    repeatable: bool = True,
) -> JobRecord:
    urgency = None if deadline is None else Urgency(opened=0, deadline=deadline, stake=stake)
    return JobRecord(
        key=b"job%d" % number,
        sequence=number,
        name="job",
        to=FIRST,
        data=SELECTORS["checkpoint"] + encode_words(number),
        value=0,
        answer=None,
        repeatable=repeatable,
        gas=0,
        fee_limit=0,
        attempts=attempts,
        anyone=anyone,
        urgency=urgency,
        channel=keccak(b"%d" % number),
    )


def attempt(nonce: int, max_fee: int = 200, account: Address = FIRST) -> Attempt:
    variant = Variant(hash=b"", raw=b"", max_fee=max_fee, priority_fee=1, gas=10)
    return Attempt(account=account, nonce=nonce, variants=(variant,))


def lanes(*jobs: JobRecord, balance: int = 10**6) -> Lanes:
    nonces, balances = {FIRST: 7, SECOND: 0}, {FIRST: balance, SECOND: balance}
    return Lanes((FIRST, SECOND), nonces, balances, jobs, depth=DEPTH)


def test_the_earliest_deadline_comes_first_then_the_greatest_stake_then_the_oldest() -> None:
    first, second, third = job(9, deadline=5), job(8, deadline=6, stake=9), job(3, deadline=6)
    fourth, last = job(7, deadline=6), job(1)
    assert sorted([last, fourth, third, second, first], key=place) == [
        first,
        second,
        third,
        fourth,
        last,
    ]


def test_whoever_bids_most_for_a_nonce_holds_it() -> None:
    displaced, holder = job(1, attempt(7, 200)), job(2, attempt(7, 225))
    for some in (lanes(displaced, holder), lanes(holder, displaced)):
        assert some.held(holder)
        assert not some.held(displaced)
        assert some.live(displaced)
        assert some.next_nonce(FIRST) == 8


def test_nonces_that_are_used_up_are_neither_live_nor_held() -> None:
    mined = job(1, attempt(6))
    some = lanes(mined)
    assert not some.live(mined)
    assert some.are_empty
    assert (some.next_nonce(FIRST), some.next_nonce(SECOND)) == (7, 0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=20))
def test_there_is_never_a_gap_and_never_too_many_at_once(steps: list[tuple[bool, bool]]) -> None:
    some, sent = lanes(), dict[Address, list[int]]()
    for number, (anyone, urgent) in enumerate(steps):
        wanted = job(number, anyone=anyone, deadline=1 if urgent else None)
        account = some.room_for(wanted, BASE_FEE)
        if account is None:
            full = [FIRST, SECOND] if anyone else [FIRST]
            assert all(len(sent[each]) == DEPTH for each in full)
            continue
        assert anyone or account == FIRST
        nonce = some.next_nonce(account)
        placed = attempt(nonce, account=account)
        some.put(attrs.evolve(wanted, attempts=(placed,)), placed)
        sent.setdefault(account, []).append(nonce)
    assert sent.get(FIRST, []) == list(range(7, 7 + len(sent.get(FIRST, []))))
    assert sent.get(SECOND, []) == list(range(len(sent.get(SECOND, []))))


def test_a_nonce_that_cannot_be_mined_is_open_to_others_unless_its_job_must_not_run_twice() -> None:
    stuck, deposit = job(1, attempt(7, 99)), job(2, attempt(8, 99), repeatable=False)
    fine = job(3, attempt(9, 100))
    some = lanes(stuck, deposit, fine)
    assert [each.job for each in some.stuck_for(job(4), BASE_FEE)] == [stuck]
    assert some.stuck_for(stuck, BASE_FEE) == []
    assert [each.job for each in some.holding_up(BASE_FEE)] == [stuck, deposit]
    assert some.room_for(job(4), BASE_FEE) == SECOND


@given(st.lists(st.none() | st.integers(0, 5), max_size=DEPTH), st.none() | st.integers(0, 5))
def test_only_who_can_wait_longer_is_displaced(held: list[int | None], wanted: int | None) -> None:
    holders = [job(n, attempt(7 + n), deadline=each) for n, each in enumerate(held)]
    some = lanes(*holders)
    found = some.less_urgent_than(job(99, deadline=wanted))
    expected = [
        holder
        for holder, each in zip(holders, held, strict=True)
        if wanted is not None and (each is None or each > wanted)
    ]
    assert [each.job for each in found] == expected


def test_what_waits_is_set_aside_of_an_account() -> None:
    some = lanes(job(1, attempt(7)), job(2, attempt(8, 300)), balance=10_000)
    assert some.affordable(FIRST) == 10_000 - 2_000 - 3_000
    assert some.affordable(FIRST, besides=attempt(8)) == 10_000 - 2_000
    assert some.affordable(SECOND) == 10_000


# ---------------------------------------------------------------- batches


@given(st.lists(st.none() | st.integers(0, 9), max_size=3 * MOST_MEMBERS))
def test_batches_take_the_most_urgent_together_and_nobody_twice(
    deadlines: list[int | None],
) -> None:
    jobs = [job(n, deadline=each) for n, each in enumerate(deadlines)]
    made = batches_of(jobs, 1_000)
    members = [key for each in made for key in each.members]
    assert len(members) == len(set(members))
    assert set(members) <= {each.key for each in jobs}
    assert all(2 <= len(each.members) <= MOST_MEMBERS for each in made)
    assert [each.sequence for each in made] == list(range(1_001, 1_001 + len(made)))
    hurried = sorted((each for each in jobs if each.urgency is not None), key=place)
    if len(hurried) >= LEAST_MEMBERS:
        taken = [each.key for each in hurried if each.key in members]
        assert taken == [each.key for each in hurried][: len(taken)]
        assert len(hurried) - len(taken) <= 1
        first = made[0].urgency
        assert first is not None
        assert first.deadline == min(each for each in deadlines if each is not None)


def test_a_batch_is_the_call_that_the_contract_offers_for_it() -> None:
    calls = [Checkpoint(terms=TERMS, newest=co_signed(nonce)) for nonce in range(1, 6)]
    jobs = [
        attrs.evolve(job(n), data=encode_call(each).data, channel=ID)
        for n, each in enumerate(calls)
    ]
    (batch,) = batches_of(jobs, 0)
    expected = encode_call(CheckpointMany(checkpoints=tuple(calls)))
    assert (batch.data, batch.name) == (expected.data, expected.name)
    assert all(may_join(each) for each in jobs)
    assert not may_join(batch)
    assert not may_join(attrs.evolve(jobs[0], attempts=(attempt(1),)))


def test_a_receipt_tells_whom_a_batch_has_recorded() -> None:
    recorded, skipped = job(1), job(2)
    log = Log(
        address=FIRST,
        topics=(keccak(b"Checkpointed(bytes32,uint64,bytes32)"), recorded.channel),
        data=b"",
        block_number=1,
        block_hash=b"",
        transaction_hash=b"",
        log_index=0,
    )
    receipt = Receipt(
        transaction_hash=b"",
        block_number=1,
        block_hash=b"",
        success=True,
        gas_used=1,
        effective_gas_price=1,
        contract_address=None,
        logs=(log,),
    )
    assert is_recorded_by(receipt, recorded)
    assert not is_recorded_by(receipt, skipped)
