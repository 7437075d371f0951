"""Fixtures of all tests: Ethereum nodes where there are any; and ``tests`` made importable."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a shell: what tests start must hear an interrupt all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)

FUZZ = os.environ.get("OPTION_CHANNELS_FUZZ") == "1"

# What is generated is the same each time, but for `make fuzz`, and may take as long as it takes.
settings.register_profile(
    "tests",
    deadline=None,
    derandomize=not FUZZ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")

ANVIL = ROOT / "node_modules" / ".bin" / "anvil"
NO_ANVIL = "no node_modules/.bin/anvil: `npm ci` brings it"

HARDHAT = ROOT / "tools" / "hardhat" / "node_modules" / ".bin" / "hardhat"
NO_HARDHAT = "no tools/hardhat/node_modules: `npm ci --prefix tools/hardhat` brings it"

PATIENCE = 300
"""Seconds after which a process that does not start, or end, is taken to hang."""

FIRST = (
    "tests/soak/test_soak.py",
    "tests/chain/test_artifacts.py",
    "tests/cli/test_transcript.py",
)
"""Files of one long test each: begun last, one process of `make test` would wait for the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))


def start_anvil(*options: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start an Anvil node on a free port; return it and its URL once it listens."""
    return _start([str(ANVIL), "--hardfork", "prague", "--silent", *options], ROOT)


def start_hardhat() -> tuple[subprocess.Popen[bytes], str]:
    """Start Hardhat's node on a free port; return it and its URL once it listens."""
    return _start([str(HARDHAT), "node", "--hostname", "127.0.0.1"], HARDHAT.parents[2])


def stop(process: subprocess.Popen[bytes]) -> None:
    """Have a process end, and wait until it has."""
    process.terminate()
    process.wait(PATIENCE)


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port on which whoever names it may listen, and that nobody is given by chance meanwhile."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def _start(command: list[str], where: Path) -> tuple[subprocess.Popen[bytes], str]:
    with reserved_port() as port:
        return _start_at(port, command, where)


def _start_at(port: int, command: list[str], where: Path) -> tuple[subprocess.Popen[bytes], str]:
    node = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=where,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HARDHAT_DISABLE_TELEMETRY_PROMPT": "true"},
    )
    patience = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if node.poll() is not None or time.monotonic() > patience:
                node.kill()
                pytest.fail(f"{command[0]} did not start")
            time.sleep(0.02)  # no event tells that another process listens
        else:
            return node, f"http://127.0.0.1:{port}"


def _anvil(*options: str) -> Iterator[str]:
    if not ANVIL.exists():
        pytest.skip(NO_ANVIL)
    node, url = start_anvil(*options)
    try:
        yield url
    finally:
        stop(node)


@pytest.fixture(scope="session")
def anvil_url() -> Iterator[str]:
    """URL of an Anvil node that all tests share: use accounts and contracts of your own."""
    yield from _anvil("--chain-id", "31337")


@pytest.fixture
def fresh_anvil_url() -> Iterator[str]:
    """URL of an Anvil node of the test's own: it forgets old states, which deep reorgs need."""
    yield from _anvil("--chain-id", "31337")


@pytest.fixture(scope="session")
def other_anvil_url() -> Iterator[str]:
    """URL of a second node, of another chain id, whose blocks are final two slots later."""
    yield from _anvil("--chain-id", "31338", "--slots-in-an-epoch", "1")
