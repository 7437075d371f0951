"""Recovery: whatever was lost, both end up with what stood, and nobody signs two things at a nonce.

Every combination of what was in flight when the copy was made, whose store was lost, and what came
afterwards, played by two real machines on the model chain. What must come out is known beforehand:
the newest portfolio that needed nothing more, or that the chain had recorded.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from channels.errors import BadNonceError, BadProposalError, BadSignatureError, IllegalCommandError
from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.calls import Checkpoint, CoSigned, Dispute
from channels.protocol.channel import Phase
from channels.protocol.effects import (
    PeerRecovering,
    Recovered,
    RecoveryFailed,
    RecoveryNeeded,
)
from channels.protocol.facts import OnChainPhase
from channels.protocol.halts import Mode
from channels.protocol.types import Party, Portfolio, State
from tests.protocol.build import FINALITY, ID, TIMING, UNIT, make_leg, make_trade
from tests.protocol.world import Peer, Transaction, World, co_signed, opened, signed

A, B = Party.A, Party.B
LEAP = 2**32
"""How far a recovery state lies above what it recovers (protocol.md, "Durability" 4)."""
DEPOSITS = 20_000 * UNIT

Lost = tuple[Party, ...]


# ---------------------------------------------------------------- scenes


def traded() -> World:
    """Alice bought one put: F is the affirmation at nonce 2."""
    world = opened()
    world.trade(A)
    return world


def untraded() -> World:
    return opened()


def proposed() -> World:
    world = traded()
    world.propose(A, make_trade(make_leg(2)))
    return world


def received() -> World:
    world = proposed()
    world.deliver_all()
    return world


def accepted() -> World:
    """Bob accepted; the Accept is on its way."""
    world = received()
    world.answer(B)
    return world


def unconfirmed() -> World:
    """Alice has confirmed; the Confirm is on its way to Bob."""
    world = accepted()
    world.deliver(A)
    return world


def voiding() -> World:
    world = received()
    world.answer(B, accept=False)
    return world


def closing() -> World:
    world = traded()
    world.trade(A, make_trade(make_leg(-1, price=110)))
    world.alice.handle(e.RequestClose(now=world.chain.time))
    return world


SCENES: dict[str, Callable[[], World]] = {
    scene.__name__: scene
    for scene in (*(untraded, traded, proposed, received, accepted, unconfirmed, voiding, closing),)
}


def stopped(world: World) -> None:
    """Nothing else happens."""


def delivered(world: World) -> None:
    """What was on its way arrives; what waits is accepted."""
    world.deliver_all()
    for side in Party:
        for nonce in list(world.peer(side).waiting):
            if world.peer(side).phase is Phase.RECEIVED:
                world.answer(side, nonce=nonce)
    world.deliver_all()


def three_more(world: World) -> None:
    """All is settled, and three more changes are made."""
    delivered(world)
    if world.phases == [Phase.IDLE, Phase.IDLE]:
        for side, quantity in ((A, 1), (B, -1), (A, 3)):
            world.trade(side, make_trade(make_leg(quantity)))


AFTERWARDS = (stopped, delivered, three_more)


# ---------------------------------------------------------------- playing them


def is_in(peer: Peer, phase: Phase) -> bool:
    return peer.phase is phase


def restore(world: World, side: Party, backup: bytes) -> Peer:
    """``side`` starts again from a copy of its store, as `channels.peer` starts it."""
    peer = world.peer(side)
    peer.store = backup
    world.disconnect()
    peer.restart()
    peer.handle(e.RestoredFromBackup())
    return peer


def asked(world: World) -> None:
    """The towers of whoever asks have nothing."""
    for peer in world.peers:
        if peer.phase is Phase.RECOVERING and not peer.channel.recovery.heard_sources:
            peer.handle(e.StatesFound(states=()))


def play(world: World, *, blocks: int = 160, seconds: int = 36) -> None:
    """Blocks and messages until both trade again, or the channel is over."""
    ended = {Phase.CLOSED, Phase.DISPUTED, Phase.RUN_OFF}
    for _ in range(blocks):
        if not world.connected:
            world.reconnect()
        world.deliver_all()
        asked(world)
        world.mine(seconds)
        world.deliver_all()
        if all(phase is Phase.IDLE for phase in world.phases) or ended & set(world.phases):
            return


def check_nobody_signed_twice(world: World) -> None:
    for peer in world.peers:
        signed_at: dict[int, bytes] = {}
        for each in peer.emitted:
            assert signed_at.setdefault(each.value.nonce, each.digest) == each.digest, (
                f"{peer.side.name} signed two things at nonce {each.value.nonce}"
            )


def newest(world: World) -> Portfolio:
    """The newest portfolio that either side holds as needing nothing more."""
    full = max((peer.channel.ledger.full.state for peer in world.peers), key=lambda s: s.nonce)
    return full.portfolio


def check_recovered(world: World, expected: Portfolio) -> None:
    """Both trade again, on the same state, whose portfolio is the expected one."""
    assert world.phases == [Phase.IDLE, Phase.IDLE], world.phases
    alice, bob = (peer.channel.ledger.full.state for peer in world.peers)
    assert alice == bob
    assert alice.portfolio == expected
    assert alice.nonce >= LEAP
    assert world.chain.head.view.nonce == alice.nonce
    assert world.chain.head.view.phase is OnChainPhase.OPEN
    check_nobody_signed_twice(world)


def check_usable(world: World) -> None:
    """A trade, its opposite, and the end of it: every unit that came in goes out."""
    for peer in world.peers:
        peer.waiting.clear()  # what waited for a decision lapsed
        peer.handle(e.SetMode(mode=Mode.NORMAL, reason="a Confirm was lost; all is well again"))
    held = newest(world).positions
    quantity = sum(each.quantity for each in held) // 10**18
    if quantity:
        world.trade(B, make_trade(make_leg(-quantity)))
    world.trade(A, make_trade(make_leg(1, price=90)))
    world.trade(B, make_trade(make_leg(-1, price=95)))
    expected = newest(world).net_to_b
    world.alice.handle(e.RequestClose(now=world.chain.time))
    world.deliver_all()
    world.answer(B)
    world.deliver_all()
    world.mine(blocks=2)
    assert world.phases == [Phase.CLOSED, Phase.CLOSED]
    assert world.chain.paid == {A: DEPOSITS // 2 - expected, B: DEPOSITS // 2 + expected}
    check_nobody_signed_twice(world)


@pytest.mark.parametrize("lost", [(A,), (B,), (A, B)], ids=["Alice", "Bob", "both"])
@pytest.mark.parametrize("afterwards", AFTERWARDS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("name", SCENES)
def test_a_copy_of_any_age(name: str, afterwards: Callable[[World], None], lost: Lost) -> None:
    world = SCENES[name]()
    copies = {side: world.peer(side).store for side in lost}
    afterwards(world)
    for side in lost:
        restore(world, side, copies[side])
    world.see()
    before = newest(world)
    play(world)
    if world.chain.head.view.phase is OnChainPhase.CLOSED:
        assert name == "closing"
        assert world.chain.paid is not None
        assert sum(world.chain.paid.values()) == DEPOSITS
        check_nobody_signed_twice(world)
        return
    recorded = [state.portfolio for state in world.chain.recorded.values()]
    expected = recorded[0] if len(recorded) > 1 else before
    check_recovered(world, expected)
    check_usable(world)


# ---------------------------------------------------------------- one thing at a time


def leading(world: World, side: Party = A) -> Peer:
    """``side`` has lost one trade, and has heard that it has."""
    copy = world.peer(side).store
    world.trade(A)
    peer = restore(world, side, copy)
    world.see()
    world.reconnect()
    world.deliver_all()
    return peer


def signed_first(world: World, side: Party = A) -> tuple[Peer, State]:
    """``side`` has signed its recovery state, which is on its way."""
    peer = leading(world, side)
    asked(world)
    for _ in range(40):
        if peer.emitted[-1].value.nonce >= LEAP:
            break
        world.mine(36)
        if peer.emitted[-1].value.nonce < LEAP:
            world.deliver_all()
    state = peer.emitted[-1].value
    assert isinstance(state, State)
    assert state.nonce >= LEAP
    return peer, state


def test_what_is_signed_is_boxed_far_above_and_of_its_own_parity() -> None:
    for side in Party:
        world = traded()
        _, state = signed_first(world, side)
        assert state.nonce % 2 == (1 if side is A else 0)
        assert 4 + LEAP < state.nonce <= 4 + 2 * LEAP
        assert state.valid_until == world.chain.time + TIMING.box
        assert state.portfolio == world.peer(side.other).channel.portfolio


def test_nothing_is_signed_before_all_were_asked_and_what_was_forgotten_is_dead() -> None:
    """The towers are silent for hours; then what a box needs to pass in a final block."""
    world = traded()
    alice = leading(world)
    emitted = len(alice.emitted)
    for _ in range(100):
        world.mine(60)
        world.deliver_all()
    assert len(alice.emitted) == emitted
    assert alice.channel.recovery.heard_peer
    asked(world)
    world.mine(12)
    assert len(alice.emitted) == emitted + 1

    world = traded()
    alice = leading(world)
    asked(world)
    begun, emitted = world.chain.time, len(alice.emitted)
    while len(alice.emitted) == emitted:
        world.mine(12)
        world.deliver_all()
        assert world.chain.time < begun + 3_600
    assert world.chain.blocks[world.chain.final].timestamp > begun + TIMING.box


def test_the_peer_signs_only_its_own_portfolio() -> None:
    """A party that claims a loss and signs what stood before its last trade."""
    world = traded()
    before = world.bob.channel.portfolio
    world.trade(A)
    rolled_back = State(
        channel_id=ID, nonce=LEAP + 7, valid_until=world.chain.time + TIMING.box, portfolio=before
    )
    emitted = len(world.bob.emitted)
    world.bob.handle(m.RecoverRequest(channel_id=ID, wants_risk=False))
    world.bob.handle(
        m.Recover(
            channel_id=ID,
            nonce=rolled_back.nonce,
            valid_until=rolled_back.valid_until,
            portfolio_hash=before.struct_hash,
            signature=signed(A, rolled_back),
        )
    )
    assert len(world.bob.emitted) == emitted


def test_the_peer_answers_only_when_its_own_boxes_are_dead() -> None:
    """Bob has a proposal out, which a Mallory that only claims a loss could still accept."""
    world = traded()
    world.propose(B)
    bob, emitted = world.bob, len(world.bob.emitted)
    world.wires[A].clear()
    request = m.RecoverRequest(channel_id=ID, wants_risk=False)
    assert bob.handle(request) == ()
    assert is_in(bob, Phase.PROPOSED)
    world.wait_out_box()
    bob.handle(request)
    assert is_in(bob, Phase.RECOVERING)
    assert len(bob.told(PeerRecovering)) == 1
    assert len(bob.emitted) == emitted


def test_a_peer_that_never_comes_back_is_not_waited_for() -> None:
    world = traded()
    world.bob.handle(m.RecoverRequest(channel_id=ID, wants_risk=False))
    assert is_in(world.bob, Phase.RECOVERING)
    world.wires[A].clear()
    world.mine(60, blocks=2 * TIMING.box // 60 + FINALITY + 2)
    assert is_in(world.bob, Phase.IDLE)
    world.trade(B)


def test_the_box_passes_unrecorded_and_the_next_one_is_higher() -> None:
    """Every checkpoint is censored once; both go on asking, and neither can sign anything else."""
    world = traded()
    alice, first = signed_first(world)
    expected = first.portfolio
    world.deliver_all()
    assert world.bob.emitted[-1].value == first
    world.wait_out_box(censor=True)
    world.chain.mempool.clear()
    assert world.phases == [Phase.RECOVERING, Phase.RECOVERING]
    play(world)
    assert alice.channel.ledger.nonce > first.nonce
    check_recovered(world, expected)
    check_usable(world)


def test_nobody_files_anything_older_while_the_box_is_open() -> None:
    world = traded()
    alice, state = signed_first(world)
    with pytest.raises(IllegalCommandError, match="recovery state"):
        alice.handle(e.StartDispute())
    world.wires[B].clear()
    world.wait_out_box()
    alice.handle(e.StartDispute())
    world.mine()
    view = world.chain.head.view
    assert (view.phase, view.filer) == (OnChainPhase.DISPUTED, A)
    assert view.nonce < state.nonce


def test_what_is_co_signed_can_be_filed_at_once() -> None:
    world = traded()
    _, state = signed_first(world)
    world.deliver_all()
    world.bob.handle(e.StartDispute())
    submitted = world.bob.submitted[-1].call
    assert isinstance(submitted, Dispute)
    assert submitted.newest is not None
    assert submitted.newest.state == state


def test_the_peer_puts_it_on_chain_where_we_do_not() -> None:
    world = traded()
    alice, state = signed_first(world)
    world.deliver(B)
    world.wires[A].clear()
    world.mine(TIMING.confirm_within)
    call = world.bob.submitted[-1].call
    assert isinstance(call, Checkpoint)
    assert call.newest.state == state
    assert not any(isinstance(each.call, Checkpoint) for each in alice.submitted)
    play(world)
    check_recovered(world, state.portfolio)


def test_without_an_answer_the_best_known_state_is_disputed() -> None:
    """It says that this may cost the stale penalty, and names what it files."""
    world = traded()
    copy = world.alice.store
    world.trade(A)
    alice = restore(world, A, copy)
    world.see()
    begun = world.chain.time
    while is_in(alice, Phase.RECOVERING):
        world.mine(600)
    assert world.chain.time > begun + TIMING.recovery_time
    assert is_in(alice, Phase.DISPUTED)
    assert alice.told(RecoveryFailed) == [RecoveryFailed(nonce=2)]
    world.mine()
    assert world.chain.head.view.filed_nonce == 2
    world.chain.record(co_signed(world, 4))
    assert world.chain.head.view.nonce == 4, "Bob refutes it with what stands"


def test_a_dispute_that_is_reorganised_away_leaves_the_doubt() -> None:
    """Back in an open channel, a party that does not know what it signed signs nothing."""
    world = traded()
    copy = world.alice.store
    world.trade(A)
    restore(world, A, copy)
    world.see()
    older = co_signed(world, 2)
    call = Dispute(terms=world.chain.opening.terms, newest=older)
    world.chain.mempool[b"somebody"] = Transaction(call, B)
    world.mine()
    assert is_in(world.alice, Phase.DISPUTED)
    world.chain.reorganise(1)
    world.chain.mempool.clear()
    world.mine(blocks=FINALITY + 2)
    assert is_in(world.alice, Phase.RECOVERING)


def test_who_has_countersigned_still_recovers_after_such_a_dispute() -> None:
    """The box passed meanwhile, and left Bob no nonce to trade with: he must not rest."""
    world = traded()
    _, state = signed_first(world)
    world.deliver(B)
    world.wires[A].clear()
    world.chain.mempool.clear()
    call = Dispute(terms=world.chain.opening.terms, newest=co_signed(world, 2))
    world.chain.mempool[b"somebody"] = Transaction(call, A)
    world.mine()
    assert is_in(world.bob, Phase.DISPUTED)
    world.chain.reorganise(1)
    world.chain.mempool.clear()
    world.mine(60, blocks=FINALITY + 4, censor=True)
    world.chain.mempool.clear()
    assert is_in(world.bob, Phase.RECOVERING)
    play(world)
    check_recovered(world, state.portfolio)


def test_a_second_loss_in_the_middle_of_a_recovery() -> None:
    """The same copy again, after Bob has countersigned: no nonce is signed twice."""
    world = traded()
    copy = world.alice.store
    world.trade(A)
    expected = world.bob.channel.portfolio
    restore(world, A, copy)
    world.see()
    world.reconnect()
    for _ in range(30):
        world.deliver_all()
        asked(world)
        world.mine(36)
        if world.bob.emitted[-1].value.nonce >= LEAP:
            break
    assert world.bob.emitted[-1].value.nonce >= LEAP
    restore(world, A, copy)
    world.see()
    play(world)
    check_recovered(world, expected)
    check_usable(world)


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "lost on its way"])
def test_a_copy_made_in_the_middle_of_a_recovery(heard: bool) -> None:
    """Alice has signed her recovery state since: Bob may have it, and may not say so."""
    world = traded()
    alice = leading(world)
    expected = world.bob.channel.portfolio
    asked(world)
    while alice.emitted[-1].value.nonce < LEAP:
        copy = alice.store
        world.mine(36)
    if heard:
        world.deliver_all()
        assert world.bob.emitted[-1].value == alice.emitted[-1].value
    restore(world, A, copy)
    world.see()
    world.wait_out_box(censor=True)
    world.chain.mempool.clear()
    play(world)
    check_recovered(world, expected)
    assert sum(each.value.nonce >= LEAP for each in alice.emitted) >= 2
    check_usable(world)


def test_nothing_is_countersigned_on_the_peers_word_alone() -> None:
    """Mallory has Bob's key: she signs first, what she would like Alice to have forgotten."""
    world = traded()
    alice = lost_all(world)
    emitted = len(alice.emitted)
    state = State(
        channel_id=ID,
        nonce=LEAP + 2,
        valid_until=world.chain.time + TIMING.box,
        portfolio=alice.channel.portfolio,
    )
    message = m.Recover(
        channel_id=ID,
        nonce=state.nonce,
        valid_until=state.valid_until,
        portfolio_hash=state.portfolio_hash,
        signature=signed(B, state),
    )
    alice.handle(message)
    assert len(alice.emitted) == emitted
    alice.handle(offer(world, B, State(channel_id=ID, nonce=0), mine=None, yours=None))
    alice.handle(message)
    assert len(alice.emitted) == emitted, "her towers have not been heard"
    alice.handle(e.StatesFound(states=(co_signed(world, 2),)))
    alice.handle(message)
    assert len(alice.emitted) == emitted, "they know better"
    assert alice.channel.ledger.nonce == 2


