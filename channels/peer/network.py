"""How a peer reaches others: over sockets, or over whatever else links two `Link`s.

Tests bring `channels.transport.memory.MemoryNetwork`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import attrs

from channels.errors import PeerError
from channels.transport.addresses import TcpAddress, parse_address
from channels.transport.endpoints import connect, serve
from channels.transport.limits import LinkLimits
from channels.transport.link import Link
from channels.transport.tls import ServerTls, dial_tls

__all__ = ["Listening", "Network", "SocketNetwork"]


class Listening(Protocol):
    """A place where others can connect."""

    @property
    def address(self) -> str:
        """The place, as others are to name it."""


class Network(Protocol):
    """Connections to others and from them."""

    def check(self, address: str) -> None:
        """Check that an address is one of this network.

        Raises:
            InvalidValueError: it is none.
        """

    def connect(self, address: str, *, limits: LinkLimits) -> AbstractAsyncContextManager[Link]:
        """Connect to whoever listens at ``address``; the link is closed at the end.

        Raises:
            PeerError: nobody is there, or there is no way.
        """

    def serve(
        self,
        address: str,
        handler: Callable[[Link], Awaitable[None]],
        *,
        limits: LinkLimits,
        on_error: Callable[[str, PeerError], None],
    ) -> AbstractAsyncContextManager[Listening]:
        """Listen at ``address`` and run ``handler`` with each link that comes in.

        A handler that ends in a `PeerError` ends its link and no other, and ``on_error`` is told.
        """


@attrs.frozen(kw_only=True)
class SocketNetwork:
    """TCP and Unix sockets. ``tls``: whether TCP goes over TLS 1.3."""

    tls: bool = True

    def check(self, address: str) -> None:
        """Check that this is ``host:port``, ``[::1]:port`` or ``unix:/path``.

        Raises:
            InvalidValueError: it is none.
        """
        parse_address(address)

    def connect(self, address: str, *, limits: LinkLimits) -> AbstractAsyncContextManager[Link]:
        """Connect; see `channels.transport.connect`."""
        wrap = dial_tls if self._secured(address) else None
        return connect(address, limits=limits, wrap=wrap)

    def serve(
        self,
        address: str,
        handler: Callable[[Link], Awaitable[None]],
        *,
        limits: LinkLimits,
        on_error: Callable[[str, PeerError], None],
    ) -> AbstractAsyncContextManager[Listening]:
        """Listen; see `channels.transport.serve`."""
        wrap = ServerTls().wrap if self._secured(address) else None
        return serve(address, handler, limits=limits, wrap=wrap, on_error=on_error)

    def _secured(self, address: str) -> bool:
        """Whether TLS is spoken there: a Unix socket is private to its owner without it."""
        return self.tls and isinstance(parse_address(address), TcpAddress)
