"""Fixtures of the tower's tests: a chain, a PostgreSQL server, a database of its own for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chain.world import World, embedded_world
from tests.tower.postgres_server import fresh_database, running_postgres


@pytest.fixture
async def world() -> World:
    """A chain inside the process, final two blocks down."""
    return await embedded_world(finality_depth=2)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Address of a PostgreSQL server's first database."""
    with running_postgres() as address:
        yield address


@pytest.fixture
def postgres(postgres_server: str) -> str:
    """Address of an empty PostgreSQL database."""
    return fresh_database(postgres_server)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """Where a book may be: each test that takes this runs on both databases."""
    if request.param == "sqlite":
        return tmp_path / "book.db"
    server: str = request.getfixturevalue("postgres_server")
    return fresh_database(server)
