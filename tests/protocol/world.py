"""Two real machines, a link that loses only by disconnecting, and a model of the contract.

`World` plays the glue that peer.py is in production: it performs effects in order, stores the
channel at each Persist, and feeds messages, heads and commands. Everything is deterministic.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, TypeVar

import attrs

from channels.errors import ChannelsError, OurError, PeerError
from channels.protocol import calls
from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.changes import Change, Remark, apply
from channels.protocol.channel import Channel, Phase, Timing
from channels.protocol.codec import decode, encode
from channels.protocol.effects import (
    CloseRequested,
    Effect,
    Notice,
    Notify,
    Outcome,
    Persist,
    ProposalReceived,
    Send,
    Submit,
    WithdrawalRequested,
)
from channels.protocol.facts import ChannelView, Head, OnChainPhase
from channels.protocol.ledger import Entry
from channels.protocol.machine import TABLE, Event, step
from channels.protocol.opening import ask_opening, grant_opening
from channels.protocol.records import decode_channel, encode_channel
from channels.protocol.signing import LocalSigner, Signable, Signature, recover
from channels.protocol.terms import Domain, Opening
from channels.protocol.types import Closing, Party, Portfolio, State, Withdrawal
from tests.protocol.build import (
    DOMAIN,
    FINALITY,
    ID,
    PARTY_KEYS,
    RISK,
    SIGNERS,
    T0,
    TIMING,
    UNIT,
    make_draft,
    make_marks,
    make_opening,
    make_trade,
)

N = TypeVar("N")

DRIVEN: set[tuple[Phase, type]] = set()
"""Every (phase, event type) that a step answered without an error, in this process."""


def _view(opening: Opening) -> ChannelView:
    return ChannelView(phase=OnChainPhase.NONE)


@attrs.frozen(kw_only=True)
class Block:
    """One block of the model chain, and the channel's storage in it.

    ``paid_out`` is what withdrawals have paid up to it, base units.
    """

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    view: ChannelView
    mined: tuple[tuple[bytes, Transaction], ...] = ()
    paid_out: int = 0


@attrs.frozen
class Transaction:
    """A call somebody wants mined."""

    call: calls.Call
    sender: Party


class ModelChain:
    """The contract's rules for one channel, written from adjudication.md, without its bytecode."""

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        first = Block(number=1, hash=b"1-0", parent_hash=b"0", timestamp=T0, view=_view(opening))
        self.blocks = [first]
        self.final = 0
        self.lag = FINALITY
        self.mempool: dict[bytes, Transaction] = {}
        self.reverted: list[calls.Call] = []
        self.paid: dict[Party, int] | None = None
        self.recorded: dict[int, State] = {}
        self._forks = 0

    @property
    def head(self) -> Block:
        return self.blocks[-1]

    @property
    def time(self) -> int:
        return self.head.timestamp

    def seen(self, height: int | None = None) -> e.ChainSeen:
        """What a peer sees that has read the chain up to ``height`` (an index; default: head)."""
        block = self.blocks[-1 if height is None else height]
        final = self.blocks[min(self.final, block.number - 1)]
        head = Head(
            number=block.number,
            hash=block.hash,
            parent_hash=block.parent_hash,
            timestamp=block.timestamp,
            final_number=final.number,
            final_timestamp=final.timestamp,
        )
        return e.ChainSeen(head=head, view=block.view, final_view=final.view)

    def mine(
        self, seconds: int = 12, *, leave: Iterable[bytes] = (), censor: bool = False
    ) -> Block:
        """A block ``seconds`` later with all that waits, but for the keys left out."""
        parent, timestamp = self.head, self.head.timestamp + seconds
        view = self._aged(parent.view, timestamp)
        kept, mined, paid_out = set(leave), [], parent.paid_out
        for name in [] if censor else list(self.mempool):
            if name in kept:
                continue
            transaction = self.mempool.pop(name)
            after = self._apply(view, transaction, timestamp)
            if after is None:
                self.reverted.append(transaction.call)
            else:
                view = after
                mined.append((name, transaction))
                if isinstance(transaction.call, calls.Withdraw):
                    paid = transaction.call.withdrawal
                    paid_out += paid.amount_a + paid.amount_b
        block = Block(
            number=parent.number + 1,
            hash=b"%d-%d" % (parent.number + 1, self._forks),
            parent_hash=parent.hash,
            timestamp=timestamp,
            view=view,
            mined=tuple(mined),
            paid_out=paid_out,
        )
        self.blocks.append(block)
        self.final = max(self.final, len(self.blocks) - 1 - self.lag)
        return block

    def reorganise(self, depth: int) -> None:
        """Forget up to ``depth`` blocks that are not final; what they held waits again."""
        keep = max(self.final + 1, len(self.blocks) - depth)
        if self.blocks[keep - 1].view.phase is not OnChainPhase.CLOSED:
            self.paid = None
        for block in self.blocks[keep:]:
            self.mempool.update(block.mined)
        del self.blocks[keep:]
        self._forks += 1

    def record(self, state: calls.CoSigned) -> bool:
        """Anybody's checkpoint of a co-signed state, mined at once."""
        call = calls.Checkpoint(terms=self.opening.terms, newest=state)
        self.mempool[b"anybody"] = Transaction(call, Party.A)
        before = self.head.view.nonce
        self.mine()
        return self.head.view.nonce > before

    @staticmethod
    def _aged(view: ChannelView, timestamp: int) -> ChannelView:
        if view.phase is OnChainPhase.DISPUTED and timestamp >= view.deadline:
            return attrs.evolve(view, phase=OnChainPhase.RUN_OFF)
        return view

    def _signed(self, value: State | Closing | Withdrawal, a: Signature, b: Signature) -> bool:
        terms, digest = self.opening.terms, DOMAIN.digest(value)
        return (recover(a, digest), recover(b, digest)) == (terms.signer_a, terms.signer_b)

    def _recorded(
        self, view: ChannelView, newest: calls.CoSigned, timestamp: int
    ) -> ChannelView | None:
        state = newest.state
        if state.nonce <= view.nonce or (not state.permanent and timestamp > state.valid_until):
            return None
        assert self._signed(state, newest.signature_a, newest.signature_b), "a forged state"
        self.recorded[state.nonce] = state
        return attrs.evolve(view, nonce=state.nonce, portfolio_hash=state.portfolio.struct_hash)

    def _apply(
        self, view: ChannelView, transaction: Transaction, timestamp: int
    ) -> ChannelView | None:
        match transaction.call:
            case calls.Open():
                return self._open(view, transaction.call, timestamp)
            case calls.Checkpoint(newest=calls.CoSigned() as newest):
                if view.phase not in (OnChainPhase.OPEN, OnChainPhase.DISPUTED):
                    return None
                return self._recorded(view, newest, timestamp)
            case calls.Dispute(newest=newest):
                return self._dispute(view, newest, transaction.sender, timestamp)
            case calls.Close():
                return self._close(view, transaction.call, timestamp)
            case calls.Withdraw():
                return self._withdraw(view, transaction.call, timestamp)
            case calls.Deposit(party=party, amount=amount):
                topped_up = view.contribution(party) + amount
                if party is Party.A:
                    return attrs.evolve(view, contribution_a=topped_up)
                return attrs.evolve(view, contribution_b=topped_up)
        raise AssertionError(f"the model knows no {transaction.call}")

    def _open(self, view: ChannelView, call: calls.Open, timestamp: int) -> ChannelView | None:
        opening = self.opening
        if view.phase is not OnChainPhase.NONE or timestamp > opening.valid_until:
            return None
        digest, terms = DOMAIN.digest(opening), opening.terms
        for side, signature in ((Party.A, call.signature_a), (Party.B, call.signature_b)):
            if recover(Signature.from_expanded(signature), digest) != terms.party(side):
                return None
        return ChannelView(
            phase=OnChainPhase.OPEN,
            contribution_a=opening.deposit_a,
            contribution_b=opening.deposit_b,
        )

    def _dispute(
        self, view: ChannelView, newest: calls.CoSigned | None, filer: Party, timestamp: int
    ) -> ChannelView | None:
        if view.phase not in (OnChainPhase.OPEN, OnChainPhase.DISPUTED):
            return None
        first, filed = view.phase is OnChainPhase.OPEN, view
        if newest is not None and newest.state.nonce > view.nonce:
            recorded = self._recorded(view, newest, timestamp)
            if recorded is None:
                return None if first else view
            filed = recorded
        if not first:
            return filed
        return attrs.evolve(
            filed,
            phase=OnChainPhase.DISPUTED,
            filer=filer,
            filed_nonce=filed.nonce,
            deadline=timestamp + self.opening.terms.dispute_window,
        )

    def _withdraw(
        self, view: ChannelView, call: calls.Withdraw, timestamp: int
    ) -> ChannelView | None:
        state = call.withdrawal.state
        in_time = 0 < timestamp <= state.valid_until <= timestamp + 3_600
        if view.phase is not OnChainPhase.OPEN or not in_time or state.nonce <= view.nonce:
            return None
        assert self._signed(call.withdrawal, call.signature_a, call.signature_b), "a forged one"
        if any(
            call.withdrawal.amount(side) > view.cash(side, state.portfolio.net_to_b)
            for side in Party
        ):
            return None
        self.recorded[state.nonce] = state
        return attrs.evolve(
            view,
            nonce=state.nonce,
            portfolio_hash=state.portfolio.struct_hash,
            contribution_a=view.contribution_a - call.withdrawal.amount_a,
            contribution_b=view.contribution_b - call.withdrawal.amount_b,
        )

    def _close(self, view: ChannelView, call: calls.Close, timestamp: int) -> ChannelView | None:
        closing = call.closing
        live = view.phase in (OnChainPhase.OPEN, OnChainPhase.DISPUTED, OnChainPhase.RUN_OFF)
        in_time = 0 < timestamp <= closing.valid_until <= timestamp + 3_600
        if not live or not in_time or closing.nonce <= view.nonce:
            return None
        assert self._signed(closing, call.signature_a, call.signature_b), "a forged Closing"
        paid = {
            Party.A: view.contribution_a - closing.net_to_b,
            Party.B: view.contribution_b + closing.net_to_b,
        }
        if min(paid.values()) < 0:
            return None
        self.paid = paid
        return ChannelView(phase=OnChainPhase.CLOSED, nonce=closing.nonce)


