"""The commands, the configuration and the webhook."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import httpx
import pytest
import trio
from click.testing import CliRunner

from channels.chain.heads import Finality
from channels.cli.tower import tower
from channels.dispute import Alert, AlertCode, Level
from channels.errors import InvalidValueError
from channels.protocol.eip712 import address, checksum
from channels.protocol.watching import Receipt
from channels.tower.book import open_book
from channels.tower.config import read_config
from channels.tower.signed import SignedReceipt
from channels.tower.webhook import Webhook
from channels.tower.wire import signed_json
from channels.tower.writes import Cursor, Keep, Progress
from tests.chain.world import PATIENCE
from tests.dispute.build import DOMAIN, ID, T0
from tests.tower.build import ALICE, co_signed, kept_of, offer

ADDRESS = "0x" + "11" * 20


def config(folder: Path, more: str = "") -> Path:
    path = folder / "tower.toml"
    path.write_text(
        'rpc = ["http://one", "http://two"]\n'
        f'adjudicator = "{ADDRESS}"\n'
        'signer = "keystore:receipts.json"\n'
        'gas_account = "env:TOWER_GAS"\n' + more
    )
    return path


def test_a_configuration_is_read(tmp_path: Path) -> None:
    more = (
        'finality = 12\nbook = "other.db"\nwebhook = "https://pager"\n'
        'lanes = ["env:SECOND", "keystore:third.json"]\n'
        "[policy]\nbeat_every = 7\nrank = 2\n"
        '[intake]\nquota = 5\nshare = "1/20"\nprepaid = "1000000000000000000"\n'
        f'[prepaid]\n"{ADDRESS}" = "20"\n[value]\n"{ADDRESS}" = "2.5"\n'
    )
    found = read_config(config(tmp_path, more))
    assert found.rpc == ("http://one", "http://two")
    assert found.finality == Finality.depth(12)
    assert found.signer == f"keystore:{tmp_path}/receipts.json"
    assert found.lanes == ("env:SECOND", f"keystore:{tmp_path}/third.json")
    assert (found.book, found.jobs) == (tmp_path / "other.db", tmp_path / "jobs.db")
    assert (found.policy.beat_every, found.policy.rank) == (7, 2)
    intake = found.policy.intake
    assert (intake.quota, intake.share, intake.prepaid) == (5, Fraction(1, 20), 10**18)
    assert intake.prepaid_of(address(ADDRESS)) == 20
    assert intake.value == {address(ADDRESS): Fraction(5, 2)}


@pytest.mark.parametrize(
    "more",
    ["quota = 5\n", "listen = 5\n", "[policy]\nranks = 1\n", '[intake]\nshare = "x"\n', "= ="],
)
def test_what_a_configuration_does_not_know_is_refused(tmp_path: Path, more: str) -> None:
    with pytest.raises(InvalidValueError):
        read_config(config(tmp_path, more))


def test_a_configuration_without_a_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tower.toml"
    path.write_text('rpc = ["http://one"]\n')
    with pytest.raises(InvalidValueError, match="adjudicator, signer, gas_account"):
        read_config(path)


def receipt() -> SignedReceipt:
    value = Receipt(
        appointment_hash=bytes(32),
        channel_id=ID,
        nonce=9,
        valid_from=T0,
        valid_to=T0 + 60,
        accepted_at=1,
        longest_response=60,
        sequence=1,
    )
    return SignedReceipt(receipt=value, signature=ALICE.sign_digest(DOMAIN.digest(value)))


def test_a_receipt_is_verified_offline(tmp_path: Path) -> None:
    file = tmp_path / "receipt.json"
    document = signed_json(receipt(), DOMAIN)
    file.write_text(json.dumps(document))
    given = ["--chain-id", str(DOMAIN.chain_id), "--adjudicator", checksum(DOMAIN.adjudicator)]
    command = ["verify-receipt", str(file), "--tower", checksum(ALICE.address), *given]
    assert CliRunner().invoke(tower, command).output.startswith(f"holds: channel 0x{ID.hex()}")
    document["receipt"]["nonce"] = "10"
    file.write_text(json.dumps(document))
    assert CliRunner().invoke(tower, command).exit_code == 1


def test_a_book_moves_as_lines_and_the_newer_entry_stays(tmp_path: Path) -> None:
    old, new = kept_of(offer(co_signed(9))), kept_of(offer(co_signed(12), sequence=2))

    async def fill(name: str, kept: object) -> None:
        async with open_book(tmp_path / name) as book:
            await book.write(Keep(kept))  # type: ignore[arg-type]
            await book.write(Progress(cursor=Cursor(number=7, hash=bytes(32), disputes=0)))

    trio.run(fill, "one.db", new)
    trio.run(fill, "two.db", old)
    runner, lines = CliRunner(), tmp_path / "entries.jsonl"
    listed = runner.invoke(tower, ["channels", str(tmp_path / "one.db"), "--json"])
    assert json.loads(listed.output)["channels"][0]["nonces"] == ["12"]
    assert runner.invoke(tower, ["export", str(tmp_path / "one.db"), str(lines)]).exit_code == 0
    taken = runner.invoke(tower, ["import", str(tmp_path / "two.db"), str(lines)])
    assert taken.output == "1 entries taken, 0 left as they are newer here\n"
    again = runner.invoke(tower, ["import", str(tmp_path / "two.db"), str(lines)])
    assert again.output == "0 entries taken, 1 left as they are newer here\n"

    async def look() -> None:
        async with open_book(tmp_path / "two.db") as book:
            assert book.kept(new.key) == new
            assert book.cursor is None  # the next run reads every channel

    trio.run(look)
    lines.write_text("{}\n")
    assert runner.invoke(tower, ["import", str(tmp_path / "two.db"), str(lines)]).exit_code == 1


def test_the_drill_is_answered() -> None:
    answer = CliRunner().invoke(tower, ["drill", "--json"])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert (told["filed"]["nonce"], told["recorded"]["nonce"]) == ("3", "40")
    assert told["receipt"] == "40"


async def test_a_webhook_is_told_until_it_listens() -> None:
    told: list[dict[str, object]] = []
    answers = [500, 200, 200]
    done = trio.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        told.append(json.loads(request.content))
        if len(told) == 3:
            done.set()
        return httpx.Response(answers[len(told) - 1])

    webhook = Webhook("https://pager", transport=httpx.MockTransport(answer), pause=0.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(webhook.run)
        for code in (AlertCode.STALE_DISPUTE, AlertCode.DEADLINE_NEAR):
            await webhook.tell(Alert(level=Level.WARNING, code=code, text="x", channel_id=ID))
        with trio.fail_after(PATIENCE):
            await done.wait()
        nursery.cancel_scope.cancel()
    assert [each["code"] for each in told] == ["STALE_DISPUTE", "STALE_DISPUTE", "DEADLINE_NEAR"]
    assert told[0]["channel"] == "0x" + ID.hex()
