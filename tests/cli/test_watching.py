"""The monitor alone over a trader's folder: it answers, it tells, and it leaves a server be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import cast

import attrs
import click
import pytest
import trio

from channels.chain.deployments import save_deployment
from channels.cli.desk.home import read_home
from channels.cli.desk.session import on_watch
from channels.cli.desk.watching import tell
from channels.cli.doctor.ground import open_channels
from channels.errors import InvalidValueError
from channels.prices import PriceSettings
from channels.protocol.calls import Dispute
from tests.chain.world import PATIENCE, embedded_world
from tests.cli.test_desk import Shell
from tests.peer.world import trade, trading

CONFIG = """\
rpc = ["http://unused"]
deployment = "record.json"
finality = 0
signer = "keystore:signer.json"
wallet = "wallet.json"
"""


async def test_a_stale_state_is_answered_with_no_server_and_no_session_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await embedded_world()
    async with trading(world, tmp_path, alice={"monitored": True}) as pair:
        await trade(pair.alice, 2)
        await pair.settled()
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(pair.a.store_path, folder / "store.db")
    save_deployment(world.deployment, folder / "record.json")
    (folder / "config.toml").write_text(CONFIG)
    (channel,) = open_channels(folder / "store.db")
    # The chain of this process stands in for the URL of an endpoint.
    home = attrs.evolve(read_home(folder), rpc=cast("tuple[str, ...]", (world.provider,)))

    async with world.open(world.b) as bob:
        await bob.submit(Dispute(terms=channel.terms, newest=None), key=b"stale")
        with trio.fail_after(PATIENCE):
            await bob.wait_mined(b"stale")
        assert (await bob.view(channel.channel_id)).nonce == 0
        send, lines = trio.open_memory_channel[str](100)
        monkeypatch.setattr(click, "echo", send.send_nowait)
        said: list[dict[str, object]] = []
        async with on_watch(home, wallet=world.a) as at_watch, trio.open_nursery() as nursery:
            nursery.start_soon(tell, at_watch, True)
            with trio.fail_after(PATIENCE):
                async for line in lines:
                    said.append(json.loads(line))
                    if said[-1]["event"] == "DutyDone":
                        break
            nursery.cancel_scope.cancel()
        view = await bob.view(channel.channel_id)
        assert view.portfolio_hash == channel.portfolio.struct_hash
    assert {each["channel"] for each in said} == {"0x" + channel.channel_id.hex()}
    assert "STALE_DISPUTE" in {each.get("code") for each in said}
    done = [(each["event"], each["duty"]) for each in said if each["event"] != "Alert"]
    assert done == [("DisputeFound", None), ("DutySubmitted", "REFUTE"), ("DutyDone", "REFUTE")]


@pytest.mark.anvil
def test_it_tells_what_each_channel_is_in_and_leaves_a_server_be(
    traders: tuple[Shell, str],
) -> None:
    shell, card = traders
    opened = shell.json("open", card, "--home", "alice", "--deposit", "10000")
    shell.json("trade", "--home", "alice", "--at-any-price", "+1", "ETH-USD-27MAR27-3000-P")
    once = shell.run("watch", "--home", "alice", "--once", "--json")
    assert once.exit_code == 0, once.output
    assert [json.loads(line) for line in once.output.splitlines()] == [
        {"event": "Channel", "channel": opened["channel"], "phase": "OPEN"}
    ]
    served = shell.run("watch", "--home", "bob", "--once")
    assert served.exit_code == 1
    assert "in use by another process" in served.output


@pytest.mark.parametrize(
    ("table", "settings"),
    [
        ("", PriceSettings()),
        ("[prices]\ntest = true", PriceSettings(test=True)),
        (
            '[prices]\nattesters = ["http://a", "https://b/x"]',
            PriceSettings(attesters=("http://a", "https://b/x")),
        ),
    ],
)
def test_where_prices_come_from(tmp_path: Path, table: str, settings: PriceSettings) -> None:
    (tmp_path / "config.toml").write_text(CONFIG + table)
    assert read_home(tmp_path).prices == settings


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("prices = 3", "prices cannot be 3"),
        ("[prices]\nattester = 1", "settings of [prices]: attesters, test"),
        ('[prices]\nattesters = "http://a"', "attesters is a list of URLs"),
        ('[prices]\nattesters = ["a"]', "'a' is no URL"),
        ('[prices]\nattesters = ["http://a"]\ntest = true', "either attesters or test"),
    ],
)
def test_a_wrong_source_of_prices_is_told(tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "config.toml").write_text(CONFIG + table)
    with pytest.raises(InvalidValueError) as caught:
        read_home(tmp_path)
    assert said in str(caught.value)
