"""What the documents show, done: Python blocks, commands, transcripts, generated tables.

Everything runs in processes of its own, as a reader would run it: from the root of the repository,
with the tools of the environment that runs the tests.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import PATIENCE
from tests.docs.documents import PAGES, ROOT, Block, blocks

BIN: Final = Path(sys.executable).parent
SHOWN: Final = [block for page in PAGES for block in blocks(page)]
README: Final = ROOT / "README.md"
TRANSCRIPT: Final = ROOT / "examples" / "first_trade.txt"

NOT_RUN: Final = {
    "make": "its target is checked instead",
    "pip": "it would change the environment that runs the tests",
}


@cache
def run(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command line once, whoever asks."""
    words = [
        str(BIN / word[10:]) if word.startswith(".venv/bin/") else word
        for word in shlex.split(command)
    ]
    environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        words,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def masked(text: str) -> list[str]:
    """Lines without what differs from run to run: ids, gas, times, trailing blanks."""
    text = re.sub(r"0x[0-9a-f]{64}", "0x…", text)
    text = re.sub(r"[\d,]+ gas", "… gas", text)
    text = re.sub(r"[\d,]+ ms", "… ms", text)
    text = re.sub(r"[\d.]+ s$", "… s", text, flags=re.M)
    return [line.rstrip() for line in text.splitlines()]


PYTHON: Final = {block.text: block for block in SHOWN if block.language in ("python", "py")}
"""Each text once, wherever it is shown again."""


@pytest.mark.parametrize("block", PYTHON.values(), ids=lambda block: block.name)
def test_python_blocks_run(block: Block) -> None:
    if block.reason is not None:
        pytest.skip(block.reason)
    done = run(shlex.join([sys.executable, "-W", "error", "-c", block.text]))
    assert done.returncode == 0, done.stderr


COMMANDS: Final = {
    line: block
    for block in SHOWN
    if block.language in ("sh", "bash", "console", "shell")
    for line in block.text.splitlines()
    if line.strip()
}


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_commands_run(command: str) -> None:
    tool, *rest = shlex.split(command)
    if tool == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert set(rest) <= set(targets)
    elif tool not in NOT_RUN and COMMANDS[command].reason is None:
        done = run(command)
        assert done.returncode == 0, done.stderr


def test_commands_of_the_guide_name_what_exists() -> None:
    """The tables of CONTRIBUTING.md: tests, tools and make targets."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    commands = re.findall(r"`((?:\w+=\w+ )*(?:\.venv/bin/|node_modules/\.bin/|make )[^`]+)`", text)
    assert len(commands) > 15
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    for command in commands:
        words = [word for word in shlex.split(command) if not re.match(r"\w+=", word)]
        if words[0] == "make":
            assert words[1] in targets
        for word in words[1:]:
            if re.match(r"(tests|tools|docs|examples)/", word):
                assert (ROOT / word).exists(), command


def test_every_language_is_known() -> None:
    """A block that nothing checks is text, or a diagram, or a listing that is generated."""
    known = {"python", "sh", "text", "mermaid", "solidity"}
    assert {block.language for block in SHOWN} <= known, [
        block.name for block in SHOWN if block.language not in known
    ]


def test_the_demo_prints_what_the_readme_shows() -> None:
    done = run(shlex.join([str(BIN / "option-channels"), "demo"]))
    assert done.returncode == 0, done.stderr
    (excerpt,) = [b.text for b in blocks(README) if "option-channels demo" in b.text]
    printed = iter(masked(done.stdout))
    elided = False
    for line in masked(excerpt):
        if line == "…":
            elided = True
            continue
        following = next((each for each in printed if each == line), None)
        assert following is not None, f"not printed, or not there: {line}"
    assert elided


def test_the_example_prints_its_transcript() -> None:
    done = run(shlex.join([sys.executable, "-m", "examples.first_trade"]))
    assert done.returncode == 0, done.stderr
    assert masked(done.stdout) == masked(TRANSCRIPT.read_text())


def test_what_is_generated_is_up_to_date() -> None:
    done = run(shlex.join([sys.executable, "docs/generate_tables.py", "--check"]))
    assert done.returncode == 0, f"{done.stdout}run: python docs/generate_tables.py"


TRY: Final = """
import trio
from channels import Call, Leg, Put
from channels.errors import RejectedError
from examples.local import FEED, USD, open_local

async def main() -> None:
    async with open_local() as local:
        stake = 10_000 * USD
        channel = await local.alice.open(
            peer=local.bob_address, terms=local.terms, risk=local.risk,
            deposit=stake,
        )
        expiry = local.next_expiry
        call = Call(FEED, strike=3_000, expiry=expiry)
        try:
            await channel.request_quote([Leg(call, quantity=20)])
        except RejectedError:
            pass
        else:
            raise AssertionError("more was quoted than the deposit covers")
        quotes = await channel.request_quote([Leg(call, quantity=1)])
        await quotes.best().accept()
        assert 0 < channel.portfolio.margin_b < stake
        put = Put(FEED, strike=3_000, expiry=expiry)
        quotes = await channel.request_quote([Leg(put, quantity=-2)])
        assert quotes.best().premium < 0, "the seller is paid"
        await quotes.best().accept()
        assert len(channel.portfolio.positions) == 2

trio.run(main)
"""


def test_what_the_tutorial_suggests_to_try() -> None:
    done = run(shlex.join([sys.executable, "-c", TRY]))
    assert done.returncode == 0, done.stderr
