"""Random terms, portfolios and scenarios: mostly such as honest parties sign, some at extremes."""

from __future__ import annotations

import math
import random
from typing import Any, Final

import attrs

from channels.protocol.eip712 import Address
from channels.protocol.scenarios import ScenarioIndex
from channels.protocol.terms import RiskParams, Terms, hash_risk_params
from channels.protocol.types import Portfolio, Position, Spot, feed_id
from channels.units import DAY, HOUR, WAD

from .table import SESSIONS, WALLETS

FEEDS: Final = {feed_id("BTC-USD"): 90_000, feed_id("ETH-USD"): 3_000, feed_id("XAU-USD"): 4_000}
"""Feeds in order and their usual prices; the channels have no margin parameters for the last."""

RISK: Final = tuple(RiskParams(feed=feed) for feed in list(FEEDS)[:2])
RISK_FEEDS: Final = frozenset(each.feed for each in RISK)
DOLLAR: Final = 10**6
UINT128: Final = 2**128 - 1
INT128: Final = 2**127 - 1

_BROKEN: Final[dict[str, tuple[Any, ...]]] = {
    "party_a": (Address(bytes(20)), WALLETS[1].address, SESSIONS[1].address),
    "signer_b": (Address(bytes(20)), WALLETS[0].address, SESSIONS[0].address),
    "collateral": (Address(bytes(20)), Address(bytes(19) + b"\x63")),
    "oracle": (Address(bytes(20)), Address(bytes(19) + b"\x63")),
    "unit": (0,),
    "dispute_window": (HOUR - 1, 30 * DAY + 1),
    "cure_window": (HOUR - 1, 7 * DAY + 1),
    "settlement_grace": (5 * DAY - 1, 30 * DAY + 1),
    "max_price_age": (59, DAY + 1),
    "max_mark_age": (HOUR - 1, 14 * DAY + 1),
    "max_tenor": (DAY - 1, 3_650 * DAY + 1),
    "max_in_flight": (7, 65),
    "default_penalty_bps": (5_001,),
    "risk_hash": (bytes(32),),
}

_EXTREME: Final[dict[str, tuple[int, ...]]] = {
    "kind": (5, 255),
    "strike": (0, 1, UINT128),
    "quantity": (-INT128 - 1, INT128, 1, -(2**112), 2**112),
    "vol": (0, 1, 100 * WAD, 100 * WAD + 1, UINT128),
    "carry": (-INT128 - 1, INT128, 10 * WAD),
    "expiry": (0, 2**64 - 1),
}


def random_terms(rng: random.Random, collateral: Address, oracle: Address) -> Terms:
    """Terms within their bounds, often at one."""
    wallets = [each.address for each in WALLETS]
    signers = [each.address for each in SESSIONS] if rng.random() < 0.7 else wallets
    return Terms(
        party_a=wallets[0],
        party_b=wallets[1],
        signer_a=signers[0],
        signer_b=signers[1],
        collateral=collateral,
        unit=rng.choice((DOLLAR, DOLLAR, DOLLAR, 1, 10**18, UINT128))
        if rng.random() < 0.2
        else DOLLAR,
        oracle=oracle,
        dispute_window=rng.choice((HOUR, 6 * HOUR, DAY, 3 * DAY)),
        cure_window=rng.choice((HOUR, 90 * 60, DAY, 2 * DAY)),
        settlement_grace=rng.choice((5 * DAY, 5 * DAY + 1, 8 * DAY)),
        max_price_age=rng.choice((60, 3_900, DAY)),
        max_mark_age=rng.choice((HOUR, 2 * DAY, 14 * DAY)),
        max_tenor=rng.choice((DAY, 30 * DAY)),
        max_in_flight=rng.choice((8, 9, 16)),
        stale_penalty=rng.choice((0, 500 * DOLLAR, 500 * DOLLAR, UINT128)),
        default_penalty_bps=rng.choice((0, 500, 5_000)),
        risk_hash=hash_risk_params(RISK),
        salt=rng.randbytes(32),
    )


