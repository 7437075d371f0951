"""Attacks: a recovery to roll back, to hold an option, to tie up the peer, or to burn its nonces.

The attacker is Alice's key; Bob is honest. A claim of lost data costs the claimant nothing, so what
it buys must be nothing as well: at most a bounded wait.
"""

from __future__ import annotations

import attrs
import pytest

from channels.errors import BadNonceError, BadSignatureError, SigningRefusedError
from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.calls import CoSigned
from channels.protocol.channel import Phase
from channels.protocol.effects import RecoveryFailed
from channels.protocol.facts import OnChainPhase
from channels.protocol.machine import TABLE
from channels.protocol.rules import Candidate, check
from channels.protocol.types import Party, Portfolio, State
from tests.protocol.build import FINALITY, ID, TIMING, make_leg, make_trade
from tests.protocol.world import Peer, World, co_signed, opened, signed

A, B = Party.A, Party.B
LEAP = 2**32
REQUEST = m.RecoverRequest(channel_id=ID, wants_risk=False)


def is_in(peer: Peer, phase: Phase) -> bool:
    return peer.phase is phase


def recovery_state(world: World, nonce: int, portfolio: Portfolio | None = None) -> State:
    bob = world.bob.channel
    return State(
        channel_id=ID,
        nonce=nonce,
        valid_until=world.chain.time + TIMING.box,
        portfolio=bob.portfolio if portfolio is None else portfolio,
    )


def said(state: State) -> m.Recover:
    """Mallory's half of it."""
    return m.Recover(
        channel_id=ID,
        nonce=state.nonce,
        valid_until=state.valid_until,
        portfolio_hash=state.portfolio_hash,
        signature=signed(A, state),
    )


def newly_signed(bob: Peer, event: m.Message) -> list[int]:
    """Nonces that Bob signs when he hears this."""
    before = len(bob.emitted)
    bob.handle(event)
    return [each.value.nonce for each in bob.emitted[before:]]


def standing() -> World:
    """Two trades stand, F at nonce 4; Alice is gone and Mallory has her key."""
    world = opened()
    world.trade(A)
    world.trade(A, make_trade(make_leg(2)))
    world.disconnect()
    return world


def test_an_older_portfolio_is_not_signed_again() -> None:
    world = standing()
    world.bob.handle(REQUEST)
    for portfolio in (Portfolio(), co_signed(world, 2).state.portfolio):
        assert newly_signed(world.bob, said(recovery_state(world, LEAP + 7, portfolio))) == []


@pytest.mark.parametrize("nonce", [5, 7, 21, LEAP - 1, LEAP + 3, 2 * LEAP + 5, 2**63 + 1])
def test_only_a_nonce_far_above_and_not_too_far(nonce: int) -> None:
    """Near: an empty boxed state in disguise. Too far: no nonces would be left to trade with."""
    world = standing()
    world.bob.handle(REQUEST)
    assert newly_signed(world.bob, said(recovery_state(world, nonce))) == []
    assert newly_signed(world.bob, said(recovery_state(world, LEAP + 5))) == [LEAP + 5]


def test_our_own_parity_is_nobody_elses() -> None:
    world = standing()
    world.bob.handle(REQUEST)
    with pytest.raises(BadNonceError):
        world.bob.handle(said(recovery_state(world, LEAP + 6)))


def test_no_permanent_one_and_none_with_a_box_of_its_own_length() -> None:
    """A recovery state that lived longer would be an option on when to stop trading."""
    world = standing()
    world.bob.handle(REQUEST)
    good = recovery_state(world, LEAP + 5)
    for valid_until in (0, good.valid_until + 600, world.chain.time + 10, world.chain.time - 1):
        bad = attrs.evolve(good, valid_until=valid_until)
        assert newly_signed(world.bob, said(bad)) == []


def test_no_signature_of_anybody_elses() -> None:
    world = standing()
    world.bob.handle(REQUEST)
    good = recovery_state(world, LEAP + 5)
    forged = attrs.evolve(said(good), signature=signed(B, good))
    with pytest.raises(BadSignatureError):
        world.bob.handle(forged)


def test_a_trade_in_its_box_is_not_passed_by_a_claim_of_loss() -> None:
    """Bob has accepted; the market moves against Mallory, who would rather have lost her data."""
    world = opened()
    world.trade(A)
    nonce = world.propose(A, make_trade(make_leg(2)))
    world.deliver_all()
    world.answer(B)
    world.disconnect()
    bob = world.bob
    for _ in range(3):
        bob.handle(REQUEST)
        assert newly_signed(bob, said(recovery_state(world, LEAP + 5))) == []
        world.mine(36)
    assert not is_in(bob, Phase.RECOVERING)
    world.mine(36, blocks=FINALITY + 1)
    assert world.chain.head.view.nonce == nonce, "Bob had it recorded in its box"
    assert bob.channel.portfolio.positions[0].quantity == 3 * 10**18


