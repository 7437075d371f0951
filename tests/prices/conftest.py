"""One embedded chain with attesters for every test."""

from __future__ import annotations

import pytest

from tests.prices.stage import Stage, open_stage


@pytest.fixture
async def stage() -> Stage:
    return await open_stage()
