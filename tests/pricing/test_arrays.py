"""The float engine on arrays: the same numbers as one by one, and nothing ever aborts."""

from __future__ import annotations

import math
import os
from typing import Any

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray

from channels.errors import InvalidValueError
from channels.pricing import Kind, arrays, implied_vol, scalar
from channels.pricing.array_mills import CHUNK
from channels.pricing.greeks import Greeks
from channels.pricing.implied_vol import VolStatus

from .float_reference import EPS, exact_price, exact_vol, hard_options

NAMES = [field.name for field in attrs.fields(Greeks)]


def _hard_columns(seed: int, count: int) -> list[NDArray[Any]]:
    return [np.array(column) for column in zip(*hard_options(seed, count), strict=True)]


def _market(seed: int, count: int) -> tuple[NDArray[Any], ...]:
    """Kinds, spots, strikes, vols, years and carries of all sorts, expired ones and no vol too."""
    chance = np.random.default_rng(seed)
    spots = 100.0 * np.exp(chance.normal(0, 0.4, count))
    strikes = np.where(chance.uniform(size=count) < 0.1, spots, 100.0)
    vols = np.where(chance.uniform(size=count) < 0.05, 0.0, chance.uniform(0.05, 3.0, count))
    years = np.where(chance.uniform(size=count) < 0.05, -0.1, chance.uniform(0.0, 1.5, count) ** 3)
    carries = chance.uniform(-0.2, 0.3, count)
    return chance.integers(0, 5, count), spots, strikes, vols, years, carries


def test_prices_are_exact_to_5e_13_on_the_hard_domain() -> None:
    columns = _hard_columns(29, 4_000)
    found = arrays.price(*columns)
    for value, *option in zip(found.tolist(), *(c.tolist() for c in columns), strict=True):
        assert float(abs(value / exact_price(*option) - 1)) <= 5e-13


def test_prices_and_greeks_are_those_of_one_by_one() -> None:
    columns = _market(31, 3_000)
    found = arrays.greeks(*columns)
    np.testing.assert_array_equal(
        found.price,
        arrays.price(columns[0], _forwards(columns), columns[2], columns[3], columns[4]),
    )
    for i, (kind, spot, *rest) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        one = scalar.greeks(kind, spot, *rest)
        for name in NAMES:
            # the greatest of these figures are of the order of 100
            assert getattr(found, name)[i] == pytest.approx(
                getattr(one, name), rel=2e-11, abs=1e-13
            ), (name, i)


def _forwards(columns: tuple[NDArray[Any], ...]) -> NDArray[Any]:
    _, spots, _, _, years, carries = columns
    return np.asarray(spots * np.exp(np.where(years > 0, carries * years, 0.0)))


def test_vols_are_exact_on_the_hard_domain() -> None:
    kinds, forwards, strikes, vols, years = _hard_columns(37, 2_000)
    values = arrays.price(kinds, forwards, strikes, vols, years)
    found = arrays.implied_vol(kinds, values, forwards, strikes, 1.0)
    assert set(found.status.tolist()) <= {VolStatus.OK, VolStatus.UNRESOLVABLE}
    for i in np.flatnonzero(found.status == VolStatus.OK).tolist():
        exact, condition = exact_vol(
            int(kinds[i]),
            float(values[i]),
            float(forwards[i]),
            float(strikes[i]),
            float(vols[i]) * math.sqrt(years[i]),
        )
        assert float(abs(float(found.vol[i]) / exact - 1)) <= 4 * EPS * (1 + float(condition))


FUZZ = 1_000_000 if os.environ.get("OPTION_CHANNELS_FUZZ") else 20_000


