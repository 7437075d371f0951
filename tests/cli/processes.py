"""Commands that run until they are interrupted, each in a process of its own."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import PATIENCE, ROOT

__all__ = ["running"]

INTERRUPTED = 130
"""What a shell says of a command that Ctrl-C ended."""


@contextmanager
def running(
    *words: str, folder: Path | None = None, environment: Mapping[str, str] = os.environ
) -> Iterator[str]:
    """A command of ours at work; the first line it prints. Ctrl-C has to end it with the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "channels.cli", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        try:
            ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
            line = process.stdout.readline() if ready else ""
            assert line, f"{words[0]} says nothing"
            yield line
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE)
        finally:
            process.kill()  # where it has not ended: it must not outlive its test
    assert process.returncode == INTERRUPTED
