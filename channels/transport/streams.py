"""Sockets as streams that can also send at once, in the clear and under TLS.

Trio's own streams make every send a task switch, and its TLS takes two locks for each call: a
frame there and back costs half of that here, as ``bench/transport.py`` shows.
"""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from typing import Final

import trio

__all__ = ["EagerStream", "TlsStream"]

_MOST: Final = 1 << 16
"""Bytes read at once."""

_MOST_KEY_CHANGES: Final = 64
"""Changes of a peer's keys that are answered while it reads nothing."""

_Data = bytes | bytearray | memoryview


class EagerStream(trio.abc.Stream):
    """A connected socket. What `push` cannot hand over at once waits, and goes before all else.

    One task may receive at a time; any number may send, each whole and in the order they came.

    Attributes:
        transport_stream: the socket's own stream; closed with this one.
    """

    def __init__(self, transport_stream: trio.SocketStream) -> None:
        self.transport_stream = transport_stream
        self._socket = transport_stream.socket
        self._backlog = bytearray()
        self._draining = trio.Lock()

    @property
    def backlog(self) -> int:
        """Bytes pushed that the kernel has not taken; an empty `send_all` waits until it has."""
        return len(self._backlog)

    def push(self, data: _Data) -> None:
        """Hand over what the kernel takes without waiting, and keep the rest.

        Raises:
            trio.BrokenResourceError: nobody receives any more.
            trio.ClosedResourceError: this stream is closed.
        """
        self._give(data)

    def _give(self, data: _Data) -> None:
        """Push bytes as they go over the wire."""
        sent = 0 if self._backlog else self._write(data)
        if sent < len(data):
            self._backlog += memoryview(data)[sent:]

    def _write(self, data: _Data) -> int:
        try:
            return os.write(self._descriptor(), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _broken(error) from error

    def _descriptor(self) -> int:
        """The socket's; asked for each time, for a closed one's number is soon another file's."""
        descriptor = self._socket.fileno()
        if descriptor < 0:
            raise trio.ClosedResourceError("this stream is closed")
        return descriptor

    async def send_all(self, data: _Data) -> None:
        """Push, and wait until the kernel has all. Cancelled, it has a part and the rest waits."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.push(data)
        if self._backlog:
            await self._drain()
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _drain(self) -> None:
        async with self._draining:
            while self._backlog:
                await trio.lowlevel.wait_writable(self._descriptor())
                del self._backlog[: self._write(self._backlog)]

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the kernel has room again."""
        await trio.lowlevel.wait_writable(self._descriptor())

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes, and return those there are; none at the end of the stream."""
        return await self._read(_MOST if max_bytes is None else max_bytes)

    async def _read(self, most: int) -> bytes:
        while True:
            # Waiting first is the checkpoint, and mostly there is nothing yet.
            await trio.lowlevel.wait_readable(self._descriptor())
            try:
                return os.read(self._descriptor(), most)
            except BlockingIOError:
                continue
            except OSError as error:
                raise _broken(error) from error

    def close(self) -> None:
        """Close the socket now; what is left to send is lost."""
        self._backlog.clear()
        self._socket.close()

    async def aclose(self) -> None:
        """Wait until the kernel has all that was pushed, and close the socket.

        Cancelled, it only closes: then nobody can tell a part from the whole.
        """
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                self._say_goodbye()
                await self._drain()
        finally:
            await self.transport_stream.aclose()

    def _say_goodbye(self) -> None:
        """Push what tells the other side that this was all."""


class TlsStream(EagerStream):
    """The same under TLS. A stream that ends without TLS's own goodbye is broken, not over.

    Attributes:
        tls: the state of the protocol: its version, and the peer's certificate.
    """

    def __init__(
        self, transport_stream: trio.SocketStream, context: ssl.SSLContext, *, server_side: bool
    ) -> None:
        super().__init__(transport_stream)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._unread_answers = 0
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)

    async def do_handshake(self) -> None:
        """Do our part of the handshake; nothing else may be done before.

        Raises:
            trio.BrokenResourceError: the other side speaks no such TLS, or left.
        """
        done = False
        while not done:
            try:
                self.tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                self._give(self._outgoing.read())  # the alert that says why
                raise _broken(error) from error
            self._give(self._outgoing.read())
            await self._drain()
            if not done:
                await self._fill()

    def push(self, data: _Data) -> None:
        """As for any stream; what is kept is kept encrypted."""
        left = memoryview(data)
        try:
            while left:
                left = left[self.tls.write(left) :]
        except ssl.SSLError as error:
            raise _broken(error) from error
        self._give(self._outgoing.read())

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes, and return those of one record; none after the peer's goodbye."""
        most = _MOST if max_bytes is None else max_bytes
        if self._incoming.pending or self.tls.pending():
            await trio.lowlevel.checkpoint()
        else:
            await self._fill()
        while True:
            try:
                return self.tls.read(most)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                raise _broken(error) from error
            finally:
                if self._outgoing.pending:
                    self._answer_key_change()
            await self._fill()

    def _answer_key_change(self) -> None:
        """Push the answer to a peer that has changed its keys; nobody waits with it."""
        self._give(self._outgoing.read())
        self._unread_answers = self._unread_answers + 1 if self._backlog else 0
        if self._unread_answers > _MOST_KEY_CHANGES:
            raise trio.BrokenResourceError("the peer changes its keys and does not read")

    async def _fill(self) -> None:
        data = await self._read(_MOST)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _say_goodbye(self) -> None:
        with suppress(ssl.SSLError):  # we do not wait for theirs; a broken one wants none
            self.tls.unwrap()
        self._give(self._outgoing.read())


def _broken(cause: Exception) -> trio.BrokenResourceError:
    return trio.BrokenResourceError(str(cause))
