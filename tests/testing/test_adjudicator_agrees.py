"""The Adjudicator and its model, through the same random games, call by call.

Compared after every call: whether it was accepted, its answer and its events or the custom error
with what the model knows of its arguments, storage of every channel, balances, claims, the count of
disputes.

``OPTION_CHANNELS_FUZZ=1`` plays 5,000 games, different ones each time; ``-s`` shows how many calls
of each kind were accepted.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import pytest

from channels.chain.artifacts import load_artifact
from channels.protocol.types import Party
from channels.testing.book import Book
from channels.testing.record import ChannelRecord
from channels.units import HOUR

from .game import Game
from .table import PEOPLE
from .twin import Twin

FUZZ: Final = os.environ.get("OPTION_CHANNELS_FUZZ") == "1"
CALLS: Final = 50
GAMES: Final = 5_000 if FUZZ else 150

LEAST_ACCEPTED: Final = {
    "Open": 0.4,
    "OpenWithPermit": 0.4,
    "Deposit": 0.7,
    "Checkpoint": 0.8,
    "CheckpointMany": 1.0,
    "Withdraw": 0.3,
    "Dispute": 0.6,
    "DisputeFor": 0.45,
    "Settle": 0.6,
    "Close": 0.35,
    "CallMargin": 0.15,
    "CloseOut": 0.15,
    "Release": 0.1,
    "Abandon": 0.08,
    "Claim": 0.3,
}
"""Share of the calls of each kind that has to succeed, or the games are not worth much."""

NEVER_MET: Final = frozenset(
    {
        "InsufficientGas",  # every call has a whole transaction's gas
        "InvalidParty",  # the model's types hold no other party
        "NoRiskEngine",  # of deployment
        "Reentrancy",  # tokens and oracles of the games do not call back
        "WrongAmountReceived",  # nor do the tokens take a fee
    }
)

Fakes = Mapping[str, Mapping[str, Any]]


def play(fakes: Fakes, seed: int) -> Twin:
    """Play one game; what disagrees is told with the calls that led there."""
    twin = Twin(fakes, PEOPLE)
    try:
        Game(twin, random.Random(seed)).play(CALLS)
    except AssertionError as error:
        error.add_note(f"game {seed}, at its end:\n" + "\n".join(twin.log[-12:]))
        raise
    return twin


def test_random_games(fakes: Fakes) -> None:
    first = random.SystemRandom().randrange(2**32) if FUZZ else 0
    tried: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for seed in range(first, first + GAMES):
        twin = play(fakes, seed)
        tried += twin.tried
        accepted += twin.accepted
        refused += Counter({reason: count for (_, reason), count in twin.refused.items()})
    print(f"{GAMES} games of {CALLS} calls, from game {first}: accepted of tried")
    for kind in LEAST_ACCEPTED:
        print(f"  {kind:16}{accepted[kind]:8} of {tried[kind]}")
    for kind, least in LEAST_ACCEPTED.items():
        assert accepted[kind] >= least * tried[kind] > 0, f"too few {kind} succeed"
    errors = {name for name, _ in load_artifact("Adjudicator").errors().values()}
    assert errors - NEVER_MET <= set(refused), "errors never met"


# ---- a model that differs is found out


def _no_stale_penalty(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ChannelRecord, "stale_penalty", lambda *_: 0)


def _late_run_off(patch: pytest.MonkeyPatch) -> None:
    phase_at = ChannelRecord.phase_at
    patch.setattr(ChannelRecord, "phase_at", lambda record, now: phase_at(record, now - 1))


def _clamped_equity(patch: pytest.MonkeyPatch) -> None:
    equity = ChannelRecord.equity

    def clamped(record: ChannelRecord, party: Party, net_to_b: int) -> int:
        return max(0, equity(record, party, net_to_b))

    patch.setattr(ChannelRecord, "equity", clamped)


def _younger_marks(patch: pytest.MonkeyPatch) -> None:
    shortfall = Book.shortfall

    def younger(book: Book, *rest: Any) -> tuple[int, int]:
        return shortfall(attrs.evolve(book, marked_at=book.marked_at + HOUR), *rest)

    patch.setattr(Book, "shortfall", younger)


@pytest.mark.parametrize(
    "change", [_no_stale_penalty, _late_run_off, _clamped_equity, _younger_marks]
)
def test_the_games_find_a_model_that_differs(
    fakes: Fakes, monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch], None]
) -> None:
    change(monkeypatch)

    def games() -> None:
        for seed in range(60):
            play(fakes, seed)

    with pytest.raises(AssertionError):
        games()