def broken_terms(rng: random.Random, terms: Terms) -> Terms:
    """Terms with one of their members out of its bounds."""
    name = rng.choice(list(_BROKEN))
    return attrs.evolve(terms, **{name: rng.choice(_BROKEN[name])})


def drift(rng: random.Random, size: float) -> float:
    return math.exp(rng.gauss(0, size))


def random_portfolio(rng: random.Random, now: int, pot: int, spots: dict[bytes, int]) -> Portfolio:
    """A portfolio marked lately, its size in proportion to the pot, one in ten extreme.

    One in four carries a forward so large that both parties are soon short of margin.
    """
    extreme, large = rng.random() < 0.1, rng.random() < 0.25
    feeds = [feed for feed in FEEDS if feed in RISK_FEEDS or rng.random() < 0.05]
    positions: dict[object, Position] = {}
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4, 6))):
        feed = rng.choice(feeds)
        position = _position(rng, feed, now, pot, spots[feed])
        if large and not positions:
            hours = rng.choice((30, 200, 700))
            expiry = (now // HOUR + hours) * HOUR
            sized = position.quantity * 8
            position = attrs.evolve(position, kind=4, expiry=expiry, quantity=sized)
        if extreme:
            position = _extreme(rng, position)
        positions[position.series] = position
    marked = {feed: int(price * drift(rng, 0.02)) for feed, price in spots.items()}
    reach = rng.choice((0.3, 0.6, 1.1)) * pot
    return Portfolio(
        net_to_b=rng.choice((-INT128 - 1, -(2**126), 2**126, INT128))
        if extreme and rng.random() < 0.5
        else int(rng.uniform(-reach, reach) * 0.5),
        margin_a=UINT128 if extreme else rng.randint(0, pot),
        margin_b=rng.randint(0, pot),
        marked_at=max(0, now - rng.choice((0, 0, 0, 30, 30, HOUR, DAY, 20 * DAY))),
        spots=tuple(
            Spot(feed=feed, price=0 if rng.random() < 0.02 else marked[feed])
            for feed in FEEDS
            if rng.random() < 0.95
        ),
        positions=tuple(positions[each] for each in sorted(positions)),  # type: ignore[type-var]
    )


def _position(rng: random.Random, feed: bytes, now: int, pot: int, spot: int) -> Position:
    kind = 9 if rng.random() < 0.02 else rng.randrange(5)
    hours = rng.choice((-1, 1, 2, 6, 24, 30, 72, 72, 200, 700, 700))
    worth = 1 if kind in (2, 3) else max(spot // WAD, 1)
    quantity = int(
        pot / DOLLAR / worth * WAD * rng.choice((0.05, 0.3, 1, 3, 3, 8)) * drift(rng, 0.3)
    )
    return Position(
        feed=feed,
        kind=kind,
        expiry=(now // HOUR + hours) * HOUR + (17 if rng.random() < 0.03 else 0),
        strike=int(spot * rng.choice((0.7, 0.9, 0.97, 1, 1.03, 1.1, 1.5))),
        quantity=rng.choice((-1, 1)) * max(1, quantity),
        vol=int(rng.uniform(0.2, 1.2) * WAD),
        carry=int(rng.uniform(-0.1, 0.2) * WAD),
    )


def _extreme(rng: random.Random, position: Position) -> Position:
    name = rng.choice(list(_EXTREME))
    values = (*_EXTREME[name], getattr(position, name))
    changes: dict[str, Any] = {name: rng.choice(values)}
    return attrs.evolve(position, **changes)


def random_scenarios(rng: random.Random, count: int) -> tuple[ScenarioIndex, ...]:
    """Scenarios for so many feeds, or once in a while for one more; nodes that may not be there."""
    found = []
    for _ in range(count + (rng.random() < 0.1)):
        node = rng.choice((0, 0, 0, 0, 1, 2))
        number = rng.randrange(3 if node else 18)
        found.append(ScenarioIndex(node=node, number=number, outliving=rng.random() < 0.1))
    return tuple(found)
