"""Two desks in two processes on loopback: what the benchmarks of sessions and updates measure.

The server runs in a child process and agrees to everything within its margin rules; the desk that
trades is in the process that measures.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from bench.still_chain import DEPOSIT, StillChain
from bench.timing import seconds
from channels.peer import (
    FlatMarket,
    Leg,
    Peer,
    PeerChannel,
    RiskPolicy,
    SpreadMaker,
    default_terms,
    open_peer,
)
from channels.pricing.instruments import Call, Instrument, Put
from channels.protocol.changes import marks_of
from channels.protocol.eip712 import address
from channels.protocol.signing import LocalSigner
from channels.protocol.terms import RiskParams
from channels.protocol.types import feed_id
from channels.units import to_wad

__all__ = [
    "ALICE",
    "BOB",
    "child",
    "desk",
    "far_put",
    "fill",
    "first_line",
    "latencies",
    "open_channel",
    "percentile",
    "remark",
    "serve_desk",
]

ALICE: Final = LocalSigner(b"\x01" * 32)
BOB: Final = LocalSigner(b"\x02" * 32)
_FEED: Final = feed_id("ETH-USD")
_SPOT: Final = int(to_wad(3000))
_TICK: Final = int(to_wad(1))
_RISK: Final = (RiskParams(feed=_FEED),)
_MOST_LEGS: Final = 16


async def _yes(*_: object) -> bool:
    return True


def _market(chain: StillChain) -> FlatMarket:
    return FlatMarket({"ETH-USD": 3000}, clock=lambda: chain.head.timestamp)


async def serve_desk(store: str, *, tls: bool) -> None:
    """Trade with whoever comes, until killed; print the address first."""
    chain = StillChain()
    market = _market(chain)
    async with open_peer(
        signer=BOB,
        chain=chain,
        store=store or ":memory:",
        listen="127.0.0.1:0",
        market=market,
        maker=SpreadMaker(market),
        accept_opening=_yes,
        accept_trade=_yes,
        clock=lambda: chain.head.timestamp,
        tls=tls,
    ) as peer:
        print(peer.listening, flush=True)
        await trio.sleep_forever()


@asynccontextmanager
async def desk(store: str, *, tls: bool) -> AsyncIterator[Peer]:
    """The desk that trades."""
    chain = StillChain()
    async with open_peer(
        signer=ALICE,
        chain=chain,
        store=store or ":memory:",
        market=_market(chain),
        policy=RiskPolicy(),
        clock=lambda: chain.head.timestamp,
        tls=tls,
    ) as peer:
        yield peer


async def open_channel(peer: Peer, server: str) -> PeerChannel:
    """A new channel with the desk at ``server``, that holds one position."""
    terms = default_terms(
        party_a=ALICE.address,
        party_b=BOB.address,
        signer_a=ALICE.address,
        signer_b=BOB.address,
        collateral=address(b"\x05" * 20),
        unit=10**6,
        oracle=address(b"\x06" * 20),
        risk=_RISK,
        stale_penalty=0,
    )
    channel = await peer.open(peer=server, terms=terms, risk=_RISK, deposit=DEPOSIT)
    await channel.propose_trade([Leg(far_put(peer.now()), quantity=1)], [int(to_wad(100))])
    return channel


def _expiry(now: int, days: int) -> int:
    return now // 3_600 * 3_600 + days * 86_400


def far_put(now: int) -> Instrument:
    """The put that every channel holds."""
    return Put("ETH-USD", strike=2800, expiry=_expiry(now, 30))


async def fill(channel: PeerChannel, now: int, positions: int) -> None:
    """Trade until the channel holds so many positions: calls and puts of sixteen strikes."""
    options = [
        kind("ETH-USD", strike=2000 + 100 * step, expiry=_expiry(now, days))
        for days in (30, 60)
        for step in range(16)
        for kind in (Put, Call)
    ]
    legs = [Leg(each, quantity=1 - number % 2 * 2) for number, each in enumerate(options)]
    held = {each.series for each in channel.portfolio.positions}
    legs = [each for each in legs if each.series not in held][: positions - len(held)]
    for first in range(0, len(legs), _MOST_LEGS):
        part = legs[first : first + _MOST_LEGS]
        await channel.propose_trade(part, [int(to_wad(100))] * len(part))


async def remark(channel: PeerChannel, ticks: int | None = None) -> None:
    """A whole change, two co-signed states: the spot moves by a tick, to and fro.

    Both spots are soon known to the margin engine, so that it is the protocol that is measured.
    ``ticks``: move it to so many thousandths of a tick above where it began instead.
    """
    marks = marks_of(channel.portfolio)
    spot = _SPOT + _TICK if marks.spots[_FEED] == _SPOT else _SPOT
    if ticks is not None:
        spot = _SPOT + ticks * _TICK // 1_000
    await channel.remark(attrs.evolve(marks, spots={_FEED: spot}))


async def latencies(work: Callable[[], Awaitable[object]], usual: float) -> list[float]:
    """Sorted seconds of each run of ``work``, one after the other for ``usual`` seconds."""
    taken: list[float] = []
    began = time.perf_counter()
    while (now := time.perf_counter()) - began < seconds(usual):
        await work()
        taken.append(time.perf_counter() - now)
    return sorted(taken)


def percentile(ordered: list[float], part: float) -> float:
    """The value below which this part of the sorted values lies."""
    return ordered[int(len(ordered) * part)]


@contextlib.contextmanager
def child(module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A part of a benchmark in a process of its own, killed at the end."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[bytes]) -> str:
    """What a child says first: where it listens, or that it is ready."""
    if process.stdout is None:
        raise RuntimeError("the child has no standard output")
    return process.stdout.readline().decode().strip()
