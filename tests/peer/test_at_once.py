"""Re-marks are decided on by the task that reads, where it surely gets to the end of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from channels.peer.decisions import Decisions
from channels.protocol.changes import Remark
from channels.protocol.effects import Outcome
from channels.protocol.eip712 import Address
from channels.protocol.signing import LocalSigner, Signable, Signature
from channels.units import WAD
from tests.chain.world import World
from tests.peer.world import Pair, put, trade, trading


class Elsewhere:
    """A key in another process, for all that a peer knows."""

    def __init__(self, key: LocalSigner) -> None:
        self._key = key

    @property
    def address(self) -> Address:
        return self._key.address

    async def sign(self, signable: Signable) -> Signature:
        await trio.lowlevel.checkpoint()
        return await self._key.sign(signable)


def begun_in_tasks(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what Bob begins in tasks of their own from here on."""
    names: list[str] = []
    start = pair.bob.peer._tasks.start

    def record(identity: bytes, work: Callable[[], Awaitable[object]]) -> None:
        assert isinstance(work, partial)
        names.append(work.func.__name__)
        start(identity, work)

    monkeypatch.setattr(pair.bob.peer._tasks, "start", record)
    return names


async def test_a_remark_costs_no_task_and_a_trade_has_one(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner's code decides on trades, and may take its time."""
    async with trading(world, tmp_path) as pair:
        begun = begun_in_tasks(pair, monkeypatch)
        await pair.channel.propose_trade([put(pair.alice, 1)], [300 * WAD])
        assert begun.count("_decide") == 1
        await remark(pair)
        assert begun.count("_decide") == 1


async def test_a_key_elsewhere_holds_up_no_other_channel(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"bob": {"signer": Elsewhere(world.signer_b)}}
    async with trading(world, tmp_path, **options) as pair:
        await trade(pair.alice)
        begun = begun_in_tasks(pair, monkeypatch)
        await remark(pair)
        assert begun.count("_decide") == 1


async def test_it_is_decided_even_as_the_connection_ends(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proposal whose decision was lost would hold up the channel until its box has passed."""
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice)
        answer, asked = Decisions.answer, list[bool]()

        async def answer_last(of: Decisions, outcome: Outcome, *, at_once: bool) -> None:
            with trio.CancelScope() as scope:
                scope.cancel()
                await answer(of, outcome, at_once=at_once)
                asked.append(at_once)

        monkeypatch.setattr(Decisions, "answer", answer_last)
        await remark(pair)
        assert asked == [True]


async def remark(pair: Pair) -> None:
    """Alice's market moves by a little, and she re-marks."""
    await pair.settled()
    pair.a.market.spot += WAD
    confirmed = await pair.channel.remark()
    assert confirmed.change == Remark()
    assert confirmed.ours
    await pair.settled()
