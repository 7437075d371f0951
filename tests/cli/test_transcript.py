"""The tutorial's transcript, replayed: every command a reader types, and what it prints."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.cli.processes import running
from tests.conftest import ANVIL, NO_ANVIL, PATIENCE, ROOT, reserved_port, start_anvil, stop

PAGE: Final = ROOT / "docs" / "tutorial" / "two-traders.md"
LISTEN: Final = "127.0.0.1:7001"


def steps() -> list[tuple[str, str]]:
    """Commands of the page in order, each with what is shown below it."""
    shown = "\n".join(re.findall(r"^```text\n(.*?)^```", PAGE.read_text(), re.M | re.S))
    parts = re.split(r"^\$ ", shown, flags=re.M)[1:]
    return [(part.split("\n", 1)[0], part.split("\n", 1)[1].strip("\n")) for part in parts]


def masked(text: str) -> list[str]:
    """Lines without what differs from run to run: ids, gas, amounts, ports."""
    text = re.sub(r"0x[0-9a-fA-F]{8,}", "0x…", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:…", text)
    text = re.sub(r"-?[\d,]*\.?\d+ (gas|gwei|ETH)", r"… \1", text)
    text = re.sub(r"-?[\d,]+\.\d{2,}", "…", text)
    text = re.sub(r"(block|nonce) \d+", r"\1 …", text)
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if line.strip()]


def compare(printed: list[str], shown: list[str], command: str) -> None:
    """Line by line; an ellipsis stands for any number of lines."""
    left = list(printed)
    for number, line in enumerate(shown):
        if line == "…":
            following = shown[number + 1]
            assert following in left, command
            del left[: left.index(following)]
        else:
            assert left[:1] == [line], command
            del left[0]
    assert left == [], command


class Terminal:
    """One folder, and the processes that were left running in it."""

    def __init__(self, folder: Path, url: str, listen: str) -> None:
        self.folder = folder
        self.listen = listen
        self.running = ExitStack()
        self.environment = {
            **os.environ,
            "COLUMNS": "140",
            "PYTHONPATH": str(ROOT),
            "OPTION_CHANNELS_RPC": url,
        }

    def type(self, line: str) -> str:
        """Run a line as it stands in the transcript; what it prints."""
        line = line.replace(LISTEN, self.listen)
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            self.environment[name] = value
            return ""
        background = line.endswith(" &")
        words = shlex.split(line.removesuffix(" &"))
        if words[0] == "anvil":
            return ""
        assert words[0] == "option-channels"
        if background:
            left = running(*words[1:], folder=self.folder, environment=self.environment)
            return self.running.enter_context(left)
        done = subprocess.run(
            [sys.executable, "-m", "channels.cli", *words[1:]],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout


@contextmanager
def anvil() -> Iterator[str]:
    if not ANVIL.exists():
        pytest.skip(NO_ANVIL)
    node, url = start_anvil("--chain-id", "31337", "--block-time", "1")
    try:
        yield url
    finally:
        stop(node)


@pytest.mark.anvil
def test_the_transcript_is_what_a_reader_sees(tmp_path: Path) -> None:
    told = steps()
    commands = [command for command, _ in told if not command.startswith("export ")]
    assert len(commands) <= 12, "from nothing to a trade in ten commands, and two to look at it"
    with anvil() as url, reserved_port() as port:
        terminal = Terminal(tmp_path, url, f"127.0.0.1:{port}")
        card = ""
        with terminal.running:
            for command, shown in told:
                if command.startswith("option-channels open"):
                    words = shlex.split(command)
                    command = command.replace(words[2], card)
                printed = terminal.type(command)
                if found := re.search(r"0x\w{40}:0x\w{40}@\S+", printed):
                    card = found[0]
                compare(masked(printed), masked(shown), command)
