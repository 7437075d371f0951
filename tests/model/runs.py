"""The games that are explored, and the faults that the explorer has to find."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

import attrs

from channels.protocol import chain_news, lifecycle, machine
from channels.protocol import events as e
from channels.protocol.channel import Channel
from channels.protocol.effects import Deed, Persist, Step, done
from channels.protocol.messages import Message
from channels.protocol.types import Party
from tests.model.position import Budget, Rules
from tests.model.stand_ins import Swap, without_rule

__all__ = ["HONEST", "HOSTILE", "MUTANTS", "Mutant"]

_MUCH: Final = ("sell much",)

HONEST: Final = (
    Rules(
        name="trade",
        budget=Budget(changes=(1, 0), ticks=4, drops=1, records=1),
    ),
    Rules(
        name="trade, crashes",
        budget=Budget(changes=(1, 0), ticks=3, crashes=2),
    ),
    Rules(
        name="trade, late finality",
        budget=Budget(changes=(1, 0), ticks=5, late=2, reorgs=1, records=1),
    ),
    Rules(
        name="trade of B, crash",
        budget=Budget(changes=(0, 1), ticks=3, crashes=1, drops=1, records=1),
    ),
    Rules(
        name="collision",
        budget=Budget(changes=(1, 1), ticks=3, drops=1, records=1),
    ),
    Rules(
        name="collision, crash",
        budget=Budget(changes=(1, 1), ticks=2, crashes=1),
    ),
    Rules(
        name="cancelled",
        budget=Budget(changes=(2, 0), cancels=1, ticks=3, drops=1),
    ),
    Rules(
        name="two trades in a row",
        budget=Budget(changes=(2, 1), ticks=2, records=1),
        changes=("buy", "sell"),
    ),
    Rules(
        name="quote and collision",
        budget=Budget(quotes=(1, 0), changes=(0, 1), ticks=3, records=2),
        per_block=2,
    ),
    Rules(
        name="margin",
        budget=Budget(changes=(2, 1), ticks=2),
        changes=("mark down", "sell", "sell much"),
        before=_MUCH,
    ),
    Rules(
        name="closing",
        budget=Budget(closes=2, changes=(1, 0), ticks=1, long=1, drops=1, records=1),
    ),
    Rules(
        name="dispute, reorganised",
        budget=Budget(changes=(1, 0), disputes=1, ticks=3, reorgs=1, records=1),
    ),
    Rules(
        name="few nonces",
        budget=Budget(changes=(2, 2), ticks=6),
        max_in_flight=4,
    ),
    Rules(
        name="data lost",
        budget=Budget(changes=(1, 0), ticks=7, losses=1, records=1),
        before=("buy",),
    ),
    Rules(
        name="data lost by both",
        budget=Budget(changes=(0, 1), ticks=7, losses=2, records=1),
        before=("buy",),
    ),
)
"""Two honest peers, over a link that may break and a chain that may take anything co-signed."""

HOSTILE: Final = (
    Rules(
        name="Mallory is B: trade",
        budget=Budget(changes=(1, 0), words=3, ticks=3, records=1),
        hostile=Party.B,
    ),
    Rules(
        name="Mallory is A: trade",
        budget=Budget(changes=(0, 1), words=3, ticks=3, records=1),
        hostile=Party.A,
    ),
    Rules(
        name="Mallory: quote",
        budget=Budget(quotes=(1, 0), words=2, ticks=3, records=2),
        hostile=Party.B,
        per_block=2,
    ),
    Rules(
        name="Mallory: margin",
        budget=Budget(changes=(1, 0), words=2, ticks=2, records=1),
        changes=("mark down", "sell", "sell much"),
        before=_MUCH,
        hostile=Party.B,
    ),
    Rules(
        name="Mallory: closing",
        budget=Budget(closes=1, changes=(1, 0), words=3, ticks=1, long=1, records=1),
        hostile=Party.B,
    ),
    Rules(
        name="Mallory: dispute, reorg",
        budget=Budget(changes=(1, 0), words=3, disputes=1, ticks=3, reorgs=1, records=1),
        hostile=Party.B,
    ),
    Rules(
        name="Mallory: crashes",
        budget=Budget(changes=(1, 0), words=3, ticks=2, crashes=2, records=1),
        hostile=Party.B,
    ),
    Rules(
        name="Mallory: few nonces",
        budget=Budget(changes=(3, 0), words=2, ticks=9, records=1),
        hostile=Party.B,
        max_in_flight=4,
    ),
)
"""One honest peer against a key that signs and says anything, and files what it likes."""


@attrs.frozen(kw_only=True)
class Mutant:
    """A machine with a fault, the game in which it shows, and how what is found begins."""

    name: str
    swaps: tuple[Swap, ...]
    game: Rules
    breaks: str


def _forgotten(channel: Channel, command: e.StartDispute) -> Step:
    del command
    return done(channel, Persist(Deed.DISPUTE), lifecycle.submit_dispute(channel))


def _signs_in_dispute(channel: Channel, taken: Step) -> Step:
    del channel
    return taken


def _emptied(outbox: tuple[Message, ...]) -> tuple[Message, ...]:
    del outbox
    return ()


_FORGETS: Final = MappingProxyType(
    {
        key: _forgotten if handler is lifecycle.start_dispute else handler
        for key, handler in machine.TABLE.items()
    }
)


def _against_mallory(name: str, budget: Budget, **more: Any) -> Rules:
    return Rules(name=name, budget=budget, hostile=Party.B, **more)


_DISPUTE: Final = _against_mallory(
    "one trade, disputed", Budget(changes=(1, 0), words=2, disputes=1, ticks=1)
)

MUTANTS: Final = (
    Mutant(
        name="without rule 1",
        swaps=(without_rule(1),),
        game=_against_mallory("words", Budget(words=2)),
        breaks="no equivocation",
    ),
    Mutant(
        name="without rule 2",
        swaps=(without_rule(2),),
        game=_against_mallory(
            "few nonces", Budget(changes=(1, 0), words=1, ticks=2), max_in_flight=4
        ),
        breaks="no stale penalty",
    ),
    Mutant(
        name="without rule 3",
        swaps=(without_rule(3),),
        game=_against_mallory("trade", Budget(changes=(1, 0), words=1)),
        breaks="no free option",
    ),
    Mutant(
        name="without rule 4",
        swaps=(without_rule(4),),
        game=_against_mallory(
            "trade, recorded", Budget(changes=(1, 0), words=1, ticks=1, records=1)
        ),
        breaks="meant by both",
    ),
    Mutant(
        name="without rule 5",
        swaps=(without_rule(5),),
        game=_against_mallory(
            "margin",
            Budget(changes=(1, 0), words=1),
            changes=("mark down", "sell"),
            before=_MUCH,
        ),
        breaks="worst portfolio within limits",
    ),
    Mutant(
        name="without rule 6",
        swaps=(without_rule(6),),
        game=_against_mallory(
            "trade and closing", Budget(changes=(1, 0), words=2, ticks=1, records=1)
        ),
        breaks="meant by both",
    ),
    Mutant(
        name="without rule 7",
        swaps=(without_rule(7), (lifecycle, "_as_evidence", _signs_in_dispute)),
        game=_DISPUTE,
        breaks="nothing signed in dispute",
    ),
    Mutant(
        name="its own dispute forgotten",
        swaps=((machine, "TABLE", _FORGETS),),
        game=_DISPUTE,
        breaks="nothing signed in dispute",
    ),
    Mutant(
        name="a Confirm lost with a Closing",
        swaps=((chain_news, "without_closings", _emptied),),
        game=Rules(
            name="closing", budget=Budget(changes=(1, 0), closes=1, drops=1, ticks=1, long=1)
        ),
        breaks="no deadlock",
    ),
)
"""Each signing rule removed, rule 7 also where the phase enforces it; and a fault of old."""
