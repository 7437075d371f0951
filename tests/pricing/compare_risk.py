"""Compare the margins of Python and of the contract's RiskEngine, on as many books as wished.

Usage, from the root of the checkout, after ``forge build``::

    python -m tests.pricing.compare_risk --count 2000 --seed 7
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from typing import Any, Final

import attrs
from eth_abi.abi import decode, encode

from channels.errors import PricingDomainError
from channels.pricing import (
    PartyMargin,
    ScanMargin,
    Scenario,
    close_out_value,
    run_off_lock,
    shifted_positions,
)
from channels.pricing.feed_margin import FeedRisk
from channels.units import DAY, HOUR, WAD
from tests.conftest import start_anvil

from .engine import DOMAIN_ERROR, Harness, RevertedError
from .margin_reference import NOW, SPOTS, random_book
from .values import BTC, At, Held, Risk

_POSITIONS: Final = "(bytes32,uint8,uint64,uint128,int128,uint128,int128)[]"
_SPOTS: Final = "(bytes32,uint128)[]"
_RISK: Final = "(bytes32" + ",uint64" * 13 + ")[]"
_SCENARIOS: Final = "(uint8,uint8,bool)[]"
_NAME: Final = "PricingDomainError"

Spots = Sequence[At]


class RiskEngine:
    """The contract's RiskEngine with the signatures of Python's functions."""

    def __init__(self, url: str) -> None:
        self._harness = Harness("RiskEngine", url)

    def call(
        self,
        function: str,
        book: Sequence[Held],
        spots: Spots,
        risk: Sequence[Risk],
        tail: Sequence[Any],
        answer: Sequence[str],
        scenarios: Sequence[tuple[int, int, bool]] | None = None,
    ) -> tuple[Any, ...] | str:
        """Return the decoded answer, or the name of the domain error."""
        numbers = ["int256" if isinstance(x, Signed) else "uint256" for x in tail]
        types = [_POSITIONS, _SPOTS, _RISK, *numbers]
        values: list[Any] = [
            [attrs.astuple(_ordered(x)) for x in book],
            [(x.feed, x.price) for x in spots],
            [attrs.astuple(x) for x in sorted(risk, key=lambda each: each.feed)],
            *map(int, tail),
        ]
        if scenarios is not None:
            types.append(_SCENARIOS)
            values.append(scenarios)
        try:
            data = self._harness.call(function, encode(types, values))
        except RevertedError as error:
            if int.from_bytes(error.data[:4], "big") << 224 == DOMAIN_ERROR:
                return _NAME
            raise
        return decode(list(answer), data)

    def risk_hash(self, risk: Sequence[Risk]) -> bytes:
        return self._harness.call("riskHash", encode([_RISK], [[attrs.astuple(x) for x in risk]]))


class Signed(int):
    """A number the contract takes as ``int256``."""


@attrs.frozen
class _Word:
    feed: bytes
    kind: int
    expiry: int
    strike: int
    quantity: int
    vol: int
    carry: int


def _ordered(held: Held) -> _Word:
    return _Word(
        held.feed, held.kind, held.expiry, held.strike, held.quantity, held.vol, held.carry
    )


def compare(
    engine: RiskEngine,
    book: Sequence[Held],
    spots: Spots,
    risk: Sequence[Risk],
    unit: int,
    marked_at: int,
    at: int,
) -> list[str]:
    """Return a line for every figure on which the contract and Python differ."""
    model = ScanMargin(risk)
    by_feed = {each.feed: each for each in risk}
    found = []

    def check(name: str, ours: Any, theirs: Any) -> None:
        if ours != theirs:
            found.append(f"{name}: contract {theirs}, Python {ours}")

    def attempt(function: Any) -> Any:
        try:
            return function()
        except PricingDomainError:
            return _NAME

    margins = attempt(lambda: attrs.astuple(model.requirements(book, spots, at, unit)))
    answer = engine.call("margins", book, spots, risk, (unit, at), ["uint256"] * 4 + ["int256"] * 2)
    check("margins", margins, answer)
    for side in (1, -1):
        tail = (unit, marked_at, at, Signed(side))
        parties = attempt(
            lambda side=side: _decision(model, book, spots, by_feed, marked_at, at, side, unit)
        )
        expected: Any = _NAME
        named: dict[str, list[tuple[int, int, bool]]] = {"full": []}
        if parties != _NAME:
            party, shifted = parties
            expected = (party.value, party.maintenance)
            check(
                "assess",
                expected,
                engine.call("assess", book, spots, risk, tail, ["int256", "uint256"], []),
            )
            for scenarios in _some_scenarios(model, party, shifted, spots, at):
                shown = model.shown(shifted, spots, at, unit, side=side, scenarios=dict(scenarios))
                names = [_name(model, shifted, spots, at, *each) for each in scenarios]
                if names:
                    answer = engine.call(
                        "assess", book, spots, risk, tail, ["int256", "uint256"], names
                    )
                    check(f"assess by {scenarios}", shown, answer)
        else:
            answer = engine.call("assess", book, spots, risk, tail, ["int256", "uint256"], [])
            check("assess", expected, answer)
        del named
        value = attempt(
            lambda side=side: (
                close_out_value(
                    book, spots, by_feed, unit, marked_at=marked_at, at=at, called=side
                ),
            )
        )
        check("value", value, engine.call("closeOutValue", book, spots, risk, tail, ["int256"]))
        lock = attempt(
            lambda side=side: (run_off_lock(book, spots, model, unit, at=at, side=side),)
        )
        tail = (unit, at, Signed(side))
        check("lock", lock, engine.call("runOffLock", book, spots, risk, tail, ["uint256"]))
    return found


def _decision(
    model: ScanMargin,
    book: Sequence[Held],
    spots: Spots,
    risk: dict[bytes, Risk],
    marked_at: int,
    at: int,
    side: int,
    unit: int,
) -> tuple[PartyMargin, list[Any]]:
    shifted = shifted_positions(book, spots, risk, marked_at=marked_at, at=at, favoured=side)
    party_a, party_b = model.explain(shifted, spots, at, unit)
    return (party_a if side > 0 else party_b), list(shifted)


def _some_scenarios(
    model: ScanMargin, party: PartyMargin, book: Sequence[Any], spots: Spots, at: int
) -> list[list[tuple[bytes, Scenario]]]:
    """The worst scenario of each feed, and some others."""
    feeds = sorted(party.feeds)
    choices = [[(feed, party.feeds[feed].worst or Scenario(number=0)) for feed in feeds]]
    for number in (0, 5, 14, 17):
        choices.append([(feed, Scenario(number=number, outliving=number == 5)) for feed in feeds])
    books = model.books(book, spots, at)
    nodes = {
        feed: FeedRisk(books[feed].held, books[feed].spot, books[feed].risk).nodes for feed in feeds
    }
    choices.append(
        [
            (feed, Scenario(number=len(nodes[feed][-1].scenarios) - 1, node=nodes[feed][-1]))
            if nodes[feed]
            else (feed, Scenario(number=3))
            for feed in feeds
        ]
    )
    return choices


def _name(
    model: ScanMargin, book: Sequence[Any], spots: Spots, at: int, feed: bytes, scenario: Scenario
) -> tuple[int, int, bool]:
    if scenario.node is None:
        return 0, scenario.number, scenario.outliving
    of = model.books(book, spots, at)[feed]
    nodes = FeedRisk(of.held, of.spot, of.risk).nodes
    return 1 + nodes.index(scenario.node), scenario.number, scenario.outliving


def random_case(rng: random.Random) -> tuple[Any, ...]:
    """(book, spots, parameters, unit, time of the marks, time of the decision)."""
    book = random_book(rng, rng.choice((0, 1, 1, 2, 3, 5, 8, 13)))
    spots = tuple(
        attrs.evolve(spot, price=int(spot.price * rng.uniform(0.7, 1.3)))
        for spot in sorted(SPOTS, key=lambda each: each.feed)
    )
    defaults = (Risk(feed=BTC), Risk())
    risk = defaults if rng.random() < 0.5 else tuple(_random_risk(rng, each) for each in defaults)
    at = NOW + rng.choice((0, 0, 3_600, 30 * HOUR, 5 * DAY, 500 * DAY))
    unit = rng.choice((10**6, 10**18, 1, 10**8, 2**127))
    if rng.random() < 0.1:
        large = rng.choice((2**112, 2**112 + 1, 2**127 - 1, 2**80))
        book = [attrs.evolve(x, quantity=rng.choice((-large, large, x.quantity))) for x in book]
    if rng.random() < 0.1:
        book = [
            attrs.evolve(x, vol=rng.choice((0, 1, 100 * WAD, 100 * WAD + 1, x.vol))) for x in book
        ]
    return book, spots, risk, unit, at - rng.choice((0, 60, 30 * HOUR, -50)), at


def _random_risk(rng: random.Random, risk: Risk) -> Risk:
    from channels.pricing import RISK_BOUNDS

    changes: dict[str, Any] = {
        name: rng.choice((least, most, rng.randint(least, most)))
        for name, (least, most) in RISK_BOUNDS.items()
    }
    return attrs.evolve(risk, **changes)


def main() -> int:
    """Run the comparison; 1 if any figure differs."""
    parser = argparse.ArgumentParser(description="Compare Python's margins with the contract's.")
    parser.add_argument("--count", type=int, default=2_000, help="how many random books")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    node, url = start_anvil()
    found = []
    try:
        engine = RiskEngine(url)
        for number in range(options.count):
            for line in compare(engine, *random_case(rng)):
                found.append(line)
                print(f"book {number}: {line}")
    finally:
        node.terminate()
        node.wait(10)
    print(f"{options.count} random books: {len(found)} mismatches")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
