"""TLS over real sockets: what binds both ends, what is refused, and how a connection ends."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography import x509

from channels.errors import FrameTruncatedError, LinkClosedError, PeerError, PeerTimeoutError
from channels.transport import Link, LinkLimits, Secured, ServerTls, connect, dial_tls, serve
from channels.transport.streams import TlsStream
from tests.transport.test_endpoints import ADDRESSES, Clock, echo, eventually, exchanged

TCP = ADDRESSES[:2]


@pytest.mark.parametrize("address", TCP)
async def test_frames_there_and_back_over_one_binding(address: str) -> None:
    bindings: list[bytes] = []

    async def handler(link: Link) -> None:
        bindings.append(link.binding)
        await echo(link)

    tls = ServerTls()
    async with (
        serve(address, handler, wrap=tls.wrap) as server,
        connect(server.address, wrap=dial_tls) as link,
    ):
        assert await exchanged(link, bytes(65_536))
        assert await exchanged(link, b"x")
        assert isinstance(link._stream, TlsStream)
        assert link._stream.tls.version() == "TLSv1.3"
        certificate = link._stream.tls.getpeercert(binary_form=True)
    assert certificate is not None
    assert [link.binding, tls.binding] == bindings * 2 == [hashlib.sha256(certificate).digest()] * 2
    read = x509.load_der_x509_certificate(certificate)
    read.verify_directly_issued_by(read)


def test_every_server_has_a_certificate_of_its_own_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert len({ServerTls().binding for _ in range(5)}) == 5
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_never_written_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    write = Path.write_bytes

    def spy(self: Path, data: bytes) -> int:
        written.append(bytes(data))
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", spy)
    ServerTls()
    assert len(written) == 1
    assert written[0].startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert b"-----BEGIN PRIVATE KEY-----" not in written[0]


async def test_no_session_is_ever_resumed() -> None:
    """A resumed session shows no certificate: no ticket is given for one."""
    async with (
        serve("127.0.0.1:0", echo, wrap=ServerTls().wrap) as server,
        connect(server.address, wrap=dial_tls) as link,
    ):
        assert await exchanged(link, b"x")
        assert isinstance(link._stream, TlsStream)
        session = link._stream.tls.session
        assert session is None or not session.has_ticket


# What is refused


def _tls_1_2() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


async def _old_client(stream: trio.SocketStream) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await trio.SSLStream(stream, _tls_1_2()).do_handshake()


async def _rubbish(stream: trio.SocketStream) -> None:
    await stream.send_all(bytes(range(256)))
    while await stream.receive_some():
        pass


async def _a_hello_without_end(stream: trio.SocketStream) -> None:
    await stream.send_all(b"\x16\x03\x01\x02\x00\x01")
    while await stream.receive_some():
        pass


async def _silence(stream: trio.SocketStream) -> None:
    while await stream.receive_some():
        pass


async def _gone(stream: trio.SocketStream) -> None:
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("client", "error"),
    [
        (_old_client, LinkClosedError),
        (_rubbish, LinkClosedError),
        (_a_hello_without_end, PeerTimeoutError),
        (_silence, PeerTimeoutError),
        (_gone, LinkClosedError),
    ],
)
async def test_clients_that_speak_no_tls_1_3(
    client: Callable[[trio.SocketStream], object], error: type[PeerError], mock_clock: Clock
) -> None:
    heard: list[PeerError] = []
    served: list[Link] = []
    began, told = trio.Event(), trio.Event()
    tls, limits = ServerTls(), LinkLimits(handshake=7)

    async def wrap(stream: trio.SocketStream) -> Secured:
        began.set()
        return await tls.wrap(stream)

    async def handler(link: Link) -> None:
        served.append(link)
        await echo(link)

    def on_error(_: str, failed: PeerError) -> None:
        heard.append(failed)
        told.set()

    async def call(address: str) -> None:
        host, port = address.rsplit(":", 1)
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await client(stream)  # type: ignore[misc]

    async with serve("127.0.0.1:0", handler, wrap=wrap, limits=limits, on_error=on_error) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, server.address)
            if error is PeerTimeoutError:
                await began.wait()
                await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(limits.handshake)
            await told.wait()
        assert [type(each) for each in heard] == [error]
        assert served == []
        async with connect(server.address, wrap=dial_tls) as link:
            assert await exchanged(link, b"still here")


# How it ends


@pytest.mark.parametrize(
    ("sent", "polite", "error"),
    [
        (b"", True, LinkClosedError),
        (b"", False, LinkClosedError),
        (b"\x00\x00\x00\x09half", True, FrameTruncatedError),
        (b"\x00\x00\x00\x09half", False, LinkClosedError),
    ],
)
async def test_ends(sent: bytes, polite: bool, error: type[PeerError]) -> None:
    """A connection that is cut without TLS's own goodbye is a broken one, wherever it is cut."""
    heard: list[PeerError] = []
    async with serve(
        "127.0.0.1:0", echo, wrap=ServerTls().wrap, on_error=lambda _, e: heard.append(e)
    ) as server:
        host, port = server.address.rsplit(":", 1)
        secured = await dial_tls(await trio.open_tcp_stream(host, int(port)))
        await secured.stream.send_all(sent)
        if polite:
            await secured.stream.aclose()
        else:
            await trio.aclose_forcefully(secured.stream)
        await eventually(lambda: bool(heard))
    assert [type(each) for each in heard] == [error]
