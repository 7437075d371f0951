"""Sessions: what TLS costs, and what a hostile neighbour costs everybody else.

Three processes on loopback: a server; an honest peer that re-marks its one channel as fast as it
can; and an attacker. The server's memory and the honest peer's p99 under attack stand beside those
of the same run without one. The attacker takes processor time too, of which these machines have
little: it runs at the lowest priority, and what it still takes is in the figures.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import attrs
import trio

from bench.results import Result
from bench.still_chain import DEPOSIT, StillChain
from bench.timing import seconds
from channels.errors import PeerError
from channels.peer import Leg, PeerChannel, default_terms, open_peer
from channels.peer.session import greet
from channels.pricing.instruments import Put
from channels.protocol import codec
from channels.protocol import messages as m
from channels.protocol.changes import Marks, SeriesMark, marks_of
from channels.protocol.eip712 import address
from channels.protocol.proofs import Role
from channels.protocol.signing import LocalSigner
from channels.protocol.terms import RiskParams
from channels.protocol.types import Series, feed_id
from channels.transport import Link, ServerTls, connect, dial_tls, encode_frames, serve
from channels.units import to_wad

__all__ = ["measure"]

SECONDS: Final = 3.0
HEAD_START: Final = 2.0
"""Seconds that an attack is under way before it is measured."""
MESSAGE: Final = 206
MEBIBYTE: Final = 1 << 20
MOST_MEMORY: Final = 64.0
MOST_SLOWER: Final = 2.0
_ALICE: Final = LocalSigner(b"\x01" * 32)
_BOB: Final = LocalSigner(b"\x02" * 32)
_FEED: Final = feed_id("ETH-USD")
_SPOT: Final = int(to_wad(3000))
_TICK: Final = int(to_wad(1))
_RISK: Final = (RiskParams(feed=_FEED),)


# ---------------------------------------------------------------- honest peers


@attrs.frozen
class _SteadyMarket:
    """The same marks at all times."""

    chain: StillChain

    def marks(self, series: Iterable[Series]) -> Marks:
        return Marks(
            marked_at=self.chain.head.timestamp,
            spots={_FEED: _SPOT},
            series=dict.fromkeys(series, SeriesMark(vol=int(to_wad("0.6")))),
        )


async def _yes(*_: object) -> bool:
    return True


async def _server(*, tls: bool) -> None:
    chain = StillChain()
    async with open_peer(
        signer=_BOB,
        chain=chain,
        store=":memory:",
        listen="127.0.0.1:0",
        market=_SteadyMarket(chain),
        accept_opening=_yes,
        accept_trade=_yes,
        clock=lambda: chain.head.timestamp,
        tls=tls,
    ) as peer:
        print(peer.listening, flush=True)
        await trio.sleep_forever()


@asynccontextmanager
async def _trading(server: str, *, tls: bool) -> AsyncIterator[PeerChannel]:
    """An open channel with one position."""
    chain = StillChain()
    terms = default_terms(
        party_a=_ALICE.address,
        party_b=_BOB.address,
        signer_a=_ALICE.address,
        signer_b=_BOB.address,
        collateral=address(b"\x05" * 20),
        unit=10**6,
        oracle=address(b"\x06" * 20),
        risk=_RISK,
        stale_penalty=0,
    )
    async with open_peer(
        signer=_ALICE,
        chain=chain,
        store=":memory:",
        market=_SteadyMarket(chain),
        clock=lambda: chain.head.timestamp,
        tls=tls,
    ) as peer:
        channel = await peer.open(
            peer=server, terms=terms, risk=_RISK, deposit=DEPOSIT, peer_deposit=DEPOSIT
        )
        expiry = chain.head.timestamp // 3_600 * 3_600 + 30 * 86_400
        put = Put("ETH-USD", strike=2800, expiry=expiry)
        await channel.propose_trade([Leg(put, quantity=1)], [int(to_wad(100))])
        yield channel


async def _latencies(channel: PeerChannel) -> list[float]:
    """Sorted seconds of whole changes, each two co-signed states, one after the other."""
    taken: list[float] = []
    began = time.perf_counter()
    while (now := time.perf_counter()) - began < seconds(SECONDS):
        marks = marks_of(channel.portfolio)
        spot = _SPOT + _TICK if marks.spots[_FEED] == _SPOT else _SPOT
        await channel.remark(attrs.evolve(marks, spots={_FEED: spot}))
        taken.append(time.perf_counter() - now)
    return sorted(taken)


def _percentile(ordered: list[float], part: float) -> float:
    return ordered[int(len(ordered) * part)]


@contextlib.contextmanager
def _child(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bench.transport", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            yield child
        finally:
            child.kill()


def _first_line(child: subprocess.Popen[bytes]) -> str:
    if child.stdout is None:
        raise RuntimeError("the child has no standard output")
    return child.stdout.readline().decode().strip()


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
    taken: list[float] = []
    async with connect(server, wrap=dial_tls if tls else None) as link:
        began = time.perf_counter()
        while (now := time.perf_counter()) - began < seconds(SECONDS):
            await link.send([bytes(MESSAGE)])
            await link.receive()
            taken.append(time.perf_counter() - now)
    return _percentile(sorted(taken), 0.5)


async def _bare_round_trip(server: str) -> float:
    """The same over a Trio socket and nothing else: the floor."""
    taken: list[float] = []
    frame = encode_frames([bytes(MESSAGE)])
    host, port = server.rsplit(":", 1)
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        began = time.perf_counter()
        while (now := time.perf_counter()) - began < seconds(SECONDS):
            await stream.send_all(frame)
            left = len(frame)
            while left:
                left -= len(await stream.receive_some())
            taken.append(time.perf_counter() - now)
    return _percentile(sorted(taken), 0.5)


def _measure_round_trips() -> Iterator[Result]:
    with _child("echo", "plain") as plain, _child("echo", "tls") as secured:
        addresses = {False: _first_line(plain), True: _first_line(secured)}
        floor = trio.run(_bare_round_trip, addresses[False])
        for tls in (False, True):
            median = trio.run(partial(_round_trip, addresses[tls], tls=tls))
            yield Result(
                name=f"a frame there and back, {_over(tls)}, median",
                value=median * 1e6,
                unit="us",
                references={"bare Trio sockets": floor * 1e6},
            )


def _over(tls: bool) -> str:
    return "TLS 1.3" if tls else "TCP"


async def _change_latencies(server: str, *, tls: bool) -> list[float]:
    async with _trading(server, tls=tls) as channel:
        return await _latencies(channel)


def _measure_changes() -> Iterator[Result]:
    rates: dict[bool, float] = {}
    for tls, target in ((False, 3_000.0), (True, 2_500.0)):
        with _child("serve", "tls" if tls else "plain") as child:
            server = _first_line(child)
            taken = trio.run(partial(_change_latencies, server, tls=tls))
        rates[tls] = 2 * len(taken) / sum(taken)
        yield Result(
            name=f"co-signed states, in memory, {_over(tls)}",
            value=rates[tls],
            unit="1/s",
            target=target,
            references={"TCP, same run": rates[False]} if tls else {},
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


async def _under_attack(server: str, process: int) -> AsyncIterator[Result]:
    async with _trading(server, tls=True) as channel:
        idle: float | None = None
        for name in ATTACKS:
            quiet = _percentile(await _latencies(channel), 0.99)
            idle = _memory(process) if idle is None else idle
            memory: list[float] = []
            with _child("attack", name, server) as attacker:
                await trio.to_thread.run_sync(_first_line, attacker)
                await trio.sleep(seconds(HEAD_START))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_watch_memory, process, memory)
                    p99 = _percentile(await _latencies(channel), 0.99)
                    nursery.cancel_scope.cancel()
            yield Result(
                name=f"p99 of a change of another peer during {name}",
                value=p99 * 1e6,
                unit="us",
                target=MOST_SLOWER * quiet * 1e6,
                references={"without, same run": quiet * 1e6},
            )
            yield Result(
                name=f"memory above idle during {name}",
                value=max(memory) - idle,
                unit="MiB",
                target=MOST_MEMORY,
            )


def _measure_attacks() -> list[Result]:
    async def gather(server: str, process: int) -> list[Result]:
        return [each async for each in _under_attack(server, process)]

    with _child("serve", "tls") as child:
        return trio.run(gather, _first_line(child), child.pid)


def measure() -> Iterator[Result]:
    """Round trips, co-signed states and attacks, each beside its floor of the same run."""
    yield from _measure_round_trips()
    yield from _measure_changes()
    yield from _measure_attacks()


def _play_part(part: str, arguments: list[str]) -> None:
    if part == "attack":
        name, server = arguments
        trio.run(_attack, name, server)
    else:
        main = {"serve": _server, "echo": _echo_server}[part]
        trio.run(partial(main, tls=arguments == ["tls"]))


if __name__ == "__main__":
    _play_part(sys.argv[1], sys.argv[2:])
