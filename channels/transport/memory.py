"""Links in one process, for tests: no sockets, and so an autojump clock may be used.

`memory_links` makes two ends; a `MemoryNetwork` is where peers listen and connect by name, and can
be cut, mended and slowed down.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from operator import index

import attrs
import trio
import trio.testing

from channels.errors import InvalidValueError, LinkClosedError, OurError, PeerError
from channels.transport.limits import LinkLimits
from channels.transport.link import Link

__all__ = ["MemoryNetwork", "memory_links", "stream_pair"]


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


class MemoryNetwork:
    """A network without sockets: addresses are any names, TLS there is none.

    Bytes arrive in order, ``delay`` seconds of Trio's clock after they were sent.
    """

    def __init__(self, *, delay: float = 0.0) -> None:
        """Make a network on which nobody listens yet.

        Raises:
            InvalidValueError: a delay that is negative or has no end.
        """
        self._places: dict[str, _Place] = {}
        self._ends: set[_End] = set()
        self._cut = False
        self.delay = delay

    @property
    def delay(self) -> float:
        """Seconds from a send to its arrival; what is under way keeps the time it was sent with."""
        return self._delay

    @delay.setter
    def delay(self, seconds: float) -> None:
        if not 0 <= seconds < math.inf:
            raise InvalidValueError(f"a delay of {seconds} s")
        self._delay = seconds

    @property
    def is_cut(self) -> bool:
        """Whether nobody can reach anybody."""
        return self._cut

    def cut(self) -> None:
        """Break every connection, and let none be made until `mend`. What is under way is lost."""
        self._cut = True
        for end in tuple(self._ends):
            end.break_off()

    def mend(self) -> None:
        """Let connections be made again."""
        self._cut = False

    def check(self, address: str) -> None:
        """Check an address: every name is one.

        Raises:
            InvalidValueError: it is empty.
        """
        if not address:
            raise InvalidValueError("an empty address", next_step="give the place a name")

    @asynccontextmanager
    async def connect(
        self, address: str, *, limits: LinkLimits | None = None
    ) -> AsyncIterator[Link]:
        """Connect to whoever listens at ``address``; the link is closed at the end.

        Raises:
            LinkClosedError: the network is cut, or nobody listens there.
        """
        await trio.lowlevel.checkpoint()
        place = self._places.get(address)
        if self._cut or place is None:
            why = "the network is cut" if self._cut else "nobody listens there"
            raise LinkClosedError(f"cannot connect to {address}: {why}")
        ours, theirs = stream_pair(self)
        self._ends |= {ours, theirs}
        place.nursery.start_soon(place.converse, theirs)
        async with Link(ours, limits=limits, remote=address) as link:
            yield link

    @asynccontextmanager
    async def serve(
        self,
        address: str,
        handler: Callable[[Link], Awaitable[None]],
        *,
        limits: LinkLimits | None = None,
        on_error: Callable[[str, PeerError], None] | None = None,
    ) -> AsyncIterator[_Place]:
        """Listen at ``address`` and run ``handler`` with each link that comes in.

        As `channels.transport.serve`: a handler that ends in a `PeerError` ends its link and no
        other, and ``on_error`` is told; when the ``async with`` ends, so do all links.

        Raises:
            OurError: somebody listens there.
        """
        self.check(address)
        if address in self._places:
            raise OurError(f"cannot listen at {address}: somebody does")
        async with trio.open_nursery() as nursery:
            place = _Place(
                address=address, nursery=nursery, handler=handler, limits=limits, on_error=on_error
            )
            self._places[address] = place
            try:
                yield place
            finally:
                del self._places[address]
                nursery.cancel_scope.cancel()

    def forget(self, end: _End) -> None:
        """Take an end that is closed off the network."""
        self._ends.discard(end)


def stream_pair(network: MemoryNetwork | None = None) -> tuple[_End, _End]:
    """Make a connection on a network: two streams, each the other's other end."""
    network = MemoryNetwork() if network is None else network
    ours, theirs = _End(network), _End(network)
    ours.other, theirs.other = theirs, ours
    return ours, theirs


@attrs.frozen(kw_only=True)
class _Place:
    """Where somebody listens."""

    address: str
    nursery: trio.Nursery
    handler: Callable[[Link], Awaitable[None]]
    limits: LinkLimits | None
    on_error: Callable[[str, PeerError], None] | None

    async def converse(self, stream: _End) -> None:
        remote = f"somebody at {self.address}"
        try:
            async with Link(stream, limits=self.limits, remote=remote) as link:
                await self.handler(link)
        except PeerError as error:
            if self.on_error is not None:
                self.on_error(remote, error)


class _End(trio.abc.Stream):
    """One end of a connection: what the other has sent, and when it arrives."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.other: _End = self
        self._network = network
        self._arriving: deque[tuple[float, bytes]] = deque()
        self._news = trio.Event()
        self._latest = 0.0
        self._closed = False
        self._broken = False
        self._reading = False

    def break_off(self) -> None:
        """Lose the connection."""
        self._broken = True
        self._arriving.clear()
        self._network.forget(self)
        self._news.set()

    def arrive(self, data: bytes) -> None:
        """Be sent something; b"" is the end. Nothing overtakes what was sent before."""
        self._latest = max(self._latest, trio.current_time() + self._network.delay)
        self._arriving.append((self._latest, data))
        self._news.set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Have the bytes arrive at the other end; never waits for it to read them."""
        await self.wait_send_all_might_not_block()
        if data:
            self.other.arrive(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Check that there is a connection: a send always goes at once."""
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError
        if self._broken or self.other._closed:
            raise trio.BrokenResourceError("the connection is lost")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes that have arrived; b"" once the other end has closed."""
        if max_bytes is not None and index(max_bytes) < 1:
            raise ValueError(f"{max_bytes} bytes are none")
        if self._reading:
            raise trio.BusyResourceError("another task is receiving from this end")
        self._reading = True
        try:
            return await self._receive(max_bytes)
        finally:
            self._reading = False

    async def _receive(self, max_bytes: int | None) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._closed and not self._broken:
            if self._arriving:
                at, data = self._arriving[0]
                if at <= trio.current_time():
                    taken = data[:max_bytes]
                    left = data[len(taken) :]
                    if left:
                        self._arriving[0] = at, left
                    elif data:  # the end stays
                        self._arriving.popleft()
                    return taken
            self._news = trio.Event()
            with trio.move_on_at(self._arriving[0][0] if self._arriving else math.inf):
                await self._news.wait()
        if self._closed:
            raise trio.ClosedResourceError
        raise trio.BrokenResourceError("the connection is lost")

    async def aclose(self) -> None:
        """Close this end; what was sent before still arrives."""
        if not self._closed:
            self._closed = True
            self._arriving.clear()
            self._news.set()
            self._network.forget(self)
            self.other.arrive(b"")
        await trio.lowlevel.checkpoint()
