"""Staged faults: each is named, and with it what to do; and a folder without any has no error."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio
from click.testing import CliRunner

from channels.chain.deploy import send_now
from channels.chain.deployments import record_json
from channels.chain.rpc import Provider
from channels.cli.desk.home import read_home
from channels.cli.doctor.examination import CHECKS, examine
from channels.cli.doctor.findings import Finding, Severity
from channels.cli.doctor.ground import Ground, OnChain, open_channels
from channels.cli.doctor.risk import check_channels, check_disputes
from channels.cli.main import main
from channels.dispute import evidence_of
from channels.errors import BugError, EndpointError
from channels.protocol.calls import Dispute
from channels.protocol.eip712 import Address, checksum
from channels.protocol.facts import OnChainPhase
from channels.protocol.signing import LocalSigner, Signable
from channels.protocol.types import Party
from channels.protocol.watching import Heartbeat, Receipt
from channels.signers import create_keystore
from channels.storage import open_store
from channels.tower.appointments import newest_states
from channels.tower.signed import SignedHeartbeat, SignedReceipt
from channels.tower.wire import signed_json
from tests.chain.world import PATIENCE, World, embedded_world
from tests.cli.test_desk import Shell
from tests.peer.world import trade, trading

CONFIG = """\
rpc = ["http://one", "http://two"]
deployment = "record.json"
finality = 0
signer = "keystore:signer.json"
wallet = "wallet.json"

[spots]
"ETH-USD" = "3000"
"""

TOWER = LocalSigner(b"\x77" * 32)

Answer = Callable[[Any, Any], Any]
"""Parameters and honest response to the response that is given."""


@attrs.frozen
class Lying:
    """A provider that changes what another answers to some methods."""

    provider: Provider
    lies: dict[str, Answer]

    async def make_request(self, method: Any, params: Any) -> Any:
        honest = await self.provider.make_request(method, params)
        return self.lies[method](params, honest) if method in self.lies else honest


@attrs.frozen
class Dead:
    """A provider whose endpoint does not answer."""

    async def make_request(self, method: Any, params: Any) -> Any:
        raise EndpointError(f"one did not answer {method}: {params}")


@attrs.define
class Clinic:
    """A trader's folder after some trades, and the chain that it is on."""

    folder: Path
    world: World
    endpoints: dict[str, Provider]
    clock_error: int = 0
    heartbeats: dict[str, httpx.Response] = attrs.field(factory=dict)

    def configure(self, old: str, new: str) -> None:
        path = self.folder / "config.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def lie(self, url: str, **lies: Answer) -> None:
        self.endpoints[url] = Lying(self.world.provider, lies)

    async def examine(self) -> list[Finding]:
        now = await self.world.control.time() + self.clock_error

        @asynccontextmanager
        async def connect(url: str) -> AsyncIterator[Provider]:
            yield self.endpoints[url]

        def answer(request: httpx.Request) -> httpx.Response:
            assert request.url.path == "/v1/heartbeat"
            if request.url.host not in self.heartbeats:
                raise httpx.ConnectError("refused")
            return self.heartbeats[request.url.host]

        transport = httpx.MockTransport(answer)
        return await examine(self.folder, connect=connect, clock=lambda: now, transport=transport)


def write_key(path: Path, address: Address) -> None:
    path.write_text(json.dumps({"address": address.hex()}))
    path.chmod(0o600)


@pytest.fixture
async def clinic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    monkeypatch.delenv("OPTION_CHANNELS_PASSPHRASE", raising=False)
    world = await embedded_world()
    folder = tmp_path / "home"
    folder.mkdir()
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice, 2)
        await pair.settled()
        store = pair.a.store_path
    shutil.copy(store, folder / "store.db")
    (folder / "config.toml").write_text(CONFIG)
    (folder / "record.json").write_text(json.dumps(record_json(world.deployment)))
    write_key(folder / "wallet.json", world.a.address)
    write_key(folder / "signer.json", world.signer_a.address)
    return Clinic(folder, world, {"http://one": world.provider, "http://two": world.provider})


async def bring_price(clinic: Clinic) -> None:
    from channels.chain.attestations import SpotPrice, submission
    from tests.chain.world import FEED, WAD

    world = clinic.world
    price = SpotPrice(feed=FEED, time=await world.control.time(), price=3_000 * WAD)
    signed = [each.attest(price) for each in world.attesters]
    await send_now(world.rpc, world.a, submission(world.deployment.oracle, signed))


