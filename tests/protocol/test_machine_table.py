"""Every (phase, event) pair: the legal ones do what they should, all others are refused by name.

`DRIVEN` counts only what a machine answered without an error in a scene played by two real
machines, so a legal pair that no scene reaches fails `test_every_legal_pair_is_driven`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import attrs
import pytest

from channels.errors import IllegalCommandError, UnexpectedMessageError
from channels.pricing import Kind
from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.channel import OPEN_PHASES, Mode, Phase
from channels.protocol.effects import (
    ChangeConfirmed,
    ChannelEnded,
    CloseRequested,
    DisputeSeen,
    OpeningEnded,
    OpeningSucceeded,
    PeerComplained,
    ProposalReceived,
    QuoteDeclined,
    QuoteRequested,
    RecoveryNeeded,
)
from channels.protocol.machine import COMMANDS, MESSAGES, TABLE, step
from channels.protocol.messages import Reason
from channels.protocol.records import encode_channel
from channels.protocol.signing import Signature
from channels.protocol.types import Closing, Party, Spot, State, Withdrawal
from tests.protocol.build import (
    ETH,
    EXPIRY,
    FINALITY,
    ID,
    SIGNERS,
    STRIKE,
    UNIT,
    WAD,
    make_draft,
    make_leg,
    make_marks,
    make_trade,
)
from tests.protocol.world import DRIVEN, Peer, World, half_signed, opened, shown, signed

Scene = tuple[World, Peer]

A, B = Party.A, Party.B
CLOSE_BOX = 3_600
"""Seconds that the contract accepts a Closing ahead (adjudication.md, `close`)."""


# ---------------------------------------------------------------- a channel in every phase


def asked() -> Scene:
    world = World()
    return world, world.alice


def granted() -> Scene:
    world = World()
    return world, world.bob


def submitted() -> Scene:
    world = World()
    world.deliver(A)
    return world, world.alice


def traded() -> World:
    """Alice bought one put: F is the affirmation at nonce 2."""
    world = opened()
    assert world.trade(A) == 2
    return world


def flat() -> World:
    """Bought and sold again: F at nonce 4, nothing open."""
    world = traded()
    world.trade(A, make_trade(make_leg(-1, price=110)))
    assert world.alice.channel.portfolio.positions == ()
    return world


def idle() -> Scene:
    world = traded()
    return world, world.alice


def proposed() -> Scene:
    world = traded()
    world.propose(A)
    return world, world.alice


def received() -> Scene:
    world, _ = proposed()
    world.deliver_all()
    return world, world.bob


def accepted() -> Scene:
    world, bob = received()
    world.answer(B)
    return world, bob


def voiding() -> Scene:
    world, bob = received()
    world.answer(B, accept=False)
    return world, bob


def closing() -> Scene:
    world = flat()
    world.alice.handle(e.RequestClose(now=world.chain.time))
    return world, world.alice


def recovering() -> Scene:
    """Alice starts from a backup made before the trade; Bob shows her own newer signature."""
    world = opened()
    backup = world.alice.store
    world.trade(A)
    world.alice.store = backup
    world.disconnect()
    world.alice.restart()
    world.see()
    world.reconnect()
    world.deliver(A)
    return world, world.alice


def disputed() -> Scene:
    world = traded()
    world.alice.handle(e.StartDispute())
    world.mine()
    return world, world.alice


def run_off() -> Scene:
    world, alice = disputed()
    world.mine(86_400, blocks=2)
    return world, alice


def closed() -> Scene:
    world, alice = closing()
    world.deliver_all()
    world.answer(B)
    world.deliver_all()
    world.mine(blocks=2)
    return world, alice


def abandoned() -> Scene:
    world = World()
    world.disconnect()
    world.mine(3_600, blocks=FINALITY + 2)
    return world, world.bob


SCENES: dict[Phase, Callable[[], Scene]] = {
    Phase.ASKED: asked,
    Phase.GRANTED: granted,
    Phase.SUBMITTED: submitted,
    Phase.IDLE: idle,
    Phase.PROPOSED: proposed,
    Phase.RECEIVED: received,
    Phase.ACCEPTED: accepted,
    Phase.VOIDING: voiding,
    Phase.CLOSING: closing,
    Phase.RECOVERING: recovering,
    Phase.DISPUTED: disputed,
    Phase.RUN_OFF: run_off,
    Phase.CLOSED: closed,
    Phase.ABANDONED: abandoned,
}


# ---------------------------------------------------------------- an event of every type


def reestablish(world: World, peer: Peer) -> m.Reestablish:
    """What the other side says after a reconnect, standing where we stand."""
    return shown(peer.channel.ledger.full.state, peer.channel.ledger.full.mine)


def proposal(world: World, peer: Peer) -> m.Propose:
    return m.Propose(channel_id=ID, proposal=half_signed(world, peer.side.other))


def quote(world: World, peer: Peer) -> m.Quote:
    return m.Quote(
        channel_id=ID,
        request_id=bytes(16),
        expires_at=world.chain.time + 5,
        sides=(half_signed(world, peer.side.other),),
    )


def _waiting_nonce(peer: Peer) -> int:
    """Nonce of the newest first signature of ours that waits for its answer, else an old one."""
    own = [each.nonce for each in peer.channel.ledger.entries if peer.side.leads(each.nonce)]
    return max(own, default=0)


def accept(world: World, peer: Peer) -> m.Accept:
    """The Accept of what this peer waits for; where it waits for none, that of an old trade."""
    other = peer.side.other
    nonce = _waiting_nonce(peer)
    entry = peer.channel.ledger.entry(nonce)
    if entry is None or (isinstance(entry.value, State) and entry.permanent):
        return m.Accept(
            channel_id=ID,
            nonce=0,
            signature=SIGNERS[other].sign_digest(bytes(32)),
            affirmation_nonce=0,
            affirmation=None,
        )
    if not isinstance(entry.value, State):
        return m.Accept(
            channel_id=ID,
            nonce=nonce,
            signature=signed(other, entry.value),
            affirmation_nonce=0,
            affirmation=None,
        )
    affirmation = State(
        channel_id=ID, nonce=other.next_nonce(nonce), portfolio=entry.value.portfolio
    )
    return m.Accept(
        channel_id=ID,
        nonce=nonce,
        signature=signed(other, entry.value),
        affirmation_nonce=affirmation.nonce,
        affirmation=signed(other, affirmation),
    )


def confirm(world: World, peer: Peer) -> m.Confirm:
    """The Confirm this peer waits for; where it waits for none, one that F has passed."""
    nonce = _waiting_nonce(peer)
    entry = peer.channel.ledger.entry(nonce)
    if entry is None or not entry.permanent:
        return m.Confirm(
            channel_id=ID, nonce=0, signature=SIGNERS[peer.side.other].sign_digest(bytes(32))
        )
    return m.Confirm(channel_id=ID, nonce=nonce, signature=signed(peer.side.other, entry.value))


def reject(world: World, peer: Peer) -> m.Reject:
    nonce = _waiting_nonce(peer)
    entry = peer.channel.ledger.entry(nonce)
    return m.Reject(
        channel_id=ID,
        nonce=0 if entry is None or entry.permanent else nonce,
        reason=Reason.PRICE,
        text="too dear",
        void_nonce=0,
        void=None,
    )


def void(world: World, peer: Peer) -> m.Void:
    """A void of the other side above all that this peer has signed."""
    other, ledger = peer.side.other, peer.channel.ledger
    state = State(
        channel_id=ID, nonce=other.next_nonce(ledger.highest_seen), portfolio=ledger.portfolio
    )
    may = peer.phase in (Phase.IDLE, Phase.PROPOSED, Phase.RECEIVED, Phase.VOIDING)
    nonce = state.nonce if may else 0
    return m.Void(channel_id=ID, nonce=nonce, signature=signed(other, state))


def close_request(world: World, peer: Peer) -> m.CloseRequest:
    other, ledger = peer.side.other, peer.channel.ledger
    value = Closing(
        channel_id=ID,
        nonce=other.next_nonce(ledger.highest_seen),
        valid_until=world.chain.time + CLOSE_BOX,
        net_to_b=ledger.portfolio.net_to_b,
    )
    return m.CloseRequest(channel_id=ID, closing=value, signature=signed(other, value))


def withdraw_request(world: World, peer: Peer) -> m.WithdrawRequest:
    other, ledger = peer.side.other, peer.channel.ledger
    state = State(
        channel_id=ID,
        nonce=other.next_nonce(ledger.highest_seen),
        valid_until=world.chain.time + 120,
        portfolio=ledger.portfolio,
    )
    value = Withdrawal(state=state, amount_a=1, amount_b=2)
    return m.WithdrawRequest(channel_id=ID, withdrawal=value, signature=signed(other, value))


def open_request(world: World, peer: Peer) -> m.OpenRequest:
    return m.OpenRequest(requester=A, opening=world.chain.opening, risk=peer.channel.risk)


def open_accept(world: World, peer: Peer) -> m.OpenAccept:
    mine = world.bob.channel.track.mine
    assert mine is not None
    return m.OpenAccept(channel_id=ID, signature=mine)


def recover_offer(world: World, peer: Peer) -> m.RecoverOffer:
    """The other side shows the F that both had before either traded: the empty one, or ours."""
    full = peer.channel.ledger.full
    return m.RecoverOffer(
        channel_id=ID,
        nonce=full.state.nonce,
        valid_until=0,
        portfolio=full.state.portfolio,
        mine=full.theirs,
        yours=full.mine,
        seen=full.state.nonce,
        risk=(),
    )


def recover(world: World, peer: Peer) -> m.Recover:
    """A recovery state of the other side's whose box has all but passed: nobody signs it."""
    other = peer.side.other
    state = State(
        channel_id=ID,
        nonce=other.next_nonce(peer.channel.ledger.nonce + 2**32),
        valid_until=world.chain.time + 1,
        portfolio=peer.channel.portfolio,
    )
    return m.Recover(
        channel_id=ID,
        nonce=state.nonce,
        valid_until=state.valid_until,
        portfolio_hash=state.portfolio_hash,
        signature=signed(other, state),
    )


