"""The venues' models against what the venues publish, and against sums done by hand."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from channels.backtest.market import ListedExpiry, Snapshot
from channels.backtest.models import (
    DeribitPortfolioMargin,
    DerivePortfolioMargin,
    DeriveStandardMargin,
    ScanModel,
)
from channels.backtest.models.deribit_pm import DeribitParameters
from channels.backtest.models.derive_pmrm2 import DeriveParameters
from channels.backtest.portfolios import Leg
from channels.errors import InvalidValueError
from channels.pricing.black76 import implied_carry
from channels.pricing.kinds import Kind
from channels.protocol.types import feed_id
from channels.units import DAY, WAD, YEAR, to_wad
from tests.pricing.margin_reference import black, uncapped
from tests.pricing.values import At, Held, Risk

from .values import EXPIRY, snapshot


def wad(number: float) -> int:
    return int(to_wad(repr(round(number, 15))))


def published(
    *, spot: float, forward: float, seconds: int, calls: dict[float, tuple[float, float]]
) -> tuple[Snapshot, list[Leg]]:
    """One expiry with calls: strike -> (vol, quantity)."""
    vols = {wad(strike): wad(vol) for strike, (vol, _) in calls.items()}
    listed = ListedExpiry(expiry=seconds, forward=wad(forward), calls=vols, puts={})
    legs = [Leg(Kind.CALL, seconds, wad(strike), wad(q)) for strike, (_, q) in calls.items()]
    return Snapshot(at=0, spot=wad(spot), expiries={seconds: listed}), legs


# derivexyz/v2-core at 4e0ee6c5, test/risk-managers/unit-tests/PMRM_2/portfolio_cases:
# test_12 (naked short call, BTC) and test_18 (OTM call spread, ETH), parameters and results.
VECTOR = DeriveParameters(
    tails=(
        *((0.34, 0.2 * 0.18 / 0.66), (0.67, 0.2 * 0.18 / 0.33), (1.5, 0.072)),
        *((2.0, 0.036), (3.0, 0.018), (4.0, 0.012)),
    ),
    vol_range_up=0.5,
    vol_range_down=0.275,
    min_vol_up_shock=0.45,
    long_static_discount=0.95,
    long_rate_mult=1.0,
    long_rate_add=0.08,
    short_static_discount=1.04,
    short_rate_mult=0.5,
    short_rate_add=0.08,
    skew_cap=0.15,
    skew_c_base=-0.05,
    vol_param_scale=-0.1,
    option_percent=0.005,
    rate=0.15,
)
NAKED_CALL = published(
    spot=95663.50604855,
    forward=95776.67392708939,
    seconds=794_852,
    calls={100_000.0: (0.453803924321583, -1.0)},
)
CALL_SPREAD = published(
    spot=2681.6029850999994,
    forward=2682.9997436016715,
    seconds=794_852,
    calls={4000.0: (0.8795543651099665, -1.0), 4200.0: (0.8833255402190362, 1.0)},
)


@pytest.mark.parametrize(
    ("case", "initial", "value"),
    [
        (NAKED_CALL, -14604.048120144837, -1186.4185694587657),
        (CALL_SPREAD, -35.75844560967082, -0.1944703408568294),
    ],
)
def test_derive_portfolio_margin_gives_the_published_results(
    case: tuple[Snapshot, list[Leg]], initial: float, value: float
) -> None:
    """Derive's figure is cash left with none put in: value less what equity is asked for."""
    market, legs = case
    sides = DerivePortfolioMargin(parameters=VECTOR).at("ETH", market)(legs)
    assert value - sides.holder == pytest.approx(initial, rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "loss"),
    [
        ({"spot_range": 0.0}, 6.016806447312971),  # worst_tail_loss
        (
            {"spot_range": 0.0, "tails": (), "vol_range_up": 0.0, "min_vol_up_shock": 0.0},
            0.42564850725437114,  # worst_skew_loss
        ),
        (
            {
                "spot_range": 0.0,
                "tails": (),
                "vol_range_up": 0.0,
                "min_vol_up_shock": 0.0,
                "skew_cap": 0.0,
                "skew_c_base": 0.0,
            },
            0.18719471531829726,  # ForwardContingency
        ),
    ],
)
def test_derive_portfolio_margin_gives_the_published_parts(
    changes: dict[str, Any], loss: float
) -> None:
    """With the worse scenarios taken away, what is next is the figure published beside them."""
    market, legs = CALL_SPREAD
    parameters = attrs.evolve(VECTOR, option_percent=0.0, **changes)
    sides = DerivePortfolioMargin(parameters=parameters).at("ETH", market)(legs)
    assert sides.holder == pytest.approx(loss, rel=1e-9)


