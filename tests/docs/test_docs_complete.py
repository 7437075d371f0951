"""What the documents claim to list, they list: packages, messages, words, figures, causes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

from channels.peer.drop_copy import EventKind
from channels.protocol import codec, messages
from channels.protocol.channel import Phase
from channels.protocol.halts import Cause, Mode
from tests.docs.documents import DOCS, PAGES, ROOT, blocks, prose

README = (ROOT / "README.md").read_text()
MAPPING = (DOCS / "reference" / "fix-and-cdm.md").read_text()
PACKAGES = [
    path.name for path in sorted((ROOT / "channels").iterdir()) if (path / "__init__.py").exists()
]


def rows(page: str, *head: str) -> list[list[str]]:
    """The rows of every table of a page that opens with these cells."""
    found: list[list[str]] = []
    inside = False
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            inside = False
        elif [cell.casefold() for cell in cells[: len(head)]] == list(head):
            inside = True
        elif inside and not set(line) <= set("|-: "):
            found.append(cells)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_explained(package: str) -> None:
    assert f"(channels/{package})" in README
    named = " ".join(
        cells[0] for cells in rows(prose(DOCS / "explanation" / "architecture.md"), "package")
    )
    assert f"`channels.{package}`" in named


def test_every_message_is_mapped_to_fix() -> None:
    mapped = " ".join(cells[0] for cells in rows(MAPPING, "ours", "fix", "tags"))
    names = {cls.__name__ for cls, _ in codec.MESSAGES.values()}
    assert {name for name in names if f"`{name}`" not in mapped} == set()


def test_every_reason_is_mapped_to_fix() -> None:
    mapped = [cells[0].strip("`") for cells in rows(MAPPING, "`reason`")]
    assert mapped == [reason.name for reason in messages.Reason]


def test_every_event_of_the_drop_copy_is_mapped() -> None:
    mapped = [cells[0].strip("`") for cells in rows(MAPPING, "`eventkind`")]
    assert mapped == [kind.name for kind in EventKind]


def test_every_event_of_the_contract_is_mapped_to_the_cdm() -> None:
    source = (ROOT / "contracts" / "src" / "libraries" / "Events.sol").read_text()
    events = set(re.findall(r"^\s*event (\w+)\(", source, re.MULTILINE))
    mapped = " ".join(cells[0] for cells in rows(MAPPING, "here", "cdm"))
    assert {event for event in events if f"`{event}`" not in mapped} == set()


def test_the_breakers_causes_and_modes_are_listed() -> None:
    page = prose(DOCS / "explanation" / "life-of-a-channel.md")
    causes = [re.findall(r"`(\w+)`", cells[0])[0] for cells in rows(page, "cause")]
    assert causes == [cause.name for cause in Cause]
    modes = [cells[0].strip("`") for cells in rows(page, "mode")]
    assert modes == [mode.name for mode in Mode]


def test_the_diagrams_of_the_machine_have_every_phase() -> None:
    page = DOCS / "explanation" / "life-of-a-channel.md"
    drawn = "".join(each.text for each in blocks(page) if "IDLE -->" in each.text)
    assert set(re.findall(r"\b[A-Z_]{4,}\b", drawn)) == {phase.name for phase in Phase}


def test_the_glossary_is_in_order_and_names_each_word_once() -> None:
    words = [cells[0] for cells in rows(prose(DOCS / "glossary.md"), "word")]
    assert words == sorted(words, key=str.casefold)
    assert len({word.casefold() for word in words}) == len(words)


COMPARED: Final = (
    "callMargin, 128 positions, the whole margin",
    "callMargin, 64 positions, two scenarios",
    "checkpoint, later",
    "close, both hold the token",
    "close, neither holds the token",
    "dispute, 64 positions",
    "dispute, no position",
    "open, infinite allowance",
    "settle, one more position",
    "unilateral exit, no position",
)
"""The gas snapshots that the comparison names."""


def test_the_comparison_names_the_gas_that_is_measured() -> None:
    page = (DOCS / "explanation" / "comparison.md").read_text()
    snapshot = json.loads((ROOT / "contracts" / "snapshots" / "transaction.json").read_text())
    assert not [name for name in COMPARED if f" {int(snapshot[name]):,}" not in page]


def test_diagrams_have_no_semicolon_in_their_texts() -> None:
    """Mermaid takes one for the end of a line, and shows an error in place of the diagram."""
    drawn = [block for page in PAGES for block in blocks(page) if block.language == "mermaid"]
    assert len(drawn) > 5
    assert not [block.name for block in drawn if ";" in block.text]


def sources(page: Path) -> tuple[Iterable[str], Iterable[str]]:
    """The numbers of the sources a page cites, and of those it lists."""
    text, _, listed = page.read_text().partition("## Sources")
    return set(re.findall(r"\[(\d+)\](?!\()", text)), re.findall(r"^(\d+)\. ", listed, re.MULTILINE)


@pytest.mark.parametrize("name", ["comparison", "layers"])
def test_every_source_is_listed_and_cited(name: str) -> None:
    cited, listed = sources(DOCS / "explanation" / f"{name}.md")
    assert sorted(cited) == sorted(listed)
