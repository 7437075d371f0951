"""Close-out shift and value, and the run-off lock."""

from __future__ import annotations

import random
from itertools import product

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.errors import InvalidValueError
from channels.pricing import (
    MAX_SHIFT,
    MAX_VOL,
    Kind,
    ScanMargin,
    close_out_shift,
    close_out_value,
    largest_losses,
    portfolio_value,
    run_off_lock,
    shifted_positions,
)
from channels.units import DAY, HOUR, WAD, to_wad

from .margin_reference import NOW, SPOTS, Line, random_book, uncapped
from .values import BTC, ETH, Held, Risk

USDC = 10**6
RISK = {ETH: Risk(), BTC: Risk(feed=BTC)}
MODEL = ScanMargin(RISK.values())
LATER = NOW + 30 * HOUR


def _held(kind: Kind, strike: int, quantity: int, days: float, vol: int = 6 * 10**17) -> Held:
    return Held(
        kind=kind,
        strike=to_wad(strike),
        quantity=to_wad(quantity),
        expiry=NOW + int(days * DAY),
        vol=vol,
    )


def test_shift_by_hand() -> None:
    month = 30 * DAY
    assert close_out_shift(Risk(), 0, month) == 12 * 10**15
    assert close_out_shift(Risk(), 4 * HOUR, month) == (12 + 50) * 10**15
    assert close_out_shift(Risk(), 4 * HOUR, month // 4) == 2 * (12 + 50) * 10**15
    assert close_out_shift(Risk(), -5, month) == close_out_shift(Risk(), 0, month)
    assert close_out_shift(Risk(), 48 * HOUR, 1) == MAX_SHIFT == 9 * 10**17


def _value(positions: list[Held], at: int) -> int:
    return portfolio_value(positions, SPOTS, at, USDC).exact


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("favoured", [1, -1])
def test_the_shift_is_the_best_of_all_ways(seed: int, favoured: int) -> None:
    """Expiry by expiry, found by trying every combination of directions."""
    book = random_book(random.Random(seed), 8)
    shifted = shifted_positions(book, SPOTS, RISK, marked_at=NOW, at=LATER, favoured=favoured)
    held = [x for x in book if x.expiry > LATER]
    assert [(x.feed, x.expiry, x.kind, x.strike, x.quantity) for x in shifted] == [
        (x.feed, x.expiry, x.kind, x.strike, x.quantity) for x in held
    ]
    buckets = sorted({(x.feed, x.expiry) for x in held})
    best = None
    for ways in product((1, -1), repeat=len(buckets)):
        way = dict(zip(buckets, ways, strict=True))
        moved = []
        for x in held:
            shift = close_out_shift(RISK[x.feed], LATER - NOW, x.expiry - LATER)
            factor = WAD + way[x.feed, x.expiry] * shift
            moved.append(attrs.evolve(x, vol=x.vol * factor // WAD))
        value = favoured * _value(moved, LATER)
        best = value if best is None else max(best, value)
    assert favoured * portfolio_value(shifted, SPOTS, LATER, USDC).exact == best


def test_one_way_for_all_strikes_of_an_expiry_and_up_on_a_tie() -> None:
    book = [_held(Kind.CALL, 3_000, 5, 30), _held(Kind.CALL, 3_500, -1, 30)]
    book.append(_held(Kind.FORWARD, 3_000, 1, 90))
    up = shifted_positions(book, SPOTS, RISK, marked_at=NOW, at=NOW, favoured=1)
    down = shifted_positions(book, SPOTS, RISK, marked_at=NOW, at=NOW, favoured=-1)
    assert [x.vol > 6 * 10**17 for x in up] == [True, True, True]
    assert [x.vol > 6 * 10**17 for x in down] == [False, False, True]
    wild = [_held(Kind.CALL, 3_000, 1, 1, vol=MAX_VOL)]
    assert shifted_positions(wild, SPOTS, RISK, marked_at=NOW, at=NOW, favoured=1)[0].vol == MAX_VOL


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("sign", [1, -1])
def test_the_way_of_one_sided_books_is_that_of_their_prices(seed: int, sign: int) -> None:
    """Nothing is priced for these; textbook prices in floats say the same."""
    held = [x for x in random_book(random.Random(seed), 12) if x.kind in (0, 1, 4)]
    book = [attrs.evolve(x, quantity=sign * abs(x.quantity)) for x in held]
    for favoured in (1, -1):
        shifted = shifted_positions(book, SPOTS, RISK, marked_at=NOW, at=NOW, favoured=favoured)
        for before, after in zip(book, shifted, strict=True):
            line = Line(before, 90_000 if before.feed == BTC else 3_000, NOW, favoured)
            gain = line.gain(line.forward, after.vol / WAD, line.tau)
            assert gain >= -1e-9 * abs(line.quantity) * line.strike
            assert (after.vol > before.vol) == (favoured == sign) or before.kind == Kind.FORWARD


def test_forwards_and_what_is_not_held_settle_no_way() -> None:
    forward, call = _held(Kind.FORWARD, 3_000, -1, 30), _held(Kind.CALL, 3_000, -2, 30)
    nothing = attrs.evolve(_held(Kind.PUT, 3_000, 1, 30), quantity=0)
    for book, rises in (
        ([forward], True),
        ([nothing], True),
        ([call, forward, nothing], False),
        ([attrs.evolve(call, quantity=WAD), forward, nothing], True),
    ):
        shifted = shifted_positions(book, SPOTS, RISK, marked_at=NOW, at=NOW, favoured=1)
        assert [x.vol > 6 * 10**17 for x in shifted] == [rises] * len(book)


def test_digitals_are_priced_to_find_their_way() -> None:
    """Above the strike a digital call loses with a rising vol, far below it gains."""
    for strike, rises in ((2_500, False), (4_500, True)):
        book = [_held(Kind.DIGITAL_CALL, strike, 1, 30)]
        (shifted,) = shifted_positions(book, SPOTS, RISK, marked_at=NOW, at=NOW, favoured=1)
        assert (shifted.vol > book[0].vol) == rises


def test_close_out_value_is_against_the_called_party_and_rounded_down() -> None:
    book = [_held(Kind.CALL, 3_000, 1, 30)]
    marked = portfolio_value(book, SPOTS, LATER, USDC).value_rounded_down_a
    arguments = {"marked_at": NOW, "at": LATER}
    favours_b = close_out_value(book, SPOTS, RISK, USDC, called=1, **arguments)
    favours_a = close_out_value(book, SPOTS, RISK, USDC, called=-1, **arguments)
    assert 0 < favours_b < marked < favours_a
    mirrored = [attrs.evolve(book[0], quantity=-WAD)]
    assert close_out_value(mirrored, SPOTS, RISK, USDC, called=-1, **arguments) == -favours_b
    dust = [attrs.evolve(book[0], quantity=-1)]
    assert close_out_value(dust, SPOTS, RISK, USDC, called=1, **arguments) == 0


def test_expired_positions_take_no_part() -> None:
    expired = _held(Kind.CALL, 1_000, 1, 1)
    arguments = {"marked_at": NOW, "at": expired.expiry}
    assert close_out_value([expired], SPOTS, RISK, USDC, called=1, **arguments) == 0
    assert run_off_lock([expired], SPOTS, MODEL, USDC, at=expired.expiry, side=-1) == 0
    assert run_off_lock([expired], SPOTS, MODEL, USDC, at=expired.expiry - 1, side=-1) > 0


def test_missing_marks_are_named() -> None:
    book = [_held(Kind.CALL, 3_000, 1, 30)]
    with pytest.raises(InvalidValueError, match="no spot"):
        shifted_positions(book, SPOTS[1:], RISK, marked_at=NOW, at=NOW, favoured=1)
    with pytest.raises(InvalidValueError, match="no margin parameters"):
        shifted_positions(book, SPOTS, {}, marked_at=NOW, at=NOW, favoured=1)


BOOKS = st.builds(
    lambda seed, size: random_book(random.Random(seed), size),
    st.integers(0, 2**32),
    st.integers(0, 8),
)


@settings(max_examples=50, deadline=None)
@given(BOOKS)
def test_the_lock_of_each_bucket(book: list[Held]) -> None:
    for side in (1, -1):
        lock = run_off_lock(book, SPOTS, MODEL, USDC, at=NOW, side=side)
        expected = most = 0.0
        bounded = True
        for bucket in largest_losses(book, USDC):
            held = [x for x in book if (x.feed, x.expiry) == (bucket.feed, bucket.expiry)]
            loss = bucket.loss_a if side > 0 else bucket.loss_b
            owed = max(0, -side * _value(held, NOW) / WAD / WAD)
            need = owed + 2 * uncapped(held, SPOTS, NOW, RISK.values(), side)[0]
            expected += need if loss is None else min(need, loss / USDC)
            bounded &= loss is not None
            most += (loss or 0) / USDC
        assert lock / USDC == pytest.approx(expected, rel=1e-9, abs=1e-5)
        assert not bounded or lock / USDC <= most


def test_the_lock_by_hand() -> None:
    short = _held(Kind.FORWARD, 2_900, -1, 365)
    lock = run_off_lock([short], SPOTS, MODEL, USDC, at=NOW, side=1)
    assert lock == 100 * USDC + 2 * (600 + 105) * USDC * 125 // 100
    assert run_off_lock([short], SPOTS, MODEL, USDC, at=NOW, side=-1) == (
        2 * (600 + 105) * USDC * 125 // 100
    )
    covered = [_held(Kind.PUT, 3_000, -1, 30), _held(Kind.PUT, 2_990, 1, 30)]
    assert run_off_lock(covered, SPOTS, MODEL, USDC, at=NOW, side=1) == 10 * USDC
    assert run_off_lock(covered, SPOTS, MODEL, USDC, at=NOW, side=-1) == 0
