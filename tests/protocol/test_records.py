"""Channels and journal entries as bytes: what goes in comes out, and damage has a name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.errors import SchemaVersionError, StorageError
from channels.protocol import events as e
from channels.protocol.channel import Channel, Contributed, Mode, Phase, Recovery
from channels.protocol.codec import PORTFOLIO
from channels.protocol.effects import Deed
from channels.protocol.halts import Cause, Halt
from channels.protocol.ledger import Entry
from channels.protocol.records import (
    JOURNAL_VERSION,
    RECORD_VERSION,
    _from_version_2,
    decode_channel,
    decode_journal_deposit,
    decode_journal_entry,
    decode_journal_stands,
    encode_channel,
    encode_journal_entry,
)
from channels.protocol.types import Party, Portfolio, State, Withdrawal
from tests.protocol.build import DEPOSIT, make_draft, make_leg, make_trade
from tests.protocol.test_machine_table import SCENES, Scene
from tests.protocol.world import opened

A, B = Party.A, Party.B


def quoted() -> Scene:
    world = opened()
    world.trade(A)
    sides = tuple(
        make_draft(world.bob.channel.portfolio, make_trade(make_leg(sign)), world.chain.time)
        for sign in (1, -1)
    )
    world.bob.handle(
        e.SendQuote(request_id=bytes(range(16)), sides=sides, expires_at=9, now=world.chain.time)
    )
    world.deliver_all()
    return world, world.alice


def halted() -> Scene:
    world = opened()
    world.alice.handle(e.SetMode(mode=Mode.HALTED, reason="é" * 400))
    return world, world.alice


def called() -> Scene:
    """A margin call each way, and every cause of a halt at once."""
    world = opened()
    world.trade(A)
    for peer in world.peers:
        peer.handle(e.IssueMarginCall(amount=7, due_by=world.chain.time + 86_400))
    world.deliver_all()
    for cause in Cause:
        world.alice.handle(e.SetMode(mode=Mode.REDUCE_ONLY, reason="x" * 400, cause=cause))
    return world, world.alice


def withdrawing() -> Scene:
    """A asked for money back: an entry that is no state, with a state in it."""
    world = opened()
    world.trade(A, make_trade(make_leg(1)))
    world.deliver_all()
    world.alice.handle(e.RequestWithdrawal(ours=7, theirs=0))
    world.deliver_all()
    return world, world.bob


def collided() -> Scene:
    world = opened()
    world.propose(A)
    world.propose(B, make_trade(make_leg(-2)))
    world.deliver_all()
    return world, world.bob


ALL: dict[str, Callable[[], Scene]] = {
    **{phase.name: scene for phase, scene in SCENES.items()},
    "quoted": quoted,
    "halted": halted,
    "collided": collided,
    "called": called,
    "withdrawing": withdrawing,
}


def both_channels() -> list[tuple[str, Channel]]:
    found = []
    for name, scene in ALL.items():
        world, _ = scene()
        found += [(f"{name} of {each.side.name}", each.channel) for each in world.peers]
    return found


CHANNELS = dict(both_channels())


def without_chain(channel: Channel) -> Channel:
    """What the chain says is read again after a start, never from the store."""
    return attrs.evolve(channel, head=None, view=None, final_view=None, now=None)


@pytest.mark.parametrize("name", CHANNELS)
def test_round_trip(name: str) -> None:
    channel = CHANNELS[name]
    record = encode_channel(channel)
    read = decode_channel(record)
    assert read == without_chain(channel)
    assert encode_channel(read) == record
    assert read.channel_id == channel.channel_id


def test_every_phase_is_among_them() -> None:
    assert {channel.phase for channel in CHANNELS.values()} == set(Phase)


def test_no_module_path_is_stored() -> None:
    for channel in CHANNELS.values():
        record = encode_channel(channel)
        assert b"channels" not in record
        assert b"State" not in record


@pytest.mark.parametrize("version", [0, 7, 255, -1, None, "1", 1.0, True, [1]])
def test_other_versions(version: object) -> None:
    assert (RECORD_VERSION, JOURNAL_VERSION) == (6, 4)
    for record, decode in (
        (encode_channel(CHANNELS["IDLE of A"]), decode_channel),
        (encode_journal_entry(Deed.FULL, (), CHANNELS["IDLE of A"]), decode_journal_entry),
    ):
        item = msgpack.unpackb(record)
        item[0] = version
        with pytest.raises(SchemaVersionError) as caught:
            decode(msgpack.packb(item))
        assert caught.value.fault == "ours"
        assert caught.value.next_step


def saved(file: str) -> Any:
    return json.loads((Path(__file__).parent / "saved" / file).read_text())


SAVED = saved("channels-v1.json")
"""Records that version 1 of this code wrote of the scenes named."""
SAVED_5 = saved("channels-v5.json")
"""Version 5 records of the scenes named, and of each a version 3 journal entry.

