"""What is replayed: the built-in story, and recorded snapshots with a surface fitted to each."""

from __future__ import annotations

import pytest

from channels.cli.replaying.crowd import STYLES, wish
from channels.cli.replaying.tape import Frame, Tape, built_in_tape, read_tape
from channels.errors import InvalidValueError
from channels.units import DAY, HOUR, WAD
from tests.pricing.real_data import real_options

NOTIONAL = 50_000.0


def test_the_story_falls_by_two_fifths_and_has_no_arbitrage() -> None:
    tape = built_in_tape(8)
    spots = [each.surface.spot for each in tape.frames]
    assert len(spots) == 33
    assert spots[0] == 3_300.0
    assert min(spots) == pytest.approx(1_950.0, abs=40)
    assert {
        later.at - each.at for each, later in zip(tape.frames, tape.frames[1:], strict=False)
    } == {6 * HOUR}
    for frame in tape.frames:
        assert min(slack.slack for slack in frame.surface.butterflies().values()) > 0
        assert min(slack.slack for slack in frame.surface.calendars().values()) > 0
        assert all(expiry > frame.at and expiry % DAY == 8 * HOUR for expiry in frame.strikes)


def test_an_expiry_settles_between_the_frames_around_it() -> None:
    """08:00 is five sixths of the way from 03:00 to 09:00."""
    tape = built_in_tape(2)
    before, after = (each.surface.spot for each in tape.frames[4:6])
    expiry = tape.frames[4].at + 5 * HOUR
    assert expiry % DAY == 8 * HOUR
    assert tape.settlement(expiry) / WAD == pytest.approx(before + (after - before) * 5 / 6)
    with pytest.raises(InvalidValueError, match="no snapshots around"):
        tape.settlement(tape.frames[-1].at + DAY)


def test_a_tape_has_two_frames() -> None:
    with pytest.raises(InvalidValueError, match="1 snapshots"):
        Tape(name="short", feed="ETH-USD", frames=built_in_tape(1).frames[:1])


def test_recorded_surfaces_pass_through_the_market() -> None:
    path = real_options("eth")
    fitted = []
    tape = read_tape(path, days=2, on_frame=lambda: fitted.append(1))
    assert tape.feed == "ETH-USD"
    assert len(fitted) == len(tape.frames) >= 7
    assert tape.frames[-1].at <= tape.frames[0].at + 2 * DAY
    later = read_tape(path, since=tape.frames[2].at, until=tape.frames[4].at, on_frame=lambda: None)
    assert [each.at for each in later.frames] == [each.at for each in tape.frames[2:5]]


@pytest.mark.parametrize("style", STYLES)
def test_a_wish_depends_on_its_draw_alone(style: str) -> None:
    frames = built_in_tape(4).frames

    def drawn(frame: Frame, draw: str) -> object:
        return wish(style, frame, feed="ETH-USD", draw=draw, notional=NOTIONAL)

    draws = [f"1/taker-1/{number}" for number in range(60)]
    assert [drawn(frames[3], each) for each in draws] == [drawn(frames[3], each) for each in draws]
    assert len({str(drawn(frames[3], each)) for each in draws}) > 30


@pytest.mark.parametrize("style", STYLES)
def test_wishes_are_for_listed_series_of_the_size_asked_for(style: str) -> None:
    frame = built_in_tape(4).frames[3]
    titles = set()
    for number in range(200):
        wanted = wish(style, frame, feed="ETH-USD", draw=str(number), notional=NOTIONAL)
        titles.add(wanted.title)
        for leg in wanted.legs:
            assert frame.at + 36 * HOUR <= leg.expiry <= frame.at + 40 * DAY
            assert leg.kind.name == "FORWARD" or leg.strike in frame.strikes[leg.expiry]
            if leg.kind.name in ("CALL", "PUT"):
                size = abs(leg.quantity) / WAD * frame.surface.spot
                assert 0.49 * NOTIONAL < size < 1.51 * NOTIONAL
    assert titles == {"", *(title for title, _ in STYLES[style])}
