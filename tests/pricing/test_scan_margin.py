"""The margin model: by hand, against an independent reimplementation, and its own promises."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.errors import InvalidValueError, PricingDomainError
from channels.pricing import (
    Kind,
    MarginModel,
    ScanMargin,
    Scenario,
    largest_losses,
    portfolio_value,
)
from channels.pricing.feed_margin import MAX_NODES, MAX_QUANTITY, FeedRisk
from channels.pricing.portfolio import PositionLike
from channels.pricing.risk_array import SeriesRisk
from channels.units import DAY, WAD, to_wad

from .margin_reference import NOW, SPOTS, random_book, uncapped
from .values import BTC, ETH, At, Held, Risk, risk_with

USDC = 10**6
RISK = (Risk(), Risk(feed=BTC, price_range=16 * 10**16, look_ahead=DAY, im_factor=15 * 10**17))
MODEL = ScanMargin(RISK)


def _held(kind: Kind, strike: int, quantity: float, days: float, carry: int = 0) -> Held:
    return Held(
        kind=kind,
        strike=to_wad(strike),
        quantity=to_wad(quantity),
        expiry=NOW + int(days * DAY),
        carry=carry,
    )


def _feed_risk(book: Sequence[Held], model: ScanMargin = MODEL) -> FeedRisk:
    book_of = model.books(book, SPOTS, NOW)[ETH]
    return FeedRisk(book_of.held, book_of.spot, book_of.risk)


def test_it_is_a_margin_model() -> None:
    model: MarginModel = MODEL
    assert set(attrs.astuple(model.requirements([], [], NOW, USDC))) == {0}


# ---- by hand


def test_short_forward_by_hand() -> None:
    margins = MODEL.requirements([_held(Kind.FORWARD, 3_000, -1, 365)], SPOTS, NOW, USDC)
    # a range of 20 % costs 600, +60 % a third of 1,800, +100 % a sixth of 3,000; carry 3.5 %
    assert margins.maintenance_a == (600 + 105) * USDC
    assert margins.initial_a == (600 + 105) * USDC * 125 // 100
    assert margins.maintenance_b == (600 + 105) * USDC
    assert (margins.value_a, margins.value_b) == (0, 0)


def test_crash_counts_a_quarter() -> None:
    model = ScanMargin([risk_with("price_range", 2 * 10**16)])
    margin = _feed_risk([_held(Kind.FORWARD, 3_000, 1, 1)], model).margin(1)
    assert margin.worst == Scenario(number=17)
    assert margin.scan == 3_000 * 66 * WAD * WAD // 400
    margin = _feed_risk([_held(Kind.FORWARD, 3_000, 1, 1)], model).margin(-1)
    assert margin.worst == Scenario(number=16)
    assert margin.scan == 500 * WAD * WAD


def test_calendar_and_strike_charges_by_hand() -> None:
    near, far = _held(Kind.CALL, 3_000, 2, 30), _held(Kind.CALL, 3_000, -1, 90)
    wing = _held(Kind.CALL, 3_500, -3, 30)
    d = [
        x.quantity * x.series.changes[0]
        for x in MODEL.books([near, far, wing], SPOTS, NOW)[ETH].held
    ]
    margin = _feed_risk([near, far, wing]).margin(1)
    first, second = d[0] + d[2], d[1]
    assert d[0] > 0 > second
    assert margin.calendar == -(-(abs(first) + abs(second) - abs(first + second)) // 4)
    assert margin.strike == -(-(d[0] - d[2] - abs(first)) // 10)
    assert _feed_risk([near]).margin(1).calendar == _feed_risk([near]).margin(1).strike == 0


def test_carry_charge_does_not_net_between_expiries() -> None:
    book = [_held(Kind.FORWARD, 3_000, 1, 365), _held(Kind.FORWARD, 3_000, -1, 730)]
    margin = _feed_risk(book).margin(1)
    assert margin.scan == 0  # the same price moves both
    assert margin.carry == (105 + 195) * WAD * WAD
    same = [_held(Kind.FORWARD, 3_000, 1, 365), _held(Kind.FORWARD, 2_000, -1, 365)]
    assert _feed_risk(same).margin(1).carry == 0


def test_short_minimum_by_hand() -> None:
    book = [
        _held(Kind.CALL, 9_000, -5, 30),
        _held(Kind.CALL, 9_500, 2, 400),
        _held(Kind.PUT, 500, -1, 30),
        _held(Kind.DIGITAL_CALL, 9_000, -100, 30),
        _held(Kind.DIGITAL_PUT, 100, 7, 30),
        _held(Kind.CALL, 9_000, 50, -1),  # expired: offsets nothing
    ]
    risk = _feed_risk(book)
    assert risk.margin(1).short_minimum == (3 * 30 + 1 * 30 + 1) * WAD * WAD
    assert risk.margin(-1).short_minimum == 7 * WAD * WAD // 100


# ---- nodes and roll-off


def test_a_short_butterfly_on_the_eve_is_margined_at_its_body() -> None:
    fly = [_held(Kind.CALL, k, q, 1) for k, q in ((2_950, -1), (3_050, 2), (3_150, -1))]
    margin = _feed_risk(fly).margin(1)
    assert margin.worst is not None
    assert margin.worst.node is not None
    assert margin.worst.node.strike == to_wad(3_050)
    # 100 are lost there, less what was received for it
    received = portfolio_value(fly, SPOTS, NOW, USDC).exact
    assert received < 0
    assert margin.scan == 100 * WAD * WAD + received
    book = MODEL.books(fly, SPOTS, NOW)[ETH]
    without = FeedRisk(book.held, book.spot, book.risk, ()).margin(1)
    assert without.scan < margin.scan


def test_a_digital_is_margined_as_if_it_flipped() -> None:
    book = [_held(Kind.DIGITAL_CALL, 3_300, 1_000, 1), _held(Kind.DIGITAL_CALL, 3_301, -1_000, 1)]
    worth = portfolio_value(book, SPOTS, NOW, USDC).exact
    margin = _feed_risk(book).margin(-1)  # B pays if the price ends from 3,300 to 3,301
    assert margin.worst is not None
    assert margin.worst.node is not None
    assert margin.scan == 1_000 * WAD * WAD - worth > 900 * WAD * WAD
    at_3_300 = margin.worst.node.strike == to_wad(3_300) and margin.worst.number == 1
    below_3_301 = margin.worst.node.strike == to_wad(3_301) and margin.worst.number == 2
    assert at_3_300 or below_3_301


def test_nodes_are_distinct_near_and_at_most_eight() -> None:
    book = [_held(Kind.CALL, 3_000 + 10 * k, 1, 1) for k in range(-12, 13)]
    book += [_held(Kind.PUT, 3_000, 1, 1), _held(Kind.CALL, 3_001, 1, 3)]
    book += [_held(Kind.FORWARD, 3_002, 1, 1), _held(Kind.DIGITAL_PUT, 3_010, 1, 2)]
    nodes = _feed_risk(book).nodes
    strikes = [node.strike // WAD for node in nodes]
    assert strikes == [3_000, 2_990, 3_010, 2_980, 3_020, 2_970, 3_030, 2_960]
    assert len(strikes) == MAX_NODES
    assert [node.digital for node in nodes] == [strike == 3_010 for strike in strikes]


def test_edge_of_the_price_range_is_no_node() -> None:
    book = [_held(Kind.CALL, 3_600, 1, 1), _held(Kind.PUT, 2_400, 1, 1)]
    assert _feed_risk(book).nodes == ()
    assert len(_feed_risk([_held(Kind.CALL, 3_599, 1, 1)]).nodes) == 1


def test_one_strike_in_two_expiries_is_one_node_at_the_nearest_forward() -> None:
    book = [_held(Kind.CALL, 3_000, 1, 1, carry=WAD), _held(Kind.CALL, 3_000, 1, 2)]
    (node,) = _feed_risk(book).nodes
    assert node.forward == SPOTS[0].price


def test_roll_off_one_leg_expires_and_the_other_is_naked() -> None:
    naked = _held(Kind.CALL, 3_000, -1, 3)
    hedge = _held(Kind.CALL, 3_000, 1, 1)
    hedged = _feed_risk([hedge, naked]).margin(1)
    assert hedged.scan >= _feed_risk([naked]).margin(1).scan
    assert hedged.worst is not None
    assert hedged.worst.outliving
    lasting = _held(Kind.CALL, 3_000, 1, 4)
    assert _feed_risk([naked, lasting]).margin(1).scan < hedged.scan // 2


# ---- the cap


def test_a_fully_paid_long_needs_no_more_than_its_value() -> None:
    book = [_held(Kind.CALL, 3_000, 1, 30), _held(Kind.PUT, 2_000, 2, 7), _held(Kind.PUT, 50, 1, 9)]
    party, _ = MODEL.explain(book, SPOTS, NOW, USDC)
    assert party.cap == party.value
    assert party.maintenance <= party.initial <= party.value
    deep = _held(Kind.PUT, 100, 1_000, 30)  # worth nothing
    assert MODEL.requirements([deep], SPOTS, NOW, USDC).initial_a == 0


def test_a_covered_short_needs_no_more_than_its_width() -> None:
    book = [_held(Kind.PUT, 3_000, -1, 30), _held(Kind.PUT, 2_990, 1, 30)]
    margins = MODEL.requirements(book, SPOTS, NOW, USDC)
    assert margins.initial_a == margins.value_a + 10 * USDC  # cash of the width is enough
    assert margins.value_a < 0


def test_a_naked_short_call_has_no_cap() -> None:
    party, other = MODEL.explain([_held(Kind.CALL, 3_000, -1, 30)], SPOTS, NOW, USDC)
    assert party.cap is None
    assert other.cap == other.value


# ---- against the reimplementation


@pytest.mark.parametrize("seed", range(60))
def test_against_an_independent_reimplementation(seed: int) -> None:
    rng = random.Random(seed)
    book = random_book(rng, rng.choice((1, 2, 3, 5, 8, 20)))
    at = NOW + rng.choice((0, 0, 1_000, DAY))
    party_a, party_b = MODEL.explain(book, SPOTS, at, USDC)
    gross = sum(abs(x.quantity) / WAD * (90_000 if x.feed == BTC else 3_000) for x in book)
    for party, sign in ((party_a, 1), (party_b, -1)):
        initial, maintenance = uncapped(book, SPOTS, at, RISK, sign)
        mine = sum(feed.maintenance for feed in party.feeds.values()) / WAD / WAD
        assert mine == pytest.approx(maintenance, rel=1e-9, abs=1e-9 * gross)
        mine = sum(feed.initial for feed in party.feeds.values()) / WAD / WAD
        assert mine == pytest.approx(initial, rel=1e-9, abs=1e-9 * gross)
        most = sum(
            (bucket.loss_a if sign > 0 else bucket.loss_b) or 0
            for bucket in largest_losses(book, USDC)
        )
        if party.cap is not None:
            assert party.cap == max(0, party.value + most)
            initial, maintenance = (min(x, party.cap / USDC) for x in (initial, maintenance))
        for exact, units in ((initial, party.initial), (maintenance, party.maintenance)):
            assert units / USDC == pytest.approx(exact, rel=1e-9, abs=1e-9 * gross + 2e-6)


# ---- promises


BOOKS = st.builds(
    lambda seed, size: random_book(random.Random(seed), size),
    st.integers(0, 2**32),
    st.integers(0, 9),
)


@settings(max_examples=60, deadline=None)
@given(BOOKS, st.randoms(use_true_random=False))
def test_promises(book: list[Held], rng: random.Random) -> None:
    margins = MODEL.requirements(book, SPOTS, NOW, USDC)
    value = portfolio_value(book, SPOTS, NOW, USDC)
    # equity is what portfolio_value says, and initial covers maintenance
    assert margins.value_a == value.value_rounded_down_a
    assert margins.value_b == value.value_rounded_down_b
    assert 0 <= margins.maintenance_a <= margins.initial_a
    assert 0 <= margins.maintenance_b <= margins.initial_b
    # neither the order nor what was computed before changes anything
    shuffled = rng.sample(book, len(book))
    assert ScanMargin(RISK).requirements(shuffled, SPOTS, NOW, USDC) == margins
    # the other side of the same book
    mirrored = [attrs.evolve(x, quantity=-x.quantity) for x in book]
    other = MODEL.requirements(mirrored, SPOTS, NOW, USDC)
    assert (other.initial_a, other.maintenance_a) == (margins.initial_b, margins.maintenance_b)
    # cash that covers the largest loss is always enough
    losses = [bucket.loss_a for bucket in largest_losses(book, USDC)]
    if None not in losses:
        cash = sum(loss or 0 for loss in losses)
        assert cash + margins.value_a >= margins.initial_a or margins.initial_a == 0
    # twice the book needs twice the margin, but for rounding
    twice = [attrs.evolve(x, quantity=2 * x.quantity) for x in book]
    double = MODEL.explain(twice, SPOTS, NOW, USDC)[0].feeds
    for feed, margin in MODEL.explain(book, SPOTS, NOW, USDC)[0].feeds.items():
        assert abs(double[feed].maintenance - 2 * margin.maintenance) <= 10


@settings(max_examples=60, deadline=None)
@given(BOOKS, BOOKS)
def test_scan_of_two_books_is_at_most_the_sum_of_theirs(
    left: list[Held], right: list[Held]
) -> None:
    """Diversification never costs, given the same nodes: what makes arrays additive."""
    books = [MODEL.books(book, SPOTS, NOW).get(ETH) for book in (left, right, left + right)]
    if None in books:
        return
    one, two, both = (book for book in books if book is not None)
    together = FeedRisk(both.held, both.spot, both.risk)
    for side in (1, -1):
        parts = [
            FeedRisk(book.held, book.spot, book.risk, together.nodes).margin(side)
            for book in (one, two)
        ]
        whole = together.margin(side)
        assert whole.scan <= parts[0].scan + parts[1].scan
        assert whole.short_minimum <= parts[0].short_minimum + parts[1].short_minimum
        assert whole.carry <= parts[0].carry + parts[1].carry


@settings(max_examples=60, deadline=None)
@given(BOOKS)
def test_what_a_feed_requires_is_what_its_parts_add_up_to(book: list[Held]) -> None:
    for each in MODEL.books(book, SPOTS, NOW).values():
        feed = FeedRisk(each.held, each.spot, each.risk)
        for side in (1, -1):
            parts = feed.margin(side)
            assert feed.required(side) == (parts.initial, parts.maintenance)


@settings(max_examples=40, deadline=None)
@given(BOOKS)
def test_the_worst_scenarios_alone_show_most_of_a_margin(book: list[Held]) -> None:
    parties = MODEL.explain(book, SPOTS, NOW, USDC)
    for side, party in zip((1, -1), parties, strict=True):
        worst = {feed: each.worst or Scenario(number=0) for feed, each in party.feeds.items()}
        value, shown = MODEL.shown(book, SPOTS, NOW, USDC, side=side, scenarios=worst)
        assert value == party.value
        assert shown <= party.maintenance
        exact = sum(each.scan + each.short_minimum for each in party.feeds.values())
        expected = -(-exact * USDC // WAD // WAD)
        assert shown == (expected if party.cap is None else min(expected, party.cap))
        for number in (0, 9, 17):
            other = {feed: Scenario(number=number, outliving=number == 9) for feed in worst}
            assert MODEL.shown(book, SPOTS, NOW, USDC, side=side, scenarios=other)[1] <= shown


def test_scenarios_are_named_right_or_refused() -> None:
    book = [_held(Kind.CALL, 3_000, 1, 30)]
    with pytest.raises(InvalidValueError, match="no scenario for feed"):
        MODEL.shown(book, SPOTS, NOW, USDC, side=1, scenarios={})
    with pytest.raises(InvalidValueError, match="no scenario Scenario"):
        MODEL.shown(book, SPOTS, NOW, USDC, side=1, scenarios={ETH: Scenario(number=18)})


def test_only_the_scenarios_named_are_valued() -> None:
    """What another scenario would do to a forward, leave the domain for one, does not matter."""
    spots = [At(price=2**127)]
    book = [attrs.evolve(_held(Kind.FORWARD, 3_000, -1, 30), quantity=-1)]
    with pytest.raises(PricingDomainError, match="moves the forward"):
        MODEL.explain_party(book, spots, NOW, 1, side=1)
    fall, rise = ({ETH: Scenario(number=number)} for number in (12, 16))
    assert MODEL.shown(book, spots, NOW, WAD, side=-1, scenarios=fall)[1] == -(
        -(2**127) // 5 // WAD
    )
    with pytest.raises(PricingDomainError, match="moves the forward"):
        MODEL.shown(book, spots, NOW, 1, side=1, scenarios=rise)


def test_feeds_do_not_offset_each_other() -> None:
    eth = _held(Kind.FORWARD, 3_000, 30, 30)
    btc = attrs.evolve(eth, feed=BTC, strike=to_wad(90_000), quantity=-WAD)
    apart = sum(MODEL.requirements([x], SPOTS, NOW, USDC).initial_a for x in (eth, btc))
    assert abs(MODEL.requirements([eth, btc], SPOTS, NOW, USDC).initial_a - apart) <= 1


def test_a_further_trade_costs_one_array(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    real = SeriesRisk.of

    def counted(position: PositionLike, spot: int, at: int, risk: Any, moves: Any) -> SeriesRisk:
        made.append(position)
        return real(position, spot, at, risk, moves)

    monkeypatch.setattr(SeriesRisk, "of", counted)
    model = ScanMargin(RISK)
    book = random_book(random.Random(3), 20)
    model.requirements(book, SPOTS, NOW, USDC)
    assert len(made) == len(book)
    added = _held(Kind.CALL, 3_333, 1, 33)
    bigger = [attrs.evolve(x, quantity=x.quantity + 1) for x in book]
    model.requirements([*bigger, added], SPOTS, NOW, USDC)
    assert len(made) == len(book) + 1


# ---- refusals


def test_what_is_refused() -> None:
    book = [_held(Kind.CALL, 3_000, 1, 30)]
    with pytest.raises(InvalidValueError, match="no spot for ETH-USD"):
        MODEL.requirements(book, SPOTS[1:], NOW, USDC)
    with pytest.raises(InvalidValueError, match="no margin parameters for ETH-USD"):
        ScanMargin(RISK[1:]).requirements(book, SPOTS, NOW, USDC)
    with pytest.raises(InvalidValueError, match="two spots"):
        MODEL.requirements(book, (*SPOTS, SPOTS[0]), NOW, USDC)
    with pytest.raises(PricingDomainError, match="quantity"):
        MODEL.requirements([attrs.evolve(book[0], quantity=MAX_QUANTITY + 1)], SPOTS, NOW, USDC)
    large = [attrs.evolve(book[0], quantity=-MAX_QUANTITY)]
    MODEL.requirements(large, SPOTS, NOW, 1)
    with pytest.raises(PricingDomainError, match="128 bits"):
        MODEL.requirements(large, SPOTS, NOW, 10**21)
    with pytest.raises(PricingDomainError, match="a margin does not fit"):
        MODEL.requirements([_held(Kind.FORWARD, 3_000, -(10**13), 30)], SPOTS, NOW, 10**24)
    with pytest.raises(InvalidValueError, match="price_range"):
        ScanMargin([risk_with("price_range", WAD)])


def test_one_spot_is_enough_for_one_feed() -> None:
    book = [_held(Kind.PUT, 3_000, -1, 30)]
    assert MODEL.requirements(book, [At(price=3_000 * WAD)], NOW, USDC) == MODEL.requirements(
        book, SPOTS, NOW, USDC
    )