The entry is a `Deed.MODE` with all of the ledger's entries, in which A paid in 5 and was paid 6.
"""


def record_of_version_5(name: str) -> Any:
    """Its fields, without the version: for tests of older ones, which this code cannot write."""
    version, *fields = msgpack.unpackb(bytes.fromhex(SAVED_5[name]["record"]))
    assert version == 5
    return fields


@pytest.mark.parametrize("name", SAVED_5)
def test_version_5_reads_as_what_was_written(name: str) -> None:
    channel = without_chain(CHANNELS[name])
    assert decode_channel(bytes.fromhex(SAVED_5[name]["record"])) == channel
    body = bytes.fromhex(SAVED_5[name]["journal"])
    assert decode_journal_entry(body) == (Deed.MODE, channel.phase, channel.ledger.entries)
    assert decode_journal_deposit(body) == Contributed(a=5, b=-6)
    stands = decode_journal_stands(body)
    assert stands is not None
    assert (stands.halts, stands.call_made) == (channel.halts, channel.call_made)


def _portfolios_of(channel: Channel) -> list[Portfolio]:
    """Every portfolio in the ledger, as often as a state carries it."""
    values = [channel.ledger.full.state, *[each.value for each in channel.ledger.entries]]
    states = [each.state if isinstance(each, Withdrawal) else each for each in values]
    return [each.portfolio for each in states if isinstance(each, State)]


@pytest.mark.parametrize("name", CHANNELS)
def test_a_portfolio_is_written_once(name: str) -> None:
    channel = attrs.evolve(CHANNELS[name], outbox=())
    carried = _portfolios_of(channel)
    record = encode_channel(channel)
    body = encode_journal_entry(Deed.FULL, channel.ledger.entries, channel)
    for portfolio in set(carried):
        packed = PORTFOLIO.pack(portfolio)
        assert record.count(packed) == 1
        assert body.count(packed) == (portfolio in carried[1:])
    version, portfolios, *_ = msgpack.unpackb(record)
    assert (version, len(portfolios)) == (6, len(set(carried)))


def _damaged(record: bytes, place: int, change: Callable[[list[Any]], list[Any]]) -> bytes:
    item = msgpack.unpackb(record)
    item[place] = change(item[place])
    damaged: bytes = msgpack.packb(item)
    return damaged


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda portfolios: portfolios[1:], "is missing"),
        (lambda portfolios: portfolios[:-1], "is missing"),
        (lambda portfolios: portfolios[::-1], "in another order"),
        (lambda portfolios: [*portfolios, portfolios[0]], "in another order"),
        (lambda portfolios: [[bytes(16), *portfolios[0][1:]], *portfolios], "no state carries"),
    ],
)
def test_portfolios_other_than_those_carried_are_damage(
    change: Callable[[list[Any]], list[Any]], why: str
) -> None:
    channel = CHANNELS["collided of B"]
    record = encode_channel(channel)
    with pytest.raises(StorageError, match=why):
        decode_channel(_damaged(record, 1, change))
    full = Entry(value=channel.ledger.full.state)
    body = encode_journal_entry(Deed.FULL, (full, *channel.ledger.entries), channel)
    assert decode_journal_entry(body)[2] == (full, *channel.ledger.entries)
    with pytest.raises(StorageError, match=why):
        decode_journal_entry(_damaged(body, 3, change))


def test_what_is_written_does_not_depend_on_what_was_written_before() -> None:
    """Bytes are kept by identity: a channel read anew shares no object with the one written."""
    for channel in CHANNELS.values():
        record = encode_channel(channel)
        for again in (channel, decode_channel(record), attrs.evolve(channel, peer_ready=True)):
            assert encode_channel(again) == encode_channel(decode_channel(encode_channel(again)))
        moved = attrs.evolve(channel, disputed_at=channel.disputed_at + 1)
        assert decode_channel(encode_channel(moved)) == without_chain(moved)


@pytest.mark.parametrize("name", SAVED)
def test_version_1_reads_as_what_was_written(name: str) -> None:
    """The same scene written today, but for the halt, whose cause version 1 did not know.

    And but for a recovery: nobody had been asked yet, and nothing was taken from the outbox. What
    the journal knows of deposits it did not say.
    """
    read = decode_channel(bytes.fromhex(SAVED[name]))
    expected = attrs.evolve(without_chain(CHANNELS[name]), contributed=None)
    if expected.phase is Phase.RECOVERING:
        assert read.recovery == Recovery(leads=True)
        read = attrs.evolve(read, recovery=expected.recovery, outbox=expected.outbox)
    assert read == expected
    assert (read.call_made, read.call_received) == (None, None)


def test_a_version_1_mode_is_an_operators_word() -> None:
    read = decode_channel(bytes.fromhex(SAVED["halted of A"]))
    assert read.halts == (Halt(cause=Cause.OPERATOR, mode=Mode.HALTED, reason="é" * 400),)
    assert (read.mode, read.mode_reason) == (Mode.HALTED, "é" * 400)


@pytest.mark.parametrize(("index", "wrong"), [(4, 9), (4, "x"), (5, None), (9, 0)])
def test_a_damaged_version_1_record(index: int, wrong: object) -> None:
    item = msgpack.unpackb(bytes.fromhex(SAVED["halted of A"]))
    damaged = [*item[:index], wrong, *item[index + 1 :]]
    with pytest.raises(StorageError):
        decode_channel(msgpack.packb(damaged))


RICH = ["called of A", "ACCEPTED of B", "quoted of A", "CLOSING of A", "SUBMITTED of A"]


@pytest.mark.parametrize("name", RICH)
def test_every_truncation_is_damage(name: str) -> None:
    record = encode_channel(CHANNELS[name])
    for length in range(0, len(record), 3):
        with pytest.raises(StorageError):
            decode_channel(record[:length])
    with pytest.raises(StorageError):
        decode_channel(record + b"\x00")


@pytest.mark.parametrize("name", RICH)
def test_every_damaged_byte_is_damage_or_another_channel(name: str) -> None:
    """A flipped byte raises nothing but StorageError, and never reads as the same channel."""
    channel = CHANNELS[name]
    record = encode_channel(channel)
    for index in range(0, len(record), 7):
        for bit in (0x01, 0x80):
            damaged = bytearray(record)
            damaged[index] ^= bit
            try:
                read = decode_channel(bytes(damaged))
            except StorageError:
                continue
            assert read != without_chain(channel)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_rubbish_is_damage(record: bytes) -> None:
    for decode in (decode_channel, decode_journal_entry):
        with pytest.raises(StorageError):
            decode(record)


def _field_paths(item: Any) -> list[tuple[int, ...]]:
    """Every field of a record, and every field of its ledger's first entry."""
    paths: list[tuple[int, ...]] = [(index,) for index in range(1, len(item))]
    for path in list(paths):
        held = item[path[0]]
        if isinstance(held, list):
            paths += [(*path, index) for index in range(len(held))]
    return paths


