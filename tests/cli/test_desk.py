"""Two traders by command line alone: folders of their own, one serving, on an Anvil node."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import trio
from click.testing import CliRunner, Result

from channels.chain.provider import open_provider
from channels.chain.rpc import Rpc
from channels.cli.desk import trading
from channels.cli.desk.home import Card, read_home
from channels.cli.desk.session import Collateral
from channels.cli.main import main
from channels.errors import InvalidValueError
from channels.protocol.eip712 import Address
from tests.cli.processes import running

DEPLOYER = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
"""First of Anvil's accounts, which everybody knows."""


@attrs.define
class Shell:
    """Runs commands in one folder, as a person at a terminal would."""

    folder: Path
    url: str

    def run(self, *words: str) -> Result:
        here = Path.cwd()
        os.chdir(self.folder)
        try:
            return CliRunner().invoke(main, list(words))
        finally:
            os.chdir(here)

    def json(self, *words: str) -> Any:
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.output)


@pytest.fixture
def shell(fresh_anvil_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A folder beside a chain with the contracts on it, which makes a block every second."""
    monkeypatch.setenv("OPTION_CHANNELS_PASSPHRASE", "correct horse")
    monkeypatch.setenv("OPTION_CHANNELS_KEY", DEPLOYER)
    shell = Shell(tmp_path, fresh_anvil_url)
    deployed = shell.run("deploy", "--rpc", shell.url, "--test-token", "--test-oracle")
    assert deployed.exit_code == 0, deployed.output

    async def tick() -> None:
        async with open_provider(shell.url) as provider:
            await Rpc(provider).request("evm_setIntervalMining", 1)

    trio.run(tick)
    return shell


@pytest.fixture
def traders(shell: Shell) -> Iterator[tuple[Shell, str]]:
    """Alice and Bob with their collateral, Bob serving; and Bob's card."""
    shell.json("init", "--home", "alice", "--rpc", shell.url)
    shell.json("init", "--home", "bob", "--rpc", shell.url, "--listen", "127.0.0.1:0")
    for home in ("alice", "bob"):
        assert shell.json("fund", "50000", "--home", home)["allowed"] == str(50_000 * 10**6)
    with running("serve", "--home", "bob", "--json", folder=shell.folder) as line:
        card = shell.json("card", "--home", "bob")["card"]
        yield shell, card.rpartition("@")[0] + "@" + json.loads(line)["at"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([], "say what may be paid: --limit AMOUNT, or --at-any-price"),
        (["--json"], "say what may be paid"),
        (["--limit", "5", "--at-any-price"], "not both"),
    ],
)
def test_no_trade_at_a_price_nobody_has_agreed_to(
    said: list[str], why: str, tmp_path: Path
) -> None:
    words = ["trade", "--home", str(tmp_path), *said, "+1", "ETH-USD-27MAR27-3000-P"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert why in result.output


@pytest.mark.parametrize("answer", [True, False])
def test_a_person_at_a_terminal_is_asked(answer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def confirm(question: str) -> bool:
        asked.append(question)
        return answer

    monkeypatch.setattr("click.confirm", confirm)
    desk: Any = SimpleNamespace(collateral=Collateral(token=Address(bytes(20)), unit=10**6))
    assert trio.run(trading._agrees, desk, -12_500_000) is answer
    assert asked == ["we receive 12.500000 USD. Trade?"]


@pytest.mark.anvil
def test_from_nothing_to_a_trade_by_command_line(traders: tuple[Shell, str]) -> None:
    shell, card = traders
    opened = shell.json("open", card, "--home", "alice", "--deposit", "10000")
    put, lower = "ETH-USD-27MAR27-3000-P", "ETH-USD-27MAR27-2500-P"

    quoted = shell.json("quote", "--home", "alice", "+2", put)
    spread = ("+2", put, "-1", lower)
    traded = shell.json("trade", "--home", "alice", "--limit", "800", *spread)
    assert int(quoted["premium"]) > int(traded["premium"]) > 0

    held = shell.json("positions", "--home", "alice")["positions"]
    assert {(each["instrument"], each["quantity"]) for each in held} == {(put, "2"), (lower, "-1")}
    theirs = shell.json("positions", "--home", "bob")["positions"]
    assert {(each["instrument"], each["quantity"]) for each in theirs} == {
        (put, "-2"),
        (lower, "1"),
    }
    rows = shell.json("margin", "--home", "bob")["margin"]
    assert [row["deposited"] for row in rows] == ["10,000.000000"] * 2
    assert rows[0]["initial_margin"] > rows[0]["initial_margin"][:1]
    (ours,) = shell.json("greeks", "--home", "alice")["greeks"]
    (bobs,) = shell.json("greeks", "--home", "bob")["greeks"]
    assert ours["delta"] == pytest.approx(-bobs["delta"])
    assert ours["delta"] < 0 < ours["vega"]

    dear = shell.run("trade", "--home", "alice", "--limit", "1", "+2", put)
    assert dear.exit_code == 1
    assert "beyond the limit" in dear.output
    early = shell.run("close", "--home", "alice")
    assert "positions are open" in early.output

    back = shell.json("trade", "--home", "alice", "--at-any-price", "-2", put, "+1", lower)
    assert int(back["premium"]) < 0
    closed = shell.json("close", "--home", "alice")
    assert closed["channel"] == opened["channel"]
    assert int(closed["paid"]) == 10_000 * 10**6 - int(traded["premium"]) - int(back["premium"])
    sound = shell.run("audit", str(shell.folder / "alice" / "store.db"))
    assert sound.exit_code == 0, sound.output


@pytest.mark.anvil
def test_mistakes_are_told_with_what_to_do(shell: Shell) -> None:
    elsewhere = shell.run("init", "--home", "x", "--rpc", "http://127.0.0.1:1")
    assert "no endpoint answers" in elsewhere.output
    shell.json("init", "--home", "alice", "--rpc", shell.url)
    for words, said in (
        (("init", "--home", "alice", "--rpc", shell.url), "is a trader's folder already"),
        (("serve", "--home", "alice"), "no address to listen on"),
        (("open", "rubbish", "--home", "alice", "--deposit", "1"), "is no card"),
        (("trade", "--home", "alice", "--limit", "1", "+1"), "legs come in pairs"),
        (("trade", "--home", "alice", "--limit", "1", "+1", "ETH"), "no instrument's name"),
        (("close", "--home", "alice"), "no open channel"),
        (("positions", "--home", "."), "no trader's folder"),
    ):
        result = shell.run(*words)
        assert result.exit_code == 1, words
        assert said in result.output, words
        assert "Traceback" not in result.output
    assert shell.json("positions", "--home", "alice") == {"positions": []}
    assert "No open positions" in shell.run("positions", "--home", "alice").output


def test_a_card_reads_back_as_it_was_printed() -> None:
    text = "0x" + "11" * 20 + ":0x" + "22" * 20 + "@[::1]:7001"
    assert str(Card.read(text)) == text
    with pytest.raises(InvalidValueError, match="is no card"):
        Card.read("0x11@somewhere")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("colour = 1", "there is no setting colour"),
        ("rpc = 3", "rpc cannot be 3"),
        ('vol = "high"', "vol: 'high' is no finite decimal number"),
        ('[spots]\n"ETH-USD" = "dear"', "spots.ETH-USD"),
        ("listen", "cannot be read"),
    ],
)
def test_a_wrong_configuration_names_the_setting(tmp_path: Path, line: str, said: str) -> None:
    good = 'rpc = ["http://x"]\ndeployment = "d"\nsigner = "keystore:s"\nwallet = "w"\n'
    if line.startswith("rpc"):
        good = good.partition("\n")[2]
    (tmp_path / "config.toml").write_text(good + line)
    with pytest.raises(InvalidValueError) as caught:
        read_home(tmp_path)
    assert said in str(caught.value)


def test_paths_of_a_configuration_are_relative_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        'rpc = ["http://x"]\ndeployment = "d.json"\nsigner = "keystore:s.json"\nwallet = "/w.json"'
    )
    home = read_home(tmp_path)
    assert home.deployment == tmp_path / "d.json"
    assert home.signer == f"keystore:{tmp_path / 's.json'}"
    assert home.wallet == Path("/w.json")
