"""A portfolio's value: exact until one rounding for each party."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.errors import InvalidValueError, PricingDomainError
from channels.pricing import (
    Kind,
    PositionLike,
    SpotLike,
    forward_price,
    payoff,
    portfolio_value,
    position_price,
    price,
)
from channels.pricing.portfolio import bucket_name
from channels.protocol.types import Position, Spot
from channels.units import WAD, to_wad

from .values import BTC, ETH, At, Held

NOW = 1_772_000_000
EXPIRY = 1_774_598_400
SPOT = At(price=to_wad(3000))
USDC = 10**6

HELD = st.builds(
    Held,
    kind=st.sampled_from(Kind),
    strike=st.integers(1, 10_000 * WAD),
    quantity=st.integers(-(10**24), 10**24).filter(bool),
    vol=st.integers(0, 3 * WAD),
    carry=st.integers(-WAD, WAD),
    expiry=st.sampled_from((NOW - 5, NOW, NOW + 3_600, EXPIRY)),
)


def test_one_call_is_its_price_times_its_quantity() -> None:
    position = Held(kind=Kind.CALL, strike=to_wad(3200), quantity=to_wad("2.5"), carry=4 * 10**16)
    forward = forward_price(SPOT.price, position.carry, EXPIRY - NOW)
    one = price(Kind.CALL, forward, position.strike, position.vol, EXPIRY - NOW)
    assert position_price(position, SPOT.price, NOW) == one
    value = portfolio_value([position], [SPOT], NOW, USDC)
    assert value.exact == one * to_wad("2.5")
    assert value.value_rounded_down_a == one * to_wad("2.5") * USDC // 10**36
    assert value.value_rounded_down_b == -value.value_rounded_down_a - 1


@given(st.lists(HELD, max_size=12), st.integers(1, 10**18))
def test_each_party_s_figure_is_the_exact_one_rounded_down(held: list[Held], unit: int) -> None:
    value = portfolio_value(held, [SPOT], NOW, unit)
    each = [each.quantity * position_price(each, SPOT.price, NOW) for each in held]
    assert value.exact == sum(each)
    exact = Fraction(sum(each) * unit, 10**36)
    assert value.value_rounded_down_a == floor(exact)
    assert value.value_rounded_down_b == floor(-exact)
    assert value.value_rounded_down_a + value.value_rounded_down_b in (0, -1)


@given(st.lists(HELD, max_size=8))
def test_the_order_of_positions_does_not_matter(held: list[Held]) -> None:
    assert portfolio_value(held, [SPOT], NOW, USDC) == portfolio_value(
        held[::-1], [SPOT], NOW, USDC
    )


@given(HELD)
def test_an_expired_position_is_worth_its_payoff(held: Held) -> None:
    value = portfolio_value([held], [SPOT], held.expiry, USDC)
    paid = payoff(held.kind, held.strike, held.quantity, SPOT.price, USDC)
    # values round down for each party, payoffs towards zero: equal on the winner's side
    winner = value.value_rounded_down_a if value.exact >= 0 else value.value_rounded_down_b
    assert winner == abs(paid)


def test_protocol_types_fit() -> None:
    position: PositionLike = Position(
        feed=ETH, kind=0, expiry=EXPIRY, strike=WAD, quantity=1, vol=WAD, carry=0
    )
    spot: SpotLike = Spot(feed=ETH, price=WAD)
    assert portfolio_value([position], [spot], NOW, 1).exact > 0


def test_a_feed_without_spot_is_named() -> None:
    position = Held(feed=BTC, kind=Kind.CALL, strike=WAD, quantity=1)
    with pytest.raises(InvalidValueError, match="no spot for BTC-USD 27MAR26 08:00"):
        portfolio_value([position], [SPOT], NOW, USDC)


def test_two_spots_for_a_feed_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="two spots"):
        portfolio_value([], [SPOT, SPOT], NOW, USDC)


def test_values_too_large_for_the_contract_are_refused() -> None:
    huge = Held(kind=Kind.FORWARD, strike=1, quantity=2**127 - 1)
    with pytest.raises(PricingDomainError, match="too large"):
        portfolio_value([huge], [At(price=2**128 - 1)], NOW, USDC)
    with pytest.raises(PricingDomainError, match="128 bits"):
        portfolio_value([huge], [At(price=10**24)], NOW, 10**30)


def test_names_of_buckets() -> None:
    assert bucket_name(BTC, EXPIRY) == "BTC-USD 27MAR26 08:00"
    assert bucket_name(b"\xff" * 32, EXPIRY) == f"0x{'ff' * 32} 27MAR26 08:00"
    assert bucket_name(b"ETH", 2**64 - 1) == "ETH @18446744073709551615"
