"""Listening sockets, Unix ones above all: private from the first moment, and replaced safely."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import trio

from channels.errors import OurError
from channels.transport.addresses import TcpAddress, UnixAddress

__all__ = ["listen"]

_BACKLOG: Final = 0xFFFF  # the kernel cuts it to its own limit


@asynccontextmanager
async def listen(
    address: TcpAddress | UnixAddress,
) -> AsyncIterator[list[tuple[trio.SocketListener, str]]]:
    """Listen at an address for the time of an ``async with``; give listeners and where they are.

    Raises:
        OurError: nobody can listen there: in use, not ours, or not a place.
    """
    listeners: list[tuple[trio.SocketListener, str]] = []
    try:
        if isinstance(address, UnixAddress):
            listener, owned = _listen_unix(Path(address.path))
            listeners.append((listener, str(address)))
        else:
            owned = None
            for opened in await trio.open_tcp_listeners(address.port, host=address.host):
                host, port = opened.socket.getsockname()[:2]
                listeners.append((opened, str(TcpAddress(host=host, port=port))))
    except OSError as error:
        raise OurError(
            f"cannot listen at {address}: {error}", next_step="choose another address"
        ) from error
    try:
        yield listeners
    finally:
        if isinstance(address, UnixAddress):
            _unlink(Path(address.path), owned)
        for listener, _ in listeners:
            listener.socket.close()


def _listen_unix(path: Path) -> tuple[trio.SocketListener, tuple[int, int]]:
    """Put a listening socket at ``path``; return it and the file it is.

    It is bound under another name, made private, and listens, before it is moved to ``path``: at no
    moment can anybody else connect, and at no moment is there half a socket.
    """
    bound = path.with_name(f".{os.getpid()}.socket")
    with _only_us_in(path.parent):
        _check_free(path)
        bound.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(os.fsencode(bound))
            bound.chmod(0o600)
            sock.listen(_BACKLOG)
            status = bound.lstat()
            bound.replace(path)
        except BaseException:
            sock.close()
            bound.unlink(missing_ok=True)
            raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock)), (
        status.st_dev,
        status.st_ino,
    )


@contextmanager
def _only_us_in(directory: Path) -> Iterator[None]:
    """Hold a directory's lock, so that two servers do not replace one stale socket at once."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _check_free(path: Path) -> None:
    """Check that nothing is at ``path``, or only a socket that nobody listens on any more."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "something that is no socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fsencode(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except BlockingIOError:
            pass  # somebody listens, and has a full queue
    raise OSError(errno.EADDRINUSE, "somebody listens there")


def _unlink(path: Path, owned: tuple[int, int] | None) -> None:
    """Remove our socket's file, unless another has taken its place."""
    try:
        status = path.lstat()
        if (status.st_dev, status.st_ino) == owned:
            path.unlink()
    except OSError:
        return
