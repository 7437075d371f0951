"""What ``setup.cfg`` requires: complete, bounded below, and its oldest versions as printed."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tools.oldest import SETUP, BoundError, constraints, requirements

BROUGHT_BY_WEB3_TESTER = {"eth-tester", "py-evm"}
"""An extra of a requirement, named there: web3 says which versions go with it."""


def _extras() -> list[str]:
    settings = configparser.ConfigParser()
    settings.read(SETUP)
    return list(settings["options.extras_require"])


def _names(*extras: str) -> set[str]:
    return {canonicalize_name(each.name) for each in requirements(SETUP, extras)}


def _imported() -> set[str]:
    """First parts of what the library imports from outside, wherever in a module it does so."""
    found = set()
    for path in (ROOT / "channels").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - {"channels"} - set(sys.stdlib_module_names)


def test_every_import_is_required() -> None:
    """By itself, not because something else happens to bring it."""
    known = packages_distributions()
    wanted = {name: {canonicalize_name(each) for each in known[name]} for name in _imported()}
    assert len(wanted) > 10
    required = _names("hsm", "plot", "postgres", "tower") | BROUGHT_BY_WEB3_TESTER
    assert not {name: each for name, each in wanted.items() if not each & required}


def test_everything_required_is_imported() -> None:
    known = packages_distributions()
    used = {canonicalize_name(each) for name in _imported() for each in known[name]}
    indirect = {"safe-pysha3"}  # through eth-hash, which is told to use it
    assert _names() - indirect <= used


@pytest.mark.parametrize("extra", _extras())
def test_every_requirement_has_a_lower_bound(extra: str) -> None:
    pinned = constraints(requirements(SETUP, [extra]))
    assert [each.partition("==")[0] for each in pinned] == sorted(_names(extra))


def test_the_oldest_of_a_small_file(tmp_path: Path) -> None:
    setup = tmp_path / "setup.cfg"
    setup.write_text(
        "[metadata]\nname = Some_Thing\n"
        "[options]\ninstall_requires =\n    alpha[x] ~= 2.1\n    Beta.Gamma >= 1.0, < 3\n"
        "[options.extras_require]\n"
        "all =\n    some-thing[more]\n    alpha >= 2.4\nmore =\n    delta == 1.2.3\n"
    )
    assert constraints(requirements(setup)) == ["alpha==2.1", "beta-gamma==1.0"]
    assert constraints(requirements(setup, ["all"])) == [
        "alpha==2.4",
        "beta-gamma==1.0",
        "delta==1.2.3",
    ]


def test_a_requirement_without_a_lower_bound_is_refused() -> None:
    with pytest.raises(BoundError, match="epsilon"):
        constraints([Requirement("epsilon < 3")])


def test_the_command_prints_one_a_line() -> None:
    command = [sys.executable, str(ROOT / "tools" / "oldest.py"), "--extra", "plot"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert {"numpy", "matplotlib", "trio"} <= {
        line.partition("==")[0] for line in printed.splitlines()
    }
