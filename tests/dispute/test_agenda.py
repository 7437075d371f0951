"""What is due, and how disputes are counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from channels.dispute.agenda import Agenda, DisputeCounter, Reason

A, B = b"a" * 32, b"b" * 32


def test_an_idle_channel_is_never_due() -> None:
    agenda = Agenda()
    agenda.set_timer(A, 100)
    assert agenda.take(99, new_head=True) == {}
    assert agenda.take(100, new_head=True) == {A: Reason.READ}
    assert agenda.take(101, new_head=True) == {}


def test_only_the_newest_timer_counts() -> None:
    agenda = Agenda()
    agenda.set_timer(A, 100)
    agenda.set_timer(A, 300)
    assert agenda.take(200, new_head=True) == {}
    agenda.set_timer(A, 250)
    assert agenda.take(260, new_head=True) == {A: Reason.READ}
    assert agenda.take(300, new_head=True) == {}
    agenda.set_timer(A, 400)
    agenda.set_timer(A, None)
    assert agenda.take(500, new_head=True) == {}


def test_what_is_unfinished_is_due_at_every_head_and_only_then() -> None:
    agenda = Agenda()
    agenda.at_each_head(A, Reason.DECIDE)
    for time in range(3):
        assert agenda.take(time, new_head=True) == {A: Reason.DECIDE}
        assert agenda.take(time, new_head=False) == {}
    agenda.add(A, Reason.READ)
    agenda.add(A, Reason.DECIDE)
    assert agenda.take(3, new_head=True) == {A: Reason.READ}
    agenda.at_each_head(A, None)
    assert agenda.take(4, new_head=True) == {}


def test_what_is_removed_is_gone() -> None:
    agenda = Agenda()
    agenda.add(A, Reason.READ)
    agenda.at_each_head(A, Reason.READ)
    agenda.set_timer(A, 1)
    agenda.add_all([B])
    agenda.remove(A)
    assert agenda.take(9, new_head=True) == {B: Reason.READ}


def test_a_number_that_is_skipped_is_a_gap() -> None:
    counter = DisputeCounter()
    states = [(counter.missed, counter.gap)]
    counter.reconciled(10, 5)
    counter.saw(11, 6)
    counter.compare(6)
    states.append((counter.missed, counter.gap))
    counter.saw(12, 8)
    states.append((counter.missed, counter.gap))
    assert states == [(True, False), (False, False), (True, True)]


def test_old_numbers_told_again_are_no_news() -> None:
    counter = DisputeCounter()
    counter.reconciled(10, 5)
    counter.saw(3, 2)
    counter.saw(4, 3)
    assert (counter.missed, counter.seen) == (False, 5)


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 29))
def test_whatever_is_withheld_is_noticed(shown: list[bool], rewind_to: int) -> None:
    """One dispute a block, some told of; after a rewind, those above it are told of in full."""
    counter = DisputeCounter()
    counter.reconciled(0, 0)
    for block, told in enumerate(shown, 1):
        if told:
            counter.saw(block, block)
    counter.compare(len(shown))
    assert counter.gap is not all(shown)
    if all(shown):
        ancestor = min(rewind_to, len(shown))
        counter.rewind(ancestor)
        assert counter.seen == ancestor
        counter.saw(ancestor + 1, ancestor + 1)
        counter.compare(ancestor + 1)
        assert not counter.missed


def test_a_rewind_below_the_first_reading_means_to_read_again() -> None:
    counter = DisputeCounter()
    counter.reconciled(10, 5)
    counter.rewind(9)
    assert counter.missed
    assert not counter.gap


def test_history_is_kept_down_to_finality_only() -> None:
    counter = DisputeCounter()
    counter.reconciled(0, 0)
    for number in range(1, 100):
        counter.saw(number, number)
        counter.trim(number - 3)
    counter.rewind(97)
    assert counter.seen == 97
    assert len(counter._seen) < 6