async def test_a_folder_without_fault_has_no_error(clinic: Clinic) -> None:
    await bring_price(clinic)
    async with open_store(clinic.folder / "store.db"):
        findings = await clinic.examine()
    assert [each for each in findings if each.severity is not Severity.OK] == []
    looked_at = {each.check for each in findings}
    assert looked_at == {
        "configuration",
        "installation",
        "keys",
        "store",
        "endpoints",
        "clock",
        "contracts",
        "wallet",
        "disputes",
        "marks",
        "margin",
        "prices",
        "towers",
    }
    assert len(CHECKS) == 11


async def test_a_tower_with_everything_is_well(clinic: Clinic) -> None:
    await with_tower(clinic, "tower")
    told = [each for each in await clinic.examine() if each.check == "towers"]
    assert [each.severity for each in told] == [Severity.OK] * 2
    assert "watches 1 channels, as of 0 s ago" in told[0].text
    assert "1 towers have nonce" in told[1].text


async def with_tower(
    clinic: Clinic,
    name: str,
    *,
    stated: LocalSigner = TOWER,
    age: int = 0,
    behind: int | None = 0,
    term: int = 3_600,
) -> None:
    """Name a tower of ``TOWER``'s, whose heartbeat is so old and receipt so far behind."""
    now = await clinic.world.control.time()
    (channel,) = open_channels(clinic.folder / "store.db")
    domain = channel.domain
    path = clinic.folder / "config.toml"
    at = f'at = {{ "http://{name}" = "{checksum(stated.address)}" }}'
    path.write_text(path.read_text() + f"\n[towers]\n{at}\n")
    beat = Heartbeat(
        head_number=1,
        head_hash=bytes(32),
        head_time=now - age,
        final_number=1,
        dispute_count=0,
        store_root=bytes(32),
        channels=1,
        gas_reserve=0,
        sequence=1,
    )
    signed = SignedHeartbeat(heartbeat=beat, signature=await TOWER.sign(Signable(domain, beat)))
    clinic.heartbeats[name] = httpx.Response(200, json=signed_json(signed, domain))
    if behind is None:
        return
    receipts = []
    for state in newest_states(evidence_of(channel)):
        receipt = Receipt(
            appointment_hash=bytes(32),
            channel_id=channel.channel_id,
            nonce=state.state.nonce - behind,
            valid_from=now - 1,
            valid_to=now + term,
            accepted_at=1,
            longest_response=60,
            sequence=1,
        )
        word = SignedReceipt(receipt=receipt, signature=await TOWER.sign(Signable(domain, receipt)))
        receipts.append(signed_json(word, domain))
    document = {"0x" + channel.channel_id.hex(): {f"http://{name}": receipts}}
    (clinic.folder / "receipts.json").write_text(json.dumps(document))


# ---- the faults


Staging = Callable[[Clinic], Any]
FAULTS: dict[str, tuple[Staging, Severity, str, str, str]] = {}


def fault(severity: Severity, check: str, text: str, remedy: str) -> Callable[[Staging], Staging]:
    def kept(stage: Staging) -> Staging:
        FAULTS[stage.__name__] = (stage, severity, check, text, remedy)
        return stage

    return kept


@fault(Severity.ERROR, "configuration", "there is no setting colour", "config.toml")
async def a_setting_that_is_none(clinic: Clinic) -> None:
    clinic.configure("finality = 0", 'colour = "red"')


@fault(Severity.ERROR, "configuration", "there is no deployment record", "config.toml")
async def no_record(clinic: Clinic) -> None:
    (clinic.folder / "record.json").unlink()


@fault(Severity.ERROR, "endpoints", "one does not answer", "start it, or correct rpc")
async def a_dead_endpoint(clinic: Clinic) -> None:
    clinic.endpoints["http://one"] = Dead()


@fault(Severity.ERROR, "endpoints", "two is on chain 1, the contracts on 1337", "chain 1337")
async def an_endpoint_of_another_chain(clinic: Clinic) -> None:
    clinic.lie("http://two", eth_chainId=lambda _, honest: {**honest, "result": "0x1"})