def _set(item: Any, path: tuple[int, ...], value: object) -> Any:
    copy = list(item)
    copy[path[0]] = _set(copy[path[0]], path[1:], value) if len(path) > 1 else value
    return copy


@pytest.mark.parametrize("wrong", [None, -1, 10**6, "x", b"x", [], [[]], True, 1.5, [0, 1]])
def test_a_wrong_field_is_damage(wrong: object) -> None:
    """Where a field may take the value, it reads as that and encodes back to the same bytes."""
    item = msgpack.unpackb(encode_channel(CHANNELS["ACCEPTED of B"]))
    refused = 0
    for path in _field_paths(item):
        record = msgpack.packb(_set(item, path, wrong))
        try:
            assert encode_channel(decode_channel(record)) == record
        except StorageError:
            refused += 1
    assert refused >= 5


def test_a_field_missing_or_too_many_is_damage() -> None:
    item = msgpack.unpackb(encode_channel(CHANNELS["IDLE of A"]))
    for wrong in (item[:-1], [*item, 0], item[:1], []):
        with pytest.raises(StorageError):
            decode_channel(msgpack.packb(wrong))


@pytest.mark.parametrize("name", RICH)
def test_journal_entries_round_trip(name: str) -> None:
    channel = CHANNELS[name]
    entries = channel.ledger.entries
    for deed in Deed:
        body = encode_journal_entry(deed, entries, channel)
        assert decode_journal_entry(body) == (deed, channel.phase, entries)
        for length in range(0, len(body), 11):
            with pytest.raises(StorageError):
                decode_journal_entry(body[:length])


