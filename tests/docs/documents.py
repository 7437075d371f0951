"""Reading the documents: which there are, their links, headings and code blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
PAGES: Final = (
    *(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
)

_FENCE: Final = re.compile(
    r"(?:<!-- not run: (?P<reason>[^\n]+) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_LINK: Final = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@attrs.frozen(kw_only=True)
class Block:
    """A fenced block, where it stands, and why it is not run if it says so."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    @property
    def name(self) -> str:
        """Where to find it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Every fenced block of a page."""
    text = page.read_text()
    for found in _FENCE.finditer(text):
        yield Block(
            page=page,
            line=text[: found.start("language")].count("\n") + 1,
            language=found["language"],
            text=found["text"],
            reason=found["reason"],
        )


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def links(page: Path) -> list[str]:
    """Where a page points to, in its own words; inline code excluded."""
    return _LINK.findall(re.sub(r"`[^`\n]*`(?!\])", "", prose(page)))


def anchors(page: Path) -> set[str]:
    """What ``#...`` may name on a page, as GitHub and MkDocs make it of the headings."""
    found: set[str] = set()
    for heading in _HEADING.findall(prose(page)):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        number = 0
        while (unique := slug if not number else f"{slug}-{number}") in found:
            number += 1
        found.add(unique)
    return found
