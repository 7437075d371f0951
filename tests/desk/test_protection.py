"""Market-maker protection against a model that keeps every fill for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.desk import Fill, Protection, ProtectionLimits
from channels.errors import InvalidValueError

SIZE = ProtectionLimits(interval=10, frozen_for=60, size=5)

fills = st.lists(
    st.builds(
        Fill,
        time=st.integers(0, 5),
        size=st.integers(1, 4),
        delta=st.integers(-4, 4),
        vega=st.integers(-40, 40),
    ),
    max_size=30,
)


def fill(time: float, size: float = 1.0, delta: float = 0.0, vega: float = 0.0) -> Fill:
    return Fill(time=time, size=size, delta=delta, vega=vega)


def after(limits: ProtectionLimits, *traded: Fill) -> Protection:
    protection = Protection(limits=limits)
    for each in traded:
        protection = protection.after(each)
    return protection


def test_it_trips_on_the_fill_that_passes_the_limit_and_comes_back_by_itself() -> None:
    at_limit = after(SIZE, fill(0, 2), fill(5, 3))
    assert at_limit.quoting(5)
    over = at_limit.after(fill(6, 0.5))
    assert over.reason == "size of 5.5 filled within 10 s"
    assert not over.quoting(65.9)
    assert over.quoting(66)


def test_old_fills_no_longer_count() -> None:
    assert after(SIZE, fill(0, 4), fill(10, 4)).quoting(10)
    assert not after(SIZE, fill(0, 4), fill(9.9, 4)).quoting(10)


def test_delta_and_vega_are_netted_and_size_is_not() -> None:
    hedged = ProtectionLimits(interval=10, delta=5, vega=100)
    assert after(hedged, fill(0, delta=4, vega=90), fill(1, delta=-4, vega=-90)).quoting(1)
    assert not after(hedged, fill(0, delta=-4), fill(1, delta=-2)).quoting(1)
    assert not after(hedged, fill(0, vega=101)).quoting(0)


def test_without_a_pause_only_a_reset_brings_it_back() -> None:
    limits = ProtectionLimits(interval=10, size=1)
    tripped = after(limits, fill(0, 2))
    assert not tripped.quoting(1e9)
    assert tripped.reset().quoting(1)


@given(traded=fills)
def test_it_quotes_as_long_as_no_window_was_over_its_limit(traded: list[Fill]) -> None:
    limits = ProtectionLimits(interval=2, size=6, delta=5, vega=60)
    times = sorted(each.time for each in traded)
    ordered = [
        Fill(time=time, size=each.size, delta=each.delta, vega=each.vega)
        for time, each in zip(times, traded, strict=True)
    ]

    def over(end: int) -> bool:
        window = [each for each in ordered[: end + 1] if each.time > ordered[end].time - 2]
        return (
            sum(each.size for each in window) > 6
            or abs(sum(each.delta for each in window)) > 5
            or abs(sum(each.vega for each in window)) > 60
        )

    tripped = any(over(end) for end in range(len(ordered)))
    assert after(limits, *ordered).quoting(1e9) is not tripped


def test_limits_are_positive() -> None:
    with pytest.raises(InvalidValueError, match="interval of 0"):
        ProtectionLimits(interval=0)
    with pytest.raises(InvalidValueError, match="size of -1"):
        ProtectionLimits(interval=1, size=-1)
