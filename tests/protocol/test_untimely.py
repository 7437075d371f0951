"""What an honest peer says before it has seen a dispute: turned down or passed over, no fault."""

from __future__ import annotations

import pytest

from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.channel import Phase
from channels.protocol.codec import decode
from channels.protocol.effects import ChangeRejected, QuoteDeclined
from channels.protocol.machine import MESSAGES, TABLE
from channels.protocol.messages import Reason
from channels.protocol.types import Party
from tests.protocol.build import ID, make_leg
from tests.protocol.test_machine_table import traded
from tests.protocol.world import World, entry_at

A, B = Party.A, Party.B
SAID_ONLY_BEFORE_OR_TO_NO_CHANNEL = {
    *(m.Hello, m.Challenge, m.Ping, m.Pong, m.OpenRequest, m.OpenAccept, m.OpenReject),
}


def disputed_by_bob(world: World) -> None:
    """Bob disputes, and Alice has not seen it."""
    world.bob.handle(e.StartDispute())
    world.chain.mine()
    world.bob.see()
    assert world.phases[1] is Phase.DISPUTED


def test_a_proposal_on_its_way_is_turned_down_without_a_void() -> None:
    world = traded()
    nonce = world.propose(A)
    disputed_by_bob(world)
    world.deliver_all()
    assert world.bob.errors == world.alice.errors == []
    (rejected,) = world.alice.told(ChangeRejected)
    assert (rejected.nonce, rejected.reason) == (nonce, Reason.NOT_OPEN)
    assert world.phases == [Phase.PROPOSED, Phase.DISPUTED]
    assert world.bob.channel.ledger.entry(nonce) is None
    world.alice.see()
    assert world.alice.phase is Phase.DISPUTED


def test_a_void_on_its_way_is_passed_over() -> None:
    world = traded()
    world.propose(B)
    world.deliver_all()
    world.answer(A, accept=False)
    disputed_by_bob(world)
    before = world.bob.channel.ledger.nonce
    world.deliver_all()
    assert world.bob.errors == world.alice.errors == []
    assert world.bob.channel.ledger.nonce == before


def test_who_reconnects_without_having_seen_it_is_no_faulty_peer() -> None:
    """A proposal that was accepted before is not turned down when it comes again."""
    world = traded()
    nonce = world.propose(A)
    world.deliver_all()
    world.answer(B)
    world.disconnect()
    disputed_by_bob(world)
    world.reconnect()
    world.deliver_all()
    assert world.bob.errors == world.alice.errors == []
    assert world.alice.told(ChangeRejected) == []
    assert entry_at(world.bob, nonce).co_signed


def test_a_request_for_a_quote_is_answered() -> None:
    world = traded()
    leg = make_leg()
    asked = m.Leg(
        feed=leg.feed, kind=leg.kind, expiry=leg.expiry, strike=leg.strike, quantity=leg.quantity
    )
    world.alice.handle(e.RequestQuote(request_id=bytes(16), legs=(asked,), time_to_live=5))
    disputed_by_bob(world)
    world.deliver_all()
    (declined,) = world.alice.told(QuoteDeclined)
    assert declined.answer.reason is Reason.NOT_OPEN


def test_a_withdrawal_asked_of_a_recovering_peer_is_turned_down() -> None:
    world = traded()
    world.alice.handle(e.RequestWithdrawal(ours=1, theirs=0))
    world.bob.handle(e.RestoredFromBackup())
    world.wires[A].clear()
    world.deliver(B)
    (answer,) = [decode(each) for each in world.wires[A]]
    assert isinstance(answer, m.Reject)
    assert (answer.channel_id, answer.reason, answer.void) == (ID, Reason.BUSY, None)


@pytest.mark.parametrize("phase", [Phase.DISPUTED, Phase.RUN_OFF, Phase.CLOSED])
def test_nothing_an_honest_peer_may_say_is_a_fault_of_its(phase: Phase) -> None:
    faults = {each for each in MESSAGES if (phase, each) not in TABLE}
    assert faults == SAID_ONLY_BEFORE_OR_TO_NO_CHANNEL
