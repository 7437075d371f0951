"""What ships is what the sources compile to, and deployed code is recognised by it."""

from __future__ import annotations

import json

import pytest

from channels.chain.artifacts import NAMES, load_artifact
from tests.chain.world import World
from tools import build_artifacts


@pytest.mark.skipif(
    not build_artifacts.NODE_MODULES.exists(), reason="no node_modules: `npm ci` brings it"
)
def test_sources_compile_to_what_ships() -> None:
    built = build_artifacts.compile_contracts(build_artifacts.CONTRACTS)
    assert set(built) == set(NAMES)
    for name, artifact in built.items():
        shipped = json.loads((build_artifacts.TARGET / f"{name}.json").read_text())
        assert artifact == shipped, f"{name}: run python tools/build_artifacts.py"


async def test_deployed_code_is_recognised(world: World) -> None:
    deployed = {
        "Adjudicator": world.deployment.adjudicator,
        "AttestedOracle": world.deployment.oracle,
        "TestToken": world.deployment.token,
    }
    for name, address in deployed.items():
        code = await world.rpc.code(address)
        for other in NAMES:
            assert load_artifact(other).is_code(code) == (other == name)
    assert not load_artifact("Adjudicator").is_code(b"")


def test_errors_and_events_of_the_interface_are_in_the_abi() -> None:
    artifact = load_artifact("Adjudicator")
    names = {name for name, _ in artifact.errors().values()}
    assert {"InvalidSignature", "WrongPhase", "Expired", "NonceNotNewer"} <= names
    assert len(artifact.topic("Disputed")) == 32
    with pytest.raises(KeyError):
        artifact.topic("Nothing")
