"""Breadth first over every position of a game, so that the first fault found is a shortest one."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs

from tests.model import guarantees
from tests.model.game import Game
from tests.model.machines import Faulty
from tests.model.position import Position, Rules
from tests.model.rest import Rest

__all__ = ["Found", "explore"]


@attrs.frozen(kw_only=True)
class Found:
    """What an exploration came to.

    ``positions`` and ``transitions`` (moves between them) explored, down to ``depth`` moves from
    the start; ``complete`` if none was left; ``steps`` of the real machine worked out; CPU
    ``seconds``. ``violation`` is the guarantee broken, ``trace`` the moves that led there.
    """

    name: str
    positions: int
    transitions: int
    depth: int
    complete: bool
    steps: int
    seconds: float
    violation: str = ""
    trace: tuple[str, ...] = ()

    def line(self) -> str:
        """One line of figures."""
        how = "all" if self.complete else "bounded"
        return (
            f"{self.name:<28} {self.positions:>9,} positions {self.transitions:>10,} moves  "
            f"depth {self.depth:>2}  {how:<7}  {self.steps:>7,} steps  {self.seconds:>6.1f} s  "
            f"{self.violation or 'no violation'}"
        )


def explore(
    rules: Rules, *, most: int = 1_000_000, told: Callable[[str], None] | None = None
) -> Found:
    """Explore a game until nothing is left, ``most`` positions are known, or a guarantee breaks."""
    begun = time.process_time()
    game = Game(rules)
    rest = Rest(game)
    start = game.start()
    parents: dict[Position, tuple[Position, str] | None] = {start: None}
    layer, depth, transitions = [start], 0, 0

    def found(violation: str = "", last: Position | None = None, *final: str) -> Found:
        return Found(
            name=rules.name,
            positions=len(parents),
            transitions=transitions,
            depth=depth,
            complete=not violation and not layer,
            steps=len(game.machines),
            seconds=time.process_time() - begun,
            violation=violation,
            trace=(*_trace(parents, last), *final) if last is not None else (),
        )

    while layer and len(parents) < most:
        following: list[Position] = []
        for at in layer:
            try:
                for move in game.moves(at):
                    transitions += 1
                    broken = guarantees.of_move(game, at, move)
                    if broken is None and move.after in parents:
                        continue
                    broken = broken or guarantees.of_position(game, at, move.after)
                    if rules.hostile is None:
                        broken = broken or rest.fault(move.after)
                    if broken is not None:
                        return found(broken, at, move.name)
                    parents[move.after] = (at, move.name)
                    following.append(move.after)
            except Faulty as fault:
                return found(f"no step fails: {fault}", at)
            if len(parents) >= most:
                return found()
        layer = following
        depth += bool(following)
        if told is not None:
            told(f"  depth {depth}: {len(parents):,} positions")
    return found()


def _trace(parents: dict[Position, tuple[Position, str] | None], last: Position) -> tuple[str, ...]:
    names: list[str] = []
    step = parents[last]
    while step is not None:
        names.append(step[1])
        step = parents[step[0]]
    return tuple(reversed(names))
