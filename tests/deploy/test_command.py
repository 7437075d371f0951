"""``option-channels deploy`` as a user runs it, against Anvil."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from click.testing import CliRunner, Result
from eth_account import Account

from channels.chain import load_deployment, open_provider
from channels.chain.create2 import PROXY, PROXY_CODE
from channels.chain.plan import CORE, core_contracts
from channels.chain.rpc import Rpc
from channels.cli.main import main
from channels.protocol.eip712 import checksum
from tests.conftest import PATIENCE, start_anvil, stop
from tests.deploy.world import ANVIL_KEY
from tests.docs.documents import DOCS, blocks

pytestmark = pytest.mark.anvil

HOW_TO: Final = DOCS / "how-to" / "deploy.md"
ORACLES: Final = next(
    block.text for block in blocks(HOW_TO) if block.text.startswith("[oracles.attested]")
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPTION_CHANNELS_KEY", ANVIL_KEY)
    monkeypatch.delenv("OPTION_CHANNELS_RPC", raising=False)
    monkeypatch.delenv("OPTION_CHANNELS_PASSPHRASE", raising=False)
    Path("oracles.toml").write_text(ORACLES)


def command(url: str, *options: str, answers: str | None = None) -> Result:
    return CliRunner().invoke(main, ["deploy", "--rpc", url, *options], input=answers)


def document(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def ask(url: str, method: str, *params: object) -> Any:
    async def once() -> Any:
        async with open_provider(url) as provider:
            return await Rpc(provider).request(method, *params)

    return trio.run(once)


def test_dry_run_deploy_again_verify(fresh_anvil_url: str) -> None:
    url = fresh_anvil_url
    dry = command(url, "--config", "oracles.toml", "--test-token", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert not Path("deployments").exists()
    assert int(ask(url, "eth_blockNumber"), 16) == 0
    for each in core_contracts():
        assert checksum(each.address) in dry.output

    done = command(url, "--config", "oracles.toml", "--test-token", "--json")
    assert done.exit_code == 0, done.output
    found = document(done)
    assert {each["status"] for each in found["contracts"].values()} == {"deployed"}
    record = load_deployment("deployments/31337.json")
    assert [each.name for each in record.contracts] == [*CORE, "attested", "TestToken"]
    assert found["record"]["contracts"]["Adjudicator"]["address"] == checksum(record.adjudicator)
    mined = int(ask(url, "eth_blockNumber"), 16)
    assert mined == len(record.contracts)

    again = document(command(url, "--config", "oracles.toml", "--test-token", "--json"))
    assert {each["status"] for each in again["contracts"].values()} == {"present"}
    assert again["record"] == found["record"]
    assert again["cost"] == "0"
    assert int(ask(url, "eth_blockNumber"), 16) == mined

    verified = command(url, "--verify", "--json")
    assert verified.exit_code == 0
    assert document(verified)["verified"] is True
    text = Path("deployments/31337.json").read_text()
    Path("other.json").write_text(text.replace('"threshold": 2', '"threshold": 3'))
    differing = command(url, "--verify", "--record", "other.json")
    assert differing.exit_code == 1
    assert re.search(r"✗ attested at 0x\w{40}: its address follows from nothing", differing.output)
    ask(url, "anvil_setCode", checksum(record.risk_engine), "0x6001")
    tampered = command(url, "--verify", "--json")
    assert tampered.exit_code == 1
    assert not document(tampered)["verified"]
    assert any("the code is not RiskEngine's" in each for each in document(tampered)["differences"])


def test_the_proxy_is_created() -> None:
    node, url = start_anvil("--disable-default-create2-deployer")
    try:
        assert ask(url, "eth_getCode", checksum(PROXY), "latest") == "0x"
        dry = document(command(url, "--dry-run", "--json"))
        assert dry["proxy"] == {"address": checksum(PROXY), "present": False}
        done = document(command(url, "--json"))
        assert "error" not in done
        assert ask(url, "eth_getCode", checksum(PROXY), "latest") == "0x" + PROXY_CODE.hex()
        assert command(url, "--verify").exit_code == 0
    finally:
        stop(node)


def test_killed_and_run_again() -> None:
    """Killed by the system while its first transaction waits to be mined."""
    node, url = start_anvil("--no-mining")
    try:
        line = [sys.executable, "-m", "channels.cli", "deploy", "--rpc", url]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert any(each.startswith("sent") for each in child.stdout)
            child.kill()
        sent = json.loads(Path("deployments/31337.json").read_text())["contracts"]
        assert list(sent) == ["RiskEngine"]
        assert sent["RiskEngine"]["block"] is None

        stuck = document(command(url, "--json", "--timeout", "1"))
        assert stuck["error"]["type"] == "TransactionFailedError"
        account = Account.from_key(ANVIL_KEY).address
        assert ask(url, "eth_getTransactionCount", account, "pending") == "0x1"

        ask(url, "evm_setAutomine", True)
        ask(url, "anvil_mine", "0x1")
        done = command(url)
        assert done.exit_code == 0, done.output
        record = json.loads(Path("deployments/31337.json").read_text())["contracts"]
        assert record["RiskEngine"]["transaction"] == sent["RiskEngine"]["transaction"]
        nonce = ask(url, "eth_getTransactionCount", account, "latest")
        assert int(nonce, 16) == len(CORE)
        assert command(url, "--verify").exit_code == 0
    finally:
        stop(node)


def test_a_keystore(fresh_anvil_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, path = fresh_anvil_url, tmp_path / "key.json"
    monkeypatch.delenv("OPTION_CHANNELS_KEY")
    keystore = Account.encrypt(bytes.fromhex(ANVIL_KEY), "a passphrase", iterations=2)
    path.write_text(json.dumps(keystore))
    address = Account.from_key(ANVIL_KEY).address

    monkeypatch.setenv("OPTION_CHANNELS_PASSPHRASE", "another")
    wrong = command(url, "--keystore", str(path), "--json")
    assert wrong.exit_code == 1
    assert document(wrong)["error"]["type"] == "SignerError"
    monkeypatch.setenv("OPTION_CHANNELS_PASSPHRASE", "a passphrase")
    done = document(command(url, "--keystore", str(path), "--json"))
    assert done["account"] == address
    assert done["record"]["contracts"]["Adjudicator"]["deployer"] == address

    monkeypatch.delenv("OPTION_CHANNELS_PASSPHRASE")
    monkeypatch.setattr("getpass.getpass", lambda _prompt: "a passphrase")
    asked = document(command(url, "--keystore", str(path), "--json"))
    assert asked["account"] == address
    path.write_text("{}")
    assert document(command(url, "--keystore", str(path), "--json"))["error"]["fault"] == "ours"


def test_keys_that_are_none(anvil_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for secret in ("secret", "ab" * 31, "00" * 32):
        monkeypatch.setenv("OPTION_CHANNELS_KEY", secret)
        result = command(anvil_url)
        assert result.exit_code == 1
        assert "OPTION_CHANNELS_KEY holds no private key" in result.output
        assert secret not in result.output
    monkeypatch.delenv("OPTION_CHANNELS_KEY")
    result = command(anvil_url)
    assert result.exit_code == 1
    assert "there is no key to deploy with" in result.output
    assert not any(name in result.output for name in ("--key ", "--private-key"))
    assert command(anvil_url, "--dry-run").exit_code == 0


def test_what_stops_it(anvil_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = command(anvil_url, "--chain-id", "1", "--json")
    assert chain.exit_code == 1
    assert document(chain)["error"]["type"] == "WrongChainError"
    unreachable = command("http://127.0.0.1:1", "--json")
    assert unreachable.exit_code == 1
    assert document(unreachable)["error"]["type"] == "EndpointError"
    assert "127.0.0.1:1" in document(unreachable)["error"]["message"]
    nothing = command(anvil_url, "--verify", "--json", "--record", "nothing.json")
    assert document(nothing)["error"]["type"] == "InvalidValueError"
    assert command(anvil_url, "--verify", "--dry-run").exit_code == 2

    monkeypatch.setenv("OPTION_CHANNELS_KEY", "77" * 32)
    poor = document(command(anvil_url, "--json"))
    assert poor["error"]["type"] == "InsufficientFundsError"
    assert poor["error"]["available"] == "0"
    assert poor["error"]["needed"] == poor["cost"]
    Path("oracles.toml").write_text(ORACLES.replace("threshold = 2", "threshold = 9"))
    refused = document(command(anvil_url, "--config", "oracles.toml", "--json"))
    assert "InvalidThreshold" in refused["error"]["message"]
    assert not Path("deployments").exists()


def test_the_commands_of_the_how_to(fresh_anvil_url: str, tmp_path: Path) -> None:
    """In its order, in a shell, on a fresh node."""
    lines = [
        line
        for block in blocks(HOW_TO)
        if block.language == "sh"
        for line in block.text.splitlines()
        if "anvil" not in line
    ]
    assert sum("option-channels deploy" in line for line in lines) == 4
    environment = {key: value for key, value in os.environ.items() if "CHANNELS" not in key}
    environment["OPTION_CHANNELS_RPC"] = fresh_anvil_url
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    record = load_deployment(tmp_path / "deployments" / "31337.json")
    assert record.oracle == record.address("attested")
    assert f"✓ Adjudicator {checksum(record.adjudicator)}" in done.stdout
