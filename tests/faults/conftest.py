"""One node for all tests of a module, with the contracts on it; each finds it as it was.

Not for more of them: a node keeps only so many states, which deep reorganisations need.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest

from tests.conftest import ANVIL, NO_ANVIL, start_anvil, stop
from tests.faults.world import Ground, Node, deploy_on, open_ground

STATES: Final = "5000"
"""Kept by the node, more than the tests of a module make blocks, of which slow ones make more."""


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    if not ANVIL.exists():
        pytest.skip(NO_ANVIL)
    process, url = start_anvil("--chain-id", "31340", "--prune-history", STATES)
    try:
        yield deploy_on(url)
    finally:
        stop(process)


@pytest.fixture
async def ground(node: Node) -> AsyncIterator[Ground]:
    async with open_ground(node) as ground:
        yield ground
