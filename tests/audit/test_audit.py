"""An audit of real stores: what holds, what was tampered with, and what the tables add up to."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from channels.audit import TABLES, AuditReport, ChannelHistory, audit, lots, write_tables
from channels.cli.main import main
from channels.desk import explain_all
from channels.errors import StorageError
from channels.protocol import records
from channels.protocol.channel import Channel
from channels.protocol.effects import Deed
from channels.protocol.ledger import Entry
from channels.protocol.signing import LocalSigner
from channels.protocol.types import EMPTY_PORTFOLIO, State
from channels.storage import verify_journal
from channels.storage.journal import entry_hash
from tests.chain.world import World
from tests.peer.world import UNIT, WAD, put, trade, trading


@attrs.frozen
class Traded:
    """Both stores after some business, and what alice's channel was at the end."""

    alice: Path
    bob: Path
    channel: Channel


@pytest.fixture
async def traded(world: World, tmp_path: Path) -> Traded:
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice, 2)
        await trade(pair.alice, -1)
        pair.a.market.spot = pair.b.market.spot = 3_010 * WAD
        await pair.alice.channel.remark()
        await pair.alice.channel.propose_trade([put(pair.alice, -3)], [100 * WAD])
        ours, _ = await pair.settled()
        channel = ours.state
    return Traded(alice=pair.a.store_path, bob=pair.b.store_path, channel=channel)


def the_channel(report: AuditReport) -> ChannelHistory:
    (history,) = report.histories
    return history


@contextmanager
def tampering(path: Path) -> Iterator[sqlite3.Connection]:
    """Write into a store as somebody who has the file can."""
    connection = sqlite3.connect(path)
    for trigger in ("journal_is_not_updated", "journal_is_not_deleted"):
        connection.execute(f"DROP TRIGGER {trigger}")
    yield connection
    connection.commit()
    connection.close()


def forge(path: Path, seq: int, body: bytes, kind: int | None = None) -> None:
    """Replace the body of an entry, and make the hash chain good again from there on."""
    entries = list(verify_journal(path))
    with tampering(path) as connection:
        (previous,) = connection.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()
        for each in entries:
            changed = attrs.evolve(each)
            if each.seq == seq:
                changed = attrs.evolve(each, body=body, kind=each.kind if kind is None else kind)
            previous = entry_hash(
                previous, each.seq, each.channel_id, each.time, changed.kind, changed.body
            )
            connection.execute(
                "UPDATE journal SET body = ?, kind = ?, hash = ? WHERE seq = ?",
                (changed.body, changed.kind, previous, each.seq),
            )


def last_full(path: Path) -> tuple[int, Deed, Entry]:
    """The newest journal entry that made a state permanent."""
    found = [
        (each.seq, deed, entries[-1])
        for each in verify_journal(path)
        for deed, _, entries in [records.decode_journal_entry(each.body)]
        if deed in (Deed.FULL, Deed.CONFIRMED)
    ]
    return found[-1]


async def test_both_sides_of_honest_business_are_sound_and_end_alike(traded: Traded) -> None:
    ours, theirs = audit(traded.alice), audit(traded.bob)
    assert ours.sound, ours.findings
    assert theirs.sound, theirs.findings
    for report in (ours, theirs):
        history = the_channel(report)
        assert history.portfolios[0] == EMPTY_PORTFOLIO
        assert history.portfolios[-1] == traded.channel.portfolio
        assert len(history.settled) == 4
        # Each change takes four signatures: two on the boxed state, two on its affirmation.
        assert history.signatures == 16


async def test_a_changed_byte_breaks_the_chain_there(traded: Traded) -> None:
    with tampering(traded.alice) as connection:
        connection.execute("UPDATE journal SET body = x'00' WHERE seq = 5")
    report = audit(traded.alice)
    assert [each.seq for each in report.findings] == [5]
    assert report.head.seq == 4


async def test_a_journal_written_anew_differs_from_a_known_head(traded: Traded) -> None:
    known = audit(traded.alice).head
    seq, _, _ = last_full(traded.alice)
    (entry,) = (each for each in verify_journal(traded.alice) if each.seq == seq)
    forge(traded.alice, 2, next(iter(verify_journal(traded.alice))).body)
    assert not audit(traded.alice, known=known).sound
    assert entry.hash != audit(traded.alice).head.hash


async def test_a_cut_end_shows_against_the_store_and_against_a_known_head(traded: Traded) -> None:
    known = audit(traded.alice).head
    with tampering(traded.alice) as connection:
        connection.execute("DELETE FROM journal WHERE seq > ?", (known.seq - 2,))
    assert "the store stands at" in audit(traded.alice).findings[0].text
    assert "which was known" in audit(traded.alice, known=known).findings[0].text


