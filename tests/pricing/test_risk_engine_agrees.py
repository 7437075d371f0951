"""The contract's RiskEngine gives Python's margins, close-out values and locks, digit for digit."""

from __future__ import annotations

import random
from typing import Any

import attrs
import pytest
from eth_hash.auto import keccak

from channels.pricing import ScanMargin, Scenario, shifted_positions
from channels.protocol.terms import RiskParams, hash_risk_params
from channels.units import DAY, WAD

from .compare_risk import (
    REFUSED,
    Case,
    RiskEngine,
    SideA,
    SideB,
    compare,
    hostile_case,
    random_case,
)
from .engine import RevertedError
from .margin_reference import NOW, random_book
from .values import BTC, ETH, At, Held, Risk, risk_with

RISK = (Risk(feed=BTC), Risk())
SPOTS = (At(feed=BTC, price=90_000 * WAD), At(price=3_000 * WAD))


@pytest.fixture(scope="module")
def engine(anvil_url: str) -> RiskEngine:
    try:
        return RiskEngine(anvil_url)
    except FileNotFoundError:
        pytest.skip("forge has not compiled the contracts: `make forge-test` does")


@pytest.mark.parametrize("seed", range(120))
def test_random_books(engine: RiskEngine, seed: int) -> None:
    assert compare(engine, random_case(random.Random(seed))) == []


@pytest.mark.parametrize("seed", range(60))
def test_hostile_books(engine: RiskEngine, seed: int) -> None:
    assert compare(engine, hostile_case(random.Random(seed))) == []


def test_a_full_book_with_all_nodes(engine: RiskEngine) -> None:
    book = [
        Held(kind=kind, expiry=NOW + days * DAY, strike=(2_900 + 20 * k) * WAD, quantity=quantity)
        for days in (1, 30)
        for kind, quantity in ((0, 3 * WAD), (2, -500 * WAD))
        for k in range(11)
    ]
    assert compare(engine, Case(book, SPOTS, RISK, 10**6, NOW, NOW)) == []


def test_same_strikes_in_two_expiries_with_different_forwards(engine: RiskEngine) -> None:
    book = [
        Held(kind=kind, expiry=NOW + days * DAY, strike=strike * WAD, quantity=WAD, carry=carry)
        for days, carry in ((1, WAD), (2, -WAD))
        for kind in (0, 3, 4)
        for strike in (2_990, 2_995, 3_000, 3_005, 3_010)
    ]
    for order in (1, -1):
        mirrored = [attrs.evolve(each, quantity=order * each.quantity) for each in book]
        assert compare(engine, Case(mirrored, SPOTS, RISK, 10**6, NOW, NOW)) == []


@pytest.mark.parametrize("quantity", [-1_000 * WAD, 1_000 * WAD])
@pytest.mark.parametrize("strike", [1_000, 5_000, 6_000])
def test_vols_shift_the_same_way_where_both_ways_are_worth_the_same(
    engine: RiskEngine, strike: int, quantity: int
) -> None:
    """So far from the money that its value is its payoff at either vol; its margin is not."""
    far = [Held(kind=0, expiry=NOW + DAY, strike=strike * WAD, quantity=quantity)]
    assert compare(engine, Case(far, SPOTS, RISK, 10**6, NOW, NOW)) == []


def test_the_comparison_notices_a_difference(engine: RiskEngine) -> None:
    book = random_book(random.Random(1), 3)
    case = Case(book, SPOTS, RISK, 10**18, NOW, NOW)
    answers = ["uint256"] * 4 + ["int256"] * 2
    right = engine.call("margins", case, (10**18, NOW), answers)
    moved = attrs.evolve(case, spots=(SPOTS[0], At(price=3_000 * WAD + 1)))
    assert REFUSED != right != engine.call("margins", moved, (10**18, NOW), answers)


def test_risk_hash_is_what_terms_commit_to(engine: RiskEngine) -> None:
    risk = (Risk(feed=BTC, price_range=16 * 10**16), Risk(run_off_factor=3 * 10**18))
    signed = [RiskParams(**attrs.asdict(each)) for each in risk]
    assert engine.risk_hash(risk) == hash_risk_params(signed)


def _error(signature: str, function: str, engine: RiskEngine, case: Case) -> None:
    with pytest.raises(RevertedError) as caught:
        engine.call(function, case, (10**6, NOW, SideA), ["uint256"])
    assert caught.value.data[:4] == keccak(signature.encode())[:4]


def test_refusals(engine: RiskEngine) -> None:
    book = [Held(kind=0, strike=3_000 * WAD, quantity=WAD)]
    case = Case(book, SPOTS, RISK, 10**6, NOW, NOW)
    changes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"spots": SPOTS[:1]}, "NoSpot(bytes32)"),
        ({"risk": RISK[:1]}, "NoRiskParams(bytes32)"),
        ({"book": book * 2}, "PositionsOutOfOrder(uint256)"),
        ({"spots": SPOTS[::-1]}, "FeedsOutOfOrder(uint256)"),
        ({"risk": RISK[1:] * 2}, "FeedsOutOfOrder(uint256)"),
        (
            {"risk": (risk_with("im_factor", WAD - 1),)},
            "RiskParamOutOfBounds(bytes32,uint256,uint256)",
        ),
    )
    for change, signature in changes:
        _error(signature, "runOffLock", engine, attrs.evolve(case, **change))


def test_scenarios_that_are_not_there(engine: RiskEngine) -> None:
    book = [Held(kind=2, strike=3_000 * WAD, quantity=WAD, expiry=NOW + DAY)]
    case = Case(book, SPOTS, RISK, 10**6, NOW, NOW)
    tail = (10**6, NOW, NOW, SideA)
    for name in ((0, 17, False), (1, 2, False), (1, 0, True)):
        engine.call("assess", case, tail, ["int256", "uint256"], [name])
    for names in ([(0, 18, False)], [(1, 3, False)], [(2, 0, False)], [(0, 0, False)] * 2):
        with pytest.raises(RevertedError) as caught:
            engine.call("assess", case, tail, ["int256", "uint256"], names)
        assert caught.value.data[:4] == keccak(b"NoSuchScenario(bytes32)")[:4]


def test_only_the_scenarios_named_are_valued(engine: RiskEngine) -> None:
    """At a spot that a rise takes out of the domain a fall can still be shown."""
    spots = (SPOTS[0], At(price=2**127))
    book = [Held(kind=kind, strike=3_000 * WAD, quantity=-WAD) for kind in (0, 2, 4)]
    case = Case(book, spots, RISK, 10**6, NOW, NOW)
    model, answers = ScanMargin(RISK), ["int256", "uint256"]
    by_feed = {each.feed: each for each in RISK}
    for side in (SideA, SideB):
        shifted = shifted_positions(book, spots, by_feed, marked_at=NOW, at=NOW, favoured=side)
        for number in (12, 15):
            name = {ETH: Scenario(number=number)}
            shown = model.shown(shifted, spots, NOW, 10**6, side=side, scenarios=name)
            tail = (10**6, NOW, NOW, side)
            assert engine.call("assess", case, tail, answers, [(0, number, False)]) == shown
        assert engine.call("assess", case, tail, answers, [(0, 16, False)]) == REFUSED
        assert engine.call("assess", case, tail, answers, []) == REFUSED
