"""Faults that the explorer has found, each in its smallest form, with real signatures."""

from __future__ import annotations

from channels.protocol import events as e
from channels.protocol.channel import Phase
from channels.protocol.effects import ChangeRejected
from channels.protocol.types import Party
from tests.protocol.world import opened

A, B = Party.A, Party.B


def test_a_lapsed_closing_takes_no_unheard_confirm_with_it() -> None:
    """A confirms B's void and asks to close; the link breaks before B has heard either.

    The Closing lapses. The Confirm is still owed to B, or the two never agree again on what stands.
    """
    world = opened()
    world.propose(A)
    world.deliver_all()
    world.answer(B, accept=False)
    world.deliver(A)
    assert [peer.channel.ledger.nonce for peer in world.peers] == [2, 0]
    world.alice.handle(e.RequestClose(now=world.chain.time))
    world.disconnect()
    world.mine(600, blocks=12)
    assert world.alice.phase is Phase.IDLE
    world.reconnect()
    world.deliver_all()
    assert [peer.channel.ledger.nonce for peer in world.peers] == [2, 2]
    assert world.phases == [Phase.IDLE, Phase.IDLE]


def test_a_closing_that_crosses_an_unheard_accept_is_nobodys_fault() -> None:
    """B accepts; A never hears it, sees its proposal lapse, and asks to close.

    B has signed a trade, so it declines for now; what it signed is settled first.
    """
    world = opened()
    world.propose(A)
    world.deliver_all()
    world.answer(B)
    world.disconnect()
    world.mine(60, blocks=6, censor=True)
    assert world.phases == [Phase.IDLE, Phase.ACCEPTED]
    world.alice.handle(e.RequestClose(now=world.chain.time))
    world.connected = True
    world.alice.handle(e.Connected())
    world.bob.handle(e.Connected())
    world.deliver_all()
    assert world.bob.errors == []
    assert world.bob.phase is Phase.ACCEPTED
    assert len(world.alice.told(ChangeRejected)) == 1