def test_a_copy_made_before_the_channel_was_open() -> None:
    """Restored, it must not begin at nonce 1 again."""
    world = World()
    world.deliver(A)
    copy = world.alice.store
    world.deliver_all()
    world.mine(blocks=FINALITY + 2)
    world.deliver_all()
    world.trade(A)
    expected = world.bob.channel.portfolio
    alice = restore(world, A, copy)
    assert is_in(alice, Phase.SUBMITTED)
    world.see()
    assert is_in(alice, Phase.RECOVERING)
    play(world)
    check_recovered(world, expected)
    check_usable(world)


def test_a_lost_change_is_told_void() -> None:
    """Bob accepted, and nothing was recorded in its box: the change comes to nothing, and is named.

    Its Confirm was lost with Alice's data, if there ever was one.
    """
    world = traded()
    copy = world.alice.store
    before = world.bob.channel.portfolio
    nonce = world.propose(A)
    world.deliver_all()
    world.answer(B)
    affirmation = world.bob.emitted[-1].value
    restore(world, A, copy)
    world.see()
    world.mine(36, blocks=4 + FINALITY, censor=True)
    world.chain.mempool.clear()
    world.reconnect()
    play(world)
    check_recovered(world, before)
    (told,) = world.bob.told(Recovered)
    assert isinstance(told, Recovered)
    assert told.voided == (nonce, affirmation.nonce)
    assert told.portfolio == before