@pytest.mark.parametrize(
    ("index", "wrong"), [(1, 99), (1, "x"), (2, 99), (3, 7), (3, [1]), (4, 7), (4, [1])]
)
def test_a_damaged_journal_entry(index: int, wrong: object) -> None:
    item = msgpack.unpackb(encode_journal_entry(Deed.FULL, (), CHANNELS["IDLE of A"]))
    item[index] = wrong
    with pytest.raises(StorageError):
        decode_journal_entry(msgpack.packb(item))


def test_a_long_reason_reads_back_as_it_was_told() -> None:
    """The store cuts text at 400 characters: then so must the channel, or the two differ."""
    world = opened()
    world.alice.handle(e.SetMode(mode=Mode.HALTED, reason="x" * 401))
    stored = decode_channel(encode_channel(world.alice.channel))
    assert stored == without_chain(world.alice.channel)


def test_a_version_2_quote_is_all_or_none() -> None:
    """Version 2 wrote quotes without the parts they may be taken in: their last field."""
    fields = record_of_version_5("quoted of B")[:-2]
    lists = {place: each for place, each in enumerate(fields) if isinstance(each, list) and each}
    (place,) = (at for at, each in lists.items() if str(each[-1]).startswith("[31, "))
    *earlier, quote = fields[place]
    assert quote[-1] == 10**18
    written = [*fields[:place], [*earlier, quote[:-1]], *fields[place + 1 :]]
    assert _from_version_2(written) == fields


@pytest.mark.parametrize("name", ["ACCEPTED of B", "RECOVERING of A", "CLOSING of A"])
def test_a_version_3_record_knows_no_recovery(name: str) -> None:
    """Version 3 wrote neither the recovery, its last field, nor the time for one, its timing's."""
    channel = attrs.evolve(CHANNELS[name], contributed=None)
    agreed, *moving, _, _ = record_of_version_5(name)
    *before, (slot, box, void_grace, _) = msgpack.unpackb(agreed)
    timing = [slot, box, void_grace]
    old = msgpack.packb([3, msgpack.packb([*before, timing]), *moving])
    read = decode_channel(old)
    assert read.timing == attrs.evolve(channel.timing, recovery_time=6 * 3_600)
    assert read.recovery == Recovery(leads=name.startswith("RECOVERING"))
    rest = attrs.evolve(read, timing=channel.timing, recovery=channel.recovery)
    assert rest == without_chain(channel)


def test_a_version_4_record_knows_of_no_deposits() -> None:
    channel = CHANNELS["collided of B"]
    assert channel.contributed == Contributed(a=DEPOSIT, b=DEPOSIT)
    read = decode_channel(msgpack.packb([4, *record_of_version_5("collided of B")[:-1]]))
    assert read == attrs.evolve(without_chain(channel), contributed=None)


def test_a_journal_entry_of_version_2_tells_of_no_deposit() -> None:
    body = bytes.fromhex(SAVED_5["CLOSING of A"]["journal"])
    old = msgpack.packb([2, *msgpack.unpackb(body)[1:-1]])
    assert decode_journal_deposit(old) is None
    assert decode_journal_stands(old) == decode_journal_stands(body) is not None


def test_a_journal_entry_of_version_1() -> None:
    channel = CHANNELS["ACCEPTED of B"]
    item = msgpack.unpackb(bytes.fromhex(SAVED_5["ACCEPTED of B"]["journal"]))
    old = msgpack.packb([1, *item[1:-2]])
    assert decode_journal_entry(old) == (Deed.MODE, channel.phase, channel.ledger.entries)
    assert decode_journal_stands(old) is None


def test_the_journal_says_what_stands_after_a_mode_and_a_call() -> None:
    channel = CHANNELS["called of A"]
    for deed in Deed:
        stands = decode_journal_stands(encode_journal_entry(deed, (), channel))
        if deed not in (Deed.MODE, Deed.MARGIN_CALL):
            assert stands is None
            continue
        assert stands is not None
        assert stands.halts == channel.halts
        assert (stands.call_made, stands.call_received) == (
            channel.call_made,
            channel.call_received,
        )
        assert channel.call_made or channel.call_received
