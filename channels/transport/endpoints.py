"""Connecting and serving: links to and from other processes, for the time of an ``async with``.

TLS goes in as ``wrap``: it is given the connected stream, and the link owns what it returns.
"""

from __future__ import annotations

import errno
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from channels.errors import LinkClosedError, PeerError, PeerTimeoutError
from channels.transport.addresses import UnixAddress, parse_address, source_of
from channels.transport.limits import LinkLimits
from channels.transport.link import NO_BINDING, Link
from channels.transport.sockets import listen
from channels.transport.streams import EagerStream

__all__ = ["Secured", "Server", "StreamWrapper", "connect", "serve"]


@attrs.frozen(kw_only=True)
class Secured:
    """A stream after its handshake. ``binding`` is what only its two true ends have in common.

    Under TLS that is the hash of the server's certificate; 32 zero bytes where there is none.
    """

    stream: trio.abc.Stream
    binding: bytes = NO_BINDING


StreamWrapper = Callable[[trio.SocketStream], Awaitable[Secured]]
"""Turns a connected stream into the one to use, having done its handshake."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_EXHAUSTED_PAUSE: Final = 0.1
NEWCOMER_WINDOW: Final = 10.0
"""Seconds over which the new connections of one source are counted."""


@asynccontextmanager
async def connect(
    address: str, *, limits: LinkLimits | None = None, wrap: StreamWrapper | None = None
) -> AsyncIterator[Link]:
    """Connect to ``address`` and give the link, which is closed at the end.

    Raises:
        InvalidValueError: the address is none.
        PeerTimeoutError: no connection within ``limits.handshake``.
        LinkClosedError: nobody listens there, or it cannot be reached.
    """
    place = parse_address(address)
    limits = limits if limits is not None else LinkLimits()
    try:
        with trio.fail_after(limits.handshake):
            if isinstance(place, UnixAddress):
                stream = await trio.open_unix_socket(place.path)
            else:
                stream = await trio.open_tcp_stream(place.host, place.port)
            secured = await _secured(stream, wrap)
    except trio.TooSlowError as error:
        raise PeerTimeoutError(f"{address} did not answer in {limits.handshake:g} s") from error
    except (OSError, trio.BrokenResourceError) as error:
        raise LinkClosedError(f"cannot connect to {address}: {error}") from error
    async with _link(secured, limits, address) as link:
        yield link


def _link(secured: Secured, limits: LinkLimits, remote: str) -> Link:
    return Link(secured.stream, limits=limits, remote=remote, binding=secured.binding)


async def _secured(stream: trio.SocketStream, wrap: StreamWrapper | None) -> Secured:
    if wrap is None:
        return Secured(stream=EagerStream(stream))
    try:
        return await wrap(stream)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


class Server:
    """What ``serve`` gives: where it listens, and how many are connected.

    Attributes:
        addresses: where it listens, with the real port where 0 was asked for.
        connections: links that are open now.
        refused: connections closed at once, for being too many: in all, or from one source.
    """

    def __init__(
        self,
        handler: Callable[[Link], Awaitable[None]],
        *,
        max_connections: int,
        max_per_source: int,
        max_new_per_source: int,
        limits: LinkLimits,
        wrap: StreamWrapper | None,
        on_error: Callable[[str, PeerError], None] | None,
    ) -> None:
        self.addresses: tuple[str, ...] = ()
        self.connections = 0
        self.refused = 0
        self._handler = handler
        self._max_connections = max_connections
        self._max_per_source = max_per_source
        self._max_new_per_source = max_new_per_source
        self._limits = limits
        self._wrap = wrap
        self._on_error = on_error
        self._sources: Counter[str] = Counter()
        self._newcomers: Counter[str] = Counter()
        self._newcomers_since = -math.inf

    @property
    def address(self) -> str:
        """The first of ``addresses``."""
        return self.addresses[0]

    async def _run(
        self,
        listeners: list[tuple[trio.SocketListener, str]],
        ended: trio.Event,
        task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        try:
            async with trio.open_nursery() as nursery:
                for listener, address in listeners:
                    nursery.start_soon(self._accept, listener, address, nursery)
                task_status.started(nursery.cancel_scope)
        finally:
            ended.set()

    async def _accept(
        self, listener: trio.SocketListener, address: str, nursery: trio.Nursery
    ) -> None:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                await trio.sleep(_EXHAUSTED_PAUSE)  # until somebody leaves
                continue
            try:
                peer = stream.socket.getpeername()
            except OSError:  # gone again
                await trio.aclose_forcefully(stream)
                continue
            local = address.startswith("unix:")
            source = "" if local else source_of(peer[0])
            if self._is_one_too_many(source):
                self.refused += 1
                await trio.aclose_forcefully(stream)
                continue
            self.connections += 1
            self._sources[source] += 1
            remote = address if local else f"{peer[0]} port {peer[1]}"
            nursery.start_soon(self._serve, stream, source, remote)

    def _is_one_too_many(self, source: str) -> bool:
        """Whether to turn a new connection away; counts it, for a handshake costs us the most."""
        if self.connections >= self._max_connections:
            return True
        if not source:
            return False
        now = trio.current_time()
        if now - self._newcomers_since >= NEWCOMER_WINDOW:
            self._newcomers.clear()
            self._newcomers_since = now
        self._newcomers[source] += 1
        return (
            self._sources[source] >= self._max_per_source
            or self._newcomers[source] > self._max_new_per_source
        )

    async def _serve(self, stream: trio.SocketStream, source: str, remote: str) -> None:
        try:
            await self._converse(stream, remote)
        except* PeerError as group:
            if self._on_error is not None:
                for error in _leaves(group):
                    self._on_error(remote, error)
        finally:
            self.connections -= 1
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]
            await trio.aclose_forcefully(stream)

    async def _converse(self, stream: trio.SocketStream, remote: str) -> None:
        try:
            with trio.fail_after(self._limits.handshake):
                secured = await _secured(stream, self._wrap)
        except trio.TooSlowError as error:
            raise PeerTimeoutError(f"{remote} did not finish its handshake") from error
        except (OSError, trio.BrokenResourceError) as error:
            raise LinkClosedError(f"handshake with {remote} failed: {error}") from error
        async with _link(secured, self._limits, remote) as link:
            await self._handler(link)


def _leaves(group: BaseExceptionGroup[PeerError]) -> list[PeerError]:
    leaves: list[PeerError] = []
    for error in group.exceptions:
        leaves.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return leaves


@asynccontextmanager
async def serve(
    address: str,
    handler: Callable[[Link], Awaitable[None]],
    *,
    max_connections: int = 1_024,
    max_per_source: int = 64,
    max_new_per_source: int = 128,
    limits: LinkLimits | None = None,
    wrap: StreamWrapper | None = None,
    on_error: Callable[[str, PeerError], None] | None = None,
    nursery: trio.Nursery | None = None,
) -> AsyncIterator[Server]:
    """Listen at ``address`` and run ``handler`` with each link that comes in.

    Every link has a task of its own and is closed when its handler returns. A handler that ends in
    a ``PeerError`` ends that link and no other; any other error is ours and ends the server. When
    the ``async with`` ends, so do all links.

    Args:
        address: as for ``connect``; port 0 takes a free one. A Unix socket gets mode 0600; a stale
            one is replaced, one that somebody listens on is not.
        handler: called with the link.
        max_connections: open at once; those above are closed at once.
        max_per_source: the same from one IPv4 address or one IPv6 /64; Unix sockets have none.
        max_new_per_source: begun in ten seconds from one such source; those above are closed at
            once, before they cost a handshake.
        limits: of every link.
        wrap: of every stream, for TLS.
        on_error: told the remote address and the error of each link that ended in one.
        nursery: where everything runs, and where errors of ours come out; without it one around
            the body.

    Raises:
        InvalidValueError: the address is none.
        OurError: nobody can listen there.
    """
    server = Server(
        handler,
        max_connections=max_connections,
        max_per_source=max_per_source,
        max_new_per_source=max_new_per_source,
        limits=limits if limits is not None else LinkLimits(),
        wrap=wrap,
        on_error=on_error,
    )
    async with listen(parse_address(address)) as listeners:
        server.addresses = tuple(where for _, where in listeners)
        if nursery is not None:
            async with _running(server, listeners, nursery):
                yield server
            return
        failure: BaseExceptionGroup[BaseException] | None = None
        body: Exception | None = None
        try:
            async with trio.open_nursery() as own, _running(server, listeners, own):
                try:
                    yield server
                except Exception as error:
                    body = error
                    raise
        except BaseExceptionGroup as group:
            failure = group
        if failure is not None:
            # The caller sees no nursery, and so the body's own error comes out as it was.
            raise body if body is not None and failure.exceptions == (body,) else failure


@asynccontextmanager
async def _running(
    server: Server, listeners: list[tuple[trio.SocketListener, str]], nursery: trio.Nursery
) -> AsyncIterator[None]:
    ended = trio.Event()
    scope: trio.CancelScope = await nursery.start(server._run, listeners, ended)
    try:
        yield
    finally:
        scope.cancel()
        with trio.CancelScope(shield=True):
            await ended.wait()
