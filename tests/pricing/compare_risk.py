"""Compare the margins of Python and of the contract's RiskEngine, on as many books as wished.

Usage, from the root of the checkout, after ``forge build``::

    python -m tests.pricing.compare_risk --count 2000 --seed 7
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import attrs
from eth_abi.abi import decode, encode

from channels.errors import PricingDomainError
from channels.pricing import (
    MAX_PRICE,
    MAX_TENOR,
    RISK_BOUNDS,
    Node,
    PartyMargin,
    PositionLike,
    ScanMargin,
    Scenario,
    ShiftedPosition,
    close_out_value,
    portfolio_value,
    run_off_lock,
    shifted_positions,
)
from channels.pricing.feed_margin import FeedRisk, check_quantity
from channels.units import DAY, HOUR, WAD
from tests.conftest import start_anvil, stop

from .engine import DOMAIN_ERROR, Harness, RevertedError
from .margin_reference import NOW, SPOTS, random_book
from .values import BTC, ETH, At, Held, Risk

_POSITIONS: Final = "(bytes32,uint8,uint64,uint128,int128,uint128,int128)[]"
_SPOTS: Final = "(bytes32,uint128)[]"
_RISK: Final = "(bytes32" + ",uint64" * 13 + ")[]"

REFUSED: Final = "PricingDomainError"

Named = tuple[int, int, bool]
"""A scenario as the contract names it: node, number, outliving."""


class Side(int):
    """A party as the contract takes it: 1 for A, -1 for B."""


SideA, SideB = Side(1), Side(-1)


class RiskEngine:
    """The contract's RiskEngine with the signatures of Python's functions."""

    def __init__(self, url: str) -> None:
        self._harness = Harness("RiskEngine", url)

    def call(
        self,
        function: str,
        case: Case,
        tail: Sequence[int],
        answer: Sequence[str],
        names: Sequence[Named] | None = None,
    ) -> tuple[int, ...] | str:
        """Return the decoded answer, or `REFUSED` for the domain error.

        Raises:
            RevertedError: any other error.
        """
        types = [_POSITIONS, _SPOTS, _RISK]
        types += ["int256" if isinstance(value, Side) else "uint256" for value in tail]
        values: list[Any] = [
            [_words(held) for held in case.book],
            [(spot.feed, spot.price) for spot in case.spots],
            [attrs.astuple(each) for each in case.risk],
            *map(int, tail),
        ]
        if names is not None:
            types.append("(uint8,uint8,bool)[]")
            values.append(names)
        try:
            data = self._harness.call(function, encode(types, values))
        except RevertedError as error:
            if int.from_bytes(error.data[:4], "big") << 224 == DOMAIN_ERROR:
                return REFUSED
            raise
        decoded: tuple[int, ...] = decode(answer, data)
        return decoded

    def risk_hash(self, risk: Sequence[Risk]) -> bytes:
        return self._harness.call("riskHash", encode([_RISK], [[attrs.astuple(x) for x in risk]]))


def _words(held: Held) -> tuple[object, ...]:
    return (
        *(held.feed, held.kind, held.expiry, held.strike),
        *(held.quantity, held.vol, held.carry),
    )


@attrs.frozen
class Case:
    """A book and all that a decision on it depends on."""

    book: Sequence[Held]
    spots: Sequence[At]
    risk: Sequence[Risk]
    unit: int
    marked_at: int
    at: int


def compare(engine: RiskEngine, case: Case) -> list[str]:
    """Return a line for every figure on which the contract and Python differ."""
    found: list[str] = []
    book, spots, unit, at = case.book, case.spots, case.unit, case.at
    marked_at = case.marked_at
    model = ScanMargin(case.risk)
    by_feed = {each.feed: each for each in case.risk}

    def check(
        function: str,
        tail: Sequence[int],
        answer: Sequence[str],
        ours: Callable[[], tuple[int, ...]],
        names: Sequence[Named] | None = None,
    ) -> None:
        expected: tuple[int, ...] | str
        try:
            expected = ours()
        except PricingDomainError:
            expected = REFUSED
        actual = engine.call(function, case, tail, answer, names)
        if actual != expected:
            found.append(f"{function}{tail} {names}: contract {actual}, Python {expected}")

    check(
        "margins",
        (unit, at),
        ["uint256"] * 4 + ["int256"] * 2,
        lambda: attrs.astuple(model.requirements(book, spots, at, unit)),
    )

    def unshifted() -> tuple[int]:
        """At the vols signed: both parties have been called."""
        still_open = [held for held in book if held.expiry > at]
        for held in still_open:
            check_quantity(held.quantity)
        value = portfolio_value(still_open, spots, at, unit)
        return (value.value_rounded_down_a if value.exact >= 0 else -value.value_rounded_down_b,)

    check("closeOutValue", (unit, marked_at, at, Side(0)), ["int256"], unshifted)
    for side in (SideA, SideB):
        marks = (unit, marked_at, at, side)

        def called(side: int = side) -> list[ShiftedPosition]:
            return shifted_positions(
                book, spots, by_feed, marked_at=marked_at, at=at, favoured=side
            )

        def decision(side: int = side) -> PartyMargin:
            return model.explain_party(called(side), spots, at, unit, side=side)

        def assessed(side: int = side) -> tuple[int, int]:
            party = decision(side)
            return party.value, party.maintenance

        def closed_out(side: int = side) -> tuple[int]:
            marks = {"marked_at": marked_at, "at": at}
            return (close_out_value(book, spots, by_feed, unit, called=side, **marks),)

        def locked(side: int = side) -> tuple[int]:
            return (run_off_lock(book, spots, model, unit, at=at, side=side),)

        check("assess", marks, ["int256", "uint256"], assessed, [])
        check("closeOutValue", marks, ["int256"], closed_out)
        check("runOffLock", (unit, at, side), ["uint256"], locked)
        try:
            party, shifted = decision(), called()
        except PricingDomainError:
            continue
        for scenarios in filter(None, _some_scenarios(model, party, shifted, case)):
            names = [_name(model, shifted, case, *each) for each in scenarios.items()]
            shown = partial(model.shown, shifted, spots, at, unit, side=side, scenarios=scenarios)
            check("assess", marks, ["int256", "uint256"], shown, names)
    return found


def _some_scenarios(
    model: ScanMargin, party: PartyMargin, shifted: Sequence[PositionLike], case: Case
) -> Iterator[dict[bytes, Scenario]]:
    """The worst scenario of each feed, and some others."""
    feeds = sorted(party.feeds)
    yield {feed: party.feeds[feed].worst or Scenario(number=0) for feed in feeds}
    for number in (0, 5, 14, 17):
        yield {feed: Scenario(number=number, outliving=number == 5) for feed in feeds}
    last = {feed: _nodes(model, shifted, case, feed)[-1:] for feed in feeds}
    yield {
        feed: Scenario(number=len(node[0].scenarios) - 1, node=node[0])
        if node
        else Scenario(number=3)
        for feed, node in last.items()
    }


def _nodes(
    model: ScanMargin, shifted: Sequence[PositionLike], case: Case, feed: bytes
) -> tuple[Node, ...]:
    book = model.books(shifted, case.spots, case.at)[feed]
    return FeedRisk(book.held, book.spot, book.risk).nodes


def _name(
    model: ScanMargin,
    shifted: Sequence[PositionLike],
    case: Case,
    feed: bytes,
    scenario: Scenario,
) -> Named:
    node = 0
    if scenario.node is not None:
        node = 1 + _nodes(model, shifted, case, feed).index(scenario.node)
    return node, scenario.number, scenario.outliving


_SPOT_BITS: Final = ((0, 128), (60, 90), (68, 78), (68, 78))


def random_case(rng: random.Random) -> Case:
    """A random book under random parameters, at times beside and beyond its expiries."""
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
    return Case(book, spots, risk, unit, at - rng.choice((0, 60, 30 * HOUR, -50)), at)


def hostile_case(rng: random.Random) -> Case:
    """A book from the ends of the domain: where branches are, and a step to either side of them.

    Expiries about now, the look-ahead and the longest tenor; strikes about the forward, the edge of
    the nodes and the ends of the domain; least and greatest vols, carries, quantities and spots.
    """
    spots = tuple(
        At(feed=feed, price=min(int(2 ** rng.uniform(*rng.choice(_SPOT_BITS))), MAX_PRICE))
        for feed in (BTC, ETH)
    )
    risk = tuple(_random_risk(rng, each) for each in (Risk(feed=BTC), Risk()))
    book = {}
    for _ in range(rng.choice((1, 2, 3, 5, 8, 12))):
        place = rng.randrange(2)
        (feed, spot), look_ahead = attrs.astuple(spots[place]), risk[place].look_ahead
        edge = spot * risk[place].price_range // WAD
        strikes = (1, 2, spot, spot + edge, spot - edge, 10 * spot, int(spot * rng.gauss(1, 0.2)))
        tau = rng.choice((0, DAY, look_ahead, 7 * DAY, 30 * DAY, MAX_TENOR))
        held = Held(
            feed=feed,
            kind=rng.randrange(5),
            expiry=NOW + tau + rng.choice((-1, 0, 0, 1)),
            strike=min(max(rng.choice(strikes) + rng.randint(-1, 1), 1), MAX_PRICE),
            quantity=rng.choice((-1, 1)) * rng.choice((1, WAD, int(2 ** rng.uniform(20, 112)))),
            vol=rng.choice((0, 1, WAD // 10, WAD, 100 * WAD, int(2 ** rng.uniform(40, 66)))),
            carry=rng.choice((0, 0, 1, -1, WAD // 10, -WAD, 100 * WAD)),
        )
        book[held.feed, held.expiry, held.kind, held.strike] = held
    unit = rng.choice((1, 10**6, 10**18, 2**100))
    marked_at = NOW - rng.choice((0, 1, HOUR, 10**8, -50, NOW))
    return Case([book[key] for key in sorted(book)], spots, risk, unit, marked_at, NOW)


def _random_risk(rng: random.Random, risk: Risk) -> Risk:
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
            for line in compare(engine, (hostile_case if number % 2 else random_case)(rng)):
                found.append(line)
                print(f"book {number}: {line}")
    finally:
        stop(node)
    print(f"{options.count} random books: {len(found)} mismatches")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
