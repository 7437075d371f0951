"""What this side will sign beyond the protocol's own rules: marks, prices, openings, limits."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import attrs

from channels.errors import InvalidValueError
from channels.protocol.changes import Marks, Trade
from channels.protocol.eip712 import Address
from channels.protocol.messages import OpenRequest
from channels.protocol.terms import RiskParams, Terms, hash_risk_params
from channels.protocol.types import Portfolio, Series
from channels.units import DAY, WAD

__all__ = [
    "MarkSource",
    "OpeningDecision",
    "RiskPolicy",
    "SettlementSource",
    "TradeDecision",
    "default_terms",
]


class MarkSource(Protocol):
    """This side's own view of the market, fresh whenever it is asked."""

    def marks(self, series: Iterable[Series]) -> Marks:
        """Spots of the series' feeds, and the vol and carry of each series; WAD.

        Raises:
            InvalidValueError: no fresh price for one of them.
        """


SettlementSource = Callable[[bytes, int], Awaitable[int | None]]
"""From (feed, expiry) to the settlement price this side stands by, WAD; None while unknown."""

OpeningDecision = Callable[[OpenRequest], Awaitable[bool]]
TradeDecision = Callable[[Trade, Portfolio], Awaitable[bool]]


@attrs.frozen(kw_only=True)
class RiskPolicy:
    """Tolerances and limits of this side. Fractions in WAD.

    ``spot_tolerance`` is relative; ``vol_tolerance`` and ``carry_tolerance`` absolute and annual;
    ``mark_age`` seconds between the peer's marks and ours. ``take_late_quotes``: whether a quote is
    still taken after its own time to live and within its box; it is firm that long on chain, but
    its maker did not mean it.

    A trade of ours is booked at the marks the channel holds, and only what it adds at our own, as
    long as those held are less than ``held_age`` seconds from our own, and no spot differs
    from them by more than ``held_spot_move`` (relative), no vol or carry by more than
    ``held_vol_move`` (absolute): nothing but what is traded is then valued again. A ``held_age`` of
    0 books every trade at our own (docs/decisions/0020-trades-at-the-marks-held.md).
    """

    spot_tolerance: int = WAD // 100
    vol_tolerance: int = WAD * 10 // 100
    carry_tolerance: int = WAD * 5 // 100
    mark_age: int = 300
    take_late_quotes: bool = False
    held_age: int = 60
    held_spot_move: int = WAD // 2_000
    held_vol_move: int = WAD // 200


def default_terms(
    *,
    party_a: Address,
    party_b: Address,
    signer_a: Address,
    signer_b: Address,
    collateral: Address,
    unit: int,
    oracle: Address,
    risk: tuple[RiskParams, ...],
    stale_penalty: int,
    dispute_window: int = DAY,
    salt: bytes | None = None,
) -> Terms:
    """Terms with the design's default windows.

    ``unit`` is the collateral, in base units, per 1.0 of price (10**6 for USDC against dollars).
    ``stale_penalty`` is by custom 5 % of the smaller deposit. ``salt`` tells channels on otherwise
    equal terms apart; random unless given.

    Raises:
        InvalidValueError: an amount or address that no terms can hold.
    """
    if not risk:
        raise InvalidValueError("at least one feed's margin parameters")
    return Terms(
        party_a=party_a,
        party_b=party_b,
        signer_a=signer_a,
        signer_b=signer_b,
        collateral=collateral,
        unit=unit,
        oracle=oracle,
        dispute_window=dispute_window,
        cure_window=DAY,
        settlement_grace=5 * DAY,
        max_price_age=3_900,
        max_mark_age=2 * DAY,
        max_tenor=400 * DAY,
        max_in_flight=16,
        stale_penalty=stale_penalty,
        default_penalty_bps=500,
        risk_hash=hash_risk_params(risk),
        salt=secrets.token_bytes(32) if salt is None else salt,
    )
