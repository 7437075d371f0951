"""One honest machine against a counterparty that signs and sends whatever it likes.

Mallory holds B's key and files on chain. Alice's machine trades, quotes, answers, closes, crashes,
and reads the chain late. Whatever Mallory does, of all that Alice ever signed:

- nothing differs at one nonce;
- what the chain could still accept above her F is F's portfolio, or F's with one change that she
  agreed to; a Closing pays F's cash, with no position open;
- no void of hers stands above a change she is still bound to;
- she is covered in each of them, and can always file within maxInFlight of the newest;
- no error of hers is anything but the peer's fault or a rule's refusal.
"""

from __future__ import annotations

from contextlib import suppress

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from channels.errors import OurError, PeerError, SigningRefusedError
from channels.protocol import calls
from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.changes import Change, Remark
from channels.protocol.channel import Channel, Phase
from channels.protocol.codec import decode, encode
from channels.protocol.facts import OnChainPhase
from channels.protocol.machine import step
from channels.protocol.messages import Reason
from channels.protocol.types import Closing, Party, Portfolio, State
from tests.protocol.build import ID, is_covered, make_draft, make_leg, make_trade
from tests.protocol.world import (
    Crashed,
    Emitted,
    Peer,
    Transaction,
    World,
    half_signed,
    shown,
    signed,
)
from tests.stateful.test_two_peers import FUZZ

A, B = Party.A, Party.B
NONCES = st.integers(1, 24)
PRICES = st.integers(50, 60)
SIZES = st.sampled_from([1, -1, 2, -2])


class Watched(World):
    """A world that checks each of Alice's signatures as it is stored."""

    digests: dict[int, bytes]

    def __init__(self) -> None:
        self.digests = {}
        super().__init__()

    def on_signed(self, peer: Peer, emitted: Emitted, after: Channel) -> None:
        if peer.side is not A:
            return
        value, before = emitted.value, peer.channel
        known = self.digests.setdefault(value.nonce, emitted.digest)
        assert known == emitted.digest, f"two different things at nonce {value.nonce}"
        assert not before.dispute_sent, "signed though her dispute can still be mined"
        if isinstance(value, State) and value.permanent and not A.leads(value.nonce):
            self._check_countersigned(peer, value, emitted.base, after)
        voids = isinstance(value, State) and value.permanent and A.leads(value.nonce)
        if voids and isinstance(value, State) and value.portfolio == emitted.base:
            assert after.head is not None
            assert after.final_view is not None
            for each in peer.emitted:
                old = each.value
                bound = old.nonce > max(before.ledger.nonce, after.final_view.nonce) and (
                    old.valid_until == 0 or old.valid_until >= after.head.final_timestamp
                )
                if bound and each.value is not value and isinstance(old, State):
                    assert old.portfolio == value.portfolio, "a void above what still binds her"

    def _check_countersigned(
        self, peer: Peer, value: State, base: Portfolio, after: Channel
    ) -> None:
        """A permanent state made whole carries what the chain would take now, else F's."""
        assert after.head is not None
        assert after.view is not None
        now, recorded = after.head.timestamp, after.view.nonce
        boxed = [
            each.value
            for each in peer.emitted
            if isinstance(each.value, State)
            and each.value.valid_until
            and each.value.nonce > peer.channel.ledger.nonce
            and (each.value.valid_until >= now or each.value.nonce == recorded)
        ]
        if value.portfolio != base:
            assert value.portfolio in [each.portfolio for each in boxed], "confirmed too late"
            return
        heard = {each.nonce for each in peer.channel.ledger.entries if each.theirs is not None}
        taken = [each for each in boxed if each.nonce in heard and each.nonce >= recorded]
        assert all(each.portfolio == base for each in taken), "voided what he had accepted"


