"""Real sockets: connecting, serving, and who cannot hurt whom.

Where a time runs out, it is on a clock that the test moves, so that a slow machine changes nothing.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from channels.errors import (
    FrameTooLargeError,
    InvalidValueError,
    LinkClosedError,
    OurError,
    PeerError,
    PeerTimeoutError,
    RejectedError,
)
from channels.transport import Link, LinkLimits, Secured, connect, endpoints, serve
from channels.transport.streams import EagerStream

Clock = trio.testing.MockClock
PATIENCE = 60
"""Seconds after which what does not come is taken never to come."""


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


ADDRESSES = [
    "127.0.0.1:0",
    pytest.param("[::1]:0", marks=pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 here")),
    "unix",
]


@pytest.fixture(params=ADDRESSES)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"unix:{tmp_path}/peer" if request.param == "unix" else str(request.param)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "peer"


async def echo(link: Link) -> None:
    while True:
        await link.send([await link.receive()])


async def exchanged(link: Link, frame: bytes) -> bool:
    await link.send([frame])
    return await link.receive() == frame


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def is_socket(path: Path) -> bool:
    return path.exists() and stat.S_ISSOCK(path.stat().st_mode)


async def eventually(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110  # the server has no event for it
            await trio.sleep(0.002)


async def test_frames_there_and_back(address: str) -> None:
    async with serve(address, echo) as server:
        assert (":0" not in server.address) or address.startswith("unix")
        async with connect(server.address) as link, connect(server.address) as other:
            assert link.remote == server.address
            assert await exchanged(link, bytes(65_536))
            assert await exchanged(other, b"x")
            assert server.connections == 2
        await eventually(lambda: server.connections == 0)
    with pytest.raises(LinkClosedError):
        async with connect(server.address):
            raise AssertionError("connected to nobody")


async def test_small_frames_are_not_delayed() -> None:
    options = []

    async def handler(link: Link) -> None:
        options.append(nodelay(link))
        await link.receive()

    def nodelay(link: Link) -> int:
        assert isinstance(link._stream, EagerStream)
        value = link._stream.transport_stream.socket.getsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY
        )
        assert isinstance(value, int)
        return value

    async with serve("127.0.0.1:0", handler) as server, connect(server.address) as link:
        assert nodelay(link)
        await eventually(lambda: bool(options))
    assert all(options)


async def test_leaving_the_block_ends_every_link(address: str) -> None:
    async with trio.open_nursery() as nursery:
        async with serve(address, echo) as server:
            link = await nursery.start(hold, server.address)
            assert await exchanged(link, b"x")
        with pytest.raises(LinkClosedError):
            await link.receive()
        nursery.cancel_scope.cancel()


async def hold(address: str, task_status: trio.TaskStatus[Link]) -> None:
    async with connect(address) as link:
        task_status.started(link)
        await trio.sleep_forever()


# Errors of one and of all


async def test_one_handlers_peer_error_touches_nobody_else(address: str) -> None:
    heard: list[tuple[str, PeerError]] = []

    async def handler(link: Link) -> None:
        frame = await link.receive()
        if frame == b"bad":
            raise RejectedError("bad")
        if frame == b"bad inside":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                raise RejectedError("bad inside")
        await link.send([frame])
        await echo(link)

    async with serve(
        address, handler, on_error=lambda remote, error: heard.append((remote, error))
    ) as server:
        async with connect(server.address) as good:
            assert await exchanged(good, b"good")
            for bad in (b"bad", b"bad inside"):
                async with connect(server.address) as link:
                    await link.send([bad])
                    with pytest.raises(LinkClosedError):
                        await link.receive()
            async with connect(server.address) as link:
                await link._stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
                with pytest.raises(LinkClosedError):
                    await link.receive()
            await eventually(lambda: len(heard) == 3)
            assert await exchanged(good, b"still good")
        await eventually(lambda: len(heard) == 4)
    kinds: list[type[PeerError]] = [type(error) for _, error in heard]
    expected: list[type[PeerError]] = [RejectedError, RejectedError, FrameTooLargeError]
    assert kinds == [*expected, LinkClosedError]
    assert all(remote for remote, _ in heard)


@pytest.mark.parametrize("given", [True, False], ids=["their nursery", "own nursery"])
async def test_an_error_of_ours_comes_out(given: bool) -> None:
    async def handler(link: Link) -> None:
        raise KeyError("a bug")

    with pytest.RaisesGroup(KeyError, allow_unwrapped=True, flatten_subgroups=True):
        async with (
            trio.open_nursery() as nursery,
            serve("127.0.0.1:0", handler, nursery=nursery if given else None) as server,
            connect(server.address),
        ):
            await trio.sleep(10)


@pytest.mark.parametrize("given", [True, False], ids=["their nursery", "own nursery"])
async def test_an_error_of_the_body_comes_out_as_it_was(given: bool) -> None:
    error = KeyError()
    async with trio.open_nursery() as nursery:
        with pytest.raises(KeyError) as caught:  # noqa: PT012
            async with serve("127.0.0.1:0", echo, nursery=nursery if given else None) as server:
                await trio.lowlevel.checkpoint()
                assert server.connections == 0
                raise error
        assert caught.value is error
        assert error.__context__ is None


async def test_cancelling_the_body_is_no_error() -> None:
    with trio.move_on_after(0.05) as scope:
        async with serve("127.0.0.1:0", echo) as server, connect(server.address):
            await trio.sleep(10)
    assert scope.cancelled_caught


# Too many


@asynccontextmanager
async def connected(address: str, count: int) -> AsyncIterator[list[Link]]:
    """Links that were served; each has said hello and been answered."""
    links: list[Link] = []

    async def one(task_status: trio.TaskStatus[None]) -> None:
        async with connect(address) as link:
            assert await exchanged(link, b"hello")
            links.append(link)
            task_status.started()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as starting:
            for _ in range(count):
                starting.start_soon(nursery.start, one)
        yield links
        nursery.cancel_scope.cancel()


async def turned_away(address: str) -> None:
    async with connect(address) as link:
        with pytest.raises(LinkClosedError):
            await link.receive()


async def test_connections_above_the_limit_are_turned_away(path: Path) -> None:
    async with (
        serve(f"unix:{path}", echo, max_connections=3) as server,
        connected(server.address, 3) as links,
    ):
        await turned_away(server.address)
        assert (server.connections, server.refused) == (3, 1)
        await links[0].aclose()
        await eventually(lambda: server.connections == 2)
        async with connect(server.address) as link:
            assert await exchanged(link, b"room again")


async def test_one_source_cannot_take_all_places() -> None:
    async with serve("127.0.0.1:0", echo, max_per_source=3) as server:
        async with connected(server.address, 3):
            await turned_away(server.address)
            port = int(server.address.rpartition(":")[2])
            other = trio.socket.socket()
            await other.bind(("127.0.0.2", 0))
            await other.connect(("127.0.0.1", port))
            async with Link(trio.SocketStream(other)) as link:
                assert await exchanged(link, b"from elsewhere")
        await eventually(lambda: server.connections == 0)
        assert server._sources == {}


async def test_one_source_cannot_have_us_shake_hands_all_the_time(
    mock_clock: Clock,
) -> None:
    async with serve("127.0.0.1:0", echo, max_new_per_source=3) as server:
        for _ in range(3):
            async with connect(server.address) as link:
                assert await exchanged(link, b"come and gone")
        await turned_away(server.address)
        assert server.refused == 1
        mock_clock.jump(endpoints.NEWCOMER_WINDOW)
        async with connect(server.address) as link:
            assert await exchanged(link, b"some time later")


async def test_a_thousand_connections(path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2_200:
        pytest.skip("not enough file descriptors here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_200), hard))
    try:
        async with serve(f"unix:{path}", echo, max_connections=1_000) as server:
            async with connected(server.address, 1_000) as links:
                assert server.connections == 1_000
                async with trio.open_nursery() as nursery:
                    for link in links:
                        nursery.start_soon(exchanged, link, b"all at once")
            await eventually(lambda: server.connections == 0)
            assert server.refused == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_out_of_descriptors_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = 2
    accept = trio.SocketListener.accept

    async def failing(self: trio.SocketListener) -> trio.SocketStream:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return await accept(self)

    monkeypatch.setattr(trio.SocketListener, "accept", failing)
    async with serve("127.0.0.1:0", echo) as server, connect(server.address) as link:
        assert await exchanged(link, b"x")
    assert failures == 0


async def send_for_ever(link: Link) -> None:
    while True:
        await link.send([bytes(60_000)])


async def test_stalled_and_flooding_peers_do_not_slow_others(path: Path, mock_clock: Clock) -> None:
    limits = LinkLimits(send=7)
    heard: list[PeerError] = []

    async def flood(address: str) -> None:
        async with connect(address, limits=LinkLimits(send=100)) as link:
            with pytest.raises(LinkClosedError):
                await send_for_ever(link)  # never receives: our echoes fill its buffers

    async with (
        serve(
            f"unix:{path}", echo, limits=limits, on_error=lambda _, error: heard.append(error)
        ) as server,
        connect(server.address) as good,
        trio.open_nursery() as nursery,
    ):
        for _ in range(5):
            nursery.start_soon(flood, server.address)
        for _ in range(100):
            assert await exchanged(good, b"me too")
        await trio.testing.wait_all_tasks_blocked()  # every buffer is full
        assert await exchanged(good, b"me too")
        assert heard == []
        mock_clock.jump(limits.send)
        while len(heard) < 5:
            assert await exchanged(good, b"still here")
    assert [type(error) for error in heard[:5]] == [PeerTimeoutError] * 5


# Wrapping and connecting


class Counting(trio.abc.Stream):
    """Stands for TLS: a stream over a stream."""

    def __init__(self, inner: trio.SocketStream) -> None:
        self.inner = inner
        self.sends = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sends += 1
        await self.inner.send_all(bytes(byte ^ 0x55 for byte in data))

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(byte ^ 0x55 for byte in await self.inner.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self.inner.aclose()


async def test_both_ends_can_wrap_their_streams() -> None:
    wrapped: list[Counting] = []

    async def wrap(stream: trio.SocketStream) -> Secured:
        assert await exchange_greeting(stream) == b"hi"
        wrapped.append(Counting(stream))
        return Secured(stream=wrapped[-1])

    async with (
        serve("127.0.0.1:0", echo, wrap=wrap) as server,
        connect(server.address, wrap=wrap) as link,
    ):
        assert await exchanged(link, b"x")
    assert [stream.sends for stream in wrapped] == [1, 1]


async def exchange_greeting(stream: trio.SocketStream) -> bytes:
    await stream.send_all(b"hi")
    return bytes(await stream.receive_some(2))


async def test_a_handshake_that_hangs_is_given_up_on_both_sides(mock_clock: Clock) -> None:
    told, heard = trio.open_memory_channel[PeerError](1)
    streams: list[trio.SocketStream] = []
    both = trio.Event()
    limits = LinkLimits(handshake=7)

    async def hang(stream: trio.SocketStream) -> Secured:
        streams.append(stream)
        if len(streams) == 2:
            both.set()
        await trio.sleep_forever()
        raise AssertionError

    async def dial(address: str) -> None:
        with pytest.raises(PeerTimeoutError):
            async with connect(address, wrap=hang, limits=limits):
                raise AssertionError("connected")

    async with (
        serve(
            "127.0.0.1:0", echo, wrap=hang, limits=limits, on_error=lambda _, e: told.send_nowait(e)
        ) as server,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(dial, server.address)
        await both.wait()
        mock_clock.jump(limits.handshake)
        assert isinstance(await heard.receive(), PeerTimeoutError)
    assert [stream.socket.fileno() for stream in streams] == [-1, -1]


async def test_a_handshake_that_fails_is_a_closed_link() -> None:
    async def fail(stream: trio.SocketStream) -> Secured:
        raise trio.BrokenResourceError("no common cipher")

    async with serve("127.0.0.1:0", echo) as server:
        with pytest.raises(LinkClosedError, match="no common cipher"):
            async with connect(server.address, wrap=fail):
                raise AssertionError("connected")


@pytest.mark.parametrize("address", ["nowhere", "[::1]", "unix:relative"])
async def test_no_address_at_all(address: str) -> None:
    with pytest.raises(InvalidValueError):
        async with connect(address):
            raise AssertionError("connected")
    with pytest.raises(InvalidValueError):
        async with serve(address, echo):
            raise AssertionError("listening")


async def test_a_taken_port_is_our_error() -> None:
    async with serve("127.0.0.1:0", echo) as server:
        with pytest.raises(OurError, match="cannot listen"):
            async with serve(server.address, echo):
                raise AssertionError("listening")


# Unix sockets


async def test_a_unix_socket_is_private_and_goes_when_we_go(path: Path) -> None:
    async with serve(f"unix:{path}", echo):
        assert is_socket(path)
        assert mode_of(path) == 0o600
        assert os.listdir(path.parent) == ["peer"]  # noqa: PTH208
    assert os.listdir(path.parent) == []  # noqa: PTH208


async def test_a_stale_socket_is_replaced(path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()  # as a killed process leaves it
    assert is_socket(path)
    async with serve(f"unix:{path}", echo) as server, connect(server.address) as link:
        assert await exchanged(link, b"x")


async def test_a_living_socket_is_not_replaced(path: Path) -> None:
    async with serve(f"unix:{path}", echo) as server:
        with pytest.raises(OurError, match="somebody listens"):
            async with serve(f"unix:{path}", echo):
                raise AssertionError("listening")
        async with connect(server.address) as link:
            assert await exchanged(link, b"x")


async def test_a_living_socket_with_a_full_queue_is_not_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as living, socket.socket(socket.AF_UNIX) as client:
        living.bind(str(path))
        living.listen(0)
        client.connect(str(path))
        with pytest.raises(OurError, match="somebody listens"):
            async with serve(f"unix:{path}", echo):
                raise AssertionError("listening")


@pytest.mark.parametrize("what", ["file", "directory", "link"])
async def test_what_is_no_socket_is_never_replaced(path: Path, what: str) -> None:
    put(path, what)
    with pytest.raises(OurError, match="no socket"):
        async with serve(f"unix:{path}", echo):
            raise AssertionError("listening")
    assert os.listdir(path.parent) == ["peer"]  # noqa: PTH208


def put(path: Path, what: str) -> None:
    if what == "file":
        path.write_bytes(b"keys")
    elif what == "directory":
        path.mkdir()
    else:
        path.symlink_to(path.with_name("elsewhere"))


async def test_anothers_socket_is_not_removed(path: Path) -> None:
    async with serve(f"unix:{path}", echo):
        os.unlink(path)  # noqa: PTH108
        other = socket.socket(socket.AF_UNIX)
        other.bind(str(path))
    assert is_socket(path)
    other.close()


async def test_a_missing_directory_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(OurError):
        async with serve(f"unix:{tmp_path}/missing/peer", echo):
            raise AssertionError("listening")
