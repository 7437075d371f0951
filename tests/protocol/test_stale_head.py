"""Countersigning for good on an old head: held until a fresh one shows what is final.

What governs is judged at the newest head (protocol.md, rule 3). A peer whose endpoint hangs would
confirm a void of what is on chain, or an affirmation of what a void has passed.
"""

from __future__ import annotations

import pytest

from channels.protocol import calls
from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.channel import Phase
from channels.protocol.codec import decode, encode
from channels.protocol.effects import ChangeConfirmed, ChangeRejected, PeerComplained
from channels.protocol.types import Party, State
from tests.protocol.build import FINALITY, ID
from tests.protocol.world import World, entry_at, opened, signed

A, B = Party.A, Party.B
OLDEST = 36
"""Three slots: an older head is no ground to sign on."""


def on_their_way(world: World, to: Party) -> list[m.Message]:
    return [decode(each) for each in world.wires[to]]


def later(world: World, seconds: int) -> None:
    """A block that neither side hears of."""
    world.chain.mine(seconds)


def rejected_with_void(nonce: int, void: State) -> m.Reject:
    return m.Reject(
        channel_id=ID,
        nonce=nonce,
        reason=m.Reason.DECLINED,
        text="",
        void_nonce=void.nonce,
        void=signed(B, void),
    )


def test_attack_void_of_what_the_chain_has_made_final() -> None:
    world = opened()
    nonce, before = world.propose(A), world.alice.channel.portfolio
    proposed = entry_at(world.alice, nonce).value
    assert isinstance(proposed, State)
    mine = entry_at(world.alice, nonce).mine
    assert mine is not None
    secret = calls.CoSigned(state=proposed, signature_a=mine, signature_b=signed(B, proposed))
    assert world.chain.record(secret)
    for _ in range(FINALITY + 1):
        later(world, 12)
    void = State(channel_id=ID, nonce=nonce + 1, portfolio=before)
    world.wires[B].clear()
    assert world.deliver(A, encode(rejected_with_void(nonce, void))) is None
    assert on_their_way(world, B) == []
    assert world.alice.channel.portfolio == before
    world.alice.see()
    assert world.alice.channel.ledger.full.state == proposed
    world.alice.see()
    assert on_their_way(world, B) == []


@pytest.mark.parametrize("age", [OLDEST, OLDEST + 1])
def test_an_accept_is_confirmed_at_a_fresh_head(age: int) -> None:
    world = opened()
    nonce = world.propose(A)
    world.deliver_all()
    world.answer(B)
    later(world, age)
    world.deliver(A)
    held = age > OLDEST
    assert [type(each) for each in on_their_way(world, B)] == ([] if held else [m.Confirm])
    assert world.alice.told(PeerComplained) == []
    assert entry_at(world.bob, nonce).co_signed
    if held:
        assert entry_at(world.alice, nonce).co_signed
        assert world.alice.channel.newest_evidence() is not None
        world.alice.see()
    world.deliver_all()
    assert world.phases == [Phase.IDLE, Phase.IDLE]
    (ours,), (theirs,) = (each.told(ChangeConfirmed) for each in world.peers)
    assert (ours.nonce, ours.proposal, ours.change) == (theirs.nonce, nonce, theirs.change)
    assert ours.ours
    assert not theirs.ours
    assert world.alice.channel.portfolio == world.bob.channel.portfolio
    assert world.alice.channel.portfolio.positions != ()


def test_what_is_held_outlives_the_process() -> None:
    world = opened()
    world.propose(A)
    world.deliver_all()
    world.answer(B)
    later(world, OLDEST + 1)
    world.deliver(A)
    world.disconnect()
    world.alice.restart()
    world.reconnect()
    world.alice.see()
    world.deliver_all()
    assert world.phases == [Phase.IDLE, Phase.IDLE]
    assert world.bob.channel.ledger.nonce == world.alice.channel.ledger.nonce > 0


def test_an_old_head_that_comes_late_is_still_old() -> None:
    world = opened()
    world.propose(A)
    world.deliver_all()
    world.answer(B)
    later(world, 12)
    late = world.chain.seen()
    later(world, OLDEST + 1)
    world.deliver(A)
    world.alice.handle(late)
    assert on_their_way(world, B) == []
    world.alice.see()
    assert [type(each) for each in on_their_way(world, B)] == [m.Confirm]


def test_a_void_is_confirmed_at_a_fresh_head() -> None:
    world = opened()
    world.propose(A)
    world.deliver_all()
    world.answer(B, accept=False)
    later(world, OLDEST + 1)
    world.deliver(A)
    assert on_their_way(world, B) == []
    assert len(world.alice.told(ChangeRejected)) == 1
    world.alice.see()
    world.deliver_all()
    assert world.phases == [Phase.IDLE, Phase.IDLE]
    assert world.alice.channel.ledger.nonce == world.bob.channel.ledger.nonce > 0
    assert len(world.alice.told(ChangeRejected)) == 1


def test_a_void_of_a_late_accept_is_confirmed_at_a_fresh_head() -> None:
    """The proposer's void of what was accepted too late, and its acceptor's endpoint hangs."""
    world = opened()
    world.propose(A)
    world.deliver_all()
    world.answer(B)
    for _ in range(6):
        world.chain.mine(60, censor=True)
    world.alice.see()
    world.deliver(A)
    world.alice.see()
    (void,) = on_their_way(world, B)
    assert isinstance(void, m.Void)
    world.deliver(B)
    assert world.bob.channel.ledger.nonce == 0
    assert world.bob.phase is Phase.ACCEPTED
    world.bob.see()
    world.deliver_all()
    assert world.phases == [Phase.IDLE, Phase.IDLE]
    assert world.alice.channel.ledger.nonce == world.bob.channel.ledger.nonce == void.nonce


def test_what_is_held_does_not_count_as_a_proposal_that_waits() -> None:
    """With its proposal decided, a channel rests, whatever half-signed state it holds besides."""
    world = opened()
    world.propose(A)
    world.deliver_all()
    world.answer(B)
    for _ in range(6):
        world.chain.mine(60, censor=True)
    world.alice.see()
    world.deliver(A)  # too late: the affirmation stays half signed
    half = [each for each in world.alice.channel.ledger.entries if each.permanent and not each.mine]
    assert len(half) == 1
    world.alice.handle(e.Connected())
    assert world.alice.phase is not Phase.RECEIVED
