"""The examples in the docstrings of the protocol run and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import channels.protocol
import channels.units

MODULES = ["channels.units"] + [
    f"channels.protocol.{each.name}" for each in pkgutil.iter_modules(channels.protocol.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_units_have_examples() -> None:
    assert doctest.testmod(channels.units).attempted >= 2
