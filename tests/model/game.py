"""What may happen next, to two honest peers, or to one and a hostile one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import permutations

import attrs

from channels.protocol import events as e
from channels.protocol.channel import OPEN_PHASES, Channel, Phase
from channels.protocol.facts import OnChainPhase
from channels.protocol.machine import TABLE
from channels.protocol.types import Closing, Party, State
from tests.model.alphabet import LONG, TICK
from tests.model.chain import Call, Chain, Contract
from tests.model.machines import Faulty, Machines, Result, Signature
from tests.model.mallory import described, words
from tests.model.position import (
    NOBODY,
    Budget,
    Move,
    Node,
    Position,
    Rules,
    with_node,
    with_wire,
)

__all__ = ["Game"]


class Game:
    """The moves of one game."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.machines = Machines(rules.max_in_flight)
        self.contract = Contract(self.machines)
        self.honest = tuple(side for side in Party if side is not rules.hostile)
        self._copies = (-1, -1)
        self._heard: dict[tuple[int, frozenset[Signature]], tuple[int, ...]] = {}

    # ---- reading a position

    def channel(self, at: Position, side: Party) -> Channel:
        """The machine of an honest side."""
        return self.machines.channels[at.nodes[side].memory]

    def co_signed(self, at: Position) -> set[int]:
        """Values that somebody holds both signatures on: a hostile peer, on all we signed."""
        a, b = ({each.value for each in at.signed if each.side is side} for side in Party)
        if self.rules.hostile is None:
            return a & b
        return a | b

    # ---- moves

    def start(self) -> Position:
        """Both idle, with the changes that the rules say were made before."""
        chain = self.contract.first
        first = self.contract.seen(chain)
        a, b = (self.machines.start(side, first) for side in Party)
        self._copies = (a, b)
        at = Position(
            nodes=(Node(a, a), Node(b, b)),
            wires=((), ()),
            connected=True,
            chain=chain,
            disputes=frozenset(),
            signed=frozenset(),
            settled=((0, self.machines.portfolio(State(channel_id=bytes(32), nonce=0).portfolio)),),
            budget=self.rules.budget,
        )
        for name in self.rules.before:
            at = self.agreed(at, name)
        if self.rules.hostile is None:
            return at
        ours = (each for each in at.signed if each.side is not self.rules.hostile)
        return with_node(at, self.rules.hostile, NOBODY)._replace(signed=frozenset(ours))

    def agreed(self, at: Position, name: str) -> Position:
        """A proposes a change, B accepts, and it is confirmed."""
        proposer = at.nodes[Party.A].memory
        at = self.performed(at, Party.A, self.machines.change(proposer, name))
        at = self.delivered(at, Party.B)
        acceptor = at.nodes[Party.B].memory
        nonce = next(self.machines.undecided(acceptor))
        answered = self.machines.answer(acceptor, nonce, accept=True)
        at = self.performed(at, Party.B, answered)
        return self.delivered(self.delivered(at, Party.A), Party.B)

    def delivered(self, at: Position, to: Party) -> Position:
        """The oldest frame on the wire to ``to`` is heard."""
        frame, *rest = at.wires[to]
        result = self.machines.hear(at.nodes[to].memory, frame)
        return self.performed(with_wire(at, to, tuple(rest)), to, result)

    def moves(self, at: Position) -> Iterator[Move]:
        """Everything that may happen next."""
        for side in self.honest:
            yield from self._owner_moves(at, side)
            yield from self._reading_moves(at, side)
            yield from self._hearing_moves(at, side)
            yield from self._crash(at, side)
        yield from self._link_moves(at)
        yield from self._chain_moves(at)

    def _owner_moves(self, at: Position, side: Party) -> Iterator[Move]:
        here, steps = at.nodes[side].memory, self.machines
        phase = steps.channels[here].phase
        name = side.name
        for nonce in steps.undecided(here):
            for accept in (True, False):
                word = "accepts" if accept else "rejects"
                result = steps.answer(here, nonce, accept=accept)
                yield from self._step(at, side, result, f"{name} {word} {nonce}")
        if phase is Phase.IDLE:
            poorer = at.budget.less("changes", side)
            if poorer is not None:
                for change in self.rules.changes:
                    result = steps.change(here, change)
                    then = at._replace(budget=poorer)
                    yield from self._step(then, side, result, f"{name} proposes {change!r}")
            poorer = at.budget.less("quotes", side)
            if poorer is not None:
                result = steps.quote(here, self.rules.quote)
                yield from self._step(at._replace(budget=poorer), side, result, f"{name} quotes")
            poorer = at.budget.less("closes")
            if poorer is not None:
                result = steps.step(here, e.RequestClose(now=0), "close")
                then = at._replace(budget=poorer)
                yield from self._step(then, side, result, f"{name} asks to close")
        poorer = at.budget.less("cancels")
        if poorer is not None and phase is Phase.PROPOSED:
            result = steps.step(here, e.CancelProposals(), "cancel")
            yield from self._step(at._replace(budget=poorer), side, result, f"{name} cancels")
        poorer = at.budget.less("disputes")
        if poorer is not None and (phase, e.StartDispute) in TABLE:
            result = steps.step(here, e.StartDispute(), "dispute")
            yield from self._step(at._replace(budget=poorer), side, result, f"{name} disputes")

    def read(self, at: Position, side: Party) -> Result | None:
        """What the head of the chain makes of a peer's channel; None if it has seen it."""
        here = at.nodes[side].memory
        head, final = at.chain[-1], at.chain[0]
        seen, news = self.machines.channels[here], self.contract.seen(at.chain)
        if (
            seen.head is not None
            and (seen.head.number, seen.head.final_number) == (head.number, final.number)
            and (seen.view, seen.final_view) == (news.view, news.final_view)
        ):
            return None
        return self.machines.step(here, news, ("seen", final, head))

    def _reading_moves(self, at: Position, side: Party) -> Iterator[Move]:
        result = self.read(at, side)
        if result is not None:
            yield from self._step(at, side, result, f"{side.name} sees block {at.chain[-1].number}")

    def _hearing_moves(self, at: Position, side: Party) -> Iterator[Move]:
        """The oldest frame: also over a link that has just broken, where it may be lost too."""
        if at.wires[side]:
            frame, *rest = at.wires[side]
            result = self.machines.hear(at.nodes[side].memory, frame)
            heard = with_wire(at, side, tuple(rest))
            said = type(self.machines.messages[frame]).__name__
            if result.refused:
                ended = self.channel(at, side).phase not in OPEN_PHASES
                if result.refused != "SigningRefusedError" and not ended:
                    raise Faulty(f"{side.name} blames an honest {said}: {result.refused}")
                yield Move(f"{side.name} refuses {said} ({result.refused})", heard)
            else:
                yield from self._step(heard, side, result, f"{side.name} hears {said}")

    def _link_moves(self, at: Position) -> Iterator[Move]:
        if self.rules.hostile is not None:
            yield from self._words(at, self.rules.hostile.other)
            return
        if not at.connected:
            if all(self.channel(at, side).head is not None for side in self.honest):
                # A peer reads the chain before it talks.
                yield Move("the link is back", self.reconnected(at))
            return
        poorer = at.budget.less("drops")
        if poorer is not None:
            yield Move("the link breaks", at._replace(connected=False, budget=poorer))

    def _words(self, at: Position, to: Party) -> Iterator[Move]:
        """What the hostile peer may say now; a machine that crashed hears nothing before a head."""
        poorer = at.budget.less("words")
        if poorer is None:
            return
        here = at.nodes[to].memory
        key = (here, at.signed)
        if key not in self._heard:
            channel, rules = self.machines.channels[here], self.rules
            said = words(self.machines, channel, at.signed, rules.changes, rules.quote)
            self._heard[key] = tuple(dict.fromkeys(self.machines.message(each) for each in said))
        then = at._replace(budget=poorer)
        for number in self._heard[key]:
            message = self.machines.messages[number]
            name = f"{to.other.name} says {described(message)}"
            yield from self._step(then, to, self.machines.hear(here, number), name)

    def reconnected(self, at: Position) -> Position:
        """What was on its way is lost; both say where they stand."""
        at = at._replace(connected=True, wires=((), ()))
        for side in self.honest:
            here = at.nodes[side].memory
            if (self.machines.channels[here].phase, e.Connected) in TABLE:
                result = self.machines.step(here, e.Connected(), "connected")
                at = self.performed(at, side, result)
        return at

    def _crash(self, at: Position, side: Party) -> Iterator[Move]:
        poorer = at.budget.less("crashes")
        if poorer is not None:
            yield Move(f"{side.name} crashes", self._restarted(at._replace(budget=poorer), side))

        poorer = at.budget.less("losses")
        if poorer is not None:
            there = self.machines.restored(self._copies[side])
            lost = with_node(at._replace(budget=poorer), side, Node(there, there))
            after = with_wire(lost, side, ())._replace(connected=False)
            yield Move(f"{side.name} loses its data", after)

    def _restarted(self, at: Position, side: Party) -> Position:
        store = at.nodes[side].store
        after = with_node(at, side, Node(self.machines.restart(store), store))
        return with_wire(after, side, ())._replace(connected=False)

    def calls(self, at: Position) -> tuple[Call, ...]:
        """All that somebody could have mined now."""
        found = sorted(at.disputes)
        if at.budget.records:
            filer = Party.A if self.rules.hostile is None else self.rules.hostile
            for value in sorted(self.co_signed(at)):
                closes = isinstance(self.machines.values[value], Closing)
                found.append(Call("close" if closes else "record", value, filer))
        if self.rules.hostile is not None and at.budget.disputes:
            found.append(Call("dispute", -1, self.rules.hostile))
        return tuple(found)

    def _chain_moves(self, at: Position) -> Iterator[Move]:
        calls = self.calls(at)
        for seconds, name in ((TICK, "ticks"), (LONG, "long")):
            poorer = at.budget.less(name)
            if poorer is not None and self._up_to_date(at):
                then = at._replace(budget=poorer)
                yield from self._blocks(then, at.chain, calls, seconds, final=True)
                late = poorer.less("late")
                if late is not None:
                    then = at._replace(budget=late)
                    yield from self._blocks(then, at.chain, calls, seconds, final=False)
        poorer = at.budget.less("reorgs")
        if poorer is not None and len(at.chain) > 1:
            seconds = at.chain[-1].time - at.chain[-2].time
            then = at._replace(budget=poorer)
            for move in self._blocks(then, at.chain[:-1], calls, seconds, final=False):
                if move.after.chain != at.chain:
                    yield move._replace(name=f"reorganised: {move.name}")

    def _up_to_date(self, at: Position) -> bool:
        """Whether a block may come: no running peer falls behind by more than the newest one."""
        newest = (at.chain[-1].number, self.contract.head_view(at.chain))
        channels = (self.channel(at, side) for side in self.honest)
        return all(
            each.head is None or (each.head.number, each.view) == newest for each in channels
        )

    def _blocks(
        self, at: Position, chain: Chain, calls: tuple[Call, ...], seconds: int, *, final: bool
    ) -> Iterator[Move]:
        for count in range(self.rules.per_block + 1):
            for mined in permutations(calls, count):
                poorer = _charged(at.budget, mined, self.rules.hostile)
                block = (
                    None if poorer is None else self.contract.mined(chain, mined, seconds=seconds)
                )
                if block is None or poorer is None:
                    continue
                after = self.contract.extended(chain, block, final=final)
                told = "".join(f", {self.told(call)}" for call in mined)
                name = f"block {block.number}{'' if final else ', not final yet'}{told}"
                yield Move(name, self.with_final(at._replace(chain=after, budget=poorer)))

    def told(self, call: Call) -> str:
        """A call in words."""
        if call.value < 0:
            return f"{call.sender.name} disputes with nothing"
        nonce = self.machines.values[call.value].nonce
        told = {"record": f"{nonce} recorded", "close": f"closed by {nonce}"}
        return told.get(call.kind, f"{call.sender.name} disputes with {nonce}")

    # ---- carrying out a step

    def _step(self, at: Position, side: Party, result: Result, name: str) -> Iterator[Move]:
        if result.refused:
            return
        before, now = self.channel(at, side), self.machines.channels[result.channel]
        by = attrs.evolve(before, head=now.head, view=now.view, final_view=now.final_view)
        if result.channel != at.nodes[side].memory or result.effects:
            yield Move(name, self.performed(at, side, result), result.signed, by)
        poorer = at.budget.less("crashes")
        if poorer is None or not result.stored:
            return
        for count in range(len(result.effects)):
            cut = attrs.evolve(result, effects=result.effects[:count])
            after = self.performed(at._replace(budget=poorer), side, cut)
            told = f"{name}, and crashes after storing it and {count} effects"
            yield Move(told, self._restarted(after, side), result.signed, by)

    def performed(self, at: Position, side: Party, result: Result) -> Position:
        """A peer carries out a step in full."""
        node = at.nodes[side]
        stored = result.channel if result.stored else node.store
        after = with_node(at, side, Node(result.channel, stored))
        sent = tuple(number for kind, number in result.effects if kind == "send")
        if sent and at.connected and at.nodes[side.other] is not NOBODY:
            after = with_wire(after, side.other, after.wires[side.other] + sent)
        disputes = [Call(kind, n, side) for kind, n in result.effects if kind == "dispute"]
        after = after._replace(
            disputes=after.disputes.union(disputes), signed=after.signed.union(result.signed)
        )
        full = self.machines.channels[stored].ledger.full.state
        return self.with_settled(after, full.nonce, self.machines.portfolio(full.portfolio))

    def with_final(self, at: Position) -> Position:
        """What is final on chain stands, where it is newer than an honest peer's F."""
        final = self.contract.views[at.chain[0].view]
        if final.phase is OnChainPhase.CLOSED or not final.nonce:
            return at
        behind = any(self.channel(at, side).ledger.nonce < final.nonce for side in self.honest)
        if not behind:
            return at
        recorded = next(
            value
            for value in (self.machines.values[each.value] for each in at.signed)
            if isinstance(value, State)
            and value.nonce == final.nonce
            and value.portfolio.struct_hash == final.portfolio_hash
        )
        return self.with_settled(at, final.nonce, self.machines.portfolio(recorded.portfolio))

    @staticmethod
    def with_settled(at: Position, nonce: int, portfolio: int) -> Position:
        """``portfolio`` stands at ``nonce``."""
        if (nonce, portfolio) in at.settled:
            return at
        return at._replace(settled=tuple(sorted({*at.settled, (nonce, portfolio)})))


def _charged(budget: Budget, mined: Iterable[Call], hostile: Party | None) -> Budget | None:
    charged: Budget | None = budget
    for call in mined:
        if charged is None:
            return None
        if call.kind != "dispute":
            charged = charged.less("records")
        elif call.sender is hostile:
            charged = charged.less("disputes")
    return charged