def draft(world: World, peer: Peer) -> e.Draft:
    return make_draft(peer.channel.portfolio, make_trade(), world.chain.time)


EVENTS: dict[type, Callable[[World, Peer], e.Command | m.Message]] = {
    m.Hello: lambda w, p: m.Hello(
        signer=SIGNERS[B].address,
        chain_id=1,
        adjudicator=w.alice.channel.domain.adjudicator,
        software="x",
        challenge=bytes(32),
        proof=Signature(bytes(64)),
    ),
    m.Challenge: lambda w, p: m.Challenge(challenge=bytes(32)),
    m.Reestablish: reestablish,
    m.Ping: lambda w, p: m.Ping(token=1),
    m.Pong: lambda w, p: m.Pong(token=1),
    m.Error: lambda w, p: m.Error(channel_id=ID, reason=Reason.PROTOCOL, text="what?"),
    m.OpenRequest: open_request,
    m.OpenAccept: open_accept,
    m.OpenReject: lambda w, p: m.OpenReject(channel_id=ID, reason=Reason.LIMIT, text="no"),
    m.Opened: lambda w, p: m.Opened(channel_id=ID),
    m.Propose: proposal,
    m.Accept: accept,
    m.Confirm: confirm,
    m.Reject: reject,
    m.Void: void,
    m.RequestForQuote: lambda w, p: m.RequestForQuote(
        channel_id=ID, request_id=bytes(16), legs=(_rfq_leg(),), time_to_live=5
    ),
    m.Quote: quote,
    m.QuoteReject: lambda w, p: m.QuoteReject(
        channel_id=ID, request_id=bytes(16), reason=Reason.PRICE, text=""
    ),
    m.CloseRequest: close_request,
    m.WithdrawRequest: withdraw_request,
    e.ProposeChange: lambda w, p: e.ProposeChange(draft=draft(w, p), now=w.chain.time),
    e.RequestQuote: lambda w, p: e.RequestQuote(
        request_id=bytes(16), legs=(_rfq_leg(),), time_to_live=5
    ),
    e.SendQuote: lambda w, p: e.SendQuote(
        request_id=bytes(16), sides=(draft(w, p),), expires_at=w.chain.time + 5, now=w.chain.time
    ),
    e.RefuseQuote: lambda w, p: e.RefuseQuote(request_id=bytes(16), reason=Reason.PRICE),
    e.Answer: lambda w, p: e.Answer(nonce=(p.waiting or [1])[0], accept=True, now=w.chain.time),
    e.RequestClose: lambda w, p: e.RequestClose(now=w.chain.time),
    e.RequestWithdrawal: lambda w, p: e.RequestWithdrawal(ours=3, theirs=0),
    e.StartDispute: lambda w, p: e.StartDispute(),
    m.Cancel: lambda w, p: m.Cancel(channel_id=ID, nonce=(p.waiting or [1])[0]),
    m.MarkReport: lambda w, p: m.MarkReport(
        channel_id=ID,
        wants_answer=True,
        marked_at=w.chain.time,
        spots=(Spot(feed=ETH, price=3_000 * WAD),),
        series=(
            m.SeriesReport(
                feed=ETH,
                kind=Kind.PUT,
                expiry=EXPIRY,
                strike=STRIKE,
                forward=3_000 * WAD,
                vol=WAD // 2,
                carry=0,
            ),
        ),
    ),
    m.MarginCall: lambda w, p: m.MarginCall(
        channel_id=ID, nonce=2, amount=5 * UNIT, due_by=w.chain.time + 86_400
    ),
    m.DisputeNotice: lambda w, p: m.DisputeNotice(
        channel_id=ID, nonce=2, positions=(_disputed_position(),)
    ),
    m.RecoverRequest: lambda w, p: m.RecoverRequest(channel_id=ID, wants_risk=False),
    m.RecoverOffer: recover_offer,
    m.Recover: recover,
    m.RecoverAccept: lambda w, p: m.RecoverAccept(
        channel_id=ID, nonce=2**32, signature=SIGNERS[p.side.other].sign_digest(bytes(32))
    ),
    e.StatesFound: lambda w, p: e.StatesFound(states=()),
    e.CancelProposals: lambda w, p: e.CancelProposals(),
    e.ReportMarks: lambda w, p: e.ReportMarks(
        marks=make_marks(p.channel.portfolio, make_trade(), w.chain.time), wants_answer=True
    ),
    e.DisputeMarks: lambda w, p: e.DisputeMarks(positions=(_disputed_position(),)),
    e.IssueMarginCall: lambda w, p: e.IssueMarginCall(
        amount=5 * UNIT, due_by=w.chain.time + 86_400
    ),
    e.EndMarginCall: lambda w, p: e.EndMarginCall(called=p.side),
    e.SetMode: lambda w, p: e.SetMode(mode=Mode.HALTED, reason="operator"),
    e.Connected: lambda w, p: e.Connected(),
    e.RestoredFromBackup: lambda w, p: e.RestoredFromBackup(),
    e.Resume: lambda w, p: e.Resume(),
    e.ChainSeen: lambda w, p: w.chain.seen(),
}


