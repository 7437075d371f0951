"""Published option values, to every digit that was printed.

Sources, each looked up there:

- Haug: E. G. Haug, "The Complete Guide to Option Pricing Formulas", McGraw-Hill, 1998, by the page;
  as quoted in QuantLib's test suite, ``europeanoption.cpp`` (testValues) and ``digitaloption.cpp``
  (https://github.com/lballabio/QuantLib).
- Hull: J. C. Hull, "Options, Futures, and Other Derivatives"; 7th edition, section 16.8, for the
  options on futures, as quoted in ``vollib/black`` (https://github.com/vollib/vollib), 9th edition,
  example 15.6, for the stock.
- MathWorks: https://mathworks.com/help/finance/blkprice.html and .../blsprice.html
- NAG: results of the example programs of s30aac, s30cac (Mark 30.3) and s30cbf, for instance
  https://support.nag.com/numeric/nl/nagdoc_30.3/examples/baseresults/s30aafe.r.html
- SAS: BLACKCLPRC in "FedSQL Language Reference",
  https://support.sas.com/documentation/cdl/en/fedsqlref/69925/HTML/default/n1ia202pwpn3zcn18hwk4b8kfy2v.htm
- vollib: doctest of ``vollib.black.undiscounted_black``.

Published values are discounted; the engine's are not, so a test discounts them.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest

from channels.pricing import Kind, forward_price, price
from channels.units import WAD, YEAR, to_wad

CALL, PUT = Kind.CALL, Kind.PUT
DIGITAL_CALL, DIGITAL_PUT = Kind.DIGITAL_CALL, Kind.DIGITAL_PUT


def _discounted(value: int, rate: str, tau: int) -> float:
    return value / WAD * math.exp(-float(rate) * tau / YEAR)


def _agrees(value: float, published: str, allowance: float = 0.0) -> bool:
    """Whether ``value`` rounds to the published figure; the discounting here is in floats."""
    last = Decimal(published).as_tuple().exponent
    assert isinstance(last, int)
    return abs(value - float(published)) <= 0.5 * 10.0**last + allowance + 2e-15 * abs(value)


def _seconds(years: Fraction) -> int:
    seconds = years * YEAR
    assert seconds.denominator == 1  # no rounding of the published expiry
    return seconds.numerator


MONTHS = {months: Fraction(months, 12) for months in (1, 3, 4, 6, 9)}


@pytest.mark.parametrize(
    ("source", "kind", "forward", "strike", "vol", "years", "rate", "published"),
    [
        ("Haug, pp. 2-8", PUT, "19", "19", "0.28", MONTHS[9], "0.10", "1.7011"),
        ("Haug, pp. 2-8", CALL, "19", "19", "0.28", MONTHS[9], "0.10", "1.7011"),
        ("Hull, 7th ed., example 16.6", PUT, "20", "20", "0.25", MONTHS[4], "0.09", "1.12"),
        ("Hull, 7th ed., example 16.7", CALL, "620", "600", "0.2", MONTHS[6], "0.05", "44.19"),
        ("MathWorks, blkprice", CALL, "20", "20", "0.25", MONTHS[4], "0.09", "1.1166"),
        ("MathWorks, blkprice", PUT, "20", "20", "0.25", MONTHS[4], "0.09", "1.1166"),
        ("SAS", CALL, "48", "50", "0.25", MONTHS[3], "0.05", "1.55130142723117"),
        ("vollib", CALL, "100", "100", "0.2", MONTHS[6], "0", "5.637197779701664"),
    ],
)
def test_options_on_futures(
    source: str,
    kind: Kind,
    forward: str,
    strike: str,
    vol: str,
    years: Fraction,
    rate: str,
    published: str,
) -> None:
    tau = _seconds(years)
    value = price(kind, to_wad(forward), to_wad(strike), to_wad(vol), tau)
    assert _agrees(_discounted(value, rate, tau), published), source


def _spot_price(
    kind: Kind, spot: str, strike: str, vol: str, tau: int, rate: str, dividend: str
) -> float:
    carry = to_wad(rate) - to_wad(dividend)
    forward = forward_price(to_wad(spot), carry, tau)
    return _discounted(price(kind, forward, to_wad(strike), to_wad(vol), tau), rate, tau)


@pytest.mark.parametrize(
    ("source", "kind", "spot", "strike", "vol", "years", "rate", "dividend", "published"),
    [
        ("Haug, pp. 2-8", CALL, "60", "65", "0.30", MONTHS[3], "0.08", "0", "2.1334"),
        ("Haug, pp. 2-8", PUT, "100", "95", "0.20", MONTHS[6], "0.10", "0.05", "2.4648"),
        ("Haug, pp. 2-8", CALL, "1.56", "1.60", "0.12", MONTHS[6], "0.06", "0.08", "0.0291"),
        ("Haug, pp. 2-8", PUT, "75", "70", "0.35", MONTHS[6], "0.10", "0.05", "4.0870"),
        ("Haug, p. 27", CALL, "42", "40", "0.35", MONTHS[9], "0.04", "0.08", "5.0975"),
        ("Hull, example 15.6", CALL, "42", "40", "0.2", MONTHS[6], "0.10", "0", "4.76"),
        ("Hull, example 15.6", PUT, "42", "40", "0.2", MONTHS[6], "0.10", "0", "0.81"),
        ("MathWorks, blsprice", CALL, "100", "95", "0.5", MONTHS[3], "0.1", "0", "13.6953"),
        ("MathWorks, blsprice", PUT, "100", "95", "0.5", MONTHS[3], "0.1", "0", "6.3497"),
        ("MathWorks, blsprice", CALL, "910", "980", "0.25", MONTHS[3], "0.02", "0.025", "19.6863"),
        ("MathWorks, blsprice", PUT, "910", "980", "0.25", MONTHS[3], "0.02", "0.025", "90.4683"),
        ("NAG, s30aac", CALL, "55", "58", "0.3", Fraction(7, 10), "0.1", "0", "5.9198"),
        ("NAG, s30aac", CALL, "55", "58", "0.3", Fraction(8, 10), "0.1", "0", "6.5506"),
        ("NAG, s30aac", CALL, "55", "60", "0.3", Fraction(7, 10), "0.1", "0", "5.0809"),
        ("NAG, s30aac", CALL, "55", "60", "0.3", Fraction(8, 10), "0.1", "0", "5.6992"),
        ("NAG, s30aac", CALL, "55", "62", "0.3", Fraction(7, 10), "0.1", "0", "4.3389"),
        ("NAG, s30aac", CALL, "55", "62", "0.3", Fraction(8, 10), "0.1", "0", "4.9379"),
    ],
)
def test_options_on_spot(
    source: str,
    kind: Kind,
    spot: str,
    strike: str,
    vol: str,
    years: Fraction,
    rate: str,
    dividend: str,
    published: str,
) -> None:
    value = _spot_price(kind, spot, strike, vol, _seconds(years), rate, dividend)
    assert _agrees(value, published), source


@pytest.mark.parametrize(
    ("source", "kind", "spot", "strike", "vol", "rate", "dividend", "pays", "published"),
    [
        ("Haug, p. 88", DIGITAL_PUT, "100", "80", "0.35", "0.06", "0.06", 10, "2.6710"),
        ("NAG, s30cac", DIGITAL_PUT, "100", "80", "0.35", "0.06", "0", 10, "2.2155"),
        ("NAG, s30cbf", DIGITAL_CALL, "110", "87", "0.35", "0.05", "0.04", 5, "3.5696"),
    ],
)
def test_cash_or_nothing_options_of_nine_months(
    source: str,
    kind: Kind,
    spot: str,
    strike: str,
    vol: str,
    rate: str,
    dividend: str,
    pays: int,
    published: str,
) -> None:
    value = _spot_price(kind, spot, strike, vol, _seconds(MONTHS[9]), rate, dividend)
    assert _agrees(pays * value, published), source


HAUG_P_24 = {
    # (years, vol): a call and a put struck at 100, at futures prices of 90, 100 and 110
    (1, "0.15"): (("0.0205", "1.8734", "9.9413"), ("9.9210", "1.8734", "0.0408")),
    (1, "0.25"): (("0.3150", "3.1217", "10.3556"), ("10.2155", "3.1217", "0.4551")),
    (1, "0.35"): (("0.9474", "4.3693", "11.1381"), ("10.8479", "4.3693", "1.2376")),
    (5, "0.15"): (("0.8069", "4.0232", "10.5769"), ("10.3192", "4.0232", "1.0646")),
    (5, "0.25"): (("2.7026", "6.6997", "12.7857"), ("12.2149", "6.6997", "3.2734")),
    (5, "0.35"): (("4.9329", "9.3679", "15.3086"), ("14.4452", "9.3679", "5.7963")),
}


@pytest.mark.parametrize(("tenths", "vol"), HAUG_P_24)
def test_haugs_table_of_futures_options(tenths: int, vol: str) -> None:
    """Haug, p. 24: a rate of 10 %, a tenth of a year and half a year.

    1e-5 more than the rounding is allowed, 1e-7 of the price of the future: 1.8734, printed for
    a value of 1.873345, needs it.
    """
    tau = _seconds(Fraction(tenths, 10))
    for kind, row in zip((CALL, PUT), HAUG_P_24[tenths, vol], strict=True):
        for forward, published in zip((90, 100, 110), row, strict=True):
            value = price(kind, to_wad(forward), to_wad(100), to_wad(vol), tau)
            assert _agrees(_discounted(value, "0.10", tau), published, 1e-5), (kind, forward)
