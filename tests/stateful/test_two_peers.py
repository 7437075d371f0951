"""Two real machines against loss, crashes, late finality, reorganisations and a busy chain.

What must hold (protocol.md, "Guarantees to check"), after every step and over every signature that
either key ever made, also by incarnations that crashed:

- no key signs two different digests at one nonce;
- whatever becomes permanent, or final on chain, follows from what stood before by one change that
  both accepted, or by none: a state both could have meant;
- F never goes back; both F at one nonce are one state;
- an honest peer could always file within maxInFlight of the newest state its key has signed;
- its worst portfolio was covered when it signed, and so were both after every withdrawal;
- cash is conserved;
- once the link is quiet and heads advance, both come to rest in bounded time with the same F, and
  from there a change is possible still.

A game has a hundred steps. ``OPTION_CHANNELS_FUZZ=1`` plays 2,000 in place of 100, different ones
each time. `tests.model` explores every order of fewer events.
"""

from __future__ import annotations

import os
import sys
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from channels.errors import OurError
from channels.protocol import calls
from channels.protocol import events as e
from channels.protocol.changes import Change, Remark
from channels.protocol.channel import Channel, Mode, Phase
from channels.protocol.facts import OnChainPhase
from channels.protocol.machine import TABLE, Event
from channels.protocol.types import Party, Portfolio, State, Withdrawal
from tests.protocol.build import (
    DEPOSIT,
    FINALITY,
    STRIKE,
    UNIT,
    WAD,
    is_covered,
    make_draft,
    make_leg,
    make_trade,
    spare,
)
from tests.protocol.world import Crashed, Emitted, Peer, Transaction, World, co_signed

FUZZ = os.environ.get("OPTION_CHANNELS_FUZZ") == "1"
ENDED = (Phase.DISPUTED, Phase.RUN_OFF, Phase.CLOSED)
SIDES = st.sampled_from(Party)
STRIKES = (STRIKE, STRIKE - 500 * WAD)


class Watched(World):
    """A world that checks every signature as it is stored."""

    def __init__(self) -> None:
        self.signed: dict[tuple[Party, int], bytes] = {}
        self.settled: dict[int, Portfolio] = {}
        self.accepted: list[tuple[Portfolio, Portfolio]] = []
        self.proposals: dict[int, tuple[Portfolio, Portfolio]] = {}
        super().__init__()

    def on_signed(self, peer: Peer, emitted: Emitted, after: Channel) -> None:
        value = emitted.value
        key = (peer.side, value.nonce)
        assert self.signed.setdefault(key, emitted.digest) == emitted.digest, (
            f"{peer.side.name} signed two different things at nonce {value.nonce}"
        )
        if isinstance(value, Withdrawal):
            self._check_withdrawal(peer, value)
        if not isinstance(value, State) or value.permanent:
            return
        move = (emitted.base, value.portfolio)
        if peer.side.leads(value.nonce):
            self.proposals[value.nonce] = move
        else:
            assert self.proposals[value.nonce] == move, "accepted on top of another F"
            self.accepted.append(move)
        self._check_margin(peer, emitted)

    def _check_withdrawal(self, peer: Peer, value: Withdrawal) -> None:
        """Signed on F alone, with nothing beside it, and both keep their initial margin."""
        before = peer.channel
        assert before.view is not None
        assert before.final_view is not None
        assert before.head is not None
        portfolio = value.state.portfolio
        assert portfolio == before.portfolio
        for side in Party:
            cash = min(before.view.contribution(side), before.final_view.contribution(side))
            assert is_covered(portfolio, cash - value.amount(side), side), "not its to take out"
        final, time = before.final_view.nonce, before.head.final_timestamp
        beside = [
            each.value.nonce
            for each in peer.emitted
            if each.value is not value
            and each.value.nonce > final
            and (each.value.nonce > before.ledger.nonce or not isinstance(each.value, State))
            and (each.value.valid_until == 0 or each.value.valid_until >= time)
        ]
        assert beside == [], "a withdrawal beside what could still be recorded"

    def _check_margin(self, peer: Peer, emitted: Emitted) -> None:
        side, before = peer.side, peer.channel
        state = emitted.value
        assert isinstance(state, State)
        assert before.head is not None
        assert before.view is not None
        assert before.final_view is not None
        cash = min(before.view.contribution(side), before.final_view.contribution(side))
        base, new = emitted.base, state.portfolio
        held = [(each.series, each.quantity) for each in base.positions]
        if held == [(each.series, each.quantity) for each in new.positions]:
            return  # new marks alone
        eased = new.margin(side) <= base.margin(side)
        if eased and spare(new, cash, side) >= spare(base, cash, side):
            return
        alive = [
            each.value.portfolio
            for each in peer.emitted
            if isinstance(each.value, State)
            and each.value.nonce > max(before.ledger.nonce, before.final_view.nonce)
            and (each.value.permanent or each.value.valid_until >= before.head.final_timestamp)
        ]
        for portfolio in (base, new, *alive):
            assert is_covered(portfolio, cash, side), f"{side.name} signed beyond its cash"

    def check_settled(self, nonce: int, portfolio: Portfolio) -> None:
        """``portfolio`` became permanent or final at ``nonce``: could both have meant it?"""
        known = self.settled.setdefault(nonce, portfolio)
        assert known == portfolio, f"two portfolios stand at nonce {nonce}"
        order = [Portfolio(), *(self.settled[each] for each in sorted(self.settled))]
        for old, new in pairwise(order):
            assert old == new or (old, new) in self.accepted, "nobody agreed to this step"


