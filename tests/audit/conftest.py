"""One embedded chain with contracts and two funded parties for every test."""

from __future__ import annotations

import pytest

from tests.chain.world import World, embedded_world


@pytest.fixture
async def world() -> World:
    return await embedded_world()
