"""Delays grow, stay bounded, and differ."""

from __future__ import annotations

import itertools
import random

import pytest

from channels.errors import InvalidValueError
from channels.transport import Backoff


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_delays_double_up_to_the_longest(chance: float) -> None:
    backoff = Backoff(first=1, longest=10, uniform=lambda: chance)
    ceilings = [1, 2, 4, 8, 10, 10]
    expected = [ceiling * (1 + chance) / 2 for ceiling in ceilings]
    assert [backoff.next_delay() for _ in ceilings] == pytest.approx(expected)
    backoff.reset()
    assert backoff.next_delay() == pytest.approx(expected[0])


def test_weeks_of_failure_overflow_nothing() -> None:
    backoff = Backoff(longest=60, uniform=random.Random(1).random)
    delays = [backoff.next_delay() for _ in range(100_000)]
    assert all(30 <= delay <= 60 for delay in delays[20:])


def test_a_thousand_peers_do_not_come_back_together() -> None:
    peers = [Backoff(uniform=random.Random(seed).random) for seed in range(1_000)]
    for peer, _ in itertools.product(peers, range(5)):
        peer.next_delay()
    delays = sorted(peer.next_delay() for peer in peers)
    slots = [0] * 10
    for delay in delays:
        slots[int((delay - 4) / 4 * 10)] += 1
    assert min(slots) > 50


@pytest.mark.parametrize(
    "wrong",
    [
        {"first": 0},
        {"first": 2, "longest": 1},
        {"factor": 0.5},
        {"longest": float("inf")},
        {"first": float("nan")},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidValueError):
        Backoff(**wrong)  # type: ignore[arg-type]  # one of them, by name
