"""Running what is in memory on a clock that jumps, and waiting until all of it is quiet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
import trio.testing

__all__ = ["quiet", "run"]

T = TypeVar("T")


def run(test: Callable[..., Awaitable[T]], *args: object) -> T:
    """Run an async function to its end under a clock that jumps over every wait.

    What `trio.run` is for programs; a test under pytest-trio takes the fixture ``autojump_clock``
    instead. **Never with sockets or threads**, which such a clock does not wait for.

    >>> async def wait_a_day():
    ...     await trio.sleep(86_400)
    ...     return trio.current_time()
    >>> run(wait_a_day)
    86400.0
    """
    return trio.run(test, *args, clock=trio.testing.MockClock(autojump_threshold=0))


async def quiet() -> None:
    """Wait until everybody in this Trio run has nothing left to do but wait.

    Only for what is in memory: whoever waits for a socket or a thread counts as quiet.
    """
    await trio.testing.wait_all_tasks_blocked()
