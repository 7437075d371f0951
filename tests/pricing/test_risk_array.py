"""Prices with shared logarithms, and the arrays made of them."""

from __future__ import annotations

import random
from decimal import Decimal

import attrs
import pytest

from channels.errors import InvalidValueError, PricingDomainError
from channels.pricing import MAX_VOL, Kind, price, risk_by_feed
from channels.pricing.fixed import sqrt_years
from channels.pricing.risk_array import LOSS_DIVISORS, SCENARIOS, Node, PriceMoves, SeriesRisk
from channels.pricing.risk_params import RISK_BOUNDS
from channels.pricing.scenario_price import (
    log_ratio,
    root_of_month,
    scenario_price,
    vol_down,
    vol_up,
)
from channels.protocol.terms import RiskParams
from channels.units import DAY, WAD, YEAR, to_wad

from .compare_engines import random_prices
from .margin_reference import black
from .values import ETH, Held, Risk, risk_with

NOW = 1_772_000_000
RISK = Risk()
MOVES = PriceMoves.of(RISK.price_range)


def test_with_an_exact_logarithm_it_is_the_price() -> None:
    rows = random_prices(random.Random(5))
    for _ in range(5_000):
        kind, forward, strike, vol, tau = next(rows)
        s = vol * sqrt_years(tau) // WAD
        shared = scenario_price(kind, forward, strike, log_ratio(forward, strike), s)
        assert shared == price(kind, forward, strike, vol, tau)


def test_a_logarithm_of_the_other_sign_counts_as_zero() -> None:
    s = 2**95
    for kind in (Kind.CALL, Kind.PUT, Kind.DIGITAL_CALL, Kind.DIGITAL_PUT):
        for forward, log in ((WAD + 1, -5), (WAD - 1, 5)):
            assert scenario_price(kind, forward, WAD, log, s) == scenario_price(
                kind, forward, WAD, 0, s
            )


