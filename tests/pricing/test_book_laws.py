"""Laws of whole books: what a combination must be worth, and need, because of what it pays.

Parity holds to the wei in every price, so it holds to the wei in every scenario, value and
close-out too: a synthetic forward is a forward, a box is money.
contracts/test/risk/RiskEngineLaws.t.sol asserts the same of the contract.
"""

from __future__ import annotations

import random

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.pricing import (
    MAX_PAYOFF,
    Kind,
    ScanMargin,
    close_out_value,
    payoff,
    portfolio_value,
)
from channels.pricing.feed_margin import FeedRisk
from channels.pricing.risk_array import Node, PriceMoves, SeriesRisk
from channels.units import DAY, HOUR, WAD

from .margin_reference import NOW, SPOTS, random_book
from .values import BTC, ETH, Held, Risk

USDC = 10**6
RISK = {ETH: Risk(), BTC: Risk(feed=BTC, price_range=16 * 10**16, look_ahead=DAY)}
MODEL = ScanMargin(RISK.values())
MOVES = PriceMoves.of(RISK[ETH].price_range)
SPOT = SPOTS[0].price

BOOKS = st.builds(
    lambda seed, size: random_book(random.Random(seed), size),
    st.integers(0, 2**32),
    st.integers(0, 8),
)
SERIES = st.builds(
    Held,
    kind=st.just(Kind.CALL),
    expiry=st.integers(NOW - 5, NOW + 4 * DAY) | st.integers(NOW, NOW + 800 * DAY),
    strike=st.integers(SPOT // 10, 5 * SPOT) | st.integers(SPOT - 3, SPOT + 3),
    quantity=st.integers(1, 10**24) | st.integers(-(10**24), -1),
    vol=st.integers(0, 3 * WAD),
    carry=st.integers(-WAD, WAD),
)
U128 = st.integers(0, 2**128 - 1)
I127 = st.integers(1 - 2**127, 2**127 - 1)


def _array(held: Held, kind: Kind) -> SeriesRisk:
    return SeriesRisk.of(attrs.evolve(held, kind=kind), SPOT, NOW, RISK[ETH], MOVES)


# ---- payoffs


@given(U128, I127, U128, U128)
def test_a_synthetic_forward_pays_like_a_forward(
    strike: int, quantity: int, settled: int, unit: int
) -> None:
    """To the unit although each payoff is truncated: of call and put one pays nothing."""
    call, put, forward = (
        payoff(kind, strike, quantity, settled, unit)
        for kind in (Kind.CALL, Kind.PUT, Kind.FORWARD)
    )
    assert call - put == forward
    assert call == 0 or put == 0


@given(U128, I127, U128, U128)
def test_two_digitals_pay_like_money(strike: int, quantity: int, settled: int, unit: int) -> None:
    paid = [
        payoff(kind, strike, quantity, settled, unit)
        for kind in (Kind.DIGITAL_CALL, Kind.DIGITAL_PUT)
    ]
    size = min(abs(quantity) * unit // WAD, MAX_PAYOFF)
    assert sorted(map(abs, paid)) == [0, size]


@given(U128, U128, U128, st.integers(0, 2**127 - 1), U128)
def test_calls_pay_more_the_higher_the_price_and_the_lower_the_strike(
    strike: int, first: int, second: int, quantity: int, unit: int
) -> None:
    low, high = sorted((first, second))
    by_price = [payoff(Kind.CALL, strike, quantity, each, unit) for each in (low, high)]
    assert by_price[0] <= by_price[1]
    by_strike = [payoff(Kind.CALL, each, quantity, strike, unit) for each in (low, high)]
    assert by_strike[1] <= by_strike[0]


# ---- values


@given(BOOKS, BOOKS, st.integers(-5, 5))
@settings(max_examples=50, deadline=None)
def test_the_exact_value_is_linear(left: list[Held], right: list[Held], times: int) -> None:
    """Before its one rounding: books add up, and scale with their quantities."""
    one, two = (portfolio_value(book, SPOTS, NOW, USDC).exact for book in (left, right))
    assert portfolio_value(left + right, SPOTS, NOW, USDC).exact == one + two
    scaled = [attrs.evolve(each, quantity=times * each.quantity) for each in left]
    assert portfolio_value(scaled, SPOTS, NOW, USDC).exact == times * one


# ---- arrays


@given(SERIES)
@settings(max_examples=100, deadline=None)
def test_parity_holds_in_every_scenario(held: Held) -> None:
    call, put, forward = (_array(held, kind) for kind in (Kind.CALL, Kind.PUT, Kind.FORWARD))
    assert call.value - put.value == forward.value
    assert call.carry_change - put.carry_change == forward.carry_change
    for a, b, c in zip(call.changes, put.changes, forward.changes, strict=True):
        assert a - b == c
    node = Node(held.strike + 1, call.forward, True)
    for a, b, c in zip(*(each.node_changes(node) for each in (call, put, forward)), strict=True):
        assert a - b == c


@given(SERIES)
@settings(max_examples=100, deadline=None)
def test_digitals_add_up_to_one_in_every_scenario(held: Held) -> None:
    call, put = (_array(held, kind) for kind in (Kind.DIGITAL_CALL, Kind.DIGITAL_PUT))
    assert call.value + put.value == WAD
    node = Node(held.strike, call.forward, True)
    changes = zip(
        (*call.changes, *call.node_changes(node), call.carry_change),
        (*put.changes, *put.node_changes(node), put.carry_change),
        strict=True,
    )
    assert all(a + b == 0 and -call.value <= a <= WAD - call.value for a, b in changes)


# ---- margins


@given(SERIES, st.integers(1, 5 * SPOT))
@settings(max_examples=50, deadline=None)
def test_a_box_is_money(held: Held, width: int) -> None:
    """It pays the distance of its strikes whatever happens: no scenario, no carry, no calendar."""
    upper = held.strike + width
    box = [
        held,
        attrs.evolve(held, strike=upper, quantity=-held.quantity),
        attrs.evolve(held, kind=Kind.PUT, quantity=-held.quantity),
        attrs.evolve(held, kind=Kind.PUT, strike=upper),
    ]
    assert portfolio_value(box, SPOTS, NOW, USDC).exact == held.quantity * width
    book = MODEL.books(box, SPOTS, NOW)[ETH]
    for side in (1, -1):
        margin = FeedRisk(book.held, book.spot, book.risk).margin(side)
        assert (margin.scan, margin.worst, margin.carry, margin.calendar) == (0, None, 0, 0)
    # who has bought it can lose nothing: its margin is its value, at most
    margins = MODEL.requirements(box, SPOTS, NOW, USDC)
    if held.quantity > 0:
        assert margins.initial_a <= margins.value_a + 1
    else:
        assert margins.initial_b <= margins.value_b + 1


@given(SERIES)
@settings(max_examples=50, deadline=None)
def test_a_synthetic_forward_is_scanned_like_a_forward(held: Held) -> None:
    """But for the nodes that options have near their expiry, which move a forward as well."""
    synthetic = [held, attrs.evolve(held, kind=Kind.PUT, quantity=-held.quantity)]
    forward = [attrs.evolve(held, kind=Kind.FORWARD)]
    books = [MODEL.books(book, SPOTS, NOW)[ETH] for book in (synthetic, forward)]
    nodes = FeedRisk(books[0].held, books[0].spot, books[0].risk).nodes
    for side in (1, -1):
        one, other = (
            FeedRisk(book.held, book.spot, book.risk, nodes).margin(side) for book in books
        )
        assert (one.scan, one.carry) == (other.scan, other.carry)


# ---- close-out


@given(BOOKS, st.integers(0, 50 * HOUR))
@settings(max_examples=50, deadline=None)
def test_a_close_out_never_favours_the_called_party(book: list[Held], age: int) -> None:
    def value(positions: list[Held], called: int) -> int:
        return close_out_value(
            positions, SPOTS, RISK, USDC, marked_at=NOW - age, at=NOW, called=called
        )

    assert value(book, 1) <= value(book, -1)
    mirrored = [attrs.evolve(each, quantity=-each.quantity) for each in book]
    assert value(mirrored, -1) == -value(book, 1)


@given(SERIES, st.integers(0, 50 * HOUR), st.sampled_from((1, -1)))
@settings(max_examples=50, deadline=None)
def test_a_synthetic_forward_is_closed_out_like_a_forward(
    held: Held, age: int, called: int
) -> None:
    synthetic = [held, attrs.evolve(held, kind=Kind.PUT, quantity=-held.quantity)]
    forward = [attrs.evolve(held, kind=Kind.FORWARD)]
    one, other = (
        close_out_value(book, SPOTS, RISK, USDC, marked_at=NOW - age, at=NOW, called=called)
        for book in (synthetic, forward)
    )
    assert one == other
