"""Our marks beside the peer's: objections, disagreements, and what can still be agreed."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import pytest

from channels.peer.marks import (
    Disagreement,
    agreed_marks,
    disagreement,
    live_marks,
    marks_objection,
    marks_to_book_at,
    moved,
)
from channels.peer.policy import RiskPolicy
from channels.pricing import Kind
from channels.protocol.changes import Marks, SeriesMark, apply
from channels.protocol.messages import Reason
from channels.protocol.types import EMPTY_PORTFOLIO, Portfolio, Series
from tests.protocol.build import (
    BTC,
    ETH,
    EXPIRY,
    MODEL,
    STRIKE,
    T0,
    UNIT,
    WAD,
    make_leg,
    make_marks,
    make_trade,
)

POLICY = RiskPolicy()
PUT: Series = (ETH, EXPIRY, int(Kind.PUT), STRIKE)
LOW: Series = (ETH, EXPIRY, int(Kind.PUT), STRIKE // 2)
COIN: Series = (BTC, EXPIRY, int(Kind.PUT), STRIKE)


def marks(*, eth: int = 3_000, btc: int = 90_000, at: int = T0, **vols: int) -> Marks:
    """Vols in per cent by name: put, low, coin; 60 where not named."""
    named = {"put": PUT, "low": LOW, "coin": COIN}
    return Marks(
        marked_at=at,
        spots={ETH: eth * WAD, BTC: btc * WAD},
        series={
            series: SeriesMark(vol=vols.get(name, 60) * WAD // 100)
            for name, series in named.items()
        },
    )


OURS = marks()


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        (marks(eth=3_031), "spot"),
        (marks(eth=2_969), "spot"),
        (marks(put=71), "vol"),
        (marks(coin=49), "vol"),
        (marks(at=T0 + 301), "marks of"),
        (attrs.evolve(OURS, series={PUT: SeriesMark(vol=WAD * 6 // 10, carry=WAD)}), "carry"),
    ],
)
def test_beyond_tolerance(theirs: Marks, said: str) -> None:
    objection = marks_objection(POLICY, OURS, theirs)
    assert objection is not None
    assert objection[0] is Reason.MARKS
    assert said in objection[1]


def test_at_the_tolerance_is_within() -> None:
    theirs = marks(eth=3_030, btc=89_100, at=T0 + 300, put=70, low=50)
    assert marks_objection(POLICY, OURS, theirs) is None
    assert disagreement(POLICY, OURS, theirs) == Disagreement()


def test_a_disagreement_names_series_and_whole_feeds() -> None:
    assert disagreement(POLICY, OURS, marks(low=80)) == Disagreement(series=frozenset([LOW]))
    spot = disagreement(POLICY, OURS, marks(eth=3_100, coin=75))
    assert spot == Disagreement(spots=frozenset([ETH]), series=frozenset([PUT, LOW, COIN]))


def test_what_is_agreed_is_theirs_and_the_rest_stays_with_its_time() -> None:
    held = marks(eth=2_500, btc=80_000, at=T0 - 60, put=40, low=41, coin=42)
    theirs = marks(eth=3_010, btc=95_000, low=90)
    agreed = agreed_marks(held, theirs, disagreement(POLICY, OURS, theirs))
    assert agreed is not None
    assert agreed.marked_at == T0 - 60
    assert agreed.spots == {ETH: 3_010 * WAD, BTC: 80_000 * WAD}
    assert {series: mark.vol * 100 // WAD for series, mark in agreed.series.items()} == {
        PUT: 60,
        LOW: 41,
        COIN: 42,
    }


def test_all_or_nothing_in_dispute() -> None:
    held = marks(at=T0 - 60)
    assert agreed_marks(held, OURS, Disagreement()) == OURS
    everything = marks(eth=1, btc=1)
    assert agreed_marks(held, everything, disagreement(POLICY, OURS, everything)) is None


def test_a_partial_remark_passes_only_as_what_it_is() -> None:
    """Known to be in dispute, unchanged, and no fresher: all three, or it is an objection."""
    held = marks(at=T0 - 3_600, low=95)
    partial = marks(at=T0 - 3_600, low=95, put=62)
    known = Disagreement(series=frozenset([LOW]))
    assert marks_objection(POLICY, OURS, partial, held=held, known=known) is None
    for wrong, dispute in (
        (partial, Disagreement()),
        (partial, Disagreement(series=frozenset([PUT]))),
        (attrs.evolve(partial, marked_at=T0), known),
        (marks(at=T0 - 3_600, low=94, put=62), known),
        (marks(at=T0 - 3_600, low=95, put=75), known),
        (marks(at=T0 - 3_600, low=95, eth=3_100), known),
    ):
        assert marks_objection(POLICY, OURS, wrong, held=held, known=dispute) is not None


def test_a_disputed_spot_may_stay() -> None:
    held = marks(at=T0 - 60, eth=2_000)
    known = Disagreement(spots=frozenset([ETH]), series=frozenset([PUT, LOW]))
    partial = marks(at=T0 - 60, eth=2_000, coin=61)
    assert marks_objection(POLICY, OURS, partial, held=held, known=known) is None
    other = marks(at=T0 - 60, eth=2_001)
    assert marks_objection(POLICY, OURS, other, held=held, known=known) is not None


def test_moves_are_seen_beyond_their_threshold() -> None:
    spot, vol = WAD // 200, WAD * 2 // 100
    for now, does in (
        (marks(eth=3_015), False),
        (marks(eth=3_016), True),
        (marks(eth=2_984), True),
        (marks(put=62), False),
        (marks(put=63), True),
        (marks(low=57), True),
    ):
        assert moved(OURS, now, spot=spot, vol=vol) is does
    assert not moved(Marks(marked_at=0, spots={}, series={}), OURS, spot=spot, vol=vol)


# -- what has expired


class Asked:
    """A market that remembers what it was asked for."""

    def __init__(self) -> None:
        self.series: list[Series] = []

    def marks(self, series: Iterable[Series]) -> Marks:
        self.series = list(series)
        return Marks(
            marked_at=T0 + 50,
            spots={each[0]: 2_900 * WAD for each in self.series},
            series={each: SeriesMark(vol=WAD) for each in self.series},
        )


LATER = EXPIRY + 86_400


def holding(*expiries: int) -> Portfolio:
    change = make_trade(*(make_leg(expiry=each) for each in expiries))
    return apply(change, EMPTY_PORTFOLIO, make_marks(EMPTY_PORTFOLIO, change, T0), UNIT, MODEL)


def test_a_market_is_asked_for_what_lives() -> None:
    market, portfolio = Asked(), holding(EXPIRY, LATER)
    found = live_marks(market, portfolio, [COIN], EXPIRY - 1)
    assert len(market.series) == 3
    found = live_marks(market, portfolio, [], EXPIRY)
    later = (ETH, LATER, int(Kind.PUT), STRIKE)
    assert market.series == [later]
    assert found.marked_at == T0 + 50
    assert found.spots == {ETH: 2_900 * WAD}
    assert found.series == {later: SeriesMark(vol=WAD), PUT: SeriesMark(vol=WAD * 6 // 10)}


def test_with_nothing_alive_the_marks_are_those_held() -> None:
    market, portfolio = Asked(), holding(EXPIRY)
    found = live_marks(market, portfolio, [], EXPIRY + 1)
    assert market.series == []
    assert (found.marked_at, found.spots) == (T0, {ETH: 3_000 * WAD})


HELD = Marks(
    marked_at=T0,
    spots={ETH: 3_000 * WAD},
    series={PUT: SeriesMark(vol=60 * WAD // 100)},
)


def own(
    *, at: int = T0 + 59, spot: int = 3_000 * WAD, vol: int = 60 * WAD // 100, carry: int = 0
) -> Marks:
    """Our own of what is held and of one series more, that trades at a vol of 70 %."""
    return Marks(
        marked_at=at,
        spots={ETH: spot, BTC: 90_000 * WAD},
        series={PUT: SeriesMark(vol=vol, carry=carry), LOW: SeriesMark(vol=70 * WAD // 100)},
    )


@pytest.mark.parametrize(
    "near",
    [
        own(),
        own(at=T0),
        own(at=T0 - 59),
        own(spot=3_001_500 * WAD // 1_000),
        own(spot=2_998_500 * WAD // 1_000),
        own(vol=605 * WAD // 1_000),
        own(carry=-WAD // 200),
    ],
)
def test_a_trade_is_booked_at_the_marks_held_and_adds_its_own(near: Marks) -> None:
    booked = marks_to_book_at(POLICY, HELD, near)
    assert (booked.marked_at, booked.spots) == (T0, HELD.spots)
    assert booked.series == {**HELD.series, LOW: near.series[LOW]}


def test_marks_of_a_clock_that_is_behind_are_dated_as_those_held() -> None:
    """No state's marks are older than those before it."""
    far = own(at=T0 - 5, spot=3_100 * WAD)
    assert marks_to_book_at(POLICY, HELD, far) == attrs.evolve(far, marked_at=T0)


@pytest.mark.parametrize(
    ("far", "policy"),
    [
        (own(at=T0 + 60), POLICY),
        (own(at=T0 - 60), POLICY),
        (own(spot=3_001_500 * WAD // 1_000 + 1), POLICY),
        (own(spot=2_998_500 * WAD // 1_000 - 1), POLICY),
        (own(vol=605 * WAD // 1_000 + 1), POLICY),
        (own(carry=WAD // 200 + 1), POLICY),
        (own(at=T0), RiskPolicy(held_age=0)),
        (attrs.evolve(own(), spots={BTC: 90_000 * WAD}), POLICY),
        (attrs.evolve(own(), series={**own().series, COIN: SeriesMark(vol=WAD)}), POLICY),
    ],
)
def test_a_trade_is_booked_at_our_own_marks_where_those_held_will_not_do(
    far: Marks, policy: RiskPolicy
) -> None:
    assert marks_to_book_at(policy, HELD, far) is far
