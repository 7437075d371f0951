"""Attack: void one's own half-signed trade while the other may still take it.

The proposer sees the market move against its proposal, has F's portfolio signed again at a higher
nonce, and files whichever suits it. Rule 3: no void while something alive carries another.
"""

from __future__ import annotations

import pytest

from channels.errors import SigningRefusedError
from channels.protocol import messages as m
from channels.protocol.channel import Phase
from channels.protocol.machine import step
from channels.protocol.types import Party, State
from tests.protocol.build import ID, UNIT
from tests.protocol.world import co_signed, opened, signed

A, B = Party.A, Party.B


def test_the_acceptor_refuses_a_void_of_what_it_accepted() -> None:
    """A proposes 1, B accepts (1, affirmation 2); A sends a void at 3 in place of its Confirm."""
    world = opened()
    world.propose(A)
    world.deliver_all()
    world.answer(B)
    void = State(channel_id=ID, nonce=3)
    message = m.Void(channel_id=ID, nonce=3, signature=signed(A, void))
    before = world.bob.channel
    with pytest.raises(SigningRefusedError, match="signing rule 3"):
        step(world.bob.channel, message)
    assert world.bob.channel is before
    assert world.bob.phase is Phase.ACCEPTED


def test_what_was_accepted_stands_on_chain_all_the_same() -> None:
    """B's answer to silence: the boxed state, filed while its box lasts, becomes F."""
    world = opened()
    world.propose(A)
    world.deliver_all()
    world.answer(B)
    world.disconnect()
    world.mine(blocks=5)
    assert world.chain.head.view.nonce == 1, "B filed it after a third of the box"
    world.mine(blocks=4)
    for peer in world.peers:
        assert peer.channel.portfolio.net_to_b == 100 * UNIT
        assert peer.channel.ledger.nonce == 1


def test_the_honest_proposer_signs_no_void_before_its_box_is_finally_over() -> None:
    world = opened()
    world.propose(A)
    world.deliver(B)
    until = world.chain.time + 120
    while world.alice.phase is Phase.PROPOSED:
        world.mine()
        assert not [each for each in world.alice.emitted if each.value.valid_until == 0]
        assert world.chain.time < until + 100
    final = world.chain.seen().head.final_timestamp
    assert final > until, "it lapses in a final block, not at the head"


def test_a_void_signed_by_both_beats_nothing_that_is_co_signed_above_it() -> None:
    """A reject's void at 3 outlives the proposal at 1, which nobody accepted."""
    world = opened()
    world.propose(B)
    world.deliver_all()
    world.answer(A, accept=False)
    world.deliver_all()
    for peer in world.peers:
        assert peer.channel.ledger.nonce == 3
        assert peer.channel.portfolio.positions == ()
    assert world.chain.record(co_signed(world, 3))
    assert not [each for each in world.alice.emitted if each.value.nonce == 2]
