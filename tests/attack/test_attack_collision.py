"""Both propose at once: the higher nonce goes first, the other lapses, and nobody is stuck."""

from __future__ import annotations

import pytest

from channels.errors import SigningRefusedError
from channels.protocol import events as e
from channels.protocol.channel import Phase
from channels.protocol.effects import ChangeConfirmed, ProposalLapsed, ProposalReceived
from channels.protocol.types import Party
from tests.protocol.build import make_leg, make_trade
from tests.protocol.world import World, opened

A, B = Party.A, Party.B
BUY = make_trade(make_leg(1, price=100))
SELL = make_trade(make_leg(-1, price=90))


def _crossed() -> World:
    """A's proposal at 1 and B's at 2 pass each other on the link."""
    world = opened()
    assert world.propose(A, BUY) == 1
    assert world.propose(B, SELL) == 2
    world.deliver_all()
    return world


def test_only_the_receiver_of_the_higher_nonce_decides() -> None:
    world = _crossed()
    assert [each.nonce for each in _received(world, A)] == [2]
    assert _received(world, B) == []
    assert (world.alice.phase, world.bob.phase) == (Phase.RECEIVED, Phase.PROPOSED)


def _received(world: World, side: Party) -> list[ProposalReceived]:
    return world.peer(side).told(ProposalReceived)


def test_the_higher_is_accepted_and_the_lower_lapses() -> None:
    world = _crossed()
    world.answer(A)
    world.deliver_all()
    assert [peer.channel.ledger.nonce for peer in world.peers] == [3, 3]
    assert [peer.phase for peer in world.peers] == [Phase.IDLE, Phase.IDLE]
    for peer in world.peers:
        (position,) = peer.channel.portfolio.positions
        assert position.quantity == -(10**18)
    assert world.alice.told(ProposalLapsed) == [ProposalLapsed(nonces=(1,), overtaken=True)]
    assert len(world.bob.told(ChangeConfirmed)) == 1
    assert world.trade(A, BUY) == 6, "its own again afterwards"


@pytest.mark.parametrize("first", [A, B])
def test_the_order_of_arrival_is_the_same(first: Party) -> None:
    world = opened()
    world.propose(A, BUY)
    world.propose(B, SELL)
    world.deliver(first)
    world.deliver(first.other)
    world.answer(A, nonce=2)
    world.deliver_all()
    assert [peer.channel.ledger.nonce for peer in world.peers] == [3, 3]


def test_a_rejected_collision_frees_both_after_the_box() -> None:
    world = _crossed()
    world.answer(A, accept=False)
    world.deliver_all()
    world.wait_out_box()
    world.deliver_all()
    assert [peer.phase for peer in world.peers] == [Phase.IDLE, Phase.IDLE]
    assert world.trade(A, BUY) > 2
    assert world.trade(B, SELL) > 4


def test_nobody_accepts_both() -> None:
    """After the collision is decided the lower proposal cannot be taken by a late message."""
    world = _crossed()
    world.answer(A)
    world.deliver_all()
    assert 1 not in [each.value.nonce for each in world.bob.emitted]
    assert 2 in [each.value.nonce for each in world.alice.emitted]


def test_collision_over_a_lost_link() -> None:
    """Both proposals wait in their outboxes and cross after the reconnect."""
    world = opened()
    world.disconnect()
    world.propose(A, BUY)
    world.propose(B, SELL)
    world.reconnect()
    world.deliver_all()
    world.answer(A)
    world.deliver_all()
    assert [peer.channel.ledger.nonce for peer in world.peers] == [3, 3]


def test_both_ask_to_close_at_once() -> None:
    """Each signed a Closing, so rule 6 lets neither countersign: an hour later both are free."""
    world = opened()
    for peer in world.peers:
        peer.handle(e.RequestClose(now=world.chain.time))
    world.deliver_all()
    for peer in world.peers:
        for nonce in list(peer.waiting):
            try:
                world.answer(peer.side, nonce=nonce)
            except SigningRefusedError:  # by rule 6 or rule 1; then it declines
                world.answer(peer.side, nonce=nonce, accept=False)
    world.deliver_all()
    world.mine(600, blocks=8 + 4)
    world.deliver_all()
    assert [peer.phase for peer in world.peers] == [Phase.IDLE, Phase.IDLE]
    world.alice.handle(e.RequestClose(now=world.chain.time))
    world.deliver_all()
    world.answer(B)
    world.deliver_all()
    world.mine(blocks=2)
    assert [peer.phase for peer in world.peers] == [Phase.CLOSED, Phase.CLOSED]


def test_a_void_that_crosses_a_higher_nonce_of_the_other() -> None:
    """B voids at 2 what A has left behind with a Closing at 3: nobody can countersign the void.

    B must not wait for that Confirm for ever: within the boxes and their finality both are free.
    """
    world = opened()
    world.propose(A)
    world.deliver_all()
    world.answer(B, accept=False)
    assert world.phases == [Phase.PROPOSED, Phase.VOIDING]
    world.disconnect()
    world.mine(60, blocks=8)
    assert world.phases == [Phase.IDLE, Phase.IDLE]
    world.alice.handle(e.RequestClose(now=world.chain.time))
    world.reconnect()
    world.deliver_all()
    for nonce in list(world.bob.waiting):
        world.answer(B, nonce=nonce, accept=False)
    for _ in range(80):
        world.mine(60)
        world.deliver_all()
    assert world.phases == [Phase.IDLE, Phase.IDLE]
    for side in Party:
        assert world.trade(side, BUY if side is A else SELL) > 3


def test_a_void_does_not_repeat_itself_to_a_deaf_peer_for_ever() -> None:
    """B's void is refused at every head (A signed above it): B stops, and can trade again."""
    world = opened()
    world.propose(A)
    world.deliver_all()
    world.answer(B, accept=False)
    world.disconnect()
    world.mine(60, blocks=8)
    world.propose(A)
    world.connected = True
    world.mine(60, blocks=16)
    world.deliver_all()
    assert world.phases == [Phase.IDLE, Phase.IDLE]
    assert world.trade(B, SELL) > 3


def test_heads_apart_by_more_than_two_slots_are_nobodys_fault() -> None:
    """Two views of the chain: A's head is a minute ahead, so is its box. B declines, or waits.

    The bound on a box (head + box + two slots) is one on accepting: no honest peer is to blame.
    """
    world = opened()
    world.chain.mine(60)
    world.alice.see()
    world.propose(A)
    assert world.deliver(B) is None, "an honest peer was blamed"
    world.bob.see()
    world.deliver_all()
    if world.bob.waiting:
        world.answer(B)
    world.deliver_all()
    world.wait_out_box()
    world.deliver_all()
    assert world.phases == [Phase.IDLE, Phase.IDLE]
    a, b = (peer.channel.ledger.full.state for peer in world.peers)
    assert a == b
