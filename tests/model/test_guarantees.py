"""The guarantees of protocol.md hold in every position explored; without a rule one of them breaks.

Bounded to what `make test` has time for: ``python -m tests.model`` explores the same games further.
"""

from __future__ import annotations

import pytest

from channels.protocol import lifecycle, rules, signing
from tests.model.position import Rules
from tests.model.runs import HONEST, HOSTILE, MUTANTS, Mutant
from tests.model.search import explore
from tests.model.stand_ins import installed, without_rule

MOST = 1_500
ENOUGH = 12_000
"""Positions by which every mutant has shown."""
WHOLE = next(each for each in HONEST if each.name == "trade, crashes")


def _named(game: Rules | Mutant) -> str:
    return game.name


@pytest.mark.parametrize("game", [*HONEST, *HOSTILE], ids=_named)
def test_no_guarantee_is_violated(game: Rules) -> None:
    with installed():
        found = explore(game, most=MOST)
    assert found.violation == "", found.trace
    assert found.positions >= MOST
    assert found.transitions >= found.positions - 1, "every position but the first was moved to"


def test_a_whole_game_is_explored_to_its_end() -> None:
    with installed():
        found = explore(WHOLE)
    assert found.violation == "", found.trace
    assert found.complete


@pytest.mark.parametrize("mutant", MUTANTS, ids=_named)
def test_a_removed_rule_is_found(mutant: Mutant) -> None:
    """And what is found is the mutant's: the whole machine has no fault so deep in that game."""
    with installed(*mutant.swaps):
        found = explore(mutant.game, most=ENOUGH)
    assert found.violation.startswith(mutant.breaks), found.line()
    with installed():
        whole = explore(mutant.game, most=found.positions)
    assert whole.violation == "", whole.trace


def test_the_stand_ins_leave_with_the_context() -> None:
    def in_place() -> tuple[object, ...]:
        return (vars(signing)["recover"], vars(lifecycle)["recover"], rules._RULES)

    before = in_place()
    with installed(without_rule(5)):
        assert [number for number, _ in rules._RULES] == [1, 2, 3, 4, 6, 7]
        assert before[0] not in in_place()
    assert in_place() == before
