"""The wheel as a user has it: in an environment of its own, with no checkout near."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest

import channels
from tests.conftest import ROOT
from tests.distribution.conftest import Distributions, succeed
from tests.distribution.public import MODULES, PACKAGES

pytestmark = pytest.mark.slow

EXTRAS: Final = [
    "bench",
    "cli",
    "dev",
    "docs",
    "hsm",
    "numpy",
    "plot",
    "postgres",
    "prove",
    "tower",
]
BROUGHT_BY_EXTRAS: Final = {
    "hypercorn",
    "matplotlib",
    "numpy",
    "pkcs11",
    "prometheus_client",
    "psycopg",
    "starlette",
}
EXAMPLE: Final = ROOT / "examples"


def _shipped_files() -> set[str]:
    """Whatever lies in the package's folder, but for what Python makes there."""
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / "channels").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_package_and_nothing_else(distributions: Distributions) -> None:
    with zipfile.ZipFile(distributions.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        licences = [name for name in wheel.namelist() if name.endswith("licenses/LICENSE")]
    assert names == _shipped_files()
    assert licences
    assert {
        "channels/py.typed",
        "channels/chain/artifacts/Adjudicator.json",
        "channels/pricing/coefficients.json",
        "channels/storage/schema.sql",
    } <= names


def test_the_sdist_builds_that_wheel(distributions: Distributions) -> None:
    """`python -m build` made the wheel from it, so only what else it should tell is checked."""
    with tarfile.open(distributions.sdist) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert names >= _shipped_files()
    assert names >= {"CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md", "pyproject.toml"}
    assert not [name for name in names if name.startswith(("node_modules", "build", ".venv"))]


@pytest.fixture(scope="session")
def told(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the installed library says of itself."""
    folder = tmp_path_factory.mktemp("elsewhere")
    script = shutil.copy(Path(__file__).with_name("everything.py"), folder)
    done = succeed(installed / "python", "-I", script, cwd=folder)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_is_the_installed_one(told: dict[str, Any], installed: Path) -> None:
    assert Path(told["where"]).is_relative_to(installed.parent)
    assert told["version"] == told["metadata"] == channels.__version__
    assert sorted(told["extras"]) == EXTRAS
    assert told["exported"] == channels.__all__


def test_every_public_module_is_there(told: dict[str, Any]) -> None:
    """And needs nothing that pip did not bring, unless an extra brings it."""
    assert set(told["lacking"]) == set(MODULES) - {"channels"}
    lacking = {name: what for name, what in told["lacking"].items() if what is not None}
    assert set(lacking.values()) <= BROUGHT_BY_EXTRAS
    assert not set(lacking) & set(PACKAGES), "no package as a whole needs an extra"


def test_the_command_is_there(installed: Path, tmp_path: Path) -> None:
    shown = succeed(installed / "option-channels", "--help", cwd=tmp_path).stdout
    assert "demo" in shown
    version = succeed(installed / "option-channels", "--version", cwd=tmp_path).stdout
    assert channels.__version__ in version


def test_the_demo_reconciles(installed: Path, tmp_path: Path) -> None:
    shown = succeed(installed / "option-channels", "demo", cwd=tmp_path).stdout
    assert "Every unit of collateral is accounted for" in shown


def test_the_readme_s_example_runs(installed: Path, tmp_path: Path) -> None:
    """The library is the wheel's; only the example itself comes from the repository."""
    shutil.copytree(EXAMPLE, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    shown = succeed(installed / "python", "-m", "examples.first_trade", cwd=tmp_path).stdout
    assert shown == (EXAMPLE / "first_trade.txt").read_text()