class TwoPeers(RuleBasedStateMachine):
    """Alice and Bob, and everything that can happen to them."""

    world: Watched

    @initialize()
    def start(self) -> None:
        self.world = Watched()
        self.world.open()
        self.height = {side: len(self.world.chain.blocks) - 1 for side in Party}
        self.best = dict.fromkeys(Party, 0)
        self.count = 0

    # ---- events

    def drive(self, side: Party, event: Event) -> bool:
        """One event, which may be refused as our own fault, or end in a crash."""
        peer = self.world.peer(side)
        try:
            peer.handle(event)
        except OurError:
            return False
        except Crashed:
            self.restart(side)
        return True

    def restart(self, side: Party) -> None:
        peer = self.world.peer(side)
        self.world.disconnect()
        before = peer.channel.ledger.nonce
        peer.restart()
        assert peer.channel.ledger.nonce >= before, "F went back over a crash"
        self.see(side, self.height[side])

    def see(self, side: Party, height: int) -> None:
        peer = self.world.peer(side)
        self.height[side] = min(height, len(self.world.chain.blocks) - 1)
        try:
            peer.see(self.height[side])
        except Crashed:
            self.restart(side)

    def deliver(self, to: Party, *, again: bool = False) -> None:
        wire = self.world.wires[to]
        frame = wire[0] if again else wire.popleft()
        try:
            self.world.deliver(to, frame)
        except Crashed:
            self.restart(to)

    # ---- rules

    def change(self, quantity: int, strike: int, price: int, spot: int | None) -> Change:
        if spot is not None:
            return Remark()
        self.count += 1
        leg = make_leg(quantity, strike=STRIKES[strike], price=price)
        return make_trade(leg, trade_id=self.count.to_bytes(32, "big"))

    def draft(self, side: Party, change: Change, spot: int) -> e.Draft:
        at = max(self.world.chain.time, self.world.peer(side).channel.portfolio.marked_at + 1)
        return make_draft(self.world.peer(side).channel.portfolio, change, at, spot=spot)

    @rule(
        side=SIDES,
        quantity=st.sampled_from([2, -2, 6, -6]),
        strike=st.integers(0, 1),
        price=st.integers(50, 60),
        spot=st.none() | st.integers(2_900, 3_100),
    )
    def propose(
        self, side: Party, quantity: int, strike: int, price: int, spot: int | None
    ) -> None:
        change = self.change(quantity, strike, price, spot)
        draft = self.draft(side, change, spot or 3_000)
        self.drive(side, e.ProposeChange(draft=draft, now=self.world.chain.time))

    @rule(
        side=SIDES,
        quantity=st.sampled_from([1, -1]),
        price=st.integers(50, 60),
        far=st.integers(1, 4),
        then=st.sampled_from(["talk", "lose", "censor", "record", "nothing"]),
    )
    def deal(self, side: Party, quantity: int, price: int, far: int, then: str) -> None:
        """A trade that gets so far: proposed, heard, accepted, Accept heard; then what happens."""
        self.propose(side, quantity, 0, price, None)
        if far > 1:
            self.hear(side.other, 3)
        if far > 2:
            self.answer(side.other, 1, 0)
        if far > 3:
            self.hear(side, 3)
        if then == "talk":
            self.talk()
        elif then == "lose" and self.world.connected:
            self.disconnect()
        elif then == "censor":
            for _ in range(3):
                self.mine(60, True, True)
        elif then == "record":
            self.somebody_records(0, True)

    @rule(side=SIDES, two=st.booleans(), price=st.integers(50, 60))
    def quote(self, side: Party, two: bool, price: int) -> None:
        changes = [self.change(1, 0, price + 1, None), self.change(-1, 0, price, None)]
        drafts = tuple(self.draft(side, each, 3_000) for each in changes[: 2 if two else 1])
        self.count += 1
        command = e.SendQuote(
            request_id=self.count.to_bytes(16, "big"),
            sides=drafts,
            expires_at=self.world.chain.time + 5,
            now=self.world.chain.time,
        )
        self.drive(side, command)

    @rule(side=SIDES, accept=st.integers(0, 3), which=st.integers(0, 3))
    def answer(self, side: Party, accept: int, which: int) -> None:
        peer = self.world.peer(side)
        if peer.waiting:
            nonce = peer.waiting[which % len(peer.waiting)]
            self.decide(side, nonce, accept=accept > 0)

    def decide(self, side: Party, nonce: int, *, accept: bool) -> None:
        peer, now = self.world.peer(side), self.world.chain.time
        if nonce in peer.waiting:
            peer.waiting.remove(nonce)
        if not self.drive(side, e.Answer(nonce=nonce, accept=accept, now=now)):
            self.drive(side, e.Answer(nonce=nonce, accept=False, now=now))

    @rule(side=SIDES)
    @precondition(lambda self: not self.world.alice.channel.portfolio.positions)
    def close(self, side: Party) -> None:
        self.drive(side, e.RequestClose(now=self.world.chain.time))

    @rule(
        side=SIDES,
        ours=st.sampled_from([1, 20 * UNIT]),
        theirs=st.sampled_from([0, 1, 20 * UNIT]),
        far=st.integers(1, 5),
    )
    @precondition(lambda self: self.world.connected)
    def withdraw(self, side: Party, ours: int, theirs: int, far: int) -> None:
        """Asked for, heard, signed by the other, sent to the chain, mined: as far as that."""
        self.talk()
        self.drive(side, e.RequestWithdrawal(ours=ours, theirs=theirs))
        if far > 1:
            self.hear(side.other, 3)
        if far > 2:
            self.answer(side.other, 1, 0)
        if far > 3:
            self.hear(side, 3)
        if far > 4:
            self.mine(12, False, True)

    @rule(side=SIDES, number=st.integers(1, 3))
    def hear(self, side: Party, number: int) -> None:
        for _ in range(number):
            if self.world.wires[side]:
                self.deliver(side)

    @rule(side=SIDES)
    def hear_twice(self, side: Party) -> None:
        if self.world.wires[side]:
            self.deliver(side, again=True)

    @rule()
    def talk(self) -> None:
        for _ in range(6):
            for side in Party:
                if self.world.wires[side]:
                    self.deliver(side)

    @rule()
    @precondition(lambda self: self.world.connected)
    def disconnect(self) -> None:
        self.world.disconnect()

    @rule()
    @precondition(lambda self: not self.world.connected)
    def reconnect(self) -> None:
        self.world.connected = True
        for peer in self.world.peers:
            if (peer.phase, e.Connected) in TABLE:
                self.drive(peer.side, e.Connected())

    @rule(side=SIDES, after=st.integers(0, 3))
    def crash_soon(self, side: Party, after: int) -> None:
        """The next event with effects ends before the effect of this number."""
        self.world.peer(side).crash_after = after

    @rule(seconds=st.sampled_from([12, 12, 12, 60, 130]), censor=st.booleans(), see=st.booleans())
    def mine(self, seconds: int, censor: bool, see: bool) -> None:
        self.world.chain.mine(seconds, censor=censor)
        if see:
            for side in Party:
                self.see(side, len(self.world.chain.blocks) - 1)

    @rule(side=SIDES, back=st.integers(0, 4))
    def look(self, side: Party, back: int) -> None:
        top = len(self.world.chain.blocks) - 1
        self.see(side, max(self.height[side], top - back))

    @rule(blocks=st.integers(1, 4))
    def time_passes(self, blocks: int) -> None:
        for _ in range(blocks):
            self.mine(60, False, True)

    @rule(lag=st.integers(1, 8))
    def finality_lags(self, lag: int) -> None:
        self.world.chain.lag = lag

    @rule(depth=st.integers(1, 3))
    def reorganise(self, depth: int) -> None:
        chain = self.world.chain
        chain.reorganise(depth)
        chain.mine(13)
        for side in Party:
            self.height[side] = min(self.height[side], len(chain.blocks) - 1)

    @rule(pick=st.integers(0, 50), mined=st.booleans())
    def somebody_records(self, pick: int, mined: bool) -> None:
        """Whoever signed second holds both signatures, and may file it at any time."""
        signed = self.world.signed
        nonces = sorted({n for side, n in signed if (side.other, n) in signed})
        nonces = [n for n in nonces if self._is_state(n)]
        if not nonces:
            return
        call = calls.Checkpoint(
            terms=self.world.chain.opening.terms,
            newest=co_signed(self.world, nonces[-1 - pick % len(nonces)]),
        )
        self.world.chain.mempool[b"somebody"] = Transaction(call, Party.A)
        if mined:
            self.mine(12, False, pick % 2 == 0)

    def _is_state(self, nonce: int) -> bool:
        return any(
            isinstance(each.value, State)
            for each in self.world.alice.emitted
            if each.value.nonce == nonce
        )

    @rule(side=SIDES, roll=st.integers(0, 7))
    def dispute(self, side: Party, roll: int) -> None:
        if roll == 0:
            self.drive(side, e.StartDispute())

    @rule(side=SIDES, mode=st.sampled_from(Mode))
    def breaker(self, side: Party, mode: Mode) -> None:
        self.drive(side, e.SetMode(mode=mode, reason="drawn"))

    # ---- what must always hold

    @invariant()
    def guarantees(self) -> None:
        chain = self.world.chain
        for peer in self.world.peers:
            channel = peer.channel
            assert channel.phase is not Phase.RECOVERING, "nobody lost data here"
            assert channel.ledger.nonce >= self.best[peer.side], "F went back"
            self.best[peer.side] = channel.ledger.nonce
            if channel.ledger.nonce:
                self.world.check_settled(channel.ledger.nonce, channel.portfolio)
            self._can_file(peer)
        final = chain.blocks[chain.final].view
        if final.nonce and final.phase is OnChainPhase.OPEN:
            self.world.check_settled(final.nonce, chain.recorded[final.nonce].portfolio)
        left = 2 * DEPOSIT - chain.head.paid_out
        if chain.paid is not None:
            assert sum(chain.paid.values()) == left
            assert min(chain.paid.values()) >= 0
        view = chain.head.view
        if view.phase is OnChainPhase.OPEN:
            net = self.world.alice.channel.portfolio.net_to_b
            assert sum(view.cash(side, net) for side in Party) == left

    def _can_file(self, peer: Peer) -> None:
        chain, channel = self.world.chain, peer.channel
        if channel.head is None:
            return
        newest = channel.newest_evidence()
        filed = max(chain.head.view.nonce, 0 if newest is None else newest.state.nonce)
        reach = [
            each.value.nonce
            for each in peer.emitted
            if isinstance(each.value, State)
            and (each.value.permanent or each.value.valid_until >= chain.time)
        ]
        limit = channel.terms.max_in_flight
        assert max(reach, default=0) <= filed + limit, "an honest peer could owe a stale penalty"

    # ---- and in the end

    def teardown(self) -> None:
        if not hasattr(self, "world") or sys.exc_info()[0] is not None:
            return  # the game failed already
        self.come_to_rest()
        self.still_usable()

    def come_to_rest(self) -> None:
        world = self.world
        world.chain.lag = FINALITY
        for peer in world.peers:
            peer.crash_after = None
            self.drive(peer.side, e.SetMode(mode=Mode.NORMAL, reason=""))
        if not world.connected:
            self.reconnect()
        for number in range(120):
            world.deliver_all()
            for peer in world.peers:
                for nonce in list(peer.waiting):
                    self.decide(peer.side, nonce, accept=number % 2 == 0)
            world.deliver_all()
            world.mine(60)
            self.guarantees()
            phases = {peer.phase for peer in world.peers}
            quiet = number > FINALITY + 5 and not any(world.wires.values())
            if quiet and (phases == {Phase.IDLE} or phases <= set(ENDED)):
                break
        phases_now = [peer.phase for peer in world.peers]
        assert phases_now == [Phase.IDLE] * 2 or all(each in ENDED for each in phases_now), (
            f"no rest: {self.describe()}"
        )
        a, b = (peer.channel.ledger.full.state for peer in world.peers)
        if phases_now == [Phase.IDLE] * 2:
            assert a == b, f"F differs: {a.nonce} and {b.nonce}"

    def describe(self) -> str:
        """Where both stand, for whoever reads the failure."""
        lines = [f"chain {self.world.chain.time} {self.world.chain.head.view}"]
        for peer in self.world.peers:
            channel = peer.channel
            entries = [
                f"{type(each.value).__name__}@{each.nonce}"
                + "m" * (each.mine is not None)
                + "t" * (each.theirs is not None)
                + "d" * each.declined
                + f"<{each.value.valid_until}"
                for each in channel.ledger.entries
            ]
            outbox = [type(each).__name__ for each in channel.outbox]
            lines.append(
                f"{peer.side.name} {channel.phase.name} F={channel.ledger.nonce} {entries} "
                f"{outbox} waiting {peer.waiting} errors {[str(each) for each in peer.errors[-3:]]}"
            )
        return "\n".join(lines)

    def still_usable(self) -> None:
        """From rest, one of the two can have a change confirmed: nothing is stuck for ever."""
        world = self.world
        if world.alice.phase is not Phase.IDLE:
            return
        before = world.alice.channel.ledger.nonce
        for number, side in enumerate([Party.A, Party.B] * 3):
            peer = world.peer(side)
            at = max(world.chain.time, peer.channel.portfolio.marked_at + 1)
            leg = make_leg(1 if number % 2 else -1, price=55)
            if any(each.quantity < 0 for each in peer.channel.portfolio.positions):
                leg = make_leg(1, price=55)
            elif peer.channel.portfolio.positions:
                leg = make_leg(-1, price=55)
            draft = make_draft(peer.channel.portfolio, make_trade(leg), at)
            self.drive(side, e.ProposeChange(draft=draft, now=world.chain.time))
            world.deliver_all()
            for each in world.peers:
                for nonce in list(each.waiting):
                    self.decide(each.side, nonce, accept=True)
            world.deliver_all()
            if min(p.channel.ledger.nonce for p in world.peers) > before:
                return
            world.mine(120, blocks=8)
        pytest.fail(f"nothing can be changed any more: {self.describe()}")


TwoPeers.TestCase.settings = settings(
    max_examples=2_000 if FUZZ else 100,
    stateful_step_count=100,
    deadline=None,
    derandomize=not FUZZ,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


TestTwoPeers = TwoPeers.TestCase
