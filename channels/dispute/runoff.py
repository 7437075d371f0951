"""What of a portfolio settles now, at which prices, and what remains: the contract's arithmetic.

Source: design, adjudication.md rule 8; `Settlement.sol` and `OracleReader.sol` in
`contracts/src/libraries`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from itertools import combinations
from typing import Final

import attrs

from channels.pricing import settlement_payoff
from channels.protocol.types import Portfolio
from channels.units import DAY

__all__ = [
    "DEAD_AFTER",
    "Bucket",
    "PriceFact",
    "PriceStatus",
    "Prices",
    "expired_buckets",
    "recover_portfolio",
    "settled_portfolio",
    "settles_from",
]

DEAD_AFTER: Final = 30 * DAY
"""How long after the grace a dead oracle is waited for before the signed spot serves."""

_MOST_SUBSETS: Final = 10
"""Expired buckets up to which every subset of them is tried as what was settled."""

_INT128_MAX: Final = 2**127 - 1

Bucket = tuple[bytes, int]
"""(feed, expiry): what shares one settlement price."""


class PriceStatus(IntEnum):
    """What an oracle knows of the price at one time, by the contract's number."""

    UNSET = 0
    KNOWN = 1
    LAST_RESORT = 2
    NEVER = 3


@attrs.frozen(kw_only=True)
class PriceFact:
    """The oracle's answer for one (feed, time). ``price`` is WAD, 0 where there is none."""

    status: PriceStatus = PriceStatus.UNSET
    price: int = 0


Prices = Mapping[Bucket, PriceFact]


def expired_buckets(portfolio: Portfolio, last: int) -> tuple[Bucket, ...]:
    """Buckets of the positions that expire at ``last`` or before, earliest first."""
    found = {(each.feed, each.expiry) for each in portfolio.positions if each.expiry <= last}
    return tuple(sorted(found, key=lambda bucket: (bucket[1], bucket[0])))


def settles_from(fact: PriceFact, expiry: int, grace: int) -> int:
    """Chain time from which positions of this expiry settle, given what the oracle says now."""
    match fact.status:
        case PriceStatus.KNOWN:
            return expiry
        case PriceStatus.LAST_RESORT | PriceStatus.NEVER:
            return expiry + grace
        case PriceStatus.UNSET:
            return expiry + grace + DEAD_AFTER


def settled_portfolio(
    portfolio: Portfolio, settled: Iterable[Bucket], prices: Prices, unit: int
) -> Portfolio:
    """What the contract records once these buckets are settled."""
    buckets = frozenset(settled)
    net, kept = portfolio.net_to_b, []
    for each in portfolio.positions:
        bucket = (each.feed, each.expiry)
        if bucket not in buckets:
            kept.append(each)
            continue
        fact = prices.get(bucket, PriceFact())
        price = fact.price or portfolio.spot(each.feed) or 0
        if price:
            paid_to_a = settlement_payoff(each.kind, each.strike, each.quantity, price, unit)
            net = max(-_INT128_MAX - 1, min(_INT128_MAX, net - paid_to_a))
    return attrs.evolve(portfolio, net_to_b=net, positions=tuple(kept))


def recover_portfolio(
    candidates: Iterable[Portfolio], wanted: bytes, last: int, prices: Prices, unit: int
) -> Portfolio | None:
    """Find the portfolio of hash ``wanted`` as what settling left of one of ``candidates``.

    So a monitor that missed the event of a settlement can still settle the rest.
    """
    for portfolio in candidates:
        for settled in _subsets(expired_buckets(portfolio, last)):
            remaining = settled_portfolio(portfolio, settled, prices, unit)
            if remaining.struct_hash == wanted:
                return remaining
    return None


def _subsets(buckets: tuple[Bucket, ...]) -> Iterator[tuple[Bucket, ...]]:
    """Every subset of a few buckets; of many, only the earliest ones."""
    if len(buckets) > _MOST_SUBSETS:
        yield from (buckets[:count] for count in range(1, len(buckets) + 1))
        return
    for count in range(1, len(buckets) + 1):
        yield from combinations(buckets, count)
