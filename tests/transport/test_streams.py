"""Sockets that send at once: what the kernel does not take waits its turn, in the clear and not."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from channels.errors import LinkClosedError
from channels.transport import (
    Link,
    LinkLimits,
    ServerTls,
    StreamWrapper,
    dial_tls,
    encode_frames,
)
from channels.transport.streams import EagerStream, TlsStream

MUCH = bytes(range(256)) * 16_384
"""4 MiB: more than two sockets hold."""


def socket_streams() -> tuple[trio.SocketStream, trio.SocketStream]:
    ours, theirs = socket.socketpair()
    return (
        trio.SocketStream(trio.socket.from_stdlib_socket(ours)),
        trio.SocketStream(trio.socket.from_stdlib_socket(theirs)),
    )


@asynccontextmanager
async def pair(tls: bool) -> AsyncIterator[tuple[EagerStream, EagerStream]]:
    ours, theirs = socket_streams()
    if not tls:
        yield EagerStream(ours), EagerStream(theirs)
    else:
        ends: dict[str, EagerStream] = {}

        async def shake(end: str, wrap: StreamWrapper, stream: trio.SocketStream) -> None:
            secured = (await wrap(stream)).stream
            assert isinstance(secured, TlsStream)
            ends[end] = secured

        async with trio.open_nursery() as nursery:
            nursery.start_soon(shake, "theirs", ServerTls().wrap, theirs)
            nursery.start_soon(shake, "ours", dial_tls, ours)
        yield ends["ours"], ends["theirs"]
    for stream in (ours, theirs):
        await trio.aclose_forcefully(stream)


async def received(stream: trio.abc.Stream, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = await stream.receive_some()
        assert part, "ended early"
        parts += part
    return bytes(parts)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_what_the_kernel_does_not_take_waits_and_keeps_its_place(tls: bool) -> None:
    async with pair(tls) as (ours, theirs), trio.open_nursery() as nursery:
        ours.push(MUCH)
        assert 0 < ours.backlog <= len(MUCH) + len(MUCH) // 64
        ours.push(b"then this")
        nursery.start_soon(ours.send_all, b"and this")
        expected = MUCH + b"then this" + b"and this"
        assert await received(theirs, len(expected)) == expected
        await trio.testing.wait_all_tasks_blocked()
        assert ours.backlog == 0


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_cancelled_send_leaves_its_rest_to_the_next(tls: bool) -> None:
    async with pair(tls) as (ours, theirs):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours.send_all, MUCH)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        assert ours.backlog
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.send_all, b"")
            assert await received(theirs, len(MUCH)) == MUCH
        assert ours.backlog == 0


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_closing_sends_what_waits_and_the_end_is_an_end(tls: bool) -> None:
    async with pair(tls) as (ours, theirs), trio.open_nursery() as nursery:
        ours.push(MUCH)
        nursery.start_soon(ours.aclose)
        assert await received(theirs, len(MUCH)) == MUCH
        assert await theirs.receive_some() == b""


async def test_an_end_without_goodbye_is_no_end_under_tls() -> None:
    async with pair(tls=True) as (ours, theirs):
        await trio.aclose_forcefully(ours)
        with pytest.raises(trio.BrokenResourceError):
            await theirs.receive_some()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_closed_stream_touches_no_descriptor(tls: bool) -> None:
    """The number of a closed socket is soon that of another file."""
    async with pair(tls) as (ours, _):
        ours.close()
        with pytest.raises(trio.ClosedResourceError):
            ours.push(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await ours.send_all(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await ours.receive_some()


async def test_nobody_receives_any_more() -> None:
    ours, theirs = socket_streams()
    stream = EagerStream(ours)
    await theirs.aclose()
    with pytest.raises(trio.BrokenResourceError):
        stream.push(b"x")
    await trio.aclose_forcefully(stream)


async def test_a_changed_byte_breaks_a_tls_stream() -> None:
    async with pair(tls=True) as (ours, theirs):
        record = bytearray()
        assert isinstance(ours, TlsStream)
        ours.tls.write(b"money")
        record += ours._outgoing.read()
        record[-1] ^= 1
        await ours.transport_stream.send_all(record)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await theirs.receive_some()
        assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_records_that_came_together_are_received_together_and_their_end_after_them() -> None:
    async with pair(tls=True) as (ours, theirs):
        ours.push(b"a Confirm, ")
        ours.push(b"a Propose")
        await ours.aclose()
        assert await theirs.receive_some() == b"a Confirm, a Propose"
        assert await theirs.receive_some() == b""
        assert await theirs.receive_some() == b""


async def test_what_is_good_before_a_changed_byte_is_received() -> None:
    async with pair(tls=True) as (ours, theirs):
        assert isinstance(ours, TlsStream)
        ours.tls.write(b"good")
        ours.tls.write(b"money")
        records = bytearray(ours._outgoing.read())
        records[-1] ^= 1
        await ours.transport_stream.send_all(records)
        assert await theirs.receive_some() == b"good"
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                await theirs.receive_some()


async def test_a_bound_cuts_records_and_loses_nothing() -> None:
    async with pair(tls=True) as (ours, theirs):
        ours.push(b"abcdefgh")
        ours.push(b"ij")
        pieces = [await theirs.receive_some(3) for _ in range(4)]
        assert pieces == [b"abc", b"def", b"ghi", b"j"]


# A link over them


async def test_a_link_sends_at_once_until_the_kernel_is_full() -> None:
    ours, theirs = socket_streams()
    async with Link(EagerStream(ours)) as link, Link(EagerStream(theirs)) as peer:
        sent = 0
        while link.send_now([bytes(65_536)]):
            sent += 1
        assert link.unsent
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.send, [b"last"])
            for _ in range(sent):
                assert await peer.receive() == bytes(65_536)
            assert await peer.receive() == b"last"
        assert not link.unsent


async def test_a_link_that_cannot_send_at_once_says_so_and_sends_nothing() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with Link(ours) as link:
        assert not link.send_now([b"x"])
        with trio.move_on_after(0) as scope:
            await theirs.receive_some()
        assert scope.cancelled_caught


async def test_a_link_dies_of_a_broken_send_at_once() -> None:
    ours, theirs = socket_streams()
    async with Link(EagerStream(ours)) as link:
        await theirs.aclose()
        with pytest.raises(LinkClosedError):
            link.send_now([b"x"])
        assert link.death is not None
        with pytest.raises(LinkClosedError):
            await link.receive()


async def test_what_came_while_we_stood_still_was_no_silence(
    mock_clock: trio.testing.MockClock,
) -> None:
    """A process that was stopped for longer than a peer may be silent finds its frame first."""
    for _ in range(10):  # Trio runs who is ready in any order
        ours, theirs = socket_streams()
        async with (
            theirs,
            Link(EagerStream(ours), limits=LinkLimits(idle=60)) as link,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(link.watch)
            nursery.start_soon(link.receive)
            await trio.testing.wait_all_tasks_blocked()
            assert os.write(theirs.socket.fileno(), encode_frames([b"in time"])) == 11
            mock_clock.jump(1_000)
            await trio.testing.wait_all_tasks_blocked()
            assert link.death is None
            nursery.cancel_scope.cancel()


async def test_a_burst_is_received_as_it_came_and_no_more_than_asked_for() -> None:
    ours, theirs = socket_streams()
    frames = [bytes([each]) for each in range(1, 11)]
    async with Link(EagerStream(ours)) as link, Link(EagerStream(theirs)) as peer:
        assert link.send_now(frames)
        assert await peer.receive_burst(4) == frames[:4]
        assert await peer.receive() == frames[4]
        assert await peer.receive_burst(64) == frames[5:]
