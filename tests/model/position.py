"""What a game is made of: everything at one moment, a move, and the budget of what may come.

A budget says how many proposals, crashes, blocks and so on may still come. Within it every order of
events is explored; what has no entry in the budget is free.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import attrs

from channels.protocol.channel import Channel
from channels.protocol.types import Party
from tests.model.chain import Call, Chain
from tests.model.machines import Signature

__all__ = ["NOBODY", "Budget", "Move", "Node", "Position", "Rules", "with_node", "with_wire"]


class Budget(NamedTuple):
    """How much of each may still come.

    ``changes`` and ``quotes`` are proposals by A and by B; ``words`` what a hostile peer says;
    ``late``: blocks at which finality stands still; ``long``: gaps in which a Closing's box passes;
    ``records``: states and Closings that the chain takes; ``losses``: stores replaced by a copy
    made before anything was signed.
    """

    changes: tuple[int, int] = (0, 0)
    quotes: tuple[int, int] = (0, 0)
    closes: int = 0
    cancels: int = 0
    disputes: int = 0
    drops: int = 0
    crashes: int = 0
    ticks: int = 0
    late: int = 0
    long: int = 0
    reorgs: int = 0
    records: int = 0
    words: int = 0
    losses: int = 0

    def less(self, name: str, side: Party | None = None) -> Budget | None:
        """One less of ``name``; None if none is left."""
        left: Any = getattr(self, name)
        if side is None:
            changed: dict[str, Any] = {name: left - 1}
            return self._replace(**changed) if left else None
        if not left[side]:
            return None
        changed = {name: tuple(each - (which == side) for which, each in enumerate(left))}
        return self._replace(**changed)


class Node(NamedTuple):
    """A peer: the channel in memory and the one in its store, by number."""

    memory: int
    store: int


NOBODY: Final = Node(-1, -1)
"""In the place of a hostile peer, which has no machine."""


class Position(NamedTuple):
    """Everything at one moment.

    ``disputes`` were sent by an honest peer and may be mined at any time from then on; ``signed``
    is all that honest keys ever signed; ``settled`` what came to stand, by nonce.
    """

    nodes: tuple[Node, Node]
    wires: tuple[tuple[int, ...], tuple[int, ...]]
    connected: bool
    chain: Chain
    disputes: frozenset[Call]
    signed: frozenset[Signature]
    settled: tuple[tuple[int, int], ...]
    budget: Budget


class Move(NamedTuple):
    """What happened, in words; the position after it; and what a step signed to get there.

    ``by`` is the signer's channel as it was, but for what it has read of the chain by then.
    """

    name: str
    after: Position
    signed: tuple[Signature, ...] = ()
    by: Channel | None = None


@attrs.frozen(kw_only=True)
class Rules:
    """What a game is about: its budget, the changes each side may propose, and where it starts.

    ``before`` are changes that both have agreed to already; ``hostile`` is the side that has no
    machine; ``per_block`` how many calls one block may take.
    """

    name: str
    budget: Budget
    changes: tuple[str, ...] = ("buy",)
    quote: tuple[str, ...] = ("buy", "sell")
    before: tuple[str, ...] = ()
    hostile: Party | None = None
    max_in_flight: int = 8
    per_block: int = 1


def with_node(at: Position, side: Party, node: Node) -> Position:
    """The position with another node in the place of ``side``."""
    a, b = at.nodes
    return at._replace(nodes=(node, b) if side is Party.A else (a, node))


def with_wire(at: Position, to: Party, frames: tuple[int, ...]) -> Position:
    """The position with these frames on their way to ``to``."""
    a, b = at.wires
    return at._replace(wires=(frames, b) if to is Party.A else (a, frames))