@attrs.frozen
class Emitted:
    """A signature of ours that was stored or left the process."""

    value: State | Closing | Withdrawal
    digest: bytes
    signature: Signature
    base: Portfolio
    """F's portfolio when it was signed."""


class Crashed(Exception):  # noqa: N818 - an event of the tests, not an error
    """The process ended in the middle of a step's effects."""


class Peer:
    """One side: a machine, its keys, its store, and what it has been told."""

    def __init__(self, world: World, side: Party, channel: Channel, effects: Outcome) -> None:
        self.world = world
        self.side = side
        self.channel = channel
        self.store = b""
        self.notices: list[Notice] = []
        self.emitted: list[Emitted] = []
        self.waiting: list[int] = []
        self.requests: list[m.RequestForQuote] = []
        self.errors: list[ChannelsError] = []
        self.crash_after: int | None = None
        self.submitted: list[Submit] = []
        self.full: dict[int, Portfolio] = {}
        self._perform(channel, effects)

    @property
    def phase(self) -> Phase:
        return self.channel.phase

    def handle(self, event: Event) -> tuple[Effect, ...]:
        """Step, sign, and perform the effects in order.

        Raises:
            Crashed: at the effect boundary that `crash_after` names.
        """
        before = self.channel
        worked_out = step(before, event, now=self.world.chain.time)
        signatures = tuple(self._sign(each) for each in worked_out.sign)
        outcome = worked_out.finish(signatures)
        assert self.channel is before
        DRIVEN.add((before.phase, type(event)))
        fresh = [
            Emitted(
                value=each.value,
                digest=each.digest,
                signature=signature,
                base=before.ledger.portfolio,
            )
            for each, signature in zip(worked_out.sign, signatures, strict=True)
            if isinstance(each.value, State | Closing | Withdrawal)
        ]
        self._perform(outcome.channel, outcome, fresh)
        return outcome.effects

    def _sign(self, signable: Signable) -> Signature:
        keys = PARTY_KEYS if isinstance(signable.value, Opening) else SIGNERS
        return keys[self.side].sign_digest(signable.digest)

    def _perform(
        self, channel: Channel, outcome: Outcome, fresh: list[Emitted] | None = None
    ) -> None:
        effects = outcome.effects
        stored = [index for index, each in enumerate(effects) if isinstance(each, Persist)]
        assert stored in ([], [0]), "Persist comes first, once"
        assert not fresh or stored, "a signature leaves only after it was stored"
        boundary, self.crash_after = self.crash_after, None
        for index, effect in enumerate(effects):
            if boundary is not None and index >= boundary:
                raise Crashed
            match effect:
                case Persist():
                    self.store = encode_channel(channel)
                    for each in fresh or ():
                        self.emitted.append(each)
                        self.world.on_signed(self, each, channel)
                case Send(message=message):
                    self.world.send(self.side, message)
                case Submit():
                    self.submitted.append(effect)
                    key = bytes([self.side]) + effect.key
                    self.world.chain.mempool[key] = Transaction(effect.call, self.side)
                case Notify(notice=notice):
                    self._told(notice)
        if boundary is not None:
            raise Crashed
        self.channel = channel
        self.full[channel.ledger.nonce] = channel.portfolio

    def _told(self, notice: Notice) -> None:
        self.notices.append(notice)
        if isinstance(notice, ProposalReceived):
            self.waiting.append(notice.nonce)
        elif isinstance(notice, WithdrawalRequested):
            self.waiting.append(notice.withdrawal.nonce)
        elif isinstance(notice, CloseRequested):
            self.waiting.append(notice.closing.nonce)

    def restart(self) -> None:
        """Start again from the store: only what the last Persist held is left."""
        self.channel = decode_channel(self.store)
        self.waiting.clear()
        self.requests.clear()
        self.handle(e.Resume())

    def see(self, height: int | None = None) -> tuple[Effect, ...]:
        """Take in the chain up to ``height``."""
        return self.handle(self.world.chain.seen(height))

    def told(self, kind: type[N]) -> list[N]:
        """Every notice of one kind so far."""
        return [each for each in self.notices if isinstance(each, kind)]


