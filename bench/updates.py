"""Co-signed updates per second: two processes on loopback, the library against its own primitives.

The floor is a hand-written loop: one update is two signatures, two verifications, one round trip of
a 206-byte message, and nothing else; durable, with one SQLite commit on each side. The library's
update is a whole change: Propose, Accept, Confirm, which makes two co-signed states.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from bench.results import Result
from bench.still_chain import DEPOSIT, StillChain
from bench.timing import seconds
from channels.peer import Leg, default_terms, open_peer
from channels.pricing.instruments import Put
from channels.protocol.changes import Marks, SeriesMark, marks_of
from channels.protocol.eip712 import address, keccak
from channels.protocol.signing import LocalSigner, recover
from channels.protocol.terms import RiskParams
from channels.protocol.types import Series, feed_id
from channels.units import to_wad

__all__ = ["measure"]

SECONDS: Final = 3.0
MESSAGE: Final = 206
_ALICE: Final = LocalSigner(b"\x01" * 32)
_BOB: Final = LocalSigner(b"\x02" * 32)
_FEED: Final = feed_id("ETH-USD")
_RISK: Final = (RiskParams(feed=_FEED),)


# ---------------------------------------------------------------- the floor


def _floor_store(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE state (id INTEGER PRIMARY KEY, body BLOB)")
    return database


def _floor_commit(database: sqlite3.Connection | None, body: bytes) -> None:
    if database is not None:
        database.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (body,))


def _receive(connection: socket.socket) -> bytes:
    received = b""
    while len(received) < MESSAGE:
        part = connection.recv(MESSAGE - len(received))
        if not part:
            raise ConnectionError("closed")
        received += part
    return received


def _floor_responder(port: int, path: str) -> None:
    database = _floor_store(Path(path)) if path else None
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):
            while True:
                message = _receive(connection)
                digest = keccak(message[64:])
                recover(_signature(message), digest)
                mine = _BOB.sign_digest(digest)
                _floor_commit(database, message)
                connection.sendall(mine.compact + message[64:])


def _signature(message: bytes) -> Any:
    from channels.protocol.signing import Signature

    return Signature(message[:64])


def _measure_floor(*, durable: bool) -> float:
    with tempfile.TemporaryDirectory() as folder, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        path = f"{folder}/responder.db" if durable else ""
        database = _floor_store(Path(folder) / "initiator.db") if durable else None
        with _child("floor", str(port), path):
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                count, body = 0, bytearray(os.urandom(MESSAGE - 64))
                began = time.perf_counter()
                while time.perf_counter() - began < seconds(SECONDS):
                    body[:8] = count.to_bytes(8, "big")
                    digest = keccak(bytes(body))
                    mine = _ALICE.sign_digest(digest)
                    _floor_commit(database, bytes(body))
                    connection.sendall(mine.compact + body)
                    recover(_signature(_receive(connection)), digest)
                    _floor_commit(database, bytes(body))
                    count += 1
                return count / (time.perf_counter() - began)


# ---------------------------------------------------------------- the library


@attrs.frozen
class _SteadyMarket:
    """The same marks at all times."""

    clock: StillChain

    def marks(self, series: Any) -> Marks:
        return Marks(
            marked_at=self.clock.head.timestamp,
            spots={_FEED: int(to_wad(3000))},
            series={each: _mark(each) for each in series},
        )


def _mark(series: Series) -> SeriesMark:
    del series
    return SeriesMark(vol=int(to_wad("0.6")))


async def _library_responder(store: str, tls: bool) -> None:
    chain = StillChain()

    async def accept(_: object) -> bool:
        return True

    async def trade(*_: object) -> bool:
        return True

    async with open_peer(
        signer=_BOB,
        chain=chain,
        store=store or ":memory:",
        listen="127.0.0.1:0",
        market=_SteadyMarket(chain),
        accept_opening=accept,
        accept_trade=trade,
        clock=lambda: chain.head.timestamp,
        tls=tls,
    ) as peer:
        print(peer.listening, flush=True)
        await trio.sleep_forever()


async def _library_initiator(store: str, responder: str, tls: bool) -> list[float]:
    chain = StillChain()
    market = _SteadyMarket(chain)
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
        store=store or ":memory:",
        market=market,
        clock=lambda: chain.head.timestamp,
        tls=tls,
    ) as peer:
        channel = await peer.open(
            peer=responder, terms=terms, risk=_RISK, deposit=DEPOSIT, peer_deposit=DEPOSIT
        )
        expiry = chain.head.timestamp // 3_600 * 3_600 + 30 * 86_400
        put = Put("ETH-USD", strike=2800, expiry=expiry)
        await channel.propose_trade([Leg(put, quantity=1)], [int(to_wad(100))])
        latencies: list[float] = []
        began = time.perf_counter()
        flip = False
        while (now := time.perf_counter()) - began < seconds(SECONDS):
            flip = not flip
            marks = marks_of(channel.portfolio)
            spot = int(to_wad(3001 if flip else 3000))
            await channel.remark(attrs.evolve(marks, spots={_FEED: spot}))
            latencies.append(time.perf_counter() - now)
        return latencies


def _measure_library(*, durable: bool, tls: bool) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        stores = [f"{folder}/alice.db", f"{folder}/bob.db"] if durable else ["", ""]
        with _child("library", stores[1], "tls" if tls else "plain") as child:
            if child.stdout is None:
                raise RuntimeError("the responder has no standard output")
            responder = child.stdout.readline().decode().strip()
            return trio.run(_library_initiator, stores[0], responder, tls)


@contextlib.contextmanager
def _child(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bench.updates", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            yield child
        finally:
            child.kill()


def measure() -> Iterator[Result]:
    """Yield states per second, in memory and durable, beside the floor of the same run."""
    for durable, tls, target in (
        (False, False, 3_000.0),
        (False, True, 2_500.0),
        (True, False, 1_100.0),
    ):
        floor = _measure_floor(durable=durable)
        latencies = sorted(_measure_library(durable=durable, tls=tls))
        where = "durable on both sides" if durable else "in memory"
        where += ", TLS" if tls else ", TCP"
        yield Result(
            name=f"co-signed states, {where}",
            value=2 * len(latencies) / sum(latencies),
            unit="1/s",
            target=target,
            references={"floor, hand-written loop": floor},
        )
        yield Result(
            name=f"a whole change (Propose, Accept, Confirm), {where}, median",
            value=latencies[len(latencies) // 2] * 1e6,
            unit="us",
            references={"two floor updates": 2e6 / floor},
        )


if __name__ == "__main__":
    if sys.argv[1] == "floor":
        _floor_responder(int(sys.argv[2]), sys.argv[3])
    else:
        trio.run(_library_responder, sys.argv[2], sys.argv[3] == "tls")
