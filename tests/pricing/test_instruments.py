"""Instruments and strategies: names both ways, and the verbs against formulas and by hand."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from decimal import Decimal
from math import exp, fsum

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.errors import InvalidValueError
from channels.peer import Leg
from channels.pricing import Kind, intrinsic, scalar
from channels.pricing.greeks import Greeks
from channels.pricing.instruments import (
    Call,
    DigitalCall,
    DigitalPut,
    Forward,
    Instrument,
    Put,
    parse_name,
)
from channels.pricing.markets import FlatVol
from channels.pricing.strategies import (
    Butterfly,
    Calendar,
    CallSpread,
    PutSpread,
    RiskReversal,
    Straddle,
    Strangle,
    Strategy,
)
from channels.pricing.verbs import Tradable
from channels.units import DAY, HOUR, WAD, YEAR, to_wad

FEED = "ETH-USD"
EXPIRY = 1_774_598_400
LATER = EXPIRY + 28 * DAY
MARKET = FlatVol(at=EXPIRY - 30 * DAY, spot=3000, vol=0.6, carry=0.04)
PRICES = (0, 1, "2799.99", 2800, 3000, 3200, "3200.01", 9000)

STRATEGIES = [
    CallSpread(FEED, long=2800, short=3200, expiry=EXPIRY),
    PutSpread(FEED, long=3200, short=2800, expiry=EXPIRY),
    Straddle(FEED, strike=3000, expiry=EXPIRY),
    Strangle(FEED, strikes=(2800, 3200), expiry=EXPIRY),
    RiskReversal(FEED, strikes=(2800, 3200), expiry=EXPIRY),
    Butterfly(FEED, strikes=(2800, 3000, 3200), expiry=EXPIRY),
    Calendar(FEED, strike=3000, expiries=(EXPIRY, LATER), kind=Kind.PUT),
]
SINGLES = [
    make(FEED, strike=3000, expiry=EXPIRY) for make in (Call, Put, DigitalCall, DigitalPut, Forward)
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ETH-27MAR26-3000-C", Call("ETH", strike=3000, expiry=EXPIRY)),
        ("ETH_USDC-27MAR26-3000-C", Call("ETH_USDC", strike=3000, expiry=EXPIRY)),
        ("ETH-USD-27MAR26-3000-P", Put("ETH-USD", strike=3000, expiry=EXPIRY)),
        ("XRP_USDC-1FEB26-0d55-P", Put("XRP_USDC", strike="0.55", expiry=1_769_932_800)),
        ("ETH-USD-27MAR26-3000-DC", DigitalCall(FEED, strike=3000, expiry=EXPIRY)),
        ("ETH-USD-27MAR26-3000-DP", DigitalPut(FEED, strike=3000, expiry=EXPIRY)),
        ("ETH-USD-27MAR26-3000-F", Forward(FEED, strike=3000, expiry=EXPIRY)),
        ("ETH-USD-27MAR26T16-3000-C", Call(FEED, strike=3000, expiry=EXPIRY + 8 * HOUR)),
    ],
)
def test_names_both_ways(name: str, expected: Instrument) -> None:
    assert parse_name(name) == expected
    assert expected.name == name


@pytest.mark.parametrize(
    ("feed", "base", "quote"),
    [("ETH", "ETH", ""), ("ETH-USD", "ETH", "USD"), ("ETH_USDC", "ETH", "USDC")],
)
def test_a_feed_is_a_coin_and_maybe_a_currency(feed: str, base: str, quote: str) -> None:
    call = Call(feed, strike=3000, expiry=EXPIRY)
    assert (call.base, call.quote) == (base, quote)


@given(
    st.sampled_from(("BTC", "ETH_USDC", "SOL-USD")),
    st.dates(min_value=date(2000, 1, 1), max_value=date(2099, 12, 31)),
    st.integers(0, 23),
    st.integers(1, 10**25),
    st.sampled_from(Kind),
)
def test_every_instrument_survives_its_name(
    feed: str, day: date, hour: int, strike: int, kind: Kind
) -> None:
    expiry = (day.toordinal() - 719_163) * DAY + hour * HOUR
    instrument = Instrument(feed=feed, expiry=expiry, strike=strike, kind=kind)
    assert parse_name(instrument.name) == instrument


@pytest.mark.parametrize(
    "name",
    [
        *("", "ETH-PERPETUAL", "ETH-27MAR26", "ETH-31FEB26-3000-C", "ETH-27MRZ26-3000-C"),
        *("ETH-07MAR26-3000-C", "ETH-27MAR26-3000-X", "ETH-27MAR26--3000-C"),
        *("ETH-27MAR26-3000-C\n", "ETH-27MAR26T24-3000-C", "-27MAR26-3000-C"),
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidValueError):
        parse_name(name)


def test_an_expiry_is_a_full_hour() -> None:
    with pytest.raises(InvalidValueError, match="no full hour"):
        Call(FEED, strike=3000, expiry=EXPIRY + 1)


@pytest.mark.parametrize(
    ("strategy", "name"),
    list(
        zip(
            STRATEGIES,
            (
                "ETH-USD-CS-27MAR26-2800_3200",
                "ETH-USD-PS-27MAR26-3200_2800",
                "ETH-USD-STRD-27MAR26-3000",
                "ETH-USD-STRG-27MAR26-2800_3200",
                "ETH-USD-RR-27MAR26-2800_3200",
                "ETH-USD-CBUT-27MAR26-2800_3000_3200",
                "ETH-USD-PCAL-27MAR26_24APR26-3000",
            ),
            strict=True,
        )
    ),
)
def test_strategies_are_named_like_combos(strategy: Strategy, name: str) -> None:
    assert strategy.name == name


# What each pays at 0, 2,500, 2,900, 3,000, 3,100, 3,500: sums done by hand.
BY_HAND = {
    "CS": (0, 0, 100, 200, 300, 400),
    "PS": (400, 400, 300, 200, 100, 0),
    "STRD": (3000, 500, 100, 0, 100, 500),
    "STRG": (2800, 300, 0, 0, 0, 300),
    "RR": (-2800, -300, 0, 0, 0, 300),
    "CBUT": (0, 0, 100, 200, 100, 0),
    "PCAL": (0, 0, 0, 0, 0, 0),
}


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: each.name)
def test_payoffs_are_those_of_the_textbook(strategy: Strategy) -> None:
    code = strategy.name.split("-")[2]
    paid = tuple(strategy.payoff(price) for price in (0, 2500, 2900, 3000, 3100, 3500))
    assert paid == BY_HAND[code]


def test_a_calendar_settles_at_two_prices() -> None:
    calendar = STRATEGIES[-1]
    assert calendar.payoff({EXPIRY: 2900, LATER: 2500}) == 400
    with pytest.raises(InvalidValueError, match="24APR26"):
        calendar.payoff({EXPIRY: 2900})


@pytest.mark.parametrize("instrument", SINGLES, ids=lambda each: each.name)
def test_payoffs_are_those_of_the_contract(instrument: Instrument) -> None:
    for price in PRICES:
        exact = intrinsic(instrument.kind, instrument.strike, to_wad(price))
        assert instrument.payoff(price) == exact / WAD


@pytest.mark.parametrize("instrument", SINGLES, ids=lambda each: each.name)
def test_a_price_is_black_76_on_the_markets_forward(instrument: Instrument) -> None:
    forward = 3000 * exp(0.04 * 30 / 365)
    expected = scalar.price(instrument.kind, forward, 3000.0, 0.6, 30 / 365)
    assert instrument.price(MARKET) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("tradable", [*SINGLES, *STRATEGIES], ids=lambda each: each.name)
def test_a_whole_is_the_sum_of_its_legs(tradable: Tradable) -> None:
    legs = tradable.legs()
    parts = [float(leg.quantity) * leg.instrument.price(MARKET) for leg in legs]
    greeks = tradable.greeks(MARKET)
    assert tradable.price(MARKET) == pytest.approx(fsum(parts), abs=1e-12 * sum(map(abs, parts)))
    assert greeks.price == pytest.approx(tradable.price(MARKET), rel=1e-12, abs=1e-12)
    total = tradable.book(MARKET, "2.5").total()
    for field in attrs.fields(Greeks):
        parts = [
            2.5 * float(leg.quantity) * getattr(leg.instrument.greeks(MARKET), field.name)
            for leg in legs
        ]
        scale = sum(map(abs, parts)) + 1e-12
        assert getattr(total, field.name) == pytest.approx(fsum(parts), abs=1e-10 * scale)
        assert 2.5 * getattr(greeks, field.name) == pytest.approx(fsum(parts), abs=1e-12 * scale)


@pytest.mark.parametrize("tradable", [*SINGLES, *STRATEGIES], ids=lambda each: each.name)
def test_greeks_are_slopes_of_the_price(tradable: Tradable) -> None:
    """By central differences of the price itself."""
    greeks, step = tradable.greeks(MARKET), 0.01
    up, down = (tradable.price(attrs.evolve(MARKET, spot=3000 + move)) for move in (step, -step))
    assert greeks.delta == pytest.approx((up - down) / (2 * step), abs=1e-6)
    up, down = (tradable.price(attrs.evolve(MARKET, vol=0.6 + move)) for move in (1e-5, -1e-5))
    assert greeks.vega == pytest.approx((up - down) / 2e-5, abs=1e-3)
    early, late = (tradable.price(attrs.evolve(MARKET, at=MARKET.at + s)) for s in (-60, 60))
    assert greeks.theta == pytest.approx((late - early) * YEAR / 120, rel=1e-5, abs=1e-2)


def test_parity_in_a_market_with_carry() -> None:
    call, put, digital, other, forward = (
        each.price(MARKET) for each in (SINGLES[0], SINGLES[1], *SINGLES[2:])
    )
    assert call - put == pytest.approx(forward, rel=1e-12)
    assert digital + other == pytest.approx(1.0, rel=1e-15)


def test_after_expiry_a_price_is_the_payoff_at_the_spot() -> None:
    late = attrs.evolve(MARKET, at=EXPIRY, spot=2950)
    for tradable in (*SINGLES, *STRATEGIES[:-1]):
        assert tradable.price(late) == tradable.payoff(2950)
        assert tradable.greeks(late).vega == 0.0


@pytest.mark.parametrize("tradable", [*SINGLES, *STRATEGIES], ids=lambda each: each.name)
def test_legs_go_into_a_request_for_a_quote(tradable: Tradable) -> None:
    wire = [Leg(leg.instrument, quantity=str(leg.quantity)) for leg in tradable.legs("2.5")]
    assert [leg.quantity for leg in wire] == [int(5 * q * WAD / 2) for q in _ratios(tradable)]
    assert [leg.strike for leg in wire] == [leg.instrument.strike for leg in tradable.legs()]


def _ratios(tradable: Tradable) -> list[Decimal]:
    return [leg.quantity for leg in tradable.legs()]


def test_any_list_of_legs_is_a_strategy() -> None:
    call, put, forward = SINGLES[0], SINGLES[1], SINGLES[4]
    conversion = Strategy(name="conversion", parts=[(put, 1), (call, -1), (forward, 1)])
    assert conversion.price(MARKET) == pytest.approx(0.0, abs=1e-12)
    assert conversion.payoff(1234) == 0.0


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [(SINGLES[0], 1), (SINGLES[0], -1)],
        [(SINGLES[0], 1), (Call("BTC-USD", strike=3000, expiry=EXPIRY), 1)],
        [(SINGLES[0], 0)],
        [(SINGLES[0], "nan")],
    ],
)
def test_what_is_no_strategy(parts: list[tuple[Instrument, int]]) -> None:
    with pytest.raises(InvalidValueError):
        Strategy(name="none", parts=parts)


def test_strikes_and_expiries_ascend() -> None:
    for make in (Strangle, RiskReversal):
        with pytest.raises(InvalidValueError, match="ascend"):
            make(FEED, strikes=(3200, 2800), expiry=EXPIRY)
    with pytest.raises(InvalidValueError, match="ascend"):
        Butterfly(FEED, strikes=(2800, 2800, 3200), expiry=EXPIRY)
    with pytest.raises(InvalidValueError, match="ascend"):
        Calendar(FEED, strike=3000, expiries=(LATER, EXPIRY))
    with pytest.raises(InvalidValueError, match="calls or of puts"):
        Butterfly(FEED, strikes=(2800, 3000, 3200), expiry=EXPIRY, kind=Kind.FORWARD)


@pytest.mark.parametrize(("spot", "vol"), [(0, 0.5), (-1, 0.5), (100, -0.1)])
def test_a_flat_market_is_checked(spot: float, vol: float) -> None:
    with pytest.raises(InvalidValueError):
        FlatVol(at=0, spot=spot, vol=vol)


def test_pricing_a_strategy_needs_neither_numpy_nor_matplotlib() -> None:
    script = (
        "import sys; from channels.pricing.strategies import Straddle;"
        "from channels.pricing.surface import Smile, Surface;"
        "from channels.pricing.svi import RawSvi;"
        "svi = RawSvi(a=0.01, b=0.1, rho=-0.3, m=0.0, sigma=0.2);"
        f"s = Surface(at=0, spot=9, smiles=[Smile(expiry={EXPIRY}, forward=9, svi=svi)]);"
        f"x = Straddle('E', strike=9, expiry={EXPIRY}); assert x.price(s) > 0 < x.greeks(s).vega;"
        "print(*({'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
