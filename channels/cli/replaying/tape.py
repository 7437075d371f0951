"""The market that is replayed: a fitted surface at each time, recorded or made up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import attrs

from channels.backtest.market import Market, Snapshot
from channels.errors import InvalidValueError
from channels.pricing.marketdata import MarketSnapshot, read_snapshots
from channels.pricing.smiles import fit_surface
from channels.pricing.ssvi import Ssvi
from channels.pricing.surface import Smile, Surface
from channels.units import DAY, HOUR, WAD, YEAR, to_wad

__all__ = ["Frame", "Tape", "built_in_tape", "read_tape"]

_EIGHT_OCLOCK: Final = 8 * HOUR


@attrs.frozen(kw_only=True)
class Frame:
    """The market at one time: its surface, and the strikes listed for each expiry, WAD."""

    at: int
    surface: Surface
    strikes: Mapping[int, tuple[int, ...]]


@attrs.frozen(kw_only=True)
class Tape:
    """Frames of one feed, the earliest first.

    Raises:
        InvalidValueError: fewer than two frames.
    """

    name: str
    feed: str
    frames: Sequence[Frame]

    def __attrs_post_init__(self) -> None:
        if len(self.frames) < 2:
            raise InvalidValueError(
                f"{self.name}: {len(self.frames)} snapshots in that time",
                next_step="replay a longer part of it",
            )

    def settlement(self, expiry: int) -> int:
        """Return the estimated settlement price of an expiry within the tape, WAD.

        Raises:
            InvalidValueError: the tape does not reach around that expiry.
        """
        spots = [
            Snapshot(at=each.at, spot=int(to_wad(each.surface.spot)), expiries={})
            for each in self.frames
        ]
        return Market(name=self.feed, snapshots=spots).settlement(expiry)


def read_tape(
    path: Path,
    *,
    since: int | None = None,
    until: int | None = None,
    days: int | None = None,
    on_frame: Callable[[], None],
) -> Tape:
    """Read Deribit's option summaries, and fit a surface to each snapshot in time.

    Args:
        path: the file, CSV or CSV.gz, of one underlying.
        since: Unix time of the first snapshot at the earliest.
        until: Unix time that no snapshot is after.
        days: how long after the first snapshot the last one may be.
        on_frame: called after each fit.

    Raises:
        InvalidValueError: a malformed file, or too few snapshots in that time.
    """
    frames: list[Frame] = []
    base = ""
    for snapshot in _within(read_snapshots(path), since, until, days):
        base = snapshot.quotes[0].instrument.feed
        frames.append(_fitted(snapshot, base))
        on_frame()
    return Tape(name=path.name, feed=base if "-" in base else f"{base}-USD", frames=frames)


def _within(
    snapshots: Iterable[MarketSnapshot], since: int | None, until: int | None, days: int | None
) -> Iterable[MarketSnapshot]:
    first: int | None = None
    for snapshot in snapshots:
        if since is not None and snapshot.at < since:
            continue
        first = snapshot.at if first is None else first
        if until is not None and snapshot.at > until:
            return
        if days is not None and snapshot.at > first + days * DAY:
            return
        yield snapshot


def _fitted(snapshot: MarketSnapshot, feed: str) -> Frame:
    fitted = fit_surface(snapshot, feed)
    return Frame(
        at=snapshot.at,
        surface=fitted.surface,
        strikes={
            each.expiry: tuple(int(to_wad(round(strike, 6))) for strike in each.strikes)
            for each in fitted.quotes
        },
    )


_START: Final = 1_767_236_400
"""2026-01-01T03:00:00Z."""
_STORY: Final = (
    (0.0, 3_300.0, 0.60),
    (0.3, 3_350.0, 0.55),
    (0.5, 3_000.0, 0.68),
    (0.7, 2_600.0, 0.85),
    (0.8, 1_950.0, 1.20),
    (1.0, 2_050.0, 0.90),
)
"""Part of the way, ETH in dollars, and vol at the money: a month's fall, in any time."""


def built_in_tape(days: int = 8) -> Tape:
    """Make up a market that falls by two fifths: a snapshot each six hours over ``days``.

    Raises:
        InvalidValueError: less than a day.
    """
    if days < 1:
        raise InvalidValueError(f"a story of {days} days")
    count = 4 * days
    return Tape(
        name="built-in story",
        feed="ETH-USD",
        frames=[_made_up(_START + 6 * HOUR * index, index / count) for index in range(count + 1)],
    )


def _made_up(at: int, part: float) -> Frame:
    spot, vol = _on_story(part)
    shape = Ssvi(rho=-0.45, eta=1.0, gamma=0.45)
    first = (at - _EIGHT_OCLOCK) // DAY * DAY + _EIGHT_OCLOCK + DAY
    expiries = [first + DAY * away for away in (0, 1, 2, 3, 7, 14, 21, 28)]
    step = 50 * WAD
    nearest = int(to_wad(spot)) // step * step
    return Frame(
        at=at,
        surface=Surface(
            at=at,
            spot=spot,
            smiles=[
                Smile(
                    expiry=each,
                    forward=spot,
                    svi=shape.smile(vol * vol * (each - at) / YEAR),
                )
                for each in expiries
            ],
        ),
        strikes={
            each: tuple(range(nearest * 7 // 10 // step * step, nearest * 13 // 10, step))
            for each in expiries
        },
    )


def _on_story(part: float) -> tuple[float, float]:
    before, after = next(pair for pair in pairwise(_STORY) if part <= pair[1][0])
    along = (part - before[0]) / (after[0] - before[0])
    spot = before[1] + along * (after[1] - before[1])
    return round(spot, 2), round(before[2] + along * (after[2] - before[2]), 4)
