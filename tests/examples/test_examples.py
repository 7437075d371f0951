"""Every example prints its transcript, and has a page that shows it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import PATIENCE

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLES: Final = ROOT / "examples"
PAGES: Final = ROOT / "docs" / "examples"
MOST_LINES: Final = 150

NAMES: Final = sorted(path.stem for path in EXAMPLES.glob("*.txt"))
SHOWN: Final = [name for name in NAMES if name != "first_trade"]
"""The first trade is shown in the tutorial, and checked with it."""


@pytest.mark.parametrize("name", SHOWN)
def test_it_prints_its_transcript(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"examples.{name}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (EXAMPLES / f"{name}.txt").read_text(encoding="utf-8")


def test_every_program_has_a_transcript() -> None:
    programs = {path.stem for path in EXAMPLES.glob("*.py")} - {"__init__", "local"}
    assert programs == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_short_and_says_what_it_is(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < MOST_LINES
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("name", SHOWN)
def test_its_page_shows_the_transcript_and_the_command(name: str) -> None:
    page = (PAGES / f"{name.replace('_', '-')}.md").read_text(encoding="utf-8")
    transcript = (EXAMPLES / f"{name}.txt").read_text(encoding="utf-8")
    assert f"```text\n{transcript}```" in page
    assert f"```sh\n.venv/bin/python -m examples.{name}\n```" in page
    assert f"`examples/{name}.py`" in page