def _disputed_position() -> m.DisputedPosition:
    return m.DisputedPosition(
        feed=ETH, kind=Kind.PUT, expiry=EXPIRY, strike=STRIKE, mine=90 * UNIT, yours=110 * UNIT
    )


def _rfq_leg() -> m.Leg:
    leg = make_leg()
    return m.Leg(
        feed=leg.feed, kind=leg.kind, expiry=leg.expiry, strike=leg.strike, quantity=leg.quantity
    )


KINDS = sorted(EVENTS, key=lambda kind: kind.__name__)
LEGAL = [(phase, kind) for phase in Phase for kind in KINDS if (phase, kind) in TABLE]
ILLEGAL = [(phase, kind) for phase in Phase for kind in KINDS if (phase, kind) not in TABLE]


def name(value: object) -> str | None:
    if isinstance(value, Phase):
        return value.name
    return value.__name__ if isinstance(value, type) else None


SPECIAL: dict[tuple[Phase, type], Callable[[], Scene]] = {
    # A Closing needs a flat book.
    (Phase.IDLE, e.RequestClose): lambda: (lambda w: (w, w.alice))(flat()),
}

AFTER: dict[tuple[Phase, type], Phase] = {
    (Phase.ASKED, m.OpenAccept): Phase.SUBMITTED,
    (Phase.ASKED, m.OpenReject): Phase.ABANDONED,
    (Phase.IDLE, e.ProposeChange): Phase.PROPOSED,
    (Phase.IDLE, e.SendQuote): Phase.PROPOSED,
    (Phase.IDLE, e.RequestClose): Phase.CLOSING,
    (Phase.IDLE, e.RequestWithdrawal): Phase.CLOSING,
    (Phase.RECEIVED, e.Answer): Phase.ACCEPTED,
    (Phase.IDLE, m.Propose): Phase.RECEIVED,
    (Phase.IDLE, m.Quote): Phase.RECEIVED,
    (Phase.PROPOSED, m.Propose): Phase.RECEIVED,
    (Phase.PROPOSED, m.Quote): Phase.RECEIVED,
    (Phase.VOIDING, m.Propose): Phase.RECEIVED,
    (Phase.VOIDING, m.Quote): Phase.RECEIVED,
    (Phase.PROPOSED, m.Accept): Phase.IDLE,
    (Phase.ACCEPTED, m.Confirm): Phase.IDLE,
    (Phase.VOIDING, m.Confirm): Phase.IDLE,
    (Phase.RECEIVED, m.Void): Phase.IDLE,
    (Phase.RECEIVED, m.Cancel): Phase.VOIDING,
    **{(phase, e.RestoredFromBackup): Phase.RECOVERING for phase in OPEN_PHASES},
    # Whoever has nothing boxed in flight takes part in the other's recovery.
    (Phase.IDLE, m.RecoverRequest): Phase.RECOVERING,
    (Phase.RECEIVED, m.RecoverRequest): Phase.RECOVERING,
    (Phase.VOIDING, m.RecoverRequest): Phase.RECOVERING,
}
"""Where a pair leads, from the three messages of protocol.md; not named: the phase stays."""