def _hard_quotes(seed: int, size: int) -> tuple[NDArray[Any], ...]:
    """Kinds, forwards, strikes and prices of seven sorts, one after the other.

    Priced: the design's domain, tiny vols, huge vols. Quoted: a few units in the last place from
    the intrinsic value, and from the maximum, on both sides; deep out of the money, down to 1e-305;
    anything between the bounds.
    """
    chance = np.random.default_rng(seed)
    sort = np.arange(size) % 7
    kinds = chance.integers(0, 2, size)
    x = np.where(chance.uniform(size=size) < 0.5, chance.uniform(-3, 3, size), 0.0)
    x += np.where(chance.uniform(size=size) < 0.5, 10.0 ** chance.uniform(-12, -1, size), 0.0)
    s = 10.0 ** chance.uniform(-3, math.log10(5), size)
    s = np.where(sort == 1, 10.0 ** chance.uniform(-12, -3, size), s)
    s = np.where(sort == 2, chance.uniform(5, 70, size), s)
    x = np.where(sort == 1, chance.uniform(-37, 37, size) * s, x)
    strikes = 10.0 ** chance.uniform(-6, 6, size)
    forwards = strikes * np.exp(x)
    bound, most = _bounds(kinds, forwards, strikes)
    units = chance.integers(-4, 40, size)
    deep = bound + strikes * 10.0 ** chance.uniform(-305, -1, size)
    quoted = (
        bound + units * np.spacing(bound),
        most - units * np.spacing(most),
        np.where(bound > 0.0, most - deep, deep),
        bound + chance.uniform(size=size) * (most - bound),
    )
    priced = arrays.price(kinds, forwards, strikes, s, 1.0)
    return kinds, forwards, strikes, np.choose(np.maximum(sort - 2, 0), (priced, *quoted))


