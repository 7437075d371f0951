"""Attack: let every proposal lapse, until the proposer has no nonce left to sign at."""

from __future__ import annotations

import pytest

from channels.errors import SigningRefusedError
from channels.protocol.channel import Phase
from channels.protocol.effects import ProposalLapsed
from channels.protocol.types import Party
from tests.protocol.world import World, opened

A, B = Party.A, Party.B


def _silenced(count: int) -> World:
    """B hears nothing of ``count`` proposals; each lapses."""
    world = opened()
    world.disconnect()
    for _ in range(count):
        world.propose(A)
        world.wait_out_box()
        assert world.alice.phase is Phase.IDLE
    return world


def test_an_unanswered_proposal_lapses_once_its_box_is_finally_over() -> None:
    world = _silenced(1)
    assert world.alice.told(ProposalLapsed) == [ProposalLapsed(nonces=(1,), overtaken=False)]


def test_the_budget_for_proposals_ends_two_short_of_the_flight() -> None:
    """maxInFlight is 16: nonces 1, 3, ... 13 and no more; 15 is kept for a void."""
    world = _silenced(7)
    assert max(each.value.nonce for each in world.alice.emitted) == 13
    with pytest.raises(SigningRefusedError, match="signing rule 2"):
        world.propose(A)
    assert world.alice.phase is Phase.IDLE


def test_a_spent_budget_comes_back_with_the_peer() -> None:
    """The peer is back and honest: whoever speaks first, both can trade again."""
    world = _silenced(7)
    world.reconnect()
    world.deliver_all()
    world.answer(B, nonce=world.bob.waiting[-1], accept=False)
    world.bob.waiting.clear()
    world.deliver_all()
    world.mine(60, blocks=8)
    world.deliver_all()
    assert world.trade(A) > 13
    assert world.alice.channel.portfolio == world.bob.channel.portfolio


def test_a_spent_budget_comes_back_without_the_peers_decision() -> None:
    """The peer took part in no decision: nothing of ours is alive, so rule 3 allows our void.

    Without one neither a proposal nor a Closing of ours can ever be signed again (rule 2).
    """
    world = _silenced(7)
    world.reconnect()
    world.deliver_all()
    world.bob.waiting.clear()
    world.mine(60, blocks=8)
    world.deliver_all()
    world.mine(60, blocks=8)
    world.deliver_all()
    world.propose(A)
    assert world.alice.phase is Phase.PROPOSED


def test_what_is_replayed_long_after_its_box_cannot_be_accepted() -> None:
    world = _silenced(2)
    world.reconnect()
    world.deliver_all()
    for nonce in (1, 3):
        with pytest.raises(SigningRefusedError):
            world.answer(B, nonce=nonce)
    assert not world.bob.emitted