# ---------------------------------------------------------------- what is shown, and by whom


def offer(world: World, by: Party, state: State, **forced: object) -> m.RecoverOffer:
    fields: dict[str, object] = {
        "channel_id": ID,
        "nonce": state.nonce,
        "valid_until": state.valid_until,
        "portfolio": state.portfolio,
        "mine": signed(by, state),
        "yours": signed(by.other, state),
        "seen": state.nonce,
        "risk": (),
    }
    return m.RecoverOffer(**(fields | forced))  # type: ignore[arg-type]


def lost_all(world: World) -> Peer:
    """Alice has nothing but the opening, and hears nobody."""
    copy = opened().alice.store
    alice = restore(world, A, copy)
    world.see()
    return alice


def test_what_is_offered_needs_both_signatures() -> None:
    world = traded()
    alice = lost_all(world)
    state = State(channel_id=ID, nonce=40, portfolio=Portfolio(net_to_b=7))
    wrong = attrs.evolve(state, nonce=42)
    for forced in (
        {"mine": None},
        {"yours": None},
        {"yours": signed(A, wrong)},
        {"mine": signed(B, wrong)},
        {"yours": signed(B, state)},
    ):
        with pytest.raises(BadSignatureError):
            alice.handle(offer(world, B, state, **forced))
    assert alice.channel.ledger.nonce == 0
    assert not alice.channel.recovery.heard_peer