def test_nothing_else_is_signed_until_it_is_final() -> None:
    world = standing()
    bob = world.bob
    bob.handle(REQUEST)
    assert newly_signed(bob, said(recovery_state(world, LEAP + 5))) == [LEAP + 5]
    trade = State(
        channel_id=ID,
        nonce=7,
        valid_until=world.chain.time + TIMING.box,
        portfolio=Portfolio(net_to_b=1),
    )
    half = m.HalfSigned(
        nonce=trade.nonce,
        valid_until=trade.valid_until,
        change=make_trade(),
        portfolio=trade.portfolio,
        signature=signed(A, trade),
    )
    void = State(channel_id=ID, nonce=LEAP + 7, portfolio=bob.channel.portfolio)
    for message in (
        m.Propose(channel_id=ID, proposal=half),
        m.Void(channel_id=ID, nonce=void.nonce, signature=signed(A, void)),
        m.Confirm(channel_id=ID, nonce=6, signature=signed(A, void)),
    ):
        assert newly_signed(bob, message) == []
    assert is_in(bob, Phase.RECOVERING)


def _stay(world: World) -> bool:
    """Mallory claims a loss and lets it lapse; whether Bob took part."""
    bob = world.bob
    bob.handle(REQUEST)
    took_part = is_in(bob, Phase.RECOVERING)
    for _ in range(40):
        world.chain.mine(60)
        bob.see()
        if is_in(bob, Phase.IDLE):
            break
    assert is_in(bob, Phase.IDLE), "a claim that nothing follows binds for two boxes"
    return took_part


def test_claims_without_end_tie_up_nobody() -> None:
    """Each costs Bob minutes; after eight within the time for a recovery he takes part no more."""
    world = standing()
    began = world.chain.time
    parts = [_stay(world) for _ in range(12)]
    assert world.chain.time < began + TIMING.recovery_time
    assert parts == [True] * 8 + [False] * 4
    world.chain.mine(TIMING.recovery_time)
    world.bob.see()
    assert _stay(world), "a true loss, later, is heard again"


def test_recoveries_that_are_recorded_are_bounded_too() -> None:
    """Mallory pays for each record herself; Bob's time is what she is after."""
    world = standing()
    bob, times = world.bob, 0
    began = world.chain.time
    for _ in range(12):
        bob.handle(REQUEST)
        if not is_in(bob, Phase.RECOVERING):
            break
        state = recovery_state(world, A.next_nonce(bob.channel.ledger.nonce + LEAP))
        assert newly_signed(bob, said(state)) == [state.nonce]
        times += 1
        assert world.chain.record(
            CoSigned(state=state, signature_a=signed(A, state), signature_b=signed(B, state))
        )
        for _ in range(FINALITY + 1):
            world.chain.mine()
            bob.see()
        assert is_in(bob, Phase.IDLE)
        assert bob.channel.ledger.full.state == state
    assert times == 8
    assert world.chain.time < began + TIMING.recovery_time


def test_a_half_that_is_never_recorded_ends_in_a_dispute() -> None:
    """Every record is censored: Bob has no nonce left to trade with, waits, and then disputes.

    What he files is what stands, and nothing that Mallory holds is newer: no stale penalty.
    """
    world = standing()
    bob = world.bob
    bob.handle(REQUEST)
    state = recovery_state(world, LEAP + 5)
    assert newly_signed(bob, said(state)) == [LEAP + 5]
    began = world.chain.time
    while is_in(bob, Phase.RECOVERING):
        world.chain.mine(600, censor=True)
        world.chain.mempool.clear()
        bob.see()
        assert world.chain.time < began + 2 * TIMING.recovery_time
    assert bob.told(RecoveryFailed) == [RecoveryFailed(nonce=4)]
    bob.see()
    world.chain.mine()
    view = world.chain.head.view
    assert (view.phase, view.filer, view.filed_nonce) == (OnChainPhase.DISPUTED, B, 4)
    late = CoSigned(state=state, signature_a=signed(A, state), signature_b=signed(B, state))
    assert not world.chain.record(late)


def test_a_lost_store_is_no_way_around_the_rules() -> None:
    """A recovering peer refuses its owner's trades too, and says by which rule."""
    world = standing()
    world.bob.handle(REQUEST)
    around = world.bob.channel.circumstances
    void = State(channel_id=ID, nonce=6, portfolio=world.bob.channel.portfolio)
    with pytest.raises(SigningRefusedError, match="rule 7: recovering"):
        check(Candidate(value=void), around)
    for command in (e.ProposeChange, e.SendQuote, e.RequestClose, e.Answer):
        assert (Phase.RECOVERING, command) not in TABLE
