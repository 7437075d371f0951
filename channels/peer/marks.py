"""Our marks beside the counterparty's: where they differ, and what both could still sign."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from channels.peer.policy import MarkSource, RiskPolicy
from channels.protocol.changes import Marks, SeriesMark, marks_of
from channels.protocol.messages import Reason
from channels.protocol.types import Portfolio, Series
from channels.units import WAD

__all__ = [
    "Disagreement",
    "agreed_marks",
    "disagreement",
    "live_marks",
    "marks_objection",
    "marks_to_book_at",
    "moved",
    "overlaid",
]


def live_marks(market: MarkSource, portfolio: Portfolio, more: Iterable[Series], now: int) -> Marks:
    """Our own marks for what is open and for ``more``; what has expired keeps what it is held at.

    There is no market for an expired series, and its payoff is not ours to mark. With nothing else
    open the marks are those held, time included.

    Raises:
        InvalidValueError: no fresh price for a series that lives.
    """
    held = marks_of(portfolio)
    expired = {series: mark for series, mark in held.series.items() if series[1] <= now}
    live = [series for series in held.series if series not in expired]
    live += sorted(set(more) - held.series.keys())
    if not live:
        return held
    fresh = market.marks(live)
    if not expired:
        return fresh
    return Marks(
        marked_at=fresh.marked_at,
        spots={**{each[0]: held.spots[each[0]] for each in expired}, **fresh.spots},
        series={**fresh.series, **expired},
    )


def overlaid(older: Marks, newer: Marks) -> Marks:
    """What either has, as of the newer one's time; the newer one's of what both have."""
    return Marks(
        marked_at=newer.marked_at,
        spots={**older.spots, **newer.spots},
        series={**older.series, **newer.series},
    )


def marks_to_book_at(policy: RiskPolicy, held: Marks, own: Marks) -> Marks:
    """The marks that a trade is booked at: those held, and our own of what it adds.

    They are our own throughout where something held is too old or too far from ours, or where the
    trade brings a feed of which no spot is held: one state has one time for all its marks. That is
    never before the time of those held, which the counterparty's clock may have been ahead for.
    """
    ahead = held.marked_at - own.marked_at
    at_once = abs(ahead) < policy.held_age
    near = (
        at_once
        and all(
            feed in held.spots
            and abs(own.spots.get(feed, 0) - held.spots[feed]) * WAD
            <= policy.held_spot_move * held.spots[feed]
            for feed in {series[0] for series in own.series}
        )
        and all(
            max(abs(mark.vol - kept.vol), abs(mark.carry - kept.carry)) <= policy.held_vol_move
            for series, mark in own.series.items()
            if (kept := held.series.get(series)) is not None
        )
    )
    if not near:
        return attrs.evolve(own, marked_at=held.marked_at) if at_once and ahead > 0 else own
    return Marks(marked_at=held.marked_at, spots=held.spots, series={**own.series, **held.series})


@attrs.frozen(kw_only=True)
class Disagreement:
    """The feeds whose spots differ beyond our tolerance, and the series that so do not agree.

    ``series`` holds those whose own vol or carry differs, and every one of a feed in ``spots``.
    """

    spots: frozenset[bytes] = frozenset()
    series: frozenset[Series] = frozenset()


def marks_objection(
    policy: RiskPolicy,
    ours: Marks,
    theirs: Marks,
    *,
    held: Marks | None = None,
    known: Disagreement | None = None,
) -> tuple[Reason, str] | None:
    """Why marks the peer chose are not ours, if they are beyond tolerance; with our own figures.

    What ``known`` says is in dispute may stay as it is ``held``, at the time it is held at.
    """
    left = held if held is not None and theirs.marked_at == held.marked_at else None
    known = Disagreement() if known is None or left is None else known
    if not known.series and abs(theirs.marked_at - ours.marked_at) > policy.mark_age:
        return Reason.MARKS, f"marks of {theirs.marked_at}, our clock says {ours.marked_at}"
    for feed, price in theirs.spots.items():
        spot = ours.spots[feed]
        if left is not None and feed in known.spots and price == left.spots.get(feed):
            continue
        if _spot_differs(policy, spot, price):
            return Reason.MARKS, f"spot {price}, ours {spot}"
    for series, mark in theirs.series.items():
        own = ours.series[series]
        if mark == own:
            continue
        if left is not None and series in known.series and mark == left.series.get(series):
            continue
        text = _mark_differs(policy, series, own, mark)
        if text:
            return Reason.MARKS, text
    return None


def _spot_differs(policy: RiskPolicy, ours: int, theirs: int) -> bool:
    return abs(theirs - ours) * WAD > policy.spot_tolerance * ours


def _mark_differs(policy: RiskPolicy, series: Series, ours: SeriesMark, theirs: SeriesMark) -> str:
    if abs(theirs.vol - ours.vol) > policy.vol_tolerance:
        return f"vol {theirs.vol} at strike {series[3]}, ours {ours.vol}"
    if abs(theirs.carry - ours.carry) > policy.carry_tolerance:
        return f"carry {theirs.carry}, ours {ours.carry}"
    return ""


def disagreement(policy: RiskPolicy, ours: Marks, theirs: Marks) -> Disagreement:
    """What of the peer's marks is beyond our tolerance."""
    spots = frozenset(
        feed
        for feed, price in theirs.spots.items()
        if _spot_differs(policy, ours.spots[feed], price)
    )
    return Disagreement(
        spots=spots,
        series=frozenset(
            series
            for series, mark in theirs.series.items()
            if series[0] in spots or _mark_differs(policy, series, ours.series[series], mark)
        ),
    )


def agreed_marks(held: Marks, theirs: Marks, dispute: Disagreement) -> Marks | None:
    """The peer's marks but for what is in dispute, which stays as held; None if that is all.

    With something left, the time of the marks stays too: a state has one for all of them, and a
    newer one would make the disputed marks look fresh, and with them the shift that a close-out
    reckons from their age.
    """
    if not dispute.series:
        return theirs
    agreed = Marks(
        marked_at=held.marked_at,
        spots={
            feed: held.spots[feed] if feed in dispute.spots else price
            for feed, price in theirs.spots.items()
        },
        series={
            series: held.series[series] if series in dispute.series else mark
            for series, mark in theirs.series.items()
        },
    )
    return None if agreed == held else agreed


def moved(before: Marks, now: Marks, *, spot: int, vol: int) -> bool:
    """Whether a spot moved by more than ``spot`` (relative, WAD) or a vol by more than ``vol``."""
    if any(
        abs(price - before.spots[feed]) * WAD > spot * before.spots[feed]
        for feed, price in now.spots.items()
        if feed in before.spots
    ):
        return True
    return any(
        abs(mark.vol - before.series[series].vol) > vol
        for series, mark in now.series.items()
        if series in before.series
    )