def test_a_boxed_state_is_adopted_only_once_it_is_final_on_chain() -> None:
    world = traded()
    alice = lost_all(world)
    boxed = State(
        channel_id=ID,
        nonce=5,
        valid_until=world.chain.time + 120,
        portfolio=world.bob.channel.portfolio,
    )
    alice.handle(offer(world, B, boxed))
    assert alice.channel.ledger.nonce == 0
    evidence = CoSigned(state=boxed, signature_a=signed(A, boxed), signature_b=signed(B, boxed))
    alice.handle(e.StatesFound(states=(evidence,)))
    assert alice.channel.ledger.nonce == 0
    world.chain.record(evidence)
    world.chain.mine()
    for _ in range(FINALITY):
        world.chain.mine()
    alice.see()
    alice.handle(offer(world, B, boxed, mine=None, yours=None))
    assert alice.channel.ledger.nonce == 5


def test_an_offer_below_what_the_chain_shows_is_not_believed() -> None:
    """The peer shows an old permanent state, and the chain has recorded a newer one as final."""
    world = traded()
    old = co_signed(world, 2).state
    world.trade(A)
    world.chain.record(co_signed(world, 4))
    for _ in range(FINALITY + 1):
        world.chain.mine()
    alice = lost_all(world)
    alice.handle(offer(world, B, old))
    assert not alice.channel.recovery.heard_peer
    assert alice.channel.ledger.nonce == 0