ENDS_IN_DISPUTE = {
    Phase.IDLE, Phase.PROPOSED, Phase.RECEIVED, Phase.ACCEPTED, Phase.VOIDING, Phase.CLOSING,
    Phase.RECOVERING,
}  # fmt: skip


def test_the_enumeration_is_complete() -> None:
    assert set(EVENTS) == set(get_args(e.Command)) | set(get_args(m.Message))
    assert set(EVENTS) == COMMANDS | MESSAGES
    assert set(SCENES) == set(Phase)
    assert {kind for _, kind in TABLE} <= set(EVENTS)
    assert len(LEGAL) + len(ILLEGAL) == len(Phase) * len(EVENTS) == 14 * 47
    assert len(LEGAL) == len(TABLE)


@pytest.mark.parametrize("phase", Phase, ids=name)
def test_scene_is_in_its_phase(phase: Phase) -> None:
    _, peer = SCENES[phase]()
    assert peer.phase is phase


@pytest.mark.parametrize(("phase", "kind"), LEGAL, ids=name)
def test_legal_pair(phase: Phase, kind: type) -> None:
    world, peer = SPECIAL.get((phase, kind), SCENES[phase])()
    assert peer.phase is phase
    event = EVENTS[kind](world, peer)
    try:
        peer.handle(event)
    except Exception as error:
        raise AssertionError(f"{kind.__name__} is legal in {phase.name}: {error}") from error
    expected = AFTER.get((phase, kind), phase)
    if kind is e.StartDispute:
        assert phase in ENDS_IN_DISPUTE
        expected = Phase.DISPUTED
    if (phase, kind) not in LEFT_TO_SCENES:
        assert peer.phase is expected
    assert (phase, kind) in DRIVEN


