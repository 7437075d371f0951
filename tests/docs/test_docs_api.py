"""The page of the public API names every public name; the test that the guide shows passes."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

import channels
from channels.peer import Desk, Peer, PeerChannel, Quote, Quotes
from channels.pricing import instruments
from channels.testing import run
from tests.docs.documents import DOCS, blocks

PAGE: Final = (DOCS / "reference" / "api.md").read_text()
NAMED: Final = frozenset(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", PAGE))))

FOR_THE_LIBRARY: Final = {
    Peer: {
        "cancel_quotes",
        "marks_for",
        "marks_objection",
        "marks_to_book_at",
        "now",
        "sign",
        "start",
        "submit",
        "takes_late_quotes",
    },
    PeerChannel: {"give_acceptance", "take_part"},
    Quote: set(),
    Quotes: set(),
    Desk: {"filled", "over_credit", "permit"},
}
"""What is public between modules, and nothing for a program that trades."""


def test_every_name_of_the_package_is_on_the_page() -> None:
    assert set(channels.__all__) - NAMED == set()
    assert set(instruments.__all__) & set(channels.__all__) <= NAMED


@pytest.mark.parametrize("shown", FOR_THE_LIBRARY, ids=lambda each: each.__name__)
def test_every_member_is_on_the_page(shown: type) -> None:
    members = {each for each in dir(shown) if not each.startswith("_")}
    assert members - FOR_THE_LIBRARY[shown] - NAMED == set()


def test_it_is_one_page() -> None:
    """Some hundred lines: three screens, or a sheet of paper on both sides."""
    assert len(PAGE.splitlines()) < 160


def test_each_name_has_one_line() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    assert max(map(len, rows)) < 220


def test_the_bots_test_passes() -> None:
    """The block that is a test file is run by nobody else: a page's other blocks run themselves."""
    (text,) = [
        each.text
        for each in blocks(DOCS / "how-to" / "test-a-bot.md")
        if "async def test_" in each.text
    ]
    names: dict[str, Any] = {}
    exec(text, names)
    tests = [found for name, found in names.items() if name.startswith("test_")]
    assert len(tests) == 1
    for test in tests:
        run(test, None)
