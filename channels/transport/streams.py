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
        backlog: bytes pushed that the kernel has not taken; an empty `send_all` waits until it has.
    """

    def __init__(self, transport_stream: trio.SocketStream) -> None:
        self.transport_stream = transport_stream
        self._socket = transport_stream.socket
        self.backlog = 0
        self._left = bytearray()
        self._draining = trio.Lock()

    def push(self, data: _Data) -> None:
        """Hand over what the kernel takes without waiting, and keep the rest.

        Raises:
            trio.BrokenResourceError: nobody receives any more.
            trio.ClosedResourceError: this stream is closed.
        """
        sent = 0 if self.backlog else self._write(data)
        if sent < len(data):
            self._left += memoryview(data)[sent:]
            self.backlog = len(self._left)

    def _write(self, data: _Data) -> int:
        # The number is asked for each time: that of a closed socket is soon another file's.
        try:
            return os.write(self._socket.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> Exception:
        """What a failed call of the socket means: a closed one has no number."""
        return _closed() if self._socket.fileno() < 0 else _broken(error)

    def _descriptor(self) -> int:
        """The socket's number, to wait with."""
        descriptor = self._socket.fileno()
        if descriptor < 0:
            raise _closed()
        return descriptor

    async def send_all(self, data: _Data) -> None:
        """Push, and wait until the kernel has all. Cancelled, it has a part and the rest waits."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.push(data)
        if self.backlog:
            await self._drain()
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _drain(self) -> None:
        async with self._draining:
            while self.backlog:
                await trio.lowlevel.wait_writable(self._descriptor())
                del self._left[: self._write(self._left)]
                self.backlog = len(self._left)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the kernel has room again."""
        await trio.lowlevel.wait_writable(self._descriptor())

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes, and return those there are; none at the end of the stream."""
        most = _MOST if max_bytes is None else max_bytes
        while True:
            # Waiting first is the checkpoint, and mostly there is nothing yet.
            await trio.lowlevel.wait_readable(self._descriptor())
            try:
                return os.read(self._socket.fileno(), most)
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._failure(error) from error

    def close(self) -> None:
        """Close the socket now; what is left to send is lost."""
        self._left.clear()
        self.backlog = 0
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
        self._cut_short = False
        self._fault: ssl.SSLError | None = None
        self._over = False
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
                super().push(self._outgoing.read())  # the alert that says why
                raise _broken(error) from error
            super().push(self._outgoing.read())
            await self._drain()
            if not done:
                await self._fill()

    def push(self, data: _Data) -> None:
        """As for any stream; what is kept is kept encrypted."""
        sent = 0
        try:
            while sent < len(data):
                sent += self.tls.write(memoryview(data)[sent:] if sent else data)
        except ssl.SSLError as error:
            raise _broken(error) from error
        super().push(self._outgoing.read())

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes, and return those there are; none after the peer's goodbye."""
        most = _MOST if max_bytes is None else max_bytes
        if self._incoming.pending or self._cut_short or self._over:
            await trio.lowlevel.checkpoint()
        else:
            await self._fill()
        data = self._decrypted(most)
        while not (data or self._over):
            await self._fill()
            data = self._decrypted(most)
        if self._fault is not None and not data:
            raise _broken(self._fault) from self._fault
        return data

    def _decrypted(self, most: int) -> bytes:
        """The bytes of all whole records that have come; how they end is told after them."""
        data = b""
        try:
            while record := self.tls.read(most - len(data)):
                data += record
                if not self._incoming.pending or len(data) == most:
                    break
            else:
                self._over = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._over = True
        except ssl.SSLError as error:
            self._fault, self._over = error, True
        self._cut_short = len(data) == most
        if self._outgoing.pending:
            self._answer_key_change()
        return data

    def _answer_key_change(self) -> None:
        """Push the answer to a peer that has changed its keys; nobody waits with it."""
        super().push(self._outgoing.read())
        self._unread_answers = self._unread_answers + 1 if self.backlog else 0
        if self._unread_answers > _MOST_KEY_CHANGES:
            raise trio.BrokenResourceError("the peer changes its keys and does not read")

    async def _fill(self) -> None:
        data = await super().receive_some()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _say_goodbye(self) -> None:
        with suppress(ssl.SSLError):  # we do not wait for theirs; a broken one wants none
            self.tls.unwrap()
        super().push(self._outgoing.read())


def _closed() -> trio.ClosedResourceError:
    return trio.ClosedResourceError("this stream is closed")


def _broken(cause: Exception) -> trio.BrokenResourceError:
    return trio.BrokenResourceError(str(cause))
