"""Who leads of several endpoints: the furthest ahead, and in doubt each in its turn."""

from __future__ import annotations

from channels.chain.leading import Leadership

TURN = 30.0


def leaders(leadership: Leadership, heads: dict[str, int], *, times: range) -> list[str]:
    """Who leads after a survey at each of these times."""
    found = []
    for time in times:
        leadership.choose(heads, float(time))
        found.append(leadership.name)
    return found


def test_the_furthest_ahead_leads_and_keeps_the_lead_within_the_lag() -> None:
    leadership = Leadership(lag=3, turn=TURN)
    assert leaders(leadership, {"a": 10, "b": 12}, times=range(1)) == ["b"]
    assert leaders(leadership, {"a": 15, "b": 12}, times=range(1, 2)) == ["b"]
    assert leaders(leadership, {"a": 16, "b": 12}, times=range(2, 3)) == ["a"]
    assert leaders(leadership, {"b": 12}, times=range(3, 4)) == ["b"]


def test_without_doubt_nobody_takes_turns() -> None:
    leadership = Leadership(lag=3, turn=TURN)
    assert set(leaders(leadership, {"a": 10, "b": 10}, times=range(1_000))) == {"a"}


def test_in_doubt_each_leads_for_half_of_the_time_whatever_it_claims() -> None:
    leadership = Leadership(lag=3, turn=TURN)
    led = []
    for time in range(0, 6_000, 10):
        leadership.doubt(float(time))
        led += leaders(leadership, {"liar": 10_000, "honest": 10}, times=range(time, time + 1))
    assert led.count("honest") == led.count("liar") == 300


def test_a_doubt_is_forgotten_after_some_turns() -> None:
    leadership = Leadership(lag=3, turn=TURN)
    leadership.choose({"a": 10, "b": 10}, 0.0)
    leadership.doubt(0.0)
    assert set(leaders(leadership, {"a": 10, "b": 10}, times=range(120))) == {"a", "b"}
    assert len(set(leaders(leadership, {"a": 10, "b": 10}, times=range(120, 1_000)))) == 1


def test_who_is_in_no_good_standing_has_no_turn() -> None:
    leadership = Leadership(lag=3, turn=TURN)
    leadership.choose({"a": 10, "b": 10, "c": 10}, 0.0)
    leadership.doubt(0.0)
    assert set(leaders(leadership, {"a": 10, "c": 10}, times=range(110))) == {"a", "c"}