LEFT_TO_SCENES = {
    # Where these lead depends on what else is in flight; the attacks and the stateful test say.
    (Phase.CLOSING, m.CloseRequest),
    (Phase.IDLE, m.CloseRequest),
    (Phase.PROPOSED, m.CloseRequest),
    (Phase.RECEIVED, m.CloseRequest),
    (Phase.VOIDING, m.CloseRequest),
    (Phase.CLOSING, m.WithdrawRequest),
    (Phase.IDLE, m.WithdrawRequest),
    (Phase.PROPOSED, m.WithdrawRequest),
    (Phase.RECEIVED, m.WithdrawRequest),
    (Phase.VOIDING, m.WithdrawRequest),
    (Phase.VOIDING, m.Void),
    (Phase.PROPOSED, m.Void),
}


@pytest.mark.parametrize(("phase", "kind"), ILLEGAL, ids=name)
def test_illegal_pair(phase: Phase, kind: type) -> None:
    world, peer = _SHARED.setdefault(phase, SCENES[phase]())
    before, stored = peer.channel, encode_channel(peer.channel)
    event = EVENTS[kind](world, peer)
    expected = UnexpectedMessageError if kind in MESSAGES else IllegalCommandError
    with pytest.raises(expected, match=phase.name) as caught:
        step(peer.channel, event)
    assert kind.__name__ in str(caught.value)
    assert caught.value.fault == ("the peer's" if kind in MESSAGES else "ours")
    assert caught.value.next_step
    assert peer.channel == before
    assert encode_channel(peer.channel) == stored


