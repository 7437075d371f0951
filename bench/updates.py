"""Co-signed updates and trades: two processes on loopback, the library against its primitives.

A whole change is Propose, Accept, Confirm, and makes two co-signed states. Beside each rate stands
the hand-written floor of `bench.floors` of the same run.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import count, cycle
from typing import Final

import trio

from bench.desk_pair import (
    child,
    desk,
    far_put,
    fill,
    first_line,
    latencies,
    open_channel,
    percentile,
    remark,
    serve_desk,
)
from bench.floors import SECONDS, measure_floor
from bench.results import Result
from bench.timing import seconds
from channels.peer import Leg, Peer, PeerChannel, Side
from channels.units import to_wad

__all__ = ["measure"]

CHANNELS: Final = 64
POSITIONS: Final = 64
_FLOOR: Final = "floor, hand-written loop"
_WARM_UP: Final = 0.5
_OPENINGS: Final = 8
"""At once: a desk refuses more."""


@contextlib.asynccontextmanager
async def _pair(*, durable: bool, tls: bool) -> AsyncIterator[tuple[Peer, str]]:
    """A desk, and where its counterparty listens."""
    with tempfile.TemporaryDirectory() as folder:
        stores = [f"{folder}/alice.db", f"{folder}/bob.db"] if durable else ["", ""]
        with child("bench.updates", stores[1], "tls" if tls else "") as process:
            server = await trio.to_thread.run_sync(first_line, process)
            async with desk(stores[0], tls=tls) as peer:
                yield peer, server


# ---------------------------------------------------------------- one channel


async def _remarks(*, durable: bool, tls: bool) -> list[float]:
    async with _pair(durable=durable, tls=tls) as (peer, server):
        channel = await open_channel(peer, server)
        work = partial(remark, channel)
        await latencies(work, _WARM_UP)
        return await latencies(work, SECONDS)


def _measure_one_channel() -> Iterator[Result]:
    naive = measure_floor(naive=True)
    for durable, tls, target in (
        (False, False, 3_000.0),
        (False, True, 2_500.0),
        (True, False, 1_100.0),
    ):
        floor = measure_floor(durable=durable, tls=tls)
        taken = trio.run(partial(_remarks, durable=durable, tls=tls))
        where = f"{'durable on both sides' if durable else 'in memory'}, {'TLS' if tls else 'TCP'}"
        plainest = not (durable or tls)
        yield Result(
            name=f"co-signed states, {where}",
            value=2 * len(taken) / sum(taken),
            unit="1/s",
            target=target,
            references={
                _FLOOR: floor,
                **({"naive loop, eth-account": naive} if plainest else {}),
            },
        )
        yield Result(
            name=f"a whole change (Propose, Accept, Confirm), {where}, median",
            value=percentile(taken, 0.5) * 1e6,
            unit="us",
            references={"two floor updates": 2e6 / floor},
        )


# ---------------------------------------------------------------- trades


async def _trades() -> list[float]:
    """Buys and sells one put of a full portfolio."""
    async with _pair(durable=True, tls=True) as (peer, server):
        channel = await open_channel(peer, server)
        await fill(channel, peer.now(), POSITIONS)
        ways = cycle((1, -1))

        async def trade() -> None:
            leg = Leg(far_put(peer.now()), quantity=next(ways))
            await channel.propose_trade([leg], [int(to_wad(100))])

        await latencies(trade, _WARM_UP)
        return await latencies(trade, SECONDS)


async def _new_marks() -> list[float]:
    """Marks a full portfolio at a spot never seen before: each side values all of it."""
    async with _pair(durable=True, tls=True) as (peer, server):
        channel = await open_channel(peer, server)
        await fill(channel, peer.now(), POSITIONS)
        ticks = count(1)
        return await latencies(lambda: remark(channel, next(ticks)), SECONDS)


async def _quoted_trades() -> list[float]:
    """Asks for a price of one put, takes it, and waits until the trade stands."""
    async with _pair(durable=True, tls=True) as (peer, server):
        channel = await open_channel(peer, server)
        ways = cycle((1, -1))

        async def trade() -> None:
            leg = Leg(far_put(peer.now()), quantity=next(ways))
            quotes = await channel.request_quote([leg], Side.BUY)
            await quotes.best().accept()

        await latencies(trade, _WARM_UP)
        return await latencies(trade, SECONDS)


def _measure_trades() -> Iterator[Result]:
    floor = measure_floor(durable=True, tls=True)
    taken = trio.run(_trades)
    for part, most in ((0.5, 2_500.0), (0.99, 6_000.0)):
        yield Result(
            name=f"a whole trade on {POSITIONS} positions, durable, TLS, p{part * 100:g}",
            value=percentile(taken, part) * 1e6,
            unit="us",
            target=most,
            references={"two floor updates": 2e6 / floor},
        )
    yield Result(
        name=f"a re-mark of {POSITIONS} positions at a new spot, durable, TLS, p50",
        value=percentile(trio.run(_new_marks), 0.5) * 1e6,
        unit="us",
        references={"two floor updates": 2e6 / floor},
    )
    yield Result(
        name="RFQ to confirmed trade, the maker's pricing included, durable, TLS, p50",
        value=percentile(trio.run(_quoted_trades), 0.5) * 1e6,
        unit="us",
        target=5_000.0,
        references={"three floor updates": 3e6 / floor},
    )


# ---------------------------------------------------------------- many channels at once


async def _all_at_once() -> float:
    """Co-signed states a second, of all channels together."""
    async with _pair(durable=True, tls=False) as (peer, server):
        channels: list[PeerChannel] = []

        few = trio.CapacityLimiter(_OPENINGS)

        async def open_one() -> None:
            async with few:
                channels.append(await open_channel(peer, server))

        async with trio.open_nursery() as nursery:
            for _ in range(CHANNELS):
                nursery.start_soon(open_one)
        changes = 0

        async def trade(channel: PeerChannel, until: float) -> None:
            nonlocal changes
            while time.perf_counter() < until:
                await remark(channel)
                changes += 1

        async def trade_all(usual: float) -> None:
            until = time.perf_counter() + seconds(usual)
            async with trio.open_nursery() as nursery:
                for channel in channels:
                    nursery.start_soon(trade, channel, until)

        await trade_all(_WARM_UP)
        changes, began = 0, time.perf_counter()
        await trade_all(SECONDS)
        return 2 * changes / (time.perf_counter() - began)


def _measure_many_channels() -> Iterator[Result]:
    floor = measure_floor(durable=True, burst=CHANNELS)
    yield Result(
        name=f"co-signed states, {CHANNELS} channels at once, durable with group commit, TCP",
        value=trio.run(_all_at_once),
        unit="1/s",
        target=3_000.0,
        references={f"{_FLOOR}, {CHANNELS} in flight": floor},
    )


def measure() -> Iterator[Result]:
    """Yield rates and latencies, each beside the floor of the same run."""
    yield from _measure_one_channel()
    yield from _measure_trades()
    yield from _measure_many_channels()


if __name__ == "__main__":
    trio.run(partial(serve_desk, sys.argv[1], tls=bool(sys.argv[2])))
