"""Attack: make a healthy peer believe that it lost its data.

RECOVERING signs nothing. The claim of a newer state must therefore be proved by our own signature
on *that* state: not on an older one shown under a higher number.
"""

from __future__ import annotations

import attrs
import pytest

from channels.errors import PeerError
from channels.protocol import messages as m
from channels.protocol.channel import Phase
from channels.protocol.types import Party, State
from tests.protocol.build import DOMAIN
from tests.protocol.world import Emitted, World, opened, shown

A, B = Party.A, Party.B


def _claim(nonce: int, emitted: Emitted) -> m.Reestablish:
    """Our own signature, under another nonce than the one we gave it for."""
    assert isinstance(emitted.value, State)
    return shown(attrs.evolve(emitted.value, nonce=nonce), emitted.signature)


@pytest.mark.parametrize("which", [0, 1], ids=["a boxed state", "an affirmation"])
def test_an_old_signature_under_a_new_number_proves_nothing(which: int) -> None:
    """Every signature in circulation is on a nonce that we know: none proves another one."""
    world = opened()
    world.trade(A)
    ours = world.alice.emitted[which]
    assert ours.value.nonce <= 2
    assert ours.digest == DOMAIN.digest(ours.value)
    before = world.alice.channel
    with pytest.raises(PeerError):
        world.alice.handle(_claim(1_000, ours))
    assert world.alice.channel is before
    assert world.alice.phase is Phase.IDLE


def test_a_signature_on_a_proposal_proves_no_permanent_state() -> None:
    world = opened()
    world.propose(A)
    with pytest.raises(PeerError):
        world.alice.handle(_claim(99, world.alice.emitted[0]))
    assert world.alice.phase is Phase.PROPOSED


def test_a_boxed_state_is_no_permanent_one() -> None:
    """Our own signature on a proposal, under its own nonce, to a peer that forgot it."""
    world = opened()
    backup = world.alice.store
    world.propose(A)
    ours = world.alice.emitted[0]
    assert isinstance(ours.value, State)
    world.alice.store = backup
    world.disconnect()
    world.alice.restart()
    world.see()
    with pytest.raises(PeerError):
        world.alice.handle(shown(ours.value, ours.signature))


def test_a_real_loss_is_noticed() -> None:
    world = _restored()
    assert world.alice.phase is Phase.RECOVERING


def _restored() -> World:
    world = opened()
    backup = world.alice.store
    world.trade(A)
    world.alice.store = backup
    world.disconnect()
    world.alice.restart()
    world.see()
    world.reconnect()
    world.deliver_all()
    return world


def test_a_real_loss_is_noticed_when_only_half_of_it_was_lost() -> None:
    """The backup holds our own half signature: nothing is signed twice."""
    world = opened()
    world.propose(A)
    backup = world.alice.store
    world.deliver_all()
    world.answer(B)
    world.deliver_all()
    assert world.alice.channel.ledger.nonce == 2
    world.alice.store = backup
    world.disconnect()
    world.alice.restart()
    world.see()
    world.reconnect()
    world.deliver_all()
    nonces = [each.value.nonce for each in world.alice.emitted]
    digests = {(each.value.nonce, each.digest) for each in world.alice.emitted}
    assert len(digests) == len(set(nonces)), "two different states at one nonce"