class World:
    """Alice, who is A and asks, and Bob, who is B and grants; a link; a chain."""

    def __init__(self, opening: Opening | None = None, timing: Timing = TIMING) -> None:
        asked = make_opening() if opening is None else opening
        self.chain = ModelChain(asked)
        self.wires: dict[Party, deque[bytes]] = {side: deque() for side in Party}
        """Frames on their way *to* each side, oldest first."""
        self.connected = True
        self.history: list[tuple[Party, bytes]] = []
        first = ask_opening(
            domain=DOMAIN, side=Party.A, opening=asked, risk=RISK, timing=timing
        ).finish(())
        self.alice = Peer(self, Party.A, first.channel, first)
        request = decode(self.wires[Party.B].popleft())
        assert isinstance(request, m.OpenRequest)
        granted = grant_opening(domain=DOMAIN, request=request, timing=timing)
        signature = PARTY_KEYS[Party.B].sign_digest(granted.sign[0].digest)
        second = granted.finish((signature,))
        self.bob = Peer(self, Party.B, second.channel, second)

    def peer(self, side: Party) -> Peer:
        return self.alice if side is Party.A else self.bob

    @property
    def peers(self) -> tuple[Peer, Peer]:
        return (self.alice, self.bob)

    @property
    def phases(self) -> list[Phase]:
        return [peer.phase for peer in self.peers]

    # ---- hooks

    def on_signed(self, peer: Peer, emitted: Emitted, after: Channel) -> None:
        """Called for every signature that is durably stored."""

    # ---- the link

    def send(self, sender: Party, message: m.Message) -> None:
        payload = encode(message)
        if self.connected:
            self.wires[sender.other].append(payload)
            self.history.append((sender.other, payload))

    def disconnect(self) -> None:
        """Whatever is on its way is lost."""
        self.connected = False
        for wire in self.wires.values():
            wire.clear()

    def reconnect(self) -> None:
        """Both sides say where they stand."""
        self.connected = True
        for peer in self.peers:
            if (peer.phase, e.Connected) in TABLE:
                peer.handle(e.Connected())

    def deliver(self, to: Party, payload: bytes | None = None) -> ChannelsError | None:
        """Hand one frame to ``to``: the oldest on its wire, or this one.

        Returns the error the machine answered with; the channel is then as it was.
        """
        frame = self.wires[to].popleft() if payload is None else payload
        peer = self.peer(to)
        before = peer.channel
        try:
            peer.handle(decode(frame))
        except (PeerError, OurError) as error:
            assert peer.channel is before
            peer.errors.append(error)
            return error
        return None

    def deliver_all(self, *, most: int = 400) -> None:
        """Deliver until both wires are empty; more than ``most`` frames is a livelock."""
        count = 0
        while any(self.wires.values()):
            for side in Party:
                if self.wires[side]:
                    self.deliver(side)
                    count += 1
            assert count <= most, "the two peers keep talking: livelock"

    # ---- the chain

    def see(self) -> None:
        """Both take in the newest head."""
        for peer in self.peers:
            peer.see()

    def mine(self, seconds: int = 12, *, blocks: int = 1, censor: bool = False) -> None:
        """Mine, and let both see each block."""
        for _ in range(blocks):
            self.chain.mine(seconds, censor=censor)
            self.see()

    def wait_out_box(self, *, censor: bool = False) -> None:
        """Mine until every box that is open now has passed in a final block."""
        self.mine(60, blocks=3 + FINALITY + 1, censor=censor)

    # ---- whole scenes

    def open(self) -> World:
        """Both deposits are on chain and final; both are IDLE."""
        self.deliver_all()
        self.mine(blocks=FINALITY + 2)
        self.deliver_all()
        assert [peer.phase for peer in self.peers] == [Phase.IDLE, Phase.IDLE]
        return self

    def propose(self, side: Party, change: Change | None = None, **marks: int) -> int:
        """``side`` proposes ``change`` (one put bought by A); returns the nonce it took."""
        peer = self.peer(side)
        before = peer.channel.ledger.highest_mine
        draft = make_draft(
            peer.channel.portfolio,
            make_trade() if change is None else change,
            self.chain.time,
            **marks,
        )
        peer.handle(e.ProposeChange(draft=draft, now=self.chain.time))
        after = peer.channel.ledger.highest_mine
        assert after > before
        return after

    def answer(self, side: Party, *, accept: bool = True, nonce: int | None = None) -> None:
        """``side`` decides on what waits for it."""
        peer = self.peer(side)
        decided = peer.waiting[0] if nonce is None else nonce
        peer.handle(e.Answer(nonce=decided, accept=accept, now=self.chain.time))
        if decided in peer.waiting:
            peer.waiting.remove(decided)

    def trade(self, side: Party, change: Change | None = None, **marks: int) -> int:
        """``side`` proposes, the other accepts, it is confirmed; returns F's new nonce."""
        self.propose(side, change, **marks)
        self.deliver_all()
        self.answer(side.other)
        self.deliver_all()
        assert self.alice.channel.ledger.nonce == self.bob.channel.ledger.nonce
        return self.alice.channel.ledger.nonce

    def remark(self, side: Party, **marks: int) -> int:
        """As `trade`, with new marks alone."""
        return self.trade(side, Remark(), **marks)

    def crash(self, side: Party, event: Event, after: int) -> None:
        """``side`` dies before the effect of number ``after`` and starts again."""
        peer = self.peer(side)
        peer.crash_after = after
        try:
            peer.handle(event)
        except Crashed:
            pass
        else:
            raise AssertionError("it should have died")
        self.disconnect()
        peer.restart()


