"""The demo as it is run by hand: against Anvil and Hardhat's node, in one process and in two."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import (
    ANVIL,
    HARDHAT,
    NO_ANVIL,
    NO_HARDHAT,
    PATIENCE,
    ROOT,
    start_anvil,
    start_hardhat,
    stop,
)

STEPS = {
    "Alice and Bob open a channel",
    "They trade: half signed, accepted, confirmed",
    "Expiry: settled in cash, off chain",
    "Bob files an old state: before Alice's second trade",
    "Alice's monitor answers with the newest state",
    "The monitor settles, and the contract pays both",
}


@pytest.fixture(scope="module", params=["anvil", "hardhat"])
def node(request: pytest.FixtureRequest) -> Iterator[str]:
    """A node of our own: the demo moves its clock by days, and uses its well-known accounts."""
    program, reason, start = {
        "anvil": (ANVIL, NO_ANVIL, start_anvil),
        "hardhat": (HARDHAT, NO_HARDHAT, start_hardhat),
    }[request.param]
    if not program.exists():
        pytest.skip(reason)
    process, url = start()
    yield url
    stop(process)


@pytest.mark.anvil
@pytest.mark.parametrize("options", [[], ["--two-processes"]], ids=["one process", "two processes"])
def test_demo_reconciles(options: list[str], node: str) -> None:
    demo = subprocess.run(
        [sys.executable, "-m", "channels.cli", "demo", "--rpc", node, "--json", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert demo.returncode == 0, demo.stderr
    told = json.loads(demo.stdout)
    assert told["reconciled"] is True
    assert {each["title"] for each in told["steps"]} >= STEPS
    figures = told["reconciliation"]
    assert figures
    assert all(each["expected"] == each["found"] for each in figures)
    assert all(each["holds"] for each in figures)


def test_two_processes_need_a_node() -> None:
    demo = subprocess.run(
        [sys.executable, "-m", "channels.cli", "demo", "--two-processes"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert demo.returncode == 2
    assert "--rpc" in demo.stderr