class HostilePeer(RuleBasedStateMachine):
    """Alice and Mallory."""

    world: Watched

    @initialize()
    def start(self) -> None:
        self.world = Watched()
        self.world.open()
        self.alice = self.world.alice
        self.frames: list[bytes] = []
        self.count = 0

    # ---- Alice

    def command(self, event: e.Command) -> bool:
        try:
            self.alice.handle(event)
        except OurError:
            return False
        except Crashed:
            self.restart()
        return True

    def restart(self) -> None:
        self.alice.restart()
        with suppress(Crashed):
            self.alice.see()

    def change(self, size: int, price: int) -> Change:
        self.count += 1
        return make_trade(make_leg(size, price=price), trade_id=self.count.to_bytes(32, "big"))

    def draft(self, change: Change, spot: int = 3_000) -> e.Draft:
        held = self.alice.channel.portfolio
        at = max(self.world.chain.time, held.marked_at + 1)
        return make_draft(held, change, at, spot=spot)

    @rule(size=SIZES, price=PRICES, spot=st.none() | st.integers(2_990, 3_010))
    def propose(self, size: int, price: int, spot: int | None) -> None:
        change = self.change(size, price) if spot is None else Remark()
        draft = self.draft(change, spot or 3_000)
        self.command(e.ProposeChange(draft=draft, now=self.world.chain.time))

    @rule(price=PRICES)
    def quote(self, price: int) -> None:
        sides = (self.draft(self.change(1, price + 1)), self.draft(self.change(-1, price)))
        self.command(
            e.SendQuote(
                request_id=self.count.to_bytes(16, "big"),
                sides=sides,
                expires_at=0,
                now=self.world.chain.time,
            )
        )

    @rule(accept=st.integers(0, 4), which=st.integers(0, 5))
    def answer(self, accept: int, which: int) -> None:
        if not self.alice.waiting:
            return
        nonce = self.alice.waiting.pop(which % len(self.alice.waiting))
        now = self.world.chain.time
        self.command(e.Answer(nonce=nonce, accept=accept > 0, now=now))

    @rule()
    def close(self) -> None:
        self.command(e.RequestClose(now=self.world.chain.time))

    @rule(after=st.integers(0, 2))
    def crash_soon(self, after: int) -> None:
        self.alice.crash_after = after

    @rule(roll=st.integers(0, 9))
    def dispute(self, roll: int) -> None:
        if roll == 0:
            self.command(e.StartDispute())

    # ---- Mallory

    def tell(self, message: m.Message) -> None:
        """Alice hears it: a rule may refuse, the peer may be blamed; nothing else comes of it."""
        frame = encode(message)
        self.frames.append(frame)
        before = self.alice.channel
        try:
            self.alice.handle(decode(frame))
        except (PeerError, SigningRefusedError):
            assert self.alice.channel is before
        except Crashed:
            self.restart()

    @rule(size=SIZES, price=PRICES, jump=st.integers(0, 6), until=st.sampled_from([30, 120, 144]))
    def he_proposes(self, size: int, price: int, jump: int, until: int) -> None:
        nonce = B.next_nonce(self.alice.channel.ledger.highest_seen) + 2 * jump
        with suppress(OurError):
            one = half_signed(
                self.world,
                B,
                self.change(size, price),
                nonce=nonce,
                valid_until=self.world.chain.time + until,
            )
            self.tell(m.Propose(channel_id=ID, proposal=one))

    @rule(price=PRICES, jump=st.integers(0, 3))
    def he_quotes(self, price: int, jump: int) -> None:
        first = B.next_nonce(self.alice.channel.ledger.highest_seen)
        with suppress(OurError):
            sides = tuple(
                half_signed(self.world, B, self.change(size, price), nonce=nonce)
                for size, nonce in ((1, first), (-1, first + 2 * jump))
            )
            quote = m.Quote(
                channel_id=ID,
                request_id=self.count.to_bytes(16, "big"),
                expires_at=0,
                sides=sides,
            )
            self.tell(quote)

    @rule(pick=st.integers(0, 5), jump=st.integers(0, 4))
    def he_accepts(self, pick: int, jump: int) -> None:
        """Any boxed state or Closing that she signed first, in time or not, once or twice."""
        offered = [each for each in self.alice.emitted if A.leads(each.value.nonce)]
        offered = [each for each in offered if each.value.valid_until]
        if not offered:
            return
        value = offered[-1 - pick % len(offered)].value
        if not isinstance(value, State):
            affirmation, nonce = None, 0
        else:
            nonce = B.next_nonce(self.alice.channel.ledger.highest_seen) + 2 * jump
            state = State(channel_id=ID, nonce=nonce, portfolio=value.portfolio)
            affirmation = signed(B, state)
        self.tell(
            m.Accept(
                channel_id=ID,
                nonce=value.nonce,
                signature=signed(B, value),
                affirmation_nonce=nonce,
                affirmation=affirmation,
            )
        )

    @rule(pick=st.integers(0, 4))
    def he_confirms(self, pick: int) -> None:
        permanent = [each.value for each in self.alice.emitted if not each.value.valid_until]
        if permanent:
            value = permanent[-1 - pick % len(permanent)]
            self.tell(m.Confirm(channel_id=ID, nonce=value.nonce, signature=signed(B, value)))

    def portfolio(self, pick: int) -> Portfolio:
        """F's, or any that she ever signed."""
        known = [self.alice.channel.portfolio] * 2
        known += [
            each.value.portfolio for each in self.alice.emitted if isinstance(each.value, State)
        ]
        return known[pick % len(known)]

    @rule(pick=st.integers(0, 20), jump=st.integers(-3, 4), rejects=st.booleans())
    def he_voids(self, pick: int, jump: int, rejects: bool) -> None:
        nonce = max(2, B.next_nonce(self.alice.channel.ledger.highest_seen) + 2 * jump)
        state = State(channel_id=ID, nonce=nonce, portfolio=self.portfolio(pick))
        signature = signed(B, state)
        if not rejects:
            self.tell(m.Void(channel_id=ID, nonce=nonce, signature=signature))
            return
        own = [each.value.nonce for each in self.alice.emitted if A.leads(each.value.nonce)]
        self.tell(
            m.Reject(
                channel_id=ID,
                nonce=own[-1] if own else 1,
                reason=Reason.PRICE,
                text="",
                void_nonce=nonce,
                void=signature,
            )
        )

    @rule(wrong=st.integers(-1, 1), jump=st.integers(0, 3))
    def he_asks_to_close(self, wrong: int, jump: int) -> None:
        closing = Closing(
            channel_id=ID,
            nonce=B.next_nonce(self.alice.channel.ledger.highest_seen) + 2 * jump,
            valid_until=self.world.chain.time + 600,
            net_to_b=self.alice.channel.portfolio.net_to_b + wrong,
        )
        signature = signed(B, closing)
        self.tell(m.CloseRequest(channel_id=ID, closing=closing, signature=signature))

    @rule(nonce=NONCES, pick=st.integers(0, 20))
    def he_lies_about_where_he_stands(self, nonce: int, pick: int) -> None:
        state = State(channel_id=ID, nonce=nonce, portfolio=self.portfolio(pick))
        proofs = [each.signature for each in self.alice.emitted]
        self.tell(shown(state, proofs[pick % len(proofs)] if proofs else None))
        assert self.alice.phase is not Phase.RECOVERING, "nothing is lost here"

    @rule(pick=st.integers(0, 30))
    def he_repeats_himself(self, pick: int) -> None:
        if self.frames:
            self.tell(decode(self.frames[-1 - pick % len(self.frames)]))

    @rule(pick=st.integers(0, 10))
    def he_files(self, pick: int) -> None:
        """Any state that she signed, completed with his own key."""
        states = [each for each in self.alice.emitted if _state(each)]
        if not states:
            return
        each = states[-1 - pick % len(states)]
        assert isinstance(each.value, State)
        newest = calls.CoSigned(
            state=each.value, signature_a=each.signature, signature_b=signed(B, each.value)
        )
        call = calls.Checkpoint(terms=self.world.chain.opening.terms, newest=newest)
        self.world.chain.mempool[b"mallory"] = Transaction(call, B)

    # ---- the chain

    @rule(seconds=st.sampled_from([12, 12, 60, 130]), censor=st.booleans(), see=st.booleans())
    def mine(self, seconds: int, censor: bool, see: bool) -> None:
        self.world.chain.mine(seconds, censor=censor)
        if see:
            self.look()

    @rule()
    def look(self) -> None:
        try:
            self.alice.see()
        except Crashed:
            self.restart()

    @rule(blocks=st.integers(3, 5))
    def time_passes(self, blocks: int) -> None:
        for _ in range(blocks):
            self.mine(60, False, True)

    # ---- what must always hold

    @invariant()
    def she_is_bound_to_what_she_meant(self) -> None:
        chain, channel = self.world.chain, self.alice.channel
        view, full = chain.head.view, channel.ledger.full.state
        if view.phase is not OnChainPhase.OPEN or channel.phase is Phase.DISPUTED:
            return
        for each in self.alice.emitted:
            value = each.value
            over = 0 < value.valid_until < chain.time
            if over or value.nonce <= view.nonce:
                continue
            if isinstance(value, Closing):
                assert value.net_to_b == full.portfolio.net_to_b, "a Closing under old cash"
                assert full.portfolio.positions == (), "a Closing beside open positions"
                continue
            if value.nonce <= full.nonce or view.nonce > full.nonce:
                continue
            assert isinstance(value, State), "she is asked for no withdrawal here"
            meant = value.portfolio == full.portfolio or each.base == full.portfolio
            assert meant, f"bound at {value.nonce} to what does not follow from F"
            held = [(p.series, p.quantity) for p in value.portfolio.positions]
            if held != [(p.series, p.quantity) for p in full.portfolio.positions]:
                cash = view.contribution(A)
                assert is_covered(value.portfolio, cash, A), "bound beyond her cash"

    @invariant()
    def she_can_file_in_time(self) -> None:
        chain, channel = self.world.chain, self.alice.channel
        if channel.head is None:
            return
        newest = channel.newest_evidence()
        filed = max(chain.head.view.nonce, 0 if newest is None else newest.state.nonce)
        reach = [
            each.value.nonce
            for each in self.alice.emitted
            if _state(each) and not 0 < each.value.valid_until < chain.time
        ]
        assert max(reach, default=0) <= filed + channel.terms.max_in_flight

    @invariant()
    def she_is_never_blind(self) -> None:
        """Whatever was said before, the next head is taken in."""
        twin = attrs.evolve(self.alice.channel)
        assert step(twin, self.world.chain.seen()).finish is not None


def _state(each: Emitted) -> bool:
    return isinstance(each.value, State)


HostilePeer.TestCase.settings = settings(
    max_examples=2_000 if FUZZ else 100,
    stateful_step_count=100,
    deadline=None,
    derandomize=not FUZZ,
    suppress_health_check=list(HealthCheck),
)
TestHostilePeer = HostilePeer.TestCase
