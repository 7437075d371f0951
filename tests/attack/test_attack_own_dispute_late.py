"""Attack: keep our own dispute out of the blocks, go on trading, and have it mined late.

Filed at the old nonce it would cost the stale penalty. Rule 7: from the moment we send a dispute we
sign nothing but a Closing, until it can no longer be mined.
"""

from __future__ import annotations

import pytest

from channels.errors import IllegalCommandError
from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.calls import Dispute
from channels.protocol.channel import Phase
from channels.protocol.codec import decode
from channels.protocol.effects import DisputeSeen
from channels.protocol.facts import OnChainPhase
from channels.protocol.machine import TABLE
from channels.protocol.types import Party
from channels.protocol.untimely import not_now
from tests.protocol.world import Transaction, World, opened

A, B = Party.A, Party.B


def _sent() -> World:
    """F at 2; A sent a dispute that no block takes."""
    world = opened()
    world.trade(A)
    world.alice.handle(e.StartDispute())
    return world


def test_nothing_is_signed_from_the_moment_it_is_sent() -> None:
    world = _sent()
    world.mine(censor=True, blocks=20)
    signed = len(world.alice.emitted)
    assert world.chain.head.view.phase is OnChainPhase.OPEN
    assert world.alice.phase is Phase.DISPUTED
    with pytest.raises(IllegalCommandError):
        world.propose(A)
    world.propose(B)
    assert world.deliver(A) is None
    assert len(world.alice.emitted) == signed
    (answer,) = [decode(each) for each in world.wires[B]]
    assert isinstance(answer, m.Reject)
    assert answer.void is None


def test_a_restart_does_not_forget_it() -> None:
    world = _sent()
    world.disconnect()
    world.alice.restart()
    world.mine(censor=True, blocks=5)
    assert world.alice.phase is Phase.DISPUTED
    with pytest.raises(IllegalCommandError):
        world.propose(A)


def test_mined_late_it_files_what_we_meant() -> None:
    world = _sent()
    world.mine(censor=True, blocks=20)
    world.mine()
    view = world.chain.head.view
    assert view.phase is OnChainPhase.DISPUTED
    assert (view.filed_nonce, view.filer) == (2, A)
    highest = max(each.value.nonce for each in world.alice.emitted)
    assert highest - view.filed_nonce <= world.alice.channel.terms.max_in_flight


@pytest.mark.parametrize("boundary", [0, 1])
def test_a_crash_on_the_way_loses_no_dispute(boundary: int) -> None:
    """Stored but not sent: after the restart it is sent, or it was never decided at all."""
    world = opened()
    world.trade(A)
    world.crash(A, e.StartDispute(), after=boundary)
    world.see()
    world.mine(blocks=3)
    if boundary == 0:
        assert world.alice.phase is Phase.IDLE, "nothing was stored: nothing was decided"
    else:
        assert world.alice.phase is Phase.DISPUTED
        assert world.chain.head.view.phase is OnChainPhase.DISPUTED, "the dispute never reached it"


def test_the_other_side_stops_too_and_is_told() -> None:
    world = _sent()
    world.mine()
    assert world.bob.phase is Phase.DISPUTED
    assert len(world.bob.told(DisputeSeen)) == 1
    with pytest.raises(IllegalCommandError):
        world.propose(B)


def test_a_stale_dispute_is_called_stale() -> None:
    """A files the empty start while B holds nonce 2."""
    world = opened()
    world.trade(A)
    world.chain.mempool[b"A"] = _dispute_of(world, A)
    world.mine()
    (seen,) = world.bob.told(DisputeSeen)
    assert isinstance(seen, DisputeSeen)
    assert (seen.recorded, seen.stale) == (0, True)


def test_a_dispute_that_a_reorganisation_removed_binds_until_final() -> None:
    """B's dispute vanishes: A signs again only when the chain without it is final."""
    world = opened()
    world.trade(A)
    world.bob.handle(e.StartDispute())
    world.mine()
    assert world.alice.phase is Phase.DISPUTED
    world.chain.reorganise(1)
    world.chain.mempool.clear()
    world.chain.mine(13)
    world.alice.see()
    assert world.alice.phase is Phase.DISPUTED
    while world.chain.final < len(world.chain.blocks) - 1 - world.chain.lag or (
        world.chain.seen().head.final_number < world.alice.channel.disputed_at
    ):
        world.chain.mine()
        world.alice.see()
    world.alice.see()
    assert world.phases[A] is Phase.IDLE


def test_a_wait_for_a_confirm_outlives_a_dispute_that_vanished() -> None:
    """B accepted and waits; A's dispute appears and is reorganised away while the box lasts.

    B must still defend the trade: file the boxed state when no Confirm comes.
    """
    world = opened()
    world.chain.lag = 1
    world.propose(A)
    world.deliver_all()
    world.answer(B)
    world.disconnect()
    world.chain.mempool[b"A"] = _dispute_of(world, A)
    world.mine(12)
    assert world.bob.phase is Phase.DISPUTED
    world.chain.reorganise(1)
    world.chain.mempool.clear()
    world.mine(12, blocks=8)
    assert world.phases[B] in (Phase.ACCEPTED, Phase.IDLE)
    assert world.chain.head.view.nonce == 1, "the accepted trade was not filed in its box"


@pytest.mark.parametrize("seen_by", [A, B])
def test_a_confirm_that_comes_into_a_dispute_is_kept_as_evidence(seen_by: Party) -> None:
    """B accepted; its Confirm is on the way when a dispute on the old state is mined.

    Nothing is signed any more, but what is fully signed is recorded, so that it wins.
    """
    world = opened()
    world.propose(A)
    world.deliver_all()
    world.answer(B)
    world.deliver(A)
    world.chain.mempool[b"D"] = _dispute_of(world, seen_by)
    world.mine()
    assert world.bob.phase is Phase.DISPUTED
    signed_before = len(world.bob.emitted)
    world.deliver_all()
    assert len(world.bob.emitted) == signed_before
    assert world.bob.phase is Phase.DISPUTED
    assert world.bob.channel.ledger.nonce == 2
    world.mine(blocks=2)
    assert world.chain.head.view.nonce == 2


def _dispute_of(world: World, side: Party) -> Transaction:
    return Transaction(Dispute(terms=world.chain.opening.terms, newest=None), side)


def test_no_message_that_asks_for_a_signature_gets_one_in_a_dispute() -> None:
    for kind in (m.Propose, m.Quote, m.Reject, m.Void, m.CloseRequest, m.WithdrawRequest):
        for phase in (Phase.DISPUTED, Phase.RUN_OFF, Phase.CLOSED):
            assert TABLE[phase, kind] is not_now