def test_an_offer_of_another_portfolio_where_we_stand_is_the_peers_fault() -> None:
    world = traded()
    alice = leading(world)
    here = alice.channel.ledger.full.state
    with pytest.raises(BadProposalError):
        alice.handle(offer(world, B, attrs.evolve(here, portfolio=Portfolio(net_to_b=9))))


def test_nonces_said_to_be_seen_are_bounded() -> None:
    """Else a peer could push us to where no nonce is left."""
    world = traded()
    alice = lost_all(world)
    with pytest.raises(BadNonceError):
        alice.handle(offer(world, B, co_signed(world, 2).state, seen=2**64 - 1))


def test_what_a_tower_holds_may_show_that_we_lost_data() -> None:
    """Before the peer is there; rubbish among it changes nothing."""
    world = traded()
    copy = opened().alice.store
    world.alice.store = copy
    world.disconnect()
    world.alice.restart()
    world.see()
    good = co_signed(world, 2)
    forged = attrs.evolve(good, state=attrs.evolve(good.state, nonce=9))
    world.alice.handle(e.StatesFound(states=(forged,)))
    assert is_in(world.alice, Phase.IDLE)
    world.alice.handle(e.StatesFound(states=(forged, good)))
    assert is_in(world.alice, Phase.RECOVERING)
    assert world.alice.told(RecoveryNeeded) == [RecoveryNeeded(newest_known=0, shown=2)]
    world.alice.handle(e.StatesFound(states=(forged, good)))
    assert world.alice.channel.ledger.full.state == good.state