def _bounds(
    kinds: NDArray[Any], forwards: NDArray[Any], strikes: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    gain = np.where(kinds == 0, forwards - strikes, strikes - forwards)
    return np.maximum(gain, 0.0), np.where(kinds == 0, forwards, strikes)


def test_hard_vols_reprice_or_say_why_not() -> None:
    kinds, forwards, strikes, values = _hard_quotes(47, FUZZ)
    vols, statuses = arrays.implied_vol(kinds, values, forwards, strikes, 1.0)
    bound, most = _bounds(kinds, forwards, strikes)
    np.testing.assert_array_equal(statuses == VolStatus.BELOW_INTRINSIC, values < bound)
    np.testing.assert_array_equal(statuses == VolStatus.ABOVE_MAXIMUM, values > most)
    good = statuses == VolStatus.OK
    unresolvable = statuses == VolStatus.UNRESOLVABLE
    assert (good | unresolvable | (values < bound) | (values > most)).all()
    assert np.isnan(vols[~good]).all()
    assert np.isfinite(vols[good]).all()
    assert good.sum() > 0.6 * FUZZ
    # an unresolvable one is a bound but for two units in the last place, or hardly anything
    least = 1e-305 * np.maximum(np.minimum(forwards, strikes), 1.0)
    close = np.minimum(values - bound, most - values) <= 2 * EPS * values
    equal = (values - bound < 1e-75 * strikes) & (np.abs(forwards - strikes) < 1e-15 * strikes)
    assert (close | (values - bound < least) | equal)[unresolvable].all()
    # the others reprice: but for the vol's own rounding, and the price's error of 5e-13, twice
    kinds, forwards, strikes, values = (c[good] for c in (kinds, forwards, strikes, values))
    again, s = arrays.price(kinds, forwards, strikes, vols[good], 1.0), vols[good]
    vega = forwards * np.exp(-0.5 * (np.log(forwards / strikes) / s + 0.5 * s) ** 2) * 0.4
    time_value = values - bound[good]
    allowed = 8 * EPS * (values + s * vega) + 1e-12 * time_value
    assert (np.abs(again - values) <= allowed).all()


def test_vols_of_the_whole_domain_are_those_they_were_priced_at() -> None:
    chance = np.random.default_rng(41)
    x = np.where(chance.uniform(size=FUZZ) < 0.5, chance.uniform(-3, 3, FUZZ), 0.0)
    x += np.where(chance.uniform(size=FUZZ) < 0.5, 10.0 ** chance.uniform(-12, -1, FUZZ), 0.0)
    s = 10.0 ** chance.uniform(-3, math.log10(5), FUZZ)
    kinds = chance.integers(0, 2, FUZZ)
    forwards = 100.0 * np.exp(x)
    values = arrays.price(kinds, forwards, 100.0, s, 1.0)
    found = arrays.implied_vol(kinds, values, forwards, 100.0, 1.0)
    good = found.status == VolStatus.OK
    assert good.sum() > 0.6 * FUZZ
    # what the price's rounding and its own error (5e-13 at most) leave of the vol
    x, s, values, forwards = (column[good] for column in (x, s, values, forwards))
    vega = forwards * np.exp(-0.5 * (x / s + 0.5 * s) ** 2) / math.sqrt(2 * math.pi)
    out_of_money = np.minimum(values, values - (forwards - 100.0) * np.where(kinds[good], -1, 1))
    allowed = 8 * EPS * (s + values / vega) + 5e-13 * out_of_money / vega
    assert (np.abs(found.vol[good] - s) <= allowed).all()


def test_vols_and_statuses_are_those_of_one_by_one() -> None:
    chance = np.random.default_rng(43)
    size = 4_000
    kinds = chance.integers(0, 5, size)
    forwards = chance.choice([-1.0, 0.0, 50.0, 99.9, 100.0, 150.0, math.nan, math.inf], size)
    values = chance.choice([-1.0, 0.0, 1e-310, 1e-9, 0.3, 7.0, 50.0, 99.0, 150.0, math.nan], size)
    years = chance.choice(
        [-1.0, 0.0, 0.01, 1.0, math.nan, math.inf], size, p=[0.05] * 2 + [0.4] * 2 + [0.05] * 2
    )
    found = arrays.implied_vol(kinds, values, forwards, 100.0, years)
    arguments = zip(kinds.tolist(), values.tolist(), forwards.tolist(), years.tolist(), strict=True)
    for i, (kind, value, forward, time) in enumerate(arguments):
        one = implied_vol.implied_vol(kind, value, forward, 100.0, time)
        assert found.status[i] == one.status
        assert found.vol[i] == pytest.approx(one.vol, rel=1e-14, nan_ok=True)
    assert set(found.status.tolist()) == set(VolStatus)


def test_what_makes_no_sense_is_nan_and_its_neighbours_are_not() -> None:
    forwards = [100.0, 0.0, -100.0, math.nan, math.inf, 100.0, 100.0, 100.0]
    strikes = [100.0, 100.0, -100.0, 100.0, 100.0, math.nan, 100.0, 100.0]
    vols = [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, -0.5, math.inf]
    for kind in Kind:
        values = arrays.price(kind, forwards, strikes, vols, 1.0)
        assert values[0] == pytest.approx(scalar.price(kind, 100.0, 100.0, 0.5, 1.0), rel=1e-14)
        assert np.isnan(values[1:]).all()
        for name in NAMES:
            figures = getattr(arrays.greeks(kind, forwards, strikes, vols, 1.0), name)
            assert np.isfinite(figures[0])
            assert np.isnan(figures[1:]).all(), name


def test_shapes_broadcast_and_pieces_join() -> None:
    strikes = np.linspace(50.0, 150.0, 7)
    years = np.array([[0.1], [1.0]])
    grid = arrays.price(Kind.PUT, 100.0, strikes, 0.5, years)
    assert grid.shape == (2, 7)
    assert grid[1, 2] == pytest.approx(
        scalar.price(1, 100.0, float(strikes[2]), 0.5, 1.0), rel=1e-14
    )
    assert arrays.price(Kind.CALL, 100.0, 100.0, 0.5, 1.0).shape == ()
    assert arrays.price(Kind.CALL, [], 100.0, 0.5, 1.0).shape == (0,)
    many = np.linspace(50.0, 150.0, 2 * CHUNK + 5)
    whole = arrays.price(Kind.CALL, 100.0, many, 0.5, 1.0)
    np.testing.assert_array_equal(whole[-9:], arrays.price(Kind.CALL, 100.0, many[-9:], 0.5, 1.0))


def test_results_go_where_they_are_wanted() -> None:
    strikes = np.linspace(50.0, 150.0, 7)
    out = np.empty(7)
    assert arrays.price(Kind.CALL, 100.0, strikes, 0.5, 1.0, out=out) is out
    fresh = arrays.greeks(Kind.CALL, 100.0, strikes, 0.5, 1.0)
    again = arrays.greeks(Kind.PUT, 100.0, strikes, 0.5, 1.0, out=fresh)
    assert again.delta is fresh.delta
    np.testing.assert_allclose(fresh.price, out - (100.0 - strikes), rtol=1e-12)
    with pytest.raises(InvalidValueError, match="out must be"):
        arrays.price(Kind.CALL, 100.0, strikes, 0.5, 1.0, out=np.empty(8))


@pytest.mark.parametrize("kind", [5, -1, [0, 7], 0.5, "call"])
def test_unknown_kinds_are_refused(kind: Any) -> None:
    with pytest.raises(InvalidValueError, match="kinds"):
        arrays.price(kind, [100.0, 100.0], 100.0, 0.5, 1.0)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="shapes"):
        arrays.price(Kind.CALL, [1.0, 2.0], [1.0, 2.0, 3.0], 0.5, 1.0)
