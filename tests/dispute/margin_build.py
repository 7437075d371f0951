"""Channels at whose prices somebody is short of margin, and what is decided about them."""

from __future__ import annotations

from typing import Any

import attrs

from channels.dispute import (
    Action,
    Alert,
    AlertCode,
    Duty,
    SpotFact,
    Submit,
    decide,
)
from channels.dispute.evidence import Watched, start_watching
from channels.protocol.calls import CallMargin, CoSigned
from channels.protocol.scenarios import ScenarioIndex
from channels.protocol.types import Party
from tests.dispute.build import (
    DAY,
    DOMAIN,
    ETH,
    T0,
    WAD,
    co_signed,
    evidence,
    make_head,
    make_portfolio,
    make_view,
    put,
)

PUTS = co_signed(7, make_portfolio(0, put(5)))
"""B is short five puts struck at 3,000, with 10,000 deposited."""
STRADDLES = co_signed(7, make_portfolio(0, *(attrs.evolve(put(5), kind=kind) for kind in (0, 1))))
"""And five calls: B is short at a low price and at a high one."""
CRASH, CALM, SURGE = 1_200, 3_000, 8_000
CURE = T0 + DAY


def watching(*states: CoSigned, side: Party | None = Party.A, **fields: Any) -> Watched:
    offered = evidence(*states, side=side, **fields)
    return start_watching(offered, DOMAIN).with_evidence(offered)


def at_spot(price: int, age: int = 0, *, time: int = T0) -> dict[bytes, SpotFact | None]:
    return {ETH: SpotFact(price=price * WAD, observed_at=time - age)}


def alerts(actions: tuple[Action, ...]) -> dict[AlertCode, Alert]:
    return {each.code: each for each in actions if isinstance(each, Alert)}


def calls(actions: tuple[Action, ...]) -> list[tuple[Duty, Party]]:
    return [
        (each.duty, each.call.party)
        for each in actions
        if isinstance(each, Submit) and isinstance(each.call, CallMargin)
    ]


DISPUTED = make_view(recorded=PUTS)
SHORT_B = [(Duty.CALL_MARGIN, Party.B)]


def scenarios(newest: CoSigned, price: int) -> tuple[ScenarioIndex, ...]:
    """The scenarios that a call at this spot names."""
    actions = decide(
        watching(newest), make_view(recorded=newest), make_head(), spots=at_spot(price)
    )
    [call] = [each.call for each in actions if isinstance(each, Submit)]
    assert isinstance(call, CallMargin)
    return call.scenarios
