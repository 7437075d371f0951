"""Sessions: what TLS costs, and what a hostile neighbour costs everybody else.

Three processes on loopback: a server; an honest peer that re-marks its one channel as fast as it
can; and an attacker. The attacker takes processor time too, of which these machines have little: it
runs at the lowest priority, and what it still takes is in the figures.

A p99 moves by itself from one second to the next. So each attack comes and goes in short turns, and
what is compared is the median of the turns with it and of those without.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Final

import trio

from bench.desk_pair import (
    child,
    desk,
    first_line,
    latencies,
    open_channel,
    percentile,
    remark,
    serve_desk,
)
from bench.floors import MESSAGE, SECONDS, client_context
from bench.results import Result
from bench.still_chain import StillChain
from bench.timing import seconds
from channels.errors import PeerError
from channels.peer.greeting import greet
from channels.protocol import codec
from channels.protocol import messages as m
from channels.protocol.proofs import Role
from channels.protocol.signing import LocalSigner
from channels.transport import Link, ServerTls, connect, dial_tls, encode_frames, serve

__all__ = ["measure"]

TURNS: Final = 7
"""With each attack, and as many without it."""
TURN: Final = 0.7
SETTLING: Final = 0.3
"""Seconds, of a turn; and before it, for the attack to be under way, or over."""
MEBIBYTE: Final = 1 << 20
MOST_MEMORY: Final = 64.0
MOST_SLOWER: Final = 2.0


# ---------------------------------------------------------------- what TLS costs


async def _echo(link: Link) -> None:
    while True:
        await link.send([await link.receive()])


async def _echo_server(*, tls: bool) -> None:
    async with serve("127.0.0.1:0", _echo, wrap=ServerTls().wrap if tls else None) as server:
        print(server.address, flush=True)
        await trio.sleep_forever()


async def _round_trip(server: str, *, tls: bool) -> float:
    """Median seconds of a frame there and back."""
    async with connect(server, wrap=dial_tls if tls else None) as link:

        async def work() -> None:
            await link.send([bytes(MESSAGE)])
            await link.receive()

        return percentile(await latencies(work, SECONDS), 0.5)


async def _bare_round_trip(server: str, *, tls: bool) -> float:
    """The same over Trio's own streams, and nothing else on this side: the floor."""
    frame = encode_frames([bytes(MESSAGE)])
    host, port = server.rsplit(":", 1)
    stream: trio.abc.Stream = await trio.open_tcp_stream(host, int(port))
    if tls:
        stream = trio.SSLStream(stream, client_context())
    async with stream:

        async def work() -> None:
            await stream.send_all(frame)
            left = len(frame)
            while left:
                left -= len(await stream.receive_some())

        return percentile(await latencies(work, SECONDS), 0.5)


def _measure_round_trips() -> Iterator[Result]:
    for tls in (False, True):
        with child("bench.transport", "echo", "tls" if tls else "") as server:
            address = first_line(server)
            floor = trio.run(partial(_bare_round_trip, address, tls=tls))
            ours = trio.run(partial(_round_trip, address, tls=tls))
        yield Result(
            name=f"a frame there and back, {'TLS 1.3' if tls else 'TCP'}, median",
            value=ours * 1e6,
            unit="us",
            references={"Trio's own stream on this side": floor * 1e6},
        )


# ---------------------------------------------------------------- what an attacker costs


Attack = Callable[[str], Awaitable[None]]
_PING: Final = encode_frames([codec.encode(m.Ping(token=1))]) * 1_000
_RUBBISH: Final = encode_frames([os.urandom(65_536)])


async def _dial(server: str, source: str = "127.0.0.2") -> trio.SocketStream:
    host, port = server.rsplit(":", 1)
    sock = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    await sock.bind((source, 0))
    await sock.connect((host, int(port)))
    return trio.SocketStream(sock)


@asynccontextmanager
async def _stranger(server: str, source: str = "127.0.0.2") -> AsyncIterator[trio.abc.Stream]:
    """A connection with a proved key that has no channel."""
    secured = await dial_tls(await _dial(server, source))
    async with Link(secured.stream, binding=secured.binding) as link:
        key = LocalSigner.generate()
        await greet(link, role=Role.CLIENT, signer=key, domain=StillChain.domain)
        yield secured.stream


async def _again_and_again(attack: Attack, server: str) -> None:
    while True:
        try:
            await attack(server)
        except* (OSError, trio.BrokenResourceError, PeerError):
            await trio.sleep(0.002)


async def _read(stream: trio.abc.Stream) -> None:
    while await stream.receive_some():
        pass


