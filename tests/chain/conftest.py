"""Worlds: the same contracts and parties on the embedded chain and on Anvil."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.chain.world import World, anvil_world, embedded_world


@pytest.fixture
async def embedded() -> World:
    return await embedded_world()


@pytest.fixture
async def anvil(anvil_url: str) -> AsyncIterator[World]:
    async with anvil_world(anvil_url) as world:
        yield world


@pytest.fixture
async def fresh_anvil(fresh_anvil_url: str) -> AsyncIterator[World]:
    async with anvil_world(fresh_anvil_url) as world:
        yield world


@pytest.fixture(params=["embedded", pytest.param("anvil", marks=pytest.mark.anvil)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "embedded":
        yield await embedded_world()
    else:
        url: str = request.getfixturevalue("fresh_anvil_url")
        async with anvil_world(url) as built:
            yield built
