"""The ChannelLens through Python: what it tells equals what Python works out for itself."""

from __future__ import annotations

import pytest

from channels.chain.artifacts import load_artifact
from channels.chain.lens import LENS_CALLS, LENS_FUNCTIONS, LensReader, Span
from channels.errors import ContractRevertedError
from channels.protocol.facts import OnChainPhase
from channels.protocol.terms import channel_id
from channels.protocol.types import Party
from tests.chain.test_bindings import compiled
from tests.chain.test_margin_round_trip import (
    DEPOSIT,
    MODEL,
    RISK,
    UNIT,
    assessment,
    disputed,
    quote_spot,
    spots,
)
from tests.chain.world import World


def test_every_function_is_in_the_abi() -> None:
    artifact = load_artifact("ChannelLens")
    assert all(artifact.has_function(each) for each in LENS_FUNCTIONS.values())
    assert len(LENS_FUNCTIONS) == len(compiled("ChannelLens"))
    (entry,) = [each for each in artifact.abi if each.get("name") == "agenda"]
    (agenda,) = entry["outputs"]
    phase, *spans = agenda["components"]
    assert phase["name"] == "phase"
    assert [each["name"].lower() for each in spans] == [
        each.replace("_", "") for each in LENS_CALLS
    ]


async def test_what_it_tells_of_a_dispute(embedded: World) -> None:
    world = embedded
    lens = LensReader(world.rpc, world.deployment.address("ChannelLens"))
    assert await lens.adjudicator() == world.deployment.adjudicator
    async with world.open(world.a) as chain:
        terms, portfolio = await disputed(world, chain)
        with pytest.raises(ContractRevertedError, match="SpotTooOld"):
            await lens.standing(terms, RISK, portfolio)
        await quote_spot(world, 3_200)
        now = await world.control.time()

        margins = MODEL.requirements(portfolio.positions, spots(3_200), now, UNIT)
        standing = await lens.standing(terms, RISK, portfolio)
        assert standing.net_to_b == portfolio.net_to_b
        assert standing.cash_a == DEPOSIT - portfolio.net_to_b
        assert standing.cash_b == DEPOSIT + portfolio.net_to_b
        assert standing.equity_a == standing.cash_a + margins.value_a
        assert standing.equity_b == standing.cash_b + margins.value_b
        assert (standing.initial_a, standing.initial_b) == (margins.initial_a, margins.initial_b)
        assert standing.maintenance_a == margins.maintenance_a
        assert standing.maintenance_b == margins.maintenance_b

        value, maintenance = assessment(portfolio, 3_200, now, Party.B, ())
        shortfall = await lens.shortfall(terms, RISK, portfolio, Party.B)
        assert shortfall.equity == standing.cash_b + value
        assert shortfall.maintenance == maintenance
        assert shortfall.short == (standing.cash_b + value < maintenance)

        agenda = await lens.agenda(terms)
        view = await chain.view(channel_id(world.domain, terms))
        assert agenda.phase is OnChainPhase.DISPUTED
        assert agenda.calls["checkpoint"] == Span(start=now, end=view.deadline)
        assert agenda.calls["settle"] == Span(start=view.deadline, end=None)
        assert agenda.calls["call_margin_b"] == Span(start=now, end=None)
        assert "withdraw" not in agenda.calls
        assert "close_out_b" not in agenda.calls