def test_derive_counts_shorts_beyond_what_is_bought_at_the_same_strike() -> None:
    market = snapshot(EXPIRY - 30 * DAY, 100)

    def margin(percent: float, *legs: Leg) -> tuple[float, float]:
        parameters = DeriveParameters(option_percent=percent)
        sides = DerivePortfolioMargin(parameters=parameters).at("ETH", market)(legs)
        return sides.holder, sides.counterparty

    straddle = [Leg(kind, EXPIRY, 100 * WAD, -2 * WAD) for kind in (Kind.CALL, Kind.PUT)]
    synthetic = [Leg(Kind.CALL, EXPIRY, 90 * WAD, -WAD), Leg(Kind.PUT, EXPIRY, 90 * WAD, WAD)]
    legs = [*straddle, *synthetic]
    (with_holder, with_other), (holder, other) = margin(0.01, *legs), margin(0.0, *legs)
    assert with_holder - holder == pytest.approx(4.0)  # four shorts at 1 % of 100
    assert with_other == pytest.approx(other)


# Deribit, private/pme/simulate on 15 February 2026, 23:20 UTC: short 0.999487053 ETH-PERPETUAL
ANSWERED = DeribitParameters(
    price_range=0.18,
    volatility_range_up=0.4,
    volatility_range_down=0.25,
    annualised_move_risk=0.05,
    min_annualised_move=0.005,
)
INDEX, SIZE, WORST_CASE, ROLL_SHOCK = 1949.34, 0.999487053, 0.15246412672881357, 0.004997435265


def test_deribit_margins_a_future_as_the_exchange_answered() -> None:
    """The exchange's figures are in coin: the worst case at the price moved up by the range."""
    at = EXPIRY - 3600
    legs = [
        Leg(Kind.CALL, EXPIRY, wad(INDEX), wad(-SIZE)),
        Leg(Kind.PUT, EXPIRY, wad(INDEX), wad(SIZE)),
    ]
    model = DeribitPortfolioMargin(parameters={"ETH": ANSWERED})
    sides = model.at("ETH", snapshot(at, INDEX, strikes=(INDEX,)))(legs)
    expected = WORST_CASE * 1.18 * INDEX + ROLL_SHOCK * INDEX
    assert sides.holder == pytest.approx(expected, rel=1e-9)
    assert sides.counterparty == pytest.approx(expected, rel=1e-9)  # linear, unlike coin


@pytest.mark.parametrize("days", [0.5, 15, 120])
def test_deribit_takes_the_worst_cell(days: float) -> None:
    """Nine prices by three vols and eight extremes, once more in the textbook's formula."""
    tau = int(days * DAY)
    market = snapshot(EXPIRY - tau, 100, vol=0.3)
    legs = [Leg(Kind.CALL, EXPIRY, 120 * WAD, -WAD), Leg(Kind.PUT, EXPIRY, 80 * WAD, 2 * WAD)]
    scale = (30 / max(days, 1)) ** (0.13 if days > 30 else 0.3)
    vols = (max(0.3 * (1 + 0.4 * scale), 0.5), 0.3, max(0.3 * (1 - 0.25 * scale), 0))

    def value(price: float, vol: float) -> float:
        return 2 * black(Kind.PUT, price, 80, vol, tau) - black(Kind.CALL, price, 120, vol, tau)

    now = value(100, 0.3)
    losses = [now - value(100 + 4.5 * k, vol) for k in range(-4, 5) for vol in vols]
    losses += [
        (now - value(100 * (1 + move), vols[0])) * min(1, 0.18 / abs(move))
        for move in (-0.66, -0.33, 0.5, 1, 2, 3, 4, 5)
    ]
    step = 1e-4
    delta = (value(100 + step, 0.3) - value(100 - step, 0.3)) / (2 * step)
    roll = abs(delta) * 100 * max(0.1 * tau / YEAR, 0.01)
    sides = DeribitPortfolioMargin().at("ETH", market)(legs)
    assert sides.holder == pytest.approx(max(losses) + roll, rel=1e-6)
    assert sides.counterparty == pytest.approx(max(0, -min(losses)) + roll, rel=1e-6)


