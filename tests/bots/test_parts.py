"""The parts of the bots that need no chain: marks, skews, hedges, and the flat market."""

from __future__ import annotations

from math import exp, sqrt

import pytest

from channels.bots import Skew, SurfaceMarket, TimedMarket, forward_hedge
from channels.desk import Exposure
from channels.errors import InvalidValueError
from channels.peer import FlatMarket
from channels.pricing import Kind
from channels.pricing.instruments import Forward
from channels.pricing.surface import Smile, Surface
from channels.pricing.svi import RawSvi
from channels.protocol.types import Series, feed_id
from channels.units import YEAR

FEED = "ETH-USD"
WAD = 10**18
EXPIRY = 1_774_598_400
AT = EXPIRY - YEAR // 4
SERIES: Series = (feed_id(FEED), EXPIRY, int(Kind.PUT), 3_000 * WAD)


def surface() -> Surface:
    """The variance is 0.09 at every strike: 0.6 over a quarter. The forward is 2 % a year up."""
    flat = RawSvi(a=0.09, b=0.0, rho=0.0, m=0.0, sigma=0.1)
    forward = 3_000 * exp(0.02 / 4)
    return Surface(at=AT, spot=3_000.0, smiles=[Smile(expiry=EXPIRY, forward=forward, svi=flat)])


def test_a_surface_marks_to_six_decimals() -> None:
    marks = SurfaceMarket(FEED, surface()).marks([SERIES])
    assert marks.marked_at == AT
    assert marks.spots == {feed_id(FEED): 3_000 * WAD}
    assert marks.series[SERIES].vol == round(sqrt(0.09 * 4) * 10**6) * 10**12
    assert marks.series[SERIES].carry == 2 * 10**16


def test_a_surface_knows_one_feed() -> None:
    with pytest.raises(InvalidValueError, match="BTC-USD"):
        SurfaceMarket(FEED, surface()).marks([(feed_id("BTC-USD"), *SERIES[1:])])


def test_marks_are_dated_by_the_traders_clock() -> None:
    source = SurfaceMarket(FEED, surface())
    marks = TimedMarket(source, lambda: AT + 5.9).marks([SERIES])
    assert marks.marked_at == AT + 5
    assert marks.series == source.marks([SERIES]).series


@pytest.mark.parametrize(
    ("vega", "delta", "vol", "spot"),
    [
        (0.0, 0.0, 0, 0),
        (500.0, 0.0, -WAD // 100, 0),
        (-1_000.0, 0.0, 2 * WAD // 100, 0),
        (0.0, 10.0, 0, -WAD // 1_000),
        (9_000.0, -90.0, -4 * WAD // 100, 2 * WAD // 1_000),
    ],
)
def test_a_long_inventory_lowers_prices_and_at_most_twice(
    vega: float, delta: float, vol: int, spot: int
) -> None:
    skew = Skew(vega=1_000, delta=10, vol=WAD // 50, spot=WAD // 1_000)
    assert skew.moves(Exposure(vega=vega, delta=delta)) == (vol, spot)


def test_a_skew_has_sizes() -> None:
    with pytest.raises(InvalidValueError, match="sizes above 0"):
        Skew(vega=0, delta=1)


@pytest.mark.parametrize(
    ("delta", "hedge"), [(4.267, "-4.27"), (-0.8, "0.80"), (0.25, None), (-0.2, None)]
)
def test_a_hedge_takes_the_delta_away_in_whole_lots(delta: float, hedge: str | None) -> None:
    forward = Forward(FEED, strike=1_000, expiry=EXPIRY)
    leg = forward_hedge(delta, forward, tolerance=0.25)
    if hedge is None:
        assert leg is None
    else:
        assert leg is not None
        assert (leg.kind, leg.strike) == (Kind.FORWARD, 1_000 * WAD)
        assert leg.quantity * 100 == round(float(hedge) * 100) * WAD


def test_a_flat_market_says_its_spot() -> None:
    market = FlatMarket({FEED: "3000.5"})
    assert market.spot(FEED) == 30_005 * WAD // 10
    with pytest.raises(InvalidValueError, match="BTC-USD"):
        market.spot("BTC-USD")
