"""The wheel, built once: from the sdist, as `python -m build` does, or the one that is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from tests.conftest import ROOT

DISTRIBUTIONS = "OPTION_CHANNELS_DIST"
"""Environment variable: folder with a wheel and an sdist to test in place of fresh ones."""


@attrs.frozen(kw_only=True)
class Distributions:
    """What is published."""

    wheel: Path
    sdist: Path


def clean_environment() -> dict[str, str]:
    """Environment in which nothing points to the checkout."""
    dropped = ("PYTHON", "OPTION_CHANNELS_", "VIRTUAL_ENV", "COV_")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def succeed(
    *command: str | Path, cwd: Path, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a command away from the checkout; its standard error is shown if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Wheel and sdist of this checkout."""
    named = os.environ.get(DISTRIBUTIONS)
    folder = tmp_path_factory.mktemp("dist") if named is None else Path(named).resolve()
    if named is None:
        succeed(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return Distributions(wheel=wheel, sdist=sdist)


@pytest.fixture(scope="session")
def installed(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bin`` of a new environment that has the wheel and what it requires, and no extra."""
    folder = tmp_path_factory.mktemp("environment")
    succeed(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    interpreter = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", interpreter, "install", "--quiet")
    succeed(*pip, distributions.wheel, cwd=folder)
    return folder / "bin"
