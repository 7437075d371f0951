"""The fakes of the contracts' own tests, compiled once for all tests here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tools import build_artifacts

from .evm import FAKES


@pytest.fixture(scope="session")
def fakes() -> Mapping[str, Mapping[str, Any]]:
    if not build_artifacts.FORGE.exists() or not build_artifacts.NODE_MODULES.exists():
        pytest.skip("no forge: `npm ci` brings it")
    return build_artifacts.compile_contracts(FAKES)
