"""Connections of whole peers: who is in between, what they run over, and how they come back."""

from __future__ import annotations

import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing

from channels.errors import (
    LinkClosedError,
    PeerError,
    PeerTimeoutError,
    SignerError,
    UnprovedPeerError,
)
from channels.peer import greeting
from channels.peer import network as network_module
from channels.peer.connections import LONGEST_RETRY, Connections
from channels.protocol import codec
from channels.protocol import messages as m
from channels.protocol.eip712 import Address
from channels.protocol.signing import LocalSigner, Signable, Signature
from channels.transport import Link, LinkLimits, ServerTls, connect, dial_tls, serve
from channels.transport.streams import EagerStream, TlsStream
from tests.chain.world import World
from tests.peer.world import PATIENCE, Pair, open_channel, trade, trading


def streams_of(pair: Pair) -> list[trio.abc.Stream]:
    return [
        session._link._stream
        for desk in (pair.alice, pair.bob)
        for sessions in desk.peer._connections._sessions.values()
        for session in sessions
    ]


# -- what they run over


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
async def test_tcp_goes_over_tls_1_3(listen: str, world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, listen=listen) as pair:
        versions = [
            stream.tls.version() for stream in streams_of(pair) if isinstance(stream, TlsStream)
        ]
        assert versions == ["TLSv1.3", "TLSv1.3"]
        await trade(pair.alice)
        await pair.settled()


async def test_unix_sockets_go_without(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, listen=f"unix:{tmp_path}/bob") as pair:
        assert [type(stream) for stream in streams_of(pair)] == [EagerStream] * 2
        await trade(pair.alice)
        await pair.settled()


async def test_tls_can_be_left_out_by_both(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, alice={"tls": False}, bob={"tls": False}) as pair:
        assert [type(stream) for stream in streams_of(pair)] == [EagerStream] * 2
        await trade(pair.alice)
        await pair.settled()


@pytest.mark.parametrize("side", ["alice", "bob"])
async def test_but_not_by_one(side: str, world: World, tmp_path: Path) -> None:
    options: dict[str, Any] = {side: {"tls": False, "limits": LinkLimits(handshake=0.2)}}
    async with trading(world, tmp_path, opened=False, **options) as pair:
        with pytest.raises(PeerTimeoutError):
            await pair.alice.peer.connect(str(pair.b.listen), timeout=1)
        assert streams_of(pair) == []


async def test_older_tls_is_refused(world: World, tmp_path: Path) -> None:
    """Which is also the end of renegotiation: 1.3 has none."""
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with trading(world, tmp_path) as pair:
        host, port = str(pair.b.listen).rsplit(":", 1)
        stream = trio.SSLStream(await trio.open_tcp_stream(host, int(port)), old)
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await stream.aclose()
        await trade(pair.alice)


# -- who is in between


@asynccontextmanager
async def relay(to: str, passed: list[type[m.Message]]) -> AsyncIterator[str]:
    """Mallory's server: passes on all that is said, over connections of its own."""

    async def serve_one(dialler: Link) -> None:
        async with connect(to, wrap=dial_tls) as listener, trio.open_nursery() as nursery:
            nursery.start_soon(pass_on, listener, dialler)
            await pass_on(dialler, listener)

    async def pass_on(source: Link, sink: Link) -> None:
        while True:
            frame = await source.receive()
            passed.append(type(codec.decode(frame)))
            await sink.send([frame])

    async with serve("127.0.0.1:0", serve_one, wrap=ServerTls().wrap) as server:
        yield server.address


async def test_no_channel_is_spoken_of_through_a_relay(world: World, tmp_path: Path) -> None:
    passed: list[type[m.Message]] = []
    async with trading(world, tmp_path, opened=False) as pair:
        async with relay(str(pair.b.listen), passed) as between:
            with pytest.raises(PeerTimeoutError):
                await pair.alice.peer.connect(between, timeout=0)  # and goes on trying
            await pair.bob.told(UnprovedPeerError)
            assert "UnprovedPeerError" in str(await pair.alice.told(PeerError))
            with pytest.raises(PeerTimeoutError, match="UnprovedPeerError"):
                await pair.alice.peer.connect(between, timeout=0)
            assert streams_of(pair) == []
        assert set(passed) == {m.Challenge, m.Hello, m.Error}
        await open_channel(pair.alice, pair.b)


