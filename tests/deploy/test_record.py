"""The record of a deployment: written, read back, refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from channels.chain import Deployment, load_deployment
from channels.chain.deployments import DeployedContract, record_json, save_deployment
from channels.errors import InvalidValueError, StorageError
from channels.protocol.terms import Domain
from tests.deploy.world import full_plan


def deployment() -> Deployment:
    done = [
        attrs.evolve(
            DeployedContract.of(planned),
            runtime_hash=bytes([place]) * 32,
            deployer=planned.address,
            transaction=bytes([place + 100]) * 32,
            block=place,
        )
        for place, planned in enumerate(full_plan())
    ]
    return Deployment(chain_id=11155111, contracts=tuple(done))


def test_written_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "11155111.json"
    saved = deployment()
    unfinished = saved.including(DeployedContract.of(full_plan()[0]))
    for each in (saved, unfinished):
        save_deployment(each, path)
        assert load_deployment(path) == each
        assert load_deployment(str(path)) == each
    assert [each.name for each in path.parent.iterdir()] == ["11155111.json"]


def test_what_a_user_reads() -> None:
    found = deployment()
    plan = {each.name: each.address for each in full_plan()}
    assert found.adjudicator == plan["Adjudicator"]
    assert found.risk_engine == plan["RiskEngine"]
    assert found.token == plan["TestToken"]
    assert found.address("both") == plan["both"]
    assert found.domain == Domain(chain_id=11155111, adjudicator=plan["Adjudicator"])
    with pytest.raises(InvalidValueError, match="3 oracles"):
        assert found.oracle
    with pytest.raises(InvalidValueError, match="no nothing"):
        found.address("nothing")
    started = found.including(DeployedContract.of(full_plan()[1]))
    with pytest.raises(InvalidValueError, match="not deployed yet"):
        _ = started.domain


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("format",), 2),
        (("chain_id",), "1"),
        (("version",), 1),
        (("contracts",), []),
        (("contracts", "Adjudicator", "address"), "0x00"),
        (("contracts", "Adjudicator", "address"), "0x9085193361b0cD7b803E0497c00783f6053428d4"),
        (("contracts", "Adjudicator", "salt"), "0x00"),
        (("contracts", "Adjudicator", "salt"), None),
        (("contracts", "Adjudicator", "transaction"), "0xzz"),
        (("contracts", "Adjudicator", "block"), "1"),
        (("contracts", "Adjudicator"), {}),
    ],
)
def test_what_is_no_record(tmp_path: Path, where: tuple[str, ...], value: Any) -> None:
    raw = record_json(deployment())
    inner = raw
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    path = tmp_path / "record.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(InvalidValueError, match=r"record\.json is"):
        load_deployment(path)


def test_no_record_and_no_json(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with pytest.raises(InvalidValueError, match="there is no deployment record"):
        load_deployment(path)
    path.write_text("{")
    with pytest.raises(InvalidValueError, match="is no deployment record"):
        load_deployment(path)


def test_a_record_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        save_deployment(deployment(), tmp_path / "file" / "record.json")