_SHARED: dict[Phase, Scene] = {}
"""Illegal events change nothing, so one scene a phase serves them all."""


def test_every_legal_pair_is_driven() -> None:
    """Drive every pair again, so that this test stands alone; then none may be missing."""
    driven: set[tuple[Phase, type]] = set()
    for phase, kind in LEGAL:
        world, peer = SPECIAL.get((phase, kind), SCENES[phase])()
        DRIVEN.discard((phase, kind))
        peer.handle(EVENTS[kind](world, peer))
        if (phase, kind) in DRIVEN:
            driven.add((phase, kind))
    assert driven == set(TABLE)


# ---------------------------------------------------------------- whole lives


def test_life_of_an_opening() -> None:
    world = World()
    assert (world.alice.phase, world.bob.phase) == (Phase.ASKED, Phase.GRANTED)
    world.deliver(A)
    assert world.alice.phase is Phase.SUBMITTED
    world.deliver_all()
    world.mine()
    assert world.bob.phase is Phase.GRANTED, "a deposit counts after finality"
    world.mine(blocks=FINALITY)
    assert (world.alice.phase, world.bob.phase) == (Phase.IDLE, Phase.IDLE)
    for peer in world.peers:
        assert len(peer.told(OpeningSucceeded)) == 1
        assert peer.channel.equity(peer.side) == 10_000 * UNIT


def test_an_opening_lapses() -> None:
    _, bob = abandoned()
    (ended,) = bob.told(OpeningEnded)
    assert isinstance(ended, OpeningEnded)
    assert ended.reason is Reason.LATE


def test_an_opening_is_refused() -> None:
    world = World()
    world.alice.handle(m.OpenReject(channel_id=ID, reason=Reason.LIMIT, text="too large"))
    (ended,) = world.alice.told(OpeningEnded)
    assert ended == OpeningEnded(reason=Reason.LIMIT, text="too large")
    assert world.alice.channel.outbox == ()