async def test_a_stranger_that_opened_a_channel_is_none_any_more(
    world: World, tmp_path: Path
) -> None:
    async with trading(world, tmp_path, opened=False) as pair:
        await pair.alice.peer.connect(str(pair.b.listen))
        (session,) = pair.bob.peer._connections._sessions[world.signer_a.address]
        assert session.stranger
        await open_channel(pair.alice, pair.b)
        await trade(pair.alice)
        assert not session.stranger


# -- keys that are slow


class SlowKey:
    """A key that takes its time when it is told to."""

    def __init__(self, key: LocalSigner) -> None:
        self._key = key
        self.hangs = False
        self.fails = False

    @property
    def address(self) -> Address:
        return self._key.address

    async def sign(self, signable: Signable) -> Signature:
        if self.fails:
            raise OSError("no such device")
        if self.hangs:
            await trio.sleep_forever()
        return await self._key.sign(signable)


@pytest.mark.parametrize("fault", ["hangs", "fails"])
@pytest.mark.parametrize("side", ["alice", "bob"])
async def test_a_key_that_cannot_prove_us_ends_one_connection(
    side: str, fault: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner is told whose fault it is, the other side hears that we are busy; then it works."""
    monkeypatch.setattr(greeting, "SIGNER_TIMEOUT", 0.1)
    key = SlowKey(world.signer_a if side == "alice" else world.signer_b)
    setattr(key, fault, True)
    options: dict[str, Any] = {side: {"signer": key}}
    async with trading(world, tmp_path, opened=False, **options) as pair:
        ours, theirs = (pair.alice, pair.bob) if side == "alice" else (pair.bob, pair.alice)
        with contextlib.suppress(PeerTimeoutError):
            await pair.alice.peer.connect(str(pair.b.listen), timeout=0.1)
        assert "did not prove us" in str(await ours.told(SignerError))
        assert "BUSY" in str(await theirs.told(PeerError))
        setattr(key, fault, False)
        with trio.fail_after(PATIENCE):
            assert await pair.alice.peer.connect(str(pair.b.listen)) == world.signer_b.address


# -- coming back


async def test_a_counterparty_that_is_away_is_tried_ever_less_often(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delays double from a quarter of a second to ten, each shortened by up to a half at random."""
    attempts: list[float] = []

    class NobodyThere(contextlib.AbstractAsyncContextManager[Link]):
        def __init__(self, address: str, **_: object) -> None:
            attempts.append(trio.current_time())

        async def __aenter__(self) -> Link:
            raise LinkClosedError("nobody there")

        async def __aexit__(self, *_: object) -> None: ...

    monkeypatch.setattr(network_module, "connect", NobodyThere)
    delays = await _delays(attempts)
    ceilings = [min(0.25 * 2**n, LONGEST_RETRY) for n in range(len(delays))]
    assert len(delays) > 10
    for delay, ceiling in zip(delays, ceilings, strict=True):
        assert ceiling / 2 <= delay <= ceiling
    assert len({delay / ceiling for delay, ceiling in zip(delays, ceilings, strict=True)}) > 5


async def test_after_a_good_connection_it_is_tried_soon(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over memory streams: each holds for a minute, and breaks before anybody is proved."""
    monkeypatch.setattr(greeting, "HELLO_TIMEOUT", 60.0)
    monkeypatch.setattr(greeting, "GOODBYE_TIMEOUT", 0.001)
    attempts: list[float] = []

    @asynccontextmanager
    async def silent(address: str, **_: object) -> AsyncIterator[Link]:
        attempts.append(trio.current_time())
        ours, _theirs = trio.testing.memory_stream_pair()
        async with Link(ours, remote=address) as link:
            yield link

    monkeypatch.setattr(network_module, "connect", silent)
    for delay in await _delays(attempts):
        assert 60.125 <= delay <= 60.26


async def _delays(attempts: list[float]) -> list[float]:
    """Dial for a few minutes; the times between one attempt and the next."""
    setup = cast("Any", _Setup())
    async with trio.open_nursery() as nursery:

        async def ignore(*_: object) -> None: ...

        connections = Connections(
            nursery=nursery,
            setup=setup,
            runners={},
            on_message=ignore,
            tell=lambda *_: None,
        )
        with pytest.raises(PeerTimeoutError):
            await connections.connect("127.0.0.1:7001", timeout=200)
        nursery.cancel_scope.cancel()
    return [after - before for before, after in itertools.pairwise(attempts)]


class _Setup:
    """What dialling needs of a peer's setup."""

    signer = LocalSigner(b"\x01" * 32)
    limits = LinkLimits()
    network = network_module.SocketNetwork()

    class chain:  # noqa: N801
        domain = None