def test_the_moves_are_those_of_the_design() -> None:
    moves = [factor - WAD for factor in MOVES.factors]
    third = 20 * 10**16 // 3
    assert moves[:7] == [0, third, -third, 2 * 20 * 10**16 // 3, -(2 * 20 * 10**16 // 3), *PLUS]
    assert moves[7:] == [6 * 10**17, -6 * 10**17, WAD, -66 * 10**16]
    assert LOSS_DIVISORS[14:] == (3, 3, 6, 4)
    assert len(LOSS_DIVISORS) == SCENARIOS == 18


PLUS = (20 * 10**16, -20 * 10**16)


def test_vols_by_hand() -> None:
    assert root_of_month(30 * DAY) == WAD
    assert root_of_month(1) == int(Decimal(2_592_000).sqrt().scaleb(18))
    # thirty days: 0.6 * 1.45 and 0.6 / 1.3
    assert vol_up(6 * 10**17, RISK.vol_up, 30 * DAY) == 87 * 10**16
    assert vol_down(6 * 10**17, RISK.vol_down, 30 * DAY) == 461538461538461538
    # a quarter of that time doubles the rise; below a day it stays
    assert vol_up(6 * 10**17, RISK.vol_up, 15 * DAY // 2) == 114 * 10**16
    assert vol_up(WAD, RISK.vol_up, 1) == vol_up(WAD, RISK.vol_up, DAY)
    assert vol_up(MAX_VOL, 3 * WAD, 1) == MAX_VOL


def _held(kind: Kind, strike: int, days: float, vol: int = 6 * 10**17) -> Held:
    expiry = NOW + int(days * DAY)
    return Held(kind=kind, strike=to_wad(strike), quantity=WAD, expiry=expiry, vol=vol)


def _array(held: Held, spot: int = 3_000 * WAD) -> SeriesRisk:
    return SeriesRisk.of(held, spot, NOW, RISK, MOVES)


def test_array_of_a_forward_is_the_moves() -> None:
    series = _array(_held(Kind.FORWARD, 2_900, 365))
    assert series.value == to_wad(100)
    by_move = [3_000 * (factor - WAD) for factor in MOVES.factors]
    expected = [change for change in by_move[:7] for _ in "ud"] + by_move[7:]
    assert list(series.changes) == expected
    assert series.carry_change == to_wad(3_000) * 35 // 1000  # 0.5 % and 3 % for the year


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("days", [0.5, 2, 30, 400])
def test_array_against_the_textbook(kind: Kind, days: float) -> None:
    series = _array(_held(kind, 3_100, days))
    tau = days * DAY
    root = (30 / max(days, 1)) ** 0.5
    up, down = 0.6 * (1 + 0.45 * root), 0.6 / (1 + 0.3 * root)
    now = black(kind, 3_000, 3_100, 0.6, tau)
    got = iter(series.changes)
    for move in (0, 1, -1, 2, -2, 3, -3):
        forward = 3_000 * (1 + 0.2 * move / 3)
        for vol, left in ((up, tau), (down, max(tau - 2 * DAY, 0))):
            expected = black(kind, forward, 3_100, vol, left) - now
            assert next(got) / WAD == pytest.approx(expected, abs=1e-9)
    for factor in (1.6, 0.4, 2, 0.34):
        expected = black(kind, 3_000 * factor, 3_100, 0.6, tau) - now
        assert next(got) / WAD == pytest.approx(expected, abs=1e-9)
    rise = 1.005 + 0.03 * tau / YEAR
    expected = black(kind, 3_000 * rise, 3_100, 0.6, tau) - now
    assert series.carry_change / WAD == pytest.approx(expected, abs=1e-9)


def test_expired_means_its_payoff_at_the_moved_spot() -> None:
    series = _array(_held(Kind.CALL, 2_900, -1, vol=0))
    assert (series.tau, series.value, series.carry_change) == (0, to_wad(100), 0)
    assert series.changes[10:12] == (to_wad(600), to_wad(600))
    assert not series.outlives


def test_node_of_a_digital_sees_both_sides_of_its_strike() -> None:
    series = _array(_held(Kind.DIGITAL_CALL, 3_010, 1))
    node = Node(to_wad(3_010), series.forward, True)
    up, at, below = series.node_changes(node)
    assert at == WAD - series.value
    assert below == -series.value
    assert below < up < at
    assert series.node_changes(node) is series.node_changes(node)
    assert len(series.node_changes(attrs.evolve(node, digital=False))) == 2


def test_a_forward_moved_out_of_the_domain_is_an_error() -> None:
    for spot in (2**127, 1):
        series = _array(_held(Kind.CALL, 3_000, 1), spot=spot)
        with pytest.raises(PricingDomainError, match="moves the forward"):
            _ = series.changes
    last = _array(_held(Kind.FORWARD, 3_000, 1), spot=2**128 - 1)
    with pytest.raises(PricingDomainError, match="moves the forward"):
        _ = last.carry_change
    with pytest.raises(PricingDomainError):
        _array(_held(Kind.CALL, 3_000, 1, vol=MAX_VOL + 1))


def test_parameters_are_checked_at_every_bound() -> None:
    for name, (least, most) in RISK_BOUNDS.items():
        for value in (least, most):
            risk_by_feed([risk_with(name, value)])
        for value in (least - 1, most + 1):
            with pytest.raises(InvalidValueError, match=f"{name} is {value}"):
                risk_by_feed([risk_with(name, value)])
    with pytest.raises(InvalidValueError, match="two sets"):
        risk_by_feed([RISK, RISK])


def test_what_both_sign_is_what_the_model_takes() -> None:
    signed = RiskParams(feed=ETH)
    assert risk_by_feed([signed]) == {ETH: signed}
    assert attrs.asdict(signed) == attrs.asdict(RISK)
    assert set(RISK_BOUNDS) == {field.name for field in attrs.fields(RiskParams)} - {"feed"}
