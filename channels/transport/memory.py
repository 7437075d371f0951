"""Two linked ends in one process, for tests: no sockets, and so an autojump clock may be used."""

from __future__ import annotations

import trio.testing

from channels.transport.limits import LinkLimits
from channels.transport.link import Link

__all__ = ["memory_links"]


def memory_links(
    *, limits: LinkLimits | None = None, unbuffered: bool = False
) -> tuple[Link, Link]:
    """Make two links, each the other's remote side.

    A send returns at once; or, ``unbuffered``, when the other side has received it all.
    """
    ours: trio.abc.Stream
    theirs: trio.abc.Stream
    if unbuffered:
        ours, theirs = trio.testing.lockstep_stream_pair()
    else:
        ours, theirs = trio.testing.memory_stream_pair()
    return Link(ours, limits=limits, remote="memory:2"), Link(
        theirs, limits=limits, remote="memory:1"
    )
