"""Whatever a document names exists: files, headings, pages, tests, make targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.documents import DOCS, PAGES, ROOT, anchors, links, prose

IDS = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        there = target.exists() and target.is_relative_to(ROOT)
        if there and anchor and target.suffix == ".md":
            there = anchor in anchors(target)
        if not there:
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", [page for page in PAGES if page.is_relative_to(DOCS)])
def test_pages_of_the_site_link_within_it(page: Path) -> None:
    """What lies outside of docs/ is not part of the site: there its path is named instead."""
    inside = [link for link in links(page) if not re.match(r"https?://|#", link)]
    assert all((page.parent / link.split("#")[0]).resolve().is_relative_to(DOCS) for link in inside)


def test_the_site_has_every_page_once() -> None:
    named = re.findall(
        r"^\s+- (?:[^:\n]+: )?([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M
    )
    assert sorted(named) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_every_decision_is_listed_and_has_its_four_parts() -> None:
    folder = DOCS / "decisions"
    records = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    assert [path.name[:4] for path in records] == [f"{n + 1:04}" for n in range(len(records))]
    listed = links(folder / "README.md")
    for path in records:
        assert path.name in listed
        text = path.read_text()
        assert text.startswith(f"# {path.name[:4]}: ")
        parts = re.findall(r"^## (.+)$", text, re.M)
        assert parts == ["Context", "Decision", "Why", "Consequences"], path.name


def test_invariants_are_numbered_and_each_names_its_tests() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    section = text.split("## Invariants")[1]
    invariants = re.split(r"^\*\*I-(?=\d+\. )", section, flags=re.M)[1:]
    numbers = [int(each.split(".")[0]) for each in invariants]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 18, "eleven rules of the contract, seven of signing"
    for each in invariants:
        files = re.findall(r"\]\(((?:contracts/test|tests)/[^)]+)\)", each)
        assert files or "none yet" in each, each[:60]


def test_named_paths_exist() -> None:
    """Paths in inline code, such as `channels/protocol/rules.py`, are files of the repository."""
    rooms = "channels|contracts|docs|examples|tests|tools|bench"
    missing = []
    for page in PAGES:
        for path in re.findall(rf"`((?:{rooms})/[\w/.-]*)`", prose(page)):
            if not (ROOT / path).exists():
                missing.append(f"{page.name}: {path}")
    assert not missing


def test_named_modules_and_names_exist() -> None:
    """Dotted names in inline code, such as `channels.protocol.machine.TABLE`."""
    from importlib import import_module

    missing = []
    for page in PAGES:
        for name in set(re.findall(r"`(channels(?:\.\w+)+)`", prose(page))):
            parts = name.split(".")
            for cut in range(len(parts), 0, -1):
                try:
                    found: object = import_module(".".join(parts[:cut]))
                except ModuleNotFoundError:
                    continue
                for attribute in parts[cut:]:
                    found = getattr(found, attribute, None)
                if found is None:
                    missing.append(f"{page.name}: {name}")
                break
    assert not missing
