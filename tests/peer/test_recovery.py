"""Recovery of two peers at work: real stores, sockets, signatures and contract.

Whatever was lost: both trade again, no journal shows two signatures at one nonce, and the contract
pays out to the unit.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from channels.audit import audit
from channels.errors import StorageError
from channels.peer import recover_channels
from channels.protocol.calls import CoSigned
from channels.protocol.channel import Phase
from channels.protocol.effects import PeerRecovering, Recovered
from channels.protocol.types import Portfolio
from tests.chain.world import FUNDS, World
from tests.peer.world import (
    PATIENCE,
    RISK,
    Pair,
    Trader,
    trade,
    traders,
    trading,
)

STEP = 24
"""Seconds between blocks: a box of 120 s sees five of them."""


def remove(path: Path) -> None:
    for left_over in path.parent.glob(f"{path.name}*"):
        left_over.unlink()


def restore(copy: Path, path: Path) -> None:
    remove(path)
    shutil.copy(copy, path)


@asynccontextmanager
async def again(
    a: Trader, b: Trader, *, alice: dict[str, Any] | None = None
) -> AsyncIterator[Pair]:
    """Both start again and connect."""
    async with b.running() as bobs, a.running(**(alice or {})) as alices:
        await alices.peer.connect(str(b.listen))
        yield Pair(world=a.world, a=a, b=b, alice=alices, bob=bobs)


async def recover(pair: Pair) -> None:
    """Blocks, until both trade again."""
    for _ in range(120):
        await pair.travel(by=STEP)
        await trio.testing.wait_all_tasks_blocked()
        if pair.alice.channel.phase is Phase.IDLE is pair.bob.channel.phase:
            return
    raise AssertionError(f"{pair.alice.channel.phase.name}, {pair.bob.channel.phase.name}")


async def check_usable(pair: Pair, expected: Portfolio) -> None:
    """What stood stands, one trades on it, and the end pays every unit."""
    ours, _ = await pair.settled()
    assert ours.portfolio == expected
    assert ours.state.ledger.nonce >= 2**32
    held = sum(each.quantity for each in expected.positions) // 10**18
    await trade(pair.alice)
    await trade(pair.alice, -(held + 1))
    ours, _ = await pair.settled()
    assert ours.portfolio.positions == ()
    net = ours.portfolio.net_to_b
    await ours.close(PATIENCE)
    token = pair.world.token
    assert await token.balance(pair.world.a.address) == FUNDS - net
    assert await token.balance(pair.world.b.address) == FUNDS + net
    assert await token.balance(pair.world.deployment.adjudicator) == 0


def check_journals(*stores: Path) -> None:
    for path in stores:
        report = audit(path)
        assert report.sound, [each.text for each in report.findings]
        assert report.histories


@pytest.mark.parametrize("trades", [0, 1, 3])
@pytest.mark.parametrize("lost", ["alice", "bob", "both"])
async def test_a_restored_backup(world: World, tmp_path: Path, lost: str, trades: int) -> None:
    """The copy is ``trades`` changes behind, where one had been made before."""
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice)
        await pair.settled()
        for desk, name in ((pair.alice, "alice"), (pair.bob, "bob")):
            await desk.store.backup(tmp_path / f"{name}.copy")
        copied = pair.alice.channel.portfolio
        for _ in range(trades):
            await trade(pair.alice)
        ours, _ = await pair.settled()
        expected = copied if lost == "both" else ours.portfolio
    a, b = traders(world, tmp_path)
    for trader in (a, b):
        if lost in (trader.name, "both"):
            restore(tmp_path / f"{trader.name}.copy", trader.store_path)
    async with again(a, b) as pair:
        await recover(pair)
        await check_usable(pair, expected)
    check_journals(a.store_path, b.store_path)


async def test_what_both_are_told(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        await pair.alice.store.backup(tmp_path / "copy")
        await trade(pair.alice)
        await pair.settled()
    a, b = traders(world, tmp_path)
    restore(tmp_path / "copy", a.store_path)
    async with again(a, b) as pair:
        with pytest.raises(Exception, match="RECOVERING"):
            await trade(pair.alice)
        await recover(pair)
        await pair.bob.told(PeerRecovering)
        for desk in (pair.alice, pair.bob):
            told = await desk.told(Recovered)
            assert told.portfolio == desk.channel.portfolio
            assert told.voided == ()


async def test_a_tower_knows_more_than_the_peer(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both lost data; a tower of Alice's kept what stood last, and fails when first asked."""
    monkeypatch.setattr("channels.peer.recovery.ASK_AGAIN", 0)
    found: list[CoSigned] = []
    async with trading(world, tmp_path) as pair:
        for desk, name in ((pair.alice, "alice"), (pair.bob, "bob")):
            await desk.store.backup(tmp_path / f"{name}.copy")
        await trade(pair.alice)
        ours, _ = await pair.settled()
        expected = ours.portfolio
        evidence = ours.state.newest_evidence()
        assert evidence is not None
        found.append(evidence)
    failures = [StorageError("the tower restarts")]

    async def tower(channel_id: bytes) -> Sequence[CoSigned]:
        assert channel_id == found[0].state.channel_id
        if failures:
            raise failures.pop()
        return found

    a, b = traders(world, tmp_path)
    for trader in (a, b):
        restore(tmp_path / f"{trader.name}.copy", trader.store_path)
    async with again(a, b, alice={"sources": tower}) as pair:
        await recover(pair)
        await check_usable(pair, expected)
    check_journals(a.store_path, b.store_path)


@pytest.mark.parametrize("risk", [(), (RISK,)], ids=["asked of the peer", "given"])
async def test_nothing_but_the_key_and_the_chain(
    world: World, tmp_path: Path, risk: tuple[Any, ...]
) -> None:
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice)
        await trade(pair.bob)
        ours, _ = await pair.settled()
        expected, identity = ours.portfolio, ours.channel_id
        terms, known = ours.terms, ours.state.risk
    a, b = traders(world, tmp_path)
    remove(a.store_path)
    async with a.running() as alice:
        added = await recover_channels(alice.chain, a.signer.address, alice.store, risk=risk)
        assert added == (identity,)
        assert await recover_channels(alice.chain, a.signer.address, alice.store) == ()
    async with again(a, b) as pair:
        assert pair.alice.channel.terms == terms
        assert pair.alice.channel.phase is Phase.RECOVERING
        await recover(pair)
        assert pair.alice.channel.state.risk == known
        await check_usable(pair, expected)
    check_journals(a.store_path, b.store_path)
