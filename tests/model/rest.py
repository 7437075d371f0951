"""No deadlock and no livelock: from every position, quiet leads to rest in bounded time.

Quiet: the link is up, what was sent arrives, whatever waits for an owner is declined, blocks come
and are final one later, and what is submitted is mined. At rest both are idle with the same F and
can agree on a change, their circuit breakers reset; or the channel is in dispute, or over.
"""

from __future__ import annotations

from typing import Final

from channels.protocol import events as e
from channels.protocol.channel import Phase
from channels.protocol.halts import Mode
from channels.protocol.types import Party
from tests.model.alphabet import LONG, TICK
from tests.model.chain import Call
from tests.model.game import Game
from tests.model.machines import Result
from tests.model.position import Budget, Position, with_wire

__all__ = ["Rest"]

_ENDED: Final = (Phase.DISPUTED, Phase.RUN_OFF, Phase.CLOSED)
_BLOCKS: Final = 24
"""Until rest; the last ones far enough apart for a Closing's box."""
_FRAMES: Final = 60
"""In one go: beyond that, two peers that keep talking."""


class Rest:
    """Plays positions of one game to their rest, each once."""

    def __init__(self, game: Game) -> None:
        self.game = game
        self._known: set[Position] = set()
        self._usable: dict[tuple[int, ...], bool] = {}

    def fault(self, at: Position) -> str | None:
        """Why there is no rest from here; None if there is."""
        at = at._replace(budget=Budget(), settled=(), signed=frozenset())
        passed: list[Position] = []
        at, submitted = self._settled_down(at)
        for number in range(_BLOCKS):
            if at in self._known:
                break
            passed.append(at)
            if self._at_rest(at):
                if not self._can_agree(at):
                    return f"no deadlock: nothing can be agreed any more {self.described(at)}"
                break
            at, submitted = self._next_block(at, submitted, LONG if number > _BLOCKS - 6 else TICK)
        else:
            return f"no deadlock: no rest {self.described(at)}"
        self._known.update(passed)
        return None

    def described(self, at: Position) -> str:
        """Phases and F of the honest sides."""
        return ", ".join(
            f"{side.name} {channel.phase.name} F={channel.ledger.nonce}"
            for side in self.game.honest
            for channel in (self.game.channel(at, side),)
        )

    def _at_rest(self, at: Position) -> bool:
        if any(at.wires):
            return False  # they keep talking
        channels = [self.game.channel(at, side) for side in self.game.honest]
        if all(each.phase in _ENDED for each in channels):
            return True
        idle = all(each.phase is Phase.IDLE for each in channels)
        return idle and len({each.ledger.full.state for each in channels}) == 1

    # ---- one quiet block

    def _next_block(
        self, at: Position, submitted: list[Call], seconds: int
    ) -> tuple[Position, list[Call]]:
        contract, mined = self.game.contract, list[Call]()
        for call in (*submitted, *sorted(at.disputes)):
            if contract.mined(at.chain, (*mined, call), seconds=seconds) is not None:
                mined.append(call)
        block = contract.mined(at.chain, tuple(mined), seconds=seconds)
        assert block is not None
        return self._settled_down(at._replace(chain=contract.extended(at.chain, block, final=True)))

    def _settled_down(self, at: Position) -> tuple[Position, list[Call]]:
        """The link is up, both have read the chain, and nothing is on its way or undecided."""
        submitted: list[Call] = []
        for side in self.game.honest:
            result = self.game.read(at, side)
            if result is not None:
                at = self._done(at, side, result, submitted)
        if not at.connected:
            at = self.game.reconnected(at)
        for _ in range(_FRAMES):
            if not any(at.wires) and not self._declines(at):
                break
            for side in self.game.honest:
                if at.wires[side]:
                    frame, *others = at.wires[side]
                    result = self.game.machines.hear(at.nodes[side].memory, frame)
                    at = with_wire(at, side, tuple(others))
                    at = self._done(at, side, result, submitted)
                else:
                    for nonce in self._declines(at, side):
                        here = at.nodes[side].memory
                        result = self.game.machines.answer(here, nonce, accept=False)
                        at = self._done(at, side, result, submitted)
        return at, submitted

    def _declines(self, at: Position, only: Party | None = None) -> list[int]:
        return [
            nonce
            for side in self.game.honest
            if only in (None, side)
            for nonce in list(self.game.machines.undecided(at.nodes[side].memory))[:1]
        ]

    def _done(self, at: Position, side: Party, result: Result, submitted: list[Call]) -> Position:
        submitted += [
            Call(kind, value, side) for kind, value in result.effects if kind in ("record", "close")
        ]
        return self.game.performed(at, side, result)._replace(settled=(), signed=frozenset())

    # ---- from rest, a change is possible

    def _can_agree(self, at: Position) -> bool:
        """Within some blocks one of two honest peers has a change confirmed."""
        channels = [self.game.channel(at, side) for side in self.game.honest]
        if any(each.phase in _ENDED for each in channels):
            return True
        for side in self.game.honest:
            result = self.game.machines.step(
                at.nodes[side].memory, e.SetMode(mode=Mode.NORMAL, reason=""), "normal"
            )
            at = self.game.performed(at, side, result)
        key = tuple(node.memory for node in at.nodes)
        if key not in self._usable:
            self._usable[key] = any(self._agrees(at, number) for number in range(2))
        return self._usable[key]

    def _agrees(self, at: Position, turn: int) -> bool:
        before = min(self.game.channel(at, side).ledger.nonce for side in self.game.honest)
        submitted: list[Call] = []
        for number in range(_BLOCKS):
            side = self.game.honest[(number + turn) % len(self.game.honest)]
            at = self._proposed(at, side)
            if min(self.game.channel(at, each).ledger.nonce for each in Party) > before:
                return True
            at, submitted = self._next_block(at, submitted, TICK)
        return False

    def _proposed(self, at: Position, side: Party) -> Position:
        """``side`` proposes the first change it can; all is heard, and the other accepts."""
        machines, ignored = self.game.machines, list[Call]()
        for name in ("buy", "sell"):
            result = machines.change(at.nodes[side].memory, name)
            if not result.refused:
                at = self._done(at, side, result, ignored)
                break
        for _ in range(_FRAMES):
            for each in self.game.honest:
                for nonce in list(machines.undecided(at.nodes[each].memory)):
                    answer = machines.answer(at.nodes[each].memory, nonce, accept=True)
                    at = self._done(at, each, answer, ignored)
                if at.wires[each]:
                    frame, *others = at.wires[each]
                    at = with_wire(at, each, tuple(others))
                    heard = machines.hear(at.nodes[each].memory, frame)
                    at = self._done(at, each, heard, ignored)
            if not any(at.wires):
                break
        return at
