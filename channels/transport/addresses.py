"""Where a peer is: ``host:port``, ``[::1]:port``, or ``unix:/path``."""

from __future__ import annotations

import ipaddress
import os
from typing import Final

import attrs

from channels.errors import InvalidValueError

__all__ = ["TcpAddress", "UnixAddress", "parse_address", "source_of"]

LONGEST_PATH: Final = 103
"""Bytes in the longest socket path that every system takes (BSD's 104 with its final zero)."""


@attrs.frozen(kw_only=True)
class TcpAddress:
    """A host, by name or number, and a TCP port; prints as it is written."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen(kw_only=True)
class UnixAddress:
    """An absolute path of a Unix socket; prints as it is written."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


def parse_address(text: str) -> TcpAddress | UnixAddress:
    """Read an address.

    Raises:
        InvalidValueError: it is none.

    >>> parse_address("[::1]:7001")
    TcpAddress(host='::1', port=7001)
    """
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    if not colon or not host or not (port.isascii() and port.isdecimal()) or int(port) > 65_535:
        raise InvalidValueError(f"{text!r} is no address; write host:port or unix:/path")
    if bracketed != (":" in host) or any(c in "[]/@ " or not c.isprintable() for c in host):
        raise InvalidValueError(f"{text!r} names no host; an IPv6 address goes into brackets")
    return TcpAddress(host=host, port=int(port))


def _unix(path: str) -> UnixAddress:
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise InvalidValueError(f"{path!r} is no absolute path of a socket")
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise InvalidValueError(f"{path!r} is longer than the {LONGEST_PATH} bytes a socket allows")
    return UnixAddress(path=path)


def source_of(host: str) -> str:
    """Name whoever is behind a remote address, for counting: one IPv4 address, or one IPv6 /64.

    A whole /64 is what one customer is given; counting its addresses apart would count nothing.

    >>> source_of("2001:db8:0:1:abcd::7")
    '2001:db8:0:1::/64'
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
