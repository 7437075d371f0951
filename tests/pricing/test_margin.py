"""Largest losses by brute force over every settlement price."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from channels.errors import PricingDomainError
from channels.pricing import (
    Kind,
    largest_losses,
    payoff,
    settlement_payoff,
)
from channels.units import WAD, to_wad

from .values import BTC, Held

EXPIRY = 1_774_598_400
USDC = 10**6

HIGHEST = 60
UNIT = 7 * 10**17
"""With prices of a few wei and quantities of a few units, payoffs are small and all truncated."""


def _tiny(kind: Kind) -> st.SearchStrategy[Held]:
    digital = kind in (Kind.DIGITAL_CALL, Kind.DIGITAL_PUT)
    # a digital pays 1e18 where the others pay a few wei: hold 1e18 times less of it
    size = st.integers(-99, 99) if digital else st.integers(-9 * WAD, 9 * WAD)
    return st.builds(
        Held,
        kind=st.just(kind),
        strike=st.integers(0, HIGHEST),
        quantity=size.filter(bool),
    )


BOOKS = st.lists(st.sampled_from(Kind).flatmap(_tiny), min_size=1, max_size=7)


def _paid(book: Sequence[Held], price: int, unit: int) -> int:
    return sum(settlement_payoff(p.kind, p.strike, p.quantity, price, unit) for p in book)


@settings(max_examples=400)
@given(BOOKS)
@example([Held(kind=Kind.DIGITAL_PUT, strike=0, quantity=5)])
@example([Held(kind=Kind.DIGITAL_CALL, strike=0, quantity=-5)])
@example([Held(kind=Kind.PUT, strike=9, quantity=-WAD)])
@example(
    [
        Held(kind=Kind.FORWARD, strike=10, quantity=8_956_521_739_130_434_773),
        Held(kind=Kind.FORWARD, strike=16, quantity=4_365_245_261_984_392_433),
        Held(kind=Kind.FORWARD, strike=7, quantity=4_370_122_630_992_196_212),
    ]
)
def test_no_settlement_price_costs_more_than_the_largest_loss(book: list[Held]) -> None:
    (bucket,) = largest_losses(book, UNIT)
    paid = [_paid(book, price, UNIT) for price in range(2 * HIGHEST)]
    far = _paid(book, 10**9, UNIT)  # truncation apart, beyond the strikes it is a straight line
    for loss, outcomes, at_infinity in (
        (bucket.loss_a, paid, far),
        (bucket.loss_b, [-each for each in paid], -far),
    ):
        if loss is None:
            assert at_infinity < min(outcomes) or abs(bucket.net_upside) < WAD // 10**6
            continue
        worst = max(0, -min(outcomes))
        # what is paid may be short by a unit a position, and so may what is received: a forward is
        # either
        assert worst <= loss <= worst + 2 * len(book)
        assert -at_infinity <= loss


@given(BOOKS)
def test_the_bound_grows_with_the_upside_that_is_sold(book: list[Held]) -> None:
    (bucket,) = largest_losses(book, UNIT)
    slope = sum(p.quantity for p in book if p.kind in (Kind.CALL, Kind.FORWARD))
    assert bucket.net_upside == slope
    assert (bucket.loss_a is None) == (slope < 0)
    assert (bucket.loss_b is None) == (slope > 0)


def _call(strike: int, quantity: int, **changes: object) -> Held:
    return Held(kind=Kind.CALL, strike=to_wad(strike), quantity=to_wad(quantity), **changes)  # type: ignore[arg-type]


def _put(strike: int, quantity: int, **changes: object) -> Held:
    return Held(kind=Kind.PUT, strike=to_wad(strike), quantity=to_wad(quantity), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("book", "loss_a", "loss_b"),
    [
        ([_put(3000, 2)], 0, 6_000 * USDC),
        ([_call(3000, 1), _call(3200, -1)], 0, 200 * USDC),
        ([_call(3000, -1), _call(3200, 1)], 200 * USDC, 0),
        ([_call(2800, 1), _call(3000, -2), _call(3200, 1)], 1, 200 * USDC),
        ([_put(2800, -1), _put(3000, 1)], 0, 200 * USDC),
        ([Held(kind=Kind.DIGITAL_CALL, strike=WAD, quantity=7 * WAD)], 0, 7 * USDC),
        (
            [
                Held(kind=Kind.DIGITAL_CALL, strike=WAD, quantity=7 * WAD),
                Held(kind=Kind.DIGITAL_PUT, strike=WAD, quantity=7 * WAD),
            ],
            0,
            7 * USDC,  # one of the two pays, always
        ),
        (
            [_call(3000, -1), Held(kind=Kind.FORWARD, strike=to_wad(2900), quantity=WAD)],
            2_900 * USDC,
            100 * USDC,
        ),
    ],
)
def test_known_books(book: list[Held], loss_a: int, loss_b: int) -> None:
    (bucket,) = largest_losses(book, USDC)
    assert bucket.loss_a is None or bucket.loss_a - loss_a in (0, 1)
    assert bucket.loss_b is None or bucket.loss_b - loss_b in (0, 1)


def test_buckets_do_not_offset_each_other() -> None:
    book = [_put(3000, 1), _put(3000, -1, expiry=EXPIRY + 86_400), _put(3000, -1, feed=BTC)]
    assert [bucket.loss_a for bucket in largest_losses(book, USDC)] == [
        0,
        3_000 * USDC,
        3_000 * USDC,
    ]


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(PricingDomainError, match="kind 9"):
        largest_losses([Held(kind=9, strike=1, quantity=1)], USDC)


def test_truncation_can_cost_more_than_the_exact_loss_and_is_covered() -> None:
    third = 333_333_333_333_333_333
    book = [
        Held(kind=Kind.PUT, strike=10, quantity=third),
        Held(kind=Kind.PUT, strike=10, quantity=third),
        Held(kind=Kind.PUT, strike=10, quantity=-2 * third),
    ]
    unit = 5 * 10**17
    paid = [sum(payoff(p.kind, p.strike, p.quantity, s, unit) for p in book) for s in range(12)]
    assert min(paid) < 0  # though long and short cancel exactly
    (bucket,) = largest_losses(book, unit)
    assert bucket.loss_a is not None
    assert bucket.loss_a >= -min(paid)