async def _send_for_ever(server: str, data: bytes, *, reads: bool) -> None:
    async with _stranger(server) as stream, trio.open_nursery() as nursery:
        if reads:
            nursery.start_soon(_read, stream)
        while True:
            await stream.send_all(data)


async def _rubbish_before_tls(server: str) -> None:
    async with await _dial(server) as stream:
        while True:
            await stream.send_all(_RUBBISH)


async def _shake_hands_and_go(server: str) -> None:
    secured = await dial_tls(await _dial(server))
    await trio.aclose_forcefully(secured.stream)


async def _stall(server: str) -> None:
    async with _stranger(server) as stream:
        await stream.send_all(_RUBBISH[:40_000])
        await trio.sleep_forever()


async def _thousand_connections(server: str) -> None:
    """From sixteen addresses, each greeted by TLS, and then silent."""
    async with AsyncExitStack() as stack:
        for number in range(1_000):
            with contextlib.suppress(OSError, trio.BrokenResourceError):
                stream = await _dial(server, f"127.0.1.{number % 16 + 1}")
                stack.push_async_callback(trio.aclose_forcefully, stream)
                await dial_tls(stream)
        print("under way", flush=True)
        await trio.sleep_forever()


ATTACKS: Final[dict[str, tuple[Attack, int]]] = {
    "a flood of pings": (partial(_send_for_ever, data=_PING, reads=True), 4),
    "pings whose answers nobody reads": (partial(_send_for_ever, data=_PING, reads=False), 4),
    "64 KiB frames of rubbish": (partial(_send_for_ever, data=_RUBBISH, reads=True), 4),
    "rubbish instead of TLS": (_rubbish_before_tls, 4),
    "handshakes without end": (_shake_hands_and_go, 4),
    "64 frames that stop half-way": (_stall, 64),
    "1,000 connections": (_thousand_connections, 1),
}
"""What each does, and how many times at once."""


async def _attack(name: str, server: str) -> None:
    os.nice(19)
    attack, times = ATTACKS[name]
    if attack is not _thousand_connections:
        print("under way", flush=True)
    async with trio.open_nursery() as nursery:
        for _ in range(times):
            nursery.start_soon(_again_and_again, attack, server)


def _memory(process: int) -> float:
    """Resident MiB of a process."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE


async def _watch_memory(process: int, most: list[float]) -> None:
    for _ in count():
        most.append(_memory(process))
        await trio.sleep(0.05)


async def _p99(work: Callable[[], Awaitable[None]]) -> float:
    await trio.sleep(seconds(SETTLING))
    return percentile(await latencies(work, TURN), 0.99)


async def _under_attack(server: str, process: int) -> AsyncIterator[Result]:
    async with desk("", tls=True) as peer:
        work = partial(remark, await open_channel(peer, server))
        await latencies(work, TURN)
        for name in ATTACKS:
            above: list[float] = []
            quiet: list[float] = []
            attacked: list[float] = []
            for _ in range(TURNS):
                quiet.append(await _p99(work))
                idle = _memory(process)  # each time: its store, in memory, grows with every change
                memory = [idle]
                with child("bench.transport", "attack", name, server) as attacker:
                    await trio.to_thread.run_sync(first_line, attacker)
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(_watch_memory, process, memory)
                        attacked.append(await _p99(work))
                        nursery.cancel_scope.cancel()
                above.append(max(memory) - idle)
            yield Result(
                name=f"p99 of a change of another peer during {name}",
                value=median(attacked) * 1e6,
                unit="us",
                target=MOST_SLOWER * median(quiet) * 1e6,
                references={"in the turns without it": median(quiet) * 1e6},
            )
            yield Result(
                name=f"memory above idle during {name}",
                value=max(above),
                unit="MiB",
                target=MOST_MEMORY,
            )


def _measure_attacks() -> list[Result]:
    async def gather(server: str, process: int) -> list[Result]:
        return [each async for each in _under_attack(server, process)]

    with child("bench.transport", "serve") as server:
        return trio.run(gather, first_line(server), server.pid)


def measure() -> Iterator[Result]:
    """Round trips and attacks, each beside its floor of the same run."""
    yield from _measure_round_trips()
    yield from _measure_attacks()


def _play_part(part: str, arguments: list[str]) -> None:
    if part == "attack":
        name, server = arguments
        trio.run(_attack, name, server)
    elif part == "echo":
        trio.run(partial(_echo_server, tls=arguments == ["tls"]))
    else:
        trio.run(partial(serve_desk, "", tls=True))


if __name__ == "__main__":
    _play_part(sys.argv[1], sys.argv[2:])