@fault(Severity.ERROR, "endpoints", "does not tell which block is final", "set finality")
async def an_endpoint_without_finality(clinic: Clinic) -> None:
    clinic.configure("finality = 0", 'finality = "finalized"')
    clinic.lie(
        "http://one",
        eth_getBlockByNumber=lambda params, honest: (
            {**honest, "result": None} if params[0] == "finalized" else honest
        ),
    )


@fault(Severity.ERROR, "endpoints", "which should be final", "remove it")
async def endpoints_that_disagree(clinic: Clinic) -> None:
    def forked(_: Any, honest: Any) -> Any:
        return {**honest, "result": {**honest["result"], "hash": "0x" + "66" * 32}}

    clinic.lie("http://two", eth_getBlockByNumber=forked)


@fault(Severity.WARNING, "endpoints", "one endpoint alone", "put a second one")
async def one_endpoint(clinic: Clinic) -> None:
    clinic.configure(', "http://two"', "")


@fault(Severity.ERROR, "clock", "900 s ahead of this machine's clock", "set the clock")
async def a_slow_clock(clinic: Clinic) -> None:
    clinic.clock_error = -900


@fault(Severity.WARNING, "clock", "900 s old", "follows the chain")
async def a_head_that_stands_still(clinic: Clinic) -> None:
    clinic.clock_error = 900


@fault(Severity.ERROR, "contracts", "there is no contract", "do not use it")
async def contracts_that_are_not_there(clinic: Clinic) -> None:
    for url in clinic.endpoints:
        clinic.lie(url, eth_getCode=lambda _, honest: {**honest, "result": "0x"})


@fault(Severity.ERROR, "installation", "was not made of the code that ships", "reinstall")
async def a_record_of_other_code(clinic: Clinic) -> None:
    path = clinic.folder / "record.json"
    record = json.loads(path.read_text())
    record["contracts"]["Adjudicator"]["creation_hash"] = "0x" + "11" * 32
    path.write_text(json.dumps(record))


@fault(Severity.WARNING, "keys", "others can read the wallet", "chmod 600")
async def a_key_that_others_can_read(clinic: Clinic) -> None:
    (clinic.folder / "wallet.json").chmod(0o644)


@fault(Severity.ERROR, "keys", "the session key cannot be used", "restore the file")
async def a_key_that_is_gone(clinic: Clinic) -> None:
    (clinic.folder / "signer.json").unlink()


@fault(Severity.ERROR, "keys", "is wrong", "give the one it was made with")
async def a_wrong_passphrase(clinic: Clinic) -> None:
    path = clinic.folder / "signer.json"
    path.unlink()
    create_keystore(path, lambda _: "right", kdf="pbkdf2", work=1)
    os.environ["OPTION_CHANNELS_PASSPHRASE"] = "wrong"


@fault(Severity.ERROR, "wallet", "has 0.000000 ether", "without it no dispute is answered")
async def an_empty_wallet(clinic: Clinic) -> None:
    for url in clinic.endpoints:
        clinic.lie(url, eth_getBalance=lambda _, honest: {**honest, "result": "0x0"})


@fault(Severity.WARNING, "wallet", "0.00 of it allowed", "option-channels fund")
async def no_allowance(clinic: Clinic) -> None:
    world = clinic.world
    await send_now(world.rpc, world.a, world.token.approve(world.deployment.adjudicator, 0))


@fault(Severity.WARNING, "wallet", "and a margin call may want", "option-channels fund")
async def a_small_allowance(clinic: Clinic) -> None:
    world = clinic.world
    await send_now(world.rpc, world.a, world.token.approve(world.deployment.adjudicator, 10**6))


@fault(Severity.WARNING, "towers", "does not answer", "name another under [towers]")
async def a_tower_that_is_down(clinic: Clinic) -> None:
    await with_tower(clinic, "tower")
    clinic.heartbeats.clear()


@fault(Severity.WARNING, "towers", "not by the tower", "its address is right")
async def a_tower_of_somebody_else(clinic: Clinic) -> None:
    await with_tower(clinic, "tower", stated=LocalSigner(b"\x78" * 32))


@fault(Severity.WARNING, "towers", "its heartbeat is 900 s old", "see whether it runs")
async def a_tower_that_stands_still(clinic: Clinic) -> None:
    await with_tower(clinic, "tower", age=900)