def entry_at(peer: Peer, nonce: int) -> Entry:
    """The ledger's entry at ``nonce``, which must be there."""
    entry = peer.channel.ledger.entry(nonce)
    assert entry is not None
    return entry


def co_signed(world: World, nonce: int) -> calls.CoSigned:
    """The state at ``nonce`` with both signatures, from all that either side ever emitted."""
    found: dict[Party, Emitted] = {}
    for peer in world.peers:
        for each in peer.emitted:
            if each.value.nonce == nonce:
                found[peer.side] = each
    state = found[Party.A].value
    assert isinstance(state, State)
    return calls.CoSigned(
        state=state,
        signature_a=found[Party.A].signature,
        signature_b=found[Party.B].signature,
    )


def opened() -> World:
    """A world in which the channel is open and both are IDLE."""
    return World().open()


def half_signed(
    world: World,
    by: Party,
    change: Change | None = None,
    *,
    domain: Domain = DOMAIN,
    signer: LocalSigner | None = None,
    channel: bytes = ID,
    announced: Change | None = None,
    spot: int = 3_000,
    **forced: Any,
) -> m.HalfSigned:
    """What ``by`` could put into a Propose on top of the other side's F, but for what is forced.

    ``forced`` sets ``nonce``, ``valid_until`` or ``portfolio``; ``announced`` another change than
    the one that made the portfolio; the signature covers what is sent, by ``signer`` in ``domain``.
    """
    receiver = world.peer(by.other).channel
    dealt = make_trade() if change is None else change
    if "portfolio" not in forced:
        marks = make_marks(receiver.portfolio, dealt, world.chain.time, spot=spot)
        forced["portfolio"] = apply(dealt, receiver.portfolio, marks, UNIT, receiver.margin_model)
    forced.setdefault("nonce", by.next_nonce(receiver.ledger.highest_seen))
    forced.setdefault("valid_until", world.chain.time + TIMING.box)
    state = State(channel_id=channel, **forced)
    key = SIGNERS[by] if signer is None else signer
    return m.HalfSigned(
        change=dealt if announced is None else announced,
        signature=key.sign_digest(domain.digest(state)),
        **forced,
    )


def signed(by: Party, value: State | Closing | Withdrawal, *, domain: Domain = DOMAIN) -> Signature:
    """The signature of the signer of ``by`` on any state or Closing."""
    return SIGNERS[by].sign_digest(domain.digest(value))


def shown(state: State, proof: Signature | None) -> m.Reestablish:
    """What a peer says after a reconnect whose F is ``state``."""
    return m.Reestablish(
        channel_id=ID,
        nonce=state.nonce,
        valid_until=state.valid_until,
        portfolio_hash=state.portfolio.struct_hash,
        proof=proof,
    )
