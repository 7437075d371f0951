"""Public names: complete, sorted, there, documented; and what importing them must not drag in."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import pytest

import channels
import channels.peer
from tests.conftest import ROOT
from tests.distribution.public import MODULES, PACKAGES, in_order

HEAVY = ("eth_account", "httpx", "matplotlib", "numpy", "sqlite3", "trio", "web3")


def _public(module: ModuleType) -> list[str]:
    names: list[str] = getattr(module, "__all__", [])
    return names


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_sorted_there_and_documented(name: str) -> None:
    module = import_module(name)
    assert (module.__doc__ or "").strip(), "no docstring"
    names = _public(module)
    assert names == sorted(set(names), key=in_order)
    missing = [each for each in names if not hasattr(module, each)]
    assert not missing
    undocumented = [
        each
        for each in names
        if (inspect.isclass(found := getattr(module, each)) or inspect.isroutine(found))
        and found.__module__.startswith("channels")
        and not (found.__doc__ or "").strip()
    ]
    assert not undocumented


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_lists_what_it_imports_for_others(name: str) -> None:
    """Whatever an ``__init__`` has by a public name that is ours is in ``__all__``."""
    module = import_module(name)
    ours = {
        each
        for each, found in vars(module).items()
        if not each.startswith("_")
        and (inspect.isclass(found) or inspect.isfunction(found))
        and found.__module__.startswith("channels.")
    }
    if name.startswith("channels.cli"):
        ours = {each for each in ours if getattr(module, each).__module__ == name}
    assert ours <= set(_public(module))


def test_what_the_reference_shows_is_public() -> None:
    shown = set()
    for page in (ROOT / "docs" / "reference").glob("*.md"):
        shown |= set(re.findall(r"^::: ([\w.]+)$", page.read_text(), re.M))
    assert len(shown) > 20
    hidden = []
    for name in sorted(shown - set(MODULES)):
        home, _, last = name.rpartition(".")
        if home not in MODULES or last not in _public(import_module(home)):
            hidden.append(name)
    assert not hidden


def _imports_from_elsewhere() -> Iterator[tuple[str, str, str]]:
    """Every (importing file, module, name) that crosses from one package into another."""
    for path in sorted((ROOT / "channels").rglob("*.py")):
        package = path.relative_to(ROOT).parts[1]
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom):
                continue
            home = node.module or ""
            if home.startswith("channels.") and home.split(".")[1] != package:
                for alias in node.names:
                    yield str(path.relative_to(ROOT)), home, alias.name


def test_what_other_packages_import_is_public() -> None:
    crossing = list(_imports_from_elsewhere())
    assert len(crossing) > 100
    hidden = [
        f"{where}: {home}.{name}"
        for where, home, name in crossing
        if f"{home}.{name}" not in MODULES and name not in _public(import_module(home))
    ]
    assert not hidden


def test_the_package_exports_the_peer_and_what_it_trades() -> None:
    assert set(channels.peer.__all__) <= set(channels.__all__)
    assert set(import_module("channels.pricing.instruments").__all__) & {
        name for name in channels.__all__ if name[0].isupper()
    } >= {"Call", "DigitalCall", "DigitalPut", "Forward", "Put"}


def test_each_exported_name_is_its_home_s_own_and_known_to_type_checkers() -> None:
    """The three lists of ``channels/__init__.py`` - for types, for imports, for all - are one."""
    tree = ast.parse((ROOT / "channels" / "__init__.py").read_text())
    (typed,) = [node for node in tree.body if isinstance(node, ast.If)]
    for_types = {
        alias.asname: node.module
        for node in typed.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(for_types, key=lambda name: in_order(name or "")) == channels.__all__
    for name, home in for_types.items():
        assert home is not None
        assert name in _public(import_module(home))
        assert getattr(channels, str(name)) is getattr(import_module(home), str(name))
    assert set(channels.__all__) <= set(dir(channels))


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="'Swaption'"):
        channels.Swaption  # noqa: B018


@pytest.mark.parametrize(
    "imported",
    [
        ["channels"],
        ["channels.pricing"],
        [name for name in MODULES if re.match(r"channels\.(protocol|errors|units)\b", name)],
    ],
    ids=["channels", "channels.pricing", "channels.protocol, all of it"],
)
def test_importing_stays_light(imported: list[str]) -> None:
    script = f"import sys, {', '.join(imported)}; print(*(set({HEAVY}) & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == []
