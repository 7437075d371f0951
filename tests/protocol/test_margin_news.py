"""Margin calls and releases on chain, as a peer tells them to whoever embeds it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from channels.protocol.channel import Phase
from channels.protocol.effects import (
    ChannelEnded,
    Effect,
    MarginCallSeen,
    Notice,
    Notify,
    Persist,
    ReleaseSeen,
)
from channels.protocol.events import ChainSeen
from channels.protocol.facts import ChannelView, OnChainPhase
from channels.protocol.types import Party
from tests.protocol.test_machine_table import disputed
from tests.protocol.world import Peer, World

HOUR = 3_600


def told(effects: tuple[Effect, ...]) -> list[Notice]:
    return [each.notice for each in effects if isinstance(each, Notify)]


def show(world: World, peer: Peer, **changes: Any) -> tuple[Effect, ...]:
    """Let the peer see the head with this storage."""
    seen = world.chain.seen()
    assert peer.channel.view is not None
    base: ChannelView = attrs.evolve(seen.view, **changes)
    return peer.handle(ChainSeen(head=seen.head, view=base, final_view=seen.final_view))


@pytest.fixture
def scene() -> tuple[World, Peer]:
    return disputed()


def test_each_margin_call_is_told_once(scene: tuple[World, Peer]) -> None:
    world, peer = scene
    end = world.chain.time + 24 * HOUR
    effects = show(world, peer, cure_end_b=end)
    assert told(effects) == [MarginCallSeen(party=Party.B, cure_end=end)]
    assert isinstance(effects[0], Persist)
    assert show(world, peer, cure_end_b=end) == ()
    both = show(world, peer, cure_end_a=end + HOUR, cure_end_b=end)
    assert told(both) == [MarginCallSeen(party=Party.A, cure_end=end + HOUR)]
    again = show(world, peer, cure_end_a=end + HOUR, cure_end_b=end + 9 * HOUR)
    assert told(again) == [MarginCallSeen(party=Party.B, cure_end=end + 9 * HOUR)]
    assert peer.phase is Phase.DISPUTED


def test_a_margin_call_that_a_reorganisation_undid_is_told_again(
    scene: tuple[World, Peer],
) -> None:
    world, peer = scene
    end = world.chain.time + 24 * HOUR
    first = show(world, peer, cure_end_a=end)
    assert told(show(world, peer)) == []
    assert told(show(world, peer, cure_end_a=end)) == told(first) != []


def test_a_margin_call_seen_at_a_start_is_told(scene: tuple[World, Peer]) -> None:
    world, peer = scene
    end = world.chain.time + 24 * HOUR
    show(world, peer, cure_end_a=end)
    peer.restart()
    assert peer.channel.view is None
    seen = world.chain.seen()
    view = attrs.evolve(seen.view, cure_end_a=end)
    effects = peer.handle(ChainSeen(head=seen.head, view=view, final_view=view))
    assert told(effects) == [MarginCallSeen(party=Party.A, cure_end=end)]


def test_run_off_with_a_release_and_a_close_out(scene: tuple[World, Peer]) -> None:
    world, peer = scene
    end = world.chain.time + 24 * HOUR
    run_off = {"phase": OnChainPhase.RUN_OFF, "released_a": True}
    assert told(show(world, peer, **run_off)) == [
        ChannelEnded(phase=OnChainPhase.RUN_OFF),
        ReleaseSeen(party=Party.A),
    ]
    effects = show(world, peer, **run_off, released_b=True, cure_end_a=end)
    assert told(effects) == [
        MarginCallSeen(party=Party.A, cure_end=end),
        ReleaseSeen(party=Party.B),
    ]
    seen = world.chain.seen()
    paid_out = ChannelView(phase=OnChainPhase.CLOSED)
    effects = peer.handle(ChainSeen(head=seen.head, view=paid_out, final_view=seen.view))
    assert told(effects) == [ChannelEnded(phase=OnChainPhase.CLOSED)]
    assert peer.phase is Phase.CLOSED
