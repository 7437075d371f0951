"""One node for all tests of a module, with the contracts on it; each finds it as it was.

Not for more of them: a node forgets old states, which deep reorganisations need.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import ANVIL, NO_ANVIL, start_anvil, stop
from tests.faults.world import Ground, Node, deploy_on, open_ground


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    if not ANVIL.exists():
        pytest.skip(NO_ANVIL)
    process, url = start_anvil("--chain-id", "31340")
    try:
        yield deploy_on(url)
    finally:
        stop(process)


@pytest.fixture
async def ground(node: Node) -> AsyncIterator[Ground]:
    async with open_ground(node) as ground:
        yield ground