async def test_a_forged_signature_is_named_though_the_chain_is_good(traded: Traded) -> None:
    seq, deed, entry = last_full(traded.alice)
    forger = LocalSigner.generate()
    forged = attrs.evolve(
        entry, theirs=forger.sign_digest(traded.channel.signable(entry.value).digest)
    )
    forge(
        traded.alice,
        seq,
        records.encode_journal_entry(deed, (forged,), traded.channel),
    )
    texts = [each.text for each in audit(traded.alice).findings]
    assert any(f"0x{forger.address.hex()}" in text for text in texts)


async def test_two_states_at_one_nonce_are_told(traded: Traded, world: World) -> None:
    seq, deed, entry = last_full(traded.alice)
    assert isinstance(entry.value, State)
    other = attrs.evolve(entry.value, portfolio=attrs.evolve(entry.value.portfolio, net_to_b=1))
    twin = attrs.evolve(
        entry,
        value=other,
        mine=world.signer_a.sign_digest(traded.channel.signable(other).digest),
        theirs=None,
    )
    forge(
        traded.alice,
        seq,
        records.encode_journal_entry(deed, (twin, entry), traded.channel),
    )
    texts = [each.text for each in audit(traded.alice).findings]
    assert f"A signed two things at nonce {entry.nonce}" in texts


async def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.db"
    rubbish.write_bytes(b"not a database, but long enough to look at" * 40)
    with pytest.raises(StorageError):
        audit(rubbish)


async def test_lots_add_up_to_positions_and_know_their_trades(traded: Traded) -> None:
    history = the_channel(audit(traded.alice))
    standing, ended = lots(history.settled)
    by_series: dict[Any, int] = {}
    for lot in standing:
        by_series[lot.series] = by_series.get(lot.series, 0) + lot.quantity
    positions = traded.channel.portfolio.positions
    assert by_series == {each.series: each.quantity for each in positions}
    # Bought 2, sold 1 of the first lot, sold 3: the rest of it goes, and 2 short are left.
    assert [each.lot.quantity for each in ended] == [WAD, WAD]
    assert len({each.lot.trade_id for each in ended}) == 1
    assert [lot.quantity for lot in standing] == [-2 * WAD]
    assert standing[0].trade_id == ended[1].closed_by


async def test_tables_are_whole_and_add_up(traded: Traded, tmp_path: Path) -> None:
    history = the_channel(audit(traded.bob))
    paths = {path.stem: path for path in write_tables(history, tmp_path / "csv")}
    assert set(paths) == set(TABLES)
    rows = {
        name: list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        for name, path in paths.items()
    }
    cash = sum(int(row["cash"]) for row in rows["cashflows"])
    assert cash == traded.channel.portfolio.net_to_b  # seen from B, who receives it
    assert cash == sum(int(row["cash"]) for row in rows["trades"])
    assert [Decimal(row["quantity"]) for row in rows["trades"]] == [-2, 1, 3]
    profit = explain_all(history.portfolios, side=history.channel.side, unit=UNIT).total
    assert sum(int(row["profit"]) for row in rows["events"]) == profit
    for row in rows["events"]:
        parts = ("delta", "gamma", "vega", "theta", "carry", "trades", "residual")
        assert sum(int(row[part]) for part in parts) == int(row["profit"])
    name = rows["positions"][0]["instrument"]
    assert name.startswith("ETH-USD-")
    assert name.endswith("-3000-P")
    assert rows["marks"][0]["spot"] == "3000"


async def test_the_command_prints_a_head_that_the_next_audit_takes(
    traded: Traded, tmp_path: Path
) -> None:
    runner = CliRunner()
    first = runner.invoke(main, ["audit", str(traded.alice), "--csv", str(tmp_path / "csv")])
    assert first.exit_code == 0, first.output
    (line,) = (each for each in first.output.splitlines() if each.startswith("head "))
    again = runner.invoke(
        main, ["audit", str(traded.alice), "--head", line.removeprefix("head "), "--json"]
    )
    assert json.loads(again.output)["sound"] is True
    assert len(list((tmp_path / "csv").glob("*/*.csv"))) == len(TABLES)
    with tampering(traded.alice) as connection:
        connection.execute("UPDATE journal SET time = time + 1 WHERE seq = 3")
    broken = runner.invoke(main, ["audit", str(traded.alice)])
    assert broken.exit_code == 1
    assert "entry 3" in broken.output


def test_the_command_explains_a_head_it_cannot_read(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    store.touch()
    result = CliRunner().invoke(main, ["audit", str(store), "--head", "12"])
    assert result.exit_code == 1
    assert "'12' is no head" in result.output