def test_life_of_a_trade_and_what_moves() -> None:
    world = opened()
    nonce = world.propose(A)
    assert nonce == 1
    world.deliver_all()
    (seen,) = world.bob.told(ProposalReceived)
    assert isinstance(seen, ProposalReceived)
    assert (seen.nonce, seen.change) == (1, make_trade())
    world.answer(B)
    world.deliver_all()
    for peer in world.peers:
        (notice,) = peer.told(ChangeConfirmed)
        assert isinstance(notice, ChangeConfirmed)
        assert notice.nonce == 2
        assert notice.ours is (peer.side is A)
        assert notice.portfolio.net_to_b == 100 * UNIT
        assert [each.quantity for each in notice.portfolio.positions] == [10**18]
    total = sum(peer.channel.equity(peer.side) for peer in world.peers)
    assert total in (20_000 * UNIT, 20_000 * UNIT - 1), "equity rounds down, else it is conserved"


def test_life_of_a_closing_pays_what_stands() -> None:
    world, _ = closed()
    assert world.chain.paid == {A: 10_010 * UNIT, B: 9_990 * UNIT}
    for peer in world.peers:
        assert peer.phase is Phase.CLOSED
        assert len(peer.told(ChannelEnded)) == 1
    assert len(world.bob.told(CloseRequested)) == 1


def test_life_of_a_dispute() -> None:
    world, _ = disputed()
    (seen,) = world.bob.told(DisputeSeen)
    assert isinstance(seen, DisputeSeen)
    assert (seen.recorded, seen.stale) == (2, False)
    assert seen.deadline == world.chain.time + 86_400


def test_recovery_is_noticed_by_our_own_signature() -> None:
    world, alice = recovering()
    (notice,) = alice.told(RecoveryNeeded)
    assert notice == RecoveryNeeded(newest_known=0, shown=2)
    with pytest.raises(IllegalCommandError):
        world.propose(A)


def test_a_made_up_newer_state_is_no_recovery() -> None:
    world = traded()
    made_up = State(channel_id=ID, nonce=40)
    claim = shown(made_up, signed(B, made_up))
    before = world.alice.channel
    for each in (claim, attrs.evolve(claim, proof=None)):
        with pytest.raises(Exception, match="never signed") as caught:
            world.alice.handle(each)
        assert getattr(caught.value, "fault", None) == "the peer's"
    assert world.alice.channel == before


def test_requests_for_quotes_are_passed_on() -> None:
    world = opened()
    world.alice.handle(EVENTS[e.RequestQuote](world, world.alice))
    world.deliver_all()
    (asked_for,) = world.bob.told(QuoteRequested)
    assert isinstance(asked_for, QuoteRequested)
    assert asked_for.request.legs == (_rfq_leg(),)
    world.bob.handle(e.RefuseQuote(request_id=bytes(16), reason=Reason.LIMIT, text="full"))
    world.deliver_all()
    (declined,) = world.alice.told(QuoteDeclined)
    assert isinstance(declined, QuoteDeclined)
    assert (declined.answer.reason, declined.answer.text) == (Reason.LIMIT, "full")


def test_a_quote_has_one_or_two_sides() -> None:
    world = opened()
    some = draft(world, world.alice)
    for sides in ((), (some, some, some)):
        with pytest.raises(IllegalCommandError, match="one or two sides"):
            world.alice.handle(
                e.SendQuote(request_id=bytes(16), sides=sides, expires_at=0, now=world.chain.time)
            )


def test_nobody_answers_what_was_not_asked() -> None:
    world, bob = received()
    with pytest.raises(IllegalCommandError, match="nonce 7"):
        world.answer(B, nonce=7)
    assert bob.phase is Phase.RECEIVED


def test_errors_of_the_peer_are_passed_on() -> None:
    world = opened()
    world.alice.handle(m.Error(channel_id=ID, reason=Reason.INVALID, text="bad"))
    assert world.alice.told(PeerComplained) == [PeerComplained(reason=Reason.INVALID, text="bad")]
