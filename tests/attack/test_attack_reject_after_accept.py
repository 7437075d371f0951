"""Attack: accept, watch the market, and reject after all (or the other way round)."""

from __future__ import annotations

import pytest

from channels.errors import BadNonceError, IllegalCommandError, UnexpectedMessageError
from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.messages import Reason
from channels.protocol.types import Party, State
from tests.protocol.build import ID
from tests.protocol.world import World, opened, signed

A, B = Party.A, Party.B


def _accepted() -> World:
    world = opened()
    world.propose(A)
    world.deliver_all()
    world.answer(B)
    return world


def _reject(nonce: int, void: State | None = None) -> m.Reject:
    return m.Reject(
        channel_id=ID,
        nonce=nonce,
        reason=Reason.PRICE,
        text="changed my mind",
        void_nonce=0 if void is None else void.nonce,
        void=None if void is None else signed(B, void),
    )


def test_our_own_machine_does_not_reject_what_it_accepted() -> None:
    world = _accepted()
    with pytest.raises(IllegalCommandError, match="ACCEPTED"):
        world.bob.handle(e.Answer(nonce=1, accept=False, now=world.chain.time))


def test_a_reject_after_the_confirm_changes_nothing() -> None:
    world = _accepted()
    world.deliver_all()
    before = world.alice.channel
    assert world.alice.handle(_reject(1)) == ()
    assert world.alice.channel == before
    assert before.ledger.nonce == 2


def test_a_reject_with_a_void_after_a_late_accept_is_refused() -> None:
    """The Accept came too late to be confirmed; a Reject after it is no answer any more."""
    world = _accepted()
    late = world.wires[A].popleft()
    world.chain.mine(121, censor=True)
    world.see()
    world.deliver(A, late)
    assert world.alice.channel.ledger.nonce == 0
    before = world.alice.channel
    with pytest.raises(UnexpectedMessageError, match="after its Accept"):
        world.alice.handle(_reject(1, State(channel_id=ID, nonce=4)))
    assert world.alice.channel is before


def test_an_accept_after_the_reject_and_its_void() -> None:
    """The void raised F past the proposal: an Accept of it is of no effect, on chain neither."""
    world = opened()
    world.propose(A)
    world.deliver_all()
    entry = world.bob.channel.ledger.entry(1)
    assert entry is not None
    assert isinstance(entry.value, State)
    proposed = entry.value
    world.answer(B, accept=False)
    world.deliver_all()
    assert world.alice.channel.ledger.nonce == 2
    affirmation = State(channel_id=ID, nonce=4, portfolio=proposed.portfolio)
    accept = m.Accept(
        channel_id=ID,
        nonce=1,
        signature=signed(B, proposed),
        affirmation_nonce=4,
        affirmation=signed(B, affirmation),
    )
    before = world.alice.channel
    assert world.alice.handle(accept) == ()
    assert world.alice.channel == before


def test_an_accept_after_a_plain_reject_is_an_accept() -> None:
    """A Reject without a void kills nothing: while the box lasts the proposal binds us."""
    world = opened()
    world.propose(A)
    world.alice.handle(_reject(1))
    world.deliver_all()
    world.answer(B)
    world.deliver_all()
    assert world.alice.channel.ledger.nonce == 2
    assert world.alice.channel.portfolio == world.bob.channel.portfolio


def test_a_reject_of_something_else_is_refused_by_name() -> None:
    world = _accepted()
    with pytest.raises(BadNonceError):
        world.bob.handle(_reject(2))
