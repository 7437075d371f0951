"""Attack: accept at the very end of the box, or after it, when the market has moved one's way."""

from __future__ import annotations

import attrs
import pytest

from channels.errors import SigningRefusedError
from channels.protocol import events as e
from channels.protocol.calls import Checkpoint, Dispute
from channels.protocol.channel import Mode, Phase
from channels.protocol.effects import PeerComplained
from channels.protocol.types import Party
from tests.protocol.build import TIMING, make_leg, make_trade
from tests.protocol.world import World, entry_at, opened

A, B = Party.A, Party.B


def _proposed() -> World:
    world = opened()
    world.propose(A)
    world.deliver_all()
    return world


@pytest.mark.parametrize(("seconds", "taken"), [(40, True), (41, False)])
def test_two_thirds_of_the_box_must_remain(seconds: int, taken: bool) -> None:
    """The box has 120 s: at 40 s after, 80 remain."""
    world = _proposed()
    world.mine(seconds)
    if taken:
        world.answer(B)
        assert world.bob.phase is Phase.ACCEPTED
    else:
        with pytest.raises(SigningRefusedError, match="79 s of the box"):
            world.answer(B)
        assert world.bob.phase is Phase.RECEIVED


@pytest.mark.parametrize(("age", "taken"), [(36, True), (37, False)])
def test_the_acceptors_head_is_at_most_three_slots_old(age: int, taken: bool) -> None:
    world = _proposed()
    command = e.Answer(nonce=1, accept=True, now=world.chain.time + age)
    if taken:
        world.bob.handle(command)
    else:
        with pytest.raises(SigningRefusedError, match="37 s old"):
            world.bob.handle(command)


def _accepted_but_withheld() -> World:
    """B accepted in time; its Accept is on no wire."""
    world = _proposed()
    world.answer(B)
    world.disconnect()
    return world


def test_silence_is_answered_on_chain_a_third_into_the_box() -> None:
    world = _accepted_but_withheld()
    world.mine(39)
    assert not world.bob.submitted
    world.mine(1)
    (submit,) = world.bob.submitted
    assert isinstance(submit.call, Checkpoint)
    assert submit.call.newest.state.nonce == 1
    assert world.bob.channel.mode is Mode.REDUCE_ONLY
    world.mine(blocks=5)
    assert [peer.channel.ledger.nonce for peer in world.peers] == [1, 1]
    assert world.alice.channel.portfolio == world.bob.channel.portfolio
    assert world.alice.channel.portfolio.positions
    assert world.phases == [Phase.IDLE, Phase.IDLE], "the half-signed affirmation harms nobody"
    world.reconnect()
    world.deliver_all()
    for side in Party:
        world.bob.channel = attrs.evolve(world.bob.channel, halts=())
        assert world.trade(side, make_trade(make_leg(-1 if side is A else 1))) > 2


def test_a_late_accept_is_kept_as_evidence_and_not_confirmed() -> None:
    world = _proposed()
    world.answer(B)
    late = world.wires[A].popleft()
    world.mine(121, censor=True)
    world.deliver(A, late)
    (told,) = world.alice.told(PeerComplained)
    assert isinstance(told, PeerComplained)
    assert entry_at(world.alice, 1).co_signed
    assert [each.value.nonce for each in world.alice.emitted] == [1]
    assert world.alice.channel.ledger.nonce == 0


def test_the_proposer_voids_at_once_when_the_box_passed_unrecorded() -> None:
    """The Accept came after the head passed the box: the void follows the first final block."""
    world = _proposed()
    world.answer(B)
    late = world.wires[A].popleft()
    world.mine(121, censor=True)
    world.deliver(A, late)
    world.mine(60, blocks=4, censor=True)
    world.deliver_all()
    assert [peer.channel.ledger.nonce for peer in world.peers] == [3, 3]
    assert world.alice.channel.portfolio.positions == ()
    assert [peer.phase for peer in world.peers] == [Phase.IDLE, Phase.IDLE]


def test_the_proposer_voids_though_its_proposal_had_lapsed_before_the_accept_came() -> None:
    """The Accept was lost with the connection, and comes after the box passed in a final block."""
    world = _accepted_but_withheld()
    world.mine(60, blocks=6, censor=True)
    assert world.alice.phase is Phase.IDLE, "unanswered: it lapsed"
    world.reconnect()
    world.deliver_all()
    assert entry_at(world.alice, 1).co_signed
    world.mine(censor=True)
    world.deliver_all()
    assert [peer.channel.ledger.nonce for peer in world.peers] == [3, 3], "owes a void at once"
    assert [peer.phase for peer in world.peers] == [Phase.IDLE, Phase.IDLE]


def test_without_a_void_the_acceptor_disputes() -> None:
    world = _accepted_but_withheld()
    until = entry_at(world.bob, 1).value.valid_until
    while world.bob.phase is Phase.ACCEPTED:
        assert world.chain.time < until + TIMING.void_grace + 200
        world.mine(12, censor=True)
    assert world.bob.phase is Phase.DISPUTED
    assert isinstance(world.bob.submitted[-1].call, Dispute)
    assert world.chain.seen().head.final_timestamp > until + TIMING.void_grace


def test_an_accept_in_the_last_second_can_be_confirmed() -> None:
    world = _proposed()
    world.answer(B)
    late = world.wires[A].popleft()
    world.mine(120, censor=True)
    world.deliver(A, late)
    assert world.alice.channel.ledger.nonce == 2


def test_a_late_accept_beside_a_closing_does_not_blind_us() -> None:
    """The void that it is owed is refused while our Closing lives; the next head is still seen."""
    world = opened()
    world.propose(A)
    world.deliver_all()
    world.answer(B)
    late = world.wires[A].popleft()
    world.mine(60, blocks=6, censor=True)
    assert world.phases[A] is Phase.IDLE
    world.alice.handle(e.RequestClose(now=world.chain.time))
    world.deliver(A, late)
    world.chain.mine(60, censor=True)
    world.alice.see()
    assert world.alice.channel.head == world.chain.seen().head
    assert [each.value.nonce for each in world.alice.emitted if not each.value.valid_until] == []