@fault(
    Severity.ERROR,
    "towers",
    "0 of 1 towers have it: http://tower: no receipt",
    "option-channels serve",
)
async def a_state_that_no_tower_has(clinic: Clinic) -> None:
    await with_tower(clinic, "tower", behind=None)


@fault(Severity.ERROR, "towers", "its receipt is for nonce", "option-channels serve")
async def a_receipt_for_an_older_state(clinic: Clinic) -> None:
    await with_tower(clinic, "tower", behind=1)


@fault(Severity.ERROR, "towers", "its receipt has run out", "option-channels serve")
async def a_receipt_that_has_run_out(clinic: Clinic) -> None:
    await with_tower(clinic, "tower", term=-1)


@fault(Severity.ERROR, "towers", "receipts.json cannot be read", "hand over anew")
async def a_file_of_receipts_that_is_none(clinic: Clinic) -> None:
    await with_tower(clinic, "tower")
    (clinic.folder / "receipts.json").write_text("[1]")


@fault(Severity.ERROR, "configuration", "towers.needed is 2, of 1 towers", "config.toml")
async def more_towers_needed_than_there_are(clinic: Clinic) -> None:
    await with_tower(clinic, "tower")
    clinic.configure("[towers]", "[towers]\nneeded = 2")


@fault(Severity.ERROR, "store", "the journal does not hold", "sign nothing more")
async def a_journal_that_was_changed(clinic: Clinic) -> None:
    connection = sqlite3.connect(clinic.folder / "store.db")
    triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    for (name,) in triggers.fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("UPDATE journal SET hash = zeroblob(32) WHERE seq = 2")
    connection.commit()
    connection.close()


@fault(Severity.ERROR, "store", "cannot read the channels", "")
async def a_store_that_is_none(clinic: Clinic) -> None:
    (clinic.folder / "store.db").write_bytes(b"rubbish" * 1_000)


@fault(Severity.WARNING, "store", "nobody watches over 1 open channels", "option-channels watch")
async def nobody_watches(clinic: Clinic) -> None:
    assert stat.S_ISREG((clinic.folder / "store.db").stat().st_mode)


@fault(Severity.ERROR, "disputes", "is disputed on nonce 0", "let it run")
async def a_stale_state_that_nobody_answers(clinic: Clinic) -> None:
    world = clinic.world
    (channel,) = open_channels(clinic.folder / "store.db")
    async with world.open(world.b) as bob:
        with trio.fail_after(PATIENCE):
            await bob.submit(Dispute(terms=channel.terms, newest=None), key=b"d")
            await bob.wait_mined(b"d")


@fault(Severity.ERROR, "marks", "over 48 h margin cannot be called", "marks anew")
async def old_marks(clinic: Clinic) -> None:
    await clinic.world.control.advance_time(by=49 * 3_600)


@fault(Severity.ERROR, "prices", "no attester answers", "[prices]")
async def attesters_out_of_reach(clinic: Clinic) -> None:
    clinic.configure("[spots]", '[prices]\nattesters = ["http://127.0.0.1:1"]\n\n[spots]')


