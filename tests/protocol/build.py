"""Builders of the values that the protocol's tests speak of: keys, terms, trades, marks."""

from __future__ import annotations

from typing import Any

import attrs

from channels.pricing import Kind, ScanMargin
from channels.protocol.changes import Change, Marks, SeriesMark, Trade, TradeLeg
from channels.protocol.channel import Timing
from channels.protocol.eip712 import Address, keccak
from channels.protocol.events import Draft
from channels.protocol.signing import LocalSigner
from channels.protocol.terms import Domain, Opening, RiskParams, Terms, channel_id, hash_risk_params
from channels.protocol.types import Party, Portfolio, Series, feed_id

WAD = 10**18
UNIT = 10**6
T0 = 1_750_003_200
"""Time of the first block: a full hour."""
EXPIRY = T0 + 30 * 86_400
ETH = feed_id("ETH-USD")
BTC = feed_id("BTC-USD")
STRIKE = 3_000 * WAD
DEPOSIT = 10_000 * UNIT
"""Of each side: covers twelve short puts struck at 3,000, sold at 100, and not thirteen."""
FINALITY = 3
"""Blocks of the model chain after which one is final."""


def key(name: str) -> LocalSigner:
    """The key that bears this name."""
    return LocalSigner(keccak(name.encode()))


def place(name: str) -> Address:
    """The address that bears this name; nobody has its key."""
    return Address(keccak(name.encode())[-20:])


PARTY_KEYS = {Party.A: key("party A"), Party.B: key("party B")}
SIGNERS = {Party.A: key("signer A"), Party.B: key("signer B")}
STRANGER = key("stranger")
DOMAIN = Domain(chain_id=31_337, adjudicator=place("adjudicator"))
RISK = (RiskParams(feed=BTC), RiskParams(feed=ETH))
MODEL = ScanMargin(RISK)
TIMING = Timing(slot=12, box=120, void_grace=240)


def make_terms(**changes: Any) -> Terms:
    """Terms within the contract's bounds, but for ``changes``."""
    terms = Terms(
        party_a=PARTY_KEYS[Party.A].address,
        party_b=PARTY_KEYS[Party.B].address,
        signer_a=SIGNERS[Party.A].address,
        signer_b=SIGNERS[Party.B].address,
        collateral=place("token"),
        unit=UNIT,
        oracle=place("oracle"),
        dispute_window=86_400,
        cure_window=86_400,
        settlement_grace=5 * 86_400,
        max_price_age=3_900,
        max_mark_age=48 * 3_600,
        max_tenor=400 * 86_400,
        max_in_flight=16,
        stale_penalty=500 * UNIT,
        default_penalty_bps=500,
        risk_hash=hash_risk_params(RISK),
        salt=keccak(b"salt"),
    )
    return attrs.evolve(terms, **changes)


def make_opening(**changes: Any) -> Opening:
    """An Opening good for an hour, each side depositing `DEPOSIT`."""
    opening = Opening(
        terms=make_terms(), deposit_a=DEPOSIT, deposit_b=DEPOSIT, valid_until=T0 + 3_600
    )
    return attrs.evolve(opening, **changes)


ID = channel_id(DOMAIN, make_terms())


def make_leg(
    quantity: int = 1,
    *,
    strike: int = STRIKE,
    kind: Kind = Kind.PUT,
    price: int = 100,
    feed: bytes = ETH,
    expiry: int = EXPIRY,
) -> TradeLeg:
    """``quantity`` whole options bought by A (negative: sold) at ``price`` whole dollars each."""
    return TradeLeg(
        feed=feed,
        kind=kind,
        expiry=expiry,
        strike=strike,
        quantity=quantity * WAD,
        price=price * WAD,
    )


def make_trade(*legs: TradeLeg, trade_id: bytes = bytes(31) + b"\x01") -> Trade:
    """A trade of ``legs`` (one put bought by A) at exactly the sum of their prices."""
    dealt = legs or (make_leg(),)
    premium = sum(leg.quantity * leg.price for leg in dealt) * UNIT // (WAD * WAD)
    return Trade(trade_id=trade_id, premium=premium, legs=dealt)


def make_marks(
    portfolio: Portfolio,
    change: Change,
    at: int,
    *,
    spot: int = 3_000,
    vol: int = 60,
) -> Marks:
    """Marks of all that ``change`` could leave open: whole dollars of spot, per cent of vol."""
    series: set[Series] = {each.series for each in portfolio.positions}
    if isinstance(change, Trade):
        series |= {leg.series for leg in change.legs}
    return Marks(
        marked_at=at,
        spots=dict.fromkeys((ETH, BTC), spot * WAD),
        series={each: SeriesMark(vol=vol * WAD // 100) for each in series},
    )


def make_draft(portfolio: Portfolio, change: Change, at: int, **marks: int) -> Draft:
    """A change with marks of time ``at``."""
    return Draft(change=change, marks=make_marks(portfolio, change, at, **marks))


def is_covered(portfolio: Portfolio, contribution: int, side: Party) -> bool:
    """Whether the equity of ``side`` covers its initial margin."""
    return spare(portfolio, contribution, side) >= 0


def spare(portfolio: Portfolio, contribution: int, side: Party) -> int:
    """Equity of ``side`` beyond its initial margin, base units; both worked out from the marks."""
    needed = MODEL.requirements(portfolio.positions, portfolio.spots, portfolio.marked_at, UNIT)
    value, margin = {
        Party.A: (needed.value_a, needed.initial_a),
        Party.B: (needed.value_b, needed.initial_b),
    }[side]
    return contribution - side.sign * portfolio.net_to_b + value - margin
