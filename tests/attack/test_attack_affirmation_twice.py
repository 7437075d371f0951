"""Attack: have an affirmation signed twice, or sent without its acceptance.

A second affirmation of one change, at a higher nonce, would outlive the changes made in between
and bring an old portfolio back. Rule 3: it is sent with the acceptance and never again.
"""

from __future__ import annotations

from contextlib import suppress

import pytest

from channels.errors import IllegalCommandError, PeerError
from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.codec import decode
from channels.protocol.types import Party, State
from tests.protocol.build import ID, make_leg, make_trade
from tests.protocol.world import Peer, opened, signed

A, B = Party.A, Party.B


def _permanent_nonces(peer: Peer) -> list[int]:
    return [each.value.nonce for each in peer.emitted if each.value.valid_until == 0]


def test_a_replayed_proposal_gets_no_second_affirmation() -> None:
    world = opened()
    world.propose(A)
    proposal = world.wires[B][0]
    world.deliver_all()
    world.answer(B)
    assert _permanent_nonces(world.bob) == [2]
    with suppress(PeerError):
        world.bob.handle(decode(proposal))
    assert _permanent_nonces(world.bob) == [2]
    world.deliver_all()
    assert world.bob.handle(decode(proposal)) == ()
    with pytest.raises(IllegalCommandError):
        world.bob.handle(e.Answer(nonce=1, accept=True, now=world.chain.time))
    assert _permanent_nonces(world.bob) == [2]


def test_a_reconnect_sends_the_same_accept_byte_for_byte() -> None:
    world = opened()
    world.propose(A)
    world.deliver_all()
    world.answer(B)
    first = world.wires[A][0]
    world.disconnect()
    world.reconnect()
    world.deliver(B)
    assert first in world.wires[A]
    assert _permanent_nonces(world.bob) == [2]


def test_a_restart_between_store_and_send_does_neither() -> None:
    world = opened()
    world.propose(A)
    world.deliver_all()
    world.crash(B, e.Answer(nonce=1, accept=True, now=world.chain.time), after=1)
    assert not world.wires[A]
    world.see()
    world.reconnect()
    world.deliver_all()
    assert _permanent_nonces(world.bob) == [2]
    for peer in world.peers:
        assert peer.channel.ledger.nonce == 2


def test_an_old_affirmation_never_comes_back() -> None:
    """B affirms the first trade again, at a nonce above the second: A does not confirm."""
    world = opened()
    world.trade(A)
    first = world.alice.channel.portfolio
    world.trade(A, make_trade(make_leg(-1, price=120)))
    assert world.alice.channel.ledger.nonce == 4
    stale = State(channel_id=ID, nonce=6, portfolio=first)
    void = m.Void(channel_id=ID, nonce=6, signature=signed(B, stale))
    with pytest.raises(PeerError):
        world.alice.handle(void)
    nonce = world.propose(A)
    entry = world.alice.channel.ledger.entry(nonce)
    assert entry is not None
    accept = m.Accept(
        channel_id=ID,
        nonce=nonce,
        signature=signed(B, entry.value),
        affirmation_nonce=6,
        affirmation=signed(B, stale),
    )
    with pytest.raises(PeerError):
        world.alice.handle(accept)
    assert 6 not in _permanent_nonces(world.alice)
