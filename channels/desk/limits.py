"""Limits over all channels of a desk, and over each group of counterparties.

A breach blocks what would make it worse and lets through what makes it better, so that a desk over
its limit can always trade its way back. What is in flight counts by its ends: the least and the
most that could come to stand in each channel, all of them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from itertools import chain
from math import fsum
from typing import Final

import attrs

from channels.desk.exposure import Exposure, Holding, exposures
from channels.errors import InvalidValueError
from channels.protocol.types import Party, Portfolio, feed_name

__all__ = ["Breach", "Limits", "Measure", "SensitivityLimits"]


class Measure(Enum):
    """What a limit bounds."""

    DELTA = "delta"
    GAMMA = "gamma"
    VEGA = "vega"
    NOTIONAL = "notional"
    CREDIT = "credit"


_SENSITIVITIES = (Measure.DELTA, Measure.GAMMA, Measure.VEGA, Measure.NOTIONAL)

_Spans = Mapping[Measure, tuple[float, float]]
"""Least and most of each measure."""
_SpansByFeed = Mapping[bytes, _Spans]

_FLAT: Final = Exposure()
_NOTHING: Final[_Spans] = dict.fromkeys(_SENSITIVITIES, (0.0, 0.0))


@attrs.frozen(kw_only=True)
class SensitivityLimits:
    """Most of each, without its sign, that one feed may carry; units as `Exposure`; None: no limit.

    Raises:
        InvalidValueError: a limit below zero, or not a number.
    """

    delta: float | None = None
    gamma: float | None = None
    vega: float | None = None
    notional: float | None = None

    def __attrs_post_init__(self) -> None:
        for measure in _SENSITIVITIES:
            limit = getattr(self, measure.value)
            if limit is not None and not limit >= 0:
                raise InvalidValueError(f"a {measure.value} limit of {limit}")


@attrs.frozen(kw_only=True)
class Breach:
    """A limit that a change would break: where, what, how much it would be, and the limit.

    ``group`` None: the whole desk. ``feed`` None: credit, which is of no one feed.
    """

    group: str | None
    feed: bytes | None
    measure: Measure
    value: float
    limit: float

    def __str__(self) -> str:
        where = "the desk" if self.group is None else f"group {self.group}"
        what = "" if self.feed is None else f" in {feed_name(self.feed)}"
        return f"{self.measure.value}{what} of {where}: {self.value:g}, limit {self.limit:g}"


@attrs.frozen(kw_only=True)
class Limits:
    """Limits of a desk.

    ``desk`` and ``group`` bound the sensitivities to each feed: of all channels, and of each
    group's. ``feeds`` replaces ``desk`` for the feeds it names. ``credit`` bounds, by group and in
    base units, the initial margin that counterparties of the group must hold against us over all
    channels; ``default_credit`` serves groups it does not name; None: no limit. Collateral differs
    between channels: give a desk channels of one collateral, or no credit limit.
    """

    desk: SensitivityLimits = SensitivityLimits()
    group: SensitivityLimits = SensitivityLimits()
    feeds: Mapping[bytes, SensitivityLimits] = attrs.field(factory=dict)
    credit: Mapping[str, int] = attrs.field(factory=dict)
    default_credit: int | None = None

    def breaches(
        self, holdings: Iterable[Holding], channel_id: bytes, after: Portfolio
    ) -> tuple[Breach, ...]:
        """Find what ``after`` in one channel would break; empty if it may be signed.

        Args:
            holdings: every channel of the desk, the one that changes included.
            channel_id: the channel that changes.
            after: its portfolio after the change.

        Raises:
            InvalidValueError: no holding of that channel.
        """
        held = list(holdings)
        changing = next((each for each in held if each.channel_id == channel_id), None)
        if changing is None:
            raise InvalidValueError(f"no channel 0x{channel_id.hex()} on this desk")
        others = [each for each in held if each is not changing]
        alike = [each for each in others if each.group == changing.group]
        return tuple(
            chain(
                self._sensitivities(None, others, changing, after),
                self._sensitivities(changing.group, alike, changing, after),
                self._credit(alike, changing, after),
            )
        )

    def standing(self, holdings: Iterable[Holding]) -> tuple[Breach, ...]:
        """Find the limits that what stands and is in flight is beyond already."""
        held = list(holdings)
        groups = sorted({each.group for each in held})
        found = list(self._beyond(None, _total(_span(each) for each in held)))
        for group in groups:
            alike = [each for each in held if each.group == group]
            found.extend(self._beyond(group, _total(_span(each) for each in alike)))
            limit = self.credit.get(group, self.default_credit)
            value = sum(_margin(each.portfolios, each.side.other) for each in alike)
            if limit is not None and value > limit:
                found.append(_over_credit(group, value, limit))
        return tuple(found)

    def _sensitivities(
        self, group: str | None, others: list[Holding], changing: Holding, after: Portfolio
    ) -> Iterator[Breach]:
        elsewhere = _total(_span(each) for each in others)
        before = _total([elsewhere, _span(changing)])
        changed = attrs.evolve(changing, portfolios=(*changing.portfolios, after))
        return self._beyond(group, _total([elsewhere, _span(changed)]), before)

    def _beyond(
        self, group: str | None, spans: _SpansByFeed, before: _SpansByFeed | None = None
    ) -> Iterator[Breach]:
        """Find where ``spans`` reach beyond a limit, and further than ``before``."""
        for feed, by_measure in spans.items():
            limits = self.group if group is not None else self.feeds.get(feed, self.desk)
            for measure in _SENSITIVITIES:
                limit = getattr(limits, measure.value)
                if limit is None:
                    continue
                low, high = by_measure[measure]
                was_low, was_high = (
                    (0.0, 0.0) if before is None else before.get(feed, _NOTHING)[measure]
                )
                reached = [
                    value
                    for value, was in ((high, was_high), (-low, -was_low))
                    if value > limit and value > was
                ]
                if reached:
                    yield Breach(
                        group=group, feed=feed, measure=measure, value=max(reached), limit=limit
                    )

    def _credit(
        self, alike: list[Holding], changing: Holding, after: Portfolio
    ) -> Iterator[Breach]:
        limit = self.credit.get(changing.group, self.default_credit)
        if limit is None:
            return
        elsewhere = sum(_margin(each.portfolios, each.side.other) for each in alike)
        was = elsewhere + _margin(changing.portfolios, changing.side.other)
        value = elsewhere + after.margin(changing.side.other)
        if value > limit and value > was:
            yield _over_credit(changing.group, value, limit)


def _margin(portfolios: Iterable[Portfolio], side: Party) -> int:
    return max((each.margin(side) for each in portfolios), default=0)


def _over_credit(group: str, value: int, limit: int) -> Breach:
    return Breach(group=group, feed=None, measure=Measure.CREDIT, value=value, limit=limit)


def _span(holding: Holding) -> _SpansByFeed:
    """Least and most of each figure over all that could come to stand; no position counts as 0."""
    found = [exposures(each, holding.side) for each in holding.portfolios]
    feeds = {feed for each in found for feed in each}
    return {
        feed: {
            measure: _extremes([getattr(each.get(feed, _FLAT), measure.value) for each in found])
            for measure in _SENSITIVITIES
        }
        for feed in feeds
    }


def _extremes(figures: list[float]) -> tuple[float, float]:
    return min(figures), max(figures)


def _total(parts: Iterable[_SpansByFeed]) -> _SpansByFeed:
    """Add up the ends of all spans: what is in flight here and there may come to stand together."""
    by_feed: dict[bytes, list[_Spans]] = {}
    for part in parts:
        for feed, spans in part.items():
            by_feed.setdefault(feed, []).append(spans)
    return {
        feed: {
            measure: (
                fsum(each[measure][0] for each in spans),
                fsum(each[measure][1] for each in spans),
            )
            for measure in _SENSITIVITIES
        }
        for feed, spans in by_feed.items()
    }
