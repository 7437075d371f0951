"""The attester as a command: mistakes are told, and its endpoint answers over a real socket."""

from __future__ import annotations

import socket
from pathlib import Path

import attrs
import httpx
import pytest
import trio
from click.testing import CliRunner

from channels.chain import OracleDomain
from channels.chain.attestations import SpotPrice
from channels.chain.deployments import DeployedContract, Deployment, save_deployment
from channels.chain.plan import TEST_ATTESTERS, public_oracle_contract
from channels.cli.main import main
from channels.prices.serving import serve_attester
from channels.prices.wire import read_attestations
from channels.protocol.eip712 import Address
from tests.cli.processes import running
from tests.prices.world import FEED, KEYS, WAD, journal_of

PATIENCE = 60


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record with a test oracle; ATTESTER has the key of one of its attesters."""
    monkeypatch.setenv("ATTESTER", TEST_ATTESTERS[0].hex())
    monkeypatch.setenv("STRANGER", KEYS[0].hex())
    entry = attrs.evolve(DeployedContract.of(public_oracle_contract()), runtime_hash=bytes(32))
    path = tmp_path / "record.json"
    save_deployment(Deployment(chain_id=31_337, contracts=(entry,)), path)
    return path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--signer", "env:STRANGER", "--fixed", "ETH-USD=3000"), "is no attester of TestOracle"),
        (("--signer", "https://clef", "--fixed", "ETH-USD=3000"), "and no prices"),
        (("--signer", "env:ATTESTER"), "no feed to sign"),
        (("--signer", "env:ATTESTER", "--feed", "ETH-USD"), "prices come from one place"),
        (
            ("--signer", "env:ATTESTER", "--fixed", "ETH-USD=3000", "--url", "http://x"),
            "prices come from one place",
        ),
        (("--signer", "env:ATTESTER", "--fixed", "ETH-USD=dear"), "is no price"),
        (("--signer", "env:ATTESTER", "--fixed", "ETH-USD=1", "--every", "7"), "divide an hour"),
        (("--signer", "env:ATTESTER", "--fixed", "ETH-USD=1", "--oracle", "x"), "name one with"),
    ],
)
def test_mistakes_are_told(record: Path, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    journal = ("--journal", str(tmp_path / "attester.db"))
    result = CliRunner().invoke(main, ["attest", "--deployment", str(record), *journal, *words])
    assert result.exit_code == 1, result.output
    assert said in result.output
    assert "Traceback" not in result.output


def test_a_port_in_use_is_told(record: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = ["--journal", str(tmp_path / "attester.db"), "--fixed", "ETH-USD=1"]
        words += ["--signer", "env:ATTESTER", "--deployment", str(record)]
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(main, ["attest", *words, "--listen", listen])
    assert result.exit_code == 1
    assert "nothing can listen at 127.0.0.1" in result.output
    assert "Traceback" not in result.output


def test_it_runs_until_it_is_stopped(record: Path, tmp_path: Path) -> None:
    words = ["attest", "--deployment", str(record), "--journal", str(tmp_path / "attester.db")]
    words += ["--signer", "env:ATTESTER", "--fixed", "ETH-USD=3000", "--listen", "127.0.0.1:0"]
    with running(*words) as line:
        assert " attests ETH-USD at http://127.0.0.1:" in line


async def test_its_endpoint_answers_over_a_socket() -> None:
    domain = OracleDomain(chain_id=31_337, oracle=Address(b"\x11" * 20))
    journal = await journal_of(KEYS[0], domain)
    signed = await journal.attest(SpotPrice(feed=FEED, time=1_800_000_000, price=3_000 * WAD))
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(serve_attester, journal, "127.0.0.1:0")
        with trio.fail_after(PATIENCE):
            async with httpx.AsyncClient() as client:
                answer = await client.get(f"{url}/v1/spot/ETH-USD?before=1800000000")
        nursery.cancel_scope.cancel()
    assert read_attestations(answer.json()) == (signed,)
