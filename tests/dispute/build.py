"""Builders of what the monitor's tests speak of: terms, portfolios, states with real signatures."""

from __future__ import annotations

from functools import cache
from typing import Any

import attrs

from channels.dispute import Evidence
from channels.protocol.calls import CoSigned, CoSignedHash
from channels.protocol.eip712 import Address, keccak
from channels.protocol.facts import ChannelView, Head, OnChainPhase
from channels.protocol.signing import LocalSigner
from channels.protocol.terms import Domain, RiskParams, Terms, channel_id, hash_risk_params
from channels.protocol.types import Party, Portfolio, Position, Spot, State, feed_id

WAD = 10**18
UNIT = 10**6
HOUR = 3_600
DAY = 24 * HOUR
T0 = 1_750_003_200
"""Time of the first block: a full hour."""
WINDOW = DAY
GRACE = 5 * DAY
DEPOSIT = 10_000 * UNIT
PENALTY = 500 * UNIT
ETH = feed_id("ETH-USD")
BTC = feed_id("BTC-USD")
EXPIRY = T0 + 30 * DAY
RISK = tuple(RiskParams(feed=feed) for feed in sorted((ETH, BTC)))


def key(name: str) -> LocalSigner:
    """The key that bears this name."""
    return LocalSigner(keccak(name.encode()))


def place(name: str) -> Address:
    """The address that bears this name; nobody has its key."""
    return Address(keccak(name.encode())[-20:])


SIGNERS = {Party.A: key("signer A"), Party.B: key("signer B")}
DOMAIN = Domain(chain_id=31_337, adjudicator=place("adjudicator"))


def make_terms(salt: int = 0, **changes: Any) -> Terms:
    """Terms within the contract's bounds; ``salt`` tells channels apart."""
    terms = Terms(
        party_a=place("party A"),
        party_b=place("party B"),
        signer_a=SIGNERS[Party.A].address,
        signer_b=SIGNERS[Party.B].address,
        collateral=place("token"),
        unit=UNIT,
        oracle=place("oracle"),
        dispute_window=WINDOW,
        cure_window=DAY,
        settlement_grace=GRACE,
        max_price_age=3_900,
        max_mark_age=48 * HOUR,
        max_tenor=400 * DAY,
        max_in_flight=16,
        stale_penalty=PENALTY,
        default_penalty_bps=500,
        risk_hash=hash_risk_params(RISK),
        salt=salt.to_bytes(32, "big"),
    )
    return attrs.evolve(terms, **changes)


TERMS = make_terms()
ID = channel_id(DOMAIN, TERMS)


def put(
    quantity: int = 1, *, strike: int = 3_000, feed: bytes = ETH, expiry: int = EXPIRY
) -> Position:
    """``quantity`` whole puts that A is long."""
    return Position(
        feed=feed,
        kind=1,
        expiry=expiry,
        strike=strike * WAD,
        quantity=quantity * WAD,
        vol=60 * WAD // 100,
        carry=0,
    )


def make_portfolio(net: int = 0, *positions: Position, spot: int = 3_000) -> Portfolio:
    """A portfolio under which A has paid B ``net`` whole dollars."""
    ordered = tuple(sorted(positions, key=lambda each: each.series))
    feeds = sorted({each.feed for each in ordered})
    return Portfolio(
        net_to_b=net * UNIT,
        marked_at=T0,
        spots=tuple(Spot(feed=feed, price=spot * WAD) for feed in feeds),
        positions=ordered,
    )


@cache
def co_signed(
    nonce: int,
    portfolio: Portfolio | None = None,
    *,
    valid_until: int = 0,
    terms: Terms = TERMS,
) -> CoSigned:
    """A state with both signatures; by default its portfolio tells its nonce."""
    state = State(
        channel_id=channel_id(DOMAIN, terms),
        nonce=nonce,
        valid_until=valid_until,
        portfolio=make_portfolio(nonce) if portfolio is None else portfolio,
    )
    digest = DOMAIN.digest(state)
    return CoSigned(
        state=state,
        signature_a=SIGNERS[Party.A].sign_digest(digest),
        signature_b=SIGNERS[Party.B].sign_digest(digest),
    )


def evidence(
    *states: CoSigned | CoSignedHash,
    terms: Terms = TERMS,
    risk: tuple[RiskParams, ...] = RISK,
    **fields: Any,
) -> Evidence:
    """Evidence of these states, with the margin parameters agreed."""
    return Evidence(terms=terms, states=states, risk=risk, **fields)


def make_head(time: int = T0, number: int = 100) -> Head:
    """A head whose blocks are final after a dozen."""
    return Head(
        number=number,
        hash=keccak(b"block %d" % number),
        parent_hash=keccak(b"block %d" % (number - 1)),
        timestamp=time,
        final_number=max(number - 12, 0),
        final_timestamp=time - 144,
    )


def make_view(
    phase: OnChainPhase = OnChainPhase.DISPUTED,
    recorded: CoSigned | None = None,
    *,
    deadline: int = T0 + WINDOW,
    **changes: Any,
) -> ChannelView:
    """Storage of a channel on which ``recorded`` stands; nonce 0 if None."""
    disputed = phase in (OnChainPhase.DISPUTED, OnChainPhase.RUN_OFF)
    view = ChannelView(
        phase=phase,
        nonce=0 if recorded is None else recorded.state.nonce,
        filer=Party.B if disputed else None,
        deadline=deadline if disputed else 0,
        portfolio_hash=bytes(32) if recorded is None else recorded.state.portfolio.struct_hash,
        contribution_a=DEPOSIT,
        contribution_b=DEPOSIT,
    )
    return attrs.evolve(view, **changes)