@fault(Severity.WARNING, "prices", "nobody can call margin", "[prices]")
async def no_source_of_prices(clinic: Clinic) -> None:
    assert not read_home(clinic.folder).prices.attesters


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_named_with_its_remedy(
    clinic: Clinic, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTION_CHANNELS_PASSPHRASE", "")  # so that what a stage sets is undone
    monkeypatch.delenv("OPTION_CHANNELS_PASSPHRASE")
    stage, severity, check, text, remedy = FAULTS[name]
    await stage(clinic)
    findings = await clinic.examine()
    named = [each for each in findings if each.check == check and text in each.text]
    assert len(named) >= 1, findings
    assert {each.severity for each in named} == {severity}
    assert all(remedy in each.remedy for each in named), named
    assert all(each.remedy for each in findings if each.severity is not Severity.OK)


# ---- what cannot be staged without a long story, from the facts


async def ground_of(clinic: Clinic, **view: Any) -> Ground:
    (channel,) = open_channels(clinic.folder / "store.db")
    assert channel.side is Party.A
    world = clinic.world
    head = await world.rpc.block("latest")
    assert head is not None
    async with world.open(world.a) as chain:
        seen = await chain.view(channel.channel_id)
    return Ground(
        home=read_home(clinic.folder),
        deployment=world.deployment,
        now=head.timestamp,
        endpoints=(),
        channels=(channel,),
        chain=OnChain(
            rpc=world.rpc,
            head=head,
            views={channel.channel_id: attrs.evolve(seen, **view)},
        ),
    )


@pytest.mark.parametrize(
    ("view", "severity", "remedy"),
    [
        ({"contribution_a": 0}, Severity.ERROR, "deposit, or close positions"),
        ({"contribution_b": 0}, Severity.WARNING, "ask the counterparty to deposit"),
    ],
)
async def test_who_is_short_of_margin_is_named(
    clinic: Clinic, view: dict[str, Any], severity: Severity, remedy: str
) -> None:
    findings = await check_channels(await ground_of(clinic, **view))
    (named,) = [each for each in findings if each.severity is not Severity.OK]
    assert (named.check, named.severity) == ("margin", severity)
    assert named.text.partition(" is ")[0].endswith(
        "our equity" if "contribution_a" in view else "equity of the counterparty"
    )
    assert remedy in named.remedy


@pytest.mark.parametrize(
    ("phase", "changes", "severities", "text"),
    [
        (OnChainPhase.DISPUTED, {"nonce": 10_000}, [Severity.WARNING], "on our newest state"),
        (
            OnChainPhase.DISPUTED,
            {"nonce": 10_000, "cure_end_a": 4_000_000_000},
            [Severity.WARNING, Severity.ERROR],
            "our margin was called",
        ),
        (OnChainPhase.DISPUTED, {"nonce": 9_999, "cure_end_b": 4_000_000_000}, [1], "disputed"),
        (OnChainPhase.RUN_OFF, {}, [Severity.WARNING], "runs off"),
        (OnChainPhase.CLOSED, {}, [Severity.WARNING], "has ended"),
        (OnChainPhase.NONE, {}, [Severity.WARNING], "is not on the chain"),
    ],
)
async def test_each_phase_is_told(
    clinic: Clinic,
    phase: OnChainPhase,
    changes: dict[str, int],
    severities: list[Severity],
    text: str,
) -> None:
    findings = await check_disputes(await ground_of(clinic, phase=phase, **changes))
    assert [each.severity for each in findings] == severities
    assert text in findings[-1].text


@pytest.mark.anvil
def test_a_new_trader_on_a_real_node(shell: Shell) -> None:
    shell.json("init", "--home", "alice", "--rpc", shell.url)
    poor = shell.run("doctor", "--home", "alice", "--json")
    assert poor.exit_code == 1
    wallets = [each for each in json.loads(poor.output)["findings"] if each["check"] == "wallet"]
    assert [each["severity"] for each in wallets] == ["error", "warning"]

    shell.json("fund", "50000", "--home", "alice")
    well = shell.run("doctor", "--home", "alice", "--json")
    assert well.exit_code == 0, well.output
    told = {
        (each["check"], each["text"].partition(":")[0])
        for each in json.loads(well.output)["findings"]
        if each["severity"] != "ok"
    }
    assert told == {("endpoints", "there is one endpoint alone")}
    priced = shell.json("doctor", "--home", "alice")["findings"]
    (spot,) = [each for each in priced if each["check"] == "prices"]
    assert (spot["severity"], "the source offers one 0 s old" in spot["text"]) == ("ok", True)


def test_a_finding_says_what_to_do() -> None:
    with pytest.raises(BugError, match="without a remedy"):
        Finding(check="x", severity=Severity.WARNING, text="something is wrong")


def test_the_command_ends_with_1_if_something_does_not_work(tmp_path: Path) -> None:
    said = CliRunner().invoke(main, ["doctor", "--home", str(tmp_path / "none")])
    assert said.exit_code == 1
    assert "✗ configuration" in said.output
    assert "→ make one with `option-channels init`" in said.output
    told = CliRunner().invoke(main, ["doctor", "--home", str(tmp_path), "--json"])
    assert told.exit_code == 1
    (finding,) = json.loads(told.output)["findings"]
    assert (finding["check"], finding["severity"]) == ("configuration", "error")