def test_standard_margin_of_shorts_by_themselves() -> None:
    """15 % of the spot less what it is out of the money, 13 % at least, beside the mark."""
    market = snapshot(EXPIRY - 30 * DAY, 100, strikes=(80, 95, 100, 120, 400))
    margin = DeriveStandardMargin().at("ETH", market)

    def cash(kind: Kind, strike: int) -> float:
        mark = black(kind, 100, strike, 0.6, 30 * DAY)
        return margin([Leg(kind, EXPIRY, strike * WAD, -WAD)]).holder + mark

    def mark(kind: Kind, strike: int) -> float:
        return black(kind, 100, strike, 0.6, 30 * DAY)

    assert cash(Kind.CALL, 100) == pytest.approx(15 + mark(Kind.CALL, 100))
    assert cash(Kind.CALL, 95) == pytest.approx(15 + mark(Kind.CALL, 95))
    assert cash(Kind.CALL, 120) == pytest.approx(13 + mark(Kind.CALL, 120))
    assert cash(Kind.PUT, 100) == pytest.approx(15 + mark(Kind.PUT, 100))
    assert cash(Kind.PUT, 80) == pytest.approx(13 + mark(Kind.PUT, 80))
    # deep in the money a put's maintenance margin, 9 % of the mark beside it, times 1.05, is more
    deep = mark(Kind.PUT, 400)
    assert cash(Kind.PUT, 400) == pytest.approx(1.05 * 1.09 * deep)


def test_standard_margin_of_spreads_is_the_largest_loss() -> None:
    market = snapshot(EXPIRY - 30 * DAY, 100)
    margin = DeriveStandardMargin().at("ETH", market)
    spread = [Leg(Kind.CALL, EXPIRY, 100 * WAD, -WAD), Leg(Kind.CALL, EXPIRY, 105 * WAD, WAD)]
    value = black(Kind.CALL, 100, 105, 0.6, 30 * DAY) - black(Kind.CALL, 100, 100, 0.6, 30 * DAY)
    sides = margin(spread)
    assert sides.holder == pytest.approx(5 + value)
    assert sides.counterparty == pytest.approx(-value)  # paid in full, nothing more to lose


def test_standard_margin_does_not_offset_between_expiries() -> None:
    later = EXPIRY + 28 * DAY
    market = snapshot(EXPIRY - 30 * DAY, 100, expiries={EXPIRY: 100, later: 100})
    margin = DeriveStandardMargin().at("ETH", market)
    short, long = Leg(Kind.CALL, EXPIRY, 100 * WAD, -WAD), Leg(Kind.CALL, later, 100 * WAD, WAD)
    assert margin([short, long]).holder == pytest.approx(
        margin([short]).holder + margin([long]).holder
    )


def test_ours_is_the_margin_of_the_design_once_more_in_floats() -> None:
    at = EXPIRY - 20 * DAY
    later = EXPIRY + 28 * DAY
    market = snapshot(at, 100, expiries={EXPIRY: 101, later: 103})
    legs = [
        Leg(Kind.CALL, EXPIRY, 110 * WAD, -WAD),
        Leg(Kind.PUT, EXPIRY, 90 * WAD, -3 * WAD),
        Leg(Kind.CALL, later, 100 * WAD, 2 * WAD),
    ]
    model = ScanModel(name="ours", price_range=16 * WAD // 100, look_ahead=DAY)
    sides = model.at("ETH", market)(legs)
    feed = feed_id("ETH-USD")
    positions = [
        Held(
            feed=feed,
            kind=leg.kind,
            expiry=leg.expiry,
            strike=leg.strike,
            quantity=leg.quantity,
            vol=wad(0.6),
            carry=implied_carry(
                100 * WAD, (101 if leg.expiry == EXPIRY else 103) * WAD, leg.expiry - at
            ),
        )
        for leg in legs
    ]
    risk = Risk(feed=feed, price_range=16 * WAD // 100, look_ahead=DAY)
    spots = [At(feed=feed, price=100 * WAD)]
    for sign, side in ((1, sides.holder), (-1, sides.counterparty)):
        initial, _ = uncapped(positions, spots, at, [risk], sign)
        assert side == pytest.approx(initial, abs=2e-6)


def test_a_leg_without_mark_is_refused_by_all() -> None:
    market = snapshot(EXPIRY - DAY, 100)
    for model in (
        ScanModel(name="ours"),
        DeribitPortfolioMargin(),
        DerivePortfolioMargin(),
        DeriveStandardMargin(),
    ):
        with pytest.raises(InvalidValueError, match="no mark"):
            model.at("ETH", market)([Leg(Kind.CALL, EXPIRY, 101 * WAD, WAD)])
