"""What ``import channels.pricing`` offers, and what it must not drag in."""

from __future__ import annotations

import subprocess
import sys

import pytest

import channels.pricing as pricing


def test_public_names_are_complete_sorted_and_there() -> None:
    assert pricing.__all__ == sorted(pricing.__all__, key=_constants_then_classes_then_functions)
    for name in pricing.__all__:
        assert getattr(pricing, name) is not None
    assert set(pricing.__all__) <= set(dir(pricing))


def _constants_then_classes_then_functions(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="'volume'"):
        pricing.volume  # noqa: B018


def test_importing_it_stays_light() -> None:
    heavy = ["numpy", "web3", "trio", "mpmath", "attr", "sqlite3", "socket", "asyncio"]
    script = f"import sys, channels.pricing; print(*(set({heavy}) & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == []
